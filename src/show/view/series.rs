//! Lines over time with their thresholds and newest values.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use super::panel::is_old;
use super::plot::{self, Axis, AxisScale, PlotLine};
use crate::base::text::{fit, shared, telling, width};
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
    /// Its number by the reading that everything else goes by; one that the newest answer does not have has gone.
    newest: Option<f64>,
    /// None is kept of a line beyond those that can be: it stands in the legend alone.
    series: Option<&'a Series>,
    role: Role,
    /// Its letter, where there are several.
    name: &'static str,
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect, panel: &Panel) {
    let (drawn, hidden) = collect(state, panel);
    let rows = legend(state, paint, area, (&drawn, hidden), panel);
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
    let values = || charted.iter().filter_map(|d| d.series).flat_map(|series| series.since(from).map(|(_, v)| v));
    let Some(raw) = AxisScale::of(values()) else { return };
    // A threshold belongs on the chart when the line is anywhere near it.
    let near = thresholds.iter().map(|(_, v)| *v).filter(|v| *v <= raw.high * 2.5 && *v >= raw.low - (raw.high - raw.low) * 2.5);
    let Some(scale) = AxisScale::of(values().chain(near)) else { return };
    let roomy = area.height > plot::ROOMY && area.width >= 40;
    let area = if roomy { Rect { height: area.height - 1, ..area } } else { area };
    let area = plot::value_axis(paint, area, scale, unit);
    let axis = Axis::new(state.shown_at(), state.window, area.width);
    let kept = charted.iter().rev().filter_map(|d| Some((d, d.series?)));
    let lines: Vec<PlotLine> = kept.map(|(d, series)| PlotLine { series, role: d.role, name: d.name }).collect();
    plot::lines(paint, area, axis, scale, &lines, &thresholds);
    if roomy {
        plot::name_thresholds(paint, area, scale, &thresholds, unit);
        let environment = &state.config.environment.name;
        // The newest come first: what lies before the chart is not gone through.
        let shown = state.ledger.runs.iter().take_while(|run| run.run.started.is_none_or(|at| at >= from));
        let runs = shown.filter(|run| run.plan.content.environment.name == *environment);
        let under = Rect { y: area.y + area.height, height: 1, ..area };
        plot::time_axis(paint, under, axis, runs.filter_map(|run| run.run.started));
    }
    if let Some(cursor) = state.cursor_in(panel) {
        plot::cursor(paint, area, axis, cursor.at);
    }
}

/// So many lines are named of which nothing is kept.
const MOST_NAMED: usize = 64;

/// The lines, and how many more the newest answers have.
fn collect<'a>(state: &'a State, panel: &Panel) -> (Vec<Drawn<'a>>, usize) {
    let (mut drawn, mut hidden) = (Vec::new(), 0);
    for name in &panel.signals {
        let (Some(signal), Some(track)) = (state.config.signal(name), state.store().signals.get(name)) else { continue };
        let lines = track.good.as_ref().and_then(|reading| reading.value()).map(Value::lines).unwrap_or_default();
        let newest: HashMap<&str, f64> = lines.iter().map(|one| (&*one.label, one.value)).collect();
        let kept = &track.history().lines;
        let of_all = shared(kept.keys().map(|key| &**key).chain(lines.iter().map(|one| &*one.label)));
        let mut push = |key: &Arc<str>, newest: Option<f64>, series| {
            let role = if is_old(track) { Role::Stale } else { Role::line(drawn.len()) };
            let label = Some(telling(key, &of_all)).filter(|name| !name.is_empty()).unwrap_or_else(|| signal.title.clone());
            drawn.push(Drawn { signal, track, label, key: key.clone(), newest, series, role, name: plot::letter(drawn.len()) });
        };
        for (key, series) in kept {
            push(key, newest.get(&**key).copied(), Some(series));
        }
        // Of those beyond what is kept the culprit has to be named all the same.
        let mut named = 0;
        for one in lines.iter().filter(|one| !kept.contains_key(&one.label)) {
            let is_bad = matches!(signal.verdict_of_line(&track.judgement, &one.label, one.value), Verdict::Warn | Verdict::Fail);
            // Nothing is kept yet of what was read once. Nobody reads more names than this.
            if named < MOST_NAMED && (is_bad && signal.has_thresholds() || kept.is_empty() && lines.len() <= MOST_NAMED) {
                push(&one.label, Some(one.value), None);
                named += 1;
            } else {
                hidden += 1;
            }
        }
    }
    if let [only] = drawn.as_mut_slice() {
        only.name = "";
    }
    name_signals(&mut drawn);
    (drawn, hidden)
}

/// Lines of several signals that are called the same have the signal's name in front.
fn name_signals(drawn: &mut [Drawn]) {
    let (mut first, mut twice) = (HashMap::new(), HashSet::new());
    for line in drawn.iter() {
        if *first.entry(line.label.as_str()).or_insert(&line.signal.name) != &line.signal.name {
            twice.insert(line.label.clone());
        }
    }
    for line in drawn.iter_mut().filter(|line| twice.contains(&line.label)) {
        line.label = format!("{} {}", line.signal.title, line.label);
    }
}

/// The newest values (or those at the cursor), as many as fit; a zoomed panel gives each a row. Returns the rows used.
fn legend(state: &State, paint: &mut Paint, area: Rect, (drawn, hidden): (&[Drawn], usize), panel: &Panel) -> u16 {
    if drawn.is_empty() {
        let waiting = panel.signals.iter().filter_map(|n| state.store().signals.get(n)).all(|t| t.latest.is_none());
        paint.text(area, 0, 0, if waiting { "waiting for the first answer" } else { "no data" }, Role::Dim);
        return 1;
    }
    let detailed = state.nav.zoomed && usize::from(area.height) > drawn.len() + 6;
    let (mut x, mut y) = (0, 0);
    if let Some(cursor) = state.cursor_in(panel) {
        x += paint.text(area, 0, 0, &format!("{}{} ", cursor.at.hms(), cursor.at.zone()), Role::Selection) + 1;
        if detailed {
            (x, y) = (0, 1);
        }
    }
    // A verdict is about now, not about the time under the cursor.
    let now = state.cursor_in(panel).is_none();
    let mut rows: Vec<(Verdict, &Drawn, Option<f64>)> = drawn.iter().map(|line| value_of(state, panel, line)).collect();
    if now {
        // Of equals the order stays, so that nothing jumps.
        let judged = drawn.iter().map(|line| line.signal).find(|signal| signal.has_thresholds());
        rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| worse(b, judged).total_cmp(&worse(a, judged))));
    }
    // Of many lines two rows say hardly more than one.
    let most = u16::from(area.height >= TWO_ROWS && rows.len() + hidden <= FEW);
    for (shown, (verdict, line, value)) in rows.iter().enumerate() {
        let (verdict, left) = (*verdict, rows.len() - shown + hidden);
        let is_gone = value.is_none();
        let value = value.filter(|v| !v.is_nan()).map_or_else(|| "—".into(), |v| line.signal.shown(v));
        // What is not there any more is neither good nor bad, unless nobody knows anything.
        let judged = line.signal.has_thresholds() && now && !(is_gone && verdict == Verdict::Pass);
        let labelled = drawn.len() > 1 || detailed;
        // Where there is little room what is left out is a number alone.
        let (more, number) = (format!("+{left} more"), format!("+{left}"));
        let kept = if left > 1 && (y == most || detailed) { width(&number) as u16 + 1 } else { 0 };
        let room = usize::from(area.width).saturating_sub(width(&value) + 5 + usize::from(kept)).max(8);
        let label = fit(&line.label, room);
        let need = (if labelled { width(&label) + 3 } else { 0 } + width(&value) + if judged { 2 } else { 0 }) as u16;
        if !detailed && x > 0 && x + need + kept > area.width {
            if y == most {
                let fits = x + width(&more) as u16 <= area.width;
                paint.text(area, x, y, if fits { &more } else { &number }, Role::Dim);
                break;
            }
            (x, y) = (0, y + 1);
        }
        if !line.name.is_empty() {
            x += paint.text(area, x, y, line.name, line.role) + 1;
        }
        // The first value is what the panel is about; its name is the panel's when it stands alone.
        if labelled {
            x += paint.text(area, x, y, &label, Role::Dim) + 1;
        }
        let bad = judged && verdict != Verdict::Pass;
        x += paint.text(
            area,
            x,
            y,
            &value,
            if is_old(line.track) || is_gone {
                Role::Stale
            } else if bad {
                role(verdict)
            } else {
                Role::Text
            },
        ) + 1;
        if judged {
            x += paint.text(area, x, y, paint.symbol(verdict), role(verdict)) + 1;
        }
        // What was crossed, or what holds, is said of the line it is true of.
        if (detailed || drawn.len() == 1) && verdict == line.track.judgement.verdict {
            let target = paint.condition(line.track.judgement.evidence.condition.as_deref().unwrap_or_default());
            if x + width(&target) as u16 <= area.width {
                x += paint.text(area, x, y, &target, Role::Dim) + 1;
            }
        }
        if detailed {
            (x, y) = (0, y + 1);
        }
        if left == hidden + 1 && hidden > 0 {
            paint.text(area, x, y, &format!("+{hidden} more"), Role::Dim);
            y += u16::from(detailed);
        }
    }
    if detailed { y } else { y + 1 }
}

/// With so many rows there is room for two of the legend.
const TWO_ROWS: u16 = 6;
const FEW: usize = 8;

/// How far a line is on the bad side of its thresholds' direction; without thresholds of that of the panel's, where it is of the same
/// unit: the track that makes the sum bad is named before what is well.
fn worse((_, line, value): &(Verdict, &Drawn<'_>, Option<f64>), judged: Option<&Signal>) -> f64 {
    let signal = if line.signal.has_thresholds() { Some(line.signal) } else { judged.filter(|judged| judged.unit == line.signal.unit) };
    let op = signal.and_then(|signal| signal.fail.as_ref().or(signal.warn.as_ref())).map(|condition| condition.op);
    match (op, value) {
        (Some(Op::Greater | Op::AtLeast), Some(value)) => *value,
        (Some(Op::Less | Op::AtMost), Some(value)) => -value,
        // Without a direction the order stays.
        _ => f64::NEG_INFINITY,
    }
}

/// What a line is now, by the same reading that everything else goes by, or was at the cursor.
fn value_of<'d, 's>(state: &State, panel: &Panel, line: &'d Drawn<'s>) -> (Verdict, &'d Drawn<'s>, Option<f64>) {
    let judgement = &line.track.judgement;
    if let Some(cursor) = state.cursor_in(panel) {
        return (judgement.verdict, line, line.series.and_then(|series| series.at(cursor.at, state.window)));
    }
    let verdict = match line.newest.filter(|_| line.signal.has_thresholds()) {
        None if judgement.verdict == Verdict::Unknown && line.signal.has_thresholds() => Verdict::Unknown,
        None => Verdict::Pass,
        Some(value) => line.signal.verdict_of_line(judgement, &line.key, value),
    };
    (verdict, line, line.newest)
}
