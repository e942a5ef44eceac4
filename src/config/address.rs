//! Addresses as they can be compared: one place however it is spelt.

use std::net::IpAddr;

use sqlx::postgres::PgConnectOptions;

pub(super) fn web_address(url: &url::Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}{}", machine(url.host_str().unwrap_or_default()), url.path().trim_end_matches('/'))
}

/// A parameter of the URL may name another host or database than its beginning does.
pub(super) fn database_address(text: &str) -> String {
    let Some(options) = text.starts_with("postgres").then(|| text.parse::<PgConnectOptions>().ok()).flatten() else {
        return text.strip_prefix("sqlite:").map_or_else(|| text.to_string(), |path| format!("sqlite {}", path.trim_start_matches("//")));
    };
    let host = if options.get_socket().is_some() { HERE.to_string() } else { machine(options.get_host()) };
    format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or(options.get_username()))
}

/// This machine, under all of its names.
const HERE: &str = "localhost";

pub(super) fn machine(host: &str) -> String {
    let name = host.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
    let is_here = |ip: IpAddr| {
        let ip = ip.to_canonical();
        ip.is_loopback() || ip.is_unspecified()
    };
    match name.parse::<IpAddr>() {
        Ok(ip) if is_here(ip) => HERE.into(),
        Ok(_) => name,
        Err(_) if name.starts_with('/') || name.ends_with(".localhost") => HERE.into(),
        Err(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_however_it_is_spelt() {
        let database = database_address("postgres://u@127.0.0.1:5433/app");
        for other in [
            "postgres://u@localhost:5433/app",
            "postgres://u@127.0.0.1:5433/other?dbname=app",
            "postgres://u@elsewhere:5433/app?host=127.0.0.1",
            "postgres://u@%2Frun%2Fpg:5433/app",
        ] {
            assert_eq!(database_address(other), database, "{other}");
        }
        for other in ["postgres://u@127.0.0.1:5433/stage", "postgres://u@127.0.0.1:5434/app", "postgres://u@db:5433/app"] {
            assert_ne!(database_address(other), database, "{other}");
        }
        let web = |text: &str| web_address(&url::Url::parse(text).unwrap());
        for other in ["http://LOCALHOST:80/", "http://0.0.0.0", "http://[::1]", "http://[::ffff:127.0.0.1]:80", "http://127.0.0.1./"] {
            assert_eq!(web(other), web("http://127.0.0.1"), "{other}");
        }
        assert_ne!(web("http://127.0.0.1/stage"), web("http://127.0.0.1"));
        assert_ne!(web("https://127.0.0.1"), web("http://127.0.0.1"));
    }
}
