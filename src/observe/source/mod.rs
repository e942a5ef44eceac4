//! Sources: one client a file, all behind [`Client`]; `poll` asks them on their intervals and leaves what they said in
//! the [`Mailbox`], latest wins. Nothing here knows what a signal means or that there is a screen.

mod alertmanager;
mod command;
mod database;
mod gate;
mod mailbox;
mod pg_url;
mod poll;
mod postgres;
mod probe;
mod prometheus;
mod qdrant;
mod redis;
mod rows;
mod scrape;
mod secrets;
mod session;
mod sqlite;
mod tls_words;
mod web;

pub use alertmanager::Alertmanager;
pub use command::{CommandClient, NAMED};
pub use database::Database;
pub use gate::Source;
pub use mailbox::Mailbox;
pub use pg_url::connect_options as postgres_options;
pub use poll::Poller;
pub use probe::Probe;
pub use prometheus::{Prometheus, read_answer};
pub use qdrant::{Qdrant, qdrant_fault, tasks_running};
pub use redis::Redis;
pub use scrape::{PageTarget, SO_FAR, Scrape, ScrapeOptions};
pub use secrets::fetch as fetch_secret;
pub use session::{Given, Session, literal};
pub use web::{Response, Web, json as web_json, status_fault};

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Stamp;
use crate::observe::reading::{Ask, Fault, FaultKind, Lines, Value, number_in};

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A good answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub value: Value,
    /// When it was true, when the source knows better than "now".
    pub at: Option<Stamp>,
    pub notes: Vec<String>,
    pub partial: bool,
    /// Why the source is away, where that is the answer.
    pub away: Option<Fault>,
}

impl Answer {
    pub fn now(value: Value) -> Answer {
        Answer { value, at: None, notes: Vec::new(), partial: false, away: None }
    }
}

/// `key=value` pairs that name what was reached, or why that could not be told.
pub type Identity = Result<Vec<(String, String)>, Fault>;

/// One kind of source.
/// The newest sample behind a selector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastSample {
    pub at: Stamp,
    /// There is none any more: its target has gone, or does not answer.
    pub gone: bool,
}

pub trait Client: Send + Sync + 'static {
    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>>;

    /// Whether [`Client::range`] can answer this.
    fn has_range(&self, _ask: &Ask) -> bool {
        false
    }

    /// Values over a range, aligned to the step.
    fn range<'a>(&'a self, ask: &'a Ask, _start: Stamp, _end: Stamp, _step: Duration) -> Boxed<'a, Result<(Lines, Answer), Fault>> {
        let fault = not_understood(ask);
        Box::pin(async move { Err(fault) })
    }

    /// The newest sample behind each selector. One that has never had any, as far as is known, is absent.
    fn newest<'a>(&'a self, _selectors: &'a [String]) -> Boxed<'a, Result<HashMap<String, LastSample>, Fault>> {
        Box::pin(async { Ok(HashMap::new()) })
    }

    /// Whether the source is there: asked of one that no signal asks.
    fn there(&self) -> Boxed<'_, Result<(), Fault>>;

    /// What was reached, by its own account: `key=value` pairs that name the environment. `None` where there is none.
    fn identity(&self) -> Option<Boxed<'_, Identity>> {
        None
    }

    /// What there is that a question can name: metrics, collections. Empty where nobody can tell.
    fn names(&self) -> Boxed<'_, Result<Vec<String>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Something to know about the source although it answers.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// How far the source's clock is ahead of ours, in milliseconds, when that is known and matters.
    fn skew(&self) -> i64 {
        0
    }

    /// Work of the source's own, run for as long as it is polled.
    fn background(self: Arc<Self>) -> Option<Boxed<'static, ()>> {
        None
    }
}

/// The fault of asking a client something it does not speak: a mistake in the configuration.
fn not_understood(ask: &Ask) -> Fault {
    let what = match ask {
        Ask::Promql { .. } => "PromQL",
        Ask::Alerts => "alerts",
        Ask::Sql { .. } => "SQL",
        Ask::Health(_) => "database health",
        Ask::Qdrant { .. } => "Qdrant collections",
        Ask::Probe(_) => "HTTP probes",
        Ask::Json { .. } => "JSON over HTTP",
        Ask::Redis { .. } => "Redis commands",
        Ask::Output { .. } => "command output",
    };
    Fault::new(FaultKind::Query, format!("this kind of source does not answer {what}"))
}

/// A number, a text or lines out of a JSON document.
fn from_json(document: &serde_json::Value, pointer: &str) -> Result<Value, Fault> {
    use serde_json::Value as Json;
    let found = document.pointer(pointer).ok_or_else(|| Fault::new(FaultKind::Query, format!("the answer has nothing at `{pointer}`")))?;
    let number = |v: &Json| match v {
        Json::Number(n) => n.as_f64(),
        Json::Bool(b) => Some(f64::from(u8::from(*b))),
        Json::String(s) => number_in(s),
        // What is there without a value is not nothing.
        Json::Null => Some(f64::NAN),
        _ => None,
    };
    match found {
        Json::Array(items) => Ok(Value::Number(items.len() as f64)),
        Json::Object(map) => {
            let line = |(name, v): (&String, &Json)| {
                let label: std::sync::Arc<str> = crate::base::secret::sanitize(name).into();
                // What is left aside would leave the judgement with it.
                let none =
                    || Fault::new(FaultKind::Garbage, format!("`{label}` is no number: point at one member, or at an object of numbers"));
                Ok(crate::observe::reading::LabelledValue { value: number(v).ok_or_else(none)?, label: label.clone() })
            };
            map.iter().map(line).collect::<Result<Vec<_>, Fault>>().map(Value::Lines)
        }
        Json::Null => Err(Fault::new(FaultKind::Empty, format!("the answer has null at `{pointer}`"))),
        // Whether a text is meant as a number the signal says.
        Json::String(text) => Ok(Value::Text(crate::base::secret::sanitize(text))),
        other => number(other).map(Value::Number).ok_or_else(|| Fault::new(FaultKind::Garbage, "neither a number nor a text")),
    }
}
