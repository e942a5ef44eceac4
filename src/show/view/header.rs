//! The first two rows: which environment this is by what was reached, how it is, and the boards.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width};
use crate::base::tier::Tier;
use crate::judge::Verdict;
use crate::show::cockpit::State;
use crate::show::theme::Role;
use crate::status::RunStatus;

/// So much of an environment's name tells it from others, however little room there is.
const SHORTEST: usize = 6;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let summary = &state.live_summary;
    let banner = match summary.tier {
        Tier::Production => Role::Production,
        Tier::Staging => Role::Staging,
        Tier::Development => Role::Development,
    };
    // The right corner tells the time, or that it stands still.
    let (corner, corner_role) = match &state.frozen {
        Some(frozen) => (format!(" FROZEN at {}{} ", frozen.at.hms(), frozen.at.zone()), Role::Match),
        None => (format!(" {}{} ", state.now.hms(), state.now.zone()), Role::Dim),
    };
    // How much fails, where it is more than the one that is said.
    let failing = summary.failing;
    let many = if summary.verdict == Verdict::Fail && failing > 1 { format!("{failing} ") } else { String::new() };
    let verdict = format!("{} {many}{}", paint.symbol(summary.verdict), summary.verdict.word().to_uppercase());
    let reason = format!("  {}", paint.condition(&summary.reason));
    // Where not all of it fits, the seconds and the longer words go first.
    let named = width(summary.tier.word()) + width(&summary.environment) + 5;
    let room = usize::from(area.width).saturating_sub(named + width(&verdict) + corner.len());
    let (reason, corner) = match width(&reason) > room && state.frozen.is_none() {
        true => (
            reason.replace(", firing for over ", ", >").replace(", firing for ", ", "),
            format!(" {}{} ", state.now.hm(), state.now.zone()),
        ),
        false => (reason, corner),
    };
    let right = area.width.saturating_sub(corner.len() as u16);
    let mut x = paint.text(area, 0, 0, &format!(" {} ", summary.tier.word()), banner);
    // The name gives way to the verdict where there is little room.
    // And to some words of why.
    let why = width(&reason).min(usize::from(area.width) / 3);
    let room =
        usize::from(right.saturating_sub(x)).saturating_sub(width(&verdict) + why + 3).max(SHORTEST.min(width(&summary.environment)));
    x += paint.text(area, x, 0, &format!(" {} ", fit(&summary.environment, room)), Role::Title);
    let free = right.saturating_sub(x);
    let reached = summary.reached();
    let need = (width(&verdict) + width(&reason) + 1) as u16;
    if !reached.is_empty() && free > need.min(60) + 10 {
        let room = usize::from(free - need.min(60) - 4).min(40);
        let mismatch = !summary.mismatches.is_empty();
        x += paint.text(area, x, 0, &format!("· {}  ", fit(&reached, room)), if mismatch { Role::Fail } else { Role::Dim });
    }
    x += paint.text(area, x, 0, &verdict, role(summary.verdict));
    let shown = fit(&reason, usize::from(right.saturating_sub(x)));
    paint.text(area, x, 0, &shown, if summary.verdict == Verdict::Pass { Role::Dim } else { Role::Text });
    if x < right {
        paint.text(area, right, 0, &corner, corner_role);
    }
}

/// The boards with their numbers; where not all of it fits, the last of those that are well have their numbers alone, and then the
/// others that are not looked at.
fn tab_names(state: &State, room: usize) -> Vec<String> {
    let boards = &state.config.boards;
    let calm = |i: usize| state.board_verdict(i).is_none_or(|verdict| verdict == Verdict::Pass);
    let mut names: Vec<String> = boards.iter().enumerate().map(|(i, board)| format!("{} {}", i + 1, board.name)).collect();
    // Each has two cells behind it, and its mark.
    let wide = |names: &[String]| names.iter().enumerate().map(|(i, name)| width(name) + 2 + if calm(i) { 0 } else { 2 }).sum::<usize>();
    let mut order: Vec<usize> = (0..names.len()).rev().filter(|i| *i != state.nav.board).collect();
    // Of equals the order stays.
    order.sort_by_key(|i| !calm(*i));
    for i in order {
        if wide(&names) <= room + 2 {
            break;
        }
        names[i] = (i + 1).to_string();
    }
    names
}

pub fn tabs(state: &State, paint: &mut Paint, area: Rect) {
    let mut x = 1;
    let names = tab_names(state, usize::from(area.width.saturating_sub(1)));
    for (i, name) in names.iter().enumerate() {
        let here = i == state.nav.board;
        let worst = state.board_verdict(i);
        let mark = worst.filter(|v| *v != Verdict::Pass).map(|v| format!(" {}", paint.symbol(v))).unwrap_or_default();
        let used = paint.text(area, x, 0, name, if here { Role::Focus } else { Role::Dim });
        let verdict_role = worst.map_or(Role::Dim, role);
        x += used + paint.text(area, x + used, 0, &mark, verdict_role) + 2;
    }
    // A run that is under way stands where it is seen from every board.
    if let Some(run) = state.ledger.open(&state.config.environment.name) {
        let status = run.status();
        let (over, count) = run.progress();
        let step = format!("{}/{count}", (over + 1).min(count));
        let forms = [
            format!(" {} {step} {} ", run.plan.content.runbook, status.word()),
            format!(" run {step} {} ", status.word()),
            format!(" run {} ", status.word()),
        ];
        // The shortest has to be seen, if it takes the last tab.
        let fits = forms.iter().find(|text| x + crate::base::text::width(text) as u16 <= area.width);
        paint.right(area, 0, fits.unwrap_or(&forms[2]), if status == RunStatus::Running { Role::Accent } else { Role::Warn });
        return;
    }
    if state.ledger.elsewhere.holder.is_some() {
        let forms = [" a run from elsewhere is under way ", " run elsewhere "];
        let fits = forms.iter().find(|text| x + crate::base::text::width(text) as u16 <= area.width);
        paint.right(area, 0, fits.unwrap_or(&forms[1]), Role::Warn);
        return;
    }
    if let Some(weight) = state.live_summary.deploy.as_ref().and_then(|deploy| deploy.weight().ok()) {
        let text = format!("canary {} ", crate::plan::runbook::percent(weight));
        if x + text.len() as u16 <= area.width {
            paint.right(area, 0, &text, if weight > 0.0 { Role::Accent } else { Role::Dim });
        }
        return;
    }
    let window = format!("window {} ", crate::base::units::short(state.window));
    if x + window.len() as u16 <= area.width {
        paint.right(area, 0, &window, Role::Dim);
    }
}
