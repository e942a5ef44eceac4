//! Everything that the palette finds, by parts of its words.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config as MatcherConfig, Matcher, Utf32Str};

use super::palette::{PaletteCommand, PaletteEntry};
use super::state::State;
use crate::base::units::short;
use crate::config::WINDOWS;
use crate::show::keymap::{Action, KeyScope};
use crate::show::theme;

/// The entries that match, best first; all of them for an empty query.
pub fn entries(state: &State, query: &str) -> Vec<PaletteEntry> {
    let mut all = Vec::new();
    for action in Action::ALL.iter().filter(|a| a.board().is_none() && a.scope() != KeyScope::Run) {
        let keys = state.keymap.keys(*action).join("  ");
        all.push(PaletteEntry { words: format!("{}: {}", action.name(), action.doc()), keys, command: PaletteCommand::Act(*action) });
    }
    for (i, board) in state.config.boards.iter().enumerate() {
        let keys = if i < 9 { format!("{}", i + 1) } else { String::new() };
        all.push(PaletteEntry { words: format!("board {}", board.name), keys, command: PaletteCommand::Board(i) });
        for (j, panel) in board.panels.iter().enumerate() {
            all.push(PaletteEntry {
                words: format!("panel {} on {}", panel.title, board.name),
                keys: String::new(),
                command: PaletteCommand::Panel { board: i, panel: j },
            });
        }
    }
    for line in &state.ledger.runbooks {
        let title = line.loaded.runbook.as_ref().map_or("", |r| &r.front.title);
        all.push(PaletteEntry {
            words: format!("run {}: {title}", line.name),
            keys: String::new(),
            command: PaletteCommand::Runbook(line.name.clone()),
        });
    }
    let environment = &state.config.environment.name;
    for run in state.ledger.runs.iter().filter(|run| run.plan.content.environment.name == *environment).take(10) {
        let words = format!("look at {} {} {}", run.plan.content.runbook, run.status().word(), run.id);
        all.push(PaletteEntry { words, keys: String::new(), command: PaletteCommand::Run(run.id.clone()) });
    }
    for window in WINDOWS {
        all.push(PaletteEntry { words: format!("window {}", short(window)), keys: String::new(), command: PaletteCommand::Window(window) });
    }
    for name in theme::shipped_names() {
        all.push(PaletteEntry { words: format!("theme {name}"), keys: String::new(), command: PaletteCommand::Theme(name.into()) });
    }
    if query.trim().is_empty() {
        return all;
    }
    let mut matcher = Matcher::new(MatcherConfig::DEFAULT);
    let pattern = Pattern::parse(query, CaseMatching::Ignore, Normalization::Smart);
    let mut buffer = Vec::new();
    let mut score = |words: &str| pattern.score(Utf32Str::new(words, &mut buffer), &mut matcher);
    // A name goes before what is said about it.
    let name = |words: &str| words.split_once(": ").map_or(words, |(name, _)| name).to_string();
    let mut scored: Vec<(Option<u32>, u32, PaletteEntry)> =
        all.into_iter().filter_map(|entry| Some((score(&name(&entry.words)), score(&entry.words)?, entry))).collect();
    scored.sort_by_key(|(name, words, _)| std::cmp::Reverse((*name, *words)));
    scored.into_iter().map(|(_, _, entry)| entry).collect()
}
