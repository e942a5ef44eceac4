//! What a canary is judged by: pairs of signals over the same window, and how their points become an analysis.

use std::time::Duration;

use crate::base::clock::Stamp;
use crate::base::units::{Unit, short};
use crate::judge::{CanaryAnalysis, CanaryMetric, CanaryVerdict, Direction, Point, Verdict, judge_canary};
use crate::plan::runbook::{AnalysisSettings, MetricPair};

/// The points of one signal, in the order of time; or why they are not to be trusted.
pub type Compared = Result<Vec<(Stamp, f64)>, String>;

/// A while without points that is shorter than this is none: sources are asked now and then.
const A_WHILE: Duration = Duration::from_secs(10);

/// Judges the pairs by their points of a span. What cannot be trusted has none, and is said; nothing is good by points of a
/// part of the span alone.
pub fn compare(settings: &AnalysisSettings, (since, until): (Stamp, Stamp), points: &dyn Fn(&str) -> Compared) -> CanaryVerdict {
    let (mut faults, mut holes) = (Vec::new(), Vec::new());
    let mut of = |signal: &str| match points(signal) {
        Ok(mut points) => {
            points.retain(|(at, _)| *at >= since);
            holes.extend(hole(&points, since, until).map(|words| format!("{signal}: {words}")));
            points.into_iter().map(|(_, value)| Point::from(Some(value))).collect()
        }
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
    if let Some(first) = holes.first().filter(|_| matches!(verdict.verdict, Verdict::Pass | Verdict::Warn)) {
        (verdict.verdict, verdict.reason) = (Verdict::Unknown, first.clone());
    }
    verdict
}

/// What is far off already by the few points there are, in words: on the bad side of every point of what it would replace, by more
/// than is tolerated. It is no judgement, and speaks against one that is older.
pub fn far_off(settings: &AnalysisSettings, since: Stamp, points: &dyn Fn(&str) -> Compared) -> Option<String> {
    let range = |signal: &str| {
        let values = points(signal).ok()?.into_iter().filter(|(at, value)| *at >= since && value.is_finite()).map(|(_, value)| value);
        let around = |range: Option<(f64, f64)>, value: f64| range.map_or((value, value), |(low, high)| (low.min(value), high.max(value)));
        values.fold(None, |range, value| Some(around(range, value)))
    };
    settings.metrics.iter().find_map(|pair| {
        let ((low, high), (least, most)) = (range(&pair.canary)?, range(&pair.stable)?);
        let room = settings.tolerance * least.abs().max(most.abs());
        let is_off =
            pair.direction != Direction::Decrease && low > most + room || pair.direction != Direction::Increase && high < least - room;
        is_off.then(|| format!("{} is {} now, and {} of what it would replace", pair.name, span(low, high), span(least, most)))
    })
}

fn span(low: f64, high: f64) -> String {
    let number = |value| Unit::None.format(value);
    if low == high { number(low) } else { format!("{} to {}", number(low), number(high)) }
}

/// The longest while of a span without points, in words, where it is more than a third of it.
fn hole(points: &[(Stamp, f64)], since: Stamp, until: Stamp) -> Option<String> {
    let edges = std::iter::once(since).chain(points.iter().map(|(at, _)| *at));
    let next = points.iter().map(|(at, _)| *at).chain([until]);
    let longest = edges.zip(next).map(|(from, to)| to.since(from)).max().filter(|_| !points.is_empty())?;
    let whole = until.since(since);
    // A source that is asked seldom has few of them, far apart.
    let apart = whole / u32::try_from(points.len()).unwrap_or(u32::MAX);
    (longest > A_WHILE.max(whole / 3).max(apart * 3)).then(|| format!("no points for {} of {}", short(longest), short(whole)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Outliers;

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

    /// Of so many seconds, a point in each.
    const SPAN: (Stamp, Stamp) = (Stamp(1_000), Stamp(31_000));

    fn every_second(values: Vec<f64>) -> Compared {
        Ok(values.into_iter().zip(1..).map(|(value, n)| (Stamp(n * 1_000), value)).collect())
    }

    fn level(base: f64) -> Vec<f64> {
        (0..30).map(|i| base + f64::from(i % 7) * 0.001).collect()
    }

    fn good(signal: &str) -> Compared {
        every_second(level(if signal.starts_with("errors") { 0.01 } else { 1.0 }))
    }

    #[test]
    fn what_cannot_be_trusted_is_unknown_and_never_a_pass() {
        assert_eq!(compare(&settings(), SPAN, &good).verdict, Verdict::Pass);
        let worse = |signal: &str| every_second(level(if signal == "errors_canary" { 0.2 } else { 0.01 }));
        let verdict = compare(&settings(), SPAN, &worse);
        assert_eq!((verdict.verdict, verdict.reason.as_str()), (Verdict::Fail, "critical: errors"));
        let away = |signal: &str| if signal == "latency_stable" { Err("connection refused".into()) } else { every_second(level(0.01)) };
        let verdict = compare(&settings(), SPAN, &away);
        assert_eq!(verdict.verdict, Verdict::Unknown);
        assert!(verdict.reason.contains("latency_stable: connection refused"), "{}", verdict.reason);
        let few = |_: &str| every_second(vec![0.01; 9]);
        assert_eq!(compare(&settings(), SPAN, &few).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_few_points_that_are_far_off_are_said() {
        let of = |canary: &'static [f64], stable: &'static [f64]| {
            let points = move |signal: &str| every_second(if signal.ends_with("_canary") { canary.to_vec() } else { stable.to_vec() });
            far_off(&settings(), SPAN.0, &points)
        };
        assert_eq!(of(&[0.89], &[0.01, 0.02]).as_deref(), Some("errors is 0.89 now, and 0.01 to 0.02 of what it would replace"));
        for (canary, stable) in [(&[0.02][..], &[0.01, 0.02][..]), (&[0.024], &[0.02]), (&[0.01], &[0.89]), (&[], &[0.01]), (&[0.9], &[])] {
            assert_eq!(of(canary, stable), None, "{canary:?} {stable:?}");
        }
    }

    #[test]
    fn points_of_a_part_of_the_span_are_no_pass() {
        let without = |from: i64, to: i64| {
            let points = move |signal: &str| {
                let all = good(signal)?;
                let is_out = |at: Stamp| signal == "latency_canary" && (from..to).contains(&(at.0 / 1_000));
                Ok(all.into_iter().filter(|(at, _)| !is_out(*at)).collect())
            };
            compare(&settings(), SPAN, &points)
        };
        assert_eq!(without(3, 12).verdict, Verdict::Pass, "a short while is none");
        for (from, to) in [(0, 14), (9, 21), (18, 40)] {
            let verdict = without(from, to);
            assert_eq!(verdict.verdict, Verdict::Unknown, "{from} to {to}");
            assert!(verdict.reason.starts_with("latency_canary: no points for 1") && verdict.wants_points(), "{}", verdict.reason);
        }
        // What is bad already is bad.
        let worse = |signal: &str| every_second(level(if signal == "errors_canary" { 0.2 } else { 0.01 })[..18].to_vec());
        assert_eq!(compare(&settings(), SPAN, &worse).verdict, Verdict::Fail);
    }
}
