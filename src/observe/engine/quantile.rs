//! `histogram_quantile` over classic buckets, as Prometheus computes it: the evaluator's own differs where the rank lies
//! above the highest bound.

use std::collections::HashMap;

use super::sampled::{Labels, Sampled};
use crate::base::clock::Stamp;

/// The buckets (upper bound, count) of one group at one time.
type Buckets = HashMap<(Labels, Stamp), Vec<(f64, f64)>>;

/// `histogram_quantile`, as Prometheus computes it for classic buckets.
pub(super) fn quantiles(series: Vec<Sampled>, phi: f64) -> Vec<Sampled> {
    let mut groups: Buckets = HashMap::new();
    for one in &series {
        let Some(bound) = one.label("le").and_then(|le| le.parse::<f64>().ok()) else { continue };
        let labels: Vec<_> = one.labels.iter().filter(|(n, _)| n != "le" && n != "__name__").cloned().collect();
        for (at, value) in &one.points {
            groups.entry((labels.clone(), *at)).or_default().push((bound, *value));
        }
    }
    let mut out: HashMap<Labels, Vec<(Stamp, f64)>> = HashMap::new();
    for ((labels, at), buckets) in groups {
        out.entry(labels).or_default().push((at, quantile(phi, buckets)));
    }
    out.into_iter()
        .map(|(labels, mut points)| {
            points.sort_by_key(|(at, _)| *at);
            Sampled { labels, points }
        })
        .collect()
}

fn quantile(phi: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Bounds written in two ways ("1" and "1.0") are one bucket.
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    // Counts grow; rates of counters that are equal differ in their last digits.
    let mut highest = buckets.first().map_or(0.0, |first| first.1);
    for bucket in buckets.iter_mut().skip(1) {
        if bucket.1 < highest || are_equal(bucket.1, highest) {
            bucket.1 = highest;
        }
        highest = bucket.1;
    }
    let Some((last_bound, total)) = buckets.last().copied() else { return f64::NAN };
    if buckets.len() < 2 || last_bound != f64::INFINITY || total.is_nan() || total == 0.0 || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let rank = phi * total;
    let index = buckets[..buckets.len() - 1].partition_point(|(_, count)| *count < rank);
    if index == buckets.len() - 1 {
        return buckets[buckets.len() - 2].0;
    }
    let (bound, count) = buckets[index];
    if index == 0 && bound <= 0.0 {
        return bound;
    }
    let (start, before) = if index == 0 { (0.0, 0.0) } else { buckets[index - 1] };
    start + (bound - start) * ((rank - before) / (count - before))
}

/// Whether two counts differ by no more than sums of the same numbers in another order do.
fn are_equal(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() / (a.abs() + b.abs()).min(f64::MAX) < SMALL
}

const SMALL: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_as_prometheus_takes_them() {
        let inf = f64::INFINITY;
        let cases = [
            (0.5, vec![(1.0, 10.0), (2.0, 20.0), (inf, 20.0)], 1.0),
            (0.75, vec![(1.0, 10.0), (2.0, 20.0), (inf, 20.0)], 1.5),
            (0.99, vec![(1.0, 10.0), (2.0, 20.0), (inf, 100.0)], 2.0),
            (1.0, vec![(1.0, 10.0), (2.0, 10.0), (inf, 10.0)], 1.0),
            (1.0, vec![(0.1, 0.3), (0.5, 0.1 + 0.2), (inf, 0.1 + 0.2)], 0.1),
            (0.5, vec![(inf, 10.0)], f64::NAN),
            (0.5, vec![(1.0, 0.0), (inf, 0.0)], f64::NAN),
        ];
        for (phi, buckets, want) in cases {
            let got = quantile(phi, buckets.clone());
            assert!(got == want || got.is_nan() && want.is_nan(), "{phi} of {buckets:?}: {got}, not {want}");
        }
    }
}
