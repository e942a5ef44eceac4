//! What checks a file's entries: the findings so far, and what every check needs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::shape::{KindShape, SpannedText};
use crate::base::diag::Findings;
use crate::base::units::{self, Unit, short};
use crate::judge::Condition;

/// The shortest interval in which a source may be asked.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) struct Resolver<'a> {
    pub(super) findings: &'a mut Findings,
    pub(super) vars: &'a IndexMap<String, String>,
    pub(super) kinds: IndexMap<Arc<str>, KindShape>,
    /// Where the file is: relative paths in it count from there.
    pub(super) folder: PathBuf,
}

impl Resolver<'_> {
    pub(super) fn duration(&mut self, text: &SpannedText) -> Option<Duration> {
        units::duration(text.get_ref()).map_err(|e| self.findings.error(text.span(), e, None)).ok()
    }

    pub(super) fn interval(&mut self, text: Option<&SpannedText>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        match self.duration(text) {
            Some(every) if every < SHORTEST => {
                self.findings.error(text.span(), format!("every {} is too often: at most every {}", short(every), short(SHORTEST)), None);
                default
            }
            Some(every) => every,
            None => default,
        }
    }

    pub(super) fn condition(&mut self, text: Option<&SpannedText>, unit: Unit) -> Option<Condition> {
        let text = text?;
        Condition::parse(text.get_ref(), unit).map_err(|e| self.findings.error(text.span(), e, None)).ok()
    }

    /// A program that is named by a path is counted from the file's folder.
    pub(super) fn beside(&self, mut argv: Vec<String>) -> Vec<String> {
        if let Some(program) = argv.first_mut().filter(|program| program.starts_with("./") || program.starts_with("../")) {
            *program = self.folder.join(program.as_str()).display().to_string();
        }
        argv
    }
}
