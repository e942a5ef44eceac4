//! The stand-in service over HTTP: its metrics and health, the switch of its traffic, its deployments, and answers.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::model::{Model, ReleaseTrack};

#[derive(Clone)]
pub struct Service {
    pub model: Arc<Mutex<Model>>,
    pub track: ReleaseTrack,
}

impl Service {
    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(|p| p.into_inner())
    }
}

#[derive(Deserialize)]
struct WantedShare {
    /// In per cent.
    canary: f64,
}

#[derive(Deserialize)]
struct WantedVersion {
    track: String,
    version: String,
}

pub async fn serve(listener: TcpListener, service: Service) {
    let router = Router::new()
        .route("/metrics", get(async |State(s): State<Service>| s.model().page()))
        .route("/healthz", get(health))
        .route("/traffic", put(set_traffic).get(traffic))
        .route("/deploy", post(deploy))
        .route("/query", post(query))
        .with_state(service);
    if let Err(e) = axum::serve(listener, router).await {
        log::error!("the demo's service ended: {e}");
    }
}

async fn health(State(s): State<Service>) -> impl IntoResponse {
    let model = s.model();
    let version = if s.track == ReleaseTrack::Stable { &model.stable_version } else { &model.canary_version };
    Json(json!({"status": "ok", "track": s.track.name(), "version": version}))
}

async fn traffic(State(s): State<Service>) -> impl IntoResponse {
    Json(json!({"canary": s.model().canary * 100.0}))
}

async fn set_traffic(State(s): State<Service>, Json(wanted): Json<WantedShare>) -> impl IntoResponse {
    if !(0.0..=100.0).contains(&wanted.canary) {
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": "canary is a percentage between 0 and 100"})));
    }
    s.model().canary = wanted.canary / 100.0;
    (StatusCode::OK, Json(json!({"canary": wanted.canary})))
}

async fn deploy(State(s): State<Service>, Json(wanted): Json<WantedVersion>) -> impl IntoResponse {
    let mut model = s.model();
    match wanted.track.as_str() {
        "stable" => model.stable_version.clone_from(&wanted.version),
        "canary" => model.canary_version.clone_from(&wanted.version),
        _ => return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": "track is stable or canary"}))),
    }
    (StatusCode::OK, Json(json!({"track": wanted.track, "version": wanted.version})))
}

/// An answer whose score tells how good the data is.
async fn query(State(s): State<Service>) -> impl IntoResponse {
    let model = s.model();
    let score = 0.72 - 0.44 * model.data_damaged;
    Json(json!({"answer": "…", "score": score, "sources": ["handbook", "runbook"]}))
}
