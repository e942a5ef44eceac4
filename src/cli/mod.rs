//! The command line: one definition for parsing, help, man page and completions; one file a subcommand. What is printed
//! comes from the same read model that the cockpit shows.

/// Prints a line; a reader that has gone (`| head`) is no failure of ours.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

mod args;
mod attach;
mod audit;
mod check;
mod clerk;
mod connect;
mod desk;
mod elsewhere;
mod export;
mod init;
mod logging;
mod run;
mod runner;
mod runs;
mod signals;
mod status;
mod who;

pub use args::{
    AbortArgs, AttachArgs, AuditArgs, AuditSub, CheckArgs, Cli, Color, DemoArgs, GlyphArg, InitArgs, ProfileArg, ResumeArgs, RunArgs,
    RunnerArgs, RunsArgs, StatusArgs, Sub, print_completions, print_man,
};
pub use attach::{abort, attach, resume};
pub use audit::audit;
pub use check::check;
pub use clerk::Clerk;
pub use connect::{connect, describe_nowhere};
pub use desk::{Desk, Refusal, audit_database, changed};
pub use export::export;
pub use init::init;
pub use logging::{start_logging, start_runner_logging};
pub use run::run;
pub use runner::{reach, run_runner};
pub use runs::runs;
pub use signals::LiveSignals;
pub use status::status;
pub use who::{groups, host, operator};

/// Exit codes, as DESIGN has them.
pub mod exit {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    /// It waits for an operator, or is paused.
    pub const WAITS: u8 = 22;
    /// A guard, a lock, a permission, an expired plan.
    pub const REFUSED: u8 = 24;
    pub const USAGE: u8 = 64;
    pub const BAD_FILE: u8 = 65;
    pub const UNAVAILABLE: u8 = 69;
}
