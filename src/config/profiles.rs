//! The shipped profiles: the same files users write, embedded.

/// A profile's files.
pub struct Profile {
    pub name: &'static str,
    pub text: &'static str,
    /// Its runbooks: file name and text.
    pub runbooks: &'static [(&'static str, &'static str)],
}

macro_rules! profile {
    ($name:literal: $($runbook:literal),* $(,)?) => {
        Profile {
            name: $name,
            text: include_str!(concat!("../../assets/profiles/", $name, "/profile.toml")),
            runbooks: &[$(($runbook, include_str!(concat!("../../assets/profiles/", $name, "/runbooks/", $runbook)))),*],
        }
    };
}

pub const PROFILES: [Profile; 1] =
    [profile!("rag": "smoke-test.yaml", "load-check.yaml", "canary-to-zero.yaml", "stop-ingestion.yaml", "verify-data.yaml",
        "rollback-traffic.yaml", "rollback-code.yaml", "rollback-full.yaml")];

macro_rules! shipped {
    ($($runbook:literal),* $(,)?) => { &[$(($runbook, include_str!(concat!("../../assets/runbooks/", $runbook)))),*] };
}

/// Runbooks of every configuration that has a switch of the traffic: a profile's, or a file of the same name, replaces one.
pub const SHIPPED: &[(&str, &str)] = shipped![
    "canary-step.yaml",
    "canary-hold.yaml",
    "rollback-traffic.yaml",
    "rollback-code.yaml",
    "rollback-full.yaml",
    "rollback-undo.yaml",
    "snapshot.yaml",
    "restore.yaml",
];

pub fn profile_names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|profile| profile.name)
}
