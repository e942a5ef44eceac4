//! `lastgreen runs`: what was run and what runs, as a list or one in full; and the list of runbooks.

use std::fmt::Write as _;

use clap::Args;

use super::command_error::{CommandError, CommandResult};
use crate::backend::Operations;
use crate::base::clock::Stamp;
use crate::base::diag::suggestion;
use crate::base::exit;
use crate::base::text::fit;
use crate::base::units::{count_of, short};
use crate::plan::deploy::{Scope, improvements};
use crate::status::{Ledger, RunLine, RunStatus, RunbookLine, step_mark};

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// An id, its beginning or end, or `last`.
    pub run: Option<String>,
    /// Only runs of this runbook.
    #[arg(long, value_name = "NAME")]
    pub runbook: Option<String>,
    /// Only runs that are so: running, waiting, paused, interrupted, done, failed, rolled-back, aborted, superseded,
    /// refused, broken, open.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    #[arg(long)]
    pub json: bool,
}

pub fn runs(args: &RunsArgs, operations: &mut Operations) -> CommandResult {
    if let Some(wanted) = &args.run {
        let id = operations.find(wanted)?;
        let line = operations.line(&id)?;
        if args.json {
            say!("{}", serde_json::to_string_pretty(&line.json(operations.now())).unwrap_or_default());
        } else {
            say!("{}", one(&line, operations).trim_end());
        }
        return Ok(exit::DONE);
    }
    if let Some(state) = &args.state
        && state != "open"
        && !RunStatus::ALL.iter().any(|s| s.name() == state)
    {
        let hint = suggestion(state, RunStatus::ALL.iter().map(|s| s.name()).chain(["open"]));
        return Err(CommandError::usage(format!("there is no state `{state}`: {}", hint.unwrap_or_default())));
    }
    operations.state()?;
    let wanted = |line: &RunLine| {
        let status = line.status();
        let state = args.state.as_deref().is_none_or(|s| if s == "open" { status.is_open() } else { status.name() == s });
        state && args.runbook.as_ref().is_none_or(|name| line.plan.content.runbook == *name)
    };
    let all = operations.runs();
    let shown: Vec<_> = all.iter().filter(|line| wanted(line)).take(args.limit).collect();
    let now = operations.now();
    let unreadable: &[(String, String)] = if args.state.is_none() && args.runbook.is_none() { operations.unreadable() } else { &[] };
    if args.json {
        let mut list: Vec<_> = shown.iter().map(|line| line.json(now)).collect();
        list.extend(
            unreadable
                .iter()
                .map(|(id, why)| serde_json::json!({"run": id, "status": "unreadable", "standing": "unreadable", "message": why})),
        );
        say!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return Ok(exit::DONE);
    }
    if shown.is_empty() && unreadable.is_empty() {
        say!("no runs here");
    }
    for (id, why) in unreadable {
        say!("{id}  CANNOT BE SHOWN  {why} (lastgreen audit verify)");
    }
    for line in shown {
        let started = line.run.started.map_or_else(|| "not begun".into(), |at| at.iso());
        let (over, count) = line.progress();
        say!(
            "{}  {started}  {:14}  {:24}  {:16}  {over}/{count}  {:>8}  {}  {}",
            line.id,
            line.status().word(),
            fit(&line.plan.content.runbook, 24),
            fit(&line.plan.content.environment.name, 16),
            short(line.elapsed(now)),
            line.run.by.user,
            fit(&line.words(), 80),
        );
    }
    if args.state.is_none() {
        elsewhere(args.runbook.as_deref(), args.limit, operations);
    }
    Ok(exit::DONE)
}

/// Among so many of the latest those of others are looked for.
const LOOKED_AT: i64 = 500;

/// What others have run on this environment, by the records that all keep in one database.
fn elsewhere(runbook: Option<&str>, limit: usize, operations: &Operations) {
    let runs = match operations.runs_elsewhere(LOOKED_AT) {
        Ok(runs) => runs,
        Err(why) => {
            say!("what others have run cannot be told: {why}");
            return;
        }
    };
    for run in runs.iter().filter(|run| runbook.is_none_or(|name| run.runbook == name)).take(limit) {
        let (status, words) = match &run.ended {
            Some(end) => (end.result.word(), end.words.as_str()),
            None => ("not ended", ""),
        };
        let reason = run.reason.as_ref().map_or_else(String::new, |reason| format!("; reason: {reason}"));
        say!("{}  {}  {status}, elsewhere  {}  by {}  {}{}", run.run, run.at.iso(), run.runbook, run.by, fit(words, 80), fit(&reason, 80));
    }
}

/// One run in full. Writing into a string cannot fail.
fn one(line: &RunLine, operations: &Operations) -> String {
    let mut out = String::new();
    let c = &line.plan.content;
    let _ = writeln!(out, "{}  {}  on {} ({})", line.id, c.title, c.environment.name, c.environment.tier.name());
    let _ = writeln!(out, "{} after {}: {}", line.status().word(), short(line.elapsed(operations.now())), line.words());
    let at = |at: Option<Stamp>, none: &str| at.map_or_else(|| none.to_string(), |at| at.iso());
    let _ = writeln!(out, "from {} to {}", at(line.run.started, "not begun"), at(line.run.ended, "not ended"));
    let _ = writeln!(out, "by {}, runner {} on {}", line.run.by, line.run.runner.pid, line.run.runner.host);
    if let Some(reason) = &c.reason {
        let _ = writeln!(out, "reason: {reason}");
    }
    for warning in &c.warnings {
        let _ = writeln!(out, "warned: {warning}");
    }
    for (i, (_, name, run)) in line.steps().iter().enumerate() {
        let took = run.started.zip(run.ended).map_or_else(String::new, |(a, b)| short(b.since(a)));
        let began = run.started.map_or_else(String::new, |at| format!("{}  ", at.hms()));
        let _ = writeln!(out, "{} {:>2} {began}{name}  {}  {took}  {}", step_mark(run.state), i + 1, run.state.word(), run.message);
    }
    for (at, text, loud) in &line.run.notes {
        let _ = writeln!(out, "{} {}: {text}", if *loud { "!!" } else { "--" }, at.iso());
    }
    if c.drill && line.run.is_over() {
        let improve = improvements(&line.plan, &line.run);
        let _ = writeln!(out, "what to improve: {}", if improve.is_empty() { "nothing was seen" } else { "" });
        for what in improve {
            let _ = writeln!(out, "  {what}");
        }
    }
    if let Some(runbook) = line.run.by_hand(&line.plan) {
        let command = match Scope::of(&runbook) {
            Some(scope) => format!("rollback --scope {}", scope.word()),
            None if runbook == "rollback-undo" => format!("rollback undo {}", line.id),
            None => format!("run {runbook}"),
        };
        let _ = writeln!(out, "on by hand: lastgreen {command}");
    }
    out
}

/// The runbooks there are, for programs.
pub fn runbooks_json(operations: &mut Operations) -> serde_json::Value {
    let (loaded, runs) = (operations.runbooks(), operations.runs());
    let lines = Ledger::lines(&loaded, &runs, &operations.config.environment.name, operations.now());
    let one = |line: &RunbookLine| {
        let mut value = serde_json::json!({
            "runbook": line.name, "findings": line.loaded.findings, "due": line.due.words(), "late": line.due.is_late(),
            "last": line.last.map(|(at, status)| serde_json::json!({"at": at, "status": status.name(), "standing": status.name()})),
        });
        if let Some(runbook) = &line.loaded.runbook {
            let front = &runbook.front;
            value["title"] = front.title.as_str().into();
            value["status"] = front.status.word().into();
            value["danger"] = runbook.danger.word().into();
            value["owner"] = front.owner.as_str().into();
            value["severity"] = front.severity.as_str().into();
            value["version"] = front.version.as_str().into();
        }
        value
    };
    lines.iter().map(one).collect()
}

/// The runbooks there are.
pub fn list_runbooks(operations: &mut Operations) -> String {
    let loaded = operations.runbooks();
    let runs = operations.runs();
    let mut out = String::new();
    if loaded.is_empty() {
        let _ = writeln!(out, "there are no runbooks in {}", operations.config.acting.runbooks.display());
    }
    for line in Ledger::lines(&loaded, &runs, &operations.config.environment.name, operations.now()) {
        match &line.loaded.runbook {
            Some(runbook) => {
                let last = line.last.map_or_else(|| "never run".to_string(), |(at, status)| format!("{} {}", status.word(), at.iso()));
                let due = line.due.words();
                let _ = writeln!(
                    out,
                    "{:24}  {:10}  {:8}  {:32}  {last}  {}",
                    line.name,
                    runbook.front.status.word(),
                    runbook.danger.word(),
                    fit(&runbook.front.title, 32),
                    if due == "never run" { "" } else { &due }
                );
            }
            None => {
                let errors = line.loaded.findings.len();
                let _ = writeln!(out, "{:24}  has {}: lastgreen check", line.name, count_of(errors, "mistake"));
            }
        }
    }
    out
}
