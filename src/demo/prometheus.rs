//! A Prometheus HTTP API over the embedded engine: instant and range queries, label values, the configuration page, and
//! no rules of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawForm, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use crate::base::clock::{Clock, Stamp};
use crate::observe::engine::{Engine, EngineError, Format, Limits, Sample, Sampled, Supported, parse, supported};

pub struct DemoPrometheus {
    engine: Engine,
    instance: String,
}

/// As Prometheus: more points in one answer are refused.
const MOST_POINTS: u128 = 11_000;

impl DemoPrometheus {
    pub fn new(instance: String) -> Result<DemoPrometheus, EngineError> {
        let limits = Limits { retention: Duration::from_secs(6 * 3600), ..Limits::default() };
        Ok(DemoPrometheus { engine: Engine::new(limits)?, instance })
    }

    /// Takes in a page of the service.
    pub fn store(&self, page: &str, at: Stamp) {
        let mut samples = parse(page, Format::Text).samples;
        samples.push(Sample { name: "up".into(), labels: Vec::new(), value: 1.0, at: None });
        let labels = [("instance".to_string(), self.instance.clone()), ("job".to_string(), "rag".to_string())];
        if let Err(e) = self.engine.ingest("rag", &labels, &samples, at) {
            log::error!("the demo's Prometheus cannot store: {e}");
        }
    }

    /// Serves until told to go down; then the port is closed and kept connections end.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, down: oneshot::Receiver<()>) {
        let router = Router::new()
            .route("/api/v1/query", get(by_query).post(by_form))
            .route("/api/v1/query_range", get(range_by_query).post(range_by_form))
            .route("/api/v1/rules", get(async || success(json!({"groups": []}))))
            .route("/api/v1/alerts", get(async || success(json!({"alerts": []}))))
            .route("/api/v1/label/{name}/values", get(values))
            .route("/api/v1/status/buildinfo", get(async || success(json!({"version": "2.42.0-embedded"}))))
            .route(
                "/api/v1/status/config",
                get(async || success(json!({"yaml": "global:\n  external_labels:\n    environment: rag-demo\n"}))),
            )
            .route("/-/ready", get(async || "Prometheus Server is Ready.\n"))
            .with_state(self);
        let gone = async {
            // Nobody left to send means the demo ends as a whole.
            if down.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if let Err(e) = axum::serve(listener, router).with_graceful_shutdown(gone).await {
            log::error!("the demo's Prometheus ended: {e}");
        }
    }

    /// One number for a query, as the API would give it.
    #[cfg(test)]
    pub fn instant(&self, query: &Supported, at: Stamp) -> Result<f64, EngineError> {
        let found = self.engine.instant(query, at)?;
        Ok(found.first().and_then(|series| series.points.first()).map_or(f64::NAN, |(_, value)| *value))
    }

    fn names(&self) -> Vec<String> {
        self.engine.metric_names()
    }
}

type Shared = State<Arc<DemoPrometheus>>;

fn success(data: Value) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

/// A refusal: boxed, because it is rare and large.
fn bad(cause: &str) -> Box<Response> {
    Box::new((StatusCode::BAD_REQUEST, Json(json!({"status": "error", "errorType": "bad_data", "error": cause}))).into_response())
}

fn fields(raw: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(raw).into_owned().collect()
}

async fn by_query(State(p): Shared, RawQuery(raw): RawQuery) -> Response {
    instant(&p, &fields(raw.unwrap_or_default().as_bytes()))
}

async fn by_form(State(p): Shared, RawForm(raw): RawForm) -> Response {
    instant(&p, &fields(&raw))
}

async fn range_by_query(State(p): Shared, RawQuery(raw): RawQuery) -> Response {
    range(&p, &fields(raw.unwrap_or_default().as_bytes()))
}

async fn range_by_form(State(p): Shared, RawForm(raw): RawForm) -> Response {
    range(&p, &fields(&raw))
}

async fn values(State(p): Shared, Path(name): Path<String>) -> Response {
    if name == "__name__" { success(json!(p.names())) } else { success(json!([])) }
}

fn query_of(fields: &HashMap<String, String>) -> Result<Supported, Box<Response>> {
    let text = fields.get("query").ok_or_else(|| bad("invalid parameter \"query\": missing"))?;
    supported(text).map_err(|e| bad(&format!("invalid parameter \"query\": {e}")))
}

fn time_of(fields: &HashMap<String, String>, name: &str) -> Result<Option<Stamp>, Box<Response>> {
    let Some(text) = fields.get(name) else { return Ok(None) };
    let seconds = text.parse::<f64>().ok().map(Stamp::from_seconds);
    seconds
        .or_else(|| Stamp::parse(text))
        .map(Some)
        .ok_or_else(|| bad(&format!("invalid parameter \"{name}\": cannot parse \"{text}\" to a valid timestamp")))
}

fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => v.to_string(),
    }
}

fn point((at, value): &(Stamp, f64)) -> Value {
    json!([at.seconds(), number(*value)])
}

fn labels(series: &Sampled) -> BTreeMap<&str, &str> {
    series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

fn instant(p: &DemoPrometheus, fields: &HashMap<String, String>) -> Response {
    let asked = query_of(fields).and_then(|query| Ok((query, time_of(fields, "time")?)));
    let (query, at) = match asked {
        Ok((query, at)) => (query, at.unwrap_or_else(|| Clock::System.now())),
        Err(response) => return *response,
    };
    match block_in_place(|| p.engine.instant(&query, at)) {
        Ok(series) => {
            let result: Vec<Value> =
                series.iter().filter_map(|s| Some(json!({"metric": labels(s), "value": point(s.points.first()?)}))).collect();
            success(json!({"resultType": "vector", "result": result}))
        }
        Err(e) => *bad(&e.to_string()),
    }
}

fn range(p: &DemoPrometheus, fields: &HashMap<String, String>) -> Response {
    let asked = query_of(fields).and_then(|query| {
        let start = time_of(fields, "start")?.ok_or_else(|| bad("invalid parameter \"start\": missing"))?;
        let end = time_of(fields, "end")?.ok_or_else(|| bad("invalid parameter \"end\": missing"))?;
        // Seconds, or a duration as PromQL writes it.
        let seconds = |s: &String| s.parse::<f64>().ok().filter(|s| *s > 0.0 && *s < 1e9).map(Duration::from_secs_f64);
        let step = fields.get("step").and_then(|s| seconds(s).or_else(|| crate::base::units::duration(s).ok()));
        let step = step.ok_or_else(|| bad("invalid parameter \"step\": zero or negative query resolution step widths are not accepted"))?;
        if end.since(start).as_millis() / step.as_millis().max(1) > MOST_POINTS {
            return Err(bad("exceeded maximum resolution of 11,000 points per timeseries"));
        }
        Ok((query, start, end, step))
    });
    let (query, start, end, step) = match asked {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    match block_in_place(|| p.engine.range(&query, start, end, step)) {
        Ok(series) => {
            let result: Vec<Value> =
                series.iter().map(|s| json!({"metric": labels(s), "values": s.points.iter().map(point).collect::<Vec<_>>()})).collect();
            success(json!({"resultType": "matrix", "result": result}))
        }
        Err(e) => *bad(&e.to_string()),
    }
}
