//! The scopes of a rollback, and the runbooks that do them.

use serde::Serialize;

/// How much is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The canary's share of the traffic.
    Traffic,
    /// That, and the version that runs.
    Code,
    /// That, and the data.
    Full,
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Traffic, Scope::Code, Scope::Full];

    pub fn word(self) -> &'static str {
        match self {
            Scope::Traffic => "traffic",
            Scope::Code => "code",
            Scope::Full => "full",
        }
    }

    pub fn parse(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.word() == word)
    }

    /// The runbook that does it.
    pub fn runbook(self) -> &'static str {
        match self {
            Scope::Traffic => "rollback-traffic",
            Scope::Code => "rollback-code",
            Scope::Full => "rollback-full",
        }
    }

    /// The scope whose runbook this is.
    pub fn of(runbook: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.runbook() == runbook)
    }
}

/// Whether a runbook takes back all that another does, and more.
pub fn is_wider(runbook: &str, than: &str) -> bool {
    Scope::of(runbook).zip(Scope::of(than)).is_some_and(|(ours, other)| ours > other)
}
