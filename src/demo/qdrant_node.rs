//! What every answer of the Qdrant stand-in is made of: the node that gives it, and the real server's forms and words.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Json;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::vectors::{DemoShard, Storage};

/// What all nodes of a cluster have together, and which of them answers: each has its own shard, and snapshots of that.
#[derive(Clone)]
pub struct QdrantNode {
    pub storage: Arc<Mutex<Storage>>,
    pub shard: DemoShard,
}

pub fn lock(node: &QdrantNode) -> MutexGuard<'_, Storage> {
    node.storage.lock().unwrap_or_else(|p| p.into_inner())
}

pub fn ok(result: Value) -> Response {
    Json(json!({"result": result, "status": "ok", "time": 0.000_01})).into_response()
}

pub fn error(status: StatusCode, words: impl std::fmt::Display) -> Response {
    (status, Json(json!({"status": {"error": words.to_string()}, "time": 0.000_01}))).into_response()
}

pub fn missing(collection: &str) -> Response {
    error(StatusCode::NOT_FOUND, format!("Not found: Collection `{collection}` doesn't exist!"))
}

/// Reads a JSON body, with the real server's words when it is none.
pub fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|e| Box::new(error(StatusCode::BAD_REQUEST, format!("Format error in JSON body: {e}"))))
}

#[derive(Deserialize, Default)]
pub struct WaitFor {
    wait: Option<String>,
}

impl WaitFor {
    /// Whether to wait; the real server's words for anything that is neither.
    pub fn read(&self, default: bool) -> Result<bool, Box<Response>> {
        match self.wait.as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => {
                let words = "Deserialize error in query parameters: provided string was not `true` or `false`";
                Err(Box::new(error(StatusCode::BAD_REQUEST, words)))
            }
        }
    }
}
