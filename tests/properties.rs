//! Properties that hold for any input: nothing without fresh, finite, sufficient data ever passes, and nothing from
//! outside leaves its cell.

use std::time::Duration;

use lastgreen::base::clock::Stamp;
use lastgreen::base::text::{clean, fit, width};
use lastgreen::base::units::Unit;
use lastgreen::judge::{Baseline, Condition, Observed, Signal, Verdict, judge};
use lastgreen::observe::engine;
use lastgreen::observe::reading::{Fault, FaultKind, Freshness, History, LabelledValue, Reading, Value};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -10.0..10.0f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY), 1 => Just(0.0)]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        number().prop_map(Value::Number),
        proptest::collection::vec((".{0,8}", number()), 0..4)
            .prop_map(|lines| Value::Lines(lines.into_iter().map(|(label, value)| LabelledValue { label: label.into(), value }).collect())),
        ".{0,8}".prop_map(Value::Text),
        Just(Value::Table(Default::default())),
        Just(Value::Events(Vec::new())),
    ]
}

fn reading(now: i64) -> impl Strategy<Value = Reading> {
    (value(), -200_000..200_000i64, any::<bool>(), any::<bool>()).prop_map(move |(value, age, partial, good)| {
        let at = Stamp(now - age);
        if good {
            Reading { partial, ..Reading::good(at, "s", value) }
        } else {
            Reading::failed(at, "s", Fault::new(FaultKind::Timeout, "late"))
        }
    })
}

fn condition() -> impl Strategy<Value = Option<Condition>> {
    let texts = ["< 0.5", "> 3", ">= 0", "<= 1", "!= 2", "== green", "!= green", "> 3x baseline", "mean > 1 over 3", "max < 2 over 1m"];
    proptest::option::of(proptest::sample::select(texts.to_vec()).prop_map(|t| Condition::parse(t, Unit::None).expect("a condition")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn nothing_unfit_ever_passes(
        latest in proptest::option::of(reading(1_000_000_000)),
        warn in condition(),
        fail in condition(),
        points in proptest::collection::vec(number(), 0..6),
        baseline in proptest::option::of(number()),
        samples in proptest::option::of(number()),
        at_least in proptest::option::of(0..100u64),
    ) {
        let now = Stamp(1_000_000_000);
        let signal = Signal {
            name: "x".into(), title: "x".into(), unit: Unit::None, warn, fail,
            baseline: Some(Baseline::Median(Duration::from_secs(60))), at_least, interval: Duration::from_secs(10),
        };
        let mut recent = History::default();
        for (i, value) in points.iter().enumerate() {
            recent.push(Stamp(now.0 - 10_000 * (points.len() - i) as i64), &[LabelledValue { label: "".into(), value: *value }]);
        }
        let good = latest.as_ref().filter(|r| r.outcome.is_ok());
        let judgement = judge(&signal, &Observed { latest: latest.as_ref(), good, recent: &recent, baseline, samples, now });
        prop_assert!(!judgement.reason.is_empty());
        if judgement.verdict == Verdict::Pass {
            let reading = latest.as_ref().expect("a pass needs a reading");
            let value = reading.value().expect("a pass needs a good reading");
            prop_assert!(!reading.partial);
            prop_assert!(!value.is_empty());
            prop_assert!(value.lines().iter().all(|l| l.value.is_finite()), "{value:?}");
            let freshness = Freshness::of(Some(reading.at), signal.interval, now);
            prop_assert!(matches!(freshness, Freshness::Live | Freshness::Late), "{freshness:?}");
            if let Some(n) = at_least {
                prop_assert!(samples.is_some_and(|s| s >= n as f64));
            }
            for condition in [&signal.warn, &signal.fail].into_iter().flatten() {
                if condition.needs_baseline() {
                    prop_assert!(baseline.is_some_and(f64::is_finite));
                }
            }
        }
    }

    #[test]
    fn hostile_text_is_harmless(text in "\\PC*|[\\x00-\\x1f\\x7f\u{80}-\u{9f}\u{200b}-\u{202e}a-z]*", cells in 0usize..40) {
        let clean = clean(&text);
        prop_assert!(clean.chars().all(|c| !c.is_control()));
        prop_assert!(width(&fit(&clean, cells)) <= cells);
    }

    #[test]
    fn exposition_lines_are_read_or_counted(text in "[a-z_{}\"=,\\\\ 0-9.+\n#]{0,200}") {
        let page = engine::parse(&text, engine::Format::Text);
        let wanted = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).count();
        prop_assert_eq!(page.samples.len() + page.lost, wanted);
    }

    #[test]
    fn labels_survive_whatever_they_hold(value in "\\PC{0,40}") {
        let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let page = engine::parse(&format!("m{{a=\"{written}\",b=\"x\"}} 1\n"), engine::Format::Text);
        prop_assert_eq!(page.lost, 0, "{:?}", page.errors);
        prop_assert_eq!(&page.samples[0].labels[0].1, &value);
    }

    #[test]
    fn promql_is_answered_or_refused_and_never_panics(query in "[a-z0-9_(){}\\[\\]\"=~+*/^<>:.@, -]{0,60}") {
        let _ = engine::check(&query);
        let _ = engine::supported(&query);
    }
}
