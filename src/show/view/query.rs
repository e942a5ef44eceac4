//! What stands behind a panel: of whom what is asked, how it is judged, and what came back.

use ratatui::layout::Rect;

use super::paint::Paint;
use super::palette::window;
use crate::base::text::wrap;
use crate::base::units::short;
use crate::show::cockpit::State;
use crate::show::theme::Role;
use crate::status::shown;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, scroll: u16) {
    let Some(panel) = state.panel() else { return };
    let mut lines: Vec<(String, Role)> = Vec::new();
    let cells = usize::from(area.width.min(100).saturating_sub(6));
    let mut say = |text: String, role: Role| lines.extend(wrap(&text, cells).into_iter().map(|line| (line, role)));
    for name in &panel.signals {
        let (Some(config), Some(track)) = (state.config.signals.get(name), state.store().signals.get(name)) else { continue };
        let signal = &config.signal;
        say(format!("{name}  ({}, in {})", config.question.source, signal.unit.name()), Role::Title);
        say(format!("  {}", config.shown), Role::Text);
        let mut rhythm = format!("  every {}, at most {}", short(config.question.every), short(config.question.timeout));
        if let Some((second, _)) = &config.question.or {
            rhythm += &format!(", or else {second}");
        }
        say(rhythm, Role::Dim);
        for (verdict, condition) in [("fails", &signal.fail), ("warns", &signal.warn)] {
            if let Some(condition) = condition {
                say(format!("  {verdict} when {condition}"), Role::Dim);
            }
        }
        if let Some(baseline) = signal.baseline {
            let now = track.baseline.map_or_else(|| "not known yet".into(), |b| signal.unit.format(b));
            say(format!("  baseline: {} = {now}", baseline.words(signal.unit)), Role::Dim);
        }
        if let Some(at_least) = signal.at_least {
            say(format!("  needs {at_least} samples, has {}", track.samples.map_or_else(|| "?".into(), |n| format!("{n:.0}"))), Role::Dim);
        }
        say(format!("  {}: {}", track.judgement.verdict.word(), track.judgement.reason), super::paint::role(track.judgement.verdict));
        if let Some(good) = &track.good {
            let value = good.value().map_or_else(String::new, |v| shown(v, signal.unit));
            say(format!("  last good: {value}  at {}  from {}  in {}", good.at.iso(), good.via, short(good.took)), Role::Dim);
        }
        for note in track.latest.iter().flat_map(|r| &r.notes) {
            say(format!("  note: {note}"), Role::Warn);
        }
        say(String::new(), Role::Text);
    }
    if lines.is_empty() {
        lines.push(("This panel asks nothing of its own.".into(), Role::Dim));
    }
    let inner = window(paint, area, 100, lines.len() as u16 + 2, &panel.title);
    let most = (lines.len() as u16).saturating_sub(inner.height);
    for (y, (line, role)) in lines.iter().skip(usize::from(scroll.min(most))).take(usize::from(inner.height)).enumerate() {
        paint.text(inner, 0, y as u16, line, *role);
    }
}
