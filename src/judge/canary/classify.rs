//! One metric: is the canary's higher or lower than it may be?

use serde::Serialize;

use super::sample::CanarySample;
use super::shift::{Shift, shift, superiority};
use super::{CanaryAnalysis, CanaryMetric, Direction, EffectLimits, Measure, WORTH_TRUSTING};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Classification {
    Pass,
    High,
    Low,
    NoData,
}

impl Classification {
    pub fn word(self) -> &'static str {
        match self {
            Classification::Pass => "pass",
            Classification::High => "high",
            Classification::Low => "low",
            Classification::NoData => "nodata",
        }
    }
}

/// How many points were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PointCounts {
    pub baseline: usize,
    pub canary: usize,
}

/// The values in the middle of what was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Medians {
    pub baseline: Option<f64>,
    pub canary: Option<f64>,
}

/// What a metric comes to, and why. The shift is that of the canary against the baseline, in the metric's unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricVerdict {
    pub name: String,
    pub classification: Classification,
    /// Named critical, or so far off that it counts as critical.
    pub critical: bool,
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub estimate: Option<f64>,
    /// By the measure of its limits; without limits, the mean ratio.
    pub effect: Option<f64>,
    pub points: PointCounts,
    pub medians: Medians,
    pub reason: String,
}

pub fn classify(metric: &CanaryMetric, analysis: &CanaryAnalysis) -> MetricVerdict {
    let (canary, baseline) = (CanarySample::new(&metric.canary, metric.outliers), CanarySample::new(&metric.baseline, metric.outliers));
    let mut verdict = MetricVerdict {
        name: metric.name.clone(),
        classification: Classification::NoData,
        critical: metric.critical,
        lower: None,
        upper: None,
        estimate: None,
        effect: None,
        points: PointCounts { baseline: baseline.len(), canary: canary.len() },
        medians: Medians { baseline: baseline.median(), canary: canary.median() },
        reason: String::new(),
    };
    let few = canary.len().min(baseline.len());
    let shift = if few < analysis.at_least { None } else { shift(&canary.sorted, &baseline.sorted, analysis.confidence) };
    let Some(shift) = shift else {
        verdict.reason = missing(&canary, &baseline, analysis);
        return verdict;
    };
    if ![shift.lower, shift.estimate, shift.upper].iter().all(|v| v.is_finite()) {
        verdict.reason = "the difference is larger than a number can be".into();
        return verdict;
    }
    let measure = metric.effect.map_or(Measure::MeanRatio, |e| e.measure);
    let effect = effect(measure, &canary, &baseline);
    verdict.lower = Some(shift.lower);
    verdict.upper = Some(shift.upper);
    verdict.estimate = Some(shift.estimate);
    verdict.effect = effect.is_finite().then_some(effect);
    let bound = analysis.tolerance * shift.estimate.abs();
    verdict.classification = match compare(shift, bound) {
        Classification::High if metric.direction != Direction::Decrease => Classification::High,
        Classification::Low if metric.direction != Direction::Increase => Classification::Low,
        _ => Classification::Pass,
    };
    let mut why = words(verdict.classification, shift, metric.direction, analysis.confidence);
    if let Some(least) = metric.least.filter(|least| verdict.classification != Classification::Pass && shift.estimate.abs() < *least) {
        verdict.classification = Classification::Pass;
        why += &format!("; under {least}, which is neglected");
    } else if let Some(limits) = metric.effect {
        let (kept, critical, said) = limit(verdict.classification, effect, &limits);
        verdict.classification = kept;
        verdict.critical |= critical;
        why += &said;
    }
    verdict.reason = why + &basis(&canary, &baseline);
    verdict
}

/// Where the interval lies against the bounds around zero.
fn compare(shift: Shift, bound: f64) -> Classification {
    if shift.lower > bound {
        Classification::High
    } else if shift.upper < -bound {
        Classification::Low
    } else {
        Classification::Pass
    }
}

fn effect(measure: Measure, canary: &CanarySample, baseline: &CanarySample) -> f64 {
    match measure {
        Measure::MeanRatio if !canary.mean().is_finite() || !baseline.mean().is_finite() => f64::NAN,
        Measure::MeanRatio if canary.mean() == baseline.mean() => 1.0,
        // A ratio says nothing across zero.
        Measure::MeanRatio if baseline.mean() <= 0.0 || canary.mean() < 0.0 => f64::NAN,
        Measure::MeanRatio => canary.mean() / baseline.mean(),
        Measure::Cles => superiority(&canary.sorted, &baseline.sorted),
    }
}

/// Whether a difference is large enough to matter, whether it is critical, and the words for it. An effect that cannot be
/// told excuses nothing.
fn limit(classification: Classification, effect: f64, limits: &EffectLimits) -> (Classification, bool, String) {
    let neutral = limits.measure.neutral();
    let high = match classification {
        Classification::High => true,
        Classification::Low => false,
        Classification::Pass | Classification::NoData => return (classification, false, String::new()),
    };
    let (allowed, critical) = if high {
        (limits.allowed_increase.unwrap_or(neutral), limits.critical_increase)
    } else {
        (limits.allowed_decrease.unwrap_or(neutral), limits.critical_decrease)
    };
    let beyond = |limit: f64| if high { effect > limit } else { effect < limit };
    let name = limits.measure.word();
    if !effect.is_finite() {
        return (classification, false, format!("; no {name} can be told of these means, so its limits excuse nothing"));
    }
    if !beyond(allowed) {
        return (Classification::Pass, false, format!("; {name} {effect:.3}, allowed {allowed}"));
    }
    let critical = critical.filter(|c| beyond(*c) || effect == *c);
    let said = match critical {
        Some(critical) => format!("; {name} {effect:.3}, critical from {critical}"),
        None => format!("; {name} {effect:.3}, allowed {allowed}"),
    };
    (classification, critical.is_some(), said)
}

fn words(classification: Classification, shift: Shift, direction: Direction, confidence: f64) -> String {
    let interval = format!(
        "shift {}, {} % interval {} to {}",
        short(shift.estimate),
        short(confidence * 100.0),
        short(shift.lower),
        short(shift.upper)
    );
    let what = match (classification, direction) {
        (Classification::High, _) => "higher than the baseline",
        (Classification::Low, _) => "lower than the baseline",
        (_, Direction::Increase) => "not higher than it may be",
        (_, Direction::Decrease) => "not lower than it may be",
        (_, Direction::Either) => "as the baseline",
    };
    format!("{what}: {interval}")
}

fn missing(canary: &CanarySample, baseline: &CanarySample, analysis: &CanaryAnalysis) -> String {
    let gaps = |sample: &CanarySample| if sample.missing > 0 { format!(" ({} without a value)", sample.missing) } else { String::new() };
    let counts = format!("canary {} points{}, baseline {}{}", canary.len(), gaps(canary), baseline.len(), gaps(baseline));
    match (canary.len(), baseline.len()) {
        (0, 0) => format!("no data on either side: {counts}"),
        (0, _) => format!("no data of the canary: {counts}"),
        (_, 0) => format!("no data of the baseline: {counts}"),
        (c, b) if c.min(b) < analysis.at_least => format!("too few points: {counts}; at least {} are asked for", analysis.at_least),
        _ => format!("too few points to tell anything with {} % confidence: {counts}", short(analysis.confidence * 100.0)),
    }
}

/// What the verdict stands on, where that is not plain.
fn basis(canary: &CanarySample, baseline: &CanarySample) -> String {
    let mut said = String::new();
    let outliers = canary.outliers + baseline.outliers;
    if outliers > 0 {
        said += &format!("; {outliers} outliers left out");
    }
    let missing = canary.missing + baseline.missing;
    if missing > 0 {
        said += &format!("; {missing} points without a value");
    }
    if canary.len().min(baseline.len()) < WORTH_TRUSTING {
        said += &format!("; few points ({} and {}), {WORTH_TRUSTING} are worth trusting", canary.len(), baseline.len());
    }
    said
}

/// Four digits that count, without a tail of zeroes.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let magnitude = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}
