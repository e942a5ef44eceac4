//! Signals, verdicts and rules. A signal is a named question with thresholds; judging it is a pure function of what was
//! read; a rule watches a verdict's condition over time. Nothing missing, stale, NaN, empty, partial or in error passes.

mod assess;
mod baseline;
mod canary;
mod condition;
mod rule;
mod slo;
mod verdict;

pub use assess::{Evidence, Judgement, Observed, judge, observe};
pub use baseline::Baseline;
pub use canary::{
    CanaryAnalysis, CanaryMetric, CanaryVerdict, Classification, Direction, EffectLimits, Measure, MetricVerdict, Outliers, Point,
    judge_canary,
};
pub use condition::{Aggregate, Condition, Op, Operand, Span};
pub use rule::{Level, NoData, Rule, RuleInput, RulePhase, RuleState};
pub use slo::{BurnRate, Objective};
pub use verdict::Verdict;

use std::sync::Arc;
use std::time::Duration;

use crate::base::units::Unit;

/// A named question with its meaning. What is asked of which source is the business of the configuration.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Signal {
    pub name: Arc<str>,
    pub title: String,
    pub unit: Unit,
    pub warn: Option<Condition>,
    pub fail: Option<Condition>,
    pub baseline: Option<Baseline>,
    /// Fewer samples than this are no basis for a verdict.
    pub at_least: Option<u64>,
    /// In which interval a new reading should arrive: the longer of the polling interval and the source's own.
    pub interval: Duration,
}

impl Signal {
    /// Whether the value is judged at all, or only shown.
    pub fn has_thresholds(&self) -> bool {
        self.warn.is_some() || self.fail.is_some()
    }

    /// The verdict of one of several lines: only what crosses is bad.
    pub fn verdict_of_line(&self, judgement: &Judgement, label: &str, value: f64) -> Verdict {
        if !value.is_finite() {
            return Verdict::Unknown;
        }
        if matches!(judgement.verdict, Verdict::Unknown | Verdict::Pass) {
            return judgement.verdict;
        }
        for (verdict, condition) in [(Verdict::Fail, &self.fail), (Verdict::Warn, &self.warn)] {
            let Some(condition) = condition else { continue };
            match (&condition.operand, condition.window) {
                (Operand::Number(limit), None) if condition.op.holds(value, *limit) => return verdict,
                (Operand::Number(_), None) => {}
                // What looks back, or at what is usual, is known of the line that decided.
                _ if judgement.verdict == verdict && judgement.evidence.label.as_deref().unwrap_or("") == label => return verdict,
                _ => {}
            }
        }
        Verdict::Pass
    }

    /// A value as a person reads it, with as many digits as it takes to tell it from a threshold that it is not.
    pub fn shown(&self, value: f64) -> String {
        let short = self.unit.format(value);
        self.lines().map(|(_, limit)| self.unit.format_beside(value, limit)).find(|told| *told != short).unwrap_or(short)
    }

    /// The thresholds whose operands are plain numbers, for lines on charts.
    pub fn lines(&self) -> impl Iterator<Item = (Verdict, f64)> + '_ {
        [(Verdict::Warn, &self.warn), (Verdict::Fail, &self.fail)].into_iter().filter_map(|(verdict, condition)| {
            match condition.as_ref()?.operand {
                Operand::Number(value) => Some((verdict, value)),
                Operand::Baseline(_) | Operand::Text(_) => None,
            }
        })
    }
}
