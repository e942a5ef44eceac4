//! `gate`: named sets of checks, all of which have to pass.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Check, JsonCheck, Misfit, Names, Section, SectionSettings, StepKind, StepSettings, Uses};
use crate::base::diag::suggestion;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::Fill;

/// Every gate of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates(pub Vec<Gate>);

/// A named set of checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub name: String,
    pub checks: Vec<GateCheck>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateCheck {
    pub name: String,
    pub kind: GateKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// A program that ends well.
    Command(Vec<String>),
    /// Live signals.
    Signals(Vec<Check>),
    /// A YAML file of sources: each critical one has an owner and a review date that is not past.
    Governance(PathBuf),
    /// Files against the sums in a lock file.
    Lockfile(PathBuf),
    /// A table in Markdown of what goes with what.
    Compat { file: PathBuf, binary: GateFact, schema: GateFact, collection: GateFact },
    /// A program that prints JSON, held to thresholds.
    Evaluation { argv: Vec<String>, thresholds: Vec<JsonCheck> },
}

/// Something that is known, or that a program prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateFact {
    Is(String),
    Printed(Vec<String>),
}

impl SectionSettings for Gates {
    fn signals(&self) -> Vec<String> {
        let checks = self.0.iter().flat_map(|gate| &gate.checks).filter_map(|check| match &check.kind {
            GateKind::Signals(checks) => Some(checks),
            _ => None,
        });
        checks.flatten().map(|check| check.signal.clone()).collect()
    }

    fn only(&self, uses: &Uses) -> Gates {
        Gates(self.0.iter().filter(|gate| uses.gates.contains(&gate.name)).cloned().collect())
    }
}

impl StepSettings {
    /// Every gate there is.
    pub fn all_gates(&self) -> &[Gate] {
        self.gates.as_ref().map_or(&[], |gates| &gates.0)
    }
}

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
        let settings = names.settings();
        if self.of_canary {
            let wanted = settings.canary.iter().flat_map(|canary| &canary.gates);
            let more: Vec<_> = wanted.filter(|name| !self.gates.contains(name)).cloned().collect();
            self.gates.extend(more);
        }
        let known = settings.all_gates();
        let named = self.gates.iter().filter_map(|name| known.iter().find(|gate| gate.name == *name));
        self.checks = named.flat_map(|gate| &gate.checks).map(|check| check.name.clone()).collect();
        for name in self.gates.iter().filter(|name| !known.iter().any(|gate| gate.name == **name)) {
            if !names.is_open(name) {
                let hint = suggestion(name, known.iter().map(|gate| gate.name.as_str()));
                let hint = hint.or_else(|| Some(format!("add [gates.{name}.CHECK] with a kind to the configuration")));
                names.wrong(format!("there is no gate `{name}`"), hint);
            }
        }
    }

    fn uses(&self) -> Uses {
        Uses { gates: self.gates.iter().cloned().collect(), ..Uses::section(Section::Gates) }
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
