//! Read models that everybody shows from: what is known (store), what it comes to (summary), runs and runbooks (ledger),
//! and the vocabulary in which a screen and the backend talk. Pure: no clock, no I/O, no screen.

mod deploy;
mod ledger;
mod moment;
mod requests;
mod shown;
mod store;
mod summary;
mod timeline;
mod verdicts;

pub use deploy::{deploy_state, failed_rollback, said_of_hold};
pub use ledger::{Due, Elsewhere, Ledger, RunLine, RunStatus, RunbookLine, expected, step_mark};
pub use moment::{Moment, MomentOf};
pub use requests::{OutputTail, Request, Update};
pub use shown::{shown, shown_of};
pub use store::{Store, Track};
pub use summary::{RuleLine, SignalLine, SourceLine, Summary, alert_verdict, raised};
pub use timeline::Timeline;
pub use verdicts::{BoardVerdicts, verdicts};

/// The targets this program logs under.
pub const LOG_TARGETS: [&str; 4] = ["source", "config", "cockpit", "verdicts"];
