//! What a cockpit, a command and a runner share: connecting to sources, live signals, planning, beginning and answering
//! runs, who the operator is, and who acts from elsewhere. Nothing here knows a screen or a command line.

mod connect;
mod deploy;
mod first_snapshot;
mod identity;
mod known_runs;
mod live_signals;
mod logging;
mod look;
mod lookout;
mod operations;
mod plan_secrets;
mod planning;
mod reach;
mod readiness;
mod remote_lease;
mod rollback;
mod rollback_metrics;
mod runner;
mod runs;
mod undo;
mod worker;

pub use connect::{Clients, connect, connect_again, describe_nowhere};
pub use deploy::CanaryRequest;
pub use first_snapshot::first_snapshot;
pub use identity::{groups, host, operator};
pub use live_signals::LiveSignals;
pub use logging::{start_logging, start_plain_logging};
pub use look::{COUNTING, DataLooked, FilesSeen, LookAt, Looked, look};
pub use operations::{OperationError, Operations, changed};
pub use plan_secrets::absent as absent_secrets;
pub use planning::PlanRequest;
pub use reach::{acting_context, audit_database, database_options};
pub use rollback::RollbackRequest;
pub use runner::{RunnerOptions, run_runner, this_runner};
pub use worker::Worker;
