//! What every panel has: title, verdict as symbol and word, who speaks and how old it is, and the fault in words below the
//! last good values.

use ratatui::layout::Rect;

use super::paint::{Paint, age_words, role};
use crate::base::text::{fit, width};
use crate::config::{Panel, PanelKind};
use crate::judge::Verdict;
use crate::observe::reading::{Freshness, SourceState};
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
    let word = verdict.filter(|v| *v != Verdict::Pass).map_or("", Verdict::word);
    let (word, right) = corner(state, panel, &tracks, word, area.width);
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
    // The verdict stands before what it is about: behind it, it would be the source's.
    let mut room = room;
    if !word.is_empty() {
        x += paint.text(area, x, 0, word, role(verdict.unwrap_or(Verdict::Unknown))) + 1;
        room = room.saturating_sub(width(word) + 1);
    }
    x += paint.text(area, x, 0, &fit(&panel.title, room), if focused { Role::Focus } else { Role::Title });
    // The focused panel is marked by a line as well as by colour.
    if focused {
        let end = usize::from(area.width.saturating_sub(x)).saturating_sub(width(&right) + 2);
        let line = if paint.unicode() { "─" } else { "-" };
        paint.text(area, x + 1, 0, &line.repeat(end), Role::Border);
    }
    // Who speaks and how old it is are dim, unless just that is bad.
    let late = tracks.iter().any(|(_, track)| is_old(track));
    paint.right(area, 0, &right, if late { Role::Unknown } else { Role::Dim });
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    fault(state, paint, body, panel, &tracks)
}

/// `fail` and `prometheus 41s`: as much of both as fits beside the title, the age first.
fn corner<'w>(state: &State, panel: &Panel, tracks: &[(&str, &Track)], word: &'w str, columns: u16) -> (&'w str, String) {
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
    let both = [speakers.join("+"), age.clone()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let title = width(&panel.title) + 3;
    for (word, text) in [(word, &both), (word, &age), ("", &both), ("", &age)] {
        if title + width(word) + usize::from(!word.is_empty()) + width(text) <= usize::from(columns) {
            return (word, text.clone());
        }
    }
    (if title + width(word) < usize::from(columns) { word } else { "" }, String::new())
}

/// Says what is wrong on the lowest rows, and leaves the rest.
fn fault(state: &State, paint: &mut Paint, body: Rect, panel: &Panel, tracks: &[(&str, &Track)]) -> Rect {
    let mut words: Option<(String, Role)> = None;
    for (name, track) in tracks {
        if let Some(fault) = track.fault() {
            // Why a source is away stands above, once.
            let source = state.config.signals.get(*name).map_or("", |s| &s.question.source);
            let away = state.summary().sources.iter().any(|s| s.name == source && s.state == SourceState::Failing);
            let away = away && !state.nav.zoomed;
            words = Some((if away { format!("{source} is away") } else { fault.to_string() }, Role::Unknown));
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
