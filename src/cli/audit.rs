//! `lastgreen audit`: what is on record, whether it is whole, and whether the database has the same.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::command_error::{CommandError, CommandResult};
use crate::backend::{Operations, audit_database};
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::base::exit;
use crate::base::units::count_of;
use crate::config::planned_config;
use crate::observe::source::Session;
use crate::plan::runbook::{Event, Record, Run};
use crate::record::journal::{self, Mirror, StateDir, compare, no_failpoint};
use crate::record::notify::{Extent, Undelivered, deliver_waiting, sweep_notifications, sync_run};

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
        Event::StepProbed { step, answer, message } => format!("{step}: {}: {message}", answer.words()),
        Event::StepFinished { step, outcome, message, .. } => format!("{step}: {}: {message}", outcome.word()),
        Event::Asked { question } => format!("{}: asks: {}", question.step, question.text),
        Event::Answered { step, choice, note, by } => {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            format!("{step}: {by} answers {}{note}", choice.word())
        }
        Event::SupersedeWanted { by, run } => format!("{by}: the emergency of run {run} takes the environment"),
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
    /// Records that the database does not have yet.
    #[serde(skip_serializing_if = "is_zero")]
    behind: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
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
                None if one.behind > 0 => {
                    say!("ok   {}  {}, {} of them not in the database yet", one.run, count_of(one.records, "record"), one.behind)
                }
                None => say!("ok   {}  {}", one.run, count_of(one.records, "record")),
                Some(difference) => say!("BAD  {}  {difference}", one.run),
            }
        }
        let behind = all.iter().filter(|v| v.behind > 0).count();
        let what = match (&unasked, offline, bad, behind) {
            (Some(why), ..) => format!("NOT COMPARED with the database: {why}"),
            (None, true, ..) => "the database was not asked".into(),
            (None, false, _, 0) if crate::backend::audit_database(&operations.config).is_none() => {
                "there is no database to compare them with".into()
            }
            (None, false, 0, 0) => "the database has the same".into(),
            (None, false, 0, n) => format!("the database has the same, but is behind with {n} (lastgreen audit sync)"),
            (None, false, ..) => "see the lines above".into(),
        };
        say!("{} of {} runs are whole; {what}", all.len() - bad, all.len());
    }
    Ok(match (bad, unasked) {
        (0, None) => exit::DONE,
        (0, Some(_)) => exit::UNAVAILABLE,
        (_, _) => exit::FAILED,
    })
}

/// Whether a journal is whole, unchanged, and the one of its plan.
fn verify_journal(state: &StateDir, id: &str) -> Verified {
    let mut verified = Verified { run: id.to_string(), records: 0, ok: true, difference: None, behind: 0 };
    let folder = state.run(id);
    let checked = || -> Result<usize, String> {
        let plan = state.plan(id)?;
        if !folder.join("journal.jsonl").exists() && !journal::has_begun(&folder) {
            // It was planned and never begun.
            return Ok(0);
        }
        let replay = journal::read(&folder).map_err(|e| e.to_string())?;
        if replay.lines.is_empty() && journal::has_begun(&folder) {
            return Err("its journal had records, and is empty".into());
        }
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
    for one in all.iter_mut().filter(|v| v.difference.is_none()) {
        let folder = state.run(&one.run);
        let Some(database) = state.plan(&one.run).ok().and_then(|plan| audit_database(&planned_config(&plan).ok()?.0)) else { continue };
        if !mirrors.contains_key(&database.url) {
            mirrors.insert(database.url.clone(), open(&database).await?);
        }
        let there = match mirrors.get_mut(&database.url).and_then(Option::as_mut) {
            Some(mirror) => mirror.lines(&one.run).await.map_err(|e| e.to_string())?,
            None => Vec::new(),
        };
        let replay = if one.records > 0 { journal::read(&folder).map_err(|e| e.to_string())? } else { journal::Replay::default() };
        one.difference = match compare(&replay.lines, &there) {
            // What has not got there yet is no difference: it is on its way.
            Some(difference) if difference.seq as usize > there.len() && there.len() < replay.lines.len() => {
                one.behind = replay.lines.len() - there.len();
                None
            }
            Some(_) if replay.lines.is_empty() => Some(format!("its journal has no record, and the database has {}", there.len())),
            other => other.map(|d| format!("record {} {}", d.seq, d.what)),
        };
        one.ok = one.difference.is_none();
    }
    if let (true, Some(database)) = (whole, audit_database(&operations.config))
        && let Some(mut mirror) = open(&database).await?
    {
        let (host, own) = (crate::backend::host(), state.root().display().to_string());
        for (run, line) in mirror.runs(&operations.config.environment.name).await.map_err(|e| e.to_string())? {
            // A colleague on this host has a state folder of their own.
            let begun_here = serde_json::from_str::<serde_json::Value>(&line).is_ok_and(|v| {
                let said = |what: &str| v.pointer(&format!("/event/runner/{what}")).and_then(|said| said.as_str());
                said("host") == Some(host.as_str()) && said("state").is_none_or(|folder| *folder == *own)
            });
            if begun_here && !all.iter().any(|v| v.run == run) && !state.run(&run).exists() {
                let difference = Some("is in the database, and its folder is gone from this host".to_string());
                all.push(Verified { run, records: 0, ok: false, difference, behind: 0 });
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
    /// Notifications that could not be sent, each with the reason.
    letters_waiting: usize,
    undelivered: Vec<Undelivered>,
    problems: Vec<String>,
}

fn sync(operations: &mut Operations, json: bool, runtime: &Runtime) -> CommandResult {
    if operations.read_only {
        return Err(CommandError::refused("this is --read-only: nothing is written"));
    }
    let state = operations.state()?;
    let mut synced = Synced::default();
    for id in state.ids() {
        if !state.is_in_memory(&id) {
            sweep_notifications(state, &id, &Clock::System);
        }
        let Some(database) = state.plan(&id).ok().and_then(|plan| audit_database(&planned_config(&plan).ok()?.0)) else { continue };
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
    synced.undelivered = runtime.block_on(deliver_waiting(state, &Clock::System, &no_failpoint()));
    synced.letters_waiting = synced.undelivered.len();
    if json {
        say!("{}", serde_json::to_string_pretty(&synced).unwrap_or_default());
    } else {
        for problem in &synced.problems {
            say!("not yet: {problem}");
        }
        for one in &synced.undelivered {
            say!("not sent: {} to {}: {}", one.title, one.channel, one.why);
        }
        say!(
            "{} runs, {} records, {} of them written now; {} notifications still wait",
            synced.runs,
            synced.records,
            synced.written,
            synced.letters_waiting
        );
    }
    Ok(if synced.problems.is_empty() && synced.letters_waiting == 0 { exit::DONE } else { exit::UNAVAILABLE })
}
