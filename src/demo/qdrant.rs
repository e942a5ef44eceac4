//! A Qdrant stand-in over REST: it answers as a real server of version 1.18 does, errors and odd corners included, for
//! collections, points, snapshots, aliases, health and metrics.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::data::DemoPoint;
use super::qdrant_node::{QdrantNode, WaitFor, error, lock, missing, ok, read};
use super::qdrant_snapshots::{delete_snapshot, download, recover, snapshot, snapshots};
use super::vectors::{Collection, DemoShard, Storage, StoredPoint, dot};

/// Fills a collection and takes a snapshot of it, so that there is one to look at.
pub fn fill(storage: &Arc<Mutex<Storage>>, name: &str, points: &[DemoPoint]) {
    let mut storage = storage.lock().unwrap_or_else(|p| p.into_inner());
    let mut collection = Collection { size: 8, distance: "Cosine".into(), points: Default::default() };
    for point in points {
        collection.store(point.id, point.vector.clone(), json!({"document": point.document}));
    }
    storage.collections.insert(name.into(), collection);
    storage.aliases.insert("rag_live".into(), name.into());
    if let Err(e) = storage.snapshot(name, DemoShard::default()) {
        log::error!("the demo's Qdrant cannot write a snapshot: {e}");
    }
}

/// Serves; with a key, what needs one is refused without it.
pub async fn serve(listener: TcpListener, storage: Arc<Mutex<Storage>>, key: Option<String>) {
    serve_shard(listener, storage, key, DemoShard::default()).await;
}

/// Serves one node of a cluster.
pub async fn serve_shard(listener: TcpListener, storage: Arc<Mutex<Storage>>, key: Option<String>, shard: DemoShard) {
    if let Err(e) = axum::serve(listener, router(QdrantNode { storage, shard }, key)).await {
        log::error!("the demo's Qdrant ended: {e}");
    }
}

fn router(node: QdrantNode, key: Option<String>) -> Router {
    Router::new()
        .route("/", get(async || Json(json!({"title": "qdrant - vector search engine", "version": "1.18.3"}))))
        .route("/healthz", get(async || "healthz check passed"))
        .route("/livez", get(async || "healthz check passed"))
        .route("/readyz", get(async || "all shards are ready"))
        .route("/metrics", get(metrics))
        .route("/cluster", get(cluster))
        .route("/collections", get(collections))
        .route("/collections/aliases", post(change_aliases))
        .route("/aliases", get(aliases))
        .route("/collections/{c}", get(info).put(create).delete(delete))
        .route("/collections/{c}/exists", get(exists))
        .route("/collections/{c}/aliases", get(aliases_of))
        .route("/collections/{c}/cluster", get(shards))
        .route("/collections/{c}/points", put(upsert))
        .route("/collections/{c}/points/count", post(count))
        .route("/collections/{c}/points/query", post(query))
        .route("/collections/{c}/points/scroll", post(scroll))
        .route("/collections/{c}/points/delete", post(delete_points))
        .route("/collections/{c}/snapshots", get(snapshots).post(snapshot))
        .route("/collections/{c}/snapshots/recover", put(recover))
        .route("/collections/{c}/snapshots/{s}", get(download).delete(delete_snapshot))
        .fallback(async || StatusCode::NOT_FOUND)
        .method_not_allowed_fallback(async || StatusCode::NOT_FOUND)
        // As much as a real one takes.
        .layer(axum::extract::DefaultBodyLimit::max(32 << 20))
        .layer(from_fn_with_state(Arc::new(key), authorize))
        .with_state(node)
}

async fn authorize(State(key): State<Arc<Option<String>>>, request: Request, next: Next) -> Response {
    let open = ["/", "/healthz", "/livez", "/readyz"].contains(&request.uri().path());
    if let (false, Some(key)) = (open, key.as_ref()) {
        let headers = request.headers();
        let given = headers.get("api-key").and_then(|v| v.to_str().ok());
        let bearer = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
        match given.or(bearer) {
            Some(given) if given == key => {}
            Some(_) => return (StatusCode::UNAUTHORIZED, "Invalid API key or JWT").into_response(),
            None => return (StatusCode::UNAUTHORIZED, "Must provide an API key or an Authorization bearer token").into_response(),
        }
    }
    next.run(request).await
}

async fn cluster(State(s): State<QdrantNode>) -> Response {
    if s.shard.of == 1 {
        return ok(json!({"status": "disabled"}));
    }
    let peers: serde_json::Map<String, Value> = (0..s.shard.of)
        .map(|number| (DemoShard { number, ..s.shard }.peer().to_string(), json!({"uri": format!("http://qdrant-{number}:6335/")})))
        .collect();
    ok(json!({
        "status": "enabled", "peer_id": s.shard.peer(), "peers": peers,
        "raft_info": {"term": 1, "commit": 9, "pending_operations": 0, "leader": DemoShard { number: 0, ..s.shard }.peer(), "role": if s.shard.number == 0 { "Leader" } else { "Follower" }, "is_voter": true},
        "consensus_thread_status": {"consensus_thread_status": "working", "last_update": crate::base::clock::Clock::System.now().iso()},
        "message_send_failures": {},
    }))
}

async fn collections(State(s): State<QdrantNode>) -> Response {
    let names: Vec<Value> = lock(&s).collections.keys().map(|name| json!({"name": name})).collect();
    ok(json!({"collections": names}))
}

/// A collection that can be read, or the real server's answer where it cannot.
fn readable<'s>(s: &'s Storage, c: &str) -> Result<&'s Collection, Box<Response>> {
    let Some((name, collection)) = s.name(c).and_then(|name| s.collections.get_key_value(name)) else { return Err(Box::new(missing(c))) };
    let failed = |why: &str| {
        Err(Box::new(error(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Service internal error: 1 of 1 read operations failed:\n  Service internal error: {why}"),
        )))
    };
    if s.recovering.contains_key(name) {
        return failed("Local shard 0 not found");
    }
    if s.troubles.dirty.contains(name) {
        return failed("Failed to Get Info,  Dirty shard - shard is not fully initialized");
    }
    Ok(collection)
}

async fn info(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    let s = lock(&s);
    let collection = match readable(&s, &c) {
        Ok(collection) => collection,
        Err(response) => return *response,
    };
    ok(json!({
        "status": "green", "optimizer_status": "ok", "indexed_vectors_count": 0, "points_count": collection.points.len(), "segments_count": 2,
        "config": {"params": {"vectors": {"size": collection.size, "distance": collection.distance}, "shard_number": 1, "replication_factor": 1}},
        "payload_schema": {}, "update_queue": {"length": 0},
    }))
}

async fn exists(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    ok(json!({"exists": lock(&s).name(&c).is_some()}))
}

async fn create(State(s): State<QdrantNode>, Path(c): Path<String>, body: Bytes) -> Response {
    let wanted: Value = match read(&body) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let mut s = lock(&s);
    if s.name(&c).is_some() {
        return error(StatusCode::CONFLICT, format!("Wrong input: Collection `{c}` already exists!"));
    }
    let size = wanted["vectors"]["size"].as_u64().unwrap_or(8) as usize;
    let distance = wanted["vectors"]["distance"].as_str().unwrap_or("Cosine").to_string();
    s.collections.insert(c, Collection { size, distance, points: Default::default() });
    ok(json!(true))
}

async fn delete(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    let mut s = lock(&s);
    s.aliases.retain(|_, target| *target != c);
    let there = s.collections.remove(&c).is_some();
    ok(json!(there))
}

async fn shards(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    let shard = s.shard;
    let s = lock(&s);
    let Some(collection) = s.name(&c).and_then(|name| s.collections.get(name)) else { return missing(&c) };
    let others = (0..shard.of).filter(|number| *number != shard.number);
    let remote: Vec<Value> =
        others.map(|number| json!({"shard_id": number, "peer_id": DemoShard { number, ..shard }.peer(), "state": "Active"})).collect();
    ok(json!({
        "peer_id": shard.peer(), "shard_count": shard.of,
        "local_shards": [{"shard_id": shard.number, "points_count": collection.points.keys().filter(|id| shard.has(**id)).count(), "state": "Active"}],
        "remote_shards": remote, "shard_transfers": [],
    }))
}

#[derive(Deserialize)]
struct Upsert {
    points: Vec<UpsertPoint>,
}

#[derive(Deserialize)]
struct UpsertPoint {
    id: u64,
    vector: Vec<f32>,
    #[serde(default)]
    payload: Value,
}

fn acknowledged(s: &mut Storage, wait: bool) -> Response {
    let status = if wait { "completed" } else { "acknowledged" };
    ok(json!({"operation_id": s.next_operation(), "status": status}))
}

async fn upsert(State(s): State<QdrantNode>, Path(c): Path<String>, Query(wait): Query<WaitFor>, body: Bytes) -> Response {
    let (wanted, wait) = match read::<Upsert>(&body).and_then(|w| Ok((w, wait.read(false)?))) {
        Ok(both) => both,
        Err(response) => return *response,
    };
    let mut s = lock(&s);
    let Some(name) = s.name(&c).map(String::from) else { return missing(&c) };
    if let Some(collection) = s.collections.get_mut(&name) {
        for point in wanted.points {
            if point.vector.len() != collection.size {
                let words = format!("Wrong input: Vector dimension error: expected dim: {}, got {}", collection.size, point.vector.len());
                return error(StatusCode::BAD_REQUEST, words);
            }
            collection.store(point.id, point.vector, point.payload);
        }
    }
    acknowledged(&mut s, wait)
}

#[derive(Deserialize)]
struct DeletePoints {
    points: Vec<u64>,
}

async fn delete_points(State(s): State<QdrantNode>, Path(c): Path<String>, Query(wait): Query<WaitFor>, body: Bytes) -> Response {
    let (wanted, wait) = match read::<DeletePoints>(&body).and_then(|w| Ok((w, wait.read(false)?))) {
        Ok(both) => both,
        Err(response) => return *response,
    };
    let mut s = lock(&s);
    let Some(name) = s.name(&c).map(String::from) else { return missing(&c) };
    if let Some(collection) = s.collections.get_mut(&name) {
        collection.points.retain(|id, _| !wanted.points.contains(id));
    }
    acknowledged(&mut s, wait)
}

async fn count(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    match readable(&lock(&s), &c) {
        Ok(collection) => ok(json!({"count": collection.points.len()})),
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
struct Search {
    /// A vector, or the id of a stored point.
    #[serde(default)]
    query: Value,
    limit: Option<usize>,
}

async fn query(State(s): State<QdrantNode>, Path(c): Path<String>, body: Bytes) -> Response {
    let wanted: Search = match read(&body) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let s = lock(&s);
    let collection = match readable(&s, &c) {
        Ok(collection) => collection,
        Err(response) => return *response,
    };
    // A stored point is asked for its neighbours, and is none of them.
    let own = wanted.query.as_u64();
    let vector: Vec<f32> = match own {
        Some(id) => match collection.points.get(&id) {
            Some(point) => point.vector.clone(),
            None => return error(StatusCode::NOT_FOUND, format!("Not found: No point with id {id} found")),
        },
        None => collection.as_stored(wanted.query.as_array().into_iter().flatten().filter_map(|v| v.as_f64().map(|v| v as f32)).collect()),
    };
    let others = collection.points.iter().filter(|(id, _)| Some(**id) != own);
    let mut scored: Vec<(f32, &u64, &StoredPoint)> = others.map(|(id, p)| (dot(&vector, &p.vector), id, p)).collect();
    let limit = wanted.limit.unwrap_or(10).min(scored.len());
    // Only the nearest are put in order.
    if limit > 0 && limit < scored.len() {
        scored.select_nth_unstable_by(limit - 1, |a, b| b.0.total_cmp(&a.0));
    }
    scored.truncate(limit);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let points: Vec<Value> =
        scored.iter().map(|(score, id, p)| json!({"id": id, "version": 1, "score": score, "payload": p.payload})).collect();
    ok(json!({"points": points}))
}

async fn scroll(State(s): State<QdrantNode>, Path(c): Path<String>, body: Bytes) -> Response {
    let wanted: Search = match read(&body) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let s = lock(&s);
    let collection = match readable(&s, &c) {
        Ok(collection) => collection,
        Err(response) => return *response,
    };
    let limit = wanted.limit.unwrap_or(10);
    let points: Vec<Value> = collection.points.iter().take(limit).map(|(id, p)| json!({"id": id, "payload": p.payload})).collect();
    let next = collection.points.keys().nth(limit);
    ok(json!({"points": points, "next_page_offset": next}))
}

#[derive(Deserialize)]
struct Actions {
    actions: Vec<Value>,
}

async fn change_aliases(State(s): State<QdrantNode>, body: Bytes) -> Response {
    let wanted: Actions = match read(&body) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let mut s = lock(&s);
    // All or nothing.
    let mut aliases = s.aliases.clone();
    for action in &wanted.actions {
        let text = |path: &str| action.pointer(path).and_then(Value::as_str).map(String::from);
        if let (Some(alias), Some(collection)) = (text("/create_alias/alias_name"), text("/create_alias/collection_name")) {
            if !s.collections.contains_key(&collection) {
                return missing(&collection);
            }
            aliases.insert(alias, collection);
        } else if let Some(alias) = text("/delete_alias/alias_name") {
            aliases.remove(&alias);
        }
    }
    s.aliases = aliases;
    ok(json!(true))
}

async fn aliases(State(s): State<QdrantNode>) -> Response {
    let all: Vec<Value> = lock(&s).aliases.iter().map(|(a, c)| json!({"alias_name": a, "collection_name": c})).collect();
    ok(json!({"aliases": all}))
}

async fn aliases_of(State(s): State<QdrantNode>, Path(c): Path<String>) -> Response {
    let s = lock(&s);
    let Some(name) = s.name(&c) else { return missing(&c) };
    let all: Vec<Value> =
        s.aliases.iter().filter(|(_, target)| *target == name).map(|(a, c)| json!({"alias_name": a, "collection_name": c})).collect();
    ok(json!({"aliases": all}))
}

/// Writing into a string cannot fail.
async fn metrics(State(s): State<QdrantNode>) -> Response {
    let s = lock(&s);
    let vectors: usize = s.collections.values().map(|c| c.points.len()).sum();
    let mut out = String::from("# TYPE app_info gauge\napp_info{name=\"qdrant\",version=\"1.18.3\"} 1\n");
    let _ = writeln!(out, "# TYPE collections_total gauge\ncollections_total {}", s.collections.len());
    let _ = writeln!(out, "# TYPE collections_vector_total gauge\ncollections_vector_total {vectors}");
    for (family, label) in [
        ("collection_points", "id"),
        ("collection_vectors", "collection"),
        ("snapshot_creation_running", "id"),
        ("snapshot_recovery_running", "id"),
    ] {
        let _ = writeln!(out, "# TYPE {family} gauge");
        for (name, collection) in &s.collections {
            let value = match family {
                "snapshot_recovery_running" => s.recovering.get(name).copied().unwrap_or(0),
                "snapshot_creation_running" => 0,
                _ => collection.points.len(),
            };
            let _ = writeln!(out, "{family}{{{label}=\"{name}\"}} {value}");
        }
    }
    // One that is only being made has a place here already.
    for (name, running) in s.recovering.iter().filter(|(name, _)| !s.collections.contains_key(*name)) {
        let _ = writeln!(out, "snapshot_recovery_running{{id=\"{name}\"}} {running}");
    }
    out.into_response()
}
