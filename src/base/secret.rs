//! Secrets: referenced in files (`env:NAME`, `file:PATH`, `cmd:…`), fetched when needed, never written.
//! Every value fetched is remembered by the [`Redactor`], which takes it out of whatever is shown or logged.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, RwLock};

use serde::{Deserialize, Serialize};

/// A value that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself: for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a secret is to be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SecretRef {
    Env(String),
    File(PathBuf),
    Cmd(String),
}

impl SecretRef {
    /// Reads a reference. An inline value is refused; the message never repeats it.
    ///
    /// # Errors
    /// Names the accepted forms.
    pub fn parse(text: &str) -> Result<SecretRef, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(SecretRef::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(SecretRef::File(path.into())),
            Some(("cmd", line)) if !line.is_empty() => Ok(SecretRef::Cmd(line.into())),
            _ => Err("a secret is never written inline: write \"env:NAME\", \"file:PATH\" or \"cmd:COMMAND\"".into()),
        }
    }

    /// The same, with a relative file counted from a folder.
    pub fn beside(self, folder: &std::path::Path) -> SecretRef {
        match self {
            SecretRef::File(path) => SecretRef::File(folder.join(path)),
            other => other,
        }
    }

    /// Fetches the value and makes the redactor know it.
    ///
    /// # Errors
    /// Says which reference failed and why; never shows a value.
    pub fn fetch(&self) -> Result<Secret, String> {
        let value = match self {
            SecretRef::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?,
            SecretRef::File(path) => {
                std::fs::read_to_string(path).map_err(|e| format!("cannot read the secret file {}: {e}", path.display()))?
            }
            SecretRef::Cmd(line) => {
                let out = Command::new("sh")
                    .args(["-c", line])
                    .stdin(std::process::Stdio::null())
                    .output()
                    .map_err(|e| format!("cannot start the secret command: {e}"))?;
                if !out.status.success() {
                    return Err(format!("the secret command ended with {}", out.status));
                }
                String::from_utf8(out.stdout).map_err(|_| "the secret command printed something that is not text".to_string())?
            }
        };
        let value = value.trim_end_matches(['\r', '\n']).to_string();
        if value.is_empty() {
            return Err(format!("the secret from {self} is empty"));
        }
        remember(&value);
        Ok(Secret(value))
    }
}

impl TryFrom<String> for SecretRef {
    type Error = String;

    fn try_from(text: String) -> Result<SecretRef, String> {
        SecretRef::parse(&text)
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> String {
        match reference {
            SecretRef::Env(name) => format!("env:{name}"),
            SecretRef::File(path) => format!("file:{}", path.display()),
            SecretRef::Cmd(line) => format!("cmd:{line}"),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "env:{name}"),
            SecretRef::File(path) => write!(f, "file:{}", path.display()),
            // The command line itself may hold something private.
            SecretRef::Cmd(_) => f.write_str("cmd:…"),
        }
    }
}

static KNOWN: LazyLock<RwLock<Vec<String>>> = LazyLock::new(Default::default);

/// Makes the redactor know a value. Values under four characters are too common to take out of text.
pub fn remember(value: &str) {
    if value.len() < 4 {
        return;
    }
    let mut known = KNOWN.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    // A key of several lines is shown line by line; in a URL a value is written with percent signs.
    let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let quoted = serde_json::to_string(value).unwrap_or_default();
    let quoted = quoted.trim_matches('"');
    // The address of a webhook is its secret; a part of it opens as much.
    let path = url::Url::parse(value).ok().filter(|url| url.has_host()).map(|url| url.path().to_string()).filter(|path| path.len() >= 12);
    let in_base64: Vec<String> = (0..3).filter_map(|before| base64_form(value.as_bytes(), before)).collect();
    let lines = value.lines().filter(|line| line.len() >= 16 && value.contains('\n') && !line.starts_with("-----"));
    for form in
        [value, encoded.as_str(), quoted].into_iter().chain(path.as_deref()).chain(lines).chain(in_base64.iter().map(String::as_str))
    {
        if !known.iter().any(|k| k == form) {
            known.push(form.to_string());
        }
    }
    // Longest first, so that a secret which contains another goes whole.
    known.sort_by_key(|k| std::cmp::Reverse(k.len()));
}

/// What of a value stands in base64 whatever stands around it, when so many bytes (of three) stand before it: a user and
/// a password are sent that way.
fn base64_form(value: &[u8], before: usize) -> Option<String> {
    use base64::Engine;
    let bytes = [&[0; 2][..before], value].concat();
    let form = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&bytes);
    // Letters that also depend on a neighbour are left away.
    let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    form.get(first..last).filter(|form| form.len() >= 10).map(str::to_string)
}

/// The text without any known secret.
pub fn redact(text: &str) -> std::borrow::Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !known.iter().any(|k| text.contains(k.as_str())) {
        return text.into();
    }
    known.iter().fold(text.to_string(), |text, secret| text.replace(secret.as_str(), "[redacted]")).into()
}

/// Cleaned of control characters and redacted of known secrets: what text from outside passes before it is kept.
pub fn sanitize(text: &str) -> String {
    // What a control character has kept apart may come together when that is gone.
    redact(&crate::base::text::clean(&redact(text))).into_owned()
}

/// Redacts text that comes in pieces: what may be the beginning of a secret is held back until the rest is known.
#[derive(Default)]
pub struct Streaming {
    held: Vec<u8>,
}

impl Streaming {
    /// Takes a piece in and gives what can be shown by now.
    pub fn feed(&mut self, piece: &[u8]) -> String {
        self.held.extend_from_slice(piece);
        let known = KNOWN.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (mut out, mut at) = (Vec::with_capacity(self.held.len()), 0);
        while at < self.held.len() {
            let rest = &self.held[at..];
            // The longest come first: one that may still become whole is waited for.
            if known.iter().any(|secret| secret.len() > rest.len() && secret.as_bytes().starts_with(rest)) {
                break;
            }
            match known.iter().find(|secret| rest.starts_with(secret.as_bytes())) {
                Some(secret) => {
                    out.extend_from_slice(b"[redacted]");
                    at += secret.len();
                }
                None => {
                    out.push(rest[0]);
                    at += 1;
                }
            }
        }
        // A character that is not whole yet waits for its other bytes.
        if at == self.held.len()
            && let Err(e) = std::str::from_utf8(&out)
            && e.error_len().is_none()
        {
            let part = out.split_off(e.valid_up_to());
            at -= part.len();
        }
        self.held.drain(..at);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        redact(&String::from_utf8_lossy(&held)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_secret_is_refused_and_not_repeated() {
        let error = SecretRef::parse("hunter2").unwrap_err();
        assert!(error.contains("env:NAME") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_secret_cut_anywhere_never_comes_through() {
        remember("streamed-s3cret");
        remember("streamed-s3cret-and-longer");
        let text = "ä before streamed-s3cret between streamed-s3cret-and-longer after ü";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut stream = Streaming::default();
                let bytes = text.as_bytes();
                let mut out = stream.feed(&bytes[..first]) + &stream.feed(&bytes[first..second]) + &stream.feed(&bytes[second..]);
                out += &stream.finish();
                assert_eq!(out, "ä before [redacted] between [redacted] after ü", "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn fetched_values_are_redacted_everywhere() {
        let secret = SecretRef::parse("cmd:echo s3cr3t-token").unwrap().fetch().unwrap();
        assert_eq!(secret.expose(), "s3cr3t-token");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(sanitize("got \x1b[1ms3cr3t-token!"), "got [1m[redacted]!");
    }
}
