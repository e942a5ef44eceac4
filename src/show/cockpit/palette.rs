//! The command palette: a line to type in, and what is selected of what it finds.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::line_edit::{edit, leaves};
use crate::show::keymap::Action;

/// What an entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum PaletteCommand {
    Act(Action),
    Board(usize),
    Panel { board: usize, panel: usize },
    Window(Duration),
    Theme(String),
    Runbook(String),
    Run(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct PaletteEntry {
    pub words: String,
    /// Keys that do the same.
    pub keys: String,
    pub command: PaletteCommand,
}

#[derive(Clone, Debug, Default)]
pub struct Palette {
    pub input: Input,
    pub selected: usize,
}

/// What a key in the palette leads to.
pub enum PaletteResult {
    /// It stays open.
    Open,
    Closed,
    Chosen(PaletteCommand),
}

impl Palette {
    /// `found` is what matches the line as it stands.
    pub fn key(&mut self, key: KeyEvent, found: Vec<PaletteEntry>) -> PaletteResult {
        if leaves(key) {
            return PaletteResult::Closed;
        }
        match key.code {
            KeyCode::Enter => {
                let chosen = found.into_iter().nth(self.selected);
                return chosen.map_or(PaletteResult::Closed, |entry| PaletteResult::Chosen(entry.command));
            }
            KeyCode::Up | KeyCode::BackTab => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Tab => self.selected = (self.selected + 1).min(found.len().saturating_sub(1)),
            _ if edit(&mut self.input, key) => self.selected = 0,
            _ => {}
        }
        PaletteResult::Open
    }
}
