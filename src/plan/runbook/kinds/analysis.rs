//! `analysis`: the canary is looked at for a while beside what it would replace, and judged; or the while that has just
//! passed is judged at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Misfit, Names, StepKind, Uses};
use crate::base::units::short;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// How long; without it as long as the configuration bakes.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub time: Option<Duration>,
    /// That much of the past, instead of what comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub past: bool,
    /// What is compared, once that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metrics: String,
}

impl StepKind for Analysis {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Analysis> {
        Some(Analysis { time: f.duration(r, "for"), past: f.flag(r, "past").unwrap_or(false), metrics: String::new() })
    }

    fn describe(&self) -> String {
        let time = self.time.map_or_else(|| "as long as it bakes".into(), short);
        let metrics = if self.metrics.is_empty() { String::new() } else { format!(": {}", self.metrics) };
        match self.past {
            true => format!("judge the canary by the last {time}{metrics}"),
            false => format!("bake for {time}, and judge the canary{metrics}"),
        }
    }

    fn default_timeout(&self) -> Option<Duration> {
        // It says itself when it is over; before that only an operator ends it.
        Some(Duration::from_secs(7 * 24 * 3600))
    }

    fn fill(&mut self, _fill: &mut Fill) {}

    fn resolve(&mut self, names: &mut dyn Names) {
        if let Some((bake, metrics)) = names.analysis() {
            self.time = self.time.or(Some(bake));
            self.metrics = metrics;
        }
    }

    fn uses(&self) -> Uses {
        Uses { analysis: true, ..Uses::default() }
    }

    fn validates(&self) -> bool {
        true
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), Some("write a traffic, script, http or sql".into())))
    }
}
