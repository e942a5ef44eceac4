//! A run as it goes: its steps with their states and times, what it asks, and what the current step prints.

use std::time::Duration;

use ratatui::layout::{Position, Rect};

use super::paint::{Paint, wrap};
use crate::base::text::{fit, width};
use crate::base::units::short;
use crate::cockpit::{Asking, RunLine, RunView, Standing, State, step_mark};
use crate::keymap::Action;
use crate::runbook::{Phase, Question, StepRun, StepState};
use crate::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, view: &RunView) -> Option<Position> {
    let blank = " ".repeat(usize::from(area.width));
    for y in 0..area.height {
        paint.text(area, 0, y, &blank, Role::Text);
    }
    let Some(line) = state.ledger.run(&view.run) else {
        paint.text(area, 1, 0, "reading the journal …", Role::Dim);
        return None;
    };
    let inner = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let mut top = head(state, paint, inner, line);
    let notes = notes(state, line);
    for (text, role) in &notes {
        top += paint.wrapped(Rect { y: inner.y + top, height: inner.height.saturating_sub(top).min(2), ..inner }, 0, text, *role);
    }
    let asked = question_lines(state, line, usize::from(inner.width));
    let foot = 1 + asked.len() as u16 + u16::from(view.asking.is_some()) * 2;
    let room = inner.height.saturating_sub(top + foot);
    let steps = line.steps();
    // The output keeps a third of the screen while there are many steps.
    let high = (steps.len() as u16).min(room.saturating_sub(if room > 8 { room / 3 } else { 0 }));
    steps_list(state, paint, Rect { y: inner.y + top, height: high, ..inner }, line, &steps, view);
    let output = Rect { y: inner.y + top + high, height: room.saturating_sub(high), ..inner };
    output_lines(state, paint, output, line, view);
    let mut y = top + room;
    for (text, role) in asked {
        paint.text(inner, 0, y, &text, role);
        y += 1;
    }
    let cursor = asking(paint, Rect { y: inner.y + y, height: inner.height.saturating_sub(y), ..inner }, line, view);
    keys(state, paint, Rect { y: inner.y + inner.height.saturating_sub(1), height: 1, ..inner }, line);
    cursor
}

fn standing_role(standing: Standing) -> Role {
    match standing {
        Standing::Done => Role::Pass,
        Standing::Running => Role::Accent,
        Standing::Waiting | Standing::Paused | Standing::Aborted | Standing::Refused => Role::Warn,
        Standing::Orphaned | Standing::Failed | Standing::RolledBack | Standing::Broken => Role::Fail,
    }
}

/// Who, what, where, how far. Gives the rows used.
fn head(state: &State, paint: &mut Paint, area: Rect, line: &RunLine) -> u16 {
    let c = &line.plan.content;
    let (over, count) = line.progress();
    let elapsed = line.elapsed(state.now);
    let standing = line.standing();
    let drill = if c.drill { "  DRILL" } else { "" };
    let id = if line.id.len() > 6 { &line.id[line.id.len() - 6..] } else { &line.id };
    let started = line.run.started.map_or_else(String::new, |at| format!("  {}Z", at.hms()));
    let left = format!("{}{drill}  run …{id}  by {}{started}", c.title, line.run.by.user);
    let mut x = paint.text(area, 0, 0, &fit(&left, usize::from(area.width)), Role::Title) + 2;
    x += paint.text(area, x, 0, standing.word(), standing_role(standing)) + 2;
    let bar_room = area.width.saturating_sub(x);
    let words = match (standing.is_open(), line.plan.expected_total()) {
        (true, Some(total)) => format!("step {} of {count}  {} of ~{}", (over + 1).min(count), short(round(elapsed)), short(round(total))),
        (true, None) => format!("step {} of {count}  {}", (over + 1).min(count), short(round(elapsed))),
        (false, _) => format!("{over} of {count} steps  {}", short(elapsed)),
    };
    if bar_room > width(&words) as u16 + 16 {
        let x = x + paint.text(area, x, 0, &words, Role::Text) + 2;
        bar(paint, area, x, 0, share(line, elapsed));
        return 1 + says(paint, area, line);
    }
    let x = paint.text(area, 0, 1, &words, Role::Text) + 2;
    bar(paint, area, x, 1, share(line, elapsed));
    2
}

fn round(time: Duration) -> Duration {
    if time < Duration::from_secs(1) { time } else { Duration::from_secs(time.as_secs()) }
}

/// How the run ended, in words.
fn says(paint: &mut Paint, area: Rect, line: &RunLine) -> u16 {
    if !line.run.is_over() && line.broken.is_none() {
        return 0;
    }
    let standing = line.standing();
    let rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1).min(3), ..area };
    paint.wrapped(rows, 0, &line.words(), standing_role(standing))
}

/// How far it is: by the times of earlier runs where there are any, otherwise by the number of steps.
fn share(line: &RunLine, elapsed: Duration) -> f64 {
    let (over, count) = line.progress();
    if line.run.is_over() {
        return 1.0;
    }
    let by_steps = over as f64 / count.max(1) as f64;
    match line.plan.expected_total() {
        Some(total) if !total.is_zero() => (elapsed.as_secs_f64() / total.as_secs_f64()).min(0.99).max(by_steps.min(0.99)),
        _ => by_steps,
    }
}

fn bar(paint: &mut Paint, area: Rect, x: u16, y: u16, share: f64) {
    let cells = area.width.saturating_sub(x).min(30);
    if cells < 6 {
        return;
    }
    let full = (f64::from(cells) * share.clamp(0.0, 1.0)) as usize;
    let (done, left) = if paint.unicode() { ("█", "░") } else { ("#", ".") };
    let used = paint.text(area, x, y, &done.repeat(full), Role::Accent);
    paint.text(area, x + used, y, &left.repeat(usize::from(cells) - full), Role::Dim);
}

/// What has to be known before anything else: loud notes, and what keeps the runner.
fn notes(state: &State, line: &RunLine) -> Vec<(String, Role)> {
    let mut notes: Vec<(String, Role)> =
        state.ledger.stuck.iter().filter(|(id, _)| *id == line.id).map(|(_, text)| (text.clone(), Role::Fail)).collect();
    notes.extend(line.run.notes.iter().filter(|(_, _, loud)| *loud).map(|(at, text, _)| (format!("{} {text}", at.hms()), Role::Fail)));
    if line.standing() == Standing::Orphaned {
        notes.push(("its runner is gone: nothing happens until somebody takes it up".into(), Role::Fail));
    }
    if let Some(back) = &line.run.rollback {
        notes.push((format!("rolling back: {}", back.why), Role::Warn));
    }
    notes
}

fn state_role(state: StepState) -> Role {
    match state {
        StepState::Pending | StepState::Skipped => Role::Dim,
        StepState::Running => Role::Accent,
        StepState::Done => Role::Pass,
        StepState::Failed => Role::Fail,
        StepState::Unknown | StepState::Interrupted => Role::Warn,
    }
}

fn steps_list(state: &State, paint: &mut Paint, area: Rect, line: &RunLine, steps: &[(String, String, StepRun)], view: &RunView) {
    let shown = view.shown_step(line);
    let here = steps.iter().position(|(key, ..)| Some(key) == shown.as_ref()).unwrap_or(0);
    let rows = usize::from(area.height);
    let first = here.saturating_sub(rows.saturating_sub(1)).min(steps.len().saturating_sub(rows));
    let names = steps.iter().map(|(_, name, _)| width(name)).max().unwrap_or(0).min(usize::from(area.width) / 2);
    for (y, (i, (key, name, run))) in steps.iter().enumerate().skip(first).take(rows).enumerate() {
        let y = y as u16;
        let role = state_role(run.state);
        let mark = if paint.unicode() { step_mark(run.state) } else { ascii_mark(run.state) };
        paint.text(area, 0, y, mark, role);
        paint.text(
            area,
            2,
            y,
            &format!("{:>2} {}", i + 1, fit(name, names)),
            if run.state == StepState::Pending { Role::Dim } else { Role::Text },
        );
        let x = names as u16 + 6;
        let took = match (run.started, run.ended) {
            (Some(start), Some(end)) => short(end.since(start)),
            (Some(start), None) => short(round(state.now.since(start))),
            _ => String::new(),
        };
        let about = match (run.state, line.plan.expected(key)) {
            (StepState::Pending, Some(time)) => format!("~{}", short(time)),
            (StepState::Running, Some(time)) => format!("{took} of ~{}", short(time)),
            _ => took,
        };
        paint.text(area, x, y, &format!("{about:>14}"), Role::Dim);
        let words = match run.state {
            StepState::Pending => line.plan.step(key).map_or_else(String::new, |s| s.kind.describe()),
            StepState::Running if run.attempts > 1 => format!("attempt {}", run.attempts),
            StepState::Running => "running".into(),
            StepState::Unknown => "nobody knows how this ended".into(),
            state => format!("{}  {}", state.word(), run.message),
        };
        let room = usize::from(area.width.saturating_sub(x + 16));
        let dim = matches!(run.state, StepState::Pending | StepState::Done | StepState::Skipped);
        paint.text(area, x + 16, y, &fit(&words, room), if dim { Role::Dim } else { role });
        if view.step == Some(i) {
            let style = paint.theme.style(Role::Selection);
            paint.buffer.set_style(Rect { y: area.y + y, height: 1, ..area }.intersection(paint.buffer.area), style);
        }
    }
}

fn ascii_mark(state: StepState) -> &'static str {
    match state {
        StepState::Running => ">",
        StepState::Done => "+",
        StepState::Failed => "X",
        other => step_mark(other),
    }
}

fn output_lines(state: &State, paint: &mut Paint, area: Rect, line: &RunLine, view: &RunView) {
    if area.height < 2 {
        return;
    }
    let Some(step) = view.shown_step(line) else { return };
    let number = line.steps().iter().position(|(key, ..)| *key == step).map_or(0, |i| i + 1);
    let dash = if paint.unicode() { "──" } else { "--" };
    let searched = if view.search.is_empty() { String::new() } else { format!("  /{}", view.search) };
    let title = format!("{dash} output of step {number}{searched} ");
    let used = paint.text(area, 0, 0, &title, Role::Dim);
    let line = if paint.unicode() { "─" } else { "-" };
    paint.text(area, used, 0, &line.repeat(usize::from(area.width.saturating_sub(used))), Role::Border);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let tail = state.output.as_ref().filter(|tail| tail.run == view.run && tail.step == step);
    let lines = tail.map_or(&[][..], |tail| &tail.lines);
    let cells = usize::from(body.width);
    let mut rows: Vec<(String, bool)> = Vec::new();
    for text in lines {
        let hit = !view.search.is_empty() && text.to_lowercase().contains(&view.search.to_lowercase());
        if view.wrap && width(text) > cells {
            rows.extend(wrap(text, cells).into_iter().map(|part| (part, hit)));
        } else {
            rows.push((text.clone(), hit));
        }
    }
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
        paint.right(body, body.height - 1, &format!(" {} lines below ", most - first), Role::Accent);
    }
}

fn question_lines(state: &State, line: &RunLine, cells: usize) -> Vec<(String, Role)> {
    let (Phase::Waiting { question }, true) = (&line.run.phase, line.standing().is_open()) else { return Vec::new() };
    let mut lines: Vec<(String, Role)> = wrap(&question.text, cells.saturating_sub(2))
        .into_iter()
        .take(4)
        .enumerate()
        .map(|(i, text)| (format!("{} {text}", if i == 0 { "?" } else { " " }), Role::Warn))
        .collect();
    lines.extend(question.check.iter().take(5).map(|item| (fit(&format!("    - {item}"), cells).into_owned(), Role::Text)));
    if !state.read_only {
        lines.push((choices(question), Role::Accent));
    }
    lines
}

fn choices(question: &Question) -> String {
    let all: Vec<String> = question.choices.iter().enumerate().map(|(i, c)| format!("{} {} ({})", i + 1, c.word(), c.doc())).collect();
    all.join("   ")
}

/// What is being typed or decided, above the keys.
fn asking(paint: &mut Paint, area: Rect, line: &RunLine, view: &RunView) -> Option<Position> {
    let at = |x: u16| Some(Position::new(area.x + x.min(area.width.saturating_sub(1)), area.y));
    match view.asking.as_ref()? {
        Asking::Note { choice, note, .. } => {
            let x = paint.text(area, 0, 0, &format!("{}: a note, and Enter sends it (Esc: not yet): ", choice.word()), Role::Accent);
            paint.text(area, x, 0, note.value(), Role::Title);
            at(x + note.visual_cursor() as u16)
        }
        Asking::Search(input) => {
            let x = paint.text(area, 0, 0, "/", Role::Accent);
            paint.text(area, x, 0, input.value(), Role::Title);
            at(x + input.visual_cursor() as u16)
        }
        Asking::Abort => {
            let left = line.run.left_behind(&line.plan).join("; ");
            let back = line.run.way_back(&line.plan).len();
            let text = format!("Abort? What would be left: {left}");
            paint.text(area, 0, 0, &fit(&text, usize::from(area.width)), Role::Fail);
            let undo = if back > 0 { format!("U: abort and undo it ({back} steps)   ") } else { String::new() };
            paint.text(area, 0, 1, &format!("{undo}L: abort and leave it so   Esc: let it go on"), Role::Accent);
            None
        }
    }
}

fn keys(state: &State, paint: &mut Paint, area: Rect, line: &RunLine) {
    let standing = line.standing();
    let mut wanted: Vec<(Action, &str)> = Vec::new();
    if !state.read_only {
        match standing {
            Standing::Paused => wanted.push((Action::Pause, "go on")),
            Standing::Orphaned => wanted.push((Action::Resume, "take it up")),
            _ if !standing.is_open() => {}
            _ if line.run.pause_wanted => wanted.push((Action::Pause, "do not pause")),
            _ => wanted.push((Action::Pause, "pause after this step")),
        }
        if standing.is_open() {
            wanted.push((Action::Abort, "abort…"));
        }
    }
    let leave = if standing.is_open() { "leave (the run goes on)" } else { "leave" };
    wanted.extend([(Action::Detach, leave), (Action::Search, "search"), (Action::Wrap, "wrap"), (Action::StepBefore, "other step")]);
    let mut x = 0;
    for (action, word) in wanted {
        let Some(key) = state.keymap.keys(action).into_iter().next() else { continue };
        if x + (width(&key) + width(word) + 3) as u16 > area.width {
            break;
        }
        x += paint.text(area, x, 0, &key, Role::Accent) + 1;
        x += paint.text(area, x, 0, word, Role::Dim) + 2;
    }
}
