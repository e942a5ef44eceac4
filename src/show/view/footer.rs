//! The last row: the keys that matter here, what just happened, and how the sources are.

use ratatui::layout::{Position, Rect};

use super::paint::Paint;
use crate::base::text::width;
use crate::config::PanelKind;
use crate::judge::Verdict;
use crate::observe::reading::SourceState;
use crate::show::cockpit::{Overlay, State, is_chart, is_list};
use crate::show::keymap::Action;
use crate::show::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) -> Option<Position> {
    if let Some(Overlay::Search { input }) = &state.overlay {
        let x = paint.text(area, 1, 0, "/", Role::Accent) + 1;
        paint.text(area, x, 0, input.value(), Role::Text);
        return Some(Position::new(area.x + (x + input.visual_cursor() as u16).min(area.width.saturating_sub(1)), area.y));
    }
    let sources = sources(state, paint, area);
    let room = Rect { width: area.width.saturating_sub(sources), ..area };
    if let Some(notice) = &state.toast {
        paint.text(room, 1, 0, &notice.text, if notice.fault { Role::Fail } else { Role::Accent });
        return None;
    }
    if !state.pending.is_empty() {
        let keys: Vec<String> = state.pending.iter().map(ToString::to_string).collect();
        paint.text(room, 1, 0, &format!("{} …", keys.join(" ")), Role::Accent);
        return None;
    }
    // These have keys of their own, and say them.
    if matches!(state.overlay, Some(Overlay::Dialog(_) | Overlay::Run(_) | Overlay::Rollback(_) | Overlay::Canary(_))) {
        return None;
    }
    let mut x = 1;
    if state.is_behind {
        x += paint.text(room, x, 0, "THE FILE IS NOT SOUND AND NOT IN FORCE", Role::Warn) + 2;
    }
    for (action, word) in wanted(state) {
        let Some(key) = state.keymap.keys(action).into_iter().next() else { continue };
        let key = match key.as_str() {
            "enter" if paint.unicode() => "↵".to_string(),
            _ => key,
        };
        let need = (width(&key) + 1 + width(word) + 2) as u16;
        if x + need > room.width {
            break;
        }
        x += paint.text(room, x, 0, &key, Role::Accent) + 1;
        x += paint.text(room, x, 0, word, Role::Dim) + 2;
    }
    None
}

/// The keys worth showing, the most needed first.
fn wanted(state: &State) -> Vec<(Action, &'static str)> {
    let mut keys = Vec::new();
    // What can be done stands first where something can.
    if state.config.acting.settings.switch.is_some() && !state.read_only {
        keys.push((Action::Rollback, "roll back"));
        if state.config.acting.settings.canary.is_some() {
            keys.push((Action::Canary, "canary"));
        }
    }
    if state.overlay.is_none() && !state.read_only && state.summary().answer().is_some() {
        keys.push((Action::Run, "its runbook"));
    }
    keys.push((Action::Help, "help"));
    if state.overlay.is_some() || state.nav.zoomed || state.frozen.is_some() {
        keys.push((Action::Back, "back"));
    }
    let kind = state.panel().map(|p| p.kind);
    match kind {
        _ if state.overlay.is_some() => {}
        Some(PanelKind::Alerts) => keys.push((Action::Zoom, "details")),
        _ if !state.nav.zoomed => keys.push((Action::Zoom, "zoom")),
        Some(kind) if is_list(kind) && kind != PanelKind::Runbooks => keys.push((Action::Zoom, "details")),
        _ => {}
    }
    if kind.is_some_and(is_chart) {
        keys.push((Action::WindowLonger, "window"));
        keys.push((Action::CursorLeft, "read values"));
    }
    if kind == Some(PanelKind::Runbooks) && state.overlay.is_none() {
        keys.push((Action::Run, "run it…"));
    }
    if state.overlay.is_none() && state.ledger.runs.iter().any(|r| r.status().is_open()) {
        keys.push((Action::OpenRun, "open run"));
    }
    if kind.is_some_and(is_list) {
        keys.extend([(Action::Search, "filter"), (Action::Sort, "sort")]);
    }
    if kind == Some(PanelKind::Logs) {
        keys.extend([(Action::Search, "search"), (Action::MoreLog, "finer"), (Action::LessLog, "coarser"), (Action::LogTarget, "target")]);
    }
    keys.extend([
        (Action::NextPanel, "panel"),
        (Action::Freeze, "freeze"),
        (Action::Query, "query"),
        (Action::Palette, "commands"),
        (Action::Quit, "quit"),
    ]);
    keys
}

/// The sources at the right edge; those in trouble first and in words. Returns the cells used.
fn sources(state: &State, paint: &mut Paint, area: Rect) -> u16 {
    let mut all: Vec<(SourceState, String, Verdict)> = state
        .live_summary
        .sources
        .iter()
        .map(|s| {
            let verdict = match s.state {
                SourceState::Up => Verdict::Pass,
                SourceState::Slow => Verdict::Warn,
                SourceState::Failing => Verdict::Fail,
                SourceState::Starting => Verdict::Unknown,
            };
            (s.state, s.name.clone(), verdict)
        })
        .collect();
    all.sort_by_key(|(_, _, verdict)| *verdict);
    let limit = area.width / 2;
    let mut x = area.width;
    for (state, name, verdict) in all.iter().rev() {
        let symbol = paint.symbol(*verdict);
        let word = match state {
            SourceState::Failing => " failing",
            SourceState::Slow => " slow",
            _ => "",
        };
        let text = format!("{name} {symbol}{word} ");
        let need = width(&text) as u16 + 1;
        if area.width - x + need > limit {
            break;
        }
        x -= need;
        let used = paint.text(area, x, 0, &format!("{name} "), Role::Dim);
        paint.text(area, x + used, 0, &format!("{symbol}{word}"), super::paint::role(*verdict));
    }
    area.width - x
}
