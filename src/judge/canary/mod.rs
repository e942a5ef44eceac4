//! Canary analysis: pairs of samples (canary, baseline) of the same span, judged without any assumption about their
//! distribution. Per metric: a Mann–Whitney test by way of the confidence interval of the Hodges–Lehmann shift, a tolerance,
//! an effect size; then weights and groups make one score of all. Pure and repeatable: no random tie breaking. What has no
//! data is unknown and never promotes.

mod classify;
mod sample;
mod score;
mod shift;

pub use classify::{Classification, MetricVerdict};
pub use score::{CanaryVerdict, judge_canary};

use serde::{Deserialize, Serialize};

/// Under this many points a verdict is given, and said to stand on few.
pub const WORTH_TRUSTING: usize = 50;

/// What to compare, and what is allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryAnalysis {
    /// Of the interval of the shift.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// How far from zero the interval may lie, as a share of the estimated shift.
    #[serde(default = "tolerance")]
    pub tolerance: f64,
    /// From this score on it passes (0 to 100).
    #[serde(default = "pass")]
    pub pass: f64,
    /// From this score on it is a warning; below, it fails.
    #[serde(default = "marginal")]
    pub marginal: f64,
    /// Fewer points than this on either side are no data.
    #[serde(default)]
    pub at_least: usize,
    pub metrics: Vec<CanaryMetric>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryMetric {
    pub name: String,
    #[serde(default)]
    pub direction: Direction,
    /// Failing this one fails the whole.
    #[serde(default)]
    pub critical: bool,
    /// Within its group.
    #[serde(default = "one")]
    pub weight: f64,
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub outliers: Outliers,
    pub effect: Option<EffectLimits>,
    /// A shift smaller than this, in the metric's own unit, is neglected: a ratio to nothing is large, however little it is.
    #[serde(default)]
    pub least: Option<f64>,
    pub baseline: Vec<Point>,
    pub canary: Vec<Point>,
}

/// Which way a change is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Increase,
    Decrease,
    #[default]
    Either,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outliers {
    #[default]
    Keep,
    /// Outside 1.5 interquartile ranges from the quartiles (Tukey's fences) they are left out.
    Iqr,
}

/// How much of a difference matters: a shift that is real but small passes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EffectLimits {
    pub measure: Measure,
    pub allowed_increase: Option<f64>,
    pub allowed_decrease: Option<f64>,
    /// From here on the metric counts as critical.
    pub critical_increase: Option<f64>,
    pub critical_decrease: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Mean of the canary by mean of the baseline: 1 is no difference.
    MeanRatio,
    /// Common-language effect size: how often a point of the canary lies above one of the baseline; 0.5 is no difference.
    Cles,
}

impl Measure {
    pub fn word(self) -> &'static str {
        match self {
            Measure::MeanRatio => "mean ratio",
            Measure::Cles => "effect size",
        }
    }

    /// The value that says that nothing differs.
    pub fn neutral(self) -> f64 {
        match self {
            Measure::MeanRatio => 1.0,
            Measure::Cles => 0.5,
        }
    }
}

/// One measured value, or that there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Option<f64>")]
pub struct Point(pub Option<f64>);

impl From<Option<f64>> for Point {
    fn from(value: Option<f64>) -> Point {
        Point(value.filter(|v| v.is_finite()))
    }
}

fn confidence() -> f64 {
    0.98
}

fn tolerance() -> f64 {
    0.25
}

fn pass() -> f64 {
    95.0
}

fn marginal() -> f64 {
    75.0
}

fn one() -> f64 {
    1.0
}

impl CanaryAnalysis {
    /// Reads a document of this shape; `NaN`, `Infinity` and `null` stand for points that are not there.
    ///
    /// # Errors
    /// Says where and why.
    pub fn parse(text: &str) -> Result<CanaryAnalysis, String> {
        let analysis: CanaryAnalysis = serde_json::from_str(&without_nan(text)).map_err(|e| e.to_string())?;
        analysis.check()?;
        Ok(analysis)
    }

    fn check(&self) -> Result<(), String> {
        within("confidence", self.confidence, 0.5, 0.999_999)?;
        within("tolerance", self.tolerance, 0.0, 10.0)?;
        within("pass", self.pass, 0.0, 100.0)?;
        within("marginal", self.marginal, 0.0, self.pass)?;
        if self.metrics.is_empty() {
            return Err("metrics: there is none, so nothing can be judged".into());
        }
        for (place, metric) in self.metrics.iter().enumerate() {
            if self.metrics.iter().take(place).any(|m| m.name == metric.name) {
                return Err(format!("metrics[{place}]: there are two called {:?}; give each a name of its own", metric.name));
            }
            metric.check().map_err(|e| format!("metrics[{place}] {:?}: {e}", metric.name))?;
        }
        if self.metrics.iter().all(|m| m.weight == 0.0) {
            return Err("metrics: every weight is 0, so there is no score".into());
        }
        Ok(())
    }
}

impl CanaryMetric {
    fn check(&self) -> Result<(), String> {
        within("weight", self.weight, 0.0, 1e9)?;
        let Some(effect) = self.effect else { return Ok(()) };
        let most = if effect.measure == Measure::Cles { 1.0 } else { f64::MAX };
        for (name, limit) in [
            ("allowed_increase", effect.allowed_increase),
            ("critical_increase", effect.critical_increase),
            ("allowed_decrease", effect.allowed_decrease),
            ("critical_decrease", effect.critical_decrease),
        ] {
            if let Some(limit) = limit {
                within(&format!("effect.{name}"), limit, 0.0, most)?;
            }
        }
        Ok(())
    }
}

fn within(what: &str, value: f64, low: f64, high: f64) -> Result<(), String> {
    if value.is_finite() && (low..=high).contains(&value) {
        return Ok(());
    }
    Err(if high == f64::MAX {
        format!("{what}: {value}, must be {low} or more")
    } else {
        format!("{what}: {value}, must be {low} to {high}")
    })
}

/// `NaN`, `Infinity` and `-Infinity` as numbers are no JSON: they become `null`. No line moves, so that the place of a
/// mistake stays true (its column by one for every NaN before it).
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        let gap = ["NaN", "-NaN", "-Infinity", "Infinity"].into_iter().find(|word| !quoted && rest.starts_with(word));
        let taken = match (gap, c) {
            (Some(word), _) => {
                let wide = word.len();
                out.push_str(&format!("{:wide$}", "null"));
                rest = &rest[wide..];
                continue;
            }
            // What is escaped ends no string.
            (None, '\\') => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, _) => c.len_utf8(),
        };
        quoted ^= c == '"';
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_read_and_strings_are_left_alone() {
        let analysis = CanaryAnalysis::parse(
            r#"{"metrics": [{"name": "a \" NaN", "baseline": [1, NaN, null], "canary": [-Infinity, Infinity, -NaN, 2.5]}]}"#,
        )
        .unwrap();
        assert_eq!(analysis.metrics[0].name, "a \" NaN");
        assert_eq!(analysis.metrics[0].baseline, [Point(Some(1.0)), Point(None), Point(None)]);
        assert_eq!(analysis.metrics[0].canary, [Point(None), Point(None), Point(None), Point(Some(2.5))]);
        assert_eq!((analysis.confidence, analysis.tolerance, analysis.pass, analysis.marginal), (0.98, 0.25, 95.0, 75.0));
    }

    #[test]
    fn a_mistake_says_where_and_why() {
        let metric = r#"{"name":"m","baseline":[1],"canary":[1]}"#;
        for (text, said) in [
            ("{\n \"metrics\": [1]}".to_string(), "line 2 column 14"),
            (r#"{"metrics": []}"#.into(), "there is none"),
            (format!(r#"{{"metrics": [{metric},{metric}]}}"#), "two called \"m\""),
            (format!(r#"{{"confidence": 98, "metrics": [{metric}]}}"#), "confidence: 98, must be 0.5 to 0.999999"),
            (format!(r#"{{"pass": 50, "metrics": [{metric}]}}"#), "marginal: 75, must be 0 to 50"),
            (metric.replace("\"name\"", "\"weight\":-1,\"name\"").replace("{", r#"{"metrics":[{"#) + "]}", "metrics[0] \"m\": weight: -1"),
            (metric.replace("\"name\"", "\"weihgt\":1,\"name\"").replace("{", r#"{"metrics":[{"#) + "]}", "unknown field `weihgt`"),
        ] {
            let error = CanaryAnalysis::parse(&text).unwrap_err();
            assert!(error.contains(said), "{text}\n{error}");
        }
    }
}
