//! Copying through the terminal (OSC 52), so that it works over SSH.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Terminals refuse longer ones.
const MOST: usize = 74_000;

/// The sequence that puts a text on the clipboard of whoever looks at this terminal; `None` when it is too long.
pub fn sequence(text: &str) -> Option<String> {
    let encoded = STANDARD.encode(text);
    (encoded.len() <= MOST).then(|| format!("\x1b]52;c;{encoded}\x07"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_one_sequence() {
        assert_eq!(sequence("0.81").as_deref(), Some("\x1b]52;c;MC44MQ==\x07"));
        assert_eq!(sequence(&"x".repeat(100_000)), None);
    }
}
