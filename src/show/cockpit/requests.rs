//! What the cockpit wants of the backend, and what the backend says: planning, beginning, answering. Nothing of it waits.

use std::collections::HashMap;
use std::sync::Arc;

use super::canary_menu::{CanaryChoice, CanaryContext, CanaryMenu};
use super::command::Command;
use super::dialog::{Dialog, Stage};
use super::navigate::go_to_board;
use super::overlay::Overlay;
use super::rollback_dialog::RollbackDialog;
use super::run_view::RunView;
use super::state::{State, Toast};
use super::table::selected_row;
use crate::base::clock::Stamp;
use crate::config::PanelKind;
use crate::judge::Verdict;
use crate::plan::deploy::{HOLD, STEP, Scope};
use crate::plan::runbook::{Plan, percent};
use crate::status::{Ledger, RunLine, RunStatus, Update};

/// How long a word of the backend stays.
const SHOWN: std::time::Duration = std::time::Duration::from_secs(6);

pub fn heard(state: &mut State, update: Update, now: Stamp) -> Vec<Command> {
    state.now = now;
    match update {
        Update::Ledger(ledger) => {
            tell_of_runs(&state.ledger, &ledger);
            state.ledger = *ledger;
            state.look_at_deployment();
            return open_by_itself(state);
        }
        Update::Traffic(seen) => {
            state.observed = Some(seen);
            state.look_at_deployment();
        }
        Update::Readiness(readiness) => {
            state.readiness = Some(*readiness);
            state.sum_up();
        }
        Update::PlannedScope(serial, scope, planned) => {
            if let Some(Overlay::Rollback(dialog)) = &mut state.overlay
                && dialog.serial == serial
            {
                dialog.planned(scope, planned);
            }
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
    if let Some(Overlay::Rollback(dialog)) = &mut state.overlay
        && dialog.starting.as_ref().is_some_and(|own| Arc::ptr_eq(own, plan))
    {
        match begun {
            Ok(id) => return open(state, id),
            Err(why) => (dialog.starting, dialog.refused) = (None, Some(why)),
        }
        return Vec::new();
    }
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
    let chosen = selected_row(state).and_then(|row| row.cells.first().cloned());
    chosen.map(|name| begin_dialog(state, &name)).unwrap_or_default()
}

/// Puts into the log what has become of runs. What was over before anybody looked is no news.
fn tell_of_runs(before: &Ledger, now: &Ledger) {
    let was: HashMap<&str, RunStatus> = before.runs.iter().map(|run| (run.id.as_str(), run.status())).collect();
    for run in &now.runs {
        let (status, old) = (run.status(), was.get(run.id.as_str()));
        if old != Some(&status) && (old.is_some() || status.is_open()) {
            log::info!(target: "runs", "{} on {}: {} (run {})", run.plan.content.title, run.plan.content.environment.name, status.word(), run.id);
        }
    }
}

/// Opens the runbook that answers what is selected, or the worst of what fires; without one there is the board to choose on.
pub fn begin_answer(state: &mut State) -> Vec<Command> {
    let row = match &state.overlay {
        // The one that is looked at, whatever has moved in the list meanwhile.
        Some(Overlay::Detail { row, .. }) => Some(row.clone()),
        _ => selected_row(state),
    };
    let alert = row.filter(|_| state.panel().is_some_and(|panel| panel.kind == PanelKind::Alerts));
    let selected = alert.and_then(|row| row.cells.get(1).cloned());
    let summary = state.summary();
    let own = selected.and_then(|name| summary.rules.iter().find(|rule| rule.name == name)?.runbook.clone());
    match own.or_else(|| summary.answer().map(str::to_string)) {
        Some(name) => begin_dialog(state, &name),
        None => {
            let board = state.config.boards.iter().position(|board| board.panels.iter().any(|panel| panel.kind == PanelKind::Runbooks));
            if let Some(board) = board {
                go_to_board(state, board);
            }
            say(state, "nothing that fires names a runbook: choose one here".into(), false);
            Vec::new()
        }
    }
}

/// Opens the run that is going on here, or the last there was.
pub fn open_latest(state: &mut State) -> Vec<Command> {
    let environment = state.config.environment.name.clone();
    let here = |run: &&Arc<RunLine>| run.plan.content.environment.name == environment;
    let open_run = state.ledger.open(&environment);
    // One's own of before is not the one that the screen says is under way.
    if let (None, Some(who)) = (open_run, &state.ledger.elsewhere.holder) {
        let words = format!("a run is under way elsewhere, and its view is there: {who}");
        say(state, words, true);
        return Vec::new();
    }
    let run = open_run.or_else(|| state.ledger.runs.iter().find(here)).map(|run| run.id.clone());
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
    open_dialog(state, name, |_| {})
}

/// Whether anything may be begun here; said when it may not.
fn may_act(state: &mut State) -> bool {
    if state.read_only {
        say(state, "this cockpit only looks (--read-only)".into(), true);
    }
    !state.read_only
}

/// Opens what leads on by hand from a step that has failed: a wider rollback, or another runbook.
pub fn lead_on(state: &mut State, line: &RunLine, runbook: &str) -> Vec<Command> {
    match Scope::of(runbook) {
        Some(scope) => open_rollback_at(state, scope),
        None => open_dialog(state, runbook, |dialog| {
            // It goes on with what that run was about.
            let inputs = line.plan.content.inputs.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
            inputs.chain([("run", line.id.as_str())]).for_each(|(name, value)| dialog.set(name, value));
            dialog.set("reason", &format!("{}: {}", line.plan.content.runbook, line.words()));
            // What is missing all the same is asked for by the plan.
            dialog.stage = Stage::Planning;
        }),
    }
}

/// Opens the dialog of the rollback at the scope that helps.
pub fn open_rollback(state: &mut State) -> Vec<Command> {
    let scope = first_scope(state);
    open_rollback_at(state, scope)
}

/// Opens the dialog of the rollback, with every scope on its way to being planned.
fn open_rollback_at(state: &mut State, scope: Scope) -> Vec<Command> {
    if !may_act(state) {
        return Vec::new();
    }
    if state.config.acting.settings.switch.is_none() {
        say(state, "there is nothing to roll back with: add [traffic] to the configuration".into(), true);
        return Vec::new();
    }
    state.dialogs += 1;
    let mut dialog = RollbackDialog::new(state.dialogs, scope, (&reason_of(state), state.live_summary.mismatches.clone()), state.now);
    let requests = dialog.requests();
    (state.overlay, state.toast) = (Some(Overlay::Rollback(Box::new(dialog))), None);
    requests.into_iter().map(Command::Backend).collect()
}

/// The scope that helps and takes the least: with no traffic on the canary that is not the traffic.
fn first_scope(state: &State) -> Scope {
    let weight = state.live_summary.deploy.as_ref().and_then(|deploy| deploy.weight().ok());
    let works = |scope: &Scope| state.live_summary.readiness.as_ref().is_some_and(|readiness| readiness.works(*scope));
    match weight {
        Some(weight) if weight <= 0.0 => [Scope::Code, Scope::Full].into_iter().find(works).unwrap_or(Scope::Traffic),
        _ => Scope::Traffic,
    }
}

/// Why somebody would roll back now: what is bad, and where the canary is.
fn reason_of(state: &State) -> String {
    let summary = &state.live_summary;
    let bad = matches!(summary.verdict, Verdict::Fail | Verdict::Warn).then(|| summary.reason.clone());
    let weight = summary.deploy.as_ref().and_then(|deploy| deploy.weight().ok()).filter(|weight| *weight > 0.0);
    let canary = weight.map(|weight| format!("canary at {}", percent(weight)));
    bad.into_iter().chain(canary).collect::<Vec<_>>().join("; ")
}

/// Opens what can be done with the canary.
pub fn open_canary(state: &mut State) -> Vec<Command> {
    let ready = state.config.acting.settings.switch.is_some() && state.config.acting.settings.canary.is_some();
    if !ready {
        say(state, "there is no canary here: add [traffic] and [canary] to the configuration".into(), true);
    } else if may_act(state) {
        (state.overlay, state.toast) = (Some(Overlay::Canary(CanaryMenu::default())), None);
    }
    Vec::new()
}

/// What the menu of the canary sees.
pub fn canary_context(state: &State) -> CanaryContext {
    let deploy = state.live_summary.deploy.as_ref();
    let settings = state.config.acting.settings.canary.as_ref();
    let weight = deploy.map_or_else(|| Err("the switch was not looked at yet".into()), |deploy| deploy.weight());
    CanaryContext {
        promotion: deploy.zip(settings).map(|(deploy, settings)| deploy.promotion(settings, state.now)),
        next: weight.as_ref().ok().and_then(|weight| settings?.after(*weight)),
        steps: settings.map(|settings| settings.steps.clone()).unwrap_or_default(),
        held: deploy.is_some_and(|deploy| deploy.hold.is_some()),
        weight,
    }
}

/// Does what was chosen in the menu of the canary.
pub fn canary_chosen(state: &mut State, choice: CanaryChoice) -> Vec<Command> {
    match choice {
        CanaryChoice::Open | CanaryChoice::Closed => Vec::new(),
        CanaryChoice::RollBack => open_rollback(state),
        CanaryChoice::OpenRun => open_latest(state),
        CanaryChoice::Hold(held) => open_dialog(state, HOLD, |dialog| dialog.set("held", &held.to_string())),
        CanaryChoice::Step { to, against } => {
            let from = canary_context(state).weight.map_or(0.0, f64::round);
            open_dialog(state, STEP, |dialog| {
                dialog.set("weight", &to.to_string());
                dialog.set("from", &format!("{from:.0}"));
                if against.is_empty() {
                    dialog.stage = Stage::Planning;
                } else {
                    // It goes on only against that, and only with a reason.
                    dialog.require("override", format!("not promoted: {}; write why it goes on all the same", against.join("; ")));
                }
            })
        }
    }
}

fn open_dialog(state: &mut State, name: &str, prepare: impl FnOnce(&mut Dialog)) -> Vec<Command> {
    if !may_act(state) {
        return Vec::new();
    }
    let Some(line) = state.ledger.runbooks.iter().find(|line| line.name == name) else { return Vec::new() };
    let Some(runbook) = line.loaded.runbook.clone() else {
        let first = line.loaded.findings.first().map_or_else(String::new, ToString::to_string);
        say(state, format!("{name} has mistakes: {}", first.lines().next().unwrap_or("")), true);
        return Vec::new();
    };
    state.dialogs += 1;
    let mut dialog = Dialog::new(state.dialogs, &runbook);
    prepare(&mut dialog);
    let request = dialog.request();
    let plans = matches!(dialog.stage, Stage::Planning);
    state.overlay = Some(Overlay::Dialog(Box::new(dialog)));
    if plans { vec![Command::Backend(request)] } else { Vec::new() }
}
