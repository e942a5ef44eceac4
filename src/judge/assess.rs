//! Judging: from what was read to a verdict with a reason in words. The order of the checks is the law of the house:
//! first everything that makes a value unfit to judge by (all of it `unknown`), then `fail`, then `warn`, then `pass`. Of several
//! lines one that is no number makes `unknown` what is not `fail` by another.

use std::time::Duration;

use serde::Serialize;

use super::{Aggregate, Condition, Operand, Signal, Span, Verdict};
use crate::base::clock::Stamp;
use crate::base::text::{shared, telling};
use crate::base::units::short;
use crate::observe::reading::{Freshness, History, LabelledValue, Reading, Value};

/// Everything known about a signal at the moment of judging.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The newest answer, good or not.
    pub latest: Option<&'a Reading>,
    /// The newest good answer.
    pub good: Option<&'a Reading>,
    /// Readings as they came, for windows.
    pub recent: &'a History,
    pub baseline: Option<f64>,
    /// How many samples stand behind the value, when the signal asks for a minimum.
    pub samples: Option<f64>,
    pub now: Stamp,
}

/// What a verdict rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evidence {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Which of several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The condition that decided, or that held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
    /// Milliseconds since the value was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reason: String,
    pub freshness: Freshness,
    pub evidence: Evidence,
}

/// Judges a signal by its thresholds.
pub fn judge(signal: &Signal, observed: &Observed) -> Judgement {
    let freshness = Freshness::of(observed.good.map(|r| r.at), signal.interval, observed.now);
    let mut evidence = Evidence {
        age_ms: observed.good.map(|r| observed.now.since(r.at).as_millis() as u64),
        samples: observed.samples,
        ..Evidence::default()
    };
    let unknown = |reason: String, evidence: Evidence| Judgement { verdict: Verdict::Unknown, reason, freshness, evidence };
    let value = match usable(signal, observed, freshness) {
        Ok(value) => value,
        Err(reason) => return unknown(reason, evidence),
    };
    for (verdict, condition) in [(Verdict::Fail, &signal.fail), (Verdict::Warn, &signal.warn)] {
        let Some(condition) = condition else { continue };
        match evaluate(signal, condition, value, observed) {
            Err(reason) => return unknown(reason, evidence),
            // What is not known at all is worse than a warning.
            Ok(Hit::Yes { .. }) if verdict == Verdict::Warn && unfit(value).is_some() => {
                return unknown(unfit(value).unwrap_or_default(), evidence);
            }
            Ok(Hit::No(line)) => {
                evidence.value = line.as_ref().map(|l| l.value);
                evidence.condition = Some(condition.opposite().to_string());
            }
            Ok(Hit::Yes { reason, line }) => {
                evidence.value = line.as_ref().map(|l| l.value);
                evidence.label = line.map(|l| l.label.to_string()).filter(|l| !l.is_empty());
                evidence.condition = Some(condition.to_string());
                return Judgement { verdict, reason, freshness, evidence };
            }
        }
    }
    if let Some(reason) = unfit(value) {
        return unknown(reason, evidence);
    }
    let reason = match (&evidence.condition, evidence.value.or(value.number())) {
        (Some(condition), Some(value)) => format!("{}, {condition}", signal.shown(value)),
        (Some(condition), None) => condition.clone(),
        (None, _) => "no threshold".into(),
    };
    evidence.value = evidence.value.or(value.number());
    Judgement { verdict: Verdict::Pass, reason, freshness, evidence }
}

/// Whether a condition holds now, for rules. `Err` says why that cannot be known.
pub fn observe(signal: &Signal, condition: &Condition, observed: &Observed) -> Result<(bool, String), String> {
    let freshness = Freshness::of(observed.good.map(|r| r.at), signal.interval, observed.now);
    let value = usable(signal, observed, freshness)?;
    Ok(match evaluate(signal, condition, value, observed)? {
        Hit::Yes { reason, .. } => (true, reason),
        Hit::No(line) => {
            let limit = if let Operand::Number(limit) = condition.operand { limit } else { f64::NAN };
            let value = line.map_or_else(String::new, |l| signal.unit.format_beside(l.value, limit) + ", ");
            (false, format!("{value}{}", condition.opposite()))
        }
    })
}

/// The newest value, if it is fit to judge by; otherwise why not.
fn usable<'a>(signal: &Signal, observed: &Observed<'a>, freshness: Freshness) -> Result<&'a Value, String> {
    let age = |r: &Reading| short(observed.now.since(r.at));
    let Some(latest) = observed.latest else { return Err("nothing read yet".into()) };
    if let Err(fault) = &latest.outcome {
        return Err(match observed.good {
            Some(good) => format!("{fault} (last value {} ago)", age(good)),
            None => fault.to_string(),
        });
    }
    let value = match (freshness, latest.value()) {
        (Freshness::Missing, _) | (_, None) => return Err("nothing read yet".into()),
        (Freshness::Stale, Some(_)) if latest.at > observed.now => {
            return Err(format!("the value is from the future by {}: the clocks differ", short(latest.at.since(observed.now))));
        }
        (Freshness::Stale, Some(_)) => {
            return Err(format!("stale: the value is {} old, due every {}", age(latest), short(signal.interval)));
        }
        (Freshness::Live | Freshness::Late, Some(value)) => value,
    };
    if latest.partial {
        return Err(format!("partial answer: {}", latest.notes.first().map_or("some of the data is missing", String::as_str)));
    }
    if value.is_empty() {
        return Err("empty answer: no series, no row".into());
    }
    if let Some(at_least) = signal.at_least {
        match observed.samples {
            Some(n) if n.is_finite() && n >= at_least as f64 => {}
            Some(n) if n.is_finite() => return Err(format!("only {} of {at_least} samples", n.floor().max(0.0))),
            _ => return Err(format!("the number of samples is not known, {at_least} are needed")),
        }
    }
    Ok(value)
}

/// What of a value is no number to judge by, if any.
fn unfit(value: &Value) -> Option<String> {
    let line = value.lines().into_iter().find(|line| !line.value.is_finite())?;
    let what = if line.value.is_nan() { "not a number (nothing to divide by?)" } else { "infinite" };
    Some(if line.label.is_empty() { format!("the value is {what}") } else { format!("{}: the value is {what}", line.label) })
}

enum Hit {
    Yes {
        reason: String,
        line: Option<LabelledValue>,
    },
    /// The value nearest to crossing, when there are numbers.
    No(Option<LabelledValue>),
}

fn evaluate(signal: &Signal, condition: &Condition, value: &Value, observed: &Observed) -> Result<Hit, String> {
    if let Operand::Text(want) = &condition.operand {
        let text = match value {
            Value::Text(text) => text.as_str(),
            // Sources have their yes and no as numbers.
            Value::Number(1.0) if ["true", "false"].contains(&want.as_str()) => "true",
            Value::Number(0.0) if ["true", "false"].contains(&want.as_str()) => "false",
            _ => return Err(format!("`{condition}` wants a text, the answer is none")),
        };
        // What follows a colon only explains.
        let equal = text == want || text.strip_prefix(want.as_str()).is_some_and(|rest| rest.starts_with(": "));
        let holds = if condition.op == super::Op::Equal { equal } else { !equal };
        return Ok(if holds { Hit::Yes { reason: format!("{text} ({condition})"), line: None } } else { Hit::No(None) });
    }
    let limit = match condition.operand {
        Operand::Number(limit) => limit,
        Operand::Baseline(factor) => match observed.baseline {
            Some(baseline) if baseline.is_finite() => factor * baseline,
            _ => return Err("the baseline is not known yet".into()),
        },
        Operand::Text(_) => unreachable!("texts were handled above"),
    };
    // Whoever holds a text to a number means it as one.
    let meant = matches!(value, Value::Text(_)).then(|| value.clone().meant_as_number());
    let value = meant.as_ref().unwrap_or(value);
    // One line that cannot be told does not hide another that is bad; without a bad one nobody knows.
    let (mut lines, mut untold) = (Vec::new(), unfit(value));
    for line in value.lines().into_iter().filter(|line| line.value.is_finite()) {
        match condition.window.map_or(Ok(line.value), |(aggregate, span)| windowed(signal, observed, &line.label, aggregate, span)) {
            Ok(value) => lines.push(LabelledValue { label: line.label, value }),
            Err(why) => untold = untold.or(Some(why)),
        }
    }
    if lines.is_empty() {
        return Err(untold.unwrap_or_else(|| format!("`{condition}` wants a number, the answer has none")));
    }
    let worst = lines.into_iter().max_by(|a, b| distance(condition, a.value, limit).total_cmp(&distance(condition, b.value, limit)));
    Ok(match worst {
        Some(line) if condition.op.holds(line.value, limit) => {
            let usual = match condition.operand {
                Operand::Baseline(_) => format!(" ({})", signal.unit.format(limit)),
                _ => String::new(),
            };
            // What all lines have tells nothing; which it is stands in the evidence whole.
            let all = value.lines();
            let name = telling(&line.label, &shared(all.iter().map(|line| &*line.label)));
            let crossed = format!("{} {condition}{usual}", signal.unit.format_beside(line.value, limit));
            let reason = match name.chars().count() {
                0 => crossed,
                // Where it is cut the number has been said.
                n if n > LONG_LABEL => format!("{crossed}, {name}"),
                _ => format!("{name} {crossed}"),
            };
            Hit::Yes { reason, line: Some(line) }
        }
        worst => match untold {
            Some(why) => return Err(why),
            None => Hit::No(worst),
        },
    })
}

/// A name that is longer than this stands behind what is said of it.
const LONG_LABEL: usize = 24;

/// How far a value lies on the bad side of the limit; negative on the good side.
fn distance(condition: &Condition, value: f64, limit: f64) -> f64 {
    use super::Op;
    match condition.op {
        Op::Less | Op::AtMost => limit - value,
        Op::Greater | Op::AtLeast => value - limit,
        Op::Equal => -(value - limit).abs(),
        Op::Differs => (value - limit).abs(),
    }
}

/// One number for a window, or why there is none.
fn windowed(signal: &Signal, observed: &Observed, label: &str, aggregate: Aggregate, span: Span) -> Result<f64, String> {
    let nothing = || match observed.recent.dropped {
        0 => "nothing in the window yet".to_string(),
        n => format!("{n} series too many to keep the past of: aggregate them (sum, max, topk)"),
    };
    let series = observed.recent.lines.get(label).ok_or_else(nothing)?;
    let mut points: Vec<(Stamp, f64)> = match span {
        Span::Samples(n) => {
            let finite: Vec<_> = series.iter().filter(|(_, v)| v.is_finite()).collect();
            if finite.len() < n {
                return Err(format!("only {} of {n} samples", finite.len()));
            }
            let newest = finite[finite.len() - n..].to_vec();
            // Samples from before an outage do not make up for those that are missing since.
            let age = observed.now.since(newest[0].0);
            if age > signal.interval.saturating_mul(n as u32 + 1) * 3 {
                return Err(format!("the last {n} samples reach back {}", short(age)));
            }
            newest
        }
        Span::Time(time) => {
            let from = observed.now.minus(time);
            let finite: Vec<_> = series.since(from).filter(|(_, v)| v.is_finite()).collect();
            let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return Err(nothing()) };
            // A step's worth of slack: the window's edges rarely fall on readings.
            let seen: Duration = last.0.since(first.0) + signal.interval.min(time / 5);
            if seen < time.mul_f32(0.8) {
                return Err(format!("only {} of {} seen", short(seen), short(time)));
            }
            finite
        }
    };
    points.sort_by(|a, b| a.1.total_cmp(&b.1));
    let values = || points.iter().map(|(_, v)| *v);
    Ok(match aggregate {
        Aggregate::Mean => values().sum::<f64>() / points.len() as f64,
        Aggregate::Min => points[0].1,
        Aggregate::Max => points[points.len() - 1].1,
        Aggregate::Median => points[points.len() / 2].1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Unit;

    fn judged(fail: &str, warn: &str, lines: &[(&str, f64)]) -> (Verdict, String) {
        let lines = lines.iter().map(|(label, value)| LabelledValue { label: (*label).into(), value: *value }).collect();
        let reading = Reading::good(Stamp(0), "p", Value::Lines(lines));
        let condition = |text: &str| Some(Condition::parse(text, Unit::None).expect("a condition"));
        let (title, interval) = ("s".to_string(), Duration::from_secs(5));
        let (warn, fail) = (condition(warn), condition(fail));
        let signal = Signal { name: "s".into(), title, unit: Unit::None, warn, fail, baseline: None, at_least: None, interval };
        let recent = History::default();
        let seen = Observed { latest: Some(&reading), good: Some(&reading), recent: &recent, baseline: None, samples: None, now: Stamp(0) };
        let judgement = judge(&signal, &seen);
        (judgement.verdict, judgement.reason)
    }

    #[test]
    fn one_line_that_cannot_be_told_hides_no_other() {
        let bad = judged("> 5", "> 3", &[("svc=a job=x", f64::NAN), ("svc=b job=x", 9.0)]);
        assert_eq!(bad, (Verdict::Fail, "svc=b 9 > 5".into()));
        assert_eq!(judged("> 5", "> 3", &[("a", f64::NAN), ("b", 4.0)]).0, Verdict::Unknown, "worse than a warning");
        assert_eq!(judged("> 5", "> 3", &[("a", f64::NAN), ("b", 1.0)]).0, Verdict::Unknown);
    }
}
