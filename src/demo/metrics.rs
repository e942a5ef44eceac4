//! Counters and histograms of the stand-in service, and their exposition page.

use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }
}

/// Everything measured, by metric and labels as they are written: `code="200",track="stable"`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    counters: BTreeMap<&'static str, BTreeMap<String, f64>>,
    gauges: BTreeMap<&'static str, BTreeMap<String, f64>>,
    histograms: BTreeMap<&'static str, BTreeMap<String, Histogram>>,
}

impl Metrics {
    pub fn count(&mut self, name: &'static str, labels: &str, by: f64) {
        *self.counters.entry(name).or_default().entry(labels.to_string()).or_default() += by;
    }

    pub fn set(&mut self, name: &'static str, labels: &str, value: f64) {
        self.gauges.entry(name).or_default().insert(labels.to_string(), value);
    }

    pub fn observe(&mut self, name: &'static str, labels: &str, bounds: &'static [f64], value: f64) {
        let series = self.histograms.entry(name).or_default();
        match series.get_mut(labels) {
            Some(histogram) => histogram.observe(value),
            None => series.entry(labels.to_string()).or_insert_with(|| Histogram::new(bounds)).observe(value),
        }
    }

    /// The exposition page. Writing into a string cannot fail.
    pub fn page(&self) -> String {
        let mut out = String::new();
        for (kind, families) in [("counter", &self.counters), ("gauge", &self.gauges)] {
            for (name, series) in families {
                let _ = writeln!(out, "# TYPE {name} {kind}");
                for (labels, value) in series {
                    let _ = writeln!(out, "{name}{} {value}", braces(labels));
                }
            }
        }
        for (name, series) in &self.histograms {
            let _ = writeln!(out, "# TYPE {name} histogram");
            for (labels, histogram) in series {
                let comma = if labels.is_empty() { "" } else { "," };
                let mut total = 0;
                for (i, count) in histogram.counts.iter().enumerate() {
                    total += count;
                    let bound = histogram.bounds.get(i).map_or_else(|| "+Inf".to_string(), |b| b.to_string());
                    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
                }
                let _ = writeln!(out, "{name}_sum{} {}", braces(labels), histogram.sum);
                let _ = writeln!(out, "{name}_count{} {total}", braces(labels));
            }
        }
        out
    }
}

fn braces(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}
