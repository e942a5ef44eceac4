//! What has happened, opened: a run in its view, a rule in its alert, a signal in its panel.

use super::command::Command;
use super::navigate::{go_to_board, notice};
use super::overlay::Overlay;
use super::requests;
use super::state::State;
use super::table::table_of;
use crate::config::PanelKind;
use crate::status::MomentOf;

/// Opens what the selected moment is of: a run, a rule's alert, the panel of a signal.
pub(super) fn open_moment(state: &mut State) -> Vec<Command> {
    state.overlay = None;
    let all = state.moments();
    let Some(moment) = all.get(state.happened.index(&all)) else { return Vec::new() };
    match &moment.of {
        MomentOf::Run(id) if state.ledger.run(id).is_some() => return requests::open(state, id.clone()),
        MomentOf::Run(_) => notice(state, "that run is kept where it was begun", false),
        MomentOf::Rule(rule) => open_alert(state, rule),
        MomentOf::Source(source) => open_source(state, source),
        MomentOf::Signal(signal) => open_signal(state, signal),
    }
    Vec::new()
}

/// The places of panels, those of the board that is shown first.
fn places(state: &State) -> Vec<(usize, usize)> {
    let boards = state.config.boards.iter().enumerate();
    let mut all: Vec<(usize, usize)> = boards.flat_map(|(b, board)| (0..board.panels.len()).map(move |panel| (b, panel))).collect();
    // Of others the order stays.
    all.sort_by_key(|(board, _)| *board != state.nav.board);
    all
}

fn go_to_panel(state: &mut State, (board, panel): (usize, usize)) {
    go_to_board(state, board);
    state.nav.panels.insert(board, panel);
}

fn open_alert(state: &mut State, rule: &str) {
    let listed = |(board, panel): &(usize, usize)| {
        let panel = &state.config.boards[*board].panels[*panel];
        let rows = (panel.kind == PanelKind::Alerts).then(|| table_of(state, panel).rows)?;
        rows.into_iter().find(|row| row.cells.get(1).is_some_and(|name| name == rule))
    };
    let found = places(state).into_iter().find_map(|place| Some((place, listed(&place)?)));
    let Some((place, row)) = found else {
        return notice(state, format!("no board lists the rule {rule}"), false);
    };
    go_to_panel(state, place);
    state.overlay = Some(Overlay::Detail { row, scroll: 0 });
}

fn open_source(state: &mut State, source: &str) {
    let lists = |(board, panel): &(usize, usize)| state.config.boards[*board].panels[*panel].kind == PanelKind::Services;
    match places(state).into_iter().find(lists) {
        Some(place) => go_to_panel(state, place),
        None => notice(state, format!("no panel lists {source}"), false),
    }
}

fn open_signal(state: &mut State, signal: &str) {
    let shows = |(board, panel): &(usize, usize)| state.config.boards[*board].panels[*panel].signals.iter().any(|name| **name == *signal);
    match places(state).into_iter().find(shows) {
        Some(place) => {
            go_to_panel(state, place);
            state.nav.zoomed = true;
        }
        None => notice(state, format!("no panel shows {signal}"), false),
    }
}
