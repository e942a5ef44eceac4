//! Canary analysis: against R's `wilcox.test`, against all differences made one by one, and what may never happen: that
//! something without data promotes.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lastgreen::base::exit;
use lastgreen::judge::{CanaryAnalysis, CanaryVerdict, Verdict, judge_canary};
use proptest::prelude::*;
use serde_json::{Value, json};

fn judged(document: &Value) -> CanaryVerdict {
    judge_canary(&CanaryAnalysis::parse(&document.to_string()).expect("a document"))
}

/// 60 points around `middle`, a tenth of it apart at most.
fn around(middle: f64) -> Vec<f64> {
    (0..60).map(|i| middle * (1.0 + (f64::from(i * 7 % 60) - 29.5) / 300.0)).collect()
}

fn metric(name: &str, baseline: &[f64], canary: &[f64]) -> Value {
    json!({"name": name, "baseline": baseline, "canary": canary})
}

fn with(mut metric: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().expect("an object") {
        metric[key] = value.clone();
    }
    metric
}

fn close(ours: Option<f64>, theirs: &Value, scale: f64, what: &str) {
    let (ours, theirs) = (ours.expect("a number"), theirs.as_f64().expect("a number"));
    assert!((ours - theirs).abs() <= 1e-3 * theirs.abs().max(scale), "{what}: {ours}, R has {theirs}");
}

#[test]
fn it_agrees_with_r() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/canary/vectors.json");
    let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).expect("vectors")).expect("JSON");
    assert!(vectors.len() >= 10);
    for vector in vectors {
        let name = vector["name"].as_str().expect("a name");
        let verdict = judged(&json!({
            "confidence": vector["confidence"],
            "metrics": [{"name": name, "canary": vector["canary"], "baseline": vector["baseline"]}]
        }));
        let metric = &verdict.metrics[0];
        close(metric.lower, &vector["lower"], 0.1, name);
        close(metric.upper, &vector["upper"], 0.1, name);
        close(metric.estimate, &vector["estimate"], 0.1, name);
    }
}

#[test]
fn the_table_of_classifications() {
    let (base, higher, lower) = (around(100.0), around(130.0), around(70.0));
    for (canary, more, classification, verdict) in [
        (&base, json!({}), "pass", Verdict::Pass),
        (&higher, json!({}), "high", Verdict::Fail),
        (&lower, json!({}), "low", Verdict::Fail),
        // A change for the better.
        (&lower, json!({"direction": "increase"}), "pass", Verdict::Pass),
        (&higher, json!({"direction": "decrease"}), "pass", Verdict::Pass),
        (&higher, json!({"direction": "increase"}), "high", Verdict::Fail),
        (&lower, json!({"direction": "decrease"}), "low", Verdict::Fail),
        // Real, and small enough.
        (&higher, json!({"effect": {"measure": "mean_ratio", "allowed_increase": 1.5}}), "pass", Verdict::Pass),
        (&higher, json!({"effect": {"measure": "mean_ratio", "allowed_increase": 1.2}}), "high", Verdict::Fail),
        (&lower, json!({"effect": {"measure": "mean_ratio", "allowed_decrease": 0.5}}), "pass", Verdict::Pass),
        (&lower, json!({"effect": {"measure": "mean_ratio", "allowed_decrease": 0.8}}), "low", Verdict::Fail),
        (&higher, json!({"effect": {"measure": "cles", "allowed_increase": 0.9}}), "high", Verdict::Fail),
        (&higher, json!({"effect": {"measure": "cles", "allowed_increase": 1.0}}), "pass", Verdict::Pass),
    ] {
        let judged = judged(&json!({"metrics": [with(metric("m", &base, canary), &more)]}));
        assert_eq!(judged.metrics[0].classification.word(), classification, "{more}");
        assert_eq!(judged.verdict, verdict, "{more}");
        assert!(judged.metrics[0].reason.contains("98 % interval"), "{}", judged.metrics[0].reason);
    }
}

#[test]
fn critical_ones_fail_the_whole() {
    let (base, worse) = (around(100.0), around(130.0));
    let good: Vec<Value> = (0..30).map(|i| metric(&format!("m{i}"), &base, &base)).collect();
    let all = |bad: Value| json!({"metrics": good.iter().cloned().chain([bad]).collect::<Vec<_>>()});
    assert_eq!(judged(&all(metric("bad", &base, &worse))).verdict, Verdict::Pass, "one of 31");
    let by_name = judged(&all(with(metric("bad", &base, &worse), &json!({"critical": true}))));
    assert_eq!((by_name.verdict, by_name.reason.as_str()), (Verdict::Fail, "critical: bad"));
    let limits = |critical: f64| json!({"effect": {"measure": "mean_ratio", "critical_increase": critical}});
    let by_effect = judged(&all(with(metric("bad", &base, &worse), &limits(1.25))));
    assert_eq!((by_effect.verdict, by_effect.metrics[30].critical), (Verdict::Fail, true));
    assert_eq!(judged(&all(with(metric("bad", &base, &worse), &limits(1.5)))).verdict, Verdict::Pass);
    // It is critical, and nobody knows how it is.
    let unknown = judged(&all(with(metric("bad", &base, &[]), &json!({"critical": true}))));
    assert_eq!(unknown.verdict, Verdict::Unknown);
}

#[test]
fn groups_count_alike_and_weights_within_them() {
    let (base, worse) = (around(100.0), around(130.0));
    let document = |pass: f64, marginal: f64| {
        json!({"pass": pass, "marginal": marginal, "metrics": [
            with(metric("a", &base, &base), &json!({"group": "latency", "weight": 3})),
            with(metric("b", &base, &worse), &json!({"group": "latency", "weight": 1})),
            with(metric("c", &base, &base), &json!({"group": "errors"})),
            with(metric("d", &base, &worse), &json!({"group": "for the record", "weight": 0})),
        ]})
    };
    let verdict = judged(&document(95.0, 75.0));
    assert_eq!((verdict.score, verdict.verdict), (Some(87.5), Verdict::Warn));
    assert_eq!(judged(&document(85.0, 75.0)).verdict, Verdict::Pass);
    assert_eq!(judged(&document(95.0, 90.0)).verdict, Verdict::Fail);
    assert!(judged(&document(95.0, 90.0)).reason.contains("88 of 100, at least 90 is marginal: b, d"));
}

#[test]
fn what_cannot_be_known_is_unknown_with_the_reason() {
    let base = around(100.0);
    let gaps = json!([null, null, null]);
    for (baseline, canary, more, said) in [
        (json!(base), gaps.clone(), json!({}), "no data of the canary: canary 0 points (3 without a value), baseline 60"),
        (gaps.clone(), json!(base), json!({}), "no data of the baseline"),
        (gaps.clone(), json!([]), json!({}), "no data on either side"),
        (json!([1, 2, 3, 4]), json!([5, 6, 7, 8]), json!({}), "too few points to tell anything with 98 % confidence"),
        (json!(base), json!(base), json!({"at_least": 100}), "at least 100 are asked for"),
    ] {
        let metric = json!({"name": "m", "baseline": baseline, "canary": canary});
        let verdict = judged(&with(json!({"metrics": [metric]}), &more));
        assert_eq!((verdict.verdict, verdict.score), (Verdict::Unknown, None), "{said}");
        assert_eq!(verdict.metrics[0].classification.word(), "nodata");
        assert!(verdict.metrics[0].reason.contains(said), "{}", verdict.metrics[0].reason);
        assert_eq!((verdict.metrics[0].lower, verdict.metrics[0].effect), (None, None));
    }
    // Bad whatever the missing one would have said.
    let hopeless = judged(&json!({"metrics": [
        metric("bad", &base, &around(200.0)), json!({"name": "gone", "baseline": [], "canary": []})
    ]}));
    assert_eq!(hopeless.verdict, Verdict::Fail);
}

#[test]
fn a_ratio_across_zero_excuses_nothing() {
    let base: Vec<f64> = around(100.0).iter().map(|v| v - 120.0).collect();
    let worse: Vec<f64> = base.iter().map(|v| v + 15.0).collect();
    for baseline in [base, vec![0.0; 60]] {
        let limits = json!({"effect": {"measure": "mean_ratio", "allowed_increase": 5.0}});
        let verdict =
            judged(&json!({"metrics": [with(metric("m", &baseline, &worse.iter().map(|v| v + 30.0).collect::<Vec<_>>()), &limits)]}));
        assert_eq!(verdict.metrics[0].classification.word(), "high", "{:?}", verdict.metrics[0]);
        assert_eq!(verdict.metrics[0].effect, None);
        assert!(verdict.metrics[0].reason.contains("excuse nothing"));
    }
}

#[test]
fn what_no_number_can_say_is_unknown_and_excuses_nothing() {
    let overflown = judged(&json!({"metrics": [with(metric("m", &[-1e308; 50], &[1e308; 50]), &json!({"critical": true}))]}));
    assert_eq!((overflown.verdict, overflown.metrics[0].classification.word()), (Verdict::Unknown, "nodata"));
    let limits = json!({"effect": {"measure": "mean_ratio", "allowed_increase": 5.0}});
    let ratio = judged(&json!({"metrics": [with(metric("m", &[1e307; 50], &[3e307; 50]), &limits)]}));
    assert_eq!((ratio.verdict, ratio.metrics[0].classification.word()), (Verdict::Fail, "high"));
    let (_, out, _) = judge(&json!({"metrics": [metric("a\u{1b}[2J\u{7}", &[], &[])]}).to_string(), &[]);
    assert!(!out.contains('\u{1b}') && !out.contains('\u{7}'), "{out:?}");
}

#[test]
fn outliers_are_left_out_when_asked_for_and_said() {
    let base = around(100.0);
    let mut spiky = base.clone();
    spiky[0] = 1e6;
    let limits = json!({"effect": {"measure": "mean_ratio"}, "outliers": "iqr"});
    let verdict = judged(&json!({"metrics": [with(metric("m", &base, &spiky), &limits)]}));
    assert_eq!(verdict.metrics[0].points.canary, 59);
    assert!(verdict.metrics[0].reason.contains("1 outliers left out"), "{}", verdict.metrics[0].reason);
    assert!(verdict.metrics[0].effect.expect("an effect") < 1.1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The estimate is the median of all differences, and the interval lies around it; the order of points says nothing.
    #[test]
    fn it_is_the_median_of_all_differences(
        x in proptest::collection::vec(-20..20i32, 5..40),
        y in proptest::collection::vec(-2000..2000i32, 5..40),
        scale in prop_oneof![Just(1.0), Just(1e-9), Just(1e12)],
    ) {
        let x: Vec<f64> = x.iter().map(|v| f64::from(*v) * scale).collect();
        let y: Vec<f64> = y.iter().map(|v| f64::from(*v) * scale / 100.0).collect();
        let mut differences: Vec<f64> = x.iter().flat_map(|a| y.iter().map(move |b| a - b)).collect();
        differences.sort_unstable_by(f64::total_cmp);
        let half = differences.len() / 2;
        let median = if differences.len() % 2 == 1 { differences[half] } else { f64::midpoint(differences[half - 1], differences[half]) };
        let verdict = judged(&json!({"metrics": [metric("m", &y, &x)]}));
        let one = &verdict.metrics[0];
        prop_assert_eq!(one.estimate, Some(median));
        prop_assert!(one.lower <= one.estimate && one.estimate <= one.upper);
        prop_assert!(differences.contains(&one.lower.expect("a bound")) && differences.contains(&one.upper.expect("a bound")));
        let turned: Vec<f64> = x.iter().rev().copied().collect();
        prop_assert_eq!(judged(&json!({"metrics": [metric("m", &y, &turned)]})), verdict);
    }

    /// Whatever is missing, nothing passes with it.
    #[test]
    fn nothing_without_data_promotes(
        kept in proptest::collection::vec(any::<bool>(), 1..6),
        weight in 0.0..10.0f64,
        marginal in 0.0..95.0f64,
    ) {
        let base = around(50.0);
        let mut metrics: Vec<Value> = kept.iter().enumerate().map(|(i, kept)| {
            metric(&i.to_string(), &base, if *kept { &base } else { &[] })
        }).collect();
        metrics[0]["weight"] = json!(weight + 0.1);
        let verdict = judged(&json!({"marginal": marginal, "metrics": metrics}));
        prop_assert_eq!(verdict.verdict == Verdict::Pass, kept.iter().all(|k| *k));
    }
}

fn judge(document: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lastgreen"))
        .args(["canary", "judge", "-"])
        .args(arguments)
        .env_remove("LASTGREEN_CONFIG")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(document.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), words(&output.stdout), words(&output.stderr))
}

#[test]
fn the_command_line_needs_no_configuration_and_its_codes_are_those_of_status() {
    let (base, worse) = (around(100.0), around(130.0));
    let fine = metric("fine", &base, &base);
    let bad = metric("p95", &base, &worse);
    for (metrics, code) in [
        (json!([fine]), 0),
        (json!([with(fine.clone(), &json!({"weight": 4})), bad]), 1),
        (json!([bad]), 2),
        (json!([fine, metric("gone", &base, &[])]), 3),
    ] {
        let document = json!({"metrics": metrics}).to_string();
        let (status, out, _) = judge(&document, &["--json"]);
        assert_eq!(status, code, "{out}");
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(answer["metrics"].as_array().map(Vec::len), metrics.as_array().map(Vec::len));
        let (status, out, _) = judge(&document, &[]);
        assert_eq!(status, code);
        assert!(out.starts_with(&answer["verdict"].as_str().expect("a word").to_uppercase()), "{out}");
    }
    let (status, out, error) = judge("{\"metrics\": [{\"name\": 1}]}", &["--json"]);
    assert_eq!(status, i32::from(exit::BAD_FILE));
    assert!(error.contains("line 1 column 23"), "{error}");
    assert!(out.contains("\"bad-file\""), "{out}");
}

#[test]
fn the_answer_in_full() {
    let base = around(100.0);
    let document = json!({"metrics": [
        with(metric("p95", &base, &around(130.0)), &json!({"direction": "increase", "critical": true})),
        metric("gone", &base, &[]),
    ]});
    let (_, out, _) = judge(&document.to_string(), &["--json"]);
    insta::assert_snapshot!("canary_judge_json", out);
    let (_, out, _) = judge(&document.to_string(), &[]);
    insta::assert_snapshot!("canary_judge_text", out);
}

#[test]
fn a_shift_too_small_to_matter_is_neglected_even_beside_nothing() {
    let (none, little) = (vec![0.0; 60], (0..60).map(|i| 0.004 + f64::from(i % 3) * 0.001).collect::<Vec<f64>>());
    let limits = json!({"direction": "increase", "effect": {"measure": "mean_ratio", "allowed_increase": 10.0}});
    let metric = with(metric("errors", &none, &little), &limits);
    let verdict = |metric: &Value| {
        let (_, out, _) = judge(&json!({"metrics": [metric]}).to_string(), &["--json"]);
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        (answer["metrics"][0]["classification"].clone(), answer["metrics"][0]["reason"].to_string())
    };
    assert_eq!(verdict(&metric).0, "high", "a ratio to nothing excuses nothing");
    let (found, why) = verdict(&with(metric.clone(), &json!({"least": 0.01})));
    assert!(found == "pass" && why.contains("under 0.01, which is neglected"), "{why}");
    assert_eq!(verdict(&with(metric, &json!({"least": 0.001}))).0, "high");
}
