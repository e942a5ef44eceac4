//! Parts of a whole over time, stacked; each part has a glyph of its own besides its colour.

use ratatui::layout::Rect;
use ratatui::style::Color;

use super::paint::Paint;
use super::panel::is_old;
use super::plot::{self, Axis, AxisScale};
use crate::base::text::width;
use crate::config::Panel;
use crate::judge::Verdict;
use crate::observe::reading::Value;
use crate::show::cockpit::State;
use crate::show::theme::{Depth, Role};

const FULL: [&str; 6] = ["█", "▓", "▒", "░", "▚", "▞"];
const ASCII: [&str; 6] = ["#", "%", "+", ":", "x", "o"];

pub fn draw(state: &State, paint: &mut Paint, area: Rect, panel: &Panel) {
    let Some((signal, track)) = panel.signals.first().and_then(|name| Some((state.config.signal(name)?, state.store().signals.get(name)?)))
    else {
        return;
    };
    let history = track.history();
    if history.lines.is_empty() {
        paint.text(area, 0, 0, if track.latest.is_none() { "waiting for the first answer" } else { "no data" }, Role::Dim);
        return;
    }
    let glyphs = if paint.unicode() { FULL } else { ASCII };
    let rows = legend(state, paint, area, panel, glyphs);
    let area = Rect { y: area.y + rows, height: area.height - rows, ..area };
    if area.height < 1 {
        return;
    }
    let columns = |cells: u16| {
        let axis = Axis::new(state.shown_at(), state.window, cells);
        let parts: Vec<Vec<Option<f64>>> = history.lines.values().map(|s| axis.columns(s, 1)).collect();
        (axis, parts)
    };
    let total = |parts: &[Vec<Option<f64>>], x: usize| parts.iter().filter_map(|p| p[x]).sum::<f64>();
    let (_, parts) = columns(area.width);
    let totals: Vec<f64> = (0..usize::from(area.width)).map(|x| total(&parts, x)).collect();
    let Some(scale) = AxisScale::of(totals.into_iter().chain([0.0])) else { return };
    let area = plot::value_axis(paint, area, scale, signal.unit);
    let (axis, mut parts) = columns(area.width);
    for (part, series) in parts.iter_mut().zip(history.lines.values()) {
        plot::hold(part, axis, series);
    }
    // Two halves a cell where there are colours to tell them apart.
    let halves = if paint.unicode() && paint.theme.depth != Depth::None { 2 } else { 1 };
    let style = |paint: &Paint, part: usize| paint.theme.style(if is_old(track) { Role::Stale } else { Role::line(part) });
    for x in 0..area.width {
        let column = heights(parts.iter().map(|part| part[usize::from(x)]), scale.high, area.height * halves);
        for (y, cell) in column.chunks(usize::from(halves)).enumerate() {
            let y = area.height - 1 - y as u16;
            match (cell[0], cell[usize::from(halves) - 1]) {
                (Some(lower), upper) if upper == Some(lower) => {
                    paint.styled(area, x, y, glyphs[lower % glyphs.len()], style(paint, lower));
                }
                (Some(lower), None) => {
                    paint.styled(area, x, y, "▄", style(paint, lower));
                }
                (Some(lower), Some(upper)) => match style(paint, upper).fg.filter(|above| *above != Color::Reset) {
                    Some(above) => drop(paint.styled(area, x, y, "▄", style(paint, lower).bg(above))),
                    // Without a colour of its own the upper part has no half.
                    None => drop(paint.styled(area, x, y, glyphs[lower % glyphs.len()], style(paint, lower))),
                },
                (None, _) => {}
            }
        }
    }
    if let Some(cursor) = state.cursor_in(panel) {
        plot::cursor(paint, area, axis, cursor.at);
    }
}

/// Which part has each piece of a column, from below; none: nothing reaches so high.
fn heights(values: impl Iterator<Item = Option<f64>>, high: f64, pieces: u16) -> Vec<Option<usize>> {
    let mut column = vec![None; usize::from(pieces)];
    let (mut below, mut drawn) = (0.0, 0);
    for (i, value) in values.enumerate() {
        below += value.unwrap_or(0.0);
        let top = ((below / high * f64::from(pieces)).round() as usize).clamp(drawn, column.len());
        column[drawn..top].fill(Some(i));
        drawn = top;
    }
    column
}

fn legend(state: &State, paint: &mut Paint, area: Rect, panel: &Panel, glyphs: [&str; 6]) -> u16 {
    let Some((signal, track)) = panel.signals.first().and_then(|name| Some((state.config.signal(name)?, state.store().signals.get(name)?)))
    else {
        return 0;
    };
    let most = if area.height > 8 { 2 } else { 1 };
    let (mut x, mut y) = (0, 0);
    let newest = track.good.as_ref().and_then(|reading| reading.value()).map(Value::lines).unwrap_or_default();
    let cursor = state.cursor_in(panel);
    let mut parts = Vec::new();
    for (i, (label, series)) in track.history().lines.iter().enumerate() {
        let value = match &cursor {
            Some(cursor) => series.at(cursor.at, state.window),
            None => newest.iter().find(|line| line.label == *label).map(|line| line.value),
        };
        // A verdict is about now.
        let judged = value.filter(|_| cursor.is_none() && signal.has_thresholds());
        let verdict = judged.map_or(Verdict::Pass, |value| signal.verdict_of_line(&track.judgement, label, value));
        parts.push((i, label, value, verdict));
    }
    // The worst first, and of those that nobody judges the largest: that is what a stack is looked at for.
    // Of about the same size the order stays, so that nothing jumps.
    let size = |value: Option<f64>| value.filter(|v| *v > 0.0).map_or(f64::NEG_INFINITY, |v| v.log2().round());
    parts.sort_by(|a, b| b.3.cmp(&a.3).then_with(|| size(b.2).total_cmp(&size(a.2))));
    for (shown, (i, label, value, verdict)) in parts.iter().copied().enumerate() {
        let mark = if matches!(verdict, Verdict::Warn | Verdict::Fail) { format!(" {}", paint.symbol(verdict)) } else { String::new() };
        let text = format!("{label} {}{mark}", value.map_or_else(|| "—".into(), |v| signal.shown(v)));
        let left = parts.len() - shown;
        // Where others follow in the last row there has to be room to say how many.
        let more = if left > 1 && y + 1 >= most { width(&format!("+{} more", left - 1)) as u16 + 1 } else { 0 };
        if x > 0 && x + width(&text) as u16 + 1 + more > area.width {
            if y + 1 >= most {
                paint.text(area, x, y, &format!("+{left} more"), Role::Dim);
                return most;
            }
            (x, y) = (0, y + 1);
        }
        let role = if is_old(track) { Role::Stale } else { Role::line(i) };
        x += paint.text(area, x, y, glyphs[i % glyphs.len()], role);
        x += paint.text(area, x, y, &text, Role::Text) + 1;
    }
    y + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_each_other_and_fill_the_column() {
        let column = |values: &[Option<f64>], pieces| heights(values.iter().copied(), 10.0, pieces);
        assert_eq!(column(&[Some(5.0), Some(2.5)], 4), [Some(0), Some(0), Some(1), None]);
        assert_eq!(column(&[Some(5.0), None, Some(5.0)], 4), [Some(0), Some(0), Some(2), Some(2)]);
        assert_eq!(column(&[Some(1.2), Some(8.8)], 8)[..2], [Some(0), Some(1)], "half a cell more than in whole ones");
        assert_eq!(column(&[Some(99.0)], 2), [Some(0), Some(0)], "never beyond it");
        assert_eq!(column(&[None], 2), [None, None]);
    }
}
