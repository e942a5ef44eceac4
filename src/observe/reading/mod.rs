//! Readings: what a source said, when, and how long it took, or the error it gave; their bounded history; and how
//! fresh they are. Pure: no clock, no I/O.

mod delivery;
mod fault;
mod freshness;
mod question;
mod series;
mod value;

pub use delivery::{Delivery, Lines, SourceHealth, SourceState, Tail};
pub use fault::{Fault, FaultKind};
pub use freshness::Freshness;
pub use question::{Ask, Fact, Health, LEAST_PAST, Past, ProbeSpec, Question, Shape};
pub use series::{History, MOST_LINES, Series};
pub use value::{Alert, AlertState, EventOutcome, LabelledValue, SourceEvent, Table, Value, distinct, number_in};

use std::time::Duration;

use crate::base::clock::Stamp;

/// One answer of a source to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When the value was true, by the clock of whoever observed it: a sample's own time, not the answer's.
    pub at: Stamp,
    /// When the answer arrived here.
    pub received: Stamp,
    /// How long the question took.
    pub took: Duration,
    /// Who answered: the name of the source, which is the second one when the first was away.
    pub via: std::sync::Arc<str>,
    pub outcome: Result<Value, Fault>,
    /// What the source said besides (warnings, infos), cleaned.
    pub notes: Vec<String>,
    /// The source said itself that something is missing from the answer.
    pub partial: bool,
}

impl Reading {
    /// A good, whole reading, as tests and local computations make them.
    pub fn good(at: Stamp, via: &str, value: Value) -> Reading {
        Reading { at, received: at, took: Duration::ZERO, via: via.into(), outcome: Ok(value), notes: Vec::new(), partial: false }
    }

    pub fn failed(at: Stamp, via: &str, fault: Fault) -> Reading {
        Reading { at, received: at, took: Duration::ZERO, via: via.into(), outcome: Err(fault), notes: Vec::new(), partial: false }
    }

    pub fn value(&self) -> Option<&Value> {
        self.outcome.as_ref().ok()
    }
}
