//! Rules, and the objectives whose burn rates are rules too.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::file::FileShape;
use super::model::SignalConfig;
use super::resolver::Resolver;
use super::shape::{KindShape, SignalShape, SpannedText};
use crate::base::diag::suggestion;
use crate::base::units::Unit;
use crate::judge::{BurnRate, Condition, Level, NoData, Objective, Rule};
use crate::observe::reading::Question;

impl Resolver<'_> {
    pub(super) fn rules(&mut self, file: &FileShape, signals: &IndexMap<Arc<str>, SignalConfig>, left_out: &[Arc<str>]) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (name, (shape, span)) in &file.rules {
            let Some(on) = &shape.signal else {
                self.findings.error(span.clone(), format!("rule `{name}` has no signal"), None);
                continue;
            };
            if left_out.iter().any(|s| **s == **on.get_ref()) {
                continue;
            }
            let Some(signal) = signals.get(on.get_ref().as_str()) else {
                if !file.signals.contains_key(on.get_ref().as_str()) {
                    let hint = suggestion(on.get_ref(), signals.keys().map(AsRef::as_ref));
                    self.findings.error(on.span(), format!("there is no signal `{}`", on.get_ref()), hint);
                }
                continue;
            };
            if shape.when.is_none() {
                self.findings.error(span.clone(), format!("rule `{name}` has no condition"), Some("write when = \"> 7%\"".into()));
            }
            let Some(condition) = self.condition(shape.when.as_ref(), signal.signal.unit) else { continue };
            if let Some(text) = &shape.when {
                self.condition_makes_sense("when", text, &condition, signal.signal.unit, &signal.question.ask);
            }
            if condition.needs_baseline() && signal.signal.baseline.is_none() {
                self.findings.error(span.clone(), format!("signal `{}` has no baseline to compare with", on.get_ref()), None);
            }
            let Some(no_data) = shape.no_data else {
                let hint = Some("write no_data = \"unknown\", \"alert\" or \"keep\"".to_string());
                self.findings.error(span.clone(), format!("rule `{name}` does not say what no data means"), hint);
                continue;
            };
            let hold = shape.hold.as_ref().and_then(|text| self.duration(text)).unwrap_or_default();
            rules.push(Rule {
                name: name.clone(),
                signal: signal.signal.name.clone(),
                condition,
                hold,
                level: shape.level.unwrap_or(Level::Critical),
                no_data,
                summary: shape.summary.clone().unwrap_or_else(|| signal.signal.title.clone()),
                gap: gap(&signal.question, signal.signal.interval),
                runbook: shape.runbook.clone(),
            });
        }
        rules
    }

    /// Objectives, the signals that measure their burn rates, and the rules on those.
    pub(super) fn objectives(
        &mut self,
        file: &FileShape,
        signals: &mut Vec<(Arc<str>, SignalShape, Range<usize>)>,
    ) -> (Vec<Objective>, Vec<Rule>) {
        let (mut objectives, mut rules) = (Vec::new(), Vec::new());
        for (name, (shape, span)) in &file.slos {
            let (Some(target), Some(good), Some(total), Some(source)) = (&shape.objective, &shape.good, &shape.total, &shape.source) else {
                self.findings.error(span.clone(), format!("objective `{name}` needs objective, source, good and total"), None);
                continue;
            };
            let known = |text: &SpannedText| self.kinds.contains_key(text.get_ref().as_str());
            if !known(source) && !shape.or.as_ref().is_some_and(known) && file.is_shipped(source) {
                continue;
            }
            let ratio = match Unit::Ratio.parse(target.get_ref()) {
                Ok(ratio) if ratio > 0.0 && ratio < 1.0 => ratio,
                _ => {
                    self.findings.error(target.span(), "an objective lies between 0% and 100%", Some("write objective = \"99.5%\"".into()));
                    continue;
                }
            };
            let window = shape.window.as_ref().and_then(|w| self.duration(w)).unwrap_or(Duration::from_secs(30 * 86_400));
            if let Some(kind) = self.kinds.get(source.get_ref().as_str())
                && !matches!(kind, KindShape::Prometheus | KindShape::Scrape)
            {
                self.findings.error(source.span(), "an objective is asked in PromQL: of a prometheus or scrape source", None);
                continue;
            }
            let (Some(good), Some(total)) = (self.windowed(good), self.windowed(total)) else { continue };
            let objective = Objective { name: name.clone(), target: ratio, window, good, total };
            let no_data = file.slos[name].0.no_data.unwrap_or(NoData::Unknown);
            for rate in BurnRate::ALL {
                let signal: Arc<str> = format!("{name}_burn_{}", rate.long).into();
                let query = SpannedText::new(span.clone(), objective.query(rate));
                let shape = SignalShape {
                    title: Some(format!("{name} burn {}/{}", rate.long, rate.short)),
                    source: Some(source.clone()),
                    or: shape.or.clone(),
                    query: Some(query),
                    ..SignalShape::default()
                };
                signals.push((signal.clone(), shape, span.clone()));
                let Ok(condition) = Condition::parse(&format!("> {}", rate.factor), Unit::None) else { continue };
                rules.push(Rule {
                    name: format!("{name}_budget_burns_{}", rate.long).into(),
                    signal,
                    condition,
                    hold: Duration::ZERO,
                    level: if rate.critical { Level::Critical } else { Level::Warning },
                    no_data,
                    summary: format!("the error budget of {name} ({:.2} %) burns {}x too fast", ratio * 100.0, rate.factor),
                    gap: Duration::from_secs(120),
                    runbook: None,
                });
            }
            rules.extend(nonsense(name, no_data));
            objectives.push(objective);
        }
        (objectives, rules)
    }
}

/// More good ones than there are at all: one of the queries is not what it is taken for, and the burn rates are none.
fn nonsense(name: &str, no_data: NoData) -> Option<Rule> {
    Some(Rule {
        name: format!("{name}_good_exceeds_total").into(),
        signal: format!("{name}_burn_{}", BurnRate::ALL[0].long).into(),
        condition: Condition::parse("< -1", Unit::None).ok()?,
        hold: Duration::ZERO,
        level: Level::Warning,
        no_data,
        summary: format!("{name}: there are more good ones than there are at all, so one of its two queries is wrong"),
        gap: Duration::from_secs(120),
        runbook: None,
    })
}

/// The longest silence between two observations that still counts as watching.
fn gap(question: &Question, sampled: Duration) -> Duration {
    (question.every * 4).max(sampled * 3).max(Duration::from_secs(5))
}
