//! What a canary is judged by: pairs of signals over the same window, and how their points become an analysis.

use serde::{Deserialize, Serialize};

use crate::judge::{CanaryAnalysis, CanaryMetric, CanaryVerdict, Direction, EffectLimits, Outliers, Point, judge_canary};

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

/// The points of one signal over the window; or why they are not to be trusted.
pub type Compared = Result<Vec<f64>, String>;

/// Judges the pairs by their points. What cannot be trusted has none, and is said.
pub fn compare(settings: &AnalysisSettings, points: &dyn Fn(&str) -> Compared) -> CanaryVerdict {
    let mut faults = Vec::new();
    let mut of = |signal: &str| match points(signal) {
        Ok(values) => values.into_iter().map(|value| Point::from(Some(value))).collect(),
        Err(why) => {
            faults.push(format!("{signal}: {why}"));
            Vec::new()
        }
    };
    let metric = |pair: &MetricPair| CanaryMetric {
        name: pair.name.clone(),
        direction: pair.direction,
        critical: pair.critical,
        weight: pair.weight,
        group: pair.group.clone(),
        outliers: pair.outliers,
        least: pair.least,
        effect: pair.effect,
        baseline: of(&pair.stable),
        canary: of(&pair.canary),
    };
    let analysis = CanaryAnalysis {
        confidence: settings.confidence,
        tolerance: settings.tolerance,
        pass: settings.pass,
        marginal: settings.marginal,
        at_least: settings.at_least,
        metrics: settings.metrics.iter().map(metric).collect(),
    };
    let mut verdict = judge_canary(&analysis);
    if let Some(first) = faults.first() {
        verdict.reason = format!("{} ({first})", verdict.reason);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict;

    fn settings() -> AnalysisSettings {
        let pair = |name: &str, critical| MetricPair {
            least: None,
            name: name.into(),
            canary: format!("{name}_canary"),
            stable: format!("{name}_stable"),
            direction: Direction::Increase,
            critical,
            weight: 1.0,
            group: String::new(),
            outliers: Outliers::Keep,
            effect: None,
        };
        AnalysisSettings {
            confidence: 0.98,
            tolerance: 0.25,
            pass: 95.0,
            marginal: 75.0,
            at_least: 10,
            metrics: vec![pair("errors", true), pair("latency", false)],
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_unknown_and_never_a_pass() {
        let level = |base: f64| (0..30).map(|i| base + f64::from(i % 7) * 0.001).collect::<Vec<f64>>();
        let good = |signal: &str| -> Compared { Ok(level(if signal.starts_with("errors") { 0.01 } else { 1.0 })) };
        assert_eq!(compare(&settings(), &good).verdict, Verdict::Pass);
        let worse = |signal: &str| -> Compared { Ok(level(if signal == "errors_canary" { 0.2 } else { 0.01 })) };
        let verdict = compare(&settings(), &worse);
        assert_eq!((verdict.verdict, verdict.reason.as_str()), (Verdict::Fail, "critical: errors"));
        let away =
            |signal: &str| -> Compared { if signal == "latency_stable" { Err("connection refused".into()) } else { Ok(level(0.01)) } };
        let verdict = compare(&settings(), &away);
        assert_eq!(verdict.verdict, Verdict::Unknown);
        assert!(verdict.reason.contains("latency_stable: connection refused"), "{}", verdict.reason);
        let few = |_: &str| -> Compared { Ok(vec![0.01; 9]) };
        assert_eq!(compare(&settings(), &few).verdict, Verdict::Unknown);
    }
}
