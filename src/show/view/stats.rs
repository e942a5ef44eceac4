//! Values with their verdicts, what they should be, and a small history each.

use std::time::Duration;

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use super::panel::is_old;
use super::plot::{Axis, is_age, spark};
use crate::base::clock::Stamp;
use crate::base::text::{fit, width};
use crate::base::units::Unit;
use crate::config::Panel;
use crate::judge::{Signal, Verdict};
use crate::observe::reading::{Ask, Value};
use crate::show::cockpit::State;
use crate::show::theme::Role;
use crate::status::{Track, shown_of};

/// With fewer columns nothing can be understood of a text.
const READABLE: usize = 12;

pub fn draw(state: &State, paint: &mut Paint, whole: Rect, panel: &Panel) {
    let mut area = whole;
    let mut signals: Vec<(&Signal, &Track)> =
        panel.signals.iter().filter_map(|name| Some((state.config.signal(name)?, state.store().signals.get(name)?))).collect();
    if signals.is_empty() {
        return;
    }
    // Where not all fit, the worst come first and the rest is counted; whoever goes down comes to it.
    let too_many = signals.len() > usize::from(area.height);
    let mut selected = None;
    if too_many {
        signals.sort_by_key(|(signal, track)| {
            std::cmp::Reverse(if signal.has_thresholds() { track.judgement.verdict } else { Verdict::Pass })
        });
        // In one line the worst, and how many more there are.
        let beside = area.height == 1 && usize::from(area.width) >= 3 * READABLE;
        let shown = usize::from(area.height.saturating_sub(1)).max(usize::from(beside));
        let chosen = state.selected_in(panel).min(signals.len() - 1);
        let above = (chosen + 1).saturating_sub(shown.max(1));
        let below = signals.len() - shown - above;
        let rest = match (above, below) {
            (0, below) => format!("+{below} more"),
            (above, 0) => format!("+{above} above"),
            (above, below) => format!("+{above} above, +{below} more"),
        };
        signals = signals.into_iter().skip(above).take(shown).collect();
        selected = (chosen > 0).then(|| chosen - above);
        area.width -= if beside { width(&rest) as u16 + 1 } else { 0 };
        let x = if beside { area.width + 1 } else { 0 };
        paint.text(whole, x, area.height.saturating_sub(1), &rest, Role::Dim);
    }
    if signals.is_empty() {
        return;
    }
    let titles = signals.iter().map(|(s, _)| width(&s.title)).max().unwrap_or(0).min(usize::from(area.width) / 2);
    let each = if too_many { 1 } else { (area.height / signals.len() as u16).clamp(1, 4) };
    for (i, (signal, track)) in signals.iter().enumerate() {
        let y = i as u16 * each;
        if y >= area.height {
            break;
        }
        if let Some(x) = value_row(paint, area, y, titles, signal, track, state.cursor_in(panel).map(|c| (c.at, state.window))) {
            let asked = state.config.signals.get(&*signal.name).map(|signal| &signal.question.ask);
            why(paint, area, (x, y), track, matches!(asked, Some(Ask::Probe(_))));
        }
        if selected == Some(i) {
            paint.text(area, 0, y, &fit(&signal.title, titles), Role::Selection);
        }
        // An age only says over and over that time goes by.
        let series = track.history().single().filter(|s| s.len() > 1 && !(signal.unit == Unit::Seconds && is_age(s)));
        if let Some(series) = series.filter(|_| each >= 2) {
            let axis = Axis::new(state.shown_at(), state.window, area.width.min(120));
            let old = is_old(track);
            let marks: Vec<f64> = signal.lines().map(|(_, value)| value).collect();
            spark(paint, area, y + 1, axis, series, (if old { Role::Stale } else { Role::Line1 }, &marks));
            if let Some(cursor) = state.cursor_in(panel) {
                super::plot::cursor(paint, Rect { y: area.y + y + 1, height: 1, ..area }, axis, cursor.at);
            }
        }
    }
}

/// The value with its mark; and where what is to be said of it begins.
fn value_row(
    paint: &mut Paint,
    area: Rect,
    y: u16,
    titles: usize,
    signal: &Signal,
    track: &Track,
    cursor: Option<(Stamp, Duration)>,
) -> Option<u16> {
    let verdict = track.judgement.verdict;
    let old = is_old(track);
    paint.text(area, 0, y, &fit(&signal.title, titles), Role::Dim);
    let mut x = titles as u16 + 1;
    let at_cursor = cursor.and_then(|(at, within)| track.history().single()?.at(at, within));
    let text = match (at_cursor, track.good.as_ref().and_then(|r| r.value())) {
        (Some(value), _) => signal.unit.format(value),
        (None, Some(value)) => shown_of(signal, &track.judgement, value),
        (None, None) => "—".into(),
    };
    // Who it is of gives way to how much it is, and that to how bad.
    let room = usize::from(area.width.saturating_sub(x)).saturating_sub(if signal.has_thresholds() && at_cursor.is_none() { 2 } else { 0 });
    let text = match track.good.as_ref().and_then(|r| r.value()) {
        Some(Value::Lines(lines)) if lines.len() == 1 && at_cursor.is_none() && width(&text) > room => signal.shown(lines[0].value),
        _ => text,
    };
    let text = fit(&text, room).into_owned();
    let numeric = matches!(track.good.as_ref().and_then(|r| r.value()), Some(Value::Number(_)));
    let text = if numeric { format!("{text:>7}") } else { text };
    let value_role = match verdict {
        _ if old => Role::Stale,
        Verdict::Pass | Verdict::Unknown => Role::Text,
        bad => role(bad),
    };
    x += paint.text(area, x, y, &text, value_role) + 1;
    // A verdict is about now: a value of the past has the time instead.
    if let Some((at, _)) = cursor {
        paint.text(area, x, y, &format!("{}{}", at.hms(), at.zone()), Role::Selection);
        return None;
    }
    if signal.has_thresholds() {
        let symbol = if verdict == Verdict::Unknown && old { paint.stale_symbol() } else { paint.symbol(verdict) };
        x += paint.text(area, x, y, symbol, role(verdict)) + 1;
    }
    Some(x)
}

/// What was crossed, or else what holds; only whole, because half a condition misleads. What a probe saw says more than how often it failed.
fn why(paint: &mut Paint, area: Rect, (x, y): (u16, u16), track: &Track, is_probe: bool) {
    let left = usize::from(area.width.saturating_sub(x));
    let seen =
        track.latest.as_ref().filter(|_| is_probe && track.judgement.verdict > Verdict::Pass).and_then(|latest| latest.notes.first());
    if let Some(seen) = seen.filter(|_| left >= READABLE) {
        paint.text(area, x, y, &fit(seen, left), Role::Dim);
        return;
    }
    let target = paint.condition(track.judgement.evidence.condition.as_deref().unwrap_or_default());
    if width(&target) <= left {
        paint.text(area, x, y, &target, Role::Dim);
    }
}
