//! The dialog before a run: what it is for, the plan word by word, and what has to be typed. Its last rows stay, however
//! small the screen is.

use ratatui::layout::{Position, Rect};

use super::paint::Paint;
use super::palette::window;
use crate::base::text::{fit, width, wrap};
use crate::base::tier::Tier;
use crate::plan::runbook::{Confirmation, Danger, Plan};
use crate::show::cockpit::{Dialog, Stage, State};
use crate::show::theme::Role;

/// The widest the dialog gets: lines longer than this are hard to read.
const WIDEST: u16 = 110;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, dialog: &Dialog) -> Option<Position> {
    // What is shown is what the plan says: a configuration may be read again meanwhile.
    let (tier, name) = match &dialog.stage {
        Stage::Shown { plan, .. } | Stage::Starting(plan) => (plan.content.environment.tier, &*plan.content.environment.name),
        _ => (state.config.environment.tier, &*state.config.environment.name),
    };
    let what = match dialog.danger {
        Danger::Safe => "run",
        Danger::Caution => "run (caution)",
        Danger::Danger => "run (DANGER)",
    };
    let title = format!("{} {name}: {what} {}", tier.name().to_uppercase(), dialog.title);
    let cells = usize::from(WIDEST.min(area.width).saturating_sub(4));
    let plan = match &dialog.stage {
        Stage::Shown { plan, .. } | Stage::Starting(plan) => plan_lines(plan, cells),
        _ => Vec::new(),
    };
    let high = match &dialog.stage {
        Stage::Inputs { error } => dialog.fields.len() * 2 + error.as_ref().map_or(0, |e| wrap(e, cells).len()) + 4,
        Stage::Refused(why) => wrap(why, cells).len() + 4,
        _ => plan.len() + 6,
    };
    let title = fit(&title, usize::from(area.width.saturating_sub(6)));
    let inner = window(paint, area, WIDEST, (high as u16).clamp(7, area.height.max(7)), &title);
    if tier == Tier::Production && dialog.danger > Danger::Safe {
        // The frame itself says where this is.
        let style = paint.theme.style(Role::Production);
        let edge = Rect { x: inner.x, y: inner.y.saturating_sub(1), width: (width(&title) as u16 + 2).min(inner.width), height: 1 };
        paint.buffer.set_style(edge.intersection(paint.buffer.area), style);
    }
    if inner.height < 3 || inner.width < 20 {
        return None;
    }
    match &dialog.stage {
        Stage::Inputs { error } => inputs(paint, inner, dialog, error.as_deref()),
        Stage::Planning => say(paint, inner, "planning …", Role::Dim),
        Stage::Starting(_) => say(paint, inner, "starting the runner …", Role::Accent),
        Stage::Refused(why) => {
            let rows = paint.wrapped(inner, 0, why, Role::Fail);
            paint.text(inner, 0, rows + 1, "Nothing was done.  Esc: back", Role::Text);
            None
        }
        Stage::Shown { plan: content, typed, scroll } => {
            let rows = 2 + u16::from(typed.complaint.is_some());
            let body = Rect { height: inner.height.saturating_sub(rows + 1), ..inner };
            let line = if paint.unicode() { "─" } else { "-" };
            paint.text(inner, 0, body.height, &line.repeat(usize::from(inner.width)), Role::Border);
            let below = scrolled(paint, body, &plan, *scroll);
            if below > 0 {
                paint.right(inner, body.height, &format!(" {below} more lines: PgDn "), Role::Accent);
            }
            let mut y = body.height + 1;
            if let Some(complaint) = &typed.complaint {
                paint.text(inner, 0, y, complaint, Role::Warn);
                y += 1;
            }
            let cursor = confirmation(paint, inner, y, content, typed.input.value(), typed.input.visual_cursor() as u16);
            let keys = "Esc: leave, nothing changes   Tab: inputs and reason   arrows: read on";
            paint.text(inner, 0, y + 1, keys, Role::Dim);
            cursor
        }
    }
}

fn say(paint: &mut Paint, area: Rect, words: &str, role: Role) -> Option<Position> {
    paint.text(area, 0, 0, words, role);
    None
}

fn confirmation(paint: &mut Paint, area: Rect, y: u16, plan: &Plan, typed: &str, cursor: u16) -> Option<Position> {
    match plan.confirmation() {
        Confirmation::Key => {
            paint.text(area, 0, y, "Press y to run it.", Role::Accent);
            None
        }
        Confirmation::Type(wanted) => {
            let ask = format!("Type {wanted} and Enter to run it: ");
            let x = paint.text(area, 0, y, &ask, Role::Accent);
            paint.text(area, x, y, typed, Role::Title);
            Some(Position::new(area.x + (x + cursor).min(area.width.saturating_sub(1)), area.y + y))
        }
    }
}

/// The plan's own lines, broken where they are too long.
fn plan_lines(plan: &Plan, cells: usize) -> Vec<(String, Role)> {
    let mut lines: Vec<(String, Role)> = Vec::new();
    for line in plan.lines() {
        let numbered = line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && !line.starts_with("     ");
        let role = match line.chars().next() {
            Some(' ') if numbered => Role::Title,
            Some('n') if line.starts_with("no undo") => Role::Warn,
            _ => Role::Text,
        };
        if width(&line) <= cells {
            lines.push((line, role));
            continue;
        }
        // What goes on in a second row stands under its beginning.
        let indent = line.len() - line.trim_start().len();
        for (i, part) in wrap(line.trim_start(), cells.saturating_sub(indent + 2)).into_iter().enumerate() {
            lines.push((format!("{}{part}", " ".repeat(indent + if i > 0 { 2 } else { 0 })), role));
        }
    }
    lines
}

/// Gives how many lines are below what is shown.
fn scrolled(paint: &mut Paint, area: Rect, lines: &[(String, Role)], scroll: u16) -> u16 {
    let most = (lines.len() as u16).saturating_sub(area.height);
    let first = scroll.min(most);
    for (y, (line, role)) in lines.iter().skip(usize::from(first)).take(usize::from(area.height)).enumerate() {
        paint.text(area, 0, y as u16, line, *role);
    }
    most - first
}

fn inputs(paint: &mut Paint, area: Rect, dialog: &Dialog, error: Option<&str>) -> Option<Position> {
    let wide = dialog.fields.iter().map(|f| width(&f.name)).max().unwrap_or(0) as u16;
    let mut cursor = None;
    let said = error.map_or(0, |error| wrap(error, usize::from(area.width)).len() as u16).min(area.height / 2);
    // The line that is typed in is always among those that are shown.
    let fit_in = usize::from(area.height.saturating_sub(said + 2) / 2).max(1);
    let first = (dialog.focus + 1).saturating_sub(fit_in);
    for (i, field) in dialog.fields.iter().enumerate().skip(first).take(fit_in) {
        let y = (i - first) as u16 * 2;
        let focused = i == dialog.focus;
        paint.text(area, 0, y, if focused { ">" } else { " " }, Role::Accent);
        paint.text(area, 2, y, &field.name, if focused { Role::Focus } else { Role::Title });
        let x = wide + 4;
        // Of a long value the part around the cursor is shown.
        let hidden = field.input.visual_scroll(usize::from(area.width.saturating_sub(x + 1)));
        let value: String = field.input.value().chars().skip(if focused { hidden } else { 0 }).collect();
        paint.text(area, x, y, &value, Role::Text);
        paint.text(area, x, y + 1, &field.hint, Role::Dim);
        if focused {
            let column = (x + (field.input.visual_cursor().saturating_sub(hidden)) as u16).min(area.width.saturating_sub(1));
            cursor = (y < area.height).then(|| Position::new(area.x + column, area.y + y));
        }
    }
    let y = dialog.fields.len().min(fit_in) as u16 * 2;
    let rows = error
        .map_or(0, |error| paint.wrapped(Rect { y: area.y + y, height: area.height.saturating_sub(y + 1), ..area }, 0, error, Role::Fail));
    let keys = "Enter: show the plan   Tab: next line   Esc: leave, nothing changes";
    paint.text(area, 0, (y + rows + 1).min(area.height.saturating_sub(1)), keys, Role::Dim);
    cursor
}
