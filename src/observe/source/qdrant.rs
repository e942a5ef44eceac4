//! Qdrant over REST. Whether it is well is told by reading the collection itself: with a dirty shard every health page
//! still says 200. Counts are exact ones; the collection's own numbers are approximate.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::web::{Web, json, status_fault};
use super::{Answer, Boxed, Client, Identity, not_understood};
use crate::base::clock::Stamp;
use crate::base::secret::sanitize;
use crate::base::units::{Unit, short};
use crate::observe::reading::{Ask, Fact, Fault, FaultKind, Table, Value};

pub struct Qdrant {
    web: Web,
    /// The collection whose presence names the environment.
    main: Option<String>,
}

#[derive(Deserialize)]
struct QdrantEnvelope<T> {
    result: Option<T>,
    status: CollectionStatus,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CollectionStatus {
    Ok(String),
    Error { error: String },
}

#[derive(Deserialize)]
struct Info {
    status: String,
    optimizer_status: OptimizerStatus,
    segments_count: u64,
    indexed_vectors_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OptimizerStatus {
    Ok(String),
    Error { error: String },
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct SnapshotEntry {
    name: String,
    creation_time: Option<String>,
    size: u64,
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct Collections {
    collections: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Aliases {
    aliases: Vec<Alias>,
}

#[derive(Deserialize)]
struct Alias {
    alias_name: String,
    collection_name: String,
}

#[derive(Deserialize)]
struct Shards {
    #[serde(default)]
    local_shards: Vec<Shard>,
    #[serde(default)]
    remote_shards: Vec<Shard>,
}

#[derive(Deserialize)]
struct Shard {
    state: String,
}

#[derive(Deserialize)]
struct Cluster {
    status: String,
    #[serde(default)]
    message_send_failures: serde_json::Map<String, serde_json::Value>,
}

impl Qdrant {
    pub fn new(web: Web, main: Option<String>) -> Qdrant {
        Qdrant { web, main }
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Fault> {
        let response = self.web.send(request).await?;
        // A refused key is told in plain text, everything else in the envelope.
        let envelope: QdrantEnvelope<T> = match json(&response.body) {
            Ok(envelope) => envelope,
            Err(fault) if response.status.is_success() => return Err(fault),
            Err(_) => return Err(status_fault(response.status, &response.text())),
        };
        match (envelope.status, envelope.result) {
            (CollectionStatus::Error { error }, _) => Err(status_fault(response.status, &error)),
            (CollectionStatus::Ok(_), Some(result)) => Ok(result),
            (CollectionStatus::Ok(status), None) => {
                Err(Fault::new(FaultKind::Garbage, format!("the answer says `{status}` and nothing else")))
            }
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.call(self.web.get(path)?).await
    }

    async fn info(&self, collection: &str) -> Result<Info, Fault> {
        self.get(&path(collection, "")).await
    }

    async fn points(&self, collection: &str) -> Result<u64, Fault> {
        let request = self.web.request("POST", &path(collection, "/points/count"))?.json(&serde_json::json!({"exact": true}));
        Ok(self.call::<Count>(request).await?.count)
    }

    /// Newest first.
    async fn snapshots(&self, collection: &str) -> Result<Vec<SnapshotEntry>, Fault> {
        let mut all: Vec<SnapshotEntry> = self.get(&path(collection, "/snapshots")).await?;
        all.sort_by(|a, b| (&b.creation_time, &b.name).cmp(&(&a.creation_time, &a.name)));
        Ok(all)
    }

    /// How old the newest is that is whole.
    async fn newest(&self, collection: &str) -> Result<Option<Duration>, Fault> {
        let all = self.snapshots(collection).await?;
        Ok(all.iter().find(|snapshot| is_whole(snapshot, &all)).and_then(|snapshot| self.age(snapshot)))
    }

    fn age(&self, snapshot: &SnapshotEntry) -> Option<Duration> {
        let made = snapshot.creation_time.as_deref().and_then(Stamp::parse)?;
        Some(super::prometheus::now().since(Stamp(made.0 - self.web.skew())))
    }

    async fn overview(&self) -> Result<Value, Fault> {
        let all: Collections = self.get("collections").await?;
        let mut rows = Vec::new();
        for Named { name } in all.collections {
            rows.push(self.overview_of(&name).await?.to_vec());
        }
        let columns = ["collection", "status", "points", "newest snapshot"].map(String::from).to_vec();
        Ok(Value::Table(Table { columns, rows }))
    }

    /// One that cannot be read, or not whole, is what the operator must see, and not a reason to show none.
    async fn overview_of(&self, name: &str) -> Result<[String; 4], Fault> {
        let info = match self.info(name).await {
            Ok(info) => info,
            Err(fault) if fault.kind.is_of_source() => return Err(fault),
            Err(fault) => return Ok([sanitize(name), format!("unreadable: {fault}"), "?".into(), "?".into()]),
        };
        let mut status = meaning(&info.status);
        let mut said = |read: Result<String, Fault>| match read {
            Ok(text) => Ok(text),
            Err(fault) if fault.kind.is_of_source() => Err(fault),
            Err(fault) => {
                status = format!("unreadable: {fault}");
                Ok("?".to_string())
            }
        };
        let points = said(self.points(name).await.map(|points| Unit::Count.format(points as f64)))?;
        let newest = said(self.newest(name).await.map(|age| age.map_or_else(|| "none".into(), |age| format!("{} ago", short(age)))))?;
        Ok([sanitize(name), status, points, newest])
    }

    async fn fact(&self, c: &str, fact: Fact) -> Result<Value, Fault> {
        Ok(match fact {
            Fact::Status => Value::Text(sanitize(&self.info(c).await?.status)),
            Fact::Points => Value::Number(self.points(c).await? as f64),
            Fact::IndexedVectors => match self.info(c).await?.indexed_vectors_count {
                Some(count) => Value::Number(count as f64),
                None => return Err(Fault::new(FaultKind::Empty, "this server does not tell how many vectors are indexed")),
            },
            Fact::Segments => Value::Number(self.info(c).await?.segments_count as f64),
            Fact::Optimizer => Value::Text(match self.info(c).await?.optimizer_status {
                OptimizerStatus::Ok(word) => sanitize(&word),
                OptimizerStatus::Error { error } => sanitize(&format!("error: {error}")),
            }),
            Fact::SnapshotAge => match self.newest(c).await? {
                Some(age) => Value::Number(age.as_secs_f64()),
                None => return Err(Fault::new(FaultKind::Empty, format!("`{c}` has no whole snapshot"))),
            },
            Fact::Snapshots => {
                let all = self.snapshots(c).await?;
                let row = |s: &SnapshotEntry| {
                    let age = self.age(s).map_or_else(|| "?".into(), |age| format!("{} ago", short(age)));
                    let note = if is_whole(s, &all) { "" } else { " (not whole)" };
                    vec![sanitize(&s.name), age, Unit::Bytes.format(s.size as f64) + note]
                };
                let rows = all.iter().map(row).collect();
                Value::Table(Table { columns: ["snapshot", "made", "size"].map(String::from).to_vec(), rows })
            }
            Fact::InactiveReplicas => {
                let shards: Shards = self.get(&path(c, "/cluster")).await?;
                let inactive = shards.local_shards.iter().chain(&shards.remote_shards).filter(|s| s.state != "Active").count();
                Value::Number(inactive as f64)
            }
            Fact::Collections => self.overview().await?,
            Fact::Aliases => {
                let all: Aliases = self.get("aliases").await?;
                let rows = all.aliases.iter().map(|a| vec![sanitize(&a.alias_name), sanitize(&a.collection_name)]).collect();
                Value::Table(Table { columns: ["alias", "collection"].map(String::from).to_vec(), rows })
            }
            Fact::Cluster => {
                let cluster: Cluster = self.get("cluster").await?;
                let failing: Vec<_> = cluster.message_send_failures.keys().map(|peer| sanitize(peer)).collect();
                Value::Text(if failing.is_empty() {
                    sanitize(&cluster.status)
                } else {
                    format!("{}, cannot reach {}", sanitize(&cluster.status), failing.join(", "))
                })
            }
        })
    }
}

/// The path of a collection, or of something below it: a name may hold anything.
fn path(collection: &str, below: &str) -> String {
    format!("collections/{}{below}", utf8_percent_encode(collection, BESIDES))
}

/// What stands in a segment of a path as it is.
const BESIDES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Whether a file in the folder of snapshots is one that could be recovered: it holds something, and it has a checksum
/// where this server writes one.
fn is_whole(snapshot: &SnapshotEntry, all: &[SnapshotEntry]) -> bool {
    snapshot.size > 0 && (snapshot.checksum.is_some() || all.iter().all(|other| other.checksum.is_none()))
}

/// A status with what it means.
fn meaning(status: &str) -> String {
    match status {
        "green" => "green".into(),
        "yellow" => "yellow: optimizing".into(),
        "grey" => "grey: optimizations pending".into(),
        "red" => "red: an operation failed".into(),
        other => sanitize(other),
    }
}

impl Client for Qdrant {
    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            match ask {
                Ask::Qdrant { collection, fact } => Ok(Answer::now(self.fact(collection, *fact).await?)),
                other => Err(not_understood(other)),
            }
        })
    }

    fn identity(&self) -> Option<Boxed<'_, Identity>> {
        Some(Box::pin(async move {
            let Some(main) = &self.main else { return Ok(Vec::new()) };
            match self.info(main).await {
                Ok(_) => Ok(vec![("collection".into(), sanitize(main))]),
                Err(fault) if fault.kind == FaultKind::Empty => Ok(vec![("collection".into(), format!("{} is not there", sanitize(main)))]),
                Err(fault) => Err(fault),
            }
        }))
    }

    fn skew(&self) -> i64 {
        self.web.skew()
    }
}
