//! `release`: a version is brought out, and believed when it is the one that runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, Misfit, Names, Section, SectionSettings, StepKind, Uses};
use crate::base::secret::SecretRef;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::release::{Deploy, Release, is_version};
use crate::plan::runbook::template::{self, Fill};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseStep {
    /// `before`: what ran when the step began.
    pub version: String,
    /// The exact call, once that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call: String,
    /// Without it, it only looks.
    pub mutates: bool,
}

const BEFORE: &str = "before";

impl ReleaseStep {
    /// Whether it goes back to what ran before.
    pub fn goes_back(&self) -> bool {
        self.version == BEFORE
    }

    fn check(&self) -> Result<(), String> {
        match is_version(&self.version) {
            true => Ok(()),
            false => Err(format!("`{}` is no version: letters, digits and ._-+:/@", self.version)),
        }
    }
}

impl SectionSettings for Release {
    fn secrets(&self) -> Vec<&SecretRef> {
        match &self.deploy {
            Deploy::Http { endpoint, .. } => endpoint.secrets(),
            Deploy::Command { .. } => Vec::new(),
        }
    }
}

impl StepKind for ReleaseStep {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<ReleaseStep> {
        let version = f.required(r, "version", "\"{{ inputs.version }}\"")?;
        let step = ReleaseStep { version: version.text, call: String::new(), mutates: f.flag(r, "mutates").unwrap_or(true) };
        if !template::is_template(&step.version)
            && let Err(e) = step.check()
        {
            r.error(version.at, e, None);
        }
        Some(step)
    }

    fn describe(&self) -> String {
        match (self.mutates, self.call.is_empty()) {
            (false, _) => format!("the version that runs is {}", self.version),
            (true, true) => format!("bring out version {}", self.version),
            (true, false) => format!("{}, until {} runs", self.call, self.version),
        }
    }

    fn mutates(&self) -> bool {
        self.mutates
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(900))
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.version);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        let settings = names.settings();
        let Some(release) = &settings.release else {
            let hint = "add [release] with deploy = [\"./deploy\", \"{{ version }}\"] and running = [\"./running\"] to the configuration";
            return names.wrong("nothing says how a version is brought out".into(), Some(hint.into()));
        };
        if template::is_template(&self.version) || self.goes_back() {
            return;
        }
        match self.check() {
            Ok(()) => self.call = release.call(&self.version),
            Err(e) => names.wrong(e, None),
        }
    }

    fn uses(&self) -> Uses {
        Uses::section(Section::Release)
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }

    fn own_probe(&self) -> Option<Kind> {
        self.mutates.then(|| Kind::Release(ReleaseStep { call: String::new(), mutates: false, ..self.clone() }))
    }

    fn own_undo(&self) -> Option<Kind> {
        self.mutates.then(|| Kind::Release(ReleaseStep { version: BEFORE.into(), call: String::new(), mutates: true }))
    }
}
