//! Rows: tables, events, alerts, services. Columns take what they need; the last one takes what is left.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width};
use crate::cockpit::{State, table_of};
use crate::config::{Panel, PanelKind};
use crate::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, index: usize, panel: &Panel) {
    let data = table_of(state, panel);
    let list = state.list(index);
    let rows = list.shown(&data);
    let mut area = area;
    if !list.filter.is_empty() {
        let text = format!("/{}  {} of {}", list.filter, rows.len(), data.rows.len());
        paint.text(area, 0, 0, &text, Role::Match);
        area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    if rows.is_empty() {
        let waiting = panel.signals.iter().filter_map(|n| state.store().signals.get(n)).any(|t| t.latest.is_none());
        let word = match panel.kind {
            _ if waiting => "waiting for the first answer",
            PanelKind::Events => "none on record",
            _ => "nothing here",
        };
        paint.text(area, 0, 0, word, Role::Dim);
        return;
    }
    let active = index == state.focus() && (state.nav.zoomed || state.board().is_some_and(|b| b.panels.len() == 1));
    let headed = area.height > 3 || active;
    let mut widths: Vec<usize> = data.columns.iter().map(|c| if headed { width(c) } else { 0 }).collect();
    for row in &rows {
        for (i, cell) in row.cells.iter().enumerate().take(widths.len()) {
            widths[i] = widths[i].max(width(cell));
        }
    }
    squeeze(&mut widths, usize::from(area.width).saturating_sub(2));
    if headed {
        let titles: Vec<String> =
            data.columns.iter().enumerate().map(|(i, c)| mark_sorted(paint, c, list.sort == Some(i), list.reverse)).collect();
        line(paint, area, 0, &titles, &widths, Role::Dim, None);
        area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    let selected = list.selected.min(rows.len() - 1);
    let page = usize::from(area.height);
    let first = if active { selected.saturating_sub(page / 2).min(rows.len().saturating_sub(page)) } else { 0 };
    for (y, row) in rows.iter().skip(first).take(page).enumerate() {
        let mark = row.verdict.map(|v| (paint.symbol(v), role(v)));
        line(paint, area, y as u16, &row.cells, &widths, Role::Text, mark);
        if active && first + y == selected {
            let style = paint.theme.style(Role::Selection);
            paint.buffer.set_style(Rect { y: area.y + y as u16, height: 1, ..area }.intersection(paint.buffer.area), style);
        }
    }
    let below = rows.len().saturating_sub(first + page);
    if below > 0 && area.height > 0 {
        let text = format!(" {below} more ");
        paint.right(area, area.height - 1, &text, Role::Dim);
    }
}

fn mark_sorted(paint: &Paint, title: &str, sorted: bool, reverse: bool) -> String {
    match (sorted, reverse, paint.unicode()) {
        (false, ..) => title.to_string(),
        (true, false, true) => format!("{title}▴"),
        (true, true, true) => format!("{title}▾"),
        (true, false, false) => format!("{title}^"),
        (true, true, false) => format!("{title}v"),
    }
}

/// Takes cells from the widest column until all fit.
fn squeeze(widths: &mut [usize], room: usize) {
    let gaps = widths.len().saturating_sub(1) * 2;
    while widths.iter().sum::<usize>() + gaps > room {
        let Some(widest) = widths.iter_mut().max() else { return };
        if *widest <= 3 {
            return;
        }
        *widest -= 1;
    }
}

fn line(paint: &mut Paint, area: Rect, y: u16, cells: &[String], widths: &[usize], text_role: Role, mark: Option<(&str, Role)>) {
    if y >= area.height {
        return;
    }
    if let Some((symbol, role)) = mark {
        paint.text(area, 0, y, symbol, role);
    }
    let mut x = 2;
    for (cell, wide) in cells.iter().zip(widths) {
        let cell = &paint.condition(cell);
        let shown = fit(cell, *wide);
        // Numbers stand at the right of their column.
        let number = cell.starts_with(|c: char| c.is_ascii_digit()) && cell.chars().all(|c| c.is_ascii_digit() || ".,% ".contains(c));
        let shift = if number { wide.saturating_sub(width(&shown)) } else { 0 };
        paint.text(area, x + shift as u16, y, &shown, text_role);
        x += *wide as u16 + 2;
    }
}
