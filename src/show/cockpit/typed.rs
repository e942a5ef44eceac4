//! Words that decide something, typed by fingers: nothing that was pressed before it was asked for, that was pasted, or
//! that came as one key alone.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::line_edit::edit;
use crate::base::clock::Stamp;

/// When a key was read, and with which others: what comes in one read was not pressed key by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    pub at: Stamp,
    /// The number of the read it came in.
    pub read: u64,
}

/// Keys that were pressed before the question could be seen answer nothing.
const ARMED: Duration = Duration::from_millis(400);
/// What was begun before that is over when no key has come for so long.
const BREATH: Duration = Duration::from_millis(700);
/// Fingers need longer than this for a letter.
const FINGERS: Duration = Duration::from_millis(12);

#[derive(Clone, Debug)]
pub struct Typed {
    pub input: Input,
    /// Why the last try decided nothing.
    pub complaint: Option<String>,
    asked: Stamp,
    first_key: Stamp,
    /// The last letter of the word.
    last_key: Option<Pressed>,
    /// When a key came last that belongs to a word begun before the question could be seen.
    early: Option<Stamp>,
    /// Whether a note may stand behind the word.
    notes: bool,
    /// How many letters of the note were pasted.
    pasted: u32,
}

impl Typed {
    pub fn new(now: Stamp) -> Typed {
        Typed { input: Input::default(), complaint: None, asked: now, first_key: now, last_key: None, early: None, notes: false, pasted: 0 }
    }

    /// One that takes a note behind the word that decides.
    pub fn with_note(now: Stamp) -> Typed {
        Typed { notes: true, ..Typed::new(now) }
    }

    /// Whether a key may mean something by now. One with a modifier comes of keys that ran into each other. A word that was
    /// begun too early counts as a whole or not at all.
    pub fn takes(&mut self, key: KeyEvent, pressed: Pressed) -> bool {
        let goes_on = self.early.is_some_and(|at| pressed.at.since(at) < BREATH);
        if key.kind == KeyEventKind::Repeat || pressed.at.since(self.asked) < ARMED || goes_on {
            // Enter ends it.
            self.early = (key.code != KeyCode::Enter).then_some(pressed.at);
            self.complaint = Some("not so fast: wait a second, then type it anew".into());
            self.input.reset();
            return false;
        }
        self.early = None;
        !key.modifiers.contains(KeyModifiers::ALT)
    }

    /// Takes a key; gives what was typed when that was Enter.
    pub fn key(&mut self, key: KeyEvent, pressed: Pressed) -> Option<String> {
        if !self.takes(key, pressed) {
            return None;
        }
        if key.code != KeyCode::Enter {
            if self.input.value().is_empty() {
                (self.first_key, self.pasted) = (pressed.at, 0);
            }
            self.last_key = Some(pressed);
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
        let together = self.last_key.is_some_and(|last| last.read == pressed.read);
        if together || pressed.at.since(self.first_key) < FINGERS.saturating_mul(letters) {
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

    /// A read of its own.
    fn pressed(at: i64) -> Pressed {
        Pressed { at: Stamp(at), read: at as u64 }
    }

    fn press(typed: &mut Typed, text: &str, from: i64, every: i64) -> Option<String> {
        let keys = text.chars().map(KeyCode::Char).chain([KeyCode::Enter]);
        keys.enumerate().filter_map(|(i, code)| typed.key(KeyEvent::from(code), pressed(from + every * i as i64))).last()
    }

    #[test]
    fn only_fingers_decide() {
        let fresh = || Typed::new(Stamp(0));
        assert_eq!(press(&mut fresh(), "undo", 1000, 90), Some("undo".into()));
        assert_eq!(press(&mut fresh(), "undo", 1000, 1), None, "as fast as a paste");
        assert_eq!(press(&mut fresh(), "undo", 10, 20), None, "begun before it could be read");
        assert_eq!(press(&mut fresh(), "", 1000, 90), None);
        // Begun a little too early: the whole word counts, or nothing of it does.
        let mut early = fresh();
        assert_eq!(press(&mut early, "done it is", 200, 90), None);
        assert_eq!(early.input.value(), "", "no rest of a word stays");
        assert_eq!(press(&mut early, "done it is", 3000, 90), Some("done it is".into()));
        // A word and its Enter in one read, however late the reading of it was done.
        let mut burst = fresh();
        for (i, c) in "undo".chars().enumerate() {
            burst.key(KeyEvent::from(KeyCode::Char(c)), Pressed { at: Stamp(1000 + 90 * i as i64), read: 7 });
        }
        assert_eq!(burst.key(KeyEvent::from(KeyCode::Enter), Pressed { at: Stamp(2000), read: 7 }), None);
        let alt = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::ALT);
        assert!(!fresh().takes(alt, pressed(1000)), "Esc and y, run into each other");
        let type_in = |typed: &mut Typed, text: &str| {
            for (i, c) in text.chars().enumerate() {
                typed.key(KeyEvent::from(KeyCode::Char(c)), pressed(1000 + 90 * i as i64));
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
        typed.key(KeyEvent::from(KeyCode::Home), pressed(1300));
        typed.paste("done ");
        assert_eq!(typed.input.value(), "", "before the word");
        let mut typed = Typed::with_note(Stamp(0));
        type_in(&mut typed, "done ");
        typed.paste("as the log says: all 18,204 points are there");
        assert!(typed.key(KeyEvent::from(KeyCode::Enter), pressed(1600)).is_some_and(|said| said.starts_with("done as the log")));
    }
}
