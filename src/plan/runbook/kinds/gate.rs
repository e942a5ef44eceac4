//! `gate`: named sets of checks, all of which have to pass.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Misfit, Names, StepKind, Uses};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateStep {
    pub gates: Vec<String>,
    /// Those that the configuration wants before a step of a canary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_canary: bool,
    /// The checks in them, once they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
}

impl StepKind for GateStep {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<GateStep> {
        let step = GateStep { gates: f.strings(r, "gates"), of_canary: f.flag(r, "of_canary").unwrap_or(false), checks: Vec::new() };
        if step.gates.is_empty() && !step.of_canary {
            r.error(f.at, "this names no gate", Some("write gates: [pre-deploy]".into()));
        }
        Some(step)
    }

    fn describe(&self) -> String {
        match (self.gates.is_empty(), self.checks.is_empty()) {
            (true, _) => "no gates are configured".into(),
            (false, true) => format!("gates {}", self.gates.join(", ")),
            (false, false) => format!("gates {}: {}", self.gates.join(", "), self.checks.join(", ")),
        }
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(1800))
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.texts(&mut self.gates);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        self.checks = names.gates(&mut self.gates, self.of_canary);
    }

    fn uses(&self) -> Uses {
        Uses { gates: self.gates.clone(), ..Uses::default() }
    }

    fn validates(&self) -> bool {
        true
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), None))
    }
}
