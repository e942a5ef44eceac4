//! `lastgreen audit`: what is on record, whether it is whole, and whether the database has the same.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::command_error::{CommandError, CommandResult};
use crate::backend::{Operations, audit_database, frozen_config};
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::base::exit;
use crate::observe::source::Session;
use crate::plan::runbook::{Event, Record, Run};
use crate::record::journal::{self, Mirror, StateDir, compare, no_failpoint};
use crate::record::notify::{Extent, deliver_waiting, sweep_notifications, sync_run};

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditSub,
}

impl AuditArgs {
    pub fn json(&self) -> bool {
        let (AuditSub::Show { json, .. } | AuditSub::Verify { json, .. } | AuditSub::Sync { json }) = &self.command;
        *json
    }
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

pub fn audit(args: &AuditArgs, operations: &mut Operations, runtime: &Runtime) -> CommandResult {
    match &args.command {
        AuditSub::Show { run, json } => show(operations, run, *json),
        AuditSub::Verify { run, offline, json } => verify(operations, run.as_deref(), *offline, *json, runtime),
        AuditSub::Sync { json } => sync(operations, *json, runtime),
    }
}

fn show(operations: &mut Operations, wanted: &str, json: bool) -> CommandResult {
    let id = operations.find(wanted)?;
    let state = operations.state()?;
    let replay = journal::read(&state.run(&id)).map_err(|e| CommandError::bad_file(e.to_string()))?;
    for line in &replay.lines {
        if json {
            say!("{}", line.text);
        } else {
            say!("{:>4}  {}  {}", line.record.seq, line.record.at.iso(), words(&line.record));
        }
    }
    if replay.torn > 0 {
        eprintln!("the last line is torn: {} bytes were never written whole", replay.torn);
    }
    Ok(exit::DONE)
}

/// A record in words.
pub fn words(record: &Record) -> String {
    match &record.event {
        Event::Started { title, environment, by, runner, drill, reason, .. } => {
            let reason = reason.as_ref().map_or_else(String::new, |r| format!(", because: {r}"));
            format!(
                "{by} began {title} on {environment}{}{reason} (process {} on {})",
                if *drill { " as a drill" } else { "" },
                runner.pid,
                runner.host
            )
        }
        Event::Resumed { by, runner, cut } => {
            let cut = if *cut > 0 { format!(", {cut} torn bytes were cut off") } else { String::new() };
            format!("{by} took it up again (process {} on {}){cut}", runner.pid, runner.host)
        }
        Event::StepStarted { step, attempt, what } => {
            let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            format!("{step}: begins{again}: {what}")
        }
        Event::StepProbed { step, already, message } => {
            let said = match already {
                Some(true) => "it is so already",
                Some(false) => "it is not so",
                None => "it cannot be told",
            };
            format!("{step}: {said}: {message}")
        }
        Event::StepFinished { step, outcome, message, .. } => format!("{step}: {}: {message}", outcome.word()),
        Event::Asked { question } => format!("{}: asks: {}", question.step, question.text),
        Event::Answered { step, choice, note, by } => {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            format!("{step}: {by} answers {}{note}", choice.word())
        }
        Event::PauseWanted { by } => format!("{by} wants a pause"),
        Event::Paused { why } => format!("paused: {why}"),
        Event::Continued { by } => format!("{by} lets it go on"),
        Event::AbortWanted { by, undo, reason } => {
            let reason = if reason.is_empty() { String::new() } else { format!(", because: {reason}") };
            format!("{by} aborts it, {}{reason}", if *undo { "and wants it undone" } else { "and leaves what was done" })
        }
        Event::RollbackStarted { why, steps } => format!("goes back, {} steps: {why}", steps.len()),
        Event::Noted { text, loud } => format!("{}{text}", if *loud { "WARNING: " } else { "" }),
        Event::Ended { result, message } => format!("{}: {message}", result.word()),
    }
}

#[derive(Serialize)]
struct Verified {
    run: String,
    records: usize,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
}

fn verify(operations: &mut Operations, wanted: Option<&str>, offline: bool, json: bool, runtime: &Runtime) -> CommandResult {
    let ids = match wanted {
        Some(wanted) => vec![operations.find(wanted)?],
        None => operations.state()?.ids(),
    };
    let state = operations.state()?;
    // What is on this disk first: that needs nobody else.
    let mut all: Vec<Verified> = ids.iter().map(|id| verify_journal(state, id)).collect();
    let mut unasked = None;
    if !offline {
        unasked = runtime.block_on(verify_mirrors(operations, state, &mut all, wanted.is_none())).err();
    }
    let bad = all.iter().filter(|v| v.difference.is_some()).count();
    if json {
        say!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        for one in &all {
            match &one.difference {
                None => say!("ok   {}  {} records", one.run, one.records),
                Some(difference) => say!("BAD  {}  {difference}", one.run),
            }
        }
        let what = match (&unasked, offline) {
            (Some(why), _) => format!("whole; NOT COMPARED with the database: {why}"),
            (None, true) => "whole; the database was not asked".into(),
            (None, false) => "whole, and the database has the same".into(),
        };
        say!("{} of {} runs are {what}", all.len() - bad, all.len());
    }
    Ok(match (bad, unasked) {
        (0, None) => exit::DONE,
        (0, Some(_)) => exit::UNAVAILABLE,
        (_, _) => exit::FAILED,
    })
}

/// Whether a journal is whole, unchanged, and the one of its plan.
fn verify_journal(state: &StateDir, id: &str) -> Verified {
    let mut verified = Verified { run: id.to_string(), records: 0, ok: true, difference: None };
    let folder = state.run(id);
    let checked = || -> Result<usize, String> {
        let plan = state.plan(id)?;
        if !folder.join("journal.jsonl").exists() {
            // It was planned and never begun.
            return Ok(0);
        }
        let replay = journal::read(&folder).map_err(|e| e.to_string())?;
        if replay.torn > 0 && !journal::is_driven(&folder) {
            return Err(format!("line {}: torn: {} bytes were never written whole", replay.lines.len() + 1, replay.torn));
        }
        Run::fold(&plan, replay.lines.iter().map(|l| &l.record)).map_err(|e| e.to_string())?;
        Ok(replay.lines.len())
    };
    match checked() {
        Ok(records) => verified.records = records,
        Err(difference) => verified.difference = Some(difference),
    }
    verified.ok = verified.difference.is_none();
    verified
}

/// Compares each journal with the database that its plan names, and asks that of this configuration for runs of this
/// host whose folders are gone.
async fn verify_mirrors(operations: &Operations, state: &StateDir, all: &mut Vec<Verified>, whole: bool) -> Result<(), String> {
    let mut mirrors: HashMap<String, Option<Mirror>> = HashMap::new();
    for one in all.iter_mut().filter(|v| v.difference.is_none() && v.records > 0) {
        let folder = state.run(&one.run);
        let Some(database) = state.plan(&one.run).ok().and_then(|plan| audit_database(&frozen_config(&plan)?)) else { continue };
        if !mirrors.contains_key(&database.url) {
            mirrors.insert(database.url.clone(), open(&database).await?);
        }
        let there = match mirrors.get_mut(&database.url).and_then(Option::as_mut) {
            Some(mirror) => mirror.lines(&one.run).await.map_err(|e| e.to_string())?,
            None => Vec::new(),
        };
        let replay = journal::read(&folder).map_err(|e| e.to_string())?;
        // One that is being written is ahead of its mirror.
        one.difference = match compare(&replay.lines, &there) {
            Some(difference) if journal::is_driven(&folder) && difference.seq as usize > there.len() => None,
            other => other.map(|d| format!("record {} {}", d.seq, d.what)),
        };
        one.ok = one.difference.is_none();
    }
    if let (true, Some(database)) = (whole, audit_database(&operations.config))
        && let Some(mut mirror) = open(&database).await?
    {
        let host = crate::backend::host();
        for (run, line) in mirror.runs(&operations.config.environment.name).await.map_err(|e| e.to_string())? {
            let begun_here =
                serde_json::from_str::<serde_json::Value>(&line).ok().and_then(|v| Some(v.pointer("/event/runner/host")? == host.as_str()));
            if begun_here == Some(true) && !all.iter().any(|v| v.run == run) && !state.run(&run).exists() {
                let difference = Some("is in the database, and its folder is gone from this host".to_string());
                all.push(Verified { run, records: 0, ok: false, difference });
            }
        }
    }
    Ok(())
}

async fn open(options: &DatabaseOptions) -> Result<Option<Mirror>, String> {
    let session = Session::open(options).await.map_err(|f| f.message)?;
    Mirror::existing(session).await.map_err(|e| e.to_string())
}

#[derive(Default, Serialize)]
struct Synced {
    runs: usize,
    records: u64,
    written: u64,
    letters_waiting: usize,
    problems: Vec<String>,
}

fn sync(operations: &mut Operations, json: bool, runtime: &Runtime) -> CommandResult {
    if operations.read_only {
        return Err(CommandError::refused("this is --read-only: nothing is written"));
    }
    let state = operations.state()?;
    let mut synced = Synced::default();
    for id in state.ids() {
        sweep_notifications(state, &id, &Clock::System);
        let Some(database) = state.plan(&id).ok().and_then(|plan| audit_database(&frozen_config(&plan)?)) else { continue };
        match runtime.block_on(sync_run(state, &id, &database, Extent::All)) {
            Ok(done) => {
                synced.runs += 1;
                synced.records += done.records;
                synced.written += done.written;
            }
            Err(e) => synced.problems.push(format!("{id}: {e}")),
        }
    }
    if audit_database(&operations.config).is_none() {
        synced.problems.push("there is no database to mirror to: add a database source, or name it under [audit]".into());
    }
    synced.letters_waiting = runtime.block_on(deliver_waiting(state, &Clock::System, &no_failpoint())).len();
    if json {
        say!("{}", serde_json::to_string_pretty(&synced).unwrap_or_default());
    } else {
        for problem in &synced.problems {
            say!("not yet: {problem}");
        }
        say!(
            "{} runs, {} records, {} of them written now; {} letters still wait",
            synced.runs,
            synced.records,
            synced.written,
            synced.letters_waiting
        );
    }
    Ok(if synced.problems.is_empty() && synced.letters_waiting == 0 { exit::DONE } else { exit::UNAVAILABLE })
}
