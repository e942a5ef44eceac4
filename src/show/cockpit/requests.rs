//! What the cockpit wants of the backend, and what the backend says: planning, beginning, answering. Nothing of it waits.

use std::sync::Arc;

use super::command::Command;
use super::dialog::{Dialog, Stage};
use super::overlay::Overlay;
use super::run_view::RunView;
use super::state::{State, Toast};
use super::table::table_of;
use crate::base::clock::Stamp;
use crate::plan::runbook::Plan;
use crate::status::{RunLine, RunStatus, Update};

/// How long a word of the backend stays.
const SHOWN: std::time::Duration = std::time::Duration::from_secs(6);

pub fn heard(state: &mut State, update: Update, now: Stamp) -> Vec<Command> {
    state.now = now;
    match update {
        Update::Ledger(ledger) => {
            state.ledger = *ledger;
            return open_by_itself(state);
        }
        Update::Output(tail) => {
            if let Some(Overlay::Run(view)) = &mut state.overlay {
                view.keep_place(state.output.as_ref(), &tail);
            }
            state.output = Some(tail);
        }
        Update::Planned(serial, planned) => {
            if let Some(Overlay::Dialog(dialog)) = &mut state.overlay
                && dialog.serial == serial
            {
                dialog.planned(planned, now);
            }
        }
        Update::Begun(plan, begun) => return begun_or_not(state, &plan, begun),
        Update::Said(Ok(words)) => say(state, words, false),
        Update::Said(Err(why)) => match &mut state.overlay {
            // It may be long: a difference, a reason.
            Some(Overlay::Run(view)) => view.said = Some((why, true)),
            _ => say(state, why, true),
        },
    }
    Vec::new()
}

/// A run has begun, or was refused: whoever waits for it in its dialog goes there; whoever has left is told.
fn begun_or_not(state: &mut State, plan: &Arc<Plan>, begun: Result<String, String>) -> Vec<Command> {
    let free = state.overlay.is_none();
    let waits = match &mut state.overlay {
        Some(Overlay::Dialog(dialog)) if matches!(&dialog.stage, Stage::Starting(own) if Arc::ptr_eq(own, plan)) => Some(dialog),
        _ => None,
    };
    match (begun, waits) {
        (Err(why), Some(dialog)) => dialog.stage = Stage::Refused(why),
        (Err(why), None) => say(state, format!("not begun: {why} ({})", plan.content.title), true),
        (Ok(id), Some(_)) => return open(state, id),
        (Ok(id), None) if free => return open(state, id),
        (Ok(_), None) => say(state, format!("{} has begun", plan.content.title), false),
    }
    Vec::new()
}

fn say(state: &mut State, text: String, fault: bool) {
    state.toast = Some(Toast { text, until: state.now.plus(SHOWN), fault });
}

/// Tells the backend whose output to bring.
pub fn look(state: &State) -> Vec<Command> {
    let Some(Overlay::Run(view)) = &state.overlay else { return Vec::new() };
    vec![Command::Backend(view.looks_at(state.ledger.run(&view.run).map(AsRef::as_ref)))]
}

/// Opens the view of a run.
pub fn open(state: &mut State, id: String) -> Vec<Command> {
    state.overlay = Some(Overlay::Run(Box::new(RunView::new(id))));
    (state.output, state.toast) = (None, None);
    look(state)
}

/// The view opens by itself when a run is under way here, unless somebody is busy with something else or has left it.
fn open_by_itself(state: &mut State) -> Vec<Command> {
    if let Some(Overlay::Run(_)) = &state.overlay {
        return look(state);
    }
    if state.overlay.is_some() {
        return Vec::new();
    }
    let under_way = |run: &&Arc<RunLine>| {
        matches!(run.status(), RunStatus::Running | RunStatus::Waiting)
            && run.plan.content.environment.name == state.config.environment.name
            && !state.left.contains(&run.id)
    };
    match state.ledger.runs.iter().find(under_way).map(|run| run.id.clone()) {
        Some(id) => open(state, id),
        None => Vec::new(),
    }
}

/// Opens the dialog of the runbook selected on the board.
pub fn begin_selected(state: &mut State) -> Vec<Command> {
    let list = state.list(state.focus());
    let rows = state.panel().map(|panel| list.shown(&table_of(state, panel))).unwrap_or_default();
    let chosen = rows.get(list.selected.min(rows.len().saturating_sub(1))).and_then(|row| row.cells.first().cloned());
    chosen.map(|name| begin_dialog(state, &name)).unwrap_or_default()
}

/// Opens the run that is going on here, or the last there was.
pub fn open_latest(state: &mut State) -> Vec<Command> {
    let environment = state.config.environment.name.clone();
    let here = |run: &&Arc<RunLine>| run.plan.content.environment.name == environment;
    let run = state.ledger.open(&environment).or_else(|| state.ledger.runs.iter().find(here)).map(|run| run.id.clone());
    match run {
        Some(id) => open(state, id),
        None => {
            say(state, "there is no run yet".into(), false);
            Vec::new()
        }
    }
}

/// Opens the dialog of a runbook.
pub fn begin_dialog(state: &mut State, name: &str) -> Vec<Command> {
    if state.read_only {
        say(state, "this cockpit only looks (--read-only)".into(), true);
        return Vec::new();
    }
    let Some(line) = state.ledger.runbooks.iter().find(|line| line.name == name) else { return Vec::new() };
    let Some(runbook) = line.loaded.runbook.clone() else {
        let first = line.loaded.findings.first().map_or_else(String::new, ToString::to_string);
        say(state, format!("{name} has mistakes: {}", first.lines().next().unwrap_or("")), true);
        return Vec::new();
    };
    state.dialogs += 1;
    let dialog = Dialog::new(state.dialogs, &runbook);
    let request = dialog.request();
    let plans = matches!(dialog.stage, Stage::Planning);
    state.overlay = Some(Overlay::Dialog(Box::new(dialog)));
    if plans { vec![Command::Backend(request)] } else { Vec::new() }
}
