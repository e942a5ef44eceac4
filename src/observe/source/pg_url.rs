//! PostgreSQL URLs as libpq means them: services by name, addresses in brackets, and what a root certificate asks for.

use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// # Errors
/// What is wrong with the URL, or with the service it names.
pub fn connect_options(text: &str) -> Result<PgConnectOptions, String> {
    let url = Url::parse(text).map_err(|e| format!("this is not a PostgreSQL URL: {e}"))?;
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let mut plain = url.clone();
    let rest: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| !["service", "connect_timeout"].contains(&key.as_ref()))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    plain.set_query(None);
    if !rest.is_empty() {
        plain.query_pairs_mut().extend_pairs(rest);
    }
    let mut options: PgConnectOptions = plain.as_str().parse().map_err(|e| format!("this is not a PostgreSQL URL: {e}"))?;
    if let Some(host) = url.host_str().and_then(|host| host.strip_prefix('[')?.strip_suffix(']')) {
        options = options.host(host);
    }
    let settings = parameter("service").map(|name| service(&name)).transpose()?.unwrap_or_default();
    options = with_service(options, &url, &settings)?;
    let of_service = |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let mode = parameter("sslmode").or_else(|| parameter("ssl-mode")).or_else(|| of_service("sslmode"));
    let root =
        ["sslrootcert", "ssl-root-cert", "ssl-ca"].iter().any(|name| parameter(name).is_some()) || of_service("sslrootcert").is_some();
    // As libpq has it: whoever names whom to trust wants that to be checked.
    if root && mode.as_deref() == Some("require") {
        options = options.ssl_mode(PgSslMode::VerifyCa);
    }
    Ok(options)
}

/// The settings of a service, from the user's file or the system's.
fn service(name: &str) -> Result<Vec<(String, String)>, String> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let own = variable("PGSERVICEFILE").or_else(|| Some(variable("HOME")?.join(".pg_service.conf")));
    let system = variable("PGSYSCONFDIR").map(|folder| folder.join("pg_service.conf"));
    let files: Vec<PathBuf> = own.into_iter().chain(system).collect();
    let found = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).find_map(|text| section(&text, name));
    found.ok_or_else(|| {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        format!("there is no service `{name}` in {}", files.join(" or "))
    })
}

fn section(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.find(|line| line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) == Some(name))?;
    let settings = lines.take_while(|line| !line.starts_with('['));
    Some(settings.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim().into(), value.trim().into())).collect())
}

/// What the URL says itself goes before what its service says.
fn with_service(mut options: PgConnectOptions, url: &Url, settings: &[(String, String)]) -> Result<PgConnectOptions, String> {
    let given = |name: &str| url.query_pairs().any(|(key, _)| key == name);
    for (key, value) in settings.iter().filter(|(key, _)| !given(key)) {
        options = match key.as_str() {
            // An address goes before a name.
            "hostaddr" if url.host_str().is_none_or(str::is_empty) => options.host(value),
            "host" if settings.iter().any(|(key, _)| key == "hostaddr") => options,
            "host" if url.host_str().is_none_or(str::is_empty) => options.host(value),
            "port" if url.port().is_none() => {
                options.port(value.parse().map_err(|_| format!("the service's port `{value}` is no number"))?)
            }
            "dbname" if url.path().trim_start_matches('/').is_empty() => options.database(value),
            "user" if url.username().is_empty() => options.username(value),
            "password" => options.password(value),
            "sslmode" => options.ssl_mode(value.parse().map_err(|_| format!("the service's sslmode `{value}` is none"))?),
            "sslrootcert" => options.ssl_root_cert(value),
            "sslcert" => options.ssl_client_cert(value),
            "sslkey" => options.ssl_client_key(value),
            "hostaddr" | "host" | "port" | "dbname" | "user" | "application_name" | "connect_timeout" => options,
            other => return Err(format!("`{other}` of this service is not supported")),
        };
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_libpq_means_them() {
        let of = |text: &str| connect_options(text).expect(text);
        assert_eq!(of("postgres://a@[::1]:5/d").get_host(), "::1");
        assert!(matches!(of("postgres://a@h/d?sslmode=require&sslrootcert=/x").get_ssl_mode(), PgSslMode::VerifyCa));
        assert!(matches!(of("postgres://a@h/d?sslmode=require").get_ssl_mode(), PgSslMode::Require));
        let file = "# ours\n[other]\nhost=o\n\n[ops]\nhost = h1\nport=7\ndbname=app\nuser=me\nsslmode=disable\n[last]\nhost=l\n";
        let settings = section(file, "ops").expect("there");
        let text = "postgres:///?service=ops";
        let options = with_service(of("postgres://"), &Url::parse(text).expect("a URL"), &settings).expect("options");
        assert_eq!((options.get_host(), options.get_port(), options.get_database(), options.get_username()), ("h1", 7, Some("app"), "me"));
        let text = "postgres://u@h2/own?service=ops";
        let options = with_service(of("postgres://u@h2/own"), &Url::parse(text).expect("a URL"), &settings).expect("options");
        assert_eq!((options.get_host(), options.get_database(), options.get_username()), ("h2", Some("own"), "u"));
        let none = Url::parse("postgres:///").expect("a URL");
        let own = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            with_service(of("postgres://"), &none, &pairs)
        };
        assert_eq!(own(&[("host", "name"), ("hostaddr", "192.0.2.1")]).expect("options").get_host(), "192.0.2.1");
        assert!(own(&[("target_session_attrs", "read-write")]).is_err(), "what would be left aside is refused");
        assert_eq!(section(file, "nowhere"), None);
        assert!(connect_options("postgres:///?service=there-is-none-of-that-name").is_err());
    }
}
