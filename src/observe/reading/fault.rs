//! Why a question has no answer. The kind decides what follows (back off the whole source, or only this question);
//! the message is what the operator reads.

use std::fmt;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nobody answers at the address.
    Unreachable,
    /// No whole answer in time.
    Timeout,
    /// The certificate, or ours, was not accepted.
    Tls,
    /// Password, token or key not accepted.
    Auth,
    /// The server answered that it cannot (5xx, starting up, too many connections).
    Unavailable,
    /// The answer is not what the protocol says.
    Garbage,
    /// The answer is larger than allowed.
    TooLarge,
    /// The question is wrong (bad query, unknown name): asking again will not help.
    Query,
    /// Nothing there: no series, no row, no such collection.
    Empty,
    /// A secret or a file that the question needs cannot be read here.
    Local,
}

impl FaultKind {
    /// Whether the whole source is down, rather than this one question wrong.
    pub fn is_of_source(self) -> bool {
        matches!(
            self,
            FaultKind::Unreachable | FaultKind::Timeout | FaultKind::Tls | FaultKind::Auth | FaultKind::Unavailable | FaultKind::Local
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// In words, cleaned and redacted.
    pub message: String,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl AsRef<str>) -> Fault {
        Fault { kind, message: crate::base::secret::sanitize(message.as_ref()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
