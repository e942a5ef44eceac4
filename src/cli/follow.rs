//! A run as text while it goes: its steps, its output and its questions, until it ends or the operator leaves.

use std::collections::HashMap;
use std::io::{BufRead, IsTerminal, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use super::command_error::{CommandError, CommandResult};
use crate::act::runner::ControlRequest;
use crate::backend::Operations;
use crate::base::exit;
use crate::base::units::short;
use crate::plan::runbook::{Choice, OperatorQuestion, Phase, StepProgress, StepState};
use crate::record::journal;
use crate::status::{RunLine, RunStatus, step_mark};

/// How often the journal is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// How a run is printed while it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowOutput {
    Text,
    /// A document at the end.
    LastJson,
    /// Every record as it stands in the journal and how far the step at work is, a line each; the document at the end.
    JsonLines,
}

/// How long a run that is over may take to let go of its environment.
const LETS_GO: Duration = Duration::from_secs(10);

/// How often it is said how far a step is.
const PROGRESS: Duration = Duration::from_secs(2);

/// What has been printed of a run.
#[derive(Default)]
struct Printed {
    states: HashMap<String, StepState>,
    outputs: HashMap<String, u64>,
    notes: usize,
    asked: Option<OperatorQuestion>,
    paused: bool,
    rollback: bool,
    records: usize,
    progress: Option<(Instant, StepProgress)>,
    /// When it was first seen to be over.
    over: Option<Instant>,
}

/// Prints a run as it goes, until it ends, waits for somebody who is not there, or the operator leaves.
pub fn follow(operations: &mut Operations, id: &str, output: FollowOutput) -> CommandResult {
    let json = output != FollowOutput::Text;
    leave_on_interrupt(id.to_string());
    let mut printed = Printed::default();
    let answers = std::io::stdin().is_terminal() && !json;
    loop {
        let line = operations.line(id)?;
        match output {
            FollowOutput::Text => printed.news(operations, &line),
            FollowOutput::JsonLines => printed.stream(operations, &line)?,
            FollowOutput::LastJson => {}
        }
        let status = line.status();
        let code = match status {
            RunStatus::Running => None,
            RunStatus::Waiting if answers => {
                let Phase::Waiting { question } = &line.run.phase else { continue };
                match prompt(question) {
                    Some((choice, note)) => {
                        if let Err(refusal) = operations
                            .tell(id, &ControlRequest::Answer { asked: line.run.asked, step: question.step.clone(), choice, note })
                        {
                            eprintln!("{}", refusal.words());
                        }
                        None
                    }
                    None => Some(exit::WAITS),
                }
            }
            RunStatus::Waiting => Some(exit::WAITS),
            // The runner may only be about to go; a look later it is gone, or goes on.
            RunStatus::Paused if line.driven && !printed.paused => {
                printed.paused = true;
                None
            }
            RunStatus::Paused | RunStatus::Orphaned => Some(exit::WAITS),
            RunStatus::Broken => Some(exit::BAD_FILE),
            // Whoever begins the next run when this command comes back must find the environment free.
            _ if line.driven && printed.over.get_or_insert_with(Instant::now).elapsed() < LETS_GO => None,
            over => Some(over_code(&line, over)),
        };
        if let Some(code) = code {
            return Ok(last_word(operations, &line, code, json));
        }
        std::thread::sleep(LOOK);
    }
}

fn over_code(line: &RunLine, status: RunStatus) -> u8 {
    match &line.run.phase {
        Phase::Ended { result, .. } => result.exit_code(),
        _ if status == RunStatus::Broken => exit::BAD_FILE,
        _ => exit::FAILED,
    }
}

fn last_word(operations: &Operations, line: &RunLine, code: u8, json: bool) -> u8 {
    if json {
        // One line, as those are that may have been streamed before it.
        say!("{}", line.json(operations.now()));
        return code;
    }
    say!("{} after {}: {}", line.status().word(), short(line.elapsed(operations.now())), line.words());
    match line.status() {
        RunStatus::Waiting => {
            if let Phase::Waiting { question } = &line.run.phase {
                let all: Vec<&str> = question.choices.iter().map(|c| c.word()).collect();
                say!("answer: lastgreen attach {} --answer {}", line.id, all.join("|"));
            }
        }
        RunStatus::Paused | RunStatus::Orphaned => say!("go on: lastgreen resume {}", line.id),
        RunStatus::Superseded => {
            say!("what was left of it is not done: look at what that one has done (lastgreen runs) before anything is begun again")
        }
        status if !status.is_open() => {
            for item in line.afterwards() {
                say!("  after: {item}");
            }
        }
        _ => {}
    }
    code
}

/// Asks the operator; `None` when there is nobody any more.
fn prompt(question: &OperatorQuestion) -> Option<(Choice, String)> {
    let all: Vec<String> = question.choices.iter().map(|c| format!("{} ({})", c.word(), c.doc())).collect();
    loop {
        eprint!("  answer: {}: ", all.join(", "));
        let _ = std::io::stderr().flush();
        let mut said = String::new();
        match std::io::stdin().lock().read_line(&mut said) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let (word, note) = said.trim().split_once(' ').unwrap_or((said.trim(), ""));
        match Choice::parse(word).filter(|c| question.choices.contains(c)) {
            Some(choice) => return Some((choice, note.trim().to_string())),
            None => eprintln!("  `{word}` is none of these (a note may stand behind the answer)"),
        }
    }
}

impl Printed {
    /// Prints the records that are new, and how far the step is that is at work.
    fn stream(&mut self, operations: &Operations, line: &RunLine) -> Result<(), CommandError> {
        let replay = journal::read(&operations.state()?.run(&line.id)).unwrap_or_default();
        for record in replay.lines.iter().skip(self.records) {
            say!("{}", record.text);
        }
        self.records = replay.lines.len();
        if let Some(progress) = self.progress_news(line) {
            say!("{}", serde_json::json!({"progress": progress}));
        }
        Ok(())
    }

    /// How far the step at work is, where that is new and was not said a moment ago.
    fn progress_news(&mut self, line: &RunLine) -> Option<StepProgress> {
        let new = line.progress.clone().filter(|p| line.progress_of(&p.step).is_some())?;
        if self.progress.as_ref().is_some_and(|(at, old)| at.elapsed() < PROGRESS || *old == new) {
            return None;
        }
        self.progress = Some((Instant::now(), new.clone()));
        Some(new)
    }

    fn news(&mut self, operations: &Operations, line: &RunLine) {
        if let (Some(back), false) = (&line.run.rollback, self.rollback) {
            self.rollback = true;
            say!("rolling back: {}", back.why);
        }
        if let Some(progress) = self.progress_news(line) {
            say!("  .. {}", progress.progress.text());
        }
        let steps = line.steps();
        let count = steps.len();
        for (i, (key, name, run)) in steps.iter().enumerate() {
            self.output(operations, &line.id, key);
            let before = self.states.insert(key.clone(), run.state).unwrap_or_default();
            if before == run.state {
                continue;
            }
            let took = run.started.zip(run.ended).map_or_else(String::new, |(a, b)| format!("  {}", short(b.since(a))));
            match run.state {
                StepState::Pending => {}
                StepState::Running => say!("{} {}/{count} {name}", step_mark(run.state), i + 1),
                state => say!("{} {}/{count} {name}  {}{took}  {}", step_mark(state), i + 1, state.word(), run.message),
            }
        }
        for (at, text, loud) in line.run.notes.iter().skip(self.notes) {
            say!("{} {}: {text}", if *loud { "!!" } else { "--" }, at.hms());
        }
        self.notes = line.run.notes.len();
        if let Phase::Waiting { question } = &line.run.phase
            && self.asked.as_ref() != Some(question)
        {
            say!("? {}", question.text);
            for item in &question.check {
                say!("    - {item}");
            }
            self.asked = Some(question.clone());
        }
        let _ = std::io::stdout().flush();
    }

    /// Prints what a step has written since the last look.
    fn output(&mut self, operations: &Operations, id: &str, key: &str) {
        let Some(path) = operations.output(id, key) else { return };
        let Ok(mut file) = std::fs::File::open(path) else { return };
        let from = self.outputs.entry(key.to_string()).or_default();
        if file.seek(SeekFrom::Start(*from)).is_err() {
            return;
        }
        let mut text = Vec::new();
        // A line that is not whole yet waits for the next look.
        if file.read_to_end(&mut text).is_ok() {
            let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            for line in String::from_utf8_lossy(&text[..whole]).lines() {
                say!("  | {line}");
            }
            *from += whole as u64;
        }
    }
}

/// Ctrl+C leaves the run alone, also in the middle of a question.
fn leave_on_interrupt(id: String) {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Ok(waiting) = waiting {
        std::thread::spawn(move || {
            waiting.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    eprintln!("\nleft; the run goes on: lastgreen attach {id}");
                    std::process::exit(i32::from(exit::WAITS));
                }
            });
        });
    }
}
