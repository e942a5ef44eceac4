//! Lines over time with their thresholds and newest values.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::legend::{Entry, worst_first};
use super::paint::Paint;
use super::panel::is_old;
use super::plot::{self, Axis, PlotLine, Scale};
use crate::config::Panel;
use crate::judge::{Op, Signal, Verdict};
use crate::observe::reading::{Series, Value};
use crate::show::cockpit::State;
use crate::show::theme::Role;
use crate::status::Track;

/// A line of the panel: whose it is, its name, and its points.
struct Drawn<'a> {
    signal: &'a Signal,
    track: &'a Track,
    label: String,
    /// What the answer calls it.
    key: Arc<str>,
    series: &'a Series,
    role: Role,
    /// Its letter, where there are several.
    name: &'static str,
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect, panel: &Panel) {
    let drawn = collect(state, panel);
    let rows = legend(state, paint, area, &drawn, panel);
    let area = Rect { y: area.y + rows, height: area.height - rows, ..area };
    let Some(unit) = drawn.first().map(|d| d.signal.unit) else { return };
    if area.height < 1 || area.width < 4 {
        return;
    }
    // One axis for all: lines of another unit stand in the legend only.
    let charted: Vec<&Drawn> = drawn.iter().filter(|d| d.signal.unit == unit).collect();
    let from = state.shown_at().minus(state.window);
    let first = charted[0].signal;
    let thresholds: Vec<(Verdict, f64)> = first.lines().collect();
    let values = charted.iter().flat_map(|d| d.series.since(from).map(|(_, v)| v));
    let Some(raw) = Scale::of(values) else { return };
    // A threshold belongs on the chart when the line is anywhere near it.
    let near = thresholds.iter().map(|(_, v)| *v).filter(|v| *v <= raw.high * 2.5 && *v >= raw.low - (raw.high - raw.low) * 2.5);
    let values = charted.iter().flat_map(|d| d.series.since(from).map(|(_, v)| v));
    let Some(scale) = Scale::of(values.chain(near)) else { return };
    let area = plot::value_axis(paint, area, scale, unit);
    let axis = Axis::new(state.shown_at(), state.window, area.width);
    let lines: Vec<PlotLine> = charted.iter().rev().map(|d| PlotLine { series: d.series, role: d.role, name: d.name }).collect();
    plot::lines(paint, area, axis, scale, &lines, &thresholds);
    if let Some(cursor) = state.cursor_in(panel) {
        plot::cursor(paint, area, axis, cursor.at);
    }
}

fn collect<'a>(state: &'a State, panel: &Panel) -> Vec<Drawn<'a>> {
    let mut drawn = Vec::new();
    for name in &panel.signals {
        let (Some(signal), Some(track)) = (state.config.signal(name), state.store().signals.get(name)) else { continue };
        for (key, series) in &track.history().lines {
            let label = key;
            let role = if is_old(track) { Role::Stale } else { Role::line(drawn.len()) };
            let label = if label.is_empty() { signal.title.clone() } else { label.to_string() };
            let key = key.clone();
            drawn.push(Drawn { signal, track, label, key, series, role, name: plot::letter(drawn.len()) });
        }
    }
    if let [only] = drawn.as_mut_slice() {
        only.name = "";
    }
    drawn
}

/// The newest values (or those at the cursor). Returns the rows used.
fn legend(state: &State, paint: &mut Paint, area: Rect, drawn: &[Drawn], panel: &Panel) -> u16 {
    if drawn.is_empty() {
        let waiting = panel.signals.iter().filter_map(|n| state.store().signals.get(n)).all(|t| t.latest.is_none());
        paint.text(area, 0, 0, if waiting { "waiting for the first answer" } else { "no data" }, Role::Dim);
        return 1;
    }
    let detailed = state.nav.zoomed && usize::from(area.height) > drawn.len() + 6;
    let mut entries: Vec<Entry> = drawn.iter().map(|line| entry(state, panel, line, detailed || drawn.len() == 1)).collect();
    let Some(cursor) = state.cursor_in(panel) else {
        entries.extend(beyond(state, panel, drawn));
        worst_first(&mut entries);
        return super::legend::draw(paint, area, (0, 0), &entries, detailed);
    };
    let x = paint.text(area, 0, 0, &format!("{}Z ", cursor.at.hms()), Role::Selection) + 1;
    super::legend::draw(paint, area, if detailed { (0, 1) } else { (x, 0) }, &entries, detailed)
}

/// A line as it is now, by the same reading that everything else goes by, or was at the cursor.
fn entry(state: &State, panel: &Panel, line: &Drawn<'_>, told: bool) -> Entry {
    let judgement = &line.track.judgement;
    let newest = || line.track.good.as_ref()?.value()?.lines().into_iter().find(|one| *one.label == *line.key).map(|one| one.value);
    // A verdict is about now, not about the time under the cursor.
    let (value, now) = match state.cursor_in(panel) {
        Some(cursor) => (line.series.at(cursor.at, state.window), false),
        None => (newest(), true),
    };
    // Of one that the newest answer does not have nothing is said.
    let of_line = |value| line.signal.verdict_of_line(judgement, &line.key, value);
    let verdict = (now && line.signal.has_thresholds()).then(|| value.map_or(Verdict::Pass, of_line));
    // What was crossed, or what holds, is said of the line it is true of.
    let is_its = told && line.signal.has_thresholds() && verdict.is_none_or(|verdict| verdict == judgement.verdict);
    Entry {
        letter: line.name,
        letter_role: line.role,
        label: line.label.clone(),
        value: value.filter(|v| !v.is_nan()).map_or_else(|| "—".into(), |v| line.signal.unit.format(v)),
        old: is_old(line.track) || value.is_none(),
        verdict,
        target: judgement.evidence.condition.clone().filter(|_| is_its).unwrap_or_default(),
        badness: badness(line.signal, value),
    }
}

/// Lines that the newest answers have and no chart keeps: there are too many. They are judged all the same.
fn beyond(state: &State, panel: &Panel, drawn: &[Drawn]) -> Vec<Entry> {
    let mut all = Vec::new();
    for name in &panel.signals {
        let (Some(signal), Some(track)) = (state.config.signal(name), state.store().signals.get(name)) else { continue };
        let lines = track.good.as_ref().and_then(|reading| reading.value()).map(Value::lines).unwrap_or_default();
        let is_drawn = |key: &Arc<str>| drawn.iter().any(|line| line.signal.name == signal.name && line.key == *key);
        for line in lines.into_iter().filter(|line| !is_drawn(&line.label)) {
            all.push(Entry {
                letter: "",
                letter_role: Role::Dim,
                value: signal.unit.format(line.value),
                old: is_old(track),
                verdict: signal.has_thresholds().then(|| signal.verdict_of_line(&track.judgement, &line.label, line.value)),
                target: String::new(),
                badness: badness(signal, Some(line.value)),
                label: line.label.to_string(),
            });
        }
    }
    all
}

/// How far a value is on the bad side of its thresholds' direction.
fn badness(signal: &Signal, value: Option<f64>) -> f64 {
    let op = signal.fail.as_ref().or(signal.warn.as_ref()).map(|condition| condition.op);
    match (op, value.filter(|v| !v.is_nan())) {
        (Some(Op::Greater | Op::AtLeast), Some(value)) => value,
        (Some(Op::Less | Op::AtMost), Some(value)) => -value,
        // Without a direction the order stays.
        _ => f64::NEG_INFINITY,
    }
}
