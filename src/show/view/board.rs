//! The panels of a board: where they stand, and each drawn so that one that fails takes nothing with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ratatui::layout::Rect;

use super::paint::Paint;
use super::{deploy, distribution, logs, panel, rollback, runbooks, series, stack, stats, table};
use crate::config::{Panel, PanelKind};
use crate::show::cockpit::State;
use crate::show::theme::Role;

/// The rows a panel needs to say anything: its title, a value, a line of chart.
const LOWEST: u16 = 4;

pub fn areas(state: &State, area: Rect) -> Vec<(usize, Rect)> {
    let count = state.board().map_or(0, |b| b.panels.len());
    if count == 0 || area.is_empty() {
        return Vec::new();
    }
    if state.nav.zoomed {
        return vec![(state.focus(), area)];
    }
    let columns = state.columns(area.width);
    let rows = count.div_ceil(columns);
    // More rows than fit: those around the focused panel.
    let visible = usize::from((area.height / LOWEST).max(1)).min(rows);
    let focus_row = state.focus() / columns;
    let first = focus_row.saturating_sub(visible / 2).min(rows - visible);
    let mut out = Vec::with_capacity(count);
    for row in first..first + visible {
        let in_row = columns.min(count - row * columns);
        let (y, height) = share(area.height, visible, row - first);
        for column in 0..in_row {
            let (x, width) = share(area.width, in_row, column);
            out.push((row * columns + column, Rect { x: area.x + x, y: area.y + y, width, height }));
        }
    }
    out
}

/// The i-th of n nearly equal parts of a length: where it begins and how long it is.
fn share(length: u16, n: usize, i: usize) -> (u16, u16) {
    let at = |i: usize| (u32::from(length) * i as u32 / n as u32) as u16;
    (at(i), at(i + 1) - at(i))
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let Some(board) = state.board() else {
        paint.text(area, 1, 1, "This configuration has no board.", Role::Dim);
        return;
    };
    let areas = areas(state, area);
    for (index, rect) in &areas {
        // A line between neighbours, none at the edge.
        let edge = rect.x + rect.width >= area.x + area.width;
        let inner = Rect { width: rect.width.saturating_sub(if edge { 0 } else { 2 }), ..*rect };
        if !edge {
            let line = if paint.unicode() { "│" } else { "|" };
            for y in 0..rect.height {
                paint.text(*rect, rect.width.saturating_sub(2), y, line, Role::Border);
            }
        }
        let _ = guarded(paint, inner, &board.panels[*index].title, |paint| one(state, paint, inner, *index, &board.panels[*index]));
    }
}

fn one(state: &State, paint: &mut Paint, area: Rect, index: usize, panel: &Panel) {
    let body = panel::frame(state, paint, area, index, panel);
    if body.is_empty() {
        return;
    }
    match panel.kind {
        PanelKind::Stats => stats::draw(state, paint, body, panel),
        PanelKind::Series => series::draw(state, paint, body, panel),
        PanelKind::Stack => stack::draw(state, paint, body, panel),
        PanelKind::Distribution => distribution::draw(state, paint, body, panel),
        PanelKind::Table | PanelKind::Events | PanelKind::Alerts | PanelKind::Services => table::draw(state, paint, body, index, panel),
        PanelKind::Runbooks => runbooks::draw(state, paint, body, index, panel),
        PanelKind::Deploy => deploy::draw(state, paint, body),
        PanelKind::Rollback => rollback::draw(state, paint, body),
        PanelKind::Logs => logs::draw(state, paint, body),
    }
}

thread_local! {
    /// Set while a panel draws: the panic hook then keeps quiet, because the panel says it itself.
    static DRAWING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether a panic here belongs to a panel and is dealt with.
pub fn is_drawing_panel() -> bool {
    DRAWING.get()
}

/// Draws a panel; a panic in it becomes words in its place.
pub fn guarded<T>(paint: &mut Paint, area: Rect, title: &str, draw: impl FnOnce(&mut Paint) -> T) -> Option<T> {
    DRAWING.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| draw(paint)));
    DRAWING.set(false);
    if result.is_err() {
        paint.clear(area);
        paint.text(area, 0, 0, title, Role::Title);
        paint.wrapped(
            Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area },
            0,
            "this panel could not be drawn: a fault of lastgreen; the others are right",
            Role::Unknown,
        );
        log::error!(target: "cockpit", "the panel `{title}` could not be drawn");
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::show::theme::Theme;

    #[test]
    fn a_panic_in_a_panel_stays_in_it() {
        let theme = Theme::default();
        let area = Rect::new(0, 0, 40, 5);
        let mut buffer = Buffer::empty(area);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| assert!(is_drawing_panel())));
        let drawn: Option<()> = guarded(&mut Paint::new(&mut buffer, &theme), area, "Broken", |_| panic!("as tests do"));
        assert_eq!(drawn, None);
        std::panic::set_hook(hook);
        assert!(!is_drawing_panel());
        let text: String = buffer.content.iter().map(|c| c.symbol()).collect();
        assert!(text.contains("Broken") && text.contains("could not be drawn"), "{text}");
    }

    #[test]
    fn shares_fill_the_length() {
        for length in 0..50 {
            for n in 1..7 {
                let total: u16 = (0..n).map(|i| share(length, n, i).1).sum();
                assert_eq!(total, length);
            }
        }
    }
}
