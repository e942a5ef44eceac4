//! A distribution: its buckets now as bars, and over time as rows of levels.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use super::panel::is_old;
use super::plot::{self, Axis};
use crate::base::text::width;
use crate::config::Panel;
use crate::show::cockpit::State;
use crate::show::theme::Role;
use crate::status::Track;

/// A bucket: its upper bound as written, and its share at each column.
struct Bucket {
    bound: String,
    shares: Vec<Option<f64>>,
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect, panel: &Panel) {
    let Some(track) = panel.signals.first().and_then(|name| state.store().signals.get(name)) else { return };
    let rows = headline(state, paint, area, panel);
    let area = Rect { y: area.y + rows, height: area.height - rows, ..area };
    if track.history().lines.len() < 2 || area.height == 0 || area.width < 12 {
        paint.text(area, 0, 0, if track.latest.is_none() { "waiting for the first answer" } else { "no buckets" }, Role::Dim);
        return;
    }
    // Zoomed there is room for both; else the rows over time say more.
    let bars = if state.nav.zoomed { area.width / 3 } else { 0 };
    let label = 5;
    let heat = Rect { x: area.x + label + 1, width: area.width.saturating_sub(label + 1 + bars), ..area };
    let axis = Axis::new(state.shown_at(), state.window, heat.width);
    let buckets = merged(buckets(track, axis), usize::from(area.height));
    if buckets.is_empty() {
        paint.text(area, 0, 0, "no buckets: its lines are called by their upper bounds (by (le))", Role::Dim);
        return;
    }
    let most = buckets.iter().flat_map(|b| b.shares.iter().flatten()).copied().fold(0.0, f64::max).max(1e-9);
    let role = if is_old(track) { Role::Stale } else { Role::Line1 };
    for (y, bucket) in buckets.iter().rev().enumerate() {
        let y = y as u16;
        let bound = crate::base::text::fit(&bucket.bound, usize::from(label)).into_owned();
        paint.text(area, label.saturating_sub(width(&bound) as u16), y, &bound, Role::Dim);
        let mut held = None;
        let mut text = String::new();
        for share in &bucket.shares {
            held = share.or(held);
            text.push_str(held.map_or(" ", |share| plot::level(paint, share / most)));
        }
        paint.text(heat, 0, y, &text, role);
        if bars > 8 {
            let now = bucket.shares.iter().rev().find_map(|s| *s).unwrap_or(0.0);
            let x = heat.x + heat.width - area.x + 1;
            let text = format!("{:>4.0} % ", now * 100.0);
            let used = paint.text(area, x, y, &text, Role::Text);
            let full = if paint.unicode() { "█" } else { "#" };
            let length = (now / most * f64::from(bars.saturating_sub(used + 2))).round() as usize;
            paint.text(area, x + used, y, &full.repeat(length), role);
        }
    }
    if let Some(cursor) = state.cursor_in(panel) {
        plot::cursor(paint, heat, axis, cursor.at);
    }
}

/// The other signals of the panel in one line: `median score 0.72 ✓`.
fn headline(state: &State, paint: &mut Paint, area: Rect, panel: &Panel) -> u16 {
    let mut x = 0;
    for name in panel.signals.iter().skip(1) {
        let (Some(signal), Some(track)) = (state.config.signal(name), state.store().signals.get(name)) else { continue };
        let value = match state.cursor_in(panel) {
            Some(cursor) => track.history().single().and_then(|s| s.at(cursor.at, state.window)),
            None => track.good.as_ref().and_then(|r| r.value()?.number()),
        };
        let verdict = track.judgement.verdict;
        x += paint.text(area, x, 0, &signal.title, Role::Dim) + 1;
        let text = value.map_or_else(|| "—".into(), |v| signal.unit.format(v));
        x += paint.text(area, x, 0, &text, if is_old(track) { Role::Stale } else { Role::Text }) + 1;
        if signal.has_thresholds() {
            x += paint.text(area, x, 0, paint.symbol(verdict), role(verdict)) + 1;
            let target = paint.condition(track.judgement.evidence.condition.as_deref().unwrap_or_default());
            if x + width(&target) as u16 <= area.width {
                x += paint.text(area, x, 0, &target, Role::Dim) + 2;
            }
        }
    }
    u16::from(x > 0)
}

/// Shares of each bucket by column, from cumulative counts, lowest bound first.
fn buckets(track: &Track, axis: Axis) -> Vec<Bucket> {
    let mut bounds: Vec<(f64, &str, Vec<Option<f64>>)> = track
        .history()
        .lines
        .iter()
        .filter_map(|(label, series)| Some((label.parse::<f64>().ok()?, &**label, axis.columns(series, 1))))
        .collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = bounds.last().map(|(_, _, columns)| columns.clone()).unwrap_or_default();
    let mut below: Vec<Option<f64>> = vec![Some(0.0); total.len()];
    let mut out = Vec::new();
    for (_, bound, columns) in bounds {
        let shares = columns
            .iter()
            .zip(&below)
            .zip(&total)
            .map(|((here, below), total)| match (here, below, total) {
                (Some(here), Some(below), Some(total)) if *total > 0.0 => Some(((here - below) / total).max(0.0)),
                _ => None,
            })
            .collect();
        out.push(Bucket { bound: bound.to_string(), shares });
        below = columns;
    }
    out
}

/// Neighbours joined until there are at most so many.
fn merged(buckets: Vec<Bucket>, most: usize) -> Vec<Bucket> {
    // An empty last bucket (`+Inf`) says nothing.
    let mut buckets = buckets;
    if buckets.last().is_some_and(|b| b.shares.iter().flatten().all(|s| *s == 0.0)) {
        buckets.pop();
    }
    let group = buckets.len().div_ceil(most.max(1)).max(1);
    let mut out: Vec<Bucket> = Vec::new();
    for (i, bucket) in buckets.into_iter().enumerate() {
        if i % group == 0 {
            out.push(bucket);
        } else if let Some(last) = out.last_mut() {
            last.bound = bucket.bound;
            for (sum, share) in last.shares.iter_mut().zip(bucket.shares) {
                *sum = match (*sum, share) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }
        }
    }
    out
}
