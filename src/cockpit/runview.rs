//! A run, looked at: which step's output is shown, how far it is scrolled, what is being answered.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use tui_input::Input;

use super::orders::Order;
use super::overlay::Overlay;
use super::runs::{RunLine, Standing};
use super::state::State;
use super::update::{Command, edit, leaves};
use crate::keymap::{Action, Chord, Lookup};
use crate::runbook::{Choice, Phase, StepState};

/// What is being typed or decided.
#[derive(Clone, Debug)]
pub enum Asking {
    /// A note to an answer; Enter sends both.
    Note { asked: u64, step: String, choice: Choice, note: Input },
    /// What the abort is to do with what was done.
    Abort,
    /// Text to look for in the output.
    Search(Input),
}

#[derive(Clone, Debug)]
pub struct RunView {
    pub run: String,
    /// The step whose output is shown; `None` follows the run.
    pub step: Option<usize>,
    /// Lines from the end; 0 follows the output.
    pub scroll: usize,
    pub wrap: bool,
    pub search: String,
    pub asking: Option<Asking>,
}

impl RunView {
    pub fn new(run: String) -> RunView {
        RunView { run, step: None, scroll: 0, wrap: false, search: String::new(), asking: None }
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
}

/// Tells the desk whose output to bring.
pub fn look(state: &State) -> Vec<Command> {
    let Some(Overlay::Run(view)) = &state.overlay else { return Vec::new() };
    let step = state.ledger.run(&view.run).and_then(|line| view.shown_step(line));
    vec![Command::Desk(Order::Look(step.map(|step| (view.run.clone(), step))))]
}

/// A key while a run is looked at.
pub fn key(state: &mut State, mut view: Box<RunView>, key: KeyEvent) -> Vec<Command> {
    if let Some(asking) = view.asking.take() {
        return asked(state, view, asking, key);
    }
    let line = state.ledger.run(&view.run).cloned();
    if let (Some(line), KeyCode::Char(digit @ '1'..='9')) = (&line, key.code)
        && let Phase::Waiting { question } = &line.run.phase
        && let Some(choice) = question.choices.get(digit as usize - '1' as usize)
        && !state.read_only
    {
        view.asking = Some(Asking::Note { asked: line.run.asked, step: question.step.clone(), choice: *choice, note: Input::default() });
        state.overlay = Some(Overlay::Run(view));
        return Vec::new();
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
    let count = line.as_ref().map_or(0, |line| line.steps().len());
    let mut commands = Vec::new();
    match action {
        Some(Action::Back | Action::Detach) => {
            state.left.insert(view.run.clone());
            return vec![Command::Desk(Order::Look(None))];
        }
        Some(Action::Quit) => commands.push(Command::Quit),
        Some(Action::Redraw) => commands.push(Command::Redraw),
        Some(Action::Suspend) => commands.push(Command::Suspend),
        Some(Action::NextTheme) => commands.push(Command::NextTheme),
        Some(Action::Wrap) => view.wrap = !view.wrap,
        Some(Action::Search) => view.asking = Some(Asking::Search(Input::new(view.search.clone()))),
        Some(Action::Up) => view.scroll = view.scroll.saturating_add(1),
        Some(Action::Down) => view.scroll = view.scroll.saturating_sub(1),
        Some(Action::PageUp) => view.scroll = view.scroll.saturating_add(10),
        Some(Action::PageDown) => view.scroll = view.scroll.saturating_sub(10),
        Some(Action::First) => view.scroll = usize::MAX / 2,
        Some(Action::Last) => (view.scroll, view.step) = (0, None),
        Some(Action::StepBefore | Action::StepAfter) if count > 0 => {
            let here = view.step.or_else(|| position(line.as_deref(), &view)).unwrap_or(0);
            let next = if action == Some(Action::StepBefore) { here.saturating_sub(1) } else { (here + 1).min(count - 1) };
            (view.step, view.scroll) = (Some(next), 0);
        }
        Some(action @ (Action::Pause | Action::Abort | Action::Resume)) => commands.extend(lead(state, &mut view, line.as_deref(), action)),
        _ => {}
    }
    state.overlay = Some(Overlay::Run(view));
    commands.extend(look(state));
    commands
}

fn position(line: Option<&RunLine>, view: &RunView) -> Option<usize> {
    let line = line?;
    let shown = view.shown_step(line)?;
    line.steps().iter().position(|(key, ..)| *key == shown)
}

/// Pause, go on, abort, resume: what fits the run's standing.
fn lead(state: &mut State, view: &mut RunView, line: Option<&RunLine>, action: Action) -> Vec<Command> {
    let run = view.run.clone();
    let standing = line.map(RunLine::standing);
    let wanted = line.is_some_and(|line| line.run.pause_wanted);
    let no = |state: &mut State, text: &str| {
        let until = state.now.plus(std::time::Duration::from_secs(4));
        state.notice = Some(super::state::Notice { text: text.into(), until, fault: false });
        Vec::new()
    };
    if state.read_only {
        return no(state, "this cockpit only looks (--read-only)");
    }
    match (action, standing) {
        (_, Some(standing)) if !standing.is_open() => no(state, "this run is over"),
        (Action::Abort, Some(_)) => {
            view.asking = Some(Asking::Abort);
            Vec::new()
        }
        (Action::Pause | Action::Resume, Some(Standing::Paused | Standing::Orphaned)) => vec![Command::Desk(Order::Resume(run))],
        (Action::Pause, Some(_)) if wanted => vec![Command::Desk(Order::Resume(run))],
        (Action::Pause, Some(_)) => vec![Command::Desk(Order::Pause(run))],
        _ => no(state, "its runner lives: there is nothing to take up"),
    }
}

fn asked(state: &mut State, mut view: Box<RunView>, asking: Asking, key: KeyEvent) -> Vec<Command> {
    let mut commands = Vec::new();
    // A key that is held down decides nothing.
    if leaves(key) || key.kind == KeyEventKind::Repeat {
        if !leaves(key) {
            view.asking = Some(asking);
        }
        state.overlay = Some(Overlay::Run(view));
        return commands;
    }
    match asking {
        Asking::Note { asked, step, choice, mut note } => {
            if key.code == KeyCode::Enter {
                let (run, note) = (view.run.clone(), note.value().trim().to_string());
                commands.push(Command::Desk(Order::Answer { run, asked, step, choice, note }));
            } else {
                edit(&mut note, key);
                view.asking = Some(Asking::Note { asked, step, choice, note });
            }
        }
        Asking::Abort => match key.code {
            KeyCode::Char('U') => commands.push(Command::Desk(Order::Abort { run: view.run.clone(), undo: true })),
            KeyCode::Char('L') => commands.push(Command::Desk(Order::Abort { run: view.run.clone(), undo: false })),
            _ => view.asking = Some(Asking::Abort),
        },
        Asking::Search(mut input) => {
            if key.code == KeyCode::Enter {
                view.search = input.value().to_string();
            } else {
                edit(&mut input, key);
                view.search = input.value().to_string();
                view.asking = Some(Asking::Search(input));
            }
        }
    }
    state.overlay = Some(Overlay::Run(view));
    commands
}

/// Pasted text goes into a note or a search, and is never a decision.
pub fn paste(view: &mut RunView, text: &str) {
    if let Some(Asking::Note { note: input, .. } | Asking::Search(input)) = &mut view.asking {
        for c in text.chars().filter(|c| !c.is_control()) {
            input.handle(tui_input::InputRequest::InsertChar(c));
        }
    }
}
