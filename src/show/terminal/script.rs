//! Keys from a file instead of from fingers, for pictures and for CI: `press q`, `type faith`, `wait 2s`, `until TEXT`.

use std::collections::VecDeque;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::base::units::duration;
use crate::show::keymap::Chord;

#[derive(Clone, Debug, PartialEq)]
pub enum ScriptedStep {
    Press(KeyEvent),
    Wait(Duration),
    /// Until the screen shows this text.
    Until(String),
}

/// How long `until` waits for its text.
pub const PATIENCE: Duration = Duration::from_secs(240);

#[derive(Clone, Debug, PartialEq)]
pub struct KeyScript {
    pub steps: VecDeque<ScriptedStep>,
}

impl KeyScript {
    /// # Errors
    /// Names the line that is not understood.
    pub fn parse(text: &str) -> Result<KeyScript, String> {
        let mut steps = VecDeque::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            let wrong = |why: String| format!("line {} of the script: {why}", i + 1);
            match line.split_once(' ').map_or((line, ""), |(word, rest)| (word, rest.trim())) {
                ("", _) => {}
                (word, _) if word.starts_with('#') => {}
                ("press", keys) => {
                    for key in keys.split_whitespace() {
                        steps.push_back(ScriptedStep::Press(Chord::parse(key).map_err(wrong)?.event()));
                    }
                }
                ("type", text) => {
                    steps.extend(text.chars().map(|c| ScriptedStep::Press(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))));
                }
                ("wait", time) => steps.push_back(ScriptedStep::Wait(duration(time).map_err(wrong)?)),
                ("until", text) if !text.is_empty() => steps.push_back(ScriptedStep::Until(text.into())),
                (word, _) => return Err(wrong(format!("`{word}` is no step (there is: press KEY…, type TEXT, wait TIME, until TEXT)"))),
            }
        }
        Ok(KeyScript { steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_order_and_mistakes_by_line() {
        let script = KeyScript::parse("# a comment\nuntil Quality\npress 2 ctrl+r\ntype ab\nwait 2s\n").expect("a script");
        assert_eq!(script.steps.len(), 6);
        assert!(KeyScript::parse("press q\njump 3\n").expect_err("an error").starts_with("line 2"));
    }
}
