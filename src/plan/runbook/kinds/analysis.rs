//! `analysis`: the canary is looked at for a while beside what it would replace, and judged; or the while that has just
//! passed is judged at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Misfit, Names, Section, SectionSettings, StepKind, Uses};
use crate::base::units::short;
use crate::base::yaml::{Fields, Reader};
use crate::judge::{Direction, EffectLimits, Outliers};
use crate::plan::runbook::millis;
use crate::plan::runbook::switch::Weight;
use crate::plan::runbook::template::Fill;

/// How a release is walked up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanarySettings {
    /// The shares that it takes one after the other, rising.
    pub steps: Vec<Weight>,
    /// How long a share is looked at before the next.
    #[serde(with = "millis")]
    pub bake: Duration,
    /// How much of that is left aside at its beginning: rates reach back to before it.
    #[serde(default, with = "millis")]
    pub warm_up: Duration,
    /// Sets of checks that must pass before a step up.
    pub gates: Vec<String>,
    pub analysis: AnalysisSettings,
}

impl CanarySettings {
    /// The step after a share.
    pub fn after(&self, weight: f64) -> Option<Weight> {
        self.steps.iter().copied().find(|step| f64::from(*step) > weight + 0.5)
    }
}

/// How a canary is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisSettings {
    /// Of the interval of each shift.
    pub confidence: f64,
    /// How far from zero the interval may lie, as a share of the shift.
    pub tolerance: f64,
    /// Scores from which on it passes, and from which on it is marginal.
    pub pass: f64,
    pub marginal: f64,
    /// Fewer points than this on either side are no data.
    pub at_least: usize,
    pub metrics: Vec<MetricPair>,
}

/// Two signals that ask the same of both tracks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPair {
    pub name: String,
    pub canary: String,
    pub stable: String,
    pub direction: Direction,
    pub critical: bool,
    pub weight: f64,
    pub group: String,
    pub outliers: Outliers,
    pub effect: Option<EffectLimits>,
    /// A shift smaller than this is neglected.
    #[serde(default)]
    pub least: Option<f64>,
}

impl AnalysisSettings {
    /// Every signal it reads.
    pub fn signals(&self) -> Vec<String> {
        self.metrics.iter().flat_map(|pair| [pair.canary.clone(), pair.stable.clone()]).collect()
    }

    /// The metrics in a few words.
    pub fn words(&self) -> String {
        let one = |pair: &MetricPair| if pair.critical { format!("{} (critical)", pair.name) } else { pair.name.clone() };
        self.metrics.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl SectionSettings for CanarySettings {
    fn signals(&self) -> Vec<String> {
        self.analysis.signals()
    }
}

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
        let settings = names.settings();
        let Some(canary) = &settings.canary else {
            let hint = "add [canary] with [canary.metrics.NAME] canary = \"…\" and stable = \"…\" to the configuration";
            return names.wrong("there is nothing that a canary is judged by".into(), Some(hint.into()));
        };
        self.time = self.time.or(Some(canary.bake));
        self.metrics = canary.analysis.words();
    }

    fn uses(&self) -> Uses {
        Uses::section(Section::Canary)
    }

    fn validates(&self) -> bool {
        true
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), Some("write a traffic, script, http or sql".into())))
    }
}
