//! Moving about: boards, panels, windows, the reading cursor, lists; and the line that says what just happened.

use std::time::Duration;

use super::command::Command;
use super::overlay::Overlay;
use super::state::{Cursor, FrozenScreen, State, Toast, is_chart, is_list};
use super::table::table_of;
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::config::{PanelKind, WINDOWS};
use crate::show::keymap::Action;
use crate::status::shown;

/// How long a notice stays.
const SHOWN: Duration = Duration::from_secs(4);

pub(super) fn notice(state: &mut State, text: impl Into<String>, fault: bool) {
    state.toast = Some(Toast { text: text.into(), until: state.now.plus(SHOWN), fault });
}

pub(super) fn go_to_board(state: &mut State, board: usize) {
    if board < state.config.boards.len() && board != state.nav.board {
        state.nav.board = board;
        state.nav.zoomed = false;
        state.cursor = None;
    }
}

pub(super) fn set_window(state: &mut State, window: Duration) -> Vec<Command> {
    if state.window == window {
        return Vec::new();
    }
    state.window = window;
    state.cursor = None;
    notice(state, format!("window {}", short(window)), false);
    vec![Command::SetWindow(window)]
}

/// One thing is closed at a time, the topmost first.
pub(super) fn back(state: &mut State) {
    if state.overlay.take().is_some() {
        return;
    }
    if !state.logs.search.is_empty() && state.panel().is_some_and(|p| p.kind == PanelKind::Logs) {
        state.logs.search.clear();
    } else if !state.list(state.focus()).filter.is_empty() {
        state.list_mut().filter.clear();
    } else if state.cursor.is_some() {
        state.cursor = None;
    } else if state.nav.zoomed {
        state.nav.zoomed = false;
    } else {
        state.frozen = None;
    }
}

pub(super) fn step_panel(state: &mut State, by: isize) {
    let count = state.board().map_or(0, |b| b.panels.len());
    if count > 0 {
        let next = (state.focus() as isize + by).rem_euclid(count as isize) as usize;
        state.nav.panels.insert(state.nav.board, next);
    }
}

pub(super) fn move_focus(state: &mut State, action: Action, width: u16) {
    if let Some(Overlay::Help { scroll } | Overlay::Query { scroll } | Overlay::Detail { scroll, .. }) = &mut state.overlay {
        *scroll = match action {
            Action::Up => scroll.saturating_sub(1),
            Action::Down => scroll.saturating_add(1),
            _ => *scroll,
        };
        return;
    }
    if let Some(Overlay::Timeline) = &state.overlay {
        match action {
            Action::Up => scroll(state, -1),
            Action::Down => scroll(state, 1),
            _ => {}
        }
        return;
    }
    let count = state.board().map_or(0, |b| b.panels.len());
    // A panel that has the screen to itself takes the arrows for its own.
    if state.nav.zoomed || count == 1 {
        match action {
            Action::Left => move_cursor(state, -1),
            Action::Right => move_cursor(state, 1),
            Action::Up => scroll(state, -1),
            _ => scroll(state, 1),
        }
        return;
    }
    let (columns, here) = (state.columns(width), state.focus());
    let next = match action {
        Action::Left if !here.is_multiple_of(columns) => here - 1,
        Action::Right if !(here + 1).is_multiple_of(columns) => here + 1,
        Action::Up => here.checked_sub(columns).unwrap_or(here),
        Action::Down => here + columns,
        _ => here,
    };
    if next < count {
        state.nav.panels.insert(state.nav.board, next);
    }
}

pub(super) fn freeze(state: &mut State) {
    state.frozen = match state.frozen.take() {
        Some(_) => None,
        None => Some(Box::new(FrozenScreen {
            at: state.now,
            store: state.live.clone(),
            summary: state.live_summary.clone(),
            verdicts: state.live_verdicts.clone(),
        })),
    };
}

pub(super) fn step_window(state: &mut State, by: isize) -> Vec<Command> {
    let here = WINDOWS.iter().position(|w| *w == state.window).unwrap_or(1);
    let next = here.saturating_add_signed(by).min(WINDOWS.len() - 1);
    set_window(state, WINDOWS[next])
}

/// Moves the reading cursor by one point of the panel's first line; the first move puts it on the newest.
pub(super) fn move_cursor(state: &mut State, by: isize) {
    let Some(panel) = state.panel().filter(|p| is_chart(p.kind)) else { return };
    let Some(track) = panel.signals.iter().find_map(|name| state.store().signals.get(name).filter(|t| !t.history().lines.is_empty()))
    else {
        return;
    };
    let times: Vec<Stamp> = track.history().lines[0].iter().map(|(at, _)| at).collect();
    let Some(last) = times.len().checked_sub(1) else { return };
    let index = match state.cursor {
        None => last,
        Some(cursor) => times.partition_point(|at| *at < cursor.at).min(last).saturating_add_signed(by).min(last),
    };
    state.cursor = Some(Cursor { at: times[index] });
}

pub(super) fn scroll(state: &mut State, by: isize) {
    if let Some(Overlay::Help { scroll } | Overlay::Query { scroll } | Overlay::Detail { scroll, .. }) = &mut state.overlay {
        // No overlay has more lines than there are actions and signals: what lies beyond would only eat keys.
        let most = (Action::ALL.len() + 4) as i64;
        *scroll = (i64::from(*scroll) + by as i64).clamp(0, most) as u16;
        return;
    }
    if let Some(Overlay::Timeline) = &state.overlay {
        let all = state.moments();
        state.happened.select(&all, by);
        return;
    }
    let Some(panel) = state.panel() else { return };
    if panel.kind == PanelKind::Logs {
        // Up goes back in time, page by page.
        let pages = (-by).signum() as i64;
        state.logs.back = if by == isize::MAX / 2 { 0 } else { (i64::from(state.logs.back) + pages).clamp(0, 50) as u16 };
    } else if panel.kind == PanelKind::Stats {
        let len = panel.signals.len();
        state.list_mut().select(by, len);
    } else if is_list(panel.kind) {
        let data = table_of(state, panel);
        let len = state.list(state.focus()).shown(&data).len();
        state.list_mut().select(by, len);
    }
}

pub(super) fn sort(state: &mut State) {
    let Some(panel) = state.panel().filter(|p| is_list(p.kind)) else { return };
    let columns = table_of(state, panel).columns.len();
    let list = state.list_mut();
    list.sort = match list.sort {
        None => Some(0),
        Some(c) if c + 1 < columns => Some(c + 1),
        Some(_) => None,
    };
}

/// The selected row, the value under the cursor, or the panel's newest values.
pub(super) fn copy(state: &mut State) -> Vec<Command> {
    let Some(panel) = state.panel() else { return Vec::new() };
    let text = if is_list(panel.kind) {
        let list = state.list(state.focus());
        let rows = list.shown(&table_of(state, panel));
        rows.get(list.selected.min(rows.len().saturating_sub(1))).map(|r| r.cells.join("\t"))
    } else {
        let lines: Vec<String> = panel.signals.iter().filter_map(|name| value_line(state, name)).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    match text {
        Some(text) => {
            let first = text.lines().next().unwrap_or_default().replace('\t', "  ");
            let more = text.lines().count().saturating_sub(1);
            let more = if more == 0 { String::new() } else { format!(" and {more} more lines") };
            notice(state, format!("copied: {}{more}", crate::base::text::fit(&first, 60)), false);
            vec![Command::Copy(text)]
        }
        None => {
            notice(state, "nothing to copy here", false);
            Vec::new()
        }
    }
}

fn value_line(state: &State, name: &str) -> Option<String> {
    let (track, signal) = (state.store().signals.get(name)?, state.config.signal(name)?);
    if let Some(cursor) = state.cursor {
        let value = track.history().single()?.at(cursor.at, Duration::from_secs(3600))?;
        return Some(format!("{} {} at {}", signal.title, signal.unit.format(value), cursor.at.iso()));
    }
    let value = track.good.as_ref()?;
    Some(format!("{} {} at {}", signal.title, shown(value.value()?, signal.unit), value.at.iso()))
}
