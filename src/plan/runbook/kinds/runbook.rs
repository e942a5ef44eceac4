//! `runbook`: the steps of another runbook, in this step's place.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Misfit, StepKind};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::Fill;

/// Which steps stand in this one's place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunbookCall {
    Named {
        name: String,
        #[serde(default)]
        inputs: Map<String, Json>,
    },
    /// The one that stops what writes, by `[snapshots] hold`; where that names none, another one or none.
    Hold { of_snapshots: bool, otherwise: Option<String> },
    /// The ways back of the steps that an earlier one laid out, the last first.
    Back { back: String },
}

impl StepKind for RunbookCall {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<RunbookCall> {
        if let Some(back) = f.string(r, "back") {
            return Some(RunbookCall::Back { back });
        }
        if let Some(of_snapshots) = f.flag(r, "of_snapshots").filter(|of| *of) {
            return Some(RunbookCall::Hold { of_snapshots, otherwise: f.string(r, "runbook") });
        }
        let name = f.required(r, "runbook", "smoke-test");
        // As they were written: a version 1.10 is no number.
        let inputs = f.pairs(r, "inputs").into_iter().map(|(name, value)| (name.text, value.text.into())).collect();
        name.map(|name| RunbookCall::Named { name: name.text, inputs })
    }

    fn describe(&self) -> String {
        match self {
            RunbookCall::Named { name, .. } => format!("runbook {name}"),
            RunbookCall::Hold { .. } => "the runbook that [snapshots] hold names".into(),
            RunbookCall::Back { back } => format!("{back} taken back"),
        }
    }

    fn default_timeout(&self) -> Option<Duration> {
        None
    }

    fn fill(&mut self, fill: &mut Fill) {
        if let RunbookCall::Named { name, inputs } = self {
            fill.text(name);
            inputs.values_mut().for_each(|value| fill.value(value));
        }
    }

    fn nested(&self) -> Option<&RunbookCall> {
        Some(self)
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), Some("write a script, http or sql".into())))
    }
}
