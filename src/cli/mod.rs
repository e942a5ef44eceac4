//! The command line: one definition for parsing, help, man page and completions; one file a subcommand. What is printed
//! comes from the same read model that the cockpit shows.

/// Prints a line; a reader that has gone (`| head`) is no failure of ours.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

mod abort;
mod args;
mod attach;
mod audit;
mod canary;
mod check;
mod command_error;
mod confirm;
mod demo;
mod export;
mod follow;
mod gate;
mod init;
mod resume;
mod rollback;
mod run;
mod runner;
mod runs;
mod show;
mod snapshot;
mod status;

pub use abort::abort;
pub use args::{Cli, Color, GlyphArg, Sub, print_completions, print_man};
pub use attach::attach;
pub use audit::audit;
pub use canary::{canary, judge_points};
pub use check::{NamedLooks, check};
pub use command_error::{CommandError, CommandResult, ErrorKind};
pub use demo::DemoArgs;
pub use export::export;
pub use gate::gate;
pub use init::init;
pub use resume::resume;
pub use rollback::rollback;
pub use run::run;
pub use runner::runner;
pub use runs::runs;
pub use show::show;
pub use snapshot::snapshot;
pub use status::{blind, status};
