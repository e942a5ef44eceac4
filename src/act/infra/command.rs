//! Programs with their arguments, as switches, releases and stores are told and asked by them.

use std::time::Duration;

use crate::observe::reading::Fault;
use crate::observe::source::CommandClient;

/// The most that is read of what a program prints.
const PRINTED: u64 = 4 << 20;

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started, takes too long, or ends with anything but success.
pub async fn run(argv: Vec<String>, limit: Duration) -> Result<String, Fault> {
    CommandClient { argv, environment: Vec::new(), timeout: limit, max_output: PRINTED }.run().await
}
