//! How a release is walked up, from `[canary]`: its steps, how long each bakes, and what it is judged by.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use crate::base::diag::suggestion;
use crate::base::units::{Unit, short};
use crate::config::model::SignalConfig;
use crate::config::resolver::Resolver;
use crate::config::shape::SpannedText;
use crate::judge::{Direction, EffectLimits, Measure, Outliers};
use crate::plan::runbook::{ALL, AnalysisSettings, CanarySettings, Gate, MetricPair, Weight};

const STEPS: [Weight; 5] = [0, 10, 25, 50, ALL];
const BAKE: Duration = Duration::from_secs(300);
/// Fewer points than this on either side are no data, unless the configuration says otherwise.
const AT_LEAST: usize = 50;

/// How a release is walked up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryShape {
    pub steps: Option<Spanned<Vec<Weight>>>,
    pub bake: Option<SpannedText>,
    pub warm_up: Option<SpannedText>,
    #[serde(default)]
    pub gates: Vec<String>,
    pub confidence: Option<f64>,
    pub tolerance: Option<f64>,
    pub pass: Option<f64>,
    pub marginal: Option<f64>,
    pub at_least: Option<usize>,
    #[serde(default)]
    pub metrics: IndexMap<String, Spanned<MetricPairShape>>,
}

impl CanaryShape {
    /// Whether signals are not there that it compares, because their source is not.
    pub fn is_left_out(&self, left_out: &[std::sync::Arc<str>]) -> bool {
        left_out.iter().any(|name| self.compares(name))
    }

    /// Whether a signal is one of those that it compares.
    pub fn compares(&self, signal: &str) -> bool {
        self.metrics.values().any(|pair| [&pair.get_ref().canary, &pair.get_ref().stable].iter().any(|text| *text.get_ref() == *signal))
    }
}

/// Two signals that ask the same of both tracks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricPairShape {
    pub canary: SpannedText,
    pub stable: SpannedText,
    pub direction: Option<Direction>,
    pub critical: Option<bool>,
    pub weight: Option<f64>,
    pub group: Option<String>,
    pub outliers: Option<Outliers>,
    pub effect: Option<EffectLimits>,
    /// A shift smaller than this, in the signals' unit, is neglected.
    pub least: Option<SpannedText>,
}

impl Resolver<'_> {
    pub(super) fn canary(
        &mut self,
        shape: &CanaryShape,
        span: &Range<usize>,
        signals: &IndexMap<Arc<str>, SignalConfig>,
        gates: &[Gate],
    ) -> Option<CanarySettings> {
        for name in shape.gates.iter().filter(|name| !gates.iter().any(|gate| gate.name == **name)) {
            let hint = suggestion(name, gates.iter().map(|gate| gate.name.as_str()));
            self.findings.error(span.clone(), format!("there is no gate `{name}`"), hint);
        }
        let steps = match &shape.steps {
            Some(list) => {
                let steps = list.get_ref().clone();
                if !steps.is_sorted_by(|a, b| a < b) || steps.last().is_some_and(|last| *last > ALL) || steps.is_empty() {
                    let hint = "write steps = [0, 10, 25, 50, 100]";
                    self.findings.error(list.span(), "the steps of a canary rise, from 0 to 100 per cent", Some(hint.into()));
                } else if steps == [0] {
                    self.findings.error(
                        list.span(),
                        "no step gives the canary any traffic",
                        Some("write steps = [0, 10, 25, 50, 100]".into()),
                    );
                }
                steps
            }
            None => STEPS.to_vec(),
        };
        let bake = match &shape.bake {
            Some(text) => self.duration(text)?,
            None => BAKE,
        };
        let warm_up = match &shape.warm_up {
            Some(text) => self.duration(text)?,
            None => Duration::ZERO,
        };
        if warm_up >= bake {
            let at = shape.warm_up.as_ref().map_or_else(|| span.clone(), SpannedText::span);
            self.findings.error(at, "nothing is left of the bake behind its `warm_up`", Some("make `bake` longer".into()));
        }
        if shape.metrics.is_empty() {
            let hint = "write [canary.metrics.errors] with canary = \"errors_canary\" and stable = \"errors_stable\", two signals";
            self.findings.error(span.clone(), "a canary has nothing to be judged by", Some(hint.into()));
        }
        let metrics = shape.metrics.iter().filter_map(|(name, pair)| self.pair(name, pair.get_ref(), pair.span(), signals)).collect();
        let mut number = |value: Option<f64>, default: f64, low: f64, high: f64, what: &str| {
            let value = value.unwrap_or(default);
            if !(low..=high).contains(&value) {
                self.findings.error(span.clone(), format!("{what} is {value}, and has to be from {low} to {high}"), None);
            }
            value
        };
        let pass = number(shape.pass, 95.0, 0.0, 100.0, "pass");
        let analysis = AnalysisSettings {
            confidence: number(shape.confidence, 0.98, 0.5, 0.999_999, "confidence"),
            tolerance: number(shape.tolerance, 0.25, 0.0, 10.0, "tolerance"),
            marginal: number(shape.marginal, 75.0_f64.min(pass), 0.0, pass, "marginal"),
            pass,
            at_least: shape.at_least.unwrap_or(AT_LEAST),
            metrics,
        };
        self.points_can_be_enough(&analysis, bake, span, signals);
        if analysis.at_least == 0 {
            self.findings.error(span.clone(), "at_least = 0 would judge by nothing", Some("write how many points, from 1".into()));
        }
        Some(CanarySettings { steps, bake, warm_up, gates: shape.gates.clone(), analysis })
    }

    /// A bake goes on for as long again where there are too few points, and no longer.
    fn points_can_be_enough(
        &mut self,
        analysis: &AnalysisSettings,
        bake: Duration,
        span: &Range<usize>,
        signals: &IndexMap<Arc<str>, SignalConfig>,
    ) {
        let asked = analysis.signals();
        let every = asked.iter().filter_map(|name| signals.get(name.as_str())).map(|signal| signal.question.every).max();
        let Some(every) = every.filter(|every| !every.is_zero()) else { return };
        let most = (bake.as_secs_f64() * 2.0 / every.as_secs_f64()) as usize;
        if most < analysis.at_least {
            let cause = format!(
                "at_least = {}: a bake of {} has {most} points at most, asked every {}",
                analysis.at_least,
                short(bake),
                short(every)
            );
            self.findings.warn(span.clone(), cause, Some("make `bake` longer, `interval` shorter, or at_least smaller".into()));
        }
    }

    fn pair(
        &mut self,
        name: &str,
        shape: &MetricPairShape,
        span: Range<usize>,
        signals: &IndexMap<Arc<str>, SignalConfig>,
    ) -> Option<MetricPair> {
        let mut signal = |text: &SpannedText| {
            let there = signals.get(text.get_ref().as_str());
            let none = there.and_then(|signal| signal.question.ask.has_no_number());
            if let Some(what) = none {
                self.findings.error(text.span(), format!("`{}` gives {what}: there is no number to compare", text.get_ref()), None);
            } else if there.is_none() {
                let hint = suggestion(text.get_ref(), signals.keys().map(AsRef::as_ref));
                self.findings.error(text.span(), format!("there is no signal `{}`", text.get_ref()), hint);
            }
            (there.is_some() && none.is_none()).then(|| text.get_ref().clone())
        };
        let (canary, stable) = (signal(&shape.canary), signal(&shape.stable));
        if canary.is_some() && canary == stable {
            self.findings.error(span.clone(), format!("`{name}` compares a signal with itself"), None);
        }
        let weight = shape.weight.unwrap_or(1.0);
        if !(0.0..=1e9).contains(&weight) {
            self.findings.error(span.clone(), format!("the weight of `{name}` is {weight}"), Some("write 0 or more".into()));
        }
        if weight == 0.0 && shape.critical != Some(true) {
            let hint = Some("write a weight, or critical = true".into());
            self.findings.warn(span.clone(), format!("`{name}` weighs nothing and is not critical: it decides nothing"), hint);
        }
        self.effect_makes_sense(name, shape.effect.as_ref(), &span);
        let unit = canary.as_ref().and_then(|name| signals.get(name.as_str())).map_or(Unit::None, |signal| signal.signal.unit);
        let least = shape.least.as_ref().and_then(|text| match unit.parse(text.get_ref()) {
            Ok(least) if least >= 0.0 => Some(least),
            _ => {
                let hint = Some("write it in the signals' unit: \"1%\", \"50ms\", \"3\"".into());
                self.findings.error(text.span(), format!("`{}` is no size of a shift", text.get_ref()), hint);
                None
            }
        });
        Some(MetricPair {
            least,
            name: name.to_string(),
            canary: canary?,
            stable: stable?,
            direction: shape.direction.unwrap_or_default(),
            critical: shape.critical.unwrap_or(false),
            weight,
            group: shape.group.clone().unwrap_or_default(),
            outliers: shape.outliers.unwrap_or_default(),
            effect: shape.effect,
        })
    }

    fn effect_makes_sense(&mut self, name: &str, effect: Option<&EffectLimits>, span: &Range<usize>) {
        let limits = effect.iter().flat_map(|effect| {
            let all = [effect.allowed_increase, effect.allowed_decrease, effect.critical_increase, effect.critical_decrease];
            all.into_iter().flatten().map(|limit| (effect.measure, limit))
        });
        for (measure, limit) in limits {
            let (is_one, hint) = match measure {
                Measure::Cles => ((0.0..=1.0).contains(&limit), "how often one lies above the other is from 0 to 1, and 0.5 no difference"),
                Measure::MeanRatio => (limit > 0.0 && limit.is_finite(), "one mean by the other is above 0, and 1 no difference"),
            };
            if !is_one {
                self.findings.error(span.clone(), format!("`{name}` has {limit} as a limit of its effect"), Some(hint.into()));
            }
        }
    }
}
