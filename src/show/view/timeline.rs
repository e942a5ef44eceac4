//! What has happened, the newest on top: beside the panels where the screen is wide.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width};
use crate::show::cockpit::State;
use crate::show::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    paint.text(area, 0, 0, "What has happened", Role::Title);
    let environment = &state.config.environment.name;
    let all = state.timeline.with_runs(&state.ledger, environment);
    if all.is_empty() {
        paint.text(area, 0, 1, "Nothing yet: verdicts that change and runs stand here.", Role::Dim);
    }
    for (y, moment) in all.iter().take(usize::from(area.height.saturating_sub(1))).enumerate() {
        let y = y as u16 + 1;
        // Of another day the day is said.
        let when = moment.at.today(state.now);
        let x = paint.text(area, 0, y, &when, Role::Dim) + 1;
        let (symbol, tone) = match moment.verdict {
            Some(verdict) => (paint.symbol(verdict), role(verdict)),
            None => (if paint.unicode() { "▶" } else { ">" }, Role::Accent),
        };
        paint.text(area, x, y, symbol, tone);
        let x = x + width(symbol).max(2) as u16 + 1;
        paint.text(area, x, y, &fit(&moment.words, usize::from(area.width.saturating_sub(x))), Role::Text);
    }
}
