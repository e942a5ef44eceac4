//! The command palette, and the window that overlays are drawn in.

use ratatui::layout::{Position, Rect};

use super::paint::Paint;
use crate::base::text::width;
use crate::show::cockpit::{Palette, State, entries};
use crate::show::theme::Role;

/// An empty framed window in the middle of the area; returns its inside.
pub fn window(paint: &mut Paint, area: Rect, wide: u16, high: u16, title: &str) -> Rect {
    let (w, h) = (wide.min(area.width), high.min(area.height));
    let rect = Rect { x: area.x + (area.width - w) / 2, y: area.y + (area.height - h) / 2, width: w, height: h };
    paint.clear(rect);
    if w < 4 || h < 3 {
        return rect;
    }
    let (corners, across, down) =
        if paint.unicode() { (["┌", "┐", "└", "┘"], "─", "│") } else { (["+", "+", "+", "+"], "-", "|") };
    let line = across.repeat(usize::from(w - 2));
    for (y, left, right) in [(0, corners[0], corners[1]), (h - 1, corners[2], corners[3])] {
        paint.text(rect, 0, y, &format!("{left}{line}{right}"), Role::Border);
    }
    for y in 1..h - 1 {
        paint.text(rect, 0, y, down, Role::Border);
        paint.text(rect, w - 1, y, down, Role::Border);
    }
    paint.text(rect, 2, 0, &format!(" {title} "), Role::Title);
    Rect { x: rect.x + 2, y: rect.y + 1, width: w - 4, height: h - 2 }
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect, palette: &Palette) -> Option<Position> {
    let Palette { input, selected } = palette;
    let selected = *selected;
    let found = entries(state, input.value());
    let inner = window(paint, area, 76, 18, "Commands");
    if inner.height < 2 {
        return None;
    }
    paint.text(inner, 0, 0, ":", Role::Accent);
    paint.text(inner, 2, 0, input.value(), Role::Text);
    let rows = usize::from(inner.height - 1);
    let first = selected.saturating_sub(rows.saturating_sub(1));
    for (i, entry) in found.iter().enumerate().skip(first).take(rows) {
        let y = (i - first) as u16 + 1;
        paint.text(inner, 2, y, &entry.words, Role::Text);
        let keys = width(&entry.keys) as u16;
        if inner.width > keys + 30 {
            paint.right(inner, y, &entry.keys, Role::Dim);
        }
        if i == selected {
            paint.text(inner, 0, y, ">", Role::Accent);
            let style = paint.theme.style(Role::Selection);
            paint.buffer.set_style(Rect { y: inner.y + y, height: 1, ..inner }.intersection(paint.buffer.area), style);
        }
    }
    if found.is_empty() {
        paint.text(inner, 2, 1, "nothing matches", Role::Dim);
    }
    Some(Position::new(inner.x + (2 + input.visual_cursor() as u16).min(inner.width.saturating_sub(1)), inner.y))
}
