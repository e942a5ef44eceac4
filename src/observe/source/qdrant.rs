//! Qdrant over REST. Whether it is well is told by reading the collection itself: with a dirty shard every health page
//! still says 200. Counts are exact ones; the collection's own numbers are approximate.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde::Deserialize;

use super::web::{Web, another_service, json, status_fault};
use super::{Answer, Boxed, Client, Identity, not_understood};
use crate::base::clock::Stamp;
use crate::base::secret::sanitize;
use crate::base::units::Unit;
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
    raft_info: Option<Raft>,
    consensus_thread_status: Option<Consensus>,
}

#[derive(Deserialize)]
struct Raft {
    leader: Option<u64>,
}

#[derive(Deserialize)]
struct Consensus {
    consensus_thread_status: String,
    err: Option<String>,
}

/// How many collections are asked at once.
/// How far a server's clock may be ahead before what it dates is not believed.
const AHEAD: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 8;
/// The share of a question's time after which what is not there yet is left out.
const ENOUGH: f64 = 0.8;

/// What a server at work for a collection is doing, by its metrics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Recovery,
    Snapshot,
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
            Err(_) if response.status.is_success() || response.status == 404 => return Err(another_service("a Qdrant", &response)),
            Err(_) => return Err(qdrant_fault(response.status, &response.text())),
        };
        match (envelope.status, envelope.result) {
            (CollectionStatus::Error { error }, _) => Err(qdrant_fault(response.status, &error)),
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

    /// How many tasks of that sort are at work on a collection; `None` where the server does not say.
    async fn at_work(&self, task: Task, collection: &str) -> Option<u64> {
        let response = self.web.send(self.web.get("metrics").ok()?).await.ok()?;
        if !response.status.is_success() {
            return None;
        }
        let family = match task {
            Task::Recovery => "snapshot_recovery_running",
            Task::Snapshot => "snapshot_creation_running",
        };
        tasks_running(&response.text(), family, Some(collection))
    }

    /// The collection itself, behind an alias too.
    async fn real_name(&self, name: &str) -> Result<String, Fault> {
        let all: Aliases = self.get("aliases").await?;
        Ok(all.aliases.into_iter().find(|a| a.alias_name == name).map_or_else(|| name.to_string(), |a| a.collection_name))
    }

    async fn running(&self, task: Task, collection: &str) -> Result<f64, Fault> {
        let real = self.real_name(collection).await?;
        let known = self.at_work(task, &real).await;
        known.map(|n| n as f64).ok_or_else(|| Fault::new(FaultKind::Empty, "this server does not say what is at work on a collection"))
    }

    /// Whether a recovery is at work on a collection: then what it says of itself does not last.
    async fn recovering(&self, collection: &str) -> bool {
        let real = self.real_name(collection).await.unwrap_or_else(|_| collection.to_string());
        self.at_work(Task::Recovery, &real).await.is_some_and(|n| n > 0)
    }

    /// The status in words that a condition can be held to: `red: …` is `red`.
    async fn status(&self, collection: &str) -> Result<String, Fault> {
        let (info, recovering) = tokio::join!(self.info(collection), self.recovering(collection));
        Ok(match info {
            _ if recovering => "yellow: a recovery is under way, what is written meanwhile is lost".into(),
            Ok(info) => sanitize(&info.status),
            Err(fault) if fault.kind == FaultKind::Empty => format!("red: there is no collection {}", sanitize(collection)),
            Err(fault) if fault.message == DAMAGED => format!("red: {DAMAGED}"),
            Err(fault) => return Err(fault),
        })
    }

    /// Newest first.
    async fn snapshots(&self, collection: &str) -> Result<Vec<SnapshotEntry>, Fault> {
        let mut all: Vec<SnapshotEntry> = self.get(&path(collection, "/snapshots")).await?;
        all.sort_by(|a, b| (&b.creation_time, &b.name).cmp(&(&a.creation_time, &a.name)));
        Ok(all)
    }

    /// When the newest was made that is whole.
    async fn newest(&self, collection: &str) -> Result<Option<Stamp>, Fault> {
        let all = self.snapshots(collection).await?;
        Ok(all.iter().find(|snapshot| is_whole(snapshot, &all)).and_then(|snapshot| self.made(snapshot)))
    }

    /// By our own clock.
    fn made(&self, snapshot: &SnapshotEntry) -> Option<Stamp> {
        let made = snapshot.creation_time.as_deref().and_then(Stamp::parse)?;
        Some(Stamp(made.0 - self.web.skew()))
    }

    async fn overview(&self) -> Result<Value, Fault> {
        let deadline = tokio::time::Instant::now() + self.web.limit().mul_f64(ENOUGH);
        let all: Collections = self.get("collections").await?;
        let rows = stream::iter(all.collections).map(|Named { name }| async move {
            let read = tokio::time::timeout_at(deadline, self.overview_of(&name)).await;
            read.unwrap_or_else(|_| [sanitize(&name), "not read in time".into(), "?".into(), "?".into()]).to_vec()
        });
        let rows: Vec<Vec<String>> = rows.buffered(AT_ONCE).collect().await;
        let columns = ["collection", "status", "points", "newest snapshot"].map(String::from).to_vec();
        Ok(Value::Table(Table { columns, rows, moments: vec![3] }))
    }

    /// How many are red or cannot be read; of those that were not read in time nobody can tell.
    async fn unwell(&self) -> Result<Value, Fault> {
        let deadline = tokio::time::Instant::now() + self.web.limit().mul_f64(ENOUGH);
        let all: Collections = self.get("collections").await?;
        let of = all.collections.len();
        let each = stream::iter(all.collections).map(|Named { name }| async move {
            let read = tokio::time::timeout_at(deadline, self.info(&name)).await;
            // What was not read in time is neither.
            read.ok().map(|info| info.map_or(true, |info| info.status == "red"))
        });
        let each: Vec<Option<bool>> = each.buffered(AT_ONCE).collect().await;
        let (unread, unwell) = (each.iter().filter(|one| one.is_none()).count(), each.iter().filter(|one| **one == Some(true)).count());
        if unread > 0 && unwell == 0 {
            let words = format!("{unread} of {of} collections were not read in time: whether one of them is unwell cannot be told");
            return Err(Fault::new(FaultKind::Timeout, words));
        }
        Ok(Value::Number(unwell as f64))
    }

    /// One that cannot be read, or not whole, is what the operator must see, and not a reason to show none.
    async fn overview_of(&self, name: &str) -> [String; 4] {
        let (info, points, newest) = tokio::join!(self.info(name), self.points(name), self.newest(name));
        let mut status = info.map_or_else(|fault| format!("unreadable: {fault}"), |info| meaning(&info.status));
        let mut said = |read: Result<String, Fault>| {
            read.unwrap_or_else(|fault| {
                if !status.starts_with("unreadable") {
                    status = format!("unreadable: {fault}");
                }
                "?".to_string()
            })
        };
        let points = said(points.map(|points| Unit::Count.format(points as f64)));
        let newest = said(newest.map(|made| made.map_or_else(|| "none".into(), Stamp::iso)));
        [sanitize(name), status, points, newest]
    }

    async fn fact(&self, c: &str, fact: Fact) -> Result<Value, Fault> {
        Ok(match fact {
            Fact::Status => Value::Text(self.status(c).await?),
            Fact::Points => match tokio::join!(self.points(c), self.recovering(c)) {
                (Ok(_), true) => {
                    return Err(Fault::new(FaultKind::Empty, "a recovery is under way: what is counted now does not last"));
                }
                (points, _) => Value::Number(points? as f64),
            },
            Fact::Recovering => Value::Number(self.running(Task::Recovery, c).await?),
            Fact::Snapshotting => Value::Number(self.running(Task::Snapshot, c).await?),
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
                Some(made) if made > super::prometheus::now().plus(AHEAD) => {
                    return Err(Fault::new(FaultKind::Garbage, format!("the newest snapshot is from the future ({})", made.iso())));
                }
                Some(made) => Value::Number(super::prometheus::now().since(made).as_secs_f64()),
                None => return Err(Fault::new(FaultKind::Empty, format!("`{c}` has no whole snapshot"))),
            },
            Fact::Snapshots => {
                let all = self.snapshots(c).await?;
                let row = |s: &SnapshotEntry| {
                    let made = self.made(s).map_or_else(|| "?".into(), Stamp::iso);
                    let note = if is_whole(s, &all) { "" } else { " (not whole)" };
                    vec![sanitize(&s.name), made, Unit::Bytes.format(s.size as f64) + note]
                };
                let rows = all.iter().map(row).collect();
                Value::Table(Table { columns: ["snapshot", "made", "size"].map(String::from).to_vec(), rows, moments: vec![1] })
            }
            Fact::InactiveReplicas => {
                // A shard that cannot be read is listed as active.
                self.info(c).await?;
                let shards: Shards = self.get(&path(c, "/cluster")).await?;
                let inactive = shards.local_shards.iter().chain(&shards.remote_shards).filter(|s| s.state != "Active").count();
                Value::Number(inactive as f64)
            }
            Fact::Collections => self.overview().await?,
            Fact::Unwell => self.unwell().await?,
            Fact::Aliases => {
                let all: Aliases = self.get("aliases").await?;
                let rows = all.aliases.iter().map(|a| vec![sanitize(&a.alias_name), sanitize(&a.collection_name)]).collect();
                Value::Table(Table { columns: ["alias", "collection"].map(String::from).to_vec(), rows, ..Table::default() })
            }
            Fact::Cluster => {
                let cluster: Cluster = self.get("cluster").await?;
                Value::Text(cluster_words(&cluster))
            }
        })
    }
}

/// What is wrong with a cluster behind its status.
fn cluster_words(cluster: &Cluster) -> String {
    let mut words = vec![sanitize(&cluster.status)];
    if cluster.raft_info.as_ref().is_some_and(|raft| raft.leader.is_none_or(|leader| leader == 0)) {
        words.push("no leader".into());
    }
    if let Some(consensus) = cluster.consensus_thread_status.as_ref().filter(|c| c.consensus_thread_status != "working") {
        let why = consensus.err.as_ref().map_or_else(String::new, |why| format!(" ({})", sanitize(why)));
        words.push(format!("consensus {}{why}", sanitize(&consensus.consensus_thread_status).replace('_', " ")));
    }
    if !cluster.message_send_failures.is_empty() {
        let failing: Vec<_> = cluster.message_send_failures.keys().map(|peer| sanitize(peer)).collect();
        words.push(format!("cannot reach {}", failing.join(", ")));
    }
    words.join(", ")
}

/// What a shard comes to that a recovery was cut off in.
const DAMAGED: &str = "cannot be read: a shard is damaged, recover the collection from a snapshot again";

/// A server's refusal in words. What a key may not see of one collection is that question's fault alone.
pub fn qdrant_fault(status: StatusCode, said: &str) -> Fault {
    if said.contains("Dirty shard") {
        return Fault::new(FaultKind::Garbage, DAMAGED);
    }
    if said.contains("Local shard") && said.contains("not found") {
        return Fault::new(FaultKind::Garbage, "cannot be read: a recovery is under way");
    }
    let fault = status_fault(status, said);
    if status == StatusCode::FORBIDDEN { Fault::new(FaultKind::Query, fault.message) } else { fault }
}

/// How many tasks of a family run, by the server's metrics; `None` where they do not say. Their prefix can be configured.
pub fn tasks_running(page: &str, family: &str, collection: Option<&str>) -> Option<u64> {
    let label = collection.map(|collection| format!("id=\"{collection}\""));
    let mut found = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        if name.ends_with(family) && label.as_ref().is_none_or(|label| series.contains(label.as_str())) {
            *found.get_or_insert(0) += value.trim().parse::<f64>().unwrap_or(0.0) as u64;
        }
    }
    found
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

    fn names(&self) -> Boxed<'_, Result<Vec<String>, Fault>> {
        Box::pin(async move {
            let (all, aliases) = tokio::try_join!(self.get::<Collections>("collections"), self.get::<Aliases>("aliases"))?;
            let collections = all.collections.into_iter().map(|one| one.name);
            Ok(collections.chain(aliases.aliases.into_iter().map(|one| one.alias_name)).collect())
        })
    }

    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move { self.get::<Collections>("collections").await.map(drop) })
    }

    fn identity(&self) -> Option<Boxed<'_, Identity>> {
        Some(Box::pin(async move {
            let Some(main) = &self.main else { return Ok(Vec::new()) };
            match self.info(main).await {
                // Behind an alias it goes by both names.
                Ok(_) => {
                    let real = self.real_name(main).await.unwrap_or_else(|_| main.clone());
                    let names = std::iter::once(main.clone()).chain(Some(real).filter(|real| real != main));
                    Ok(names.map(|name| ("collection".into(), sanitize(&name))).collect())
                }
                Err(fault) if fault.kind == FaultKind::Empty => Ok(vec![("collection".into(), format!("{} is not there", sanitize(main)))]),
                Err(fault) => Err(fault),
            }
        }))
    }

    fn skew(&self) -> i64 {
        self.web.skew()
    }
}
