//! The end of a run's view: what the run asks, what is being typed, what the backend has said, and the keys. Its rows stay.

use ratatui::layout::{Position, Rect};

use super::paint::Paint;
use crate::base::text::{width, wrap};
use crate::plan::runbook::Phase;
use crate::show::cockpit::{Asking, RunView, State, Typed};
use crate::show::keymap::Action;
use crate::show::theme::Role;
use crate::status::{RunLine, RunStatus};

/// The rows above the keys, and the line that is typed in, if one is.
pub struct Foot {
    lines: Vec<(String, Role)>,
    typing: Option<(String, String, u16)>,
}

impl Foot {
    pub fn of(state: &State, line: &RunLine, view: &RunView, cells: usize, rows: usize) -> Foot {
        let mut lines = Vec::new();
        let mut say = |text: &str, role: Role, most: usize| {
            let mut parts = wrap(text, cells);
            if parts.len() > most.max(1) {
                parts.truncate(most.max(1));
                if let Some(last) = parts.last_mut() {
                    last.push_str(" …");
                }
            }
            lines.extend(parts.into_iter().map(|part| (part, role)));
        };
        if let (Phase::Waiting { question }, true) = (&line.run.phase, line.status().is_open()) {
            say(&format!("? {}", question.text), Role::Warn, rows / 3);
            say(&question.check.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n"), Role::Text, rows / 4);
            if !state.read_only && line.status() == RunStatus::Waiting {
                let all: Vec<String> = question.choices.iter().map(|c| format!("{} ({})", c.word(), c.doc())).collect();
                let key = state.keymap.keys(Action::Answer).into_iter().next().unwrap_or_default();
                say(&format!("{key}: answer {}", all.join(", ")), Role::Accent, rows / 4);
            }
        }
        let typing = match &view.asking {
            None => None,
            Some(Asking::Search(input)) => Some(("/".to_string(), input.value().to_string(), input.visual_cursor() as u16)),
            Some(Asking::Answer { line, .. }) => Some(typed("Type the answer, and a note behind it: ", line, &mut say)),
            Some(Asking::Resume(line)) => Some(typed("Type resume to let it go on: ", line, &mut say)),
            Some(Asking::Abort(_, typing)) => {
                let back = line.run.way_back(&line.plan).len();
                if line.run.is_going_back() {
                    say("It is being undone just now: leave cuts that off", Role::Fail, 1);
                }
                say(&format!("Abort? It would leave: {}", line.run.left_behind(&line.plan).join("; ")), Role::Fail, rows / 3);
                let undo = match back {
                    0 => "",
                    1 => "undo to abort and undo it (1 step), ",
                    more => &format!("undo to abort and undo it ({more} steps), "),
                };
                Some(typed(&format!("Type {undo}leave to leave it so: "), typing, &mut say))
            }
        };
        if let Some((text, fault)) = &view.said {
            say(text, if *fault { Role::Fail } else { Role::Accent }, rows / 2);
        }
        lines.retain(|(text, _)| !text.is_empty());
        let mut foot = Foot { lines, typing };
        // What is typed, and the words right above it, stay.
        while usize::from(foot.height()) > rows && !foot.lines.is_empty() {
            foot.lines.remove(0);
        }
        foot
    }

    pub fn height(&self) -> u16 {
        self.lines.len() as u16 + u16::from(self.typing.is_some()) + 1
    }
}

/// A line that decides something, with what was wrong with the last try above it.
fn typed(ask: &str, line: &Typed, say: &mut impl FnMut(&str, Role, usize)) -> (String, String, u16) {
    if let Some(complaint) = &line.complaint {
        say(complaint, Role::Warn, 2);
    }
    (ask.to_string(), line.input.value().to_string(), line.input.visual_cursor() as u16)
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect, line: &RunLine, foot: &Foot) -> Option<Position> {
    for (y, (text, role)) in foot.lines.iter().enumerate() {
        paint.text(area, 0, y as u16, text, *role);
    }
    let y = foot.lines.len() as u16;
    let mut cursor = None;
    if let Some((ask, text, at)) = &foot.typing {
        let x = paint.text(area, 0, y, ask, Role::Accent);
        paint.text(area, x, y, text, Role::Title);
        cursor = (y < area.height).then(|| Position::new(area.x + (x + at).min(area.width.saturating_sub(1)), area.y + y));
    }
    if area.height > 0 {
        keys(state, paint, Rect { y: area.y + area.height - 1, height: 1, ..area }, line, foot.typing.is_some());
    }
    cursor
}

fn keys(state: &State, paint: &mut Paint, area: Rect, line: &RunLine, typing: bool) {
    if typing {
        paint.text(area, 0, 0, "Enter: that is it   Esc: not yet", Role::Dim);
        return;
    }
    let status = line.status();
    let mut wanted: Vec<(Action, &str)> = Vec::new();
    let by_hand = line.run.by_hand(&line.plan).map(|runbook| format!("on by hand: {runbook}"));
    if !state.read_only {
        wanted.extend(by_hand.as_ref().map(|words| (Action::Run, words.as_str())));
        match status {
            RunStatus::Paused => wanted.push((Action::Resume, "go on…")),
            RunStatus::Orphaned => wanted.push((Action::Resume, "take it up…")),
            _ if !status.is_open() => {}
            _ if line.run.pause_wanted => wanted.push((Action::Resume, "do not pause")),
            _ => wanted.push((Action::Pause, "pause after this step")),
        }
        if status.is_open() || status == RunStatus::Broken && line.driven {
            wanted.push((Action::Abort, "abort…"));
        }
    }
    let leave = if status.is_open() { "leave (the run goes on)" } else { "leave" };
    wanted.extend([(Action::Detach, leave), (Action::Help, "keys"), (Action::Search, "search"), (Action::StepBefore, "other step")]);
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
