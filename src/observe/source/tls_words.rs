//! What a library says of TLS, in words that name a cause and a cure.

use std::error::Error as StdError;

use rustls::{AlertDescription, CertificateError, Error};

/// What rustls said, wherever it hides in the chain: I/O errors carry it as a payload that is not their source.
pub fn tls_cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut current: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = current {
        if let Some(tls) = e.downcast_ref::<rustls::Error>() {
            return Some(tls_words(tls));
        }
        let payload = e.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        current = match payload {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => e.source(),
        };
    }
    None
}

/// Why no connection came about.
fn tls_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => of_certificate(certificate),
        Error::InvalidMessage(_) => "what answers there speaks no TLS: another port, or a URL that should begin with http".into(),
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            "the server wants a certificate of ours (tls.cert and tls.key)".into()
        }
        Error::AlertReceived(AlertDescription::UnknownCA) => "the server does not trust the authority of our certificate (tls.cert)".into(),
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => {
            "the server speaks no version of TLS that is spoken here (1.2 and 1.3), or wants a certificate of ours (tls.cert)".into()
        }
        Error::PeerIncompatible(_) => "the server speaks no version of TLS that is spoken here (1.2 and 1.3)".into(),
        other => plain_words(&other.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate is of an authority that is not trusted here: set tls.ca to the file of that authority".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired (or the clock here is ahead)".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet (or the clock here is behind)".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is of another name than the one in the URL: write the name it was made for".into()
        }
        CertificateError::Revoked => "the server's certificate was revoked".into(),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority as its own: give it one that the authority has signed".into()
        }
        other => format!("the server's certificate is not sound: {}", plain_words(&other.to_string())),
    }
}

/// What a library says, without where in itself it says so.
pub fn plain_words(said: &str) -> String {
    if said.to_ascii_lowercase().contains("no ca certificates were loaded") {
        return "no authorities are known on this machine: install ca-certificates, or set tls.ca".into();
    }
    let said = said.strip_prefix("error returned from database: ").unwrap_or(said);
    // `sqlx_postgres::connection::tls:95`
    let is_place =
        |word: &str| word.contains("::") && word.trim_end_matches(':').rsplit(':').next().is_some_and(|n| n.parse::<u32>().is_ok());
    said.split(' ').filter(|word| !is_place(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_and_a_cure() {
        let of = |error: CertificateError| tls_words(&Error::InvalidCertificate(error));
        assert!(of(CertificateError::UnknownIssuer).contains("set tls.ca"));
        assert!(of(CertificateError::NotValidForName).contains("another name"));
        assert!(of(CertificateError::Expired).contains("expired"));
        let other = rustls::OtherError(std::sync::Arc::new(std::io::Error::other("CaUsedAsEndEntity")));
        assert!(of(CertificateError::Other(other)).contains("the certificate of an authority as its own"));
        let plain = tls_words(&Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType));
        assert!(plain.contains("speaks no TLS"), "{plain}");
    }

    #[test]
    fn no_place_in_a_library() {
        assert_eq!(plain_words("sqlx_postgres::connection::tls:95: server does not support TLS"), "server does not support TLS");
        assert_eq!(plain_words("table public.chunks is gone at 12:30"), "table public.chunks is gone at 12:30");
        assert_eq!(plain_words("cannot cast x::int"), "cannot cast x::int");
        assert!(plain_words("No CA certificates were loaded from the system").contains("install ca-certificates"));
    }
}
