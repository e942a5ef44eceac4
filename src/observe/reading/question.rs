//! Questions: what can be asked of a source, and in which rhythm. Pure words; the clients that answer them live in
//! `source`.

use std::sync::Arc;
use std::time::Duration;

/// What is asked of a source. Each client understands its own kinds and refuses the others.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Ask {
    /// A PromQL query. Strict ones must not be answered in part.
    Promql {
        query: String,
        selectors: Vec<String>,
        strict: bool,
    },
    /// The alerts the source itself raises.
    Alerts,
    Sql {
        query: String,
        shape: Shape,
    },
    Health(Health),
    Qdrant {
        collection: String,
        fact: Fact,
    },
    /// An HTTP request that counts its failures in a row.
    Probe(ProbeSpec),
    /// A number or text out of a JSON answer.
    Json {
        path: String,
        pointer: String,
    },
    Redis {
        command: Vec<String>,
        field: Option<String>,
    },
    /// The output of the source's command; a JSON pointer picks from it.
    Output {
        pointer: Option<String>,
    },
}

/// What an SQL answer is read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One row, one number (or text).
    #[default]
    Scalar,
    /// Rows of `label, value`.
    Lines,
    Table,
    /// Rows of `at, kind, text, outcome`.
    Events,
}

impl Ask {
    /// What it has for an answer where that is rows or a list, in words.
    pub fn has_no_number(&self) -> Option<&'static str> {
        match self {
            Ask::Sql { shape: Shape::Table, .. } => Some("a table"),
            Ask::Sql { shape: Shape::Events, .. } => Some("a list of events"),
            Ask::Qdrant { fact: Fact::Collections | Fact::Aliases | Fact::Snapshots, .. } => Some("a table"),
            Ask::Alerts => Some("a list of alerts"),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct ProbeSpec {
    pub path: String,
    pub method: String,
    pub status: u16,
    /// A regular expression the body must match.
    pub body: Option<String>,
    /// Slower answers count as failures.
    pub within: Option<Duration>,
    /// Whose failures are counted, once it is asked.
    #[serde(default, skip)]
    pub signal: String,
    /// Who has not answered by then has failed, once it is asked.
    #[serde(default, skip)]
    pub timeout: Option<Duration>,
}

/// The fewest points a median is taken of.
pub const LEAST_PAST: usize = 10;

/// A question with its rhythm.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Question {
    pub name: Arc<str>,
    pub source: Arc<str>,
    pub ask: Ask,
    pub every: Duration,
    pub timeout: Duration,
    /// Keep the history of the chosen window, where the source can tell it.
    pub history: bool,
    /// Whom to ask when the source is away.
    pub or: Option<(Arc<str>, Ask)>,
    /// A text that is a number is meant as one.
    #[serde(default)]
    pub numbers: bool,
    /// And one that is not is no answer: it has a unit, and is compared with no text.
    #[serde(default)]
    pub only_numbers: bool,
    /// Ask about this long ago, or for the median over this long, instead of now.
    pub past: Option<Past>,
}

/// A question about the past, for baselines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum Past {
    Ago(Duration),
    Median(Duration),
}

/// What can be asked about a collection (or, for `Collections`, `Unwell`, `Aliases` and `Cluster`, about the server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// `green`, `yellow`, `grey` or `red`, when the collection can be read at all.
    Status,
    /// Points, counted exactly.
    Points,
    IndexedVectors,
    Segments,
    /// `ok`, or what the optimizer failed with.
    Optimizer,
    /// Seconds since the newest snapshot was made.
    SnapshotAge,
    Snapshots,
    /// Replicas that are not active.
    InactiveReplicas,
    /// Recoveries from a snapshot at work on the collection.
    Recovering,
    /// Snapshots of the collection being written.
    Snapshotting,
    /// Every collection with its status, points and newest snapshot.
    Collections,
    /// How many collections are red or cannot be read.
    Unwell,
    Aliases,
    /// `disabled`, `enabled`, and what is wrong.
    Cluster,
}

/// The questions about a database's own health that need no SQL of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Connections in use, as a ratio of the most there may be.
    Connections,
    /// Age of the oldest open transaction, in seconds.
    LongestTransaction,
    /// Sessions that wait for a lock.
    LocksWaiting,
    /// Seconds the most distant replica is behind; 0 without replicas.
    ReplicationLag,
    /// Ratio of block reads answered from memory.
    CacheHitRatio,
    /// Deadlocks since the statistics were reset.
    Deadlocks,
    /// Bytes on disk.
    Size,
}
