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

/// A file's text with its path: turns byte spans into positions and collects findings.
#[derive(Clone, Debug)]
pub struct Findings {
    path: PathBuf,
    text: Arc<str>,
    pub found: Vec<Diagnostic>,
}

impl Findings {
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Findings {
        Findings { path: path.into(), text: text.into(), found: Vec::new() }
    }

    pub fn error(&mut self, span: Range<usize>, cause: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Error, span, cause.into(), hint);
    }

    pub fn warn(&mut self, span: Range<usize>, cause: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Warning, span, cause.into(), hint);
    }

    fn add(&mut self, severity: Severity, span: Range<usize>, cause: String, hint: Option<String>) {
        let (line, column) = position(&self.text, span.start);
        self.found.push(Diagnostic { severity, file: self.path.clone(), line, column, cause, hint });
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
