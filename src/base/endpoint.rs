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
