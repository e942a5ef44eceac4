//! Snapshots of the Qdrant stand-in: made, listed, fetched, removed, and recovered from.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::qdrant_node::{QdrantNode, WaitFor, error, lock, missing, ok, read};
use super::vectors::{Collection, DemoShard, Storage, sha256, sum_of};

pub async fn snapshots(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    let shard = s.shard;
    let s = lock(&s);
    match s.name(&c) {
        Some(name) => ok(json!(s.snapshots(name, shard))),
        None => missing(&c),
    }
}

pub async fn snapshot(State(s): State<QdrantNode>, Path(c): Path<String>, Query(wait): Query<WaitFor>) -> Response {
    let wait = match wait.read(true) {
        Ok(wait) => wait,
        Err(response) => return *response,
    };
    let shard = s.shard;
    let s = lock(&s);
    let Some(name) = s.name(&c) else { return missing(&c) };
    match s.snapshot(name, shard) {
        _ if !wait => accepted(),
        Ok(made) => ok(json!(made)),
        Err(e) => error(StatusCode::INTERNAL_SERVER_ERROR, format!("Service internal error: {e}")),
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({"status": "accepted", "time": 0.000_01}))).into_response()
}

pub async fn download(State(s): State<QdrantNode>, Path((c, name)): Path<(String, String)>) -> Response {
    let s = lock(&s);
    let Some(collection) = s.name(&c) else { return missing(&c) };
    match s.snapshot_file(collection, &name).and_then(|file| std::fs::read(file).ok()) {
        Some(bytes) => bytes.into_response(),
        None => (StatusCode::NOT_FOUND, format!("Not found: Snapshot {name} not found")).into_response(),
    }
}

pub async fn delete_snapshot(State(s): State<QdrantNode>, Path((c, name)): Path<(String, String)>) -> Response {
    let s = lock(&s);
    let Some(collection) = s.name(&c) else { return missing(&c) };
    let removed = s.snapshot_file(collection, &name).map(|file| {
        // One that was put there by hand has none.
        let _ = std::fs::remove_file(sum_of(&file));
        std::fs::remove_file(file)
    });
    match removed {
        Some(Ok(())) => ok(json!(true)),
        _ => error(StatusCode::NOT_FOUND, format!("Not found: Snapshot {name} not found")),
    }
}

#[derive(Deserialize)]
struct Recover {
    location: String,
    #[serde(default, rename = "priority")]
    _priority: Option<Priority>,
    checksum: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Priority {
    NoSync,
    Snapshot,
    Replica,
}

pub async fn recover(State(s): State<QdrantNode>, Path(c): Path<String>, Query(wait): Query<WaitFor>, body: Bytes) -> Response {
    let (wanted, wait) = match read::<Recover>(&body).and_then(|w| Ok((w, wait.read(true)?))) {
        Ok(both) => both,
        Err(response) => return *response,
    };
    if let Some(sum) = wanted.checksum.as_ref().filter(|sum| sum.len() != 64) {
        let words = format!(
            "Validation error in JSON body: [checksum: Validation error: invalid_sha256_hash [{{\"value\": String(\"{sum}\"), \"expected_length\": Number(64), \"length\": Number({})}}]]",
            sum.len()
        );
        return error(StatusCode::UNPROCESSABLE_ENTITY, words);
    }
    // Whoever asked may go: the server goes on.
    let work = tokio::spawn(async move { work_on(&s, &c, &wanted).await });
    // Without waiting a failure is never seen.
    if !wait {
        return accepted();
    }
    work.await.unwrap_or_else(|e| error(StatusCode::INTERNAL_SERVER_ERROR, e))
}

async fn work_on(s: &QdrantNode, c: &str, wanted: &Recover) -> Response {
    let takes = lock(s).troubles.recovery;
    let name = {
        let mut s = lock(s);
        let name = s.name(c).unwrap_or(c).to_string();
        let at_once = s.recovering.get(&name).copied().unwrap_or(0) + 1;
        s.recovering.insert(name.clone(), at_once);
        s.busiest = s.busiest.max(at_once);
        name
    };
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
    let shard = s.shard;
    let mut s = lock(s);
    let left = s.recovering.remove(&name).unwrap_or(1) - 1;
    if left > 0 {
        s.recovering.insert(name.clone(), left);
    }
    let answer = restore(&mut s, shard, c, wanted);
    if answer.status().is_success() {
        s.troubles.dirty.remove(&name);
    }
    answer
}

fn restore(s: &mut Storage, shard: DemoShard, c: &str, wanted: &Recover) -> Response {
    let own = || {
        let (_, path) = wanted.location.split_once("/collections/")?;
        let (collection, file) = path.split_once("/snapshots/")?;
        Some(s.folder().join(collection).join(file))
    };
    let Some(path) = wanted.location.strip_prefix("file://").map(std::path::PathBuf::from).or_else(own) else {
        return error(StatusCode::BAD_REQUEST, "Bad request: only file:// locations and its own snapshots are known to this stand-in");
    };
    let path = path.as_path();
    if path.components().any(|part| part.as_os_str() == "..") || !path.starts_with(s.folder()) {
        return error(
            StatusCode::FORBIDDEN,
            format!("Forbidden: Snapshot file path must be inside the snapshots directory {:?}", s.folder()),
        );
    }
    let Ok(bytes) = std::fs::read(path) else {
        return error(StatusCode::BAD_REQUEST, format!("Bad request: Snapshot file {path:?} does not exist"));
    };
    let got = sha256(&bytes);
    if let Some(expected) = wanted.checksum.as_ref().filter(|sum| sum.to_lowercase() != got) {
        return error(StatusCode::BAD_REQUEST, format!("Wrong input: Snapshot checksum mismatch: expected {expected}, got {got}"));
    }
    let Ok(data) = serde_json::from_slice::<Collection>(&bytes) else {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "Service internal error: File IO error: failed to unpack the snapshot");
    };
    let name = s.name(c).unwrap_or(c).to_string();
    if s.collections.get(&name).is_some_and(|there| there.size != data.size) {
        return error(StatusCode::BAD_REQUEST, "Wrong input: Snapshot is not compatible with existing collection");
    }
    // The shards of other nodes stay as they are.
    let mut whole = Collection { points: Default::default(), ..data.clone() };
    if let Some(there) = s.collections.remove(&name) {
        whole.points.extend(there.points.into_iter().filter(|(id, _)| !shard.has(*id)));
    }
    whole.points.extend(data.points);
    s.collections.insert(name, whole);
    ok(json!(true))
}
