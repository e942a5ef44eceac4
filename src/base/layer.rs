//! Files that are shipped, or lie over shipped ones: keymaps and themes are found the same way, by name or by path.

use std::path::{Path, PathBuf};

use super::diag::{Diagnostic, Findings, suggestion};

/// How many files may lie over each other.
pub const DEEPEST: usize = 4;

/// The text of a shipped file by its name, or of a file; relative paths count from `folder`.
///
/// # Errors
/// When the file cannot be read; the hint names the shipped one that may be meant.
pub fn open(kind: &str, name: &str, folder: &Path, shipped: &[(&'static str, &'static str)]) -> Result<(PathBuf, String), Vec<Diagnostic>> {
    if let Some((name, text)) = shipped.iter().find(|(known, _)| *known == name) {
        return Ok((PathBuf::from(format!("{kind} {name}")), (*text).to_string()));
    }
    let path = folder.join(name);
    std::fs::read_to_string(&path).map(|text| (path.clone(), text)).map_err(|e| {
        let mut findings = Findings::new(&path, "");
        findings.error(0..0, format!("cannot read the {kind} `{name}`: {e}"), suggestion(name, shipped.iter().map(|(known, _)| *known)));
        findings.found
    })
}
