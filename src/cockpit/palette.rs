//! The command palette: everything that can be done, found by parts of its words.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config as MatcherConfig, Matcher, Utf32Str};
use tui_input::Input;

use super::orders;
use super::overlay::Overlay;
use super::state::State;
use super::update::{Command, act, edit, go_to_board, leaves, set_window};
use crate::base::units::short;
use crate::config::WINDOWS;
use crate::keymap::{Action, Scope};
use crate::theme;

/// What an entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum Does {
    Act(Action),
    Board(usize),
    Panel { board: usize, panel: usize },
    Window(Duration),
    Theme(String),
    Runbook(String),
    Run(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub words: String,
    /// Keys that do the same.
    pub keys: String,
    pub does: Does,
}

/// The entries that match, best first; all of them for an empty query.
pub fn entries(state: &State, query: &str) -> Vec<Entry> {
    let mut all = Vec::new();
    for action in Action::ALL.iter().filter(|a| a.board().is_none() && a.scope() != Scope::Run) {
        let keys = state.keymap.keys(*action).join("  ");
        all.push(Entry { words: format!("{}: {}", action.name(), action.doc()), keys, does: Does::Act(*action) });
    }
    for (i, board) in state.config.boards.iter().enumerate() {
        let keys = if i < 9 { format!("{}", i + 1) } else { String::new() };
        all.push(Entry { words: format!("board {}", board.name), keys, does: Does::Board(i) });
        for (j, panel) in board.panels.iter().enumerate() {
            all.push(Entry {
                words: format!("panel {} on {}", panel.title, board.name),
                keys: String::new(),
                does: Does::Panel { board: i, panel: j },
            });
        }
    }
    for line in &state.ledger.runbooks {
        let title = line.loaded.runbook.as_ref().map_or("", |r| &r.front.title);
        all.push(Entry { words: format!("run {}: {title}", line.name), keys: String::new(), does: Does::Runbook(line.name.clone()) });
    }
    let environment = &state.config.environment.name;
    for run in state.ledger.runs.iter().filter(|run| run.plan.content.environment.name == *environment).take(10) {
        let words = format!("look at {} {} {}", run.plan.content.runbook, run.standing().word(), run.id);
        all.push(Entry { words, keys: String::new(), does: Does::Run(run.id.clone()) });
    }
    for window in WINDOWS {
        all.push(Entry { words: format!("window {}", short(window)), keys: String::new(), does: Does::Window(window) });
    }
    for name in theme::shipped_names() {
        all.push(Entry { words: format!("theme {name}"), keys: String::new(), does: Does::Theme(name.into()) });
    }
    if query.trim().is_empty() {
        return all;
    }
    let mut matcher = Matcher::new(MatcherConfig::DEFAULT);
    let pattern = Pattern::parse(query, CaseMatching::Ignore, Normalization::Smart);
    let mut buffer = Vec::new();
    let mut scored: Vec<(u32, Entry)> =
        all.into_iter().filter_map(|entry| Some((pattern.score(Utf32Str::new(&entry.words, &mut buffer), &mut matcher)?, entry))).collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().map(|(_, entry)| entry).collect()
}

/// A key in the palette's line.
pub(super) fn key(state: &mut State, mut input: Input, mut selected: usize, key: KeyEvent, width: u16) -> Vec<Command> {
    if leaves(key) {
        return Vec::new();
    }
    let found = entries(state, input.value());
    match key.code {
        KeyCode::Enter => {
            return match found.into_iter().nth(selected) {
                Some(entry) => run_entry(state, entry.does, width),
                None => Vec::new(),
            };
        }
        KeyCode::Up | KeyCode::BackTab => selected = selected.saturating_sub(1),
        KeyCode::Down | KeyCode::Tab => selected = (selected + 1).min(found.len().saturating_sub(1)),
        _ if edit(&mut input, key) => selected = 0,
        _ => {}
    }
    state.overlay = Some(Overlay::Palette { input, selected });
    Vec::new()
}

fn run_entry(state: &mut State, does: Does, width: u16) -> Vec<Command> {
    match does {
        Does::Act(action) => return act(state, action, width),
        Does::Board(board) => go_to_board(state, board),
        Does::Panel { board, panel } => {
            go_to_board(state, board);
            state.nav.panels.insert(board, panel);
        }
        Does::Window(window) => return set_window(state, window),
        Does::Theme(name) => return vec![Command::Theme(name)],
        Does::Runbook(name) => return orders::begin_dialog(state, &name),
        Does::Run(id) => return orders::open(state, id),
    }
    Vec::new()
}
