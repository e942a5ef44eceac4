//! What has happened, the newest on top: beside the panels where the screen is wide, and gone through in a window everywhere.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use super::palette::window;
use super::run;
use crate::base::text::{fit, width, wrap};
use crate::show::cockpit::State;
use crate::show::keymap::Action;
use crate::show::theme::Role;
use crate::status::Moment;

/// The most rows that the selected one has at the foot of the window, whole.
const WHOLE: usize = 4;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let x = paint.text(area, 0, 0, "What has happened", Role::Title);
    if let Some(key) = state.keymap.keys(Action::Timeline).into_iter().next() {
        let used = paint.text(area, x + 2, 0, &key, Role::Accent);
        paint.text(area, x + used + 3, 0, "opens one", Role::Dim);
    }
    // Below it stands the run that is under way, with a row between.
    let open = state.ledger.open(&state.config.environment.name);
    let below = open.map_or(0, |line| run::rows_beside(line).min(area.height / 2));
    if let Some(line) = open {
        run::beside(state, paint, Rect { y: area.y + area.height - below, height: below, ..area }, line);
    }
    let area = Rect { height: area.height.saturating_sub(below + u16::from(below > 0)), ..area };
    let all = state.moments();
    if all.is_empty() {
        paint.text(area, 0, 1, NOTHING, Role::Dim);
    }
    for (y, moment) in all.iter().take(usize::from(area.height.saturating_sub(1))).enumerate() {
        line(state, paint, area, (0, y as u16 + 1), moment);
    }
}

const NOTHING: &str = "Nothing yet: verdicts that change, rules and runs stand here.";

fn line(state: &State, paint: &mut Paint, area: Rect, (x, y): (u16, u16), moment: &Moment) {
    // Of another day the day is said.
    let x = x + paint.text(area, x, y, &moment.at.today(state.now), Role::Dim) + 1;
    let (symbol, tone) = match moment.verdict {
        Some(verdict) => (paint.symbol(verdict), role(verdict)),
        None => (if paint.unicode() { "▶" } else { ">" }, Role::Accent),
    };
    paint.text(area, x, y, symbol, tone);
    let x = x + width(symbol).max(2) as u16 + 1;
    paint.text(area, x, y, &fit(&moment.words, usize::from(area.width.saturating_sub(x))), Role::Text);
}

/// The same to go through, with the selected one whole below.
pub fn list(state: &State, paint: &mut Paint, area: Rect) {
    let all = state.moments();
    let inner = window(paint, area, 110, area.height, "What has happened");
    if all.is_empty() {
        paint.text(inner, 0, 0, NOTHING, Role::Dim);
        return;
    }
    let selected = state.happened.index(&all);
    let key = state.keymap.keys(Action::Zoom).into_iter().next().unwrap_or_default();
    let mut whole = wrap(&all[selected].words, usize::from(inner.width));
    whole.truncate(WHOLE);
    whole.push(format!("{key} opens it"));
    let below = whole.len() as u16 + 1;
    let rows = usize::from(inner.height.saturating_sub(below)).max(1);
    let first = selected.saturating_sub(rows - 1);
    for (i, moment) in all.iter().enumerate().skip(first).take(rows) {
        let y = (i - first) as u16;
        line(state, paint, inner, (2, y), moment);
        if i == selected {
            paint.text(inner, 0, y, ">", Role::Accent);
            let style = paint.theme.style(Role::Selection);
            paint.buffer.set_style(Rect { y: inner.y + y, height: 1, ..inner }.intersection(paint.buffer.area), style);
        }
    }
    let foot = inner.height.saturating_sub(below) + 1;
    for (i, text) in whole.iter().enumerate() {
        let tone = if i + 1 == whole.len() { Role::Dim } else { Role::Text };
        paint.text(inner, 0, foot + i as u16, text, tone);
    }
}
