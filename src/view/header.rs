//! The first two rows: which environment this is by what was reached, how it is, and the boards.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width};
use crate::cockpit::State;
use crate::config::Tier;
use crate::signal::Verdict;
use crate::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let summary = &state.live_summary;
    let banner = match summary.tier {
        Tier::Production => Role::Production,
        Tier::Staging => Role::Staging,
        Tier::Development => Role::Development,
    };
    let mut x = paint.text(area, 0, 0, &format!(" {} ", summary.tier.word()), banner);
    x += paint.text(area, x, 0, &format!(" {} ", summary.environment), Role::Title);
    let clock = format!(" {}Z ", state.now.hms());
    let right = area.width.saturating_sub(clock.len() as u16);
    let frozen = state.frozen.as_ref().map(|f| format!(" FROZEN at {}Z ", f.at.hms()));
    let verdict = format!("{} {}", paint.symbol(summary.verdict), summary.verdict.word().to_uppercase());
    let reason = format!("  {}", paint.condition(&summary.reason));
    let frozen_width = frozen.as_ref().map_or(0, |f| f.len() as u16);
    let free = right.saturating_sub(x + frozen_width);
    // What was reached is good to know; the verdict and its reason must be known.
    let reached = summary.reached();
    let need = (width(&verdict) + width(&reason) + 1) as u16;
    if !reached.is_empty() && free > need.min(60) + 10 {
        let room = usize::from(free - need.min(60) - 4).min(40);
        let mismatch = !summary.mismatches.is_empty();
        x += paint.text(area, x, 0, &format!("· {}  ", fit(&reached, room)), if mismatch { Role::Fail } else { Role::Dim });
    }
    x += paint.text(area, x, 0, &verdict, role(summary.verdict));
    let room = right.saturating_sub(x + frozen_width);
    let shown = fit(&reason, usize::from(room));
    paint.text(area, x, 0, &shown, if summary.verdict == Verdict::Pass { Role::Dim } else { Role::Text });
    if let Some(frozen) = frozen {
        paint.text(area, right.saturating_sub(frozen_width), 0, &frozen, Role::Match);
    }
    paint.text(area, right, 0, &clock, Role::Dim);
}

pub fn tabs(state: &State, paint: &mut Paint, area: Rect) {
    let mut x = 1;
    for (i, board) in state.config.boards.iter().enumerate() {
        let here = i == state.nav.board;
        let worst = board_verdict(state, i);
        let mark = worst.filter(|v| *v != Verdict::Pass).map(|v| format!(" {}", paint.symbol(v))).unwrap_or_default();
        let used = paint.text(area, x, 0, &format!("{} {}", i + 1, board.name), if here { Role::Focus } else { Role::Dim });
        let verdict_role = worst.map_or(Role::Dim, role);
        x += used + paint.text(area, x + used, 0, &mark, verdict_role) + 2;
    }
    let window = format!("window {} ", crate::base::units::short(state.window));
    if x + window.len() as u16 <= area.width {
        paint.right(area, 0, &window, Role::Dim);
    }
}

/// The worst verdict among a board's judged signals; boards of alerts and sources speak for theirs.
fn board_verdict(state: &State, board: usize) -> Option<Verdict> {
    use crate::config::PanelKind;
    let board = state.config.boards.get(board)?;
    let store = &state.live;
    let mut worst: Option<Verdict> = None;
    for panel in &board.panels {
        let signals = panel.signals.iter().filter(|name| state.config.signal(name).is_some_and(|s| s.has_thresholds()));
        let own = signals.filter_map(|name| store.signals.get(name)).map(|t| t.judgement.verdict).max();
        let rules = (panel.kind == PanelKind::Alerts)
            .then(|| {
                state
                    .live_summary
                    .rules
                    .iter()
                    .filter(|r| !matches!(r.state.phase, crate::signal::Phase::Inactive))
                    .map(|r| r.verdict)
                    .max()
            })
            .flatten();
        worst = worst.max(own).max(rules);
    }
    worst
}
