//! `lastgreen audit`: what is on record, whether it is whole, and whether the database has the same.

use serde::Serialize;
use tokio::runtime::Runtime;

use super::args::{AuditArgs, AuditSub};
use super::desk::{Desk, Refusal, audit_database};
use super::exit;
use super::run::complain;
use crate::base::clock::Clock;
use crate::journal::{self, Mirror, compare, unwatched};
use crate::runbook::{Event, Record};
use crate::runner::{deliver_waiting, sync_run};
use crate::source::{DatabaseOptions, Session};

/// Gives the exit code.
pub fn audit(args: &AuditArgs, desk: &mut Desk, runtime: &Runtime) -> u8 {
    let done = match &args.command {
        AuditSub::Show { run, json } => show(desk, run, *json),
        AuditSub::Verify { run, offline, json } => verify(desk, run.as_deref(), *offline, *json, runtime),
        AuditSub::Sync { json } => sync(desk, *json, runtime),
    };
    done.unwrap_or_else(|refusal| complain(&refusal))
}

fn show(desk: &Desk, wanted: &str, json: bool) -> Result<u8, Refusal> {
    let state = desk.state()?;
    let id = state.find(wanted).map_err(Refusal::Wrong)?;
    let replay = journal::read(&state.run(&id)).map_err(|e| Refusal::Wrong(e.to_string()))?;
    for line in &replay.lines {
        if json {
            println!("{}", line.text);
        } else {
            println!("{:>4}  {}  {}", line.record.seq, line.record.at.iso(), words(&line.record));
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
            format!("{by} began {title} on {environment}{}{reason} (process {} on {})", if *drill { " as a drill" } else { "" }, runner.pid, runner.host)
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

fn verify(desk: &Desk, wanted: Option<&str>, offline: bool, json: bool, runtime: &Runtime) -> Result<u8, Refusal> {
    let state = desk.state()?;
    let ids = match wanted {
        Some(wanted) => vec![state.find(wanted).map_err(Refusal::Wrong)?],
        None => state.ids(),
    };
    let database = if offline { None } else { audit_database(&desk.config) };
    let mut mirror = match &database {
        Some(options) => Some(runtime.block_on(open(options))?),
        None => None,
    };
    let mut all = Vec::new();
    for id in ids {
        let mut verified = Verified { run: id.clone(), records: 0, ok: true, difference: None };
        match journal::read(&state.run(&id)) {
            Err(e) => verified.difference = Some(e.to_string()),
            Ok(replay) => {
                verified.records = replay.lines.len();
                if replay.torn > 0 {
                    verified.difference = Some(format!("line {}: torn: {} bytes were never written whole", replay.lines.len() + 1, replay.torn));
                } else if let Err(e) = state.plan(&id) {
                    verified.difference = Some(e);
                } else if let Some(mirror) = &mut mirror {
                    let there = runtime.block_on(mirror.lines(&id)).map_err(|e| Refusal::Unavailable(format!("the database: {e}")))?;
                    verified.difference = compare(&replay.lines, &there).map(|d| format!("record {} {}", d.seq, d.what));
                }
            }
        }
        verified.ok = verified.difference.is_none();
        all.push(verified);
    }
    let bad = all.iter().filter(|v| !v.ok).count();
    if json {
        println!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        for one in &all {
            match &one.difference {
                None => println!("ok   {}  {} records", one.run, one.records),
                Some(difference) => println!("BAD  {}  {difference}", one.run),
            }
        }
        let whole = if database.is_some() { "whole, and the database has the same" } else { "whole (the database was not asked)" };
        println!("{} of {} runs are {whole}", all.len() - bad, all.len());
    }
    Ok(if bad == 0 { exit::DONE } else { exit::FAILED })
}

async fn open(options: &DatabaseOptions) -> Result<Mirror, Refusal> {
    let session = Session::open(options).await.map_err(|f| Refusal::Unavailable(format!("the database: {}", f.message)))?;
    Mirror::new(session).await.map_err(|e| Refusal::Unavailable(format!("the database: {e}")))
}

#[derive(Default, Serialize)]
struct Synced {
    runs: usize,
    records: u64,
    written: u64,
    letters_waiting: usize,
    problems: Vec<String>,
}

fn sync(desk: &Desk, json: bool, runtime: &Runtime) -> Result<u8, Refusal> {
    let state = desk.state()?;
    let mut synced = Synced::default();
    match audit_database(&desk.config) {
        None => synced.problems.push("there is no database to mirror to: add a database source, or name it under [audit]".into()),
        Some(database) => {
            for id in state.ids() {
                match runtime.block_on(sync_run(state, &id, &database)) {
                    Ok(done) => {
                        synced.runs += 1;
                        synced.records += done.records;
                        synced.written += done.written;
                    }
                    Err(e) => synced.problems.push(format!("{id}: {e}")),
                }
            }
        }
    }
    synced.letters_waiting = runtime.block_on(deliver_waiting(state, &Clock::System, &unwatched()));
    if json {
        println!("{}", serde_json::to_string_pretty(&synced).unwrap_or_default());
    } else {
        for problem in &synced.problems {
            println!("not yet: {problem}");
        }
        println!(
            "{} runs, {} records, {} of them written now; {} letters still wait",
            synced.runs, synced.records, synced.written, synced.letters_waiting
        );
    }
    Ok(if synced.problems.is_empty() && synced.letters_waiting == 0 { exit::DONE } else { exit::UNAVAILABLE })
}
