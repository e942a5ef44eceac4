//! Whether the terminal's background is light: it is asked once, and its answer comes among the keys whenever it comes. Nobody
//! waits for it, and nothing of it is taken for keys, however late it comes: within ten seconds in however many pieces it is read,
//! later where its first two bytes come together.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::base::clock::Stamp;

/// The question (OSC 11).
pub const QUESTION: &str = "\x1b]11;?\x1b\\";
/// After this long an escape alone, and a bracket behind it, are keys that somebody has pressed.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that has begun ends within this.
const BROKEN_OFF: Duration = Duration::from_secs(5);
/// The longest answer there is: `11;rgba:ffff/ffff/ffff/ffff`.
const LONGEST: usize = 32;

/// An answer that is waited for.
pub struct Awaited {
    asked: Stamp,
    /// What came of it, and when it began.
    begun: Option<(String, Stamp)>,
    /// The last key was an escape alone: the answer may be cut behind its first byte.
    escaped: bool,
    over: bool,
}

impl Awaited {
    pub fn new(asked: Stamp) -> Awaited {
        Awaited { asked, begun: None, escaped: false, over: false }
    }

    /// Takes the answer out of what was read. Gives the keys, and whether the background is light once that is known.
    pub fn take(&mut self, keys: Vec<KeyEvent>, at: Stamp) -> (Vec<KeyEvent>, Option<bool>) {
        let broken_off = self.begun.as_ref().is_some_and(|(_, began)| at.since(*began) > BROKEN_OFF);
        self.over |= broken_off;
        let cut = at.since(self.asked) <= PATIENCE;
        let (mut rest, mut light) = (Vec::new(), None);
        for key in keys {
            let plain = !key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::CONTROL);
            match (&mut self.begun, key.code) {
                _ if self.over => rest.push(key),
                (None, KeyCode::Char(']')) if key.modifiers == KeyModifiers::ALT || cut && plain && self.escaped => {
                    self.begun = Some((String::new(), at));
                }
                (None, code) => {
                    self.escaped = code == KeyCode::Esc;
                    rest.push(key);
                }
                // Its end, in one piece or in two.
                (Some((said, _)), KeyCode::Char('\\' | 'g')) if !plain || said.ends_with('\u{1b}') => {
                    light = is_light(said);
                    self.over = true;
                }
                (Some((said, _)), KeyCode::Char(c)) if plain && said.len() < LONGEST && is_of_an_answer(c) => said.push(c),
                (Some((said, _)), KeyCode::Esc) => said.push('\u{1b}'),
                _ => {
                    self.over = true;
                    rest.push(key);
                }
            }
        }
        (rest, light)
    }

    /// Whether nothing is waited for any more.
    pub fn is_over(&self) -> bool {
        self.over
    }
}

fn is_of_an_answer(c: char) -> bool {
    c.is_ascii_hexdigit() || ";:/?rg".contains(c)
}

/// `11;rgb:ffff/ffff/ffff`, of one to four digits each.
fn is_light(said: &str) -> Option<bool> {
    let colour = said.strip_prefix("11;rgb")?.trim_start_matches('a').strip_prefix(':')?;
    let part = |text: &str| {
        let digits = text.trim_end_matches('\u{1b}');
        let most = 16f64.powi(i32::try_from(digits.len()).ok()?) - 1.0;
        Some(f64::from(u32::from_str_radix(digits, 16).ok()?) / most)
    };
    let parts: Vec<f64> = colour.split('/').map(part).collect::<Option<_>>()?;
    let [red, green, blue, ..] = parts.as_slice() else { return None };
    Some(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)
}

/// What a terminal says beforehand, as some do: `COLORFGBG=0;15`.
pub fn said_light(var: impl Fn(&str) -> Option<String>) -> bool {
    let background = var("COLORFGBG").and_then(|said| said.rsplit(';').next().map(str::to_string));
    matches!(background.as_deref(), Some("7" | "15"))
}

/// Whether a terminal can be asked: the oldest would print the question.
pub fn can_be_asked(var: impl Fn(&str) -> Option<String>) -> bool {
    let term = var("TERM").unwrap_or_default();
    ["xterm", "tmux", "screen", "alacritty", "foot", "kitty", "wezterm", "rxvt", "konsole", "vte", "gnome"]
        .iter()
        .any(|known| term.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer as the library reads it: an escape makes the next key one with Alt.
    fn keys(text: &str) -> Vec<KeyEvent> {
        let mut out = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let (code, modifiers) = match c {
                '\u{1b}' => match chars.next() {
                    Some(next) => (KeyCode::Char(next), KeyModifiers::ALT),
                    None => (KeyCode::Esc, KeyModifiers::NONE),
                },
                '\u{7}' => (KeyCode::Char('g'), KeyModifiers::CONTROL),
                c => (KeyCode::Char(c), KeyModifiers::NONE),
            };
            out.push(KeyEvent::new(code, modifiers));
        }
        out
    }

    #[test]
    fn an_answer_is_no_keys_whatever_pieces_it_comes_in() {
        let white = "\u{1b}]11;rgb:ffff/ffff/ffff\u{1b}\\";
        for (text, light) in [
            (white, Some(true)),
            ("\u{1b}]11;rgb:1e/1e/2e\u{7}", Some(false)),
            ("\u{1b}]11;rgba:eeee/eeee/eeee/ffff\u{1b}\\", Some(true)),
            ("\u{1b}]11;?\u{1b}\\", None),
        ] {
            let mut awaited = Awaited::new(Stamp(0));
            let mut all = keys("j");
            all.extend(keys(text));
            all.extend(keys("r"));
            let (rest, said) = awaited.take(all, Stamp(5));
            assert_eq!((rest, said), (keys("jr"), light), "{text:?}");
            assert!(awaited.is_over());
        }
        // Byte by byte, and the end cut in two.
        let mut awaited = Awaited::new(Stamp(0));
        let mut seen = Vec::new();
        for (n, key) in keys(&white[..white.len() - 2]).into_iter().chain(keys("\u{1b}")).chain(keys("\\")).enumerate() {
            let (rest, said) = awaited.take(vec![key], Stamp(n as i64));
            assert!(rest.is_empty(), "{rest:?}");
            seen.extend(said);
        }
        assert_eq!(seen, [true]);
        // Cut behind the very first byte: that is an escape like any other, and what follows is none.
        let mut awaited = Awaited::new(Stamp(0));
        assert_eq!(awaited.take(keys("\u{1b}"), Stamp(0)).0, keys("\u{1b}"));
        let (rest, said) = awaited.take(keys(&white[1..]), Stamp(40));
        assert!(rest.is_empty() && said == Some(true), "{rest:?}");
    }

    #[test]
    fn keys_are_keys_where_nothing_is_awaited() {
        // Late, an escape and a bracket that come apart are somebody's keys; together they are the answer of a slow link.
        let mut late = Awaited::new(Stamp(0));
        assert_eq!(late.take(keys("\u{1b}"), Stamp(11_000)).0, keys("\u{1b}"));
        assert_eq!(late.take(keys("]["), Stamp(11_200)).0, keys("]["));
        assert_eq!(late.take(keys("\u{1b}]11;rgb:ffff/ffff/ffff\u{7}"), Stamp(40_000)), (Vec::new(), Some(true)));
        // Somebody pressed Alt and the bracket: what follows goes on being keys.
        let mut pressed = Awaited::new(Stamp(0));
        assert!(pressed.take(keys("\u{1b}]"), Stamp(0)).0.is_empty());
        assert_eq!(pressed.take(keys("rj"), Stamp(6_000)).0, keys("rj"));
        let mut long = Awaited::new(Stamp(0));
        assert!(long.take(keys(&format!("\u{1b}]{}", "1".repeat(80))), Stamp(0)).0.len() > 40, "it was no answer");
        let mut other = Awaited::new(Stamp(0));
        assert_eq!(other.take(keys("\u{1b}]q"), Stamp(0)).0, keys("q"), "nor this");
    }

    #[test]
    fn some_say_it_beforehand() {
        let of = |said: &'static str| said_light(move |name| (name == "COLORFGBG").then(|| said.to_string()));
        assert!(of("0;15") && of("0;default;7") && !of("15;0") && !of(""));
        let term = |term: &'static str| can_be_asked(move |_| Some(term.to_string()));
        assert!(term("xterm-256color") && term("tmux-256color") && !term("linux") && !term("vt220") && !term("dumb"));
    }
}
