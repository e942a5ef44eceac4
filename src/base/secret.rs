//! Secrets: referenced in files (`env:NAME`, `file:PATH`, `cmd:…`), fetched when needed, never written.
//! Every value fetched is remembered by the [`Redactor`], which takes it out of whatever is shown or logged.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, RwLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::units::short;

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
                let out = ended(line)?;
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
        REDACTOR.write().unwrap_or_else(|poisoned| poisoned.into_inner()).add(Some(self), &value);
        Ok(Secret(value))
    }
}

/// How long a secret may take to come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A command's end, and what it has printed. It is not left behind where it comes to none.
fn ended(line: &str) -> Result<Output, String> {
    let cannot = |e: std::io::Error| format!("cannot start the secret command: {e}");
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().map_err(cannot)?;
    let group = Pid::from_child(&child);
    let (tell, told) = std::sync::mpsc::channel();
    // It reads as long as anybody has the other end.
    std::thread::spawn(move || drop(tell.send(child.wait_with_output())));
    match told.recv_timeout(PATIENCE) {
        Ok(out) => out.map_err(cannot),
        Err(_) => {
            let _ = kill_process_group(group, Signal::KILL);
            Err(format!("the secret command did not come to its end within {}", short(PATIENCE)))
        }
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

/// What is to be taken out of whatever is shown or written: the values of this process, each under the reference it came
/// from. A value that was fetched anew replaces the one before it, and what is no longer referred to can be dropped.
#[derive(Default)]
pub struct Redactor {
    values: Vec<(Option<SecretRef>, String)>,
    known: Known,
}

static REDACTOR: LazyLock<RwLock<Redactor>> = LazyLock::new(Default::default);

/// How many values of one reference are kept: one that was changed may still be printed by what was started before.
const KEPT: usize = 2;

impl Redactor {
    fn add(&mut self, from: Option<&SecretRef>, value: &str) {
        // Values under four characters are too common to take out of text.
        if value.len() < 4 || self.values.iter().any(|(known, v)| known.as_ref() == from && v == value) {
            return;
        }
        self.values.push((from.cloned(), value.to_string()));
        let of_it = |(known, _): &&(Option<SecretRef>, String)| known.is_some() && known.as_ref() == from;
        if self.values.iter().filter(of_it).count() > KEPT
            && let Some(oldest) = self.values.iter().position(|(known, _)| known.as_ref() == from)
        {
            self.values.remove(oldest);
        }
        self.known = Known::of(self.values.iter().map(|(_, value)| value.as_str()));
    }

    fn keep_only(&mut self, references: &[SecretRef]) {
        self.values.retain(|(from, _)| from.as_ref().is_none_or(|from| references.contains(from)));
        self.known = Known::of(self.values.iter().map(|(_, value)| value.as_str()));
    }
}

/// Makes the redactor know a value that no reference leads to.
pub fn remember(value: &str) {
    REDACTOR.write().unwrap_or_else(|poisoned| poisoned.into_inner()).add(None, value);
}

/// Drops the values of all references but these: the others are no secrets of this process any more.
pub fn keep_only(references: &[SecretRef]) {
    REDACTOR.write().unwrap_or_else(|poisoned| poisoned.into_inner()).keep_only(references);
}

/// A spelling of a value.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    bytes: Vec<u8>,
    /// It may be broken over lines.
    wraps: bool,
}

/// How a text stands to a form.
enum Fit {
    /// It is there, on so many bytes of the text.
    Whole(usize),
    /// It may be, when more is known.
    Part,
    No,
}

impl Form {
    fn fits(&self, text: &[u8]) -> Fit {
        let mut at = 0;
        for (i, byte) in self.bytes.iter().enumerate() {
            // A line break, and what indents the next line; it stands for what keeps two bytes of a dump apart.
            if self.wraps && i > 0 && text.get(at).is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                while text.get(at).is_some_and(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t')) {
                    at += 1;
                }
                if *byte == b' ' {
                    continue;
                }
            }
            match text.get(at) {
                None => return Fit::Part,
                Some(found) if found == byte => at += 1,
                Some(_) => return Fit::No,
            }
        }
        Fit::Whole(at)
    }
}

/// The spellings of all values, by their first byte.
#[derive(Default)]
struct Known {
    by_first: HashMap<u8, Vec<Form>>,
}

impl Known {
    fn of<'v>(values: impl Iterator<Item = &'v str>) -> Known {
        let mut by_first: HashMap<u8, Vec<Form>> = HashMap::new();
        for form in values.flat_map(forms) {
            let Some(first) = form.bytes.first().copied().filter(|_| form.bytes.len() >= 4) else { continue };
            let forms = by_first.entry(first).or_default();
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        // Longest first, so that a secret which contains another goes whole.
        by_first.values_mut().for_each(|forms| forms.sort_by_key(|form| std::cmp::Reverse(form.bytes.len())));
        Known { by_first }
    }

    /// The text without secrets, as far as it can be told: what may be the beginning of one waits for more, unless this is all.
    /// Gives how much was used, and whether anything was taken out.
    fn take_out(&self, text: &[u8], all: bool) -> (Vec<u8>, usize, bool) {
        let (mut out, mut at, mut found) = (Vec::with_capacity(text.len()), 0, false);
        'text: while at < text.len() {
            let rest = &text[at..];
            for form in self.by_first.get(&rest[0]).map_or(&[][..], Vec::as_slice) {
                match form.fits(rest) {
                    Fit::Whole(length) => {
                        out.extend_from_slice(b"[redacted]");
                        at += length;
                        found = true;
                        continue 'text;
                    }
                    Fit::Part if !all => break 'text,
                    Fit::Part | Fit::No => {}
                }
            }
            out.push(rest[0]);
            at += 1;
        }
        (out, at, found)
    }
}

/// The spellings in which a value may come to light: as it is, as URLs, JSON, shells and programs write it, and its parts that
/// open as much.
fn forms(value: &str) -> Vec<Form> {
    let bytes = value.as_bytes();
    let mut plain = vec![value.to_string()];
    // A URL's query, a URL's path (which keeps `/`), and the same in small letters.
    plain.push(url::form_urlencoded::byte_serialize(bytes).collect());
    for upper in [true, false] {
        plain.extend(["-_.~", "-_.~/", "-_.~/:@!$&'()*+,;="].map(|keep| percent(bytes, keep.as_bytes(), upper)));
    }
    // JSON, also of those who write `/` as `\/` and everything beyond ASCII as `\u00fc`.
    let json = serde_json::to_string(value).unwrap_or_default();
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_string();
    plain.extend([json.replace('/', "\\/"), ascii(&json), ascii(&json).replace('/', "\\/"), json]);
    // A shell's `%q`, with backslashes and as $'…'; its quotes within quotes.
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c) || !c.is_ascii();
    plain.push(value.chars().map(|c| if safe(c) { c.to_string() } else { format!("\\{c}") }).collect());
    plain.push(value.replace('\'', "'\\''"));
    plain.push(value.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t"));
    // The address of a webhook is its secret; a part of it opens as much.
    let path = url::Url::parse(value).ok().filter(|url| url.has_host()).map(|url| url.path().to_string()).filter(|path| path.len() >= 12);
    plain.extend(path);
    // A key of several lines is shown line by line.
    plain.extend(value.lines().filter(|line| line.len() >= 16 && value.contains('\n') && !line.starts_with("-----")).map(str::to_string));
    // Hexadecimal, plain and as dumps write it.
    let mut wrapped = Vec::new();
    for upper in [true, false] {
        let digits = |b: &u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
        let hex: Vec<String> = bytes.iter().map(digits).collect();
        wrapped.extend([hex.concat(), hex.join(" "), hex.join(":"), hex.iter().map(|h| format!("\\x{h}")).collect()]);
    }
    for swap in [false, true] {
        let pair = |pair: &[u8]| match (pair, swap) {
            ([a, b], true) => format!("{b:02x}{a:02x}"),
            (pair, _) => pair.iter().map(|b| format!("{b:02x}")).collect(),
        };
        wrapped.push(bytes.chunks(2).map(pair).collect::<Vec<String>>().join(" "));
    }
    for before in 0..3 {
        wrapped.extend([false, true].into_iter().filter_map(|url_safe| base64_form(bytes, before, url_safe)));
    }
    let form = |wraps: bool| move |text: String| Form { bytes: text.into_bytes(), wraps };
    plain.into_iter().map(form(false)).chain(wrapped.into_iter().map(form(true))).collect()
}

/// Percent-encoded but for letters, digits and what is kept.
fn percent(bytes: &[u8], keep: &[u8], upper: bool) -> String {
    let one = |b: &u8| match *b {
        b if b.is_ascii_alphanumeric() || keep.contains(&b) => char::from(b).to_string(),
        b if upper => format!("%{b:02X}"),
        b => format!("%{b:02x}"),
    };
    bytes.iter().map(one).collect()
}

/// As JSON that keeps to ASCII.
fn ascii(text: &str) -> String {
    let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect()
}

/// What of a value stands in base64 whatever stands around it, when so many bytes (of three) stand before it: a user and
/// a password are sent that way.
fn base64_form(value: &[u8], before: usize, url_safe: bool) -> Option<String> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let bytes = [&[0; 2][..before], value].concat();
    let form = if url_safe { URL_SAFE_NO_PAD.encode(&bytes) } else { STANDARD_NO_PAD.encode(&bytes) };
    // Letters that also depend on a neighbour are left away.
    let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    form.get(first..last).filter(|form| form.len() >= 10).map(str::to_string)
}

/// The text without any known secret.
pub fn redact(text: &str) -> std::borrow::Cow<'_, str> {
    let redactor = REDACTOR.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (out, _, found) = redactor.known.take_out(text.as_bytes(), true);
    if found { String::from_utf8_lossy(&out).into_owned().into() } else { text.into() }
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
        let redactor = REDACTOR.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (mut out, mut at, _) = redactor.known.take_out(&self.held, false);
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
    fn every_spelling_of_a_secret_is_taken_out() {
        let secret = "pä\"ss/w'rd $(x)\\y+z=tail-of-a-long-value-that-wraps-when-it-is-base64-encoded!";
        remember(secret);
        let bytes = secret.as_bytes();
        use base64::Engine;
        let base64 = base64::engine::general_purpose::STANDARD.encode([b"user:", bytes].concat());
        let wrapped = |width: usize, with: &str| {
            base64.as_bytes().chunks(width).map(|c| std::str::from_utf8(c).expect("ASCII")).collect::<Vec<_>>().join(with)
        };
        let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let cases = [
            ("as it is", secret.to_string()),
            ("base64 at 76 columns", wrapped(76, "\n")),
            ("base64 at 64 columns, indented", wrapped(64, "\r\n  ")),
            ("percent with / kept", percent(bytes, b"-_.~/", true)),
            ("percent, small", percent(bytes, b"-_.~", false)),
            ("JSON", serde_json::to_string(secret).expect("JSON")),
            ("JSON in ASCII", ascii(&serde_json::to_string(secret).expect("JSON"))),
            ("hexadecimal", hex.concat()),
            ("a dump", hex.chunks(16).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n")),
        ];
        for (what, text) in cases {
            let mut stream = Streaming::default();
            let streamed: String = text.as_bytes().chunks(7).map(|piece| stream.feed(piece)).collect::<String>() + &stream.finish();
            for shown in [redact(&format!("before {text} after")).into_owned(), streamed] {
                assert!(shown.contains("[redacted]"), "{what}: {shown}");
                let left = shown.replace("[redacted]", "").replace("before", "").replace("after", "");
                assert!(left.trim_matches(|c: char| !c.is_alphanumeric()).len() < 12, "{what}: too much is left: {left}");
            }
        }
        let quoted = std::process::Command::new("bash").args(["-c", "printf %q \"$1\"", "x", "s3cret value;with'quotes"]).output();
        if let Ok(quoted) = quoted {
            remember("s3cret value;with'quotes");
            let shown = redact(&String::from_utf8_lossy(&quoted.stdout)).into_owned();
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn a_value_that_was_changed_or_is_referred_to_no_more_is_dropped() {
        let reference = |name: &str| SecretRef::Cmd(name.into());
        let mut redactor = Redactor::default();
        for value in ["first-value", "second-value", "third-value"] {
            redactor.add(Some(&reference("a")), value);
        }
        redactor.add(Some(&reference("b")), "of-another");
        let shown =
            |redactor: &Redactor, text: &str| String::from_utf8_lossy(&redactor.known.take_out(text.as_bytes(), true).0).into_owned();
        assert_eq!(shown(&redactor, "first-value second-value third-value"), "first-value [redacted] [redacted]");
        redactor.keep_only(&[reference("b")]);
        assert_eq!(shown(&redactor, "third-value of-another"), "third-value [redacted]");
    }

    #[test]
    fn fetched_values_are_redacted_everywhere() {
        let secret = SecretRef::parse("cmd:echo s3cr3t-token").unwrap().fetch().unwrap();
        assert_eq!(secret.expose(), "s3cr3t-token");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(sanitize("got \x1b[1ms3cr3t-token!"), "got [1m[redacted]!");
    }
}
