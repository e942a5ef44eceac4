//! What judging a canary costs: 100 metrics of 1,000 points on each side.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lastgreen::judge::{CanaryAnalysis, judge_canary};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

fn judging(criterion: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(7);
    let mut points = |shift: f64| -> Vec<f64> { (0..1_000).map(|_| shift - random.random::<f64>().ln() * 100.0).collect() };
    let metrics: Vec<_> =
        (0..100).map(|i| json!({"name": format!("m{i}"), "baseline": points(0.0), "canary": points(f64::from(i) / 4.0)})).collect();
    let analysis = CanaryAnalysis::parse(&json!({"metrics": metrics}).to_string()).expect("a document");
    criterion.bench_function("judge 100 metrics of 1,000 points", |bench| bench.iter(|| black_box(judge_canary(black_box(&analysis)))));
}

criterion_group!(benches, judging);
criterion_main!(benches);
