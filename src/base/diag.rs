//! Diagnostics: what is wrong with a file, where, and what to write instead. Loaders collect them all and report once.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Error,
}

/// One finding in a file. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
    /// What is wrong, in words.
    pub cause: String,
    /// What to write instead, when that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{}:{}:{}: {severity}: {}", self.file.display(), self.line, self.column, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

/// The texts of the files being read, one behind the other: turns byte spans into positions and collects findings.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    files: Vec<(usize, PathBuf, Arc<str>)>,
    pub found: Vec<Diagnostic>,
    /// Where an entry begins, and which of its keys was taken out for what was wrong with it.
    taken_out: Vec<(usize, String)>,
    /// Entries that could not be read at all.
    lost: Vec<String>,
}

impl Findings {
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Findings {
        let mut findings = Findings::default();
        findings.add_file(path, text);
        findings
    }

    /// Adds a file; spans in it count from the offset returned.
    pub fn add_file(&mut self, path: impl Into<PathBuf>, text: &str) -> usize {
        let offset = self.files.last().map_or(0, |(start, _, text)| start + text.len() + 1);
        self.files.push((offset, path.into(), text.into()));
        offset
    }

    pub fn error(&mut self, span: Range<usize>, cause: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Error, span, cause.into(), hint);
    }

    pub fn warn(&mut self, span: Range<usize>, cause: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Warning, span, cause.into(), hint);
    }

    fn add(&mut self, severity: Severity, span: Range<usize>, cause: String, hint: Option<String>) {
        let Some((start, path, text)) = self.files.iter().rfind(|(start, ..)| *start <= span.start) else { return };
        if self.follows(&span, &cause) {
            return;
        }
        let (line, column) = position(text, span.start - start);
        // What nobody knows is said once.
        let same = |d: &Diagnostic| d.line == line && d.column == column && d.file == *path && d.cause.starts_with("unknown field");
        if self.found.iter().any(same) {
            return;
        }
        self.found.push(Diagnostic { severity, file: path.clone(), line, column, cause, hint });
    }

    /// What was wrong with a key has been said: that it is missing then is no mistake of its own.
    pub fn taken_out(&mut self, entry: &Range<usize>, key: &str) {
        self.taken_out.push((entry.start, key.to_string()));
    }

    /// What is wrong with an entry has been said: that it is not there then is no mistake of its own.
    pub fn lost(&mut self, name: &str) {
        self.lost.push(name.to_string());
    }

    /// Whether something is only so because of another mistake, which was said.
    fn follows(&self, span: &Range<usize>, cause: &str) -> bool {
        let taken_out = |(at, key): &(usize, String)| *at == span.start && cause.starts_with(&format!("`{key}` is missing"));
        let lost = |name: &String| cause.starts_with("there is no ") && cause.ends_with(&format!("`{name}`"));
        self.taken_out.iter().any(taken_out) || self.lost.iter().any(lost)
    }

    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Line and column (in characters) of a byte offset, both from 1.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

/// "did you mean `x`?" when a known name is near, otherwise the list of what there is.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match crate::base::text::nearest(word, known.iter().copied()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if known.is_empty() => None,
        None => Some(format!("there is: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "a = 1\nß = x\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, text.find('x').unwrap()), (2, 5));
        assert_eq!(position(text, 999), (3, 1));
    }
}
