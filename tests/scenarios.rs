//! Scenarios as files: readings over time and the verdicts, reasons and rule phases that must follow from them.

use std::path::Path;
use std::sync::Arc;

use lastgreen::base::clock::Stamp;
use lastgreen::config::{Config, load_text};
use lastgreen::observe::reading::{Delivery, Fault, FaultKind, LabelledValue, Reading, Value};
use lastgreen::status::Store;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    config: String,
    step: Vec<Step>,
}

/// At a second: what arrives, and what must then hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: i64,
    #[serde(default)]
    arrives: Vec<Arrival>,
    #[serde(default)]
    expect: Vec<Expectation>,
    /// Repeats the step so often, a second apart.
    #[serde(default)]
    repeat: Option<i64>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrival {
    signal: String,
    value: Option<toml::Value>,
    fault: Option<String>,
    /// The value was observed so many seconds ago.
    #[serde(default)]
    age: i64,
    #[serde(default)]
    partial: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    signal: Option<String>,
    rule: Option<String>,
    verdict: Option<String>,
    phase: Option<String>,
    /// A part of the reason.
    because: Option<String>,
}

fn value(from: &toml::Value) -> Value {
    match from {
        toml::Value::Float(n) => Value::Number(*n),
        toml::Value::Integer(n) => Value::Number(*n as f64),
        toml::Value::String(text) => Value::Text(text.clone()),
        toml::Value::Table(lines) => Value::Lines(
            lines
                .iter()
                .map(|(label, n)| LabelledValue {
                    label: label.as_str().into(),
                    value: n.as_float().or(n.as_integer().map(|i| i as f64)).expect("a number"),
                })
                .collect(),
        ),
        toml::Value::Array(empty) if empty.is_empty() => Value::Lines(Vec::new()),
        other => panic!("no value: {other}"),
    }
}

fn deliver(store: &mut Store, config: &Config, arrivals: &[Arrival], now: Stamp) {
    let mut delivery = Delivery::default();
    for arrival in arrivals {
        let name: Arc<str> = arrival.signal.as_str().into();
        let at = Stamp(now.0 - arrival.age * 1000);
        let reading = match (&arrival.value, &arrival.fault) {
            (Some(v), None) => Reading { partial: arrival.partial, ..Reading::good(at, "test", value(v)) },
            (None, Some(words)) => Reading::failed(at, "test", Fault::new(FaultKind::Timeout, words)),
            _ => panic!("{name}: either a value or a fault arrives"),
        };
        delivery.readings.insert(name, reading);
    }
    store.apply(config, delivery, now);
}

fn check(file: &Path, store: &Store, config: &Config, step: &Step, at: i64) {
    for expected in &step.expect {
        let (verdict, phase, reason, what) = match (&expected.signal, &expected.rule) {
            (Some(signal), None) => {
                let judgement = &store.signals[signal.as_str()].judgement;
                (judgement.verdict, "", judgement.reason.clone(), signal)
            }
            (None, Some(rule)) => {
                let i = config.rules.iter().position(|r| *r.name == **rule).unwrap_or_else(|| panic!("no rule {rule}"));
                let state = &store.rules[i];
                (state.verdict(&config.rules[i]), state.word(), state.reason.clone(), rule)
            }
            _ => panic!("an expectation is about a signal or a rule"),
        };
        let place = format!("{} at {at} s: {what}: {reason}", file.display());
        if let Some(want) = &expected.verdict {
            assert_eq!(verdict.word(), want, "{place}");
        }
        if let Some(want) = &expected.phase {
            assert_eq!(phase, want, "{place}");
        }
        if let Some(part) = &expected.because {
            assert!(reason.contains(part), "{place}\n  does not say `{part}`");
        }
    }
}

fn play(file: &Path) {
    let text = std::fs::read_to_string(file).expect("readable");
    let scenario: Scenario = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let loaded = load_text(file, &scenario.config);
    let config = loaded.config.unwrap_or_else(|| panic!("{}: {:?}", file.display(), loaded.findings));
    let mut store = Store::new(&config);
    for step in &scenario.step {
        for i in 0..step.repeat.unwrap_or(1) {
            deliver(&mut store, &config, &step.arrives, Stamp((1_000_000 + step.at + i) * 1000));
        }
        check(file, &store, &config, step, step.at);
    }
}

#[test]
fn every_scenario_ends_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("scenarios").flatten().map(|e| e.path()).collect();
    files.sort();
    assert!(files.len() >= 5, "the scenarios are there");
    for file in files {
        play(&file);
    }
}
