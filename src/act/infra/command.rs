//! Programs with their arguments, as switches, releases and stores are told and asked by them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::observe::reading::Fault;
use crate::observe::source::CommandClient;

/// The most that is read of what a program prints.
const PRINTED: u64 = 4 << 20;

tokio::task_local! {
    /// What programs carry that a step begins, and the folder where they are named.
    static MARKS: (Vec<(String, String)>, PathBuf);
}

/// Does something of a step: every program that it begins carries the step, and is named in the folder of its run.
pub async fn marked<T>(run: &str, key: &str, home: &Path, work: impl Future<Output = T>) -> T {
    MARKS.scope((super::processes::marks(run, key), home.to_path_buf()), work).await
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started, takes too long, or ends with anything but success.
pub async fn run(argv: Vec<String>, limit: Duration) -> Result<String, Fault> {
    let (environment, names) = MARKS.try_with(|(marks, home)| (marks.clone(), Some(home.clone()))).unwrap_or_default();
    CommandClient { argv, environment, names, timeout: limit, max_output: PRINTED }.run().await
}
