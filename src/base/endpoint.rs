//! Where a service is and how to get in: what configurations describe and clients use.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::secret::SecretRef;

#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Tls {
    /// PEM file of the authority to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of our own certificate and key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Auth {
    #[default]
    None,
    Bearer(SecretRef),
    Basic {
        user: String,
        password: SecretRef,
    },
    /// A header of the service's own, as Qdrant's `api-key`.
    Header {
        name: String,
        value: SecretRef,
    },
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Endpoint {
    pub url: Url,
    pub headers: Vec<(String, String)>,
    /// Headers whose values are secrets.
    pub secret_headers: Vec<(String, SecretRef)>,
    pub auth: Auth,
    pub tls: Tls,
    pub timeout: Duration,
    /// The largest answer taken, in bytes.
    pub max_body: u64,
    /// The proxy to go by, or `none`; without either what the environment says, and nothing on this very host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

impl Endpoint {
    /// Every secret it refers to.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let own = match &self.auth {
            Auth::None => None,
            Auth::Bearer(reference) | Auth::Basic { password: reference, .. } | Auth::Header { value: reference, .. } => Some(reference),
        };
        self.secret_headers.iter().map(|(_, reference)| reference).chain(own).collect()
    }

    /// The proxy that is gone by: its own, or the environment's for hosts that are not this one.
    pub fn proxied(&self, environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        match self.proxy.as_deref() {
            Some("none") => return None,
            Some(own) => return Some(own.to_string()),
            None => {}
        }
        let host = self.url.host_str().unwrap_or("").trim_matches(['[', ']']).to_lowercase();
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let either = |name: &str| environment(name).or_else(|| environment(&name.to_uppercase())).filter(|value| !value.trim().is_empty());
        let port = self.url.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
        let exempt = |entry: &str| {
            let entry = entry.trim().trim_start_matches('.').to_lowercase();
            let entry = entry.strip_suffix(&port).filter(|_| !port.is_empty() && entry.matches(':').count() == 1).unwrap_or(&entry);
            let is_it = host == entry || host.ends_with(&format!(".{entry}"));
            entry == "*" || !entry.is_empty() && (is_it || is_within(&host, entry))
        };
        if is_loopback || either("no_proxy").is_some_and(|list| list.split(',').any(exempt)) {
            return None;
        }
        either(&format!("{}_proxy", self.url.scheme())).or_else(|| either("all_proxy"))
    }

    /// The URL without credentials, for people.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Neither can fail where there are credentials to take out.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        // A query may hold a token.
        url.set_query(None);
        url.to_string()
    }
}

/// Whether an address lies in a network, `192.0.2.0/24`.
fn is_within(host: &str, network: &str) -> bool {
    use std::net::IpAddr;
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(host), Ok(base), Ok(length)) = (host.parse::<IpAddr>(), base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let ((host, wide), (base, of)) = (bits(host), bits(base));
    wide == of && length <= of && (length == 0 || (host ^ base) >> (128 - length) == 0)
}

/// A database, and how to get in.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct DatabaseOptions {
    /// `postgres://…` or `sqlite:PATH`.
    pub url: String,
    pub password: Option<SecretRef>,
    pub tls: Tls,
    pub timeout: Duration,
    pub connections: u32,
}

impl DatabaseOptions {
    /// Whether it is a file on this host, which nobody elsewhere shares.
    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }
}

/// Whether a parameter of a PostgreSQL URL is one that means something here.
pub fn is_postgres_parameter(name: &str) -> bool {
    const KNOWN: [&str; 20] = [
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "application_name",
        "options",
        "service",
        "statement-cache-capacity",
        "connect_timeout",
        "password",
    ];
    KNOWN.contains(&name) || name.starts_with("options[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_host_is_reached_without_a_proxy() {
        let endpoint = |url: &str, proxy: Option<&str>| Endpoint {
            url: url.parse().expect("a URL"),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            auth: Auth::None,
            tls: Tls::default(),
            timeout: Duration::from_secs(1),
            max_body: 1,
            proxy: proxy.map(str::to_string),
        };
        let environment = |name: &str| match name {
            "http_proxy" => Some("http://proxy:3128".to_string()),
            "NO_PROXY" => Some("example.org, .corp".to_string()),
            _ => None,
        };
        let by = |url: &str, proxy: Option<&str>| endpoint(url, proxy).proxied(&environment);
        for near in ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]:9/", "http://example.org/", "http://a.corp/"] {
            assert_eq!(by(near, None), None, "{near}");
        }
        assert_eq!(by("http://far/", None).as_deref(), Some("http://proxy:3128"));
        assert_eq!(by("https://far/", None), None, "that one is for http");
        assert_eq!(by("http://far/", Some("none")), None);
        assert_eq!(by("http://127.0.0.1/", Some("socks5://p:1")).as_deref(), Some("socks5://p:1"));
        let environment = |name: &str| match name {
            "http_proxy" => Some("http://proxy:3128".to_string()),
            "no_proxy" => Some("192.0.2.0/24,app.internal:28000".to_string()),
            _ => None,
        };
        let by = |url: &str| endpoint(url, None).proxied(&environment).is_some();
        assert!(
            !by("http://192.0.2.7:28000/") && by("http://192.0.3.7/") && !by("http://app.internal:28000/") && by("http://app.internal:1/")
        );
    }
}
