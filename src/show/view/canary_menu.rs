//! What can be done with the canary: a line each, with its key and what it comes to.

use ratatui::layout::{Position, Rect};

use super::paint::Paint;
use super::palette::window;
use crate::base::text::wrap;
use crate::plan::deploy::Promotion;
use crate::plan::runbook::percent;
use crate::show::cockpit::{CanaryMenu, State};
use crate::show::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, menu: &CanaryMenu) -> Option<Position> {
    let deploy = state.live_summary.deploy.as_ref();
    let settings = state.config.acting.settings.canary.as_ref();
    let weight = deploy.map(|deploy| deploy.weight());
    let at = match &weight {
        Some(Ok(weight)) => percent(*weight),
        _ => "?".into(),
    };
    let promotion = deploy.zip(settings).map(|(deploy, settings)| deploy.promotion(settings, state.now));
    let next = weight.as_ref().and_then(|weight| settings?.after(*weight.as_ref().ok()?));
    let held = deploy.is_some_and(|deploy| deploy.hold.is_some());
    let promote = match (next, &promotion) {
        (Some(next), Some(Promotion::To(_))) if deploy.is_some_and(|deploy| deploy.judged_from_now_on) => {
            format!("promote: it is judged from now on, then {at} → {next} %")
        }
        (Some(next), Some(Promotion::To(_))) => format!("promote: {at} → {next} %, then it bakes and is judged"),
        (Some(next), _) => format!("promote to {next} % all the same: a commander, with a reason"),
        (None, _) => "promote: there is no further step".into(),
    };
    let lines = [
        ("p", promote),
        ("s", "set another share".to_string()),
        ("h", if held { "let it go on: it is held" } else { "hold: nobody promotes it until it is let go" }.into()),
        ("0", "out of the traffic at once: the dialog of the rollback".into()),
        ("o", "look at the run that is under way, or the last one".into()),
    ];
    let cells = usize::from(74.min(area.width).saturating_sub(4));
    let against = match &promotion {
        Some(Promotion::Refused(all)) => all.iter().flat_map(|why| wrap(why, cells.saturating_sub(2))).collect(),
        _ => Vec::new(),
    };
    let high = lines.len() + against.len() + usize::from(!against.is_empty()) + 5;
    let inner = window(paint, area, 74, high as u16, &format!("Canary at {at}"));
    let mut y = 0;
    for (key, words) in lines {
        paint.text(inner, 0, y, key, Role::Accent);
        paint.text(inner, 3, y, &words, Role::Text);
        y += 1;
    }
    if !against.is_empty() {
        paint.text(inner, 0, y, "against the next step:", Role::Dim);
        y += 1;
    }
    for line in against {
        paint.text(inner, 2, y, &line, Role::Warn);
        y += 1;
    }
    if let Some(complaint) = &menu.complaint {
        paint.text(inner, 0, y, complaint, Role::Warn);
    }
    y += 1;
    let Some(share) = &menu.share else {
        paint.text(inner, 0, y, "Esc: leave, nothing changes", Role::Dim);
        return None;
    };
    let x = paint.text(inner, 0, y, "share in per cent, and Enter: ", Role::Accent);
    paint.text(inner, x, y, share.value(), Role::Title);
    Some(Position::new(inner.x + (x + share.visual_cursor() as u16).min(inner.width.saturating_sub(1)), inner.y + y))
}
