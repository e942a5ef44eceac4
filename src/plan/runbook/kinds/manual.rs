//! `manual`: a person does it, and says what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Misfit, StepKind};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manual {
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<String>,
}

impl StepKind for Manual {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Manual> {
        let text = f.required(r, "text", "\"Look at …\"");
        let check = f.strings(r, "check");
        text.map(|text| Manual { text: text.text, check })
    }

    fn describe(&self) -> String {
        format!("ask: {}", self.text.lines().next().unwrap_or(""))
    }

    fn in_full(&self) -> Vec<String> {
        let more = self.text.lines().skip(1).map(str::to_string);
        more.chain(self.check.iter().map(|item| format!("- {item}"))).collect()
    }

    fn default_timeout(&self) -> Option<Duration> {
        None
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.text);
        fill.texts(&mut self.check);
    }

    fn question(&self) -> Option<(String, Vec<String>)> {
        Some((self.text.clone(), self.check.clone()))
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), Some("write a script, http or sql".into())))
    }

    fn fits(&self, _timeout: Duration) -> Result<(), Misfit> {
        Err(("a manual has no time-out: it waits for nobody but whom it asks, or for nothing".into(), None))
    }
}
