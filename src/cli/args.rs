//! The root of the clap tree: what every command knows, and the list of commands. Each has its own arguments in its own file.

use std::io::Write;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::abort::AbortArgs;
use super::attach::AttachArgs;
use super::audit::AuditArgs;
use super::canary::CanaryArgs;
use super::check::CheckArgs;
use super::demo::DemoArgs;
use super::gate::GateArgs;
use super::init::InitArgs;
use super::resume::ResumeArgs;
use super::rollback::RollbackArgs;
use super::run::RunArgs;
use super::runner::RunnerArgs;
use super::runs::RunsArgs;
use super::show::ShowArgs;
use super::snapshot::SnapshotArgs;
use super::status::StatusArgs;
use crate::config::{ColorChoice, GlyphChoice};

/// Operations cockpit for the terminal: see whether it is bad and why; bring back the last green release.
///
/// Without a command it opens the cockpit on the configuration found at --config, $LASTGREEN_CONFIG, ./lastgreen.toml or
/// in the XDG configuration folder.
#[derive(Debug, Parser)]
#[command(name = "lastgreen", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A shipped theme (dark, light, high-contrast, colour-blind, mono) or a file.
    #[arg(long, global = true, value_name = "NAME")]
    pub theme: Option<String>,
    /// A shipped keymap (default, vim) or a file.
    #[arg(long, global = true, value_name = "NAME")]
    pub keymap: Option<String>,
    /// How many colours the terminal has.
    #[arg(long, global = true, value_enum, value_name = "DEPTH")]
    pub color: Option<Color>,
    /// Which characters the terminal has.
    #[arg(long, global = true, value_enum, value_name = "SET")]
    pub glyphs: Option<GlyphArg>,
    /// Look only: nothing is run, answered, paused or aborted.
    #[arg(long, global = true)]
    pub read_only: bool,
    #[command(subcommand)]
    pub command: Option<Sub>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    Auto,
    Truecolor,
    #[value(name = "256")]
    Indexed,
    #[value(name = "16")]
    Ansi,
    None,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> ColorChoice {
        match color {
            Color::Auto => ColorChoice::Auto,
            Color::Truecolor => ColorChoice::Truecolor,
            Color::Indexed => ColorChoice::Indexed,
            Color::Ansi => ColorChoice::Ansi,
            Color::None => ColorChoice::None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum GlyphArg {
    Auto,
    Unicode,
    Ascii,
}

impl From<GlyphArg> for GlyphChoice {
    fn from(glyphs: GlyphArg) -> GlyphChoice {
        match glyphs {
            GlyphArg::Auto => GlyphChoice::Auto,
            GlyphArg::Unicode => GlyphChoice::Unicode,
            GlyphArg::Ascii => GlyphChoice::Ascii,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Sub {
    /// Open the cockpit on an embedded system: nothing installed, nothing configured, nothing left behind.
    Demo(DemoArgs),
    /// Look which services answer and write a commented lastgreen.toml for them.
    Init(InitArgs),
    /// Check the configuration with its keymap, theme and runbooks, and whether its sources answer.
    Check(CheckArgs),
    /// Ask everything once and print it. Exit code 0 pass, 1 warn, 2 fail, 3 unknown.
    Status(StatusArgs),
    /// Plan a runbook, show the plan, ask, and let a runner of its own do it.
    Run(RunArgs),
    /// List runs, the newest first, or show one.
    Runs(RunsArgs),
    /// Look at a run as it goes, answer what it asks, or pause it.
    Attach(AttachArgs),
    /// Let a paused or interrupted run go on.
    Resume(ResumeArgs),
    /// End a run: leave what was done as it is, or undo it.
    Abort(AbortArgs),
    /// Walk a canary up or back: status, set, promote, pause, hold, abort; or judge measured points.
    Canary(CanaryArgs),
    /// Roll back to what was green last: traffic, code, data; or see whether that would work.
    Rollback(RollbackArgs),
    /// Take the data together, look at it, bring it back: create, list, verify, golden, restore.
    Snapshot(SnapshotArgs),
    /// Look at named sets of checks. Exit code 0 only if every check passes.
    Gate(GateArgs),
    /// What is on record: show it, verify it, bring it to the database.
    Audit(AuditArgs),
    /// Drive one run: started by the others, not by hand.
    #[command(hide = true)]
    Runner(RunnerArgs),
    /// Print what is shipped: a profile, theme, keymap or runbook, as a file to copy.
    Show(ShowArgs),
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Print the man page.
    Man,
}

/// # Errors
/// When nothing can be written.
pub fn print_completions(shell: Shell, out: &mut impl Write) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lastgreen", &mut bytes);
    out.write_all(&bytes)
}

/// # Errors
/// When nothing can be written.
pub fn print_man(out: &mut impl Write) -> std::io::Result<()> {
    clap_mangen::Man::new(Cli::command()).render(out)?;
    for sub in Cli::command().get_subcommands().filter(|s| s.get_name() != "help") {
        clap_mangen::Man::new(sub.clone().name(format!("lastgreen-{}", sub.get_name()))).render(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
