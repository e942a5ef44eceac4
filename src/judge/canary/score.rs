//! All metrics together: groups, weights, and the verdict.

use indexmap::IndexMap;
use serde::Serialize;

use super::CanaryAnalysis;
use super::classify::{Classification, MetricVerdict, classify};
use crate::judge::Verdict;

/// What an analysis comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CanaryVerdict {
    pub verdict: Verdict,
    /// 0 to 100: the mean of the groups, each the weighted share of its metrics that pass. One without data does not
    /// pass. `None` when no metric had data.
    pub score: Option<f64>,
    pub reason: String,
    pub metrics: Vec<MetricVerdict>,
}

impl CanaryVerdict {
    /// Nobody can tell yet, though every metric has points on both sides: there are only too few of them.
    pub fn wants_points(&self) -> bool {
        let has = |metric: &MetricVerdict| metric.points.baseline > 0 && metric.points.canary > 0;
        self.verdict == Verdict::Unknown && !self.metrics.is_empty() && self.metrics.iter().all(has)
    }
}

/// Judges every metric and all of them together.
pub fn judge_canary(analysis: &CanaryAnalysis) -> CanaryVerdict {
    let metrics: Vec<MetricVerdict> = analysis.metrics.iter().map(|metric| classify(metric, analysis)).collect();
    let score = score(analysis, &metrics, |c| c == Classification::Pass);
    // As good as it could be, if what is missing were fine.
    let at_best = score_at_best(analysis, &metrics);
    let named = |wanted: fn(&MetricVerdict) -> bool| -> Vec<&str> {
        metrics.iter().filter(|m| wanted(m)).map(|m| m.name.as_str()).collect::<Vec<_>>()
    };
    let bad = named(|m| matches!(m.classification, Classification::High | Classification::Low));
    let critical = named(|m| m.critical && matches!(m.classification, Classification::High | Classification::Low));
    let missing = named(|m| m.classification == Classification::NoData);
    let (verdict, reason) = if !critical.is_empty() {
        (Verdict::Fail, format!("critical: {}", critical.join(", ")))
    } else if at_best < analysis.marginal {
        (Verdict::Fail, format!("score {at_best:.0} of 100, at least {} is marginal: {}", analysis.marginal, bad.join(", ")))
    } else if !missing.is_empty() {
        (Verdict::Unknown, format!("no data: {}", missing.join(", ")))
    } else if score < analysis.pass {
        (Verdict::Warn, format!("score {score:.0} of 100, {} passes: {}", analysis.pass, bad.join(", ")))
    } else if bad.is_empty() {
        (Verdict::Pass, format!("score {score:.0} of 100, every metric is as it may be"))
    } else {
        (Verdict::Pass, format!("score {score:.0} of 100, {} passes; not as they may be: {}", analysis.pass, bad.join(", ")))
    };
    let score = (missing.len() < metrics.len()).then_some(score);
    CanaryVerdict { verdict, score, reason, metrics }
}

fn score_at_best(analysis: &CanaryAnalysis, metrics: &[MetricVerdict]) -> f64 {
    score(analysis, metrics, |c| matches!(c, Classification::Pass | Classification::NoData))
}

fn score(analysis: &CanaryAnalysis, metrics: &[MetricVerdict], good: fn(Classification) -> bool) -> f64 {
    let mut groups: IndexMap<&str, (f64, f64)> = IndexMap::new();
    for (metric, verdict) in analysis.metrics.iter().zip(metrics) {
        let (passed, all) = groups.entry(metric.group.as_str()).or_default();
        *all += metric.weight;
        if good(verdict.classification) {
            *passed += metric.weight;
        }
    }
    // A group whose weights are all 0 has no say.
    groups.retain(|_, (_, all)| *all > 0.0);
    100.0 * groups.values().map(|(passed, all)| passed / all).sum::<f64>() / groups.len().max(1) as f64
}
