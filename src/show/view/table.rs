//! Rows: tables, events, alerts, services. Columns take what they need; the last one takes what is left.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width};
use crate::config::{Panel, PanelKind};
use crate::show::cockpit::{Row, State, table_of};
use crate::show::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, index: usize, panel: &Panel) {
    let data = table_of(state, panel);
    let list = state.list(index);
    let mut rows = list.shown(&data);
    let mut area = area;
    if !list.filter.is_empty() {
        let text = format!("/{}  {} of {}", list.filter, rows.len(), data.rows.len());
        paint.text(area, 0, 0, &text, Role::Match);
        area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    }
    if rows.is_empty() {
        let waiting = panel.signals.iter().filter_map(|n| state.store().signals.get(n)).any(|t| t.latest.is_none());
        let tracks = panel.signals.iter().filter_map(|n| state.store().signals.get(n));
        let fault = tracks.filter_map(|t| t.latest.as_ref()?.outcome.as_ref().err()).next();
        let word = match panel.kind {
            _ if waiting => "waiting for the first answer".to_string(),
            // Nothing is said of what could not be looked at.
            _ if fault.is_some() => format!("cannot be read: {}", fault.map_or("", |fault| &fault.message)),
            PanelKind::Events => "none on record".into(),
            _ => "nothing here".into(),
        };
        paint.text(area, 0, 0, &word, Role::Dim);
        return;
    }
    let active = index == state.focus() && (state.nav.zoomed || state.board().is_some_and(|b| b.panels.len() == 1));
    let headed = area.height > 3 || active;
    let mut titles: Vec<String> =
        data.columns.iter().enumerate().map(|(i, c)| mark_sorted(paint, c, list.sort == Some(i), list.reverse)).collect();
    let room = usize::from(area.width).saturating_sub(3);
    drop_columns(&mut titles, &mut rows, data.dispensable, room);
    let mut widths = natural(&titles, &rows, headed);
    squeeze(&mut widths, room);
    if headed {
        line(paint, area, 0, &titles, &widths, Role::Dim, None);
        area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
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
        paint.right(area, area.height.saturating_sub(1), &text, Role::Dim);
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

/// What each column would like to have.
fn natural(titles: &[String], rows: &[Row], headed: bool) -> Vec<usize> {
    let mut widths: Vec<usize> = titles.iter().map(|c| if headed { width(c) } else { 0 }).collect();
    for row in rows {
        for (wide, cell) in widths.iter_mut().zip(&row.cells) {
            *wide = (*wide).max(width(cell));
        }
    }
    widths
}

/// The cells the last column keeps when others could be left out instead.
const LEGIBLE: usize = 24;

/// Leaves out dispensable columns until the rest can be read.
fn drop_columns(titles: &mut Vec<String>, rows: &mut [Row], dispensable: &[usize], room: usize) {
    let mut gone: Vec<usize> = Vec::new();
    for column in dispensable {
        let widths = natural(titles, rows, true);
        let last = widths.last().copied().unwrap_or(0).min(LEGIBLE);
        let need = widths.iter().rev().skip(1).sum::<usize>() + last + widths.len().saturating_sub(1) * 2;
        if need <= room {
            return;
        }
        let at = column - gone.iter().filter(|g| **g < *column).count();
        titles.remove(at);
        for row in rows.iter_mut().filter(|r| r.cells.len() > at) {
            row.cells.remove(at);
        }
        gone.push(*column);
    }
}

/// Takes cells from the last column while it has more than it needs to be legible, then from the widest, until all fit.
fn squeeze(widths: &mut [usize], room: usize) {
    let gaps = widths.len().saturating_sub(1) * 2;
    let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
    if let Some(last) = widths.last_mut() {
        *last -= over.min(last.saturating_sub(LEGIBLE));
    }
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
    let mut x = if paint.unicode() { 2 } else { 3 };
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
