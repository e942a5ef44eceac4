//! Bounded history: a ring of (time, value) a line, and the lines of one signal together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{LabelledValue, Lines};
use crate::base::clock::Stamp;

/// The most points one line keeps. When it is full every second point of the older half goes, so that a long history
/// thins out with age instead of ending.
pub const MOST_POINTS: usize = 2048;
/// The most lines one signal keeps; a signal with more is cut, and the panel says so.
pub const MOST_LINES: usize = 256;

/// Values over time, in order. NaN marks a time at which there was no number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    points: VecDeque<(Stamp, f64)>,
}

impl Series {
    pub fn from_points(points: impl IntoIterator<Item = (Stamp, f64)>) -> Series {
        let mut series = Series::default();
        for (at, value) in points {
            series.push(at, value);
        }
        series
    }

    /// Adds a newer point; one that is not newer than the last is ignored.
    pub fn push(&mut self, at: Stamp, value: f64) {
        if self.points.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        if self.points.len() >= MOST_POINTS {
            let half = MOST_POINTS / 2;
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index > half || index % 2 == 0
            });
        }
        self.points.push_back((at, value));
    }

    /// Forgets what lies before `oldest`.
    pub fn trim(&mut self, oldest: Stamp) {
        while self.points.front().is_some_and(|(at, _)| *at < oldest) {
            self.points.pop_front();
        }
    }

    pub fn last(&self) -> Option<(Stamp, f64)> {
        self.points.back().copied()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Stamp, f64)> + '_ {
        self.points.iter().copied()
    }

    /// Points from `from` on.
    pub fn since(&self, from: Stamp) -> impl Iterator<Item = (Stamp, f64)> + '_ {
        let start = self.points.partition_point(|(at, _)| *at < from);
        self.points.range(start..).copied()
    }

    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The median of the finite values since `from`; `None` without any.
    pub fn median(&self, from: Stamp) -> Option<f64> {
        let mut values: Vec<f64> = self.since(from).map(|(_, v)| v).filter(|v| v.is_finite()).collect();
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let mid = values.len() / 2;
        Some(if values.len().is_multiple_of(2) { (values[mid - 1] + values[mid]) / 2.0 } else { values[mid] })
    }

    /// The value that held at `at`: the newest point not after it and not older than `within` before it.
    pub fn at(&self, at: Stamp, within: Duration) -> Option<f64> {
        let end = self.points.partition_point(|(t, _)| *t <= at);
        let (t, value) = *self.points.get(end.checked_sub(1)?)?;
        (at.since(t) <= within).then_some(value)
    }
}

/// The lines of one signal over time, in the order in which they were first seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub lines: IndexMap<Arc<str>, Series>,
    /// Lines beyond `MOST_LINES` that were not kept.
    pub dropped: usize,
}

impl History {
    /// Adds one reading's numbers.
    pub fn push(&mut self, at: Stamp, lines: &[LabelledValue]) {
        self.dropped = 0;
        for line in lines {
            if let Some(series) = self.line_mut(&line.label) {
                series.push(at, line.value);
            }
        }
    }

    /// Adds the tail of a range.
    pub fn extend(&mut self, tail: &Lines) {
        self.dropped = 0;
        for (label, points) in tail {
            if let Some(series) = self.line_mut(label) {
                for (at, value) in points {
                    series.push(*at, *value);
                }
            }
        }
    }

    /// What lies before the first of these points.
    #[must_use]
    pub fn before(mut self, newer: &Lines) -> History {
        let first = newer.iter().filter_map(|(_, points)| points.first()).map(|(at, _)| *at).min();
        let Some(first) = first else { return self };
        for series in self.lines.values_mut() {
            series.points.retain(|(at, _)| *at < first);
        }
        self.lines.retain(|_, series| !series.is_empty());
        self
    }

    fn line_mut(&mut self, label: &Arc<str>) -> Option<&mut Series> {
        if self.lines.len() >= MOST_LINES && !self.lines.contains_key(label) {
            self.dropped += 1;
            return None;
        }
        Some(self.lines.entry(label.clone()).or_default())
    }

    /// Forgets what lies before `oldest`, and lines of which nothing is left.
    pub fn trim(&mut self, oldest: Stamp) {
        self.lines.retain(|_, series| {
            series.trim(oldest);
            !series.is_empty()
        });
    }

    /// The only line, or the one without a label.
    pub fn single(&self) -> Option<&Series> {
        self.lines.get("").or_else(|| (self.lines.len() == 1).then(|| &self.lines[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_its_bound_and_its_ends() {
        let mut series = Series::default();
        for i in 0..10_000 {
            series.push(Stamp(i * 1000), i as f64);
        }
        assert!(series.len() <= MOST_POINTS);
        assert_eq!(series.last(), Some((Stamp(9_999_000), 9999.0)));
        let times: Vec<_> = series.iter().map(|(at, _)| at).collect();
        assert!(times.is_sorted());
        assert!(times[0] < Stamp((9_999 - MOST_POINTS as i64) * 1000), "old points thin out rather than vanish");
    }

    #[test]
    fn older_points_never_overwrite() {
        let mut series = Series::from_points([(Stamp(10), 1.0), (Stamp(20), 2.0)]);
        series.push(Stamp(20), 9.0);
        series.push(Stamp(15), 9.0);
        assert_eq!(series.iter().collect::<Vec<_>>(), [(Stamp(10), 1.0), (Stamp(20), 2.0)]);
        assert_eq!(series.at(Stamp(19), Duration::from_secs(1)), Some(1.0));
        assert_eq!(series.at(Stamp(9), Duration::from_secs(1)), None);
    }

    #[test]
    fn medians_ignore_what_is_no_number() {
        let series = Series::from_points([(Stamp(1), 1.0), (Stamp(2), f64::NAN), (Stamp(3), 3.0), (Stamp(4), 100.0)]);
        assert_eq!(series.median(Stamp(0)), Some(3.0));
        assert_eq!(series.median(Stamp(9)), None);
    }

    #[test]
    fn too_many_lines_are_counted() {
        let mut history = History::default();
        let lines: Vec<LabelledValue> = (0..300).map(|i| LabelledValue { label: format!("l{i}").into(), value: 1.0 }).collect();
        history.push(Stamp(1), &lines);
        assert_eq!((history.lines.len(), history.dropped), (MOST_LINES, 44));
    }
}
