//! One press of a key with its modifiers, as files write it: `q`, `ctrl+r`, `shift+tab`, `F5`, `space`.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const NAMED: [(&str, KeyCode); 16] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

impl Chord {
    /// # Errors
    /// Says what is not understood.
    pub fn parse(text: &str) -> Result<Chord, String> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        while let Some((word, tail)) = rest.split_once('+').filter(|(word, tail)| !word.is_empty() && !tail.is_empty()) {
            modifiers |= match word.to_ascii_lowercase().as_str() {
                "ctrl" => KeyModifiers::CONTROL,
                "alt" => KeyModifiers::ALT,
                "shift" => KeyModifiers::SHIFT,
                _ => return Err(format!("`{word}` is no modifier (there is: ctrl, alt, shift)")),
            };
            rest = tail;
        }
        let mut letters = rest.chars();
        let code = match (letters.next(), letters.next()) {
            (Some(c), None) => KeyCode::Char(c),
            _ => named(rest)?,
        };
        Ok(Chord::normal(code, modifiers))
    }

    /// The chord of a key event, so that one spelling stands for one key: the shift of a capital letter is the letter's
    /// own, and shift+tab is one key.
    fn normal(code: KeyCode, modifiers: KeyModifiers) -> Chord {
        let mut modifiers = modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        let code = match code {
            KeyCode::Tab if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::SHIFT) && !modifiers.contains(KeyModifiers::CONTROL) => {
                KeyCode::Char(c.to_uppercase().next().unwrap_or(c))
            }
            other => other,
        };
        if matches!(code, KeyCode::Char(_) | KeyCode::BackTab) {
            modifiers -= KeyModifiers::SHIFT;
        }
        Chord { code, modifiers }
    }
}

impl Chord {
    /// The event a terminal would send.
    pub fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, self.modifiers)
    }
}

fn named(word: &str) -> Result<KeyCode, String> {
    let lower = word.to_ascii_lowercase();
    if let Some((_, code)) = NAMED.iter().find(|(name, _)| *name == lower) {
        return Ok(*code);
    }
    if let Some(n) = lower.strip_prefix('f').and_then(|n| n.parse::<u8>().ok()).filter(|n| (1..=24).contains(n)) {
        return Ok(KeyCode::F(n));
    }
    let names = NAMED.iter().map(|(name, _)| *name);
    Err(crate::base::diag::suggestion(&lower, names)
        .map_or_else(|| format!("`{word}` is no key"), |hint| format!("`{word}` is no key: {hint}")))
}

impl From<KeyEvent> for Chord {
    fn from(event: KeyEvent) -> Chord {
        Chord::normal(event.code, event.modifiers)
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, word) in [(KeyModifiers::CONTROL, "ctrl+"), (KeyModifiers::ALT, "alt+"), (KeyModifiers::SHIFT, "shift+")] {
            if self.modifiers.contains(modifier) {
                f.write_str(word)?;
            }
        }
        match self.code {
            KeyCode::BackTab => f.write_str("shift+tab"),
            KeyCode::F(n) => write!(f, "F{n}"),
            KeyCode::Char(c) if c != ' ' => write!(f, "{c}"),
            code => f.write_str(NAMED.iter().find(|(_, c)| *c == code).map_or("?", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_one_key() {
        let cases = [
            ("q", "q"),
            ("shift+a", "A"),
            ("ctrl+R", "ctrl+R"),
            ("shift+tab", "shift+tab"),
            ("BackTab", "shift+tab"),
            ("f5", "F5"),
            ("+", "+"),
            ("ctrl++", "ctrl++"),
            ("PageDown", "pagedown"),
        ];
        for (text, want) in cases {
            assert_eq!(Chord::parse(text).map(|c| c.to_string()), Ok(want.to_string()), "{text}");
        }
        for text in ["", "hyper+x", "entr", "F99"] {
            assert!(Chord::parse(text).is_err(), "{text}");
        }
        let event = KeyEvent::new(KeyCode::Char('A'), KeyModifiers::SHIFT);
        assert_eq!(Chord::from(event), Chord::parse("A").expect("a chord"));
    }
}
