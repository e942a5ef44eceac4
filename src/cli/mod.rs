//! The command line: one definition for parsing, help, man page and completions; one file a subcommand. What is printed
//! comes from the same read model that the cockpit shows.

mod args;
mod check;
mod connect;
mod export;
mod init;
mod logging;
mod status;

pub use args::{CheckArgs, Cli, Color, DemoArgs, GlyphArg, InitArgs, ProfileArg, StatusArgs, Sub, print_completions, print_man};
pub use check::check;
pub use connect::{connect, describe_nowhere};
pub use export::export;
pub use init::init;
pub use logging::start_logging;
pub use status::status;

/// Exit codes, as DESIGN has them.
pub mod exit {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 64;
    pub const BAD_FILE: u8 = 65;
    pub const UNAVAILABLE: u8 = 69;
}
