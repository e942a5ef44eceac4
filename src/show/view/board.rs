//! The panels of a board: where they stand, and each drawn so that one that fails takes nothing with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ratatui::layout::Rect;

use super::paint::Paint;
use super::{deploy, distribution, logs, panel, rollback, runbooks, series, stack, stats, table, timeline};
use crate::config::{Panel, PanelKind};
use crate::judge::Verdict;
use crate::show::cockpit::State;
use crate::show::theme::Role;

/// The rows a panel needs to say anything: its title, a value, a line of chart.
const LOWEST: u16 = 4;
/// The columns in which it can be read.
const LEAST_WIDE: u16 = 24;
/// From which size on there is room beside the panels.
const WIDE: u16 = 160;
const HIGH: u16 = 40;
/// How much more room a panel has that fails.
const LARGER: u16 = 2;

pub fn areas(state: &State, area: Rect) -> Vec<(usize, Rect)> {
    let count = state.board().map_or(0, |b| b.panels.len());
    if count == 0 || area.is_empty() {
        return Vec::new();
    }
    if state.nav.zoomed {
        return vec![(state.focus(), area)];
    }
    let (area, _) = beside(state, area);
    let columns = state.columns(area.width);
    let rows = count.div_ceil(columns);
    let visible = usize::from((area.height / LOWEST).max(1)).min(rows);
    let order = if visible < rows { worst_first(state, count, visible * columns) } else { (0..count).collect() };
    let grows = |panel: &usize| if state.lately(*panel) == Some(Verdict::Fail) { LARGER } else { 1 };
    let rows: Vec<&[usize]> = order.chunks(columns).collect();
    let weights: Vec<u16> = rows.iter().map(|row| row.iter().map(grows).max().unwrap_or(1)).collect();
    let mut out = Vec::with_capacity(order.len());
    for (row, (y, height)) in rows.iter().zip(parts(area.height, &weights, LOWEST)) {
        let weights: Vec<u16> = row.iter().map(grows).collect();
        for (panel, (x, width)) in row.iter().zip(parts(area.width, &weights, LEAST_WIDE)) {
            out.push((*panel, Rect { x: area.x + x, y: area.y + y, width, height }));
        }
    }
    out
}

/// The board's own room and, on a screen that has plenty, that of what has happened: beside the first board.
fn beside(state: &State, area: Rect) -> (Rect, Option<Rect>) {
    if area.width < WIDE || area.height < HIGH || state.nav.board != 0 || state.nav.zoomed {
        return (area, None);
    }
    let own = area.width * 2 / 3;
    (Rect { width: own, ..area }, Some(Rect { x: area.x + own + 1, width: area.width - own - 1, ..area }))
}

/// The panels that a screen has room for where it has none for all: the worst first, and the one that is looked at.
fn worst_first(state: &State, count: usize, room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    // What is well is left out before what nobody judges.
    order.sort_by_key(|panel| std::cmp::Reverse(state.lately(*panel).filter(|verdict| *verdict != Verdict::Pass)));
    let focus = state.focus();
    if let Some(place) = order.iter().position(|panel| *panel == focus).filter(|place| *place >= room) {
        let focus = order.remove(place);
        order.insert(room.saturating_sub(1), focus);
    }
    order.truncate(room);
    order
}

/// A length in parts by their weights, none under the least where there is room for that: where each begins and how long it is.
fn parts(length: u16, weights: &[u16], least: u16) -> Vec<(u16, u16)> {
    let n = weights.len();
    let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    let spare = u32::from(length).saturating_sub(n as u32 * u32::from(least));
    if total == n as u32 || spare == 0 {
        return (0..n).map(|i| share(length, n, i)).collect();
    }
    let (mut before, mut at) = (0, 0);
    let mut out = Vec::with_capacity(n);
    for (i, weight) in weights.iter().enumerate() {
        before += u32::from(*weight);
        let end = ((i as u32 + 1) * u32::from(least) + spare * before / total) as u16;
        out.push((at, end - at));
        at = end;
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
    let (area, happened) = beside(state, area);
    if let Some(rect) = happened {
        guarded(paint, rect, "What has happened", |paint| timeline::draw(state, paint, rect));
    }
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
    fn parts_fill_the_length_and_what_fails_has_more_of_it() {
        for length in 8..120 {
            for weights in [&[1, 2, 1][..], &[2, 1], &[2, 2, 1, 1], &[1, 1]] {
                let parts = parts(length, weights, 4);
                assert_eq!(parts.iter().map(|(_, size)| size).sum::<u16>(), length);
                assert!(parts.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
            }
        }
        assert_eq!(parts(40, &[1, 2, 1], 4), [(0, 11), (11, 18), (29, 11)]);
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
