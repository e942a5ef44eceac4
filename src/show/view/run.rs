//! A run as it goes: where it acts and how it stands, its steps with their states and times, what it asks, and what the
//! current step prints. What has to be decided keeps its rows, however small the screen is.

use std::time::Duration;

use ratatui::layout::{Position, Rect};

use super::paint::Paint;
use super::run_foot::{self, Foot};
use super::run_output;
use crate::base::clock::Stamp;
use crate::base::text::{fit, width};
use crate::base::tier::Tier;
use crate::base::units::short;
use crate::plan::runbook::{Progress, StepRun, StepState};
use crate::show::cockpit::{RunView, State};
use crate::show::theme::Role;
use crate::status::{RunLine, RunStatus, step_mark};

/// The most rows that warnings take.
const NOTES: usize = 3;

pub fn draw(state: &State, paint: &mut Paint, area: Rect, view: &RunView) -> Option<Position> {
    paint.clear(area);
    let inner = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let Some(line) = state.ledger.run(&view.run) else {
        let gone = state.ledger.unreadable.iter().find(|(id, _)| *id == view.run);
        match (gone, &state.ledger.fault) {
            (Some((_, why)), _) | (None, Some(why)) => drop(paint.wrapped(inner, 0, why, Role::Fail)),
            (None, None) if state.ledger.known => drop(paint.text(inner, 0, 0, "this run is not there any more", Role::Fail)),
            (None, None) => drop(paint.text(inner, 0, 0, "reading the journal …", Role::Dim)),
        }
        return None;
    };
    let below = |top: u16, height: u16| Rect { y: inner.y + top, height, ..inner };
    let foot = Foot::of(state, line, view, usize::from(inner.width), usize::from(inner.height));
    let room_above = inner.height.saturating_sub(foot.height());
    let mut top = head(state, paint, below(0, room_above), line);
    for (text, role) in notes(state, line) {
        top += paint.wrapped(below(top, room_above.saturating_sub(top).min(2)), 0, &text, role);
    }
    let room = room_above.saturating_sub(top);
    let steps = line.steps();
    // The output keeps a third of the screen while there are many steps.
    let high = (steps.len() as u16).min(room.saturating_sub(if room > 8 { room / 3 } else { 0 }));
    steps_list(state, paint, below(top, high), line, &steps, view);
    run_output::draw(state, paint, below(top + high, room.saturating_sub(high)), line, view);
    run_foot::draw(state, paint, below(room_above, foot.height().min(inner.height)), line, &foot)
}

/// The same beside a board: how it stands, and its steps.
pub(super) fn beside(state: &State, paint: &mut Paint, area: Rect, line: &RunLine) {
    let top = head(state, paint, area, line);
    let steps = line.steps();
    let room = Rect { y: area.y + top, height: area.height.saturating_sub(top), ..area };
    steps_list(state, paint, room, line, &steps, &RunView::new(line.id.clone()));
}

/// How many rows that takes.
pub(super) fn rows_beside(line: &RunLine) -> u16 {
    line.steps().len() as u16 + 2
}

fn standing_role(status: RunStatus) -> Role {
    match status {
        RunStatus::Done => Role::Pass,
        RunStatus::Running => Role::Accent,
        RunStatus::Waiting | RunStatus::Paused | RunStatus::Aborted | RunStatus::Refused | RunStatus::Superseded => Role::Warn,
        RunStatus::Orphaned | RunStatus::Failed | RunStatus::RolledBack | RunStatus::Broken => Role::Fail,
    }
}

/// Where, how it stands, what, by whom; then how far. Gives the rows used.
fn head(state: &State, paint: &mut Paint, area: Rect, line: &RunLine) -> u16 {
    if area.height == 0 {
        return 0;
    }
    let c = &line.plan.content;
    let (over, count) = line.progress();
    let elapsed = line.elapsed(state.now);
    let status = line.status();
    let place = format!("{} {}", c.environment.tier.name().to_uppercase(), c.environment.name);
    let role = if c.environment.tier == Tier::Production { Role::Production } else { Role::Title };
    let mut x = paint.text(area, 0, 0, &place, role) + 2;
    x += paint.text(area, x, 0, status.word(), standing_role(status)) + 2;
    let drill = if c.drill { "DRILL  " } else { "" };
    let id = line.id.get(line.id.len().saturating_sub(6)..).unwrap_or(&line.id);
    let started = line.run.started.map_or_else(String::new, |at| format!("  {}{}", at.hms(), at.zone()));
    let what = format!("{drill}{}  run …{id}  by {}{started}", c.title, line.run.by.user);
    paint.text(area, x, 0, &fit(&what, usize::from(area.width.saturating_sub(x))), Role::Title);
    if area.height == 1 {
        return 1;
    }
    let words = match (status.is_open(), line.plan.expected_total()) {
        (true, Some(total)) => format!("step {} of {count}  {} of ~{}", line.at_step(), short(round(elapsed)), short(round(total))),
        (true, None) => format!("step {} of {count}  {}", line.at_step(), short(round(elapsed))),
        (false, _) => format!("{over} of {count} steps  {}", short(elapsed)),
    };
    let x = paint.text(area, 0, 1, &words, Role::Text) + 2;
    bar(paint, area, x, 1, share(line, elapsed));
    2 + says(paint, Rect { y: area.y + 2, height: area.height.saturating_sub(2).min(3), ..area }, line)
}

pub(super) fn round(time: Duration) -> Duration {
    if time < Duration::from_secs(1) { time } else { Duration::from_secs(time.as_secs()) }
}

/// How the run ended, and what is to be looked at afterwards.
fn says(paint: &mut Paint, area: Rect, line: &RunLine) -> u16 {
    if !line.run.is_over() && line.broken.is_none() {
        return 0;
    }
    let rows = paint.wrapped(area, 0, &line.words(), standing_role(line.status()));
    let after = line.afterwards().join("; ");
    if after.is_empty() {
        return rows;
    }
    let rest = Rect { y: area.y + rows, height: area.height.saturating_sub(rows).min(2), ..area };
    rows + paint.wrapped(rest, 0, &format!("after: {after}"), Role::Text)
}

/// How far it is: by the times of earlier runs while it goes on, otherwise by the number of steps.
fn share(line: &RunLine, elapsed: Duration) -> f64 {
    let (over, count) = line.progress();
    if line.run.is_over() {
        return 1.0;
    }
    let by_steps = over as f64 / count.max(1) as f64;
    match line.plan.expected_total() {
        Some(total) if !total.is_zero() && line.status() == RunStatus::Running => {
            (elapsed.as_secs_f64() / total.as_secs_f64()).min(0.99).max(by_steps.min(0.99))
        }
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

/// What has to be known before anything else: what keeps the runner, the newest loud notes, the way back.
fn notes(state: &State, line: &RunLine) -> Vec<(String, Role)> {
    let stuck = state.ledger.stuck.iter().filter(|(id, _)| *id == line.id).map(|(_, text)| (text.clone(), Role::Fail));
    let mut notes: Vec<(String, Role)> = stuck.collect();
    let loud: Vec<_> = line.run.notes.iter().filter(|(_, _, loud)| *loud).collect();
    let hidden = loud.len().saturating_sub(NOTES);
    notes.extend(loud.iter().skip(hidden).map(|(at, text, _)| (format!("{} {text}", at.hms()), Role::Fail)));
    if hidden > 0 {
        notes.push((format!("and {hidden} warnings before: lastgreen audit show"), Role::Fail));
    }
    if line.status() == RunStatus::Orphaned {
        notes.push(("its runner is gone: nothing happens until somebody takes it up".into(), Role::Fail));
    }
    if let Some(back) = &line.run.rollback {
        notes.push((format!("rolling back: {}", back.why), Role::Warn));
    }
    let during = &line.plan.content.checklists.during;
    if !during.is_empty() && line.status().is_open() {
        notes.push((format!("during: {}", during.join("; ")), Role::Text));
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
    // Nobody knows how what was left in the middle is doing.
    let left = line.status() == RunStatus::Orphaned;
    for (y, (i, (key, name, run))) in steps.iter().enumerate().skip(first).take(rows).enumerate() {
        let y = y as u16;
        let at = if left && run.state == StepState::Running { StepState::Unknown } else { run.state };
        let role = state_role(at);
        let mark = if paint.unicode() { step_mark(at) } else { ascii_mark(at) };
        paint.text(area, 0, y, mark, role);
        let named = format!("{:>2} {}", i + 1, fit(name, names));
        paint.text(area, 2, y, &named, if at == StepState::Pending { Role::Dim } else { Role::Text });
        let x = names as u16 + 6;
        let took = match (run.started, run.ended) {
            (Some(start), Some(end)) => short(end.since(start)),
            (Some(start), None) if at == StepState::Running => short(round(state.now.since(start))),
            _ => String::new(),
        };
        let about = match (at, line.plan.expected(key)) {
            (StepState::Pending, Some(time)) => format!("~{}", short(time)),
            (StepState::Running, Some(time)) => format!("{took} of ~{}", short(time)),
            _ => took,
        };
        paint.text(area, x, y, &format!("{about:>14}"), Role::Dim);
        let words = match at {
            StepState::Pending => line.plan.step(key).map_or_else(String::new, |s| s.kind.describe()),
            StepState::Running if line.status() == RunStatus::Waiting => "waits for an answer".into(),
            StepState::Running if run.attempts > 1 => format!("attempt {}", run.attempts),
            StepState::Running => {
                line.progress_of(key).map_or_else(|| "running".into(), |progress| progress_words(progress, run, state.now))
            }
            StepState::Unknown if left => "was running when its runner went".into(),
            StepState::Unknown => "nobody knows how this ended".into(),
            over => format!("{}  {}", over.word(), run.message),
        };
        let room = usize::from(area.width.saturating_sub(x + 16));
        let dim = matches!(at, StepState::Pending | StepState::Done | StepState::Skipped);
        paint.text(area, x + 16, y, &fit(&words, room), if dim { Role::Dim } else { role });
        if view.step == Some(i) {
            let style = paint.theme.style(Role::Selection);
            paint.buffer.set_style(Rect { y: area.y + y, height: 1, ..area }.intersection(paint.buffer.area), style);
        }
    }
}

/// How far a step is, with what is left of it by its pace so far.
fn progress_words(progress: &Progress, run: &StepRun, now: Stamp) -> String {
    let elapsed = run.started.map_or(Duration::ZERO, |at| now.since(at));
    let left = progress.share().filter(|share| (0.02..1.0).contains(share)).map(|share| elapsed.mul_f64((1.0 - share) / share));
    let left = left.filter(|_| progress.unit != "s").map_or_else(String::new, |left| format!("  ~ {} left", short(round(left))));
    format!("{}{left}", progress.text())
}

fn ascii_mark(state: StepState) -> &'static str {
    match state {
        StepState::Running => ">",
        StepState::Done => "+",
        StepState::Failed => "X",
        other => step_mark(other),
    }
}
