//! By how much one sample lies above another: the Hodges–Lehmann estimate (the median of all differences between a point
//! of the one and a point of the other) with the interval that belongs to the Mann–Whitney test. The normal approximation
//! with continuity correction and corrected for ties, as `wilcox.test(x, y, conf.int = TRUE, exact = FALSE)` of R gives
//! it; found by counting in the sorted samples, without ever making all n × m differences.

use statrs::distribution::{ContinuousCDF, Normal};

/// In the unit of the samples; `lower <= estimate <= upper`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    pub estimate: f64,
    pub lower: f64,
    pub upper: f64,
}

/// The shift of `x` against `y`, both sorted, finite and not empty. `None` if so few points can never show a difference
/// with this confidence, whatever they are.
pub fn shift(x: &[f64], y: &[f64], confidence: f64) -> Option<Shift> {
    if x.is_empty() || y.is_empty() || rarest(x.len(), y.len()) > 1.0 - confidence {
        return None;
    }
    let pairs = x.len() * y.len();
    let sigma = spread(x, y);
    let half = pairs as f64 / 2.0;
    let far = quantile(confidence) * sigma;
    let ranked = |greater: f64| nth_difference(x, y, (greater.floor() as i64 + 1).clamp(1, pairs as i64) as usize);
    // The test statistic as a function of the assumed shift falls in steps, one at each difference. Its step through the
    // quantile is that difference which as many others exceed as the statistic says.
    let lower = ranked(half + 0.5 + far);
    let upper = ranked(half - 0.5 - far);
    let middle = pairs.div_ceil(2);
    let estimate = if pairs.is_multiple_of(2) {
        nth_difference(x, y, middle).midpoint(nth_difference(x, y, middle + 1))
    } else {
        nth_difference(x, y, middle)
    };
    Some(Shift { estimate, lower: lower.min(estimate), upper: upper.max(estimate) })
}

/// How often (0 to 1) a point of `x` lies above one of `y`, ties counted half; both sorted.
pub fn superiority(x: &[f64], y: &[f64]) -> f64 {
    let (mut below, mut upto, mut wins) = (0, 0, 0.0);
    for value in x {
        while y.get(below).is_some_and(|v| v < value) {
            below += 1;
        }
        upto = upto.max(below);
        while y.get(upto).is_some_and(|v| v <= value) {
            upto += 1;
        }
        wins += (below + upto) as f64 / 2.0;
    }
    wins / (x.len() * y.len()) as f64
}

/// How probable the most extreme of all orders is by chance, in both directions together.
fn rarest(n: usize, m: usize) -> f64 {
    let orders: f64 = (1..=n.min(m)).map(|i| (n.max(m) + i) as f64 / i as f64).product();
    2.0 / orders
}

/// Standard deviation of the statistic, less for ties.
fn spread(x: &[f64], y: &[f64]) -> f64 {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let all = n + m;
    // For any shift but the few that make points of both meet, ties are those within a sample.
    let ties = ties(x) + ties(y);
    (n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).max(0.0).sqrt()
}

fn ties(sorted: &[f64]) -> f64 {
    sorted.chunk_by(|a, b| a == b).map(|same| same.len() as f64).map(|t| t * t * t - t).sum()
}

fn quantile(confidence: f64) -> f64 {
    Normal::standard().inverse_cdf(f64::midpoint(1.0, confidence))
}

/// The n-th largest of all differences `x - y`, counted from 1. Halves the range between the least and the most, each time
/// drawn in to differences that exist (many equal ones cost no more), until few are left to look at.
fn nth_difference(x: &[f64], y: &[f64], n: usize) -> f64 {
    let (Some(x_least), Some(x_most), Some(y_least), Some(y_most)) = (x.first(), x.last(), y.first(), y.last()) else { return 0.0 };
    let few = x.len() + y.len();
    // n or more differences are `low` or above, fewer than n above `high`.
    let (mut low, mut high) = (x_least - y_most, x_most - y_least);
    let (mut from_low, mut above_high) = (x.len() * y.len(), 0);
    while from_low - above_high > few && low < high {
        // Between neighbours the middle may be the upper one, which would not draw in anything.
        let middle = Some(low.midpoint(high)).filter(|m| *m < high).unwrap_or(low);
        let split = split(x, y, middle);
        if split.above >= n {
            (low, from_low) = (split.next_above, split.above);
        } else {
            (high, above_high) = (split.next_below, split.above);
        }
    }
    if low >= high {
        return high;
    }
    select(x, y, low, high, n - above_high)
}

struct Split {
    /// How many differences are larger than the bound.
    above: usize,
    /// The least of them.
    next_above: f64,
    /// The largest of the others.
    next_below: f64,
}

fn split(x: &[f64], y: &[f64], bound: f64) -> Split {
    let mut split = Split { above: 0, next_above: f64::INFINITY, next_below: f64::NEG_INFINITY };
    // The larger the point of x, the more of y lie far enough below it.
    let mut below = 0;
    for value in x {
        while y.get(below).is_some_and(|v| value - v > bound) {
            below += 1;
        }
        split.above += below;
        if let Some(v) = y.get(below) {
            split.next_below = split.next_below.max(value - v);
        }
        if let Some(v) = y.get(below.wrapping_sub(1)) {
            split.next_above = split.next_above.min(value - v);
        }
    }
    split
}

/// The n-th largest of the differences from `low` to `high`.
fn select(x: &[f64], y: &[f64], low: f64, high: f64, n: usize) -> f64 {
    let mut found = Vec::with_capacity(x.len() + y.len());
    let mut first = 0;
    for value in x {
        while y.get(first).is_some_and(|v| value - v > high) {
            first += 1;
        }
        found.extend(y[first..].iter().map(|v| value - v).take_while(|d| *d >= low));
    }
    let place = (n - 1).min(found.len().saturating_sub(1));
    found.select_nth_unstable_by(place, |a, b| b.total_cmp(a));
    found.get(place).copied().unwrap_or(high)
}
