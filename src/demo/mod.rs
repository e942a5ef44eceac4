//! The embedded system of `lastgreen demo`: a RAG service with a stable and a canary track, a Prometheus API, a Qdrant, a
//! database file and a webhook sink, all on loopback ports of their own. It speaks the real protocols; the cockpit on top
//! is an ordinary one on an ordinary configuration and does not know what it looks at.

mod data;
mod metrics;
mod model;
mod prometheus;
pub mod qdrant;
mod qdrant_node;
mod qdrant_snapshots;
mod scenario;
mod service;
pub mod vectors;
mod webhook;

pub use scenario::Scenario;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::base::clock::{Clock, Stamp};
use data::DemoDatabase;
use model::Model;
use scenario::Effect;

/// A running embedded system. It ends, and its folder goes, when this is dropped.
pub struct Demo {
    folder: TempDir,
    places: Places,
    _tasks: JoinSet<()>,
}

/// Where everything listens.
struct Places {
    stable: SocketAddr,
    canary: SocketAddr,
    prometheus: SocketAddr,
    qdrant: SocketAddr,
    webhook: SocketAddr,
    database: PathBuf,
}

/// How much past there is when the demo starts, and in which steps.
const PAST: Duration = Duration::from_secs(3600);
const PAST_STEP: Duration = Duration::from_secs(5);
/// How long the windows of rates are: so short that trouble is seen as soon as the story says.
const WINDOW: &str = "15s";

/// Starts everything.
///
/// # Errors
/// When a port or a file cannot be had.
pub async fn start(scenario: Scenario, seed: u64) -> std::io::Result<Demo> {
    let folder = tempfile::Builder::new().prefix("lastgreen-demo-").tempdir()?;
    let database = DemoDatabase::create(&folder.path().join("ragdb.db"), seed).await.map_err(std::io::Error::other)?;
    let model = Arc::new(Mutex::new(Model::new(seed)));
    let mut tasks = JoinSet::new();
    let listen = || TcpListener::bind(("127.0.0.1", 0));
    let (stable, canary, prometheus_at, qdrant_at, webhook_at) =
        (listen().await?, listen().await?, listen().await?, listen().await?, listen().await?);
    let places = Places {
        stable: stable.local_addr()?,
        canary: canary.local_addr()?,
        prometheus: prometheus_at.local_addr()?,
        qdrant: qdrant_at.local_addr()?,
        webhook: webhook_at.local_addr()?,
        database: database.path().to_path_buf(),
    };
    let prometheus = Arc::new(prometheus::DemoPrometheus::new(places.stable.to_string()).map_err(std::io::Error::other)?);
    past(&model, &prometheus, Clock::System.now(), PAST);
    let points = database.points().await.map_err(std::io::Error::other)?;
    let vectors = Arc::new(Mutex::new(vectors::Storage::new(folder.path().join("snapshots"))?));
    qdrant::fill(&vectors, "rag_main", &points);
    tasks.spawn(service::serve(stable, service::Service { model: model.clone(), track: model::ReleaseTrack::Stable }));
    tasks.spawn(service::serve(canary, service::Service { model: model.clone(), track: model::ReleaseTrack::Canary }));
    tasks.spawn(qdrant::serve(qdrant_at, vectors, None));
    tasks.spawn(webhook::serve(webhook_at));
    let (down, up) = tokio::sync::oneshot::channel();
    tasks.spawn(prometheus.clone().serve(prometheus_at, up));
    tasks.spawn(live(Live { scenario, model, prometheus, database, down: Some(down) }));
    let demo = Demo { folder, places, _tasks: tasks };
    std::fs::write(demo.config_path(), demo.config(scenario))?;
    Ok(demo)
}

/// Lets the system have been running for a while.
fn past(model: &Mutex<Model>, prometheus: &prometheus::DemoPrometheus, now: Stamp, long: Duration) {
    let mut model = model.lock().unwrap_or_else(|p| p.into_inner());
    let steps = long.as_secs() / PAST_STEP.as_secs();
    for i in (1..=steps).rev() {
        model.step(PAST_STEP, &Effect::default());
        prometheus.store(&model.page(), now.minus(PAST_STEP * i as u32));
    }
}

struct Live {
    scenario: Scenario,
    model: Arc<Mutex<Model>>,
    prometheus: Arc<prometheus::DemoPrometheus>,
    database: DemoDatabase,
    /// Ends the Prometheus API when sent.
    down: Option<tokio::sync::oneshot::Sender<()>>,
}

/// One second after the other: the scenario's effect, the service's work, the scrape.
async fn live(mut live: Live) {
    let started = Clock::System.now();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut corrupted = false;
    let mut last = started;
    loop {
        tick.tick().await;
        let now = Clock::System.now();
        let effect = live.scenario.effect(now.since(started));
        if effect.corrupt_data && !corrupted {
            corrupted = live.database.corrupt().await.is_ok();
        }
        if effect.database_down {
            live.database.take_away();
        }
        if effect.prometheus_down
            && let Some(down) = live.down.take()
        {
            // The receiver is the server; it has ended already when this fails.
            let _ = down.send(());
        }
        let damaged = live.database.damaged_share().await;
        let page = {
            let mut model = live.model.lock().unwrap_or_else(|p| p.into_inner());
            model.data_damaged = damaged.unwrap_or(model.data_damaged);
            model.step(step_of(last, now), &effect);
            model.page()
        };
        last = now;
        live.prometheus.store(&page, now);
    }
}

fn step_of(last: Stamp, now: Stamp) -> Duration {
    now.since(last).clamp(Duration::from_millis(100), Duration::from_secs(10))
}

impl Demo {
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("lastgreen.toml")
    }

    /// The path and the addresses, for whoever wants to look with something else.
    pub fn describe(&self) -> String {
        let p = &self.places;
        format!(
            "config      {}\nservice     http://{}  (metrics, healthz, traffic, deploy, query)\ncanary      http://{}\nprometheus  http://{}\nqdrant      http://{}\nwebhook     http://{}\ndatabase    sqlite:{}\n\nLook with:  lastgreen --config {}\n",
            self.config_path().display(),
            p.stable,
            p.canary,
            p.prometheus,
            p.qdrant,
            p.webhook,
            p.database.display(),
            self.config_path().display()
        )
    }

    /// An ordinary configuration for it.
    fn config(&self, scenario: Scenario) -> String {
        let p = &self.places;
        format!(
            r#"# The configuration of `lastgreen demo`. Copy it to begin one of your own.
profile = "rag"

# Runs, their journals and what is still to be told live here; everywhere else in the XDG state folder.
state_dir = "state"

# Short windows, so that the story is told in minutes.
[vars]
window = "{WINDOW}"
canary_window = "10s"

[environment]
name = "rag-demo"
tier = "production"
hint = "{hint}"

[environment.expect]
database = "ragdb"
collection = "rag_main"

[sources.prometheus]
kind = "prometheus"
url = "http://{prometheus}"
scrape_interval = "1s"
interval = "2s"
timeout = "2s"

# The same pages read directly: answers the same PromQL when DemoPrometheus is away.
[sources.direct]
kind = "scrape"
interval = "2s"
timeout = "2s"
targets = [{{ url = "http://{stable}/metrics", name = "rag" }}]

[sources.qdrant]
kind = "qdrant"
url = "http://{qdrant}"
collection = "rag_main"
interval = "2s"
timeout = "2s"

[sources.database]
kind = "database"
url = "sqlite:{database}"
interval = "2s"
timeout = "2s"

[sources.stable]
kind = "http"
url = "http://{stable}"
interval = "2s"
timeout = "2s"

[sources.canary]
kind = "http"
url = "http://{canary}"
interval = "2s"
timeout = "2s"

# The canary's share of the traffic: how it is set, and where it is read back.
[traffic]
kind = "http"
service = "stable"
path = "/traffic"
pointer = "/canary"
within = "5s"
timeout = "2s"

# How a release is walked up. Short, so that the story is told in minutes; few requests want generous limits.
[canary]
steps = [0, 10, 25, 50, 100]
bake = "26s"
warm_up = "8s"
at_least = 6

[canary.metrics.gate_fail_rate]
canary = "gate_fail_rate_canary"
stable = "gate_fail_rate_stable"
direction = "increase"
critical = true
effect = {{ measure = "mean_ratio", allowed_increase = 4.0 }}
least = "4%"

[canary.metrics.http_5xx]
canary = "http_5xx_canary"
stable = "http_5xx_stable"
direction = "increase"
effect = {{ measure = "mean_ratio", allowed_increase = 10.0 }}
# Of so few requests a handful fails here and none there.
least = "3%"

[canary.metrics.latency]
canary = "latency_canary"
stable = "latency_stable"
direction = "increase"
effect = {{ measure = "mean_ratio", allowed_increase = 1.3 }}

# How a version is brought out and read, and who knows which was green last.
[release]
service = "stable"
path = "/deploy"
body = '{{"track": "stable", "version": "{{{{ version }}}}"}}'
read = "/healthz"
pointer = "/version"
source = "database"
query = "SELECT version, at, verdict FROM deployments WHERE verdict = 'green' ORDER BY at DESC LIMIT 1"

# What is taken together, and how it comes back: collections behind their alias, the database in one transaction.
[snapshots]
databases = ["database"]
qdrant = ["qdrant"]
collections = ["rag_live"]
timeout = "2m"

[snapshots.counts]
chunks_by_model = "SELECT model_id, count(*) FROM rag_chunks WHERE deleted_at IS NULL GROUP BY model_id"

# What every run tells, and where.
[notify.ops]
kind = "webhook"
url = "http://{webhook}/"
events = ["start", "success", "failure", "waiting", "rollback", "abort"]
"#,
            hint = scenario.hint(),
            prometheus = p.prometheus,
            stable = p.stable,
            canary = p.canary,
            webhook = p.webhook,
            qdrant = p.qdrant,
            database = p.database.display(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::engine::supported;

    /// When the share of failed gate checks passes the profile's limit, in the story of the bad canary.
    fn seen_bad(seed: u64) -> (Duration, f64) {
        let model = Arc::new(Mutex::new(Model::new(seed)));
        let prometheus = prometheus::DemoPrometheus::new("127.0.0.1:1".into()).expect("an engine");
        let started = Clock::System.now();
        past(&model, &prometheus, started, Duration::from_secs(60));
        let rate = |result: &str| format!("sum(rate(rag_gate_checks_total{result}[{WINDOW}]))");
        let query = supported(&format!("{} / {}", rate("{result=\"fail\"}"), rate(""))).expect("a query");
        let share = |at| prometheus.instant(&query, at).expect("an answer");
        let mut healthiest = 0.0_f64;
        for second in 1..60 {
            let since = Duration::from_secs(second);
            let mut model = model.lock().expect("nobody else");
            model.step(Duration::from_secs(1), &Scenario::BadCanary.effect(since));
            prometheus.store(&model.page(), started.plus(since));
            let share = share(started.plus(since));
            if share > 0.07 {
                return (since, healthiest);
            }
            if second <= 10 {
                healthiest = healthiest.max(share);
            }
        }
        panic!("never, with seed {seed}");
    }

    #[test]
    fn a_bad_canary_is_seen_in_time() {
        for seed in 0..20 {
            let (seen, healthiest) = seen_bad(seed);
            assert!(healthiest < 0.04, "all is well before, seed {seed}: {healthiest}");
            // A scrape and a look later it is on the screen, and that is to be 25 s after the start.
            assert!(seen <= Duration::from_secs(22), "seed {seed}: {seen:?}");
        }
    }
}
