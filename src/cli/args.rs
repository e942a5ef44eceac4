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
    /// Check the configuration with its keymap and theme, and whether its sources answer.
    Check(CheckArgs),
    /// Ask everything once and print it. Exit code 0 pass, 1 warn, 2 fail, 3 unknown.
    Status(StatusArgs),
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
