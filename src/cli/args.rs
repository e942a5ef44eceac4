//! The clap tree.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

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
    /// What is on record: show it, verify it, bring it to the database.
    Audit(AuditArgs),
    /// Drive one run: started by the others, not by hand.
    #[command(hide = true)]
    Runner(RunnerArgs),
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Print the man page.
    Man,
}

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
    /// Keys to press, a line each, with `wait 2s` or `until TEXT` between them.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write; nothing that exists is overwritten.
    #[arg(long, short, default_value = "lastgreen.toml", value_name = "FILE")]
    pub output: PathBuf,
    /// A service to look at: http://host:port of Prometheus, Qdrant, Alertmanager or a page of metrics,
    /// postgres://user@host/db, redis://host, sqlite:FILE. Repeatable. Without any, the usual ports of this host.
    #[arg(value_name = "URL")]
    pub endpoints: Vec<String>,
    /// The environment's name.
    #[arg(long, default_value = "my-system")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Do not ask the sources.
    #[arg(long)]
    pub offline: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print the rules as a Prometheus rules file instead.
    #[arg(long)]
    pub export_rules: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The runbook's name; without one, the list of all.
    pub runbook: Option<String>,
    /// A value for an input. Repeatable.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub inputs: Vec<(String, String)>,
    /// Why: stands in the record and in every notice.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print the plan and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Confirm without being asked: the environment's name.
    #[arg(long, value_name = "ENVIRONMENT")]
    pub confirm: Option<String>,
    /// Do not stay to look; the run goes on by itself either way.
    #[arg(long)]
    pub detach: bool,
    /// Leave out what would change something.
    #[arg(long)]
    pub drill: bool,
    /// Print JSON: with --dry-run the plan, otherwise how the run ended.
    #[arg(long)]
    pub json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, value)| (name.to_string(), value.to_string())).ok_or_else(|| "write NAME=VALUE".to_string())
}

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// An id, its beginning or end, or `last`.
    pub run: Option<String>,
    /// Only runs of this runbook.
    #[arg(long, value_name = "NAME")]
    pub runbook: Option<String>,
    /// Only runs that are so: running, waiting, paused, interrupted, done, failed, rolled-back, aborted, refused, broken, open.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// An id, its beginning or end, or `last`.
    #[arg(default_value = "last")]
    pub run: String,
    /// Answer what it asks: done, failed, skip, again, rollback, stop.
    #[arg(long, value_name = "ANSWER")]
    pub answer: Option<String>,
    /// A note that stands in the record beside the answer.
    #[arg(long, requires = "answer", default_value = "")]
    pub note: String,
    /// Pause it after the current step.
    #[arg(long, conflicts_with = "answer")]
    pub pause: bool,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// An id, its beginning or end, or `last`.
    #[arg(default_value = "last")]
    pub run: String,
    /// Do not stay to look.
    #[arg(long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub struct AbortArgs {
    /// An id, its beginning or end, or `last`.
    #[arg(default_value = "last")]
    pub run: String,
    /// Undo what can be undone, the newest first.
    #[arg(long, conflicts_with = "leave")]
    pub undo: bool,
    /// Leave everything as it is.
    #[arg(long)]
    pub leave: bool,
    /// Why: stands in the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditSub,
}

#[derive(Debug, Subcommand)]
pub enum AuditSub {
    /// Every record of a run, in words.
    Show {
        /// An id, its beginning or end, or `last`.
        #[arg(default_value = "last")]
        run: String,
        /// The lines of the journal as they stand.
        #[arg(long)]
        json: bool,
    },
    /// Whether every journal is whole and unchanged, and the database has the same. Exit 1 at the first difference.
    Verify {
        /// An id; without one, all runs.
        run: Option<String>,
        /// Do not ask the database.
        #[arg(long)]
        offline: bool,
        #[arg(long)]
        json: bool,
    },
    /// Bring every record to the database, and send every letter that still waits.
    Sync {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct RunnerArgs {
    /// The run's folder.
    pub folder: PathBuf,
    /// Who takes it up again, as JSON.
    #[arg(long)]
    pub by: Option<String>,
    /// Take it up only to end it: `undo` or `leave`.
    #[arg(long)]
    pub abort: Option<String>,
    /// Why it is ended.
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
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
