//! The board of runbooks: the list, and beside or below it what the selected one does and how its runs ended.

use ratatui::layout::Rect;

use super::paint::Paint;
use super::table;
use crate::base::text::wrap;
use crate::base::units::short;
use crate::config::Panel;
use crate::show::cockpit::{State, table_of};
use crate::show::theme::Role;

/// The rows that a preview needs to be worth having.
const PREVIEW: u16 = 8;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, index: usize, panel: &Panel) {
    if !state.ledger.known {
        paint.text(area, 0, 0, "reading …", Role::Dim);
        return;
    }
    if let Some(fault) = &state.ledger.fault {
        paint.wrapped(area, 0, &format!("Nothing can be run: {fault}"), Role::Fail);
        return;
    }
    let mut area = area;
    if let Some(who) = &state.ledger.elsewhere.holder {
        let used = paint.wrapped(Rect { height: area.height.min(2), ..area }, 0, &format!("under way elsewhere: {who}"), Role::Warn);
        area = Rect { y: area.y + used, height: area.height.saturating_sub(used), ..area };
    }
    let count = state.ledger.runbooks.len() as u16;
    if count == 0 {
        let text = format!("There are no runbooks yet. They are files in {}", state.config.acting.runbooks.display());
        paint.wrapped(area, 0, &text, Role::Dim);
        return;
    }
    let alone = index == state.focus() && (state.nav.zoomed || state.board().is_some_and(|b| b.panels.len() == 1));
    if !alone || area.height < count.min(6) + PREVIEW {
        table::draw(state, paint, area, index, panel);
        return;
    }
    let high = (count + 2).min(area.height / 2);
    table::draw(state, paint, Rect { height: high, ..area }, index, panel);
    let below = Rect { y: area.y + high, height: area.height - high, ..area };
    let list = state.list(index);
    let rows = list.shown(&table_of(state, panel));
    let Some(name) = rows.get(list.selected.min(rows.len().saturating_sub(1))).and_then(|row| row.cells.first()) else { return };
    let line = if paint.unicode() { "─" } else { "-" };
    paint.text(below, 0, 0, &line.repeat(usize::from(below.width)), Role::Border);
    let half = if below.width >= 100 { below.width / 2 } else { below.width };
    let inside = Rect { y: below.y + 1, height: below.height - 1, ..below };
    if half < below.width {
        preview(state, paint, Rect { width: half.saturating_sub(1), ..inside }, name);
        history(state, paint, Rect { x: inside.x + half + 1, width: inside.width - half - 1, ..inside }, name);
    } else {
        // One above the other; of the history the newest are enough.
        let last = (inside.height / 3).min(4);
        preview(state, paint, Rect { height: inside.height - last, ..inside }, name);
        history(state, paint, Rect { y: inside.y + inside.height - last, height: last, ..inside }, name);
    }
}

fn preview(state: &State, paint: &mut Paint, area: Rect, name: &str) {
    let Some(line) = state.ledger.runbooks.iter().find(|line| line.name == name) else { return };
    let mut lines: Vec<(String, Role)> = Vec::new();
    let cells = usize::from(area.width);
    let mut say = |text: &str, role: Role| lines.extend(wrap(text, cells).into_iter().map(|part| (part, role)));
    for finding in &line.loaded.findings {
        let role = if finding.severity == crate::base::diag::Severity::Error { Role::Fail } else { Role::Warn };
        say(&format!("line {}: {}", finding.line, finding.cause), role);
    }
    if let Some(runbook) = &line.loaded.runbook {
        if !runbook.front.description.is_empty() {
            say(&runbook.front.description, Role::Dim);
        }
        for input in &runbook.inputs {
            let default =
                input.default.as_ref().map_or_else(String::new, |v| format!(" = {}", v.as_str().map_or_else(|| v.to_string(), Into::into)));
            say(&format!("input {}{default}  {}", input.name, input.description), Role::Text);
        }
        for (i, step) in runbook.steps.iter().enumerate() {
            let mark = if step.kind.mutates() { "  changes something" } else { "" };
            say(&format!("{:>2} {}  {}{mark}", i + 1, step.name, step.kind.word()), Role::Text);
        }
        for reference in &runbook.front.references {
            say(&format!("see {reference}"), Role::Dim);
        }
    }
    for (y, (text, role)) in lines.iter().take(usize::from(area.height)).enumerate() {
        paint.text(area, 0, y as u16, text, *role);
    }
}

fn history(state: &State, paint: &mut Paint, area: Rect, name: &str) {
    let runs: Vec<_> = state.ledger.runs.iter().filter(|run| run.is_of(&state.config.environment.name, name)).collect();
    if runs.is_empty() {
        paint.text(area, 0, 0, "never run here", Role::Dim);
    }
    for (y, run) in runs.iter().take(usize::from(area.height)).enumerate() {
        let when = run.run.started.map_or_else(|| "not begun".into(), |at| at.when(state.now));
        let text = format!("{when}  {}  {}  {}  {}", run.status().word(), short(run.elapsed(state.now)), run.run.by.user, run.words());
        paint.text(area, 0, y as u16, &crate::base::text::fit(&text, usize::from(area.width)), Role::Text);
    }
}
