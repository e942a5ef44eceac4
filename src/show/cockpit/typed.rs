//! Words that decide something, typed by fingers: nothing that was pressed before it was asked for, that was pasted, or
//! that came as one key alone.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::line_edit::edit;
use crate::base::clock::Stamp;

/// Keys that were pressed before the question could be seen answer nothing.
const ARMED: Duration = Duration::from_millis(400);
/// Fingers need longer than this for a letter.
const FINGERS: Duration = Duration::from_millis(8);

#[derive(Clone, Debug)]
pub struct Typed {
    pub input: Input,
    /// Why the last try decided nothing.
    pub complaint: Option<String>,
    asked: Stamp,
    first_key: Stamp,
    /// Whether a note may stand behind the word.
    notes: bool,
    /// How many letters of the note were pasted.
    pasted: u32,
}

impl Typed {
    pub fn new(now: Stamp) -> Typed {
        Typed { input: Input::default(), complaint: None, asked: now, first_key: now, notes: false, pasted: 0 }
    }

    /// One that takes a note behind the word that decides.
    pub fn with_note(now: Stamp) -> Typed {
        Typed { notes: true, ..Typed::new(now) }
    }

    /// Whether a key may mean something by now. One with a modifier comes of keys that ran into each other.
    pub fn takes(&mut self, key: KeyEvent, now: Stamp) -> bool {
        if key.kind == KeyEventKind::Repeat || now.since(self.asked) < ARMED {
            self.complaint = Some("not so fast: read it first".into());
            return false;
        }
        !key.modifiers.contains(KeyModifiers::ALT)
    }

    /// Takes a key; gives what was typed when that was Enter.
    pub fn key(&mut self, key: KeyEvent, now: Stamp) -> Option<String> {
        if !self.takes(key, now) {
            return None;
        }
        if key.code != KeyCode::Enter {
            if self.input.value().is_empty() {
                (self.first_key, self.pasted) = (now, 0);
            }
            self.complaint = None;
            edit(&mut self.input, key);
            return None;
        }
        let said = self.input.value().trim().to_string();
        let letters = (said.chars().count() as u32).saturating_sub(self.pasted + 1);
        if said.is_empty() {
            self.refuse("Enter alone confirms nothing");
            return None;
        }
        if now.since(self.first_key) < FINGERS.saturating_mul(letters) {
            self.refuse("that came too fast for fingers: type it again");
            return None;
        }
        Some(said)
    }

    /// It was something else than what was asked for.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.complaint = Some(why.into());
        self.input.reset();
    }

    /// Pasted text decides nothing; behind a word that was typed it may be a note.
    pub fn paste(&mut self, text: &str) {
        let value = self.input.value();
        let word = value.find(|c: char| c != ' ').and_then(|from| Some(from + value[from..].find(' ')?));
        let behind = word.is_some_and(|end| self.input.cursor() > value[..end].chars().count());
        if !self.notes || !behind {
            self.refuse("pasted text confirms nothing: type it");
            return;
        }
        for c in text.chars().filter(|c| !c.is_control()) {
            self.input.handle(InputRequest::InsertChar(c));
            self.pasted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(typed: &mut Typed, text: &str, from: i64, every: i64) -> Option<String> {
        let keys = text.chars().map(KeyCode::Char).chain([KeyCode::Enter]);
        keys.enumerate().filter_map(|(i, code)| typed.key(KeyEvent::from(code), Stamp(from + every * i as i64))).last()
    }

    #[test]
    fn only_fingers_decide() {
        let fresh = || Typed::new(Stamp(0));
        assert_eq!(press(&mut fresh(), "undo", 1000, 90), Some("undo".into()));
        assert_eq!(press(&mut fresh(), "undo", 1000, 1), None, "as fast as a paste");
        assert_eq!(press(&mut fresh(), "undo", 10, 20), None, "begun before it could be read");
        assert_eq!(press(&mut fresh(), "", 1000, 90), None);
        let alt = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::ALT);
        assert!(!fresh().takes(alt, Stamp(1000)), "Esc and y, run into each other");
        let type_in = |typed: &mut Typed, text: &str| {
            for (i, c) in text.chars().enumerate() {
                typed.key(KeyEvent::from(KeyCode::Char(c)), Stamp(1000 + 90 * i as i64));
            }
        };
        for before in ["", " ", "x", "x "] {
            let mut typed = fresh();
            type_in(&mut typed, before);
            typed.paste("undo");
            assert_eq!(typed.input.value(), "", "behind `{before}`");
        }
        for before in ["", " ", "  ", "x"] {
            let mut typed = Typed::with_note(Stamp(0));
            type_in(&mut typed, before);
            typed.paste("done");
            assert_eq!(typed.input.value(), "", "behind `{before}`");
        }
        let mut typed = Typed::with_note(Stamp(0));
        type_in(&mut typed, "x ");
        typed.key(KeyEvent::from(KeyCode::Home), Stamp(1300));
        typed.paste("done ");
        assert_eq!(typed.input.value(), "", "before the word");
        let mut typed = Typed::with_note(Stamp(0));
        type_in(&mut typed, "done ");
        typed.paste("as the log says: all 18,204 points are there");
        assert!(typed.key(KeyEvent::from(KeyCode::Enter), Stamp(1600)).is_some_and(|said| said.starts_with("done as the log")));
    }
}
