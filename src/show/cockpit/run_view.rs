//! A run, looked at: which step's output is shown, how far it is scrolled, what is being answered. A view that opens by
//! itself takes no decision by one key: what changes a run is typed.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::line_edit::{edit, insert, leaves};
use super::typed::{Pressed, Typed};
use crate::base::text::{width, wrap};
use crate::plan::runbook::{Choice, Course, OperatorQuestion, Phase, StepState};
use crate::show::keymap::Action;
use crate::status::{OutputTail, Request, RunLine, RunStatus};

/// What is being typed.
#[derive(Clone, Debug)]
pub enum Asking {
    /// The answer to what that record asked: its word, and a note behind it.
    Answer { asked: u64, question: OperatorQuestion, line: Typed },
    /// `undo` or `leave`, and what the run was at when it was asked for.
    Abort(Course, Typed),
    /// `resume`.
    Resume(Typed),
    /// Text to look for in the output.
    Search(Input),
}

#[derive(Clone, Debug)]
pub struct RunView {
    pub run: String,
    /// The step whose output is shown; `None` follows the run.
    pub step: Option<usize>,
    /// Rows from the end; 0 follows the output.
    pub scroll: usize,
    pub wrap: bool,
    pub search: String,
    pub asking: Option<Asking>,
    /// What the backend said last about it, and whether that is a fault.
    pub said: Option<(String, bool)>,
    /// The keys are shown in the place of the output.
    pub help: bool,
}

impl RunView {
    pub fn new(run: String) -> RunView {
        RunView { run, step: None, scroll: 0, wrap: false, search: String::new(), asking: None, said: None, help: false }
    }

    /// The key of the step whose output is shown.
    pub fn shown_step(&self, line: &RunLine) -> Option<String> {
        let steps = line.steps();
        if let Some(chosen) = self.step {
            return steps.get(chosen).map(|(key, ..)| key.clone());
        }
        let current = line.run.current().map(|(key, _)| key.clone());
        let last = || steps.iter().rfind(|(.., run)| run.state != StepState::Pending && run.started.is_some()).map(|(key, ..)| key.clone());
        current.or_else(last)
    }

    /// The rows an output comes to on so many cells, and which of them have what is searched for.
    pub fn rows(&self, tail: &OutputTail, cells: usize) -> Vec<(String, bool)> {
        let wanted = self.search.to_lowercase();
        let mut rows: Vec<(String, bool)> = Vec::new();
        if tail.cut {
            rows.push(("… what came before is in the file".into(), false));
        }
        for text in &tail.lines {
            let hit = !wanted.is_empty() && text.to_lowercase().contains(&wanted);
            if self.wrap && width(text) > cells {
                rows.extend(wrap(text, cells).into_iter().map(|part| (part, hit)));
            } else {
                rows.push((text.clone(), hit));
            }
        }
        rows
    }

    /// What was scrolled to stays where it is when more is printed.
    pub fn keep_place(&mut self, old: Option<&OutputTail>, new: &OutputTail) {
        if let Some(old) = old.filter(|old| self.scroll > 0 && old.run == new.run && old.step == new.step) {
            self.scroll += new.lines.len().saturating_sub(old.lines.len());
        }
    }

    /// Goes to the next row that has what is searched for, up or down.
    fn go_to_match(&mut self, rows: &[(String, bool)], up: bool) {
        let bottom = rows.len().saturating_sub(1 + self.scroll.min(rows.len()));
        let hits = || rows.iter().enumerate().filter(|(_, (_, hit))| *hit).map(|(i, _)| i);
        let found = if up { hits().rfind(|i| *i < bottom) } else { hits().find(|i| *i > bottom) };
        if let Some(found) = found {
            self.scroll = rows.len() - 1 - found;
        }
    }

    /// Whether something is being typed: then every key belongs to that.
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// What is to be looked at: the run and the step whose output is shown.
    pub fn looks_at(&self, line: Option<&RunLine>) -> Request {
        Request::Look(line.and_then(|line| self.shown_step(line)).map(|step| (self.run.clone(), step)))
    }

    /// An action on the view or on its run.
    pub fn act(&mut self, action: Option<Action>, context: &RunContext) -> RunViewResult {
        let count = context.line.map_or(0, |line| line.steps().len());
        let mut requests = Vec::new();
        // What was said has been seen; a fault stays until it is put away.
        let fault = self.said.as_ref().is_some_and(|(_, fault)| *fault);
        if !fault || matches!(action, Some(Action::Back | Action::Answer | Action::Pause | Action::Abort | Action::Resume)) {
            self.said = None;
        }
        match action {
            Some(Action::Back) if fault || self.help => self.help = false,
            Some(Action::Back | Action::Detach | Action::Quit) => return RunViewResult::Left,
            Some(Action::Help) => self.help = !self.help,
            Some(Action::Wrap) => self.wrap = !self.wrap,
            Some(Action::Search) => self.asking = Some(Asking::Search(Input::new(self.search.clone()))),
            Some(Action::StepBefore | Action::StepAfter) if count > 0 => {
                let here = self.step.or_else(|| self.position(context.line)).unwrap_or(0);
                let next = if action == Some(Action::StepBefore) { here.saturating_sub(1) } else { (here + 1).min(count - 1) };
                (self.step, self.scroll) = (Some(next), 0);
            }
            Some(action @ (Action::Answer | Action::Pause | Action::Abort | Action::Resume)) => {
                requests.extend(self.lead(action, context));
            }
            Some(action) => self.scroll(action, context),
            None => {}
        }
        RunViewResult::Open(requests)
    }

    /// The wheel of a mouse.
    pub fn turn(&mut self, tail: Option<&OutputTail>, by: isize, columns: u16) {
        let rows = tail.map_or(0, |tail| self.rows(tail, usize::from(columns.saturating_sub(2))).len());
        self.scroll = self.scroll.saturating_add_signed(-by).min(rows.saturating_sub(1));
    }

    /// Moves in the output, and no further than there is any.
    fn scroll(&mut self, action: Action, context: &RunContext) {
        let rows = self.shown_rows(context);
        match action {
            Action::Up => self.scroll += 1,
            Action::Down => self.scroll = self.scroll.saturating_sub(1),
            Action::PageUp => self.scroll += 10,
            Action::PageDown => self.scroll = self.scroll.saturating_sub(10),
            Action::First => self.scroll = rows.len(),
            Action::Last => (self.scroll, self.step) = (0, None),
            Action::MatchBefore => self.go_to_match(&rows, true),
            Action::MatchAfter => self.go_to_match(&rows, false),
            _ => {}
        }
        self.scroll = self.scroll.min(rows.len().saturating_sub(1));
    }

    fn shown_rows(&self, context: &RunContext) -> Vec<(String, bool)> {
        context.output.map_or_else(Vec::new, |tail| self.rows(tail, usize::from(context.columns.saturating_sub(2))))
    }

    fn position(&self, line: Option<&RunLine>) -> Option<usize> {
        let line = line?;
        let shown = self.shown_step(line)?;
        line.steps().iter().position(|(key, ..)| *key == shown)
    }

    /// Answer, pause, go on, abort: what fits the run's status. What changes more than a pause is asked for in words.
    fn lead(&mut self, action: Action, context: &RunContext) -> Option<Request> {
        let run = self.run.clone();
        let line = context.line?;
        let typed = || Typed::new(context.pressed.at);
        let mut no = |text: &str| self.said = Some((text.into(), false));
        if context.read_only {
            no("this cockpit only looks (--read-only)");
            return None;
        }
        match (action, line.status()) {
            (Action::Abort, RunStatus::Broken) if line.driven => self.asking = Some(Asking::Abort(line.run.course(), typed())),
            (_, status) if !status.is_open() => no("this run is over"),
            (Action::Abort, _) => self.asking = Some(Asking::Abort(line.run.course(), typed())),
            (Action::Answer, RunStatus::Waiting) => {
                if let Phase::Waiting { question } = &line.run.phase {
                    let note = Typed::with_note(context.pressed.at);
                    self.asking = Some(Asking::Answer { asked: line.run.asked, question: question.clone(), line: note });
                }
            }
            (Action::Answer, _) => no("it asks nothing now"),
            (Action::Resume, RunStatus::Paused | RunStatus::Orphaned) => self.asking = Some(Asking::Resume(typed())),
            (Action::Resume, _) if line.run.pause_wanted => return Some(Request::Resume(run)),
            (Action::Resume, _) => no("its runner lives: there is nothing to take up"),
            (Action::Pause, RunStatus::Paused | RunStatus::Orphaned) => no("it stands still already"),
            (Action::Pause, _) if line.run.pause_wanted => no("it pauses after this step already"),
            _ => return Some(Request::Pause(run)),
        }
        None
    }

    /// A key of what is being typed; what it asks for when it is complete.
    pub fn ask_key(&mut self, key: KeyEvent, context: &RunContext) -> Option<Request> {
        let asking = self.asking.take()?;
        if leaves(key) {
            return None;
        }
        let (asking, request) = self.said_so_far(asking, key, context);
        self.asking = asking;
        request
    }

    /// What goes on being typed, or, when it is complete, what it asks for.
    fn said_so_far(&mut self, asking: Asking, key: KeyEvent, context: &RunContext) -> (Option<Asking>, Option<Request>) {
        let run = self.run.clone();
        match asking {
            Asking::Answer { asked, question, mut line } => {
                if let Some(text) = line.key(key, context.pressed) {
                    let (word, note) = text.split_once(' ').unwrap_or((&text, ""));
                    if let Some(choice) = Choice::parse(word).filter(|choice| question.choices.contains(choice)) {
                        return (None, Some(Request::Answer { run, asked, step: question.step, choice, note: note.trim().into() }));
                    }
                    let all: Vec<&str> = question.choices.iter().map(|choice| choice.word()).collect();
                    line.refuse(format!("`{word}` is none of these: {}", all.join(", ")));
                }
                (Some(Asking::Answer { asked, question, line }), None)
            }
            Asking::Abort(seen, mut line) => {
                let can_go_back = context.line.is_some_and(|line| !line.run.way_back(&line.plan).is_empty());
                match line.key(key, context.pressed).as_deref() {
                    Some("undo") if can_go_back => return (None, Some(Request::Abort { run, undo: true, seen })),
                    Some("leave") => return (None, Some(Request::Abort { run, undo: false, seen })),
                    Some(_) => line.refuse(if can_go_back { "type undo, or leave" } else { "there is nothing to undo: type leave" }),
                    None => {}
                }
                (Some(Asking::Abort(seen, line)), None)
            }
            Asking::Resume(mut line) => {
                match line.key(key, context.pressed).as_deref() {
                    Some("resume") => return (None, Some(Request::Resume(run))),
                    Some(_) => line.refuse("type resume"),
                    None => {}
                }
                (Some(Asking::Resume(line)), None)
            }
            Asking::Search(mut input) => {
                let done = key.code == KeyCode::Enter;
                if !done {
                    edit(&mut input, key);
                }
                self.search = input.value().to_string();
                if !done {
                    return (Some(Asking::Search(input)), None);
                }
                self.scroll = 0;
                let rows = self.shown_rows(context);
                if !rows.last().is_some_and(|(_, hit)| *hit) {
                    self.go_to_match(&rows, true);
                }
                (None, None)
            }
        }
    }

    /// Pasted text goes into a note or a search, and is never a decision.
    pub fn paste(&mut self, text: &str) {
        match &mut self.asking {
            Some(Asking::Answer { line, .. } | Asking::Abort(_, line) | Asking::Resume(line)) => line.paste(text),
            Some(Asking::Search(input)) => insert(input, text),
            None => {}
        }
    }
}

/// What the view sees of the cockpit around it.
pub struct RunContext<'a> {
    pub line: Option<&'a RunLine>,
    pub output: Option<&'a OutputTail>,
    pub pressed: Pressed,
    pub read_only: bool,
    pub columns: u16,
}

/// What an action in the view leads to.
pub enum RunViewResult {
    /// It stays open, and asks for this.
    Open(Vec<Request>),
    Left,
}
