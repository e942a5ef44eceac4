//! What every panel has: title, verdict as symbol and word, who speaks and how old it is, and the fault in words below the
//! last good values.

use ratatui::layout::Rect;

use super::paint::{Paint, age_words, role};
use crate::base::text::{fit, width};
use crate::config::{Panel, PanelKind};
use crate::judge::Verdict;
use crate::observe::reading::Freshness;
use crate::show::cockpit::State;
use crate::show::theme::Role;
use crate::status::Track;

/// Draws the frame and the fault; returns what is left for the panel's own.
pub fn frame(state: &State, paint: &mut Paint, area: Rect, index: usize, panel: &Panel) -> Rect {
    if area.is_empty() {
        return area;
    }
    let focused = index == state.focus() && state.board().is_some_and(|b| b.panels.len() > 1);
    let tracks: Vec<(&str, &Track)> = panel.signals.iter().filter_map(|name| Some((&**name, state.store().signals.get(name)?))).collect();
    let verdict = state.panel_verdict(index);
    let stale = tracks.iter().any(|(_, t)| t.judgement.freshness == Freshness::Stale);
    let right = corner(state, panel, &tracks, verdict, area.width);
    let symbol = match verdict {
        Some(Verdict::Unknown) | None if stale => Some((paint.stale_symbol(), Role::Stale)),
        Some(v) => Some((paint.symbol(v), role(v))),
        None => None,
    };
    let mut x = 0;
    if let Some((symbol, role)) = symbol {
        x += paint.text(area, 0, 0, symbol, role) + 1;
    }
    let room = usize::from(area.width.saturating_sub(x)).saturating_sub(width(&right) + 1);
    x += paint.text(area, x, 0, &fit(&panel.title, room), if focused { Role::Focus } else { Role::Title });
    // The focused panel is marked by a line as well as by colour.
    if focused {
        let end = usize::from(area.width.saturating_sub(x)).saturating_sub(width(&right) + 2);
        let line = if paint.unicode() { "─" } else { "-" };
        paint.text(area, x + 1, 0, &line.repeat(end), Role::Border);
    }
    paint.right(
        area,
        0,
        &right,
        if verdict.is_some_and(|v| v != Verdict::Pass) { role(verdict.unwrap_or(Verdict::Unknown)) } else { Role::Dim },
    );
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    fault(state, paint, body, panel, &tracks)
}

/// `fail  prometheus 41s`: as much of it as fits.
fn corner(state: &State, panel: &Panel, tracks: &[(&str, &Track)], verdict: Option<Verdict>, width: u16) -> String {
    let word = match verdict {
        Some(Verdict::Pass) | None => "",
        Some(v) => v.word(),
    };
    let now = state.shown_at();
    let oldest = tracks
        .iter()
        .filter_map(|(name, t)| Some((now.since(t.good.as_ref()?.at), state.config.signal(name)?.interval, t.judgement.freshness)))
        .max_by_key(|(age, interval, _)| age.as_millis() * 100 / interval.as_millis().max(1));
    let age = match oldest {
        Some((age, interval, freshness)) => age_words(age, interval, freshness),
        None if tracks.is_empty() => String::new(),
        None => "never".into(),
    };
    let mut speakers: Vec<&str> = Vec::new();
    for (name, track) in tracks {
        let configured = state.config.signals.get(*name).map_or("", |s| &s.question.source);
        let via = track.latest.as_ref().filter(|r| r.outcome.is_ok()).map_or(configured, |r| &r.via);
        if !speakers.contains(&via) {
            speakers.push(via);
        }
    }
    let title = crate::base::text::width(&panel.title) + 3;
    let candidates = [vec![word.to_string(), speakers.join("+"), age.clone()], vec![word.to_string(), age.clone()], vec![age]];
    for parts in candidates {
        let text = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ");
        if title + crate::base::text::width(&text) <= usize::from(width) {
            return text;
        }
    }
    word.to_string()
}

/// Says what is wrong on the lowest rows, and leaves the rest.
fn fault(state: &State, paint: &mut Paint, body: Rect, panel: &Panel, tracks: &[(&str, &Track)]) -> Rect {
    let mut words: Option<(String, Role)> = None;
    for (name, track) in tracks {
        if let Some(fault) = track.fault() {
            words = Some((fault.to_string(), Role::Unknown));
            break;
        }
        let Some(reading) = &track.latest else { continue };
        let second = state.config.signals.get(*name).is_some_and(|s| *s.question.source != *reading.via);
        if (second || reading.partial) && words.is_none() {
            words = reading.notes.first().map(|note| (note.clone(), Role::Warn));
        }
        if words.is_none() && state.config.signal(name).is_some_and(|s| s.has_thresholds()) && track.judgement.verdict == Verdict::Unknown {
            words = Some((track.judgement.reason.clone(), Role::Unknown));
        }
    }
    let Some((words, role)) = words.filter(|_| panel.kind != PanelKind::Services && panel.kind != PanelKind::Alerts) else { return body };
    let lines = crate::base::text::wrap(&words, usize::from(body.width));
    let rows = (lines.len() as u16).min(if state.nav.zoomed { 6 } else { 2 }).min(body.height);
    let kept = Rect { height: body.height - rows, ..body };
    for (i, line) in lines.iter().take(usize::from(rows)).enumerate() {
        let last = i + 1 == usize::from(rows) && lines.len() > usize::from(rows);
        let line =
            if last { fit(&format!("{line} {}", lines[i + 1..].join(" ")), usize::from(body.width)).into_owned() } else { line.clone() };
        paint.text(body, 0, kept.height + i as u16, &line, role);
    }
    kept
}

/// Values are dimmed when they are not what the source says now.
pub fn is_old(track: &Track) -> bool {
    track.fault().is_some() || matches!(track.judgement.freshness, Freshness::Stale | Freshness::Missing)
}
