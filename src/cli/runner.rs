//! The hidden `lastgreen runner`: only its arguments are read here; the process itself knows no command line.

use std::path::PathBuf;

use clap::Args;

use crate::backend::{RunnerOptions, run_runner};

#[derive(Debug, Args)]
pub struct RunnerArgs {
    /// The run's folder.
    pub folder: PathBuf,
    /// Who takes it up again, as JSON.
    #[arg(long)]
    pub by: Option<String>,
    /// Take it up only to end it, as JSON.
    #[arg(long)]
    pub abort: Option<String>,
}

pub fn runner(args: &RunnerArgs) -> u8 {
    let RunnerArgs { folder, by, abort } = args;
    run_runner(&RunnerOptions { folder: folder.clone(), by: by.clone(), abort: abort.clone() })
}
