//! The webhook sink: takes what is sent and tells it again, the newest last.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

/// The most messages kept.
const KEPT: usize = 100;

type Kept = Arc<Mutex<Vec<Value>>>;

pub async fn serve(listener: TcpListener) {
    let kept: Kept = Arc::default();
    let router = Router::new().route("/", get(list).post(take)).with_state(kept);
    if let Err(e) = axum::serve(listener, router).await {
        log::error!("the demo's webhook ended: {e}");
    }
}

async fn list(State(kept): State<Kept>) -> Json<Vec<Value>> {
    Json(kept.lock().unwrap_or_else(|p| p.into_inner()).clone())
}

async fn take(State(kept): State<Kept>, body: String) -> &'static str {
    let mut kept = kept.lock().unwrap_or_else(|p| p.into_inner());
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(serde_json::from_str(&body).unwrap_or(Value::String(body)));
    "ok"
}
