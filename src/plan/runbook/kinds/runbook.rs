//! `runbook`: the steps of another runbook, in this step's place.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Misfit, StepKind};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunbookCall {
    pub name: String,
    #[serde(default)]
    pub inputs: Map<String, Json>,
}

impl StepKind for RunbookCall {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<RunbookCall> {
        let name = f.required(r, "runbook", "smoke-test");
        // As they were written: a version 1.10 is no number.
        let inputs = f.pairs(r, "inputs").into_iter().map(|(name, value)| (name.text, value.text.into())).collect();
        name.map(|name| RunbookCall { name: name.text, inputs })
    }

    fn describe(&self) -> String {
        format!("runbook {}", self.name)
    }

    fn default_timeout(&self) -> Option<Duration> {
        None
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.name);
        self.inputs.values_mut().for_each(|value| fill.value(value));
    }

    fn nested(&self) -> Option<(&str, &Map<String, Json>)> {
        Some((&self.name, &self.inputs))
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), Some("write a script, http or sql".into())))
    }
}
