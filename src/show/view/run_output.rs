//! What a step of a run prints, with its whole message above; or, when asked for, the keys of a run's view.

use ratatui::layout::Rect;

use super::paint::Paint;
use crate::base::text::width;
use crate::plan::runbook::StepState;
use crate::show::cockpit::{RunView, State};
use crate::show::keymap::{Action, KeyScope};
use crate::show::theme::Role;
use crate::status::RunLine;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, line: &RunLine, view: &RunView) {
    if area.height < 2 {
        return;
    }
    if view.help {
        return keys(state, paint, area);
    }
    let Some(step) = view.shown_step(line) else { return };
    let steps = line.steps();
    let number = steps.iter().position(|(key, ..)| *key == step).unwrap_or(0);
    let searched = if view.search.is_empty() { String::new() } else { format!("  /{}", view.search) };
    title(paint, area, &format!("output of step {}{searched}", number + 1));
    let mut body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if let Some((_, _, run)) = steps.get(number).filter(|(_, _, run)| run.state.is_over() && run.state != StepState::Done) {
        let rows = Rect { height: body.height.min(3), ..body };
        let used = paint.wrapped(rows, 0, &format!("{}: {}", run.state.word(), run.message), Role::Warn);
        body = Rect { y: body.y + used, height: body.height.saturating_sub(used), ..body };
    }
    if body.height == 0 {
        return;
    }
    let tail = state.output.as_ref().filter(|tail| tail.run == view.run && tail.step == step);
    let rows = tail.map_or_else(Vec::new, |tail| view.rows(tail, usize::from(body.width)));
    let page = usize::from(body.height);
    let most = rows.len().saturating_sub(page);
    let first = most - view.scroll.min(most);
    for (y, (text, hit)) in rows.iter().skip(first).take(page).enumerate() {
        paint.text(body, 0, y as u16, text, if *hit { Role::Match } else { Role::Text });
    }
    if rows.is_empty() {
        paint.text(body, 0, 0, "nothing printed", Role::Dim);
    }
    if view.scroll > 0 && most > first {
        paint.right(area, 0, &format!(" {} lines below ", most - first), Role::Accent);
    }
}

fn title(paint: &mut Paint, area: Rect, text: &str) {
    let dash = if paint.unicode() { "──" } else { "--" };
    let used = paint.text(area, 0, 0, &format!("{dash} {text} "), Role::Dim);
    let line = if paint.unicode() { "─" } else { "-" };
    paint.text(area, used, 0, &line.repeat(usize::from(area.width.saturating_sub(used))), Role::Border);
}

/// The keys that mean something here, from the registry that binds them.
fn keys(state: &State, paint: &mut Paint, area: Rect) {
    title(paint, area, "keys");
    let here = [Action::Search, Action::Up, Action::Down, Action::PageUp, Action::PageDown, Action::First, Action::Last, Action::Help];
    let of_runs = Action::ALL.iter().copied().filter(|action| action.scope() == KeyScope::Run);
    let lines: Vec<(String, &str)> = of_runs.chain(here).map(|action| (state.keymap.keys(action).join(" "), action.doc())).collect();
    let wide = lines.iter().map(|(keys, _)| width(keys)).max().unwrap_or(0) as u16;
    for (y, (keys, doc)) in lines.iter().take(usize::from(area.height - 1)).enumerate() {
        paint.text(area, 0, y as u16 + 1, keys, Role::Accent);
        paint.text(area, wide + 2, y as u16 + 1, doc, Role::Text);
    }
}
