//! Plots in cells: lines in braille (or in ASCII), threshold lines, axis. Time is laid out on a grid of whole cells that
//! moves on by one cell at a time, so that a chart that has hardly changed costs hardly any bytes.

use std::time::Duration;

use ratatui::layout::Rect;
use ratatui::symbols::braille::BRAILLE;

use super::paint::Paint;
use crate::base::clock::Stamp;
use crate::base::text::width;
use crate::base::units::Unit;
use crate::judge::Verdict;
use crate::observe::reading::Series;
use crate::show::theme::Role;

/// The time that a plot's columns stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    pub from: Stamp,
    /// Of one cell.
    pub step: Duration,
    pub cells: u16,
}

impl Axis {
    /// The newest `window` up to `now` over so many cells, on a grid of whole cells.
    pub fn new(now: Stamp, window: Duration, cells: u16) -> Axis {
        let step = (window / u32::from(cells.max(1))).max(Duration::from_millis(1));
        let end = now.align(step).plus(step);
        Axis { from: end.minus(step * u32::from(cells)), step, cells }
    }

    /// The column of `per_cell` columns a cell in which a time lies.
    fn column(&self, at: Stamp, per_cell: u32) -> Option<usize> {
        let since = at.0.checked_sub(self.from.0).filter(|s| *s >= 0)?;
        let column = since as u128 * u128::from(per_cell) / self.step.as_millis().max(1);
        (column < u128::from(self.cells) * u128::from(per_cell)).then_some(column as usize)
    }

    /// Mean values by column; `None` where there is no number.
    pub fn columns(&self, series: &Series, per_cell: u32) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0u32); usize::from(self.cells) * per_cell as usize];
        for (at, value) in series.since(self.from).filter(|(_, v)| v.is_finite()) {
            if let Some(column) = self.column(at, per_cell) {
                sums[column].0 += value;
                sums[column].1 += 1;
            }
        }
        sums.into_iter().map(|(sum, n)| (n > 0).then(|| sum / f64::from(n))).collect()
    }

    pub fn cell_of(&self, at: Stamp) -> Option<u16> {
        self.column(at, 1).map(|c| c as u16)
    }
}

/// The range of values shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisScale {
    pub low: f64,
    pub high: f64,
}

impl AxisScale {
    /// A calm range for values and thresholds: from zero unless they all lie far from it, to a round number above.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<AxisScale> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return None;
        }
        if low >= 0.0 && low < high * 0.6 {
            low = 0.0;
        }
        let span = if high > low {
            high - low
        } else if high == 0.0 {
            1.0
        } else {
            high.abs()
        };
        let step = round_step(span / 4.0);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Some(AxisScale { low, high: if high > low { high } else { low + step } })
    }

    /// 0 at the bottom, 1 at the top.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn round_step(wanted: f64) -> f64 {
    let magnitude = 10f64.powf(wanted.max(1e-12).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|n| n * magnitude).find(|step| *step >= wanted).unwrap_or(magnitude * 10.0)
}

/// So many rows a chart needs for more than its lines: values between the ends, the time, names of thresholds.
pub const ROOMY: u16 = 8;

/// Writes the scale's ends at the left, and its middle where there is room; returns the area right of them.
pub fn value_axis(paint: &mut Paint, area: Rect, scale: AxisScale, unit: Unit) -> Rect {
    let last = area.height.saturating_sub(1);
    let middle = (area.height >= ROOMY).then_some((last / 2, (scale.high + scale.low) / 2.0));
    let ends = [(0, scale.high), (last, scale.low)];
    let label = |(y, value): (u16, f64)| (y, unit.format(value).replace(' ', ""));
    let labels: Vec<(u16, String)> = ends.into_iter().chain(middle).map(label).collect();
    let wide = labels.iter().map(|(_, label)| width(label)).max().unwrap_or(0) as u16;
    if area.width < wide + 12 || area.height < 2 {
        return area;
    }
    for (y, label) in &labels {
        let x = wide.saturating_sub(width(label) as u16);
        paint.text(area, x, *y, label, Role::Dim);
    }
    Rect { x: area.x + wide + 1, width: area.width - wide - 1, ..area }
}

/// Writes the time under a plot, at its ends and between, and marks moments.
pub fn time_axis(paint: &mut Paint, area: Rect, axis: Axis, moments: impl Iterator<Item = Stamp>) {
    let parts = if area.width >= 60 { 4 } else { 2 };
    for part in 0..=parts {
        let cell = u32::from(axis.cells.saturating_sub(1)) * part / parts;
        let label = axis.from.plus(axis.step * cell).hm();
        let left = match part {
            0 => 0,
            last if last == parts => area.width.saturating_sub(width(&label) as u16),
            _ => (cell as u16).saturating_sub(width(&label) as u16 / 2),
        };
        paint.text(area, left, 0, &label, Role::Dim);
    }
    for cell in moments.filter_map(|at| axis.cell_of(at)) {
        paint.text(area, cell, 0, moment_symbol(paint), Role::Accent);
    }
}

/// What marks the beginning of a run under a chart.
pub fn moment_symbol(paint: &Paint) -> &'static str {
    if paint.unicode() { "▴" } else { "^" }
}

/// Names thresholds at the right: on their lines, and at the edge that they lie beyond. None is written over another.
pub fn name_thresholds(paint: &mut Paint, area: Rect, scale: AxisScale, thresholds: &[(Verdict, f64)], unit: Unit) {
    let last = area.height.saturating_sub(1);
    let (above, below) = if paint.unicode() { ("↑", "↓") } else { ("^", "v") };
    let is_within = |value: f64| value >= scale.low && value <= scale.high;
    let mut taken = Vec::new();
    let (within, beyond): (Vec<(Verdict, f64)>, Vec<_>) = thresholds.iter().copied().partition(|(_, value)| is_within(*value));
    for (verdict, value) in within.into_iter().chain(beyond) {
        let mut y = ((1.0 - scale.share(value)) * f64::from(last)).round() as u16;
        while taken.contains(&y) && taken.len() <= usize::from(last) {
            y = if value > scale.high || y == 0 { y + 1 } else { y - 1 };
        }
        taken.push(y);
        let arrow = match is_within(value) {
            true => "",
            false if value > scale.high => above,
            false => below,
        };
        let label = format!(" {}{arrow} {}", unit.format(value), paint.symbol(verdict));
        paint.right(area, y, &label, super::paint::role(verdict));
    }
}

pub struct PlotLine<'a> {
    pub series: &'a Series,
    pub role: Role,
    /// A letter where there are several.
    pub name: &'static str,
}

/// Draws threshold lines, then the lines, each cell in the colour of the line drawn last in it.
pub fn lines(paint: &mut Paint, area: Rect, axis: Axis, scale: AxisScale, lines: &[PlotLine], thresholds: &[(Verdict, f64)]) {
    for (verdict, value) in thresholds.iter().filter(|(_, v)| *v >= scale.low && *v <= scale.high) {
        let y = ((1.0 - scale.share(*value)) * f64::from(area.height.saturating_sub(1))).round() as u16;
        let dash = if paint.unicode() { "┈" } else { "." };
        let style = paint.drawn(super::paint::role(*verdict));
        paint.styled(area, 0, y, &dash.repeat(usize::from(area.width)), style);
        // Which threshold it is, besides its colour.
        let symbol = paint.symbol(*verdict);
        paint.styled(area, area.width.saturating_sub(width(symbol) as u16), y, symbol, style);
    }
    for line in lines {
        if paint.unicode() { braille(paint, area, axis, scale, line) } else { ascii(paint, area, axis, scale, line) }
    }
    for line in lines.iter().filter(|l| !l.name.is_empty()) {
        if let Some((at, value)) = line.series.last()
            && let Some(x) = axis.cell_of(at)
        {
            let y = ((1.0 - scale.share(value)) * f64::from(area.height.saturating_sub(1))).round() as u16;
            paint.text(area, x.min(area.width.saturating_sub(1)), y, line.name, line.role);
        }
    }
}

/// What tells the n-th line from the others besides its colour: a letter in the legend and at its newest point.
pub fn letter(n: usize) -> &'static str {
    // Beyond the letters there are none: the legend has the name.
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
    LETTERS.get(n..=n).unwrap_or("")
}

fn braille(paint: &mut Paint, area: Rect, axis: Axis, scale: AxisScale, line: &PlotLine) {
    let (wide, high) = (usize::from(area.width), usize::from(area.height));
    let mut dots = vec![0u8; wide * high];
    let rows = (high * 4).saturating_sub(1) as f64;
    let row_of = |value: f64| ((1.0 - scale.share(value)) * rows).round() as usize;
    let mut set = |x: usize, y: usize| {
        if let Some(cell) = dots.get_mut(y / 4 * wide + x / 2) {
            *cell |= 1 << ((y % 4) * 2 + x % 2);
        }
    };
    let mut before: Option<(usize, usize)> = None;
    for (x, value) in axis.columns(line.series, 2).into_iter().enumerate() {
        let Some(value) = value else { continue };
        let y = row_of(value);
        match before {
            // Points that are near are joined; a hole in the data stays a hole.
            Some((px, py)) if x - px <= gap_columns(axis, line.series) => {
                for cx in px + 1..=x {
                    let share = (cx - px) as f64 / (x - px) as f64;
                    let cy = (py as f64 + (y as f64 - py as f64) * share).round() as usize;
                    let from = (py as f64 + (y as f64 - py as f64) * ((cx - px - 1) as f64 / (x - px) as f64)).round() as usize;
                    for dot in from.min(cy)..=from.max(cy) {
                        set(cx, dot);
                    }
                }
            }
            _ => set(x, y),
        }
        before = Some((x, y));
    }
    let style = paint.theme.style(line.role);
    for (i, cell) in dots.iter().enumerate().filter(|(_, c)| **c != 0) {
        let (x, y) = ((i % wide) as u16, (i / wide) as u16);
        // Lines that cross share a cell.
        let there = paint.buffer[(area.x + x, area.y + y)].symbol().chars().next().filter(|c| ('\u{2800}'..='\u{28ff}').contains(c));
        let joined = there.and_then(|c| BRAILLE.iter().position(|b| *b == c)).unwrap_or(0) | usize::from(*cell);
        paint.buffer[(area.x + x, area.y + y)].set_char(BRAILLE[joined]).set_style(style);
    }
}

fn ascii(paint: &mut Paint, area: Rect, axis: Axis, scale: AxisScale, line: &PlotLine) {
    let rows = f64::from(area.height.saturating_sub(1));
    let glyph = match line.role {
        Role::Line2 => "o",
        Role::Line3 => "x",
        Role::Line4 => "+",
        Role::Line5 => "#",
        Role::Line6 => "@",
        _ => "*",
    };
    for (x, value) in axis.columns(line.series, 1).into_iter().enumerate() {
        if let Some(value) = value {
            let y = ((1.0 - scale.share(value)) * rows).round() as u16;
            paint.text(area, x as u16, y, glyph, line.role);
        }
    }
}

/// So many of the newest points say how far apart points are.
const SPACED: usize = 16;

/// How many half cells may lie between two points of the same line.
fn gap_columns(axis: Axis, series: &Series) -> usize {
    let newest: Vec<Stamp> = series.iter().rev().map(|(at, _)| at).take(SPACED).collect();
    let mut between: Vec<u128> = newest.windows(2).map(|pair| pair[0].since(pair[1]).as_millis()).collect();
    between.sort_unstable();
    // The one in the middle: an outage is no spacing.
    let Some(spacing) = between.get(between.len() / 2) else { return 2 };
    (spacing * 3 * 2 / axis.step.as_millis().max(1)).clamp(2, 1000) as usize
}

/// Columns between two points that are near take the earlier one's value: a narrow step must not leave stripes, and an outage
/// must not look like data. The newest value holds as long.
pub fn hold(columns: &mut [Option<f64>], axis: Axis, series: &Series) {
    let most = gap_columns(axis, series).div_ceil(2);
    let known: Vec<usize> = (0..columns.len()).filter(|x| columns[*x].is_some()).collect();
    let ends = known.iter().skip(1).copied().chain([columns.len()]);
    for (from, to) in known.iter().copied().zip(ends) {
        let value = columns[from];
        if to - from <= most {
            columns[from..to].fill(value);
        }
    }
}

const BLOCKS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const STEPS: [&str; 9] = [" ", ".", ".", ":", "-", "=", "+", "*", "#"];

/// A glyph for a share between 0 and 1.
pub fn level(paint: &Paint, share: f64) -> &'static str {
    let index = (share.clamp(0.0, 1.0) * 8.0).round() as usize;
    let index = if share > 0.0 { index.max(1) } else { index };
    if paint.unicode() { BLOCKS[index] } else { STEPS[index] }
}

/// A line of small bars, on a scale that takes in what the signal is held to: a small change looks small.
pub fn spark(paint: &mut Paint, area: Rect, y: u16, axis: Axis, series: &Series, (role, marks): (Role, &[f64])) {
    let mut columns = axis.columns(series, 1);
    hold(&mut columns, axis, series);
    let largest = columns.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()));
    let newest = columns.iter().rev().flatten().next().copied();
    // A quarter of the value at least.
    // What is never below nothing has no room there.
    let least = if columns.iter().flatten().all(|value| *value >= 0.0) { 0.0 } else { f64::NEG_INFINITY };
    let room = newest.into_iter().flat_map(|value| [(value - largest / 8.0).max(least), value + largest / 8.0]);
    let Some(scale) = AxisScale::of(columns.iter().flatten().copied().chain(marks.iter().copied()).chain(room)) else { return };
    let text: String = columns.into_iter().map(|value| value.map_or(" ", |v| level(paint, scale.share(v).max(0.1)))).collect();
    paint.text(area, 0, y, &text, role);
}

/// Whether a series of seconds only counts the time since something: it rises by as much as passes, but for a few falls.
pub fn is_age(series: &Series) -> bool {
    let steps = series.iter().zip(series.iter().skip(1)).map(|(a, b)| (b.0.since(a.0).as_secs_f64(), b.1 - a.1));
    let (mut passed, mut rose, mut falls) = (0.0, 0.0, 0);
    for (time, by) in steps {
        if by < 0.0 {
            falls += 1;
        } else {
            (passed, rose) = (passed + time, rose + by);
        }
    }
    // What is read is a little older or newer than the moment of the reading.
    passed >= 5.0 && falls * 10 <= series.len() && (rose - passed).abs() <= passed / 10.0 + 1.0
}

/// Marks the reading cursor's column.
pub fn cursor(paint: &mut Paint, area: Rect, axis: Axis, at: Stamp) {
    if let Some(x) = axis.cell_of(at).filter(|x| *x < area.width) {
        let style = paint.theme.style(Role::Selection);
        for y in 0..area.height {
            paint.buffer[(area.x + x, area.y + y)].set_style(style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_no_course_of_anything() {
        let of = |values: &[f64]| Series::from_points(values.iter().zip(1..).map(|(value, n)| (Stamp(n * 5_000), *value)));
        assert!(is_age(&of(&[100.0, 105.0, 110.2, 115.0, 119.9])));
        assert!(is_age(&of(&[40.0, 45.0, 50.0, 55.0, 60.0, 65.0, 0.4, 5.4, 10.4, 15.4, 20.4])), "something new came in between");
        for other in [&[8.0; 6][..], &[0.2, 0.3, 0.2, 0.4, 0.3], &[1.0, 9.0, 2.0, 30.0, 4.0], &[1.0, 1.0, 2.0, 3.0, 4.0], &[5.0]] {
            assert!(!is_age(&of(other)), "{other:?}");
        }
    }

    #[test]
    fn the_axis_moves_on_by_whole_cells() {
        let window = Duration::from_secs(900);
        let first = Axis::new(Stamp(1_000_000_000), window, 45);
        let soon = Axis::new(Stamp(1_000_000_000 + 4_000), window, 45);
        let later = Axis::new(Stamp(1_000_000_000 + 20_000), window, 45);
        assert_eq!(first, soon);
        assert_eq!(later.from.since(first.from), Duration::from_secs(20));
        assert_eq!(first.cell_of(Stamp(1_000_000_000)), Some(44));
        assert_eq!(first.cell_of(Stamp(0)), None);
    }

    #[test]
    fn scales_are_calm() {
        let scale = |values: &[f64]| AxisScale::of(values.iter().copied()).map(|s| (s.low, s.high));
        assert_eq!(scale(&[0.01, 0.081]), Some((0.0, 0.1)));
        assert_eq!(scale(&[0.80, 0.86]), Some((0.8, 0.86)));
        assert_eq!(scale(&[0.0, 0.0]), Some((0.0, 0.25)));
        assert_eq!(scale(&[f64::NAN]), None);
    }
}
