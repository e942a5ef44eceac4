//! `lastgreen canary`: whether a canary is as good as what it would replace.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::command_error::{CommandError, CommandResult};
use crate::base::text::clean;
use crate::judge::{CanaryAnalysis, CanaryVerdict, MetricVerdict, judge_canary};

#[derive(Debug, Args)]
pub struct CanaryArgs {
    #[command(subcommand)]
    pub command: CanarySub,
}

#[derive(Debug, Subcommand)]
pub enum CanarySub {
    /// Judge measured points of a canary and its baseline. Exit code 0 pass, 1 warn, 2 fail, 3 unknown.
    Judge {
        /// A JSON file with the metrics and their points; - for standard input.
        file: PathBuf,
        #[arg(long)]
        json: bool,
    },
}

impl CanaryArgs {
    pub fn json(&self) -> bool {
        let CanarySub::Judge { json, .. } = &self.command;
        *json
    }
}

/// # Errors
/// When the file cannot be read, or is not understood.
pub fn canary(args: &CanaryArgs) -> CommandResult {
    let CanarySub::Judge { file, json } = &args.command;
    let text = read(file)?;
    let analysis = CanaryAnalysis::parse(&text).map_err(|e| CommandError::bad_file(format!("{}: {e}", file.display())))?;
    let verdict = judge_canary(&analysis);
    if *json {
        say!("{}", serde_json::to_string_pretty(&verdict).unwrap_or_default());
    } else {
        say!("{}", table(&verdict).trim_end());
    }
    Ok(verdict.verdict.exit_code())
}

fn read(file: &Path) -> Result<String, CommandError> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|e| CommandError::bad_file(format!("{}: {e}", file.display())))
}

/// Writing into a string cannot fail.
fn table(verdict: &CanaryVerdict) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}  {}", verdict.verdict.word().to_uppercase(), clean(&verdict.reason));
    let wide = verdict.metrics.iter().map(|m| clean(&m.name).chars().count()).max().unwrap_or(0);
    for metric in &verdict.metrics {
        let MetricVerdict { name, classification, critical, points, reason, .. } = metric;
        let name = clean(name);
        let critical = if *critical { "critical" } else { "" };
        let counts = format!("{}/{}", points.canary, points.baseline);
        let _ = writeln!(out, "  {:6}  {name:wide$}  {critical:8}  {counts:>11} points  {reason}", classification.word());
    }
    out
}
