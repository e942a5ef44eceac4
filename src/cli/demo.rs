//! The arguments of `lastgreen demo`; the joining of its rooms is `app`'s.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProfileArg {
    Rag,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The kind of system.
    #[arg(long, value_enum, default_value = "rag")]
    pub profile: ProfileArg,
    /// What happens to it: healthy, bad-canary, latency-spike, corrupt-index, provider-outage, prometheus-down,
    /// database-down.
    #[arg(long, default_value = "bad-canary", value_name = "NAME")]
    pub scenario: String,
    /// No cockpit: print the configuration's path and the addresses, and serve until stopped.
    #[arg(long)]
    pub headless: bool,
    /// The seed of its noise: the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Plays by itself: `rollback` or `canary`, the shipped stories, or a file of keys to press, a line each, with
    /// `wait 2s` or `until TEXT` between them.
    #[arg(long, value_name = "STORY|FILE")]
    pub script: Option<PathBuf>,
}
