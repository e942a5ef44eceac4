//! The dialog of the rollback: reason, scopes side by side, the chosen one's plan, readiness, and what has to be typed. Its
//! last rows stay, however small the screen is.

use ratatui::layout::{Position, Rect};

use super::paint::{Paint, role};
use super::palette::window;
use crate::base::text::{fit, width, wrap};
use crate::base::tier::Tier;
use crate::base::units::short;
use crate::judge::Verdict;
use crate::plan::deploy::{Readiness, Scope, wrong_environment};
use crate::plan::runbook::{Confirmation, Kind, Plan, percent};
use crate::show::cockpit::{RollbackDialog, State};
use crate::show::theme::Role;

const WIDEST: u16 = 102;
/// Where what stands behind a heading begins.
const INDENT: u16 = 9;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, dialog: &RollbackDialog) -> Option<Position> {
    let environment = &state.config.environment;
    let title = format!("Roll back {} {}", environment.tier.name().to_uppercase(), environment.name);
    let inner = window(paint, area, WIDEST, area.height.min(30), &fit(&title, usize::from(area.width.saturating_sub(6))));
    if environment.tier == Tier::Production {
        let style = paint.theme.style(Role::Production);
        let edge = Rect { x: inner.x, y: inner.y.saturating_sub(1), width: (width(&title) as u16 + 2).min(inner.width), height: 1 };
        paint.buffer.set_style(edge.intersection(paint.buffer.area), style);
    }
    if RollbackDialog::is_too_small((paint.buffer.area.width, paint.buffer.area.height)) {
        let rows = paint.wrapped(inner, 0, "This window is too small to read a plan in.", Role::Fail);
        paint.wrapped(inner, rows, "Make it larger, or: lastgreen rollback. Esc: back", Role::Text);
        return None;
    }
    if let Some(why) = &dialog.refused {
        let rows = paint.wrapped(inner, 0, why, Role::Fail);
        paint.text(inner, 0, rows + 1, "Nothing was done.  Esc: back", Role::Text);
        return None;
    }
    let cursor = reason(paint, inner, dialog);
    let mut y = 1;
    for scope in Scope::ALL {
        y += scope_line(state, paint, inner, y, dialog, scope);
    }
    let foot = 3 + u16::from(dialog.typed.complaint.is_some());
    let plan_area = Rect { y: inner.y + y, height: inner.height.saturating_sub(y + foot + 1), ..inner };
    plan(paint, plan_area, dialog, &state.live_summary.mismatches);
    let below = inner.height - foot - 1;
    ready(paint, inner, below, state.live_summary.readiness.as_ref());
    let line = if paint.unicode() { "─" } else { "-" };
    paint.text(inner, 0, below + 1, &line.repeat(usize::from(inner.width)), Role::Border);
    let mut y = below + 2;
    if let Some(complaint) = &dialog.typed.complaint {
        paint.text(inner, 0, y, complaint, Role::Warn);
        y += 1;
    }
    let typing = confirmation(paint, inner, y, dialog);
    paint.text(inner, 0, y + 1, "Esc: leave, nothing changes   arrows: scope   Tab: reason   PgDn: read on", Role::Dim);
    if dialog.edits { cursor } else { typing }
}

fn reason(paint: &mut Paint, area: Rect, dialog: &RollbackDialog) -> Option<Position> {
    paint.text(area, 0, 0, "Reason", if dialog.edits { Role::Focus } else { Role::Dim });
    let room = usize::from(area.width.saturating_sub(INDENT + 1));
    if dialog.edits {
        let hidden = dialog.reason.visual_scroll(room);
        let value: String = dialog.reason.value().chars().skip(hidden).collect();
        paint.text(area, INDENT, 0, &value, Role::Text);
        let at = dialog.reason.visual_cursor().saturating_sub(hidden) as u16;
        return Some(Position::new(area.x + (INDENT + at).min(area.width - 1), area.y));
    }
    let value = dialog.reason.value();
    let (text, role) = if value.is_empty() { ("none given: Tab writes one", Role::Warn) } else { (value, Role::Text) };
    paint.text(area, INDENT, 0, &fit(text, room), role);
    None
}

/// `▸ traffic   canary 10 % → 0 %      loses nothing   ~ 2 s`
fn scope_line(state: &State, paint: &mut Paint, area: Rect, y: u16, dialog: &RollbackDialog, scope: Scope) -> u16 {
    let chosen = dialog.scope == scope;
    let mark = match (chosen, paint.unicode()) {
        (true, true) => "▸",
        (true, false) => ">",
        (false, _) => " ",
    };
    paint.text(area, 0, y, if scope == Scope::Traffic { "Scope" } else { "" }, Role::Dim);
    paint.text(area, INDENT - 2, y, mark, Role::Accent);
    paint.text(area, INDENT, y, scope.word(), if chosen { Role::Focus } else { Role::Title });
    // Whether it would work stands beside it.
    let against = state.live_summary.readiness.as_ref().and_then(|readiness| readiness.against(scope).map(|item| item.verdict).max());
    if let Some(verdict) = against.filter(|_| matches!(&dialog.plans[scope as usize], Some(Ok(_)))) {
        paint.text(area, INDENT + 8, y, paint.symbol(verdict), role(verdict));
    }
    let x = INDENT + 10;
    let (words, words_role, loses) = match &dialog.plans[scope as usize] {
        None => ("planning …".to_string(), Role::Dim, String::new()),
        Some(Err(why)) => (format!("{} {}", paint.symbol(Verdict::Fail), why.lines().next().unwrap_or("")), Role::Fail, String::new()),
        Some(Ok(plan)) => (effect(state, scope, plan), Role::Text, loss(plan)),
    };
    let took = state.live_summary.readiness.as_ref().and_then(|r| r.expected.iter().find(|(of, _)| *of == scope));
    let took = took.map_or_else(String::new, |(_, took)| format!("~ {}", short(*took)));
    let right = [loses.as_str(), &took].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("   ");
    let room = usize::from(area.width.saturating_sub(x));
    if width(&words) + 2 + width(&right) <= room {
        paint.text(area, x, y, &words, words_role);
        paint.right(area, y, &right, Role::Text);
        return 1;
    }
    // What it loses has a line of its own before anything of it is cut.
    paint.text(area, x, y, &fit(&words, room.saturating_sub(width(&took) + 2)), words_role);
    paint.right(area, y, &took, Role::Text);
    if loses.is_empty() {
        return 1;
    }
    paint.text(area, x, y + 1, &fit(&loses, room), Role::Text);
    2
}

/// What the scope comes to, in words.
fn effect(state: &State, scope: Scope, plan: &Plan) -> String {
    let weight = state.live_summary.deploy.as_ref().and_then(|deploy| deploy.weight().ok());
    let traffic = weight.map_or_else(|| "canary → 0 %".into(), |weight| format!("canary {} → 0 %", percent(weight)));
    let version = plan.content.inputs.get("version").and_then(|value| value.as_str());
    match (scope, version) {
        (Scope::Traffic, _) => traffic,
        (Scope::Full, Some(version)) => format!("{traffic}, data back, then last green {version}"),
        (_, Some(version)) => format!("{traffic}, then last green {version}"),
        (_, None) => traffic,
    }
}

/// What it would throw away, by what was counted when it was planned.
fn loss(plan: &Plan) -> String {
    match plan.content.inputs.get("loses").and_then(|value| value.as_str()) {
        Some(loses) => format!("loses {loses}"),
        None => "loses nothing".into(),
    }
}

fn plan(paint: &mut Paint, area: Rect, dialog: &RollbackDialog, mismatches: &[String]) {
    let cells = usize::from(area.width.saturating_sub(INDENT));
    let mut lines: Vec<(String, Role)> = Vec::new();
    // Whatever is planned would be done to something else than is meant.
    let wrong: Vec<String> = mismatches.iter().map(|words| wrong_environment(words)).collect();
    lines.extend(wrong.iter().flat_map(|words| wrap(words, cells)).map(|line| (line, Role::Fail)));
    match &dialog.plans[dialog.scope as usize] {
        None => lines.push(("planning …".into(), Role::Dim)),
        Some(Err(why)) => lines.extend(why.lines().flat_map(|line| wrap(line, cells)).map(|line| (line, Role::Fail))),
        Some(Ok(plan)) => {
            // In its scope's line it may be cut.
            if let Some(loses) = plan.content.inputs.get("loses").and_then(|value| value.as_str()) {
                lines.extend(wrap(&format!("loses {loses}"), cells).into_iter().map(|line| (line, Role::Warn)));
            }
            // The plan has said it too, when it was made.
            for warning in plan.content.warnings.iter().filter(|warning| !wrong.contains(warning)) {
                lines.extend(wrap(warning, cells).into_iter().map(|line| (line, Role::Warn)));
            }
            for (i, step) in plan.content.steps.iter().enumerate() {
                lines.push((format!("{} {}", i + 1, step.name), Role::Title));
                let what = match &step.kind {
                    Kind::Manual(_) => "somebody looks, and answers".into(),
                    kind => kind.describe(),
                };
                lines.extend(wrap(&what, cells.saturating_sub(3)).into_iter().map(|line| (format!("   {line}"), Role::Text)));
            }
        }
    }
    paint.text(area, 0, 0, "Plan", Role::Dim);
    let most = (lines.len() as u16).saturating_sub(area.height);
    let first = dialog.scroll.min(most);
    for (y, (line, role)) in lines.iter().skip(usize::from(first)).take(usize::from(area.height)).enumerate() {
        paint.text(area, INDENT, y as u16, line, *role);
    }
    if most > first && area.height > 0 {
        paint.right(area, area.height - 1, &format!(" {} more lines: PgDn ", most - first), Role::Accent);
    }
}

fn ready(paint: &mut Paint, area: Rect, y: u16, readiness: Option<&Readiness>) {
    paint.text(area, 0, y, "Ready", Role::Dim);
    let Some(readiness) = readiness else {
        paint.text(area, INDENT, y, "looking …", Role::Dim);
        return;
    };
    let mut items: Vec<_> = readiness.items.iter().filter(|item| !item.what.starts_with("plan of")).collect();
    items.sort_by_key(|item| std::cmp::Reverse((item.verdict != Verdict::Pass, item.verdict)));
    let mut x = INDENT;
    for (shown, item) in items.iter().enumerate() {
        let words = if item.verdict == Verdict::Pass { item.what.clone() } else { format!("{} {}", item.what, fit(&item.words, 30)) };
        let left = items.len() - shown;
        let more = format!("+{left} more");
        let room = if left > 1 { width(&more) as u16 + 1 } else { 0 };
        if x + width(&words) as u16 + 4 + room > area.width {
            paint.text(area, x, y, &more, Role::Dim);
            break;
        }
        x += paint.text(area, x, y, paint.symbol(item.verdict), role(item.verdict)) + 1;
        x += paint.text(area, x, y, &words, Role::Text) + 3;
    }
}

fn confirmation(paint: &mut Paint, area: Rect, y: u16, dialog: &RollbackDialog) -> Option<Position> {
    if dialog.starting.is_some() {
        paint.text(area, 0, y, "starting the runner …", Role::Accent);
        return None;
    }
    let Some(plan) = dialog.plan() else {
        paint.text(area, 0, y, "This scope cannot be begun: the arrows choose another.", Role::Warn);
        return None;
    };
    let wanted = match plan.confirmation() {
        Confirmation::Type(wanted) => wanted,
        Confirmation::Key => "yes".into(),
    };
    let x = paint.text(area, 0, y, &format!("Type {wanted} and Enter to roll back {}: ", dialog.scope.word()), Role::Accent);
    paint.text(area, x, y, dialog.typed.input.value(), Role::Title);
    let cursor = x + dialog.typed.input.visual_cursor() as u16;
    Some(Position::new(area.x + cursor.min(area.width.saturating_sub(1)), area.y + y))
}
