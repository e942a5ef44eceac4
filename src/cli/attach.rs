//! `lastgreen attach`, `resume` and `abort`: a run as text while it goes, and talking to it.

use std::collections::HashMap;
use std::io::{BufRead, IsTerminal, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use super::args::{AbortArgs, AttachArgs, ResumeArgs};
use super::desk::{Desk, Refusal};
use super::exit;
use super::run::complain;
use crate::base::units::short;
use crate::cockpit::{RunLine, Standing, step_mark};
use crate::runbook::{Choice, Phase, Question, StepState};
use crate::runner::Request;

/// How often the journal is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Looks on, answers or pauses. Gives the exit code.
pub fn attach(args: &AttachArgs, desk: &mut Desk) -> u8 {
    let id = match desk.find_open(&args.run) {
        Ok(id) => id,
        Err(refusal) => return complain(&refusal),
    };
    let done = match (&args.answer, args.pause) {
        (Some(word), _) => answer(desk, &id, word, &args.note),
        (None, true) => desk.tell(&id, &Request::Pause),
        (None, false) => return follow(desk, &id, false),
    };
    match done {
        Ok(()) => exit::DONE,
        Err(refusal) => complain(&refusal),
    }
}

fn answer(desk: &mut Desk, id: &str, word: &str, note: &str) -> Result<(), Refusal> {
    let line = desk.line(id)?;
    let Phase::Waiting { question } = line.run.phase.clone() else {
        return Err(Refusal::Refused(format!("run {id} asks nothing now")));
    };
    let all: Vec<&str> = question.choices.iter().map(|c| c.word()).collect();
    let choice = Choice::parse(word).filter(|c| question.choices.contains(c));
    let choice = choice.ok_or_else(|| Refusal::Usage(format!("`{word}` is no answer to this: {}", all.join(", "))))?;
    desk.tell(id, &Request::Answer { asked: line.run.asked, step: question.step, choice, note: note.into() })
}

/// Gives the exit code.
pub fn resume(args: &ResumeArgs, desk: &mut Desk) -> u8 {
    let id = match desk.find_open(&args.run).and_then(|id| desk.resume(&id).map(|()| id)) {
        Ok(id) => id,
        Err(refusal) => return complain(&refusal),
    };
    if args.detach {
        say!("{id}");
        return exit::DONE;
    }
    follow(desk, &id, false)
}

/// Gives the exit code.
pub fn abort(args: &AbortArgs, desk: &mut Desk) -> u8 {
    match desk.find_open(&args.run).and_then(|id| abort_run(args, desk, &id)) {
        Ok(code) => code,
        Err(refusal) => complain(&refusal),
    }
}

fn abort_run(args: &AbortArgs, desk: &mut Desk, id: &str) -> Result<u8, Refusal> {
    let line = desk.line(id)?;
    if !line.standing().is_open() {
        return Err(Refusal::Refused(format!("run {id} is {}: there is nothing to abort", line.standing().word())));
    }
    let left = line.run.left_behind(&line.plan);
    eprintln!("aborting {} ({id}) would leave:\n  {}", line.plan.content.title, left.join("\n  "));
    let undo = match (args.undo, args.leave) {
        (true, _) => true,
        (_, true) => false,
        _ if std::io::stdin().is_terminal() => {
            eprint!("Type undo, or leave; anything else lets the run go on: ");
            let _ = std::io::stderr().flush();
            let mut said = String::new();
            let _ = std::io::stdin().lock().read_line(&mut said);
            match said.trim() {
                "undo" => true,
                "leave" => false,
                _ => return Err(Refusal::Refused("not aborted".into())),
            }
        }
        _ => return Err(Refusal::Refused("say --undo or --leave".into())),
    };
    desk.abort(id, undo, &args.reason)?;
    Ok(match follow(desk, id, false) {
        code if code == crate::runbook::RunResult::Aborted.exit_code() => exit::DONE,
        code => code,
    })
}

/// What has been printed of a run.
#[derive(Default)]
struct Printed {
    states: HashMap<String, StepState>,
    outputs: HashMap<String, u64>,
    notes: usize,
    asked: Option<Question>,
    paused: bool,
    rollback: bool,
}

/// Prints a run as it goes, until it ends, waits for somebody who is not there, or the operator leaves.
pub fn follow(desk: &mut Desk, id: &str, json: bool) -> u8 {
    leave_on_interrupt(id.to_string());
    let mut printed = Printed::default();
    let answers = std::io::stdin().is_terminal() && !json;
    loop {
        let line = match desk.line(id) {
            Ok(line) => line,
            Err(refusal) => return complain(&refusal),
        };
        if !json {
            printed.news(desk, &line);
        }
        let standing = line.standing();
        let code = match standing {
            Standing::Running => None,
            Standing::Waiting if answers => {
                let Phase::Waiting { question } = &line.run.phase else { continue };
                match prompt(question) {
                    Some((choice, note)) => {
                        if let Err(refusal) =
                            desk.tell(id, &Request::Answer { asked: line.run.asked, step: question.step.clone(), choice, note })
                        {
                            eprintln!("{}", refusal.words());
                        }
                        None
                    }
                    None => Some(exit::WAITS),
                }
            }
            Standing::Waiting => Some(exit::WAITS),
            // The runner may only be about to go; a look later it is gone, or goes on.
            Standing::Paused if line.driven && !printed.paused => {
                printed.paused = true;
                None
            }
            Standing::Paused | Standing::Orphaned => Some(exit::WAITS),
            Standing::Broken => Some(exit::BAD_FILE),
            over => Some(over_code(&line, over)),
        };
        if let Some(code) = code {
            return last_word(desk, &line, code, json);
        }
        std::thread::sleep(LOOK);
    }
}

fn over_code(line: &RunLine, standing: Standing) -> u8 {
    match &line.run.phase {
        Phase::Ended { result, .. } => result.exit_code(),
        _ if standing == Standing::Broken => exit::BAD_FILE,
        _ => exit::FAILED,
    }
}

fn last_word(desk: &Desk, line: &RunLine, code: u8, json: bool) -> u8 {
    if json {
        say!("{}", serde_json::to_string_pretty(&line.json(desk.now())).unwrap_or_default());
        return code;
    }
    say!("{} after {}: {}", line.standing().word(), short(line.elapsed(desk.now())), line.words());
    match line.standing() {
        Standing::Waiting => {
            if let Phase::Waiting { question } = &line.run.phase {
                let all: Vec<&str> = question.choices.iter().map(|c| c.word()).collect();
                say!("answer: lastgreen attach {} --answer {}", line.id, all.join("|"));
            }
        }
        Standing::Paused | Standing::Orphaned => say!("go on: lastgreen resume {}", line.id),
        standing if !standing.is_open() => {
            for item in &line.plan.content.checklists.after {
                say!("  after: {item}");
            }
        }
        _ => {}
    }
    code
}

/// Asks the operator; `None` when there is nobody any more.
fn prompt(question: &Question) -> Option<(Choice, String)> {
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
    fn news(&mut self, desk: &Desk, line: &RunLine) {
        if let (Some(back), false) = (&line.run.rollback, self.rollback) {
            self.rollback = true;
            say!("rolling back: {}", back.why);
        }
        let steps = line.steps();
        let count = steps.len();
        for (i, (key, name, run)) in steps.iter().enumerate() {
            self.output(desk, &line.id, key);
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
    fn output(&mut self, desk: &Desk, id: &str, key: &str) {
        let Some(path) = desk.output(id, key) else { return };
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
