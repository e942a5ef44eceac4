//! What sources deliver: readings, the tails of charts, and how the sources themselves are doing.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use super::{Fault, Reading};
use crate::base::clock::Stamp;

/// Points over time, by line.
pub type Lines = Vec<(Arc<str>, Vec<(Stamp, f64)>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Not asked yet.
    Starting,
    Up,
    /// Answers, but takes long.
    Slow,
    Failing,
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceHealth {
    pub kind: &'static str,
    pub state: SourceState,
    /// Since when it is in this state.
    pub since: Stamp,
    pub fault: Option<Fault>,
    pub next_try: Option<Stamp>,
    pub last_good: Option<Stamp>,
    pub took: Duration,
    /// What was reached by its own account, as `key=value`.
    pub identity: Vec<(String, String)>,
    /// Whether it was asked for that already.
    pub identified: bool,
    /// Something to know although it answers (clocks that differ).
    pub warning: Option<String>,
}

/// News for a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    pub window: Duration,
    pub step: Duration,
    /// The whole window: what was there before goes.
    pub whole: bool,
    pub lines: Lines,
}

impl Tail {
    /// Adds newer news to what nobody has picked up yet.
    pub fn join(&mut self, newer: Tail) {
        if newer.whole || newer.window != self.window {
            *self = newer;
            return;
        }
        for (label, points) in newer.lines {
            match self.lines.iter_mut().find(|(known, _)| *known == label) {
                Some((_, older)) => older.extend(points),
                None => self.lines.push((label, points)),
            }
        }
        // A reader that never comes must not make this grow: what is older than the window is of no use to it.
        let newest = self.lines.iter().filter_map(|(_, p)| p.last()).map(|(at, _)| *at).max().unwrap_or_default();
        let oldest = newest.minus(self.window);
        for (_, points) in &mut self.lines {
            points.retain(|(at, _)| *at >= oldest);
        }
    }
}

/// Everything that is new since the last look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    pub readings: IndexMap<Arc<str>, Reading>,
    pub tails: IndexMap<Arc<str>, Tail>,
    pub sources: IndexMap<Arc<str>, SourceHealth>,
}

impl Delivery {
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty() && self.tails.is_empty() && self.sources.is_empty()
    }
}
