//! A run, looked at: which step's output is shown, how far it is scrolled, what is being answered. A view that opens by
//! itself takes no decision by one key: what changes a run is typed.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::{Input, InputRequest};

use super::orders::{Order, OutputTail};
use super::overlay::Overlay;
use super::runs::{RunLine, Standing};
use super::state::State;
use super::typed::Typed;
use super::update::{Command, edit, leaves};
use crate::base::text::{width, wrap};
use crate::keymap::{Action, Chord, Lookup};
use crate::runbook::{Choice, Phase, Question, StepState};

/// What is being typed.
#[derive(Clone, Debug)]
pub enum Asking {
    /// The answer to what that record asked: its word, and a note behind it.
    Answer { asked: u64, question: Question, line: Typed },
    /// `undo` or `leave`.
    Abort(Typed),
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
    /// What the desk said last about it, and whether that is a fault.
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
}

/// Tells the desk whose output to bring.
pub fn look(state: &State) -> Vec<Command> {
    let Some(Overlay::Run(view)) = &state.overlay else { return Vec::new() };
    let step = state.ledger.run(&view.run).and_then(|line| view.shown_step(line));
    vec![Command::Desk(Order::Look(step.map(|step| (view.run.clone(), step))))]
}

/// A key while a run is looked at.
pub fn key(state: &mut State, mut view: Box<RunView>, key: KeyEvent, columns: u16) -> Vec<Command> {
    if let Some(asking) = view.asking.take() {
        return asked(state, view, asking, key, columns);
    }
    state.pending.push(Chord::from(key));
    let action = match state.keymap.lookup_in_run(&state.pending) {
        Lookup::Prefix => {
            state.overlay = Some(Overlay::Run(view));
            return Vec::new();
        }
        Lookup::Nothing => None,
        Lookup::Act(action) => Some(action),
    };
    state.pending.clear();
    let line = state.ledger.run(&view.run).cloned();
    let count = line.as_ref().map_or(0, |line| line.steps().len());
    let mut commands = Vec::new();
    // What was said has been seen; a fault stays until it is put away.
    let fault = view.said.as_ref().is_some_and(|(_, fault)| *fault);
    if !fault || matches!(action, Some(Action::Back | Action::Answer | Action::Pause | Action::Abort | Action::Resume)) {
        view.said = None;
    }
    match action {
        Some(Action::Back) if fault || view.help => view.help = false,
        Some(Action::Back | Action::Detach) => {
            state.left.insert(view.run.clone());
            return vec![Command::Desk(Order::Look(None))];
        }
        Some(Action::Help) => view.help = !view.help,
        Some(Action::Quit) => commands.push(Command::Quit),
        Some(Action::Redraw) => commands.push(Command::Redraw),
        Some(Action::Suspend) => commands.push(Command::Suspend),
        Some(Action::NextTheme) => commands.push(Command::NextTheme),
        Some(Action::Wrap) => view.wrap = !view.wrap,
        Some(Action::Search) => view.asking = Some(Asking::Search(Input::new(view.search.clone()))),
        Some(Action::StepBefore | Action::StepAfter) if count > 0 => {
            let here = view.step.or_else(|| position(line.as_deref(), &view)).unwrap_or(0);
            let next = if action == Some(Action::StepBefore) { here.saturating_sub(1) } else { (here + 1).min(count - 1) };
            (view.step, view.scroll) = (Some(next), 0);
        }
        Some(action @ (Action::Answer | Action::Pause | Action::Abort | Action::Resume)) => {
            commands.extend(lead(state, &mut view, line.as_deref(), action));
        }
        Some(action) => scroll(state, &mut view, action, columns),
        None => {}
    }
    state.overlay = Some(Overlay::Run(view));
    commands.extend(look(state));
    commands
}

/// The wheel of a mouse.
pub fn turn(tail: Option<&OutputTail>, view: &mut RunView, by: isize, columns: u16) {
    let rows = tail.map_or(0, |tail| view.rows(tail, usize::from(columns.saturating_sub(2))).len());
    view.scroll = view.scroll.saturating_add_signed(-by).min(rows.saturating_sub(1));
}

/// Moves in the output, and no further than there is any.
fn scroll(state: &State, view: &mut RunView, action: Action, columns: u16) {
    let rows = state.output.as_ref().map_or_else(Vec::new, |tail| view.rows(tail, usize::from(columns.saturating_sub(2))));
    match action {
        Action::Up => view.scroll += 1,
        Action::Down => view.scroll = view.scroll.saturating_sub(1),
        Action::PageUp => view.scroll += 10,
        Action::PageDown => view.scroll = view.scroll.saturating_sub(10),
        Action::First => view.scroll = rows.len(),
        Action::Last => (view.scroll, view.step) = (0, None),
        Action::MatchBefore => view.go_to_match(&rows, true),
        Action::MatchAfter => view.go_to_match(&rows, false),
        _ => {}
    }
    view.scroll = view.scroll.min(rows.len().saturating_sub(1));
}

fn position(line: Option<&RunLine>, view: &RunView) -> Option<usize> {
    let line = line?;
    let shown = view.shown_step(line)?;
    line.steps().iter().position(|(key, ..)| *key == shown)
}

/// Answer, pause, go on, abort: what fits the run's standing. What changes more than a pause is asked for in words.
fn lead(state: &mut State, view: &mut RunView, line: Option<&RunLine>, action: Action) -> Vec<Command> {
    let run = view.run.clone();
    let Some(line) = line else { return Vec::new() };
    let standing = line.standing();
    let typed = || Typed::new(state.now);
    let no = |view: &mut RunView, text: &str| view.said = Some((text.into(), false));
    if state.read_only {
        no(view, "this cockpit only looks (--read-only)");
        return Vec::new();
    }
    match (action, standing) {
        (Action::Abort, Standing::Broken) if line.driven => view.asking = Some(Asking::Abort(typed())),
        (_, standing) if !standing.is_open() => no(view, "this run is over"),
        (Action::Abort, _) => view.asking = Some(Asking::Abort(typed())),
        (Action::Answer, Standing::Waiting) => {
            if let Phase::Waiting { question } = &line.run.phase {
                view.asking = Some(Asking::Answer { asked: line.run.asked, question: question.clone(), line: Typed::with_note(state.now) });
            }
        }
        (Action::Answer, _) => no(view, "it asks nothing now"),
        (Action::Resume, Standing::Paused | Standing::Orphaned) => view.asking = Some(Asking::Resume(typed())),
        (Action::Resume, _) if line.run.pause_wanted => return vec![Command::Desk(Order::Resume(run))],
        (Action::Resume, _) => no(view, "its runner lives: there is nothing to take up"),
        (Action::Pause, Standing::Paused | Standing::Orphaned) => no(view, "it stands still already"),
        (Action::Pause, _) if line.run.pause_wanted => no(view, "it pauses after this step already"),
        _ => return vec![Command::Desk(Order::Pause(run))],
    }
    Vec::new()
}

fn asked(state: &mut State, mut view: Box<RunView>, asking: Asking, key: KeyEvent, columns: u16) -> Vec<Command> {
    let mut commands = Vec::new();
    if !leaves(key) {
        let (asking, order) = said(state, &mut view, asking, key, columns);
        view.asking = asking;
        commands.extend(order.map(Command::Desk));
    }
    state.overlay = Some(Overlay::Run(view));
    commands
}

/// A key of what is being typed: what goes on being typed, or, when it is complete, what it orders.
fn said(state: &State, view: &mut RunView, asking: Asking, key: KeyEvent, columns: u16) -> (Option<Asking>, Option<Order>) {
    let run = view.run.clone();
    match asking {
        Asking::Answer { asked, question, mut line } => {
            if let Some(text) = line.key(key, state.now) {
                let (word, note) = text.split_once(' ').unwrap_or((&text, ""));
                if let Some(choice) = Choice::parse(word).filter(|choice| question.choices.contains(choice)) {
                    return (None, Some(Order::Answer { run, asked, step: question.step, choice, note: note.trim().into() }));
                }
                let all: Vec<&str> = question.choices.iter().map(|choice| choice.word()).collect();
                line.refuse(format!("`{word}` is none of these: {}", all.join(", ")));
            }
            (Some(Asking::Answer { asked, question, line }), None)
        }
        Asking::Abort(mut line) => {
            let can_go_back = state.ledger.run(&run).is_some_and(|line| !line.run.way_back(&line.plan).is_empty());
            match line.key(key, state.now).as_deref() {
                Some("undo") if can_go_back => return (None, Some(Order::Abort { run, undo: true })),
                Some("leave") => return (None, Some(Order::Abort { run, undo: false })),
                Some(_) => line.refuse(if can_go_back { "type undo, or leave" } else { "there is nothing to undo: type leave" }),
                None => {}
            }
            (Some(Asking::Abort(line)), None)
        }
        Asking::Resume(mut line) => {
            match line.key(key, state.now).as_deref() {
                Some("resume") => return (None, Some(Order::Resume(run))),
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
            view.search = input.value().to_string();
            if !done {
                return (Some(Asking::Search(input)), None);
            }
            view.scroll = 0;
            let rows = state.output.as_ref().map_or_else(Vec::new, |tail| view.rows(tail, usize::from(columns.saturating_sub(2))));
            if !rows.last().is_some_and(|(_, hit)| *hit) {
                view.go_to_match(&rows, true);
            }
            (None, None)
        }
    }
}

/// Pasted text goes into a note or a search, and is never a decision.
pub fn paste(view: &mut RunView, text: &str) {
    match &mut view.asking {
        Some(Asking::Answer { line, .. } | Asking::Abort(line) | Asking::Resume(line)) => line.paste(text),
        Some(Asking::Search(input)) => {
            for c in text.chars().filter(|c| !c.is_control()) {
                input.handle(InputRequest::InsertChar(c));
            }
        }
        None => {}
    }
}
