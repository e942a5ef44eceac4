//! Whether a rollback would work right now: the scopes, what each needs and how that is, and how the last ones went.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width};
use crate::base::units::short;
use crate::judge::Verdict;
use crate::plan::deploy::{Readiness, Scope};
use crate::show::cockpit::State;
use crate::show::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let Some(readiness) = &state.summary().readiness else {
        let words = if state.config.acting.settings.switch.is_some() {
            "looking …"
        } else {
            "There is no switch of the traffic: add [traffic] to the configuration."
        };
        paint.wrapped(area, 0, words, Role::Dim);
        return;
    };
    let status = readiness.state();
    let head = format!("{} {}  ", paint.symbol(status.verdict()), status.word());
    let x = paint.text(area, 0, 0, &head, role(status.verdict()));
    let used = paint.wrapped(
        Rect { x: area.x + x, width: area.width.saturating_sub(x), height: area.height.min(2), ..area },
        0,
        &readiness.words(),
        Role::Text,
    );
    let mut y = used.max(1) + 1;
    for scope in Scope::ALL {
        scope_line(paint, area, y, readiness, scope);
        y += 1;
    }
    y += 1;
    y += items(paint, Rect { y: area.y + y.min(area.height), height: area.height.saturating_sub(y), ..area }, readiness) + 1;
    history(state, paint, Rect { y: area.y + y.min(area.height), height: area.height.saturating_sub(y), ..area });
}

fn scope_line(paint: &mut Paint, area: Rect, y: u16, readiness: &Readiness, scope: Scope) {
    // What is only not known yet is no fault.
    let verdict = readiness.against(scope).map(|item| item.verdict).max().unwrap_or(Verdict::Pass);
    let works = verdict == Verdict::Pass;
    paint.text(area, 0, y, paint.symbol(verdict), role(verdict));
    paint.text(area, 3, y, scope.word(), Role::Title);
    let took = readiness
        .expected
        .iter()
        .find(|(of, _)| *of == scope)
        .map_or_else(|| "never done here".into(), |(_, took)| format!("~ {}", short(*took)));
    let why = readiness.against(scope).next().map_or_else(
        || "works".to_string(),
        |item| {
            let what = if verdict == Verdict::Unknown { "not known" } else { "does not work" };
            format!("{what}: {}: {}", item.what, item.words)
        },
    );
    paint.text(area, 12, y, &fit(&why, usize::from(area.width.saturating_sub(24))), if works { Role::Text } else { role(verdict) });
    paint.right(area, y, &took, Role::Dim);
}

/// What is wrong comes first, with what mends it; what does not fit is counted.
fn items(paint: &mut Paint, area: Rect, readiness: &Readiness) -> u16 {
    let mut all: Vec<_> = readiness.items.iter().collect();
    all.sort_by_key(|item| std::cmp::Reverse((item.verdict != Verdict::Pass, item.verdict)));
    let names = all.iter().map(|item| width(&item.what)).max().unwrap_or(0) as u16 + 5;
    let fits = usize::from(area.height);
    let count = if all.len() > fits { fits.saturating_sub(1) } else { all.len() };
    for (y, item) in all.iter().take(count).enumerate() {
        let y = y as u16;
        paint.text(area, 0, y, paint.symbol(item.verdict), role(item.verdict));
        paint.text(area, 3, y, &item.what, Role::Dim);
        let mend = item.mend.as_ref().map_or_else(String::new, |mend| format!("  ({mend})"));
        paint.text(area, names, y, &fit(&format!("{}{mend}", item.words), usize::from(area.width.saturating_sub(names))), Role::Text);
    }
    if count < all.len() && area.height > 0 {
        paint.text(area, 0, count as u16, &format!("+{} more", all.len() - count), Role::Dim);
    }
    area.height.min(all.len() as u16)
}

fn history(state: &State, paint: &mut Paint, area: Rect) {
    let environment = &state.config.environment.name;
    let of_rollback = |run: &&std::sync::Arc<crate::status::RunLine>| {
        let c = &run.plan.content;
        (c.environment.name == *environment || c.drill) && Scope::of(&c.runbook).is_some()
    };
    let runs = state.ledger.runs.iter().filter(of_rollback).take(usize::from(area.height));
    for (y, run) in runs.enumerate() {
        let c = &run.plan.content;
        let when = run.run.started.map_or_else(|| "not begun".into(), |at| at.when(state.now));
        let drill = if c.drill { "  DRILL" } else { "" };
        let reason = c.reason.as_deref().unwrap_or("");
        let text = format!(
            "{when}  {}{drill}  {}  {}  {}  {reason}",
            c.runbook,
            run.status().word(),
            short(run.elapsed(state.now)),
            run.run.by.user
        );
        paint.text(area, 0, y as u16, &fit(&text, usize::from(area.width)), Role::Dim);
    }
}
