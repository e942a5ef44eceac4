//! `lastgreen init`: looks which services answer and writes a commented configuration with real signals for them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;
use url::Url;

use crate::base::endpoint::DatabaseOptions;
use crate::base::endpoint::{Auth, Endpoint, Tls};
use crate::base::units::count_of;
use crate::observe::reading::{Ask, Fact, FaultKind, Health, Shape, Value};
use crate::observe::source::{Client, Database, Qdrant, Redis, Web};

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write; nothing that exists is overwritten.
    #[arg(long, short, default_value = "lastgreen.toml", value_name = "FILE")]
    pub output: PathBuf,
    /// A service to look at: http://host:port of Prometheus, Qdrant, Alertmanager or a page of metrics,
    /// postgres://user@host/db, redis://host, sqlite:FILE. Repeatable. Without any, the usual ports of this host.
    #[arg(value_name = "URL")]
    pub endpoints: Vec<String>,
    /// The environment's name.
    #[arg(long, default_value = "my-system")]
    pub name: String,
}

/// What a service turned out to be.
enum Found {
    Prometheus {
        metrics: BTreeSet<String>,
    },
    Qdrant {
        collections: Vec<String>,
        /// It says nothing without a key.
        keyed: bool,
    },
    Alertmanager,
    Page {
        path: &'static str,
        metrics: BTreeSet<String>,
    },
    Http {
        path: &'static str,
    },
    Database {
        tables: Vec<String>,
    },
    Redis,
}

const TIMEOUT: Duration = Duration::from_secs(2);

/// The usual places, when none are given.
const USUAL: [&str; 7] = [
    "http://localhost:9090",
    "http://localhost:6333",
    "http://localhost:9093",
    "http://localhost:8000",
    "http://localhost:8080",
    "postgres://postgres@localhost:5432/postgres",
    "redis://localhost:6379",
];

/// Looks, reports, and writes. Returns what to print.
///
/// # Errors
/// When nothing answers, or the file exists or cannot be written: what to print, and the exit code.
pub fn init(output: &Path, endpoints: &[String], name: &str, runtime: &tokio::runtime::Runtime) -> Result<String, (String, u8)> {
    if output.exists() {
        return Err((
            format!("{} exists: nothing was changed (write elsewhere with --output)\n", output.display()),
            crate::base::exit::FAILED,
        ));
    }
    let asked: Vec<String> = if endpoints.is_empty() { USUAL.iter().map(|u| (*u).to_string()).collect() } else { endpoints.to_vec() };
    let mut report = String::new();
    let mut found = Vec::new();
    for url in asked {
        match runtime.block_on(look(&url)) {
            Ok(what) => {
                let _ = writeln!(report, "  found    {}  {}", without_password(&url, "").0, describe(&what));
                found.push((url, what));
            }
            Err(why) => {
                let _ = writeln!(report, "  nothing  {}  {why}", without_password(&url, "").0);
            }
        }
    }
    if found.is_empty() {
        return Err((
            format!(
                "{report}No service answers: name some, as in\n  lastgreen init http://prometheus:9090 http://qdrant:6333 postgres://user@db/app\n"
            ),
            crate::base::exit::UNAVAILABLE,
        ));
    }
    let text = write_config(name, &found);
    for line in text.lines().filter_map(|line| line.strip_prefix("password = \"env:")) {
        let _ =
            writeln!(report, "  export   {}=…  before lastgreen is started: the password is not written down", line.trim_end_matches('"'));
    }
    let findings = crate::config::load_text(output, &text).findings;
    if let Some(wrong) = findings.iter().find(|f| f.severity == crate::base::diag::Severity::Error) {
        return Err((format!("{report}what would be written is not right, and was not written: {wrong}\n"), crate::base::exit::FAILED));
    }
    std::fs::write(output, text).map_err(|e| (format!("cannot write {}: {e}\n", output.display()), crate::base::exit::FAILED))?;
    Ok(format!(
        "{report}wrote {}\nNow: lastgreen check --config {}, then lastgreen --config {}\n",
        output.display(),
        output.display(),
        output.display()
    ))
}

fn describe(found: &Found) -> String {
    match found {
        Found::Prometheus { metrics } => format!("Prometheus with {} metrics", metrics.len()),
        Found::Qdrant { keyed: true, .. } => "Qdrant, which wants a key: set QDRANT_API_KEY".into(),
        Found::Qdrant { collections, .. } => {
            format!("Qdrant with {}", if collections.is_empty() { "no collection".into() } else { collections.join(", ") })
        }
        Found::Alertmanager => "Alertmanager".into(),
        Found::Page { metrics, .. } => format!("a page of {} metrics", metrics.len()),
        Found::Http { path } => format!("an HTTP service that answers {path}"),
        Found::Database { tables } => format!("a database with {}", count_of(tables.len(), "table")),
        Found::Redis => "Redis".into(),
    }
}

async fn look(text: &str) -> Result<Found, String> {
    let scheme = text.split(':').next().unwrap_or("");
    match scheme {
        "postgres" | "postgresql" | "sqlite" => database(text).await,
        "redis" => {
            let redis = Redis::new(text.into(), None, crate::base::endpoint::Tls::default(), TIMEOUT);
            let ask = Ask::Redis { command: vec!["PING".into()], field: None };
            redis.ask(&ask).await.map(|_| Found::Redis).map_err(|f| f.message)
        }
        "http" | "https" => http(text).await,
        _ => Err("not a URL of a kind this knows (http, https, postgres, sqlite, redis)".into()),
    }
}

async fn database(text: &str) -> Result<Found, String> {
    let options = DatabaseOptions { url: text.into(), password: None, tls: Tls::default(), timeout: TIMEOUT, connections: 1 };
    let database = Database::new(options)?;
    let size = Ask::Health(Health::Size);
    database.ask(&size).await.map_err(|f| f.message)?;
    let query = if text.starts_with("sqlite:") {
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    } else {
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1"
    };
    let ask = Ask::Sql { query: query.into(), shape: Shape::Table };
    match database.ask(&ask).await.map(|a| a.value) {
        Ok(Value::Table(table)) => Ok(Found::Database { tables: table.rows.into_iter().flatten().collect() }),
        Ok(_) => Ok(Found::Database { tables: Vec::new() }),
        Err(fault) => Err(fault.message),
    }
}

async fn http(text: &str) -> Result<Found, String> {
    let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
    let endpoint = Endpoint {
        url,
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        timeout: TIMEOUT,
        max_body: 64 << 20,
        proxy: None,
    };
    let web = Web::new(endpoint.clone());
    let get = async |path: &str| {
        let response = web.send(web.get(path).map_err(|f| f.message)?).await.map_err(|f| f.message)?;
        Ok::<_, String>((response.status.is_success(), response.text()))
    };
    let (ok, root) = get("").await?;
    let json = |text: &str| serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
    if ok && json(&root)["title"].as_str().is_some_and(|t| t.starts_with("qdrant")) {
        let qdrant = Qdrant::new(Web::new(endpoint), None);
        let ask = Ask::Qdrant { collection: String::new(), fact: Fact::Collections };
        let collections = match qdrant.ask(&ask).await.map(|a| a.value) {
            Ok(Value::Table(table)) => table.rows.into_iter().filter_map(|row| row.into_iter().next()).collect(),
            Ok(_) => Vec::new(),
            // It is one, and wants a key.
            Err(fault) if fault.kind == FaultKind::Auth => return Ok(Found::Qdrant { collections: Vec::new(), keyed: true }),
            Err(fault) => return Err(fault.message),
        };
        return Ok(Found::Qdrant { collections, keyed: false });
    }
    if let (true, names) = get("api/v1/label/__name__/values").await? {
        let metrics = json(&names)["data"].as_array().map(|all| all.iter().filter_map(|v| v.as_str().map(String::from)).collect());
        if let Some(metrics) = metrics {
            return Ok(Found::Prometheus { metrics });
        }
    }
    if let (true, status) = get("api/v2/status").await?
        && json(&status)["versionInfo"].is_object()
    {
        return Ok(Found::Alertmanager);
    }
    for path in ["", "metrics"] {
        if let (true, page) = get(path).await? {
            let page = crate::observe::engine::parse(&page, crate::observe::engine::Format::Text);
            if page.samples.len() > page.lost && !page.samples.is_empty() {
                return Ok(Found::Page { path, metrics: page.samples.into_iter().map(|s| s.name).collect() });
            }
        }
    }
    for path in ["/healthz", "/health", "/"] {
        if get(path).await?.0 {
            return Ok(Found::Http { path });
        }
    }
    Err("answers, but nothing that is known".into())
}

/// A known metric and the signal it makes.
struct KnownService {
    needs: &'static str,
    name: &'static str,
    query: &'static str,
    rest: &'static str,
}

const KNOWN: [KnownService; 9] = [
    KnownService { needs: "up", name: "targets_down", query: "count(up == 0) or vector(0)", rest: "unit = \"count\"\nwarn = \"> 0\"" },
    KnownService { needs: "http_requests_total", name: "requests", query: "sum(rate(http_requests_total[5m]))", rest: "unit = \"rate\"" },
    KnownService {
        needs: "http_requests_total",
        name: "http_5xx",
        query: "(sum(rate(http_requests_total{code=~\\\"5..\\\"}[5m])) or vector(0)) / sum(rate(http_requests_total[5m]))",
        rest: "unit = \"ratio\"\nwarn = \"> 1%\"\nfail = \"> 2%\"",
    },
    KnownService {
        needs: "http_request_duration_seconds_bucket",
        name: "latency_p95",
        query: "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        rest: "unit = \"seconds\"\nbaseline = \"median 24h\"\nwarn = \"> 2x baseline\"\nfail = \"> 3x baseline\"",
    },
    KnownService { needs: "pg_up", name: "postgres_up", query: "min(pg_up)", rest: "fail = \"< 1\"" },
    KnownService {
        needs: "pg_stat_database_numbackends",
        name: "postgres_connections",
        query: "sum(pg_stat_database_numbackends)",
        rest: "unit = \"count\"",
    },
    KnownService { needs: "redis_up", name: "redis_up", query: "min(redis_up)", rest: "fail = \"< 1\"" },
    KnownService { needs: "collections_vector_total", name: "vectors", query: "sum(collections_vector_total)", rest: "unit = \"count\"" },
    KnownService {
        needs: "process_resident_memory_bytes",
        name: "memory",
        query: "max(process_resident_memory_bytes)",
        rest: "unit = \"bytes\"",
    },
];

fn write_config(name: &str, found: &[(String, Found)]) -> String {
    let has_rag = found.iter().any(
        |(_, f)| matches!(f, Found::Prometheus { metrics } | Found::Page { metrics, .. } if metrics.contains("rag_http_requests_total")),
    );
    let mut out = String::from(
        "# Written by `lastgreen init`. Check it with `lastgreen check`.\n# Secrets are never written here: password = \"env:NAME\", \"file:PATH\" or \"cmd:COMMAND\".\n\n",
    );
    if has_rag {
        out += "# Metrics of a RAG service were found: its profile brings signals, rules and boards.\nprofile = \"rag\"\n\n";
    }
    let _ = write!(
        out,
        "[environment]\nname = {}\n# production makes dangerous things harder to do by a slip: production, staging, development\ntier = \"development\"\n\n",
        quote(name)
    );
    let mut signals = String::new();
    let mut counts = std::collections::HashMap::new();
    for (url, what) in found {
        let kind = match what {
            Found::Prometheus { .. } => "prometheus",
            Found::Qdrant { .. } => "qdrant",
            Found::Alertmanager => "alertmanager",
            Found::Page { .. } => "direct",
            Found::Http { .. } => "service",
            Found::Database { .. } => "database",
            Found::Redis => "redis",
        };
        let n: &mut usize = counts.entry(kind).or_default();
        *n += 1;
        let source = if *n == 1 { kind.to_string() } else { format!("{kind}{n}") };
        out += &source_text(&source, url, what);
        if !(has_rag && matches!(what, Found::Prometheus { .. } | Found::Page { .. })) {
            // The first of a kind gives its signals plain names; a page beside a Prometheus has a name of its own anyway.
            let plain = *n == 1 && !(kind == "direct" && found.iter().any(|(_, f)| matches!(f, Found::Prometheus { .. })));
            signals += &signals_text(&source, if plain { "" } else { &source }, what);
        }
    }
    out + "# What is asked, what it means, and when it is bad. `warn` and `fail` say when.\n\n" + &signals + ACTING
}

/// What runbooks need, for whoever writes some.
const ACTING: &str = r#"
# Runbooks are files in runbooks/ beside this one: see the README, and `lastgreen run`.
#
# [services.app]                       # what their steps talk to
# url = "http://localhost:8000"
# [notify.ops]                         # who is told: slack, pagerduty, webhook, email
# kind = "slack"
# webhook = "env:SLACK_WEBHOOK"
# events = ["failure", "waiting", "rollback"]
# [roles]                              # who may run what; without any, whoever may log in
# operator = ["@oncall"]
# commander = ["root"]
"#;

fn source_text(source: &str, url: &str, what: &Found) -> String {
    let (url, login) = without_password(url, source);
    let url = quote(&url);
    match what {
        Found::Prometheus { .. } => format!(
            "[sources.{source}]\nkind = \"prometheus\"\nurl = {url}\ninterval = \"5s\"\ntimeout = \"3s\"\n# headers = {{ \"X-Scope-OrgID\" = \"team\" }}   # Mimir, Thanos tenants\n{login}\n"
        ),
        Found::Qdrant { collections, keyed } => {
            // One way to get in is enough.
            let key = if *keyed && login.is_empty() { "" } else { "# " };
            let main = collections.first().map_or_else(|| "# collection = \"main\"".into(), |c| format!("collection = {}", quote(c)));
            format!("[sources.{source}]\nkind = \"qdrant\"\nurl = {url}\n{main}\n{key}api_key = \"env:QDRANT_API_KEY\"\n{login}\n")
        }
        Found::Alertmanager => format!("[sources.{source}]\nkind = \"alertmanager\"\nurl = {url}\n{login}\n"),
        Found::Page { path, .. } => {
            let page = if path.is_empty() { url } else { format!("{}/{path}\"", url.trim_end_matches('"').trim_end_matches('/')) };
            format!(
                "# The page read directly: the way to see when there is no Prometheus, or it is down.\n[sources.{source}]\nkind = \"scrape\"\ntargets = [{{ url = {page} }}]\n{login}\n"
            )
        }
        Found::Http { .. } => format!("[sources.{source}]\nkind = \"http\"\nurl = {url}\n{login}\n"),
        Found::Database { .. } => format!(
            "[sources.{source}]\nkind = \"database\"\nurl = {url}\n{}\n",
            if login.is_empty() { "# password = \"env:PGPASSWORD\"\n".to_string() } else { login }
        ),
        Found::Redis => format!("[sources.{source}]\nkind = \"redis\"\nurl = {url}\n{login}\n"),
    }
}

fn signals_text(source: &str, prefix: &str, what: &Found) -> String {
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}_") };
    let one = |name: &str, rest: &str| format!("[signals.{prefix}{name}]\nsource = \"{source}\"\n{rest}\n\n");
    match what {
        Found::Prometheus { metrics } | Found::Page { metrics, .. } => {
            let known = KNOWN.iter().filter(|k| metrics.contains(k.needs));
            let known: String = known.map(|k| one(k.name, &format!("query = \"{}\"\n{}", k.query, k.rest))).collect();
            // What its own rules raise.
            if matches!(what, Found::Prometheus { .. }) { known + &one("prometheus_alerts", "alerts = true") } else { known }
        }
        Found::Qdrant { collections, .. } if collections.is_empty() => one("collections", "fact = \"collections\""),
        Found::Qdrant { .. } => {
            one("collection_status", "fact = \"status\"\nwarn = \"!= green\"\nfail = \"== red\"")
                + &one("collection_points", "fact = \"points\"\nunit = \"count\"")
                + &one("snapshot_age", "fact = \"snapshot_age\"\nunit = \"seconds\"\nwarn = \"> 26h\"")
        }
        Found::Alertmanager => one("alertmanager_alerts", ""),
        Found::Http { path } => one("service_health", &format!("path = {}\nwarn = \">= 1\"\nfail = \">= 3\"", quote(path))),
        Found::Database { tables } => {
            let mut out = one("database_size", "health = \"size\"\nunit = \"bytes\"");
            if tables.iter().any(|t| t == "task_events") {
                out += &one(
                    "rollbacks",
                    "shape = \"events\"\nquery = \"SELECT created_at AS at, event_type AS kind, metadata AS text FROM task_events WHERE event_type LIKE 'rollback%' ORDER BY created_at DESC LIMIT 50\"",
                );
            }
            out
        }
        Found::Redis => one("redis_memory", "command = [\"INFO\", \"memory\"]\nfield = \"used_memory\"\nunit = \"bytes\""),
    }
}

/// The URL as it may stand in a file, and the lines that say how to get in instead.
fn without_password(text: &str, source: &str) -> (String, String) {
    let parsed = Url::parse(text).ok();
    let Some(mut url) = parsed.filter(|url| url.password().is_some()) else {
        // One whose password is not written as it must be in a URL is none, and shown without it.
        let login = text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
        let shown = login.map(|(scheme, (login, host))| format!("{scheme}://{}@{host}", login.split(':').next().unwrap_or_default()));
        return (shown.unwrap_or_else(|| text.to_string()), String::new());
    };
    let user = url.username().to_string();
    // Both succeed where there was a password to take out.
    let _ = url.set_password(None);
    let mut login = String::new();
    if url.scheme().starts_with("http") {
        let _ = url.set_username("");
        login += &format!("user = {}\n", quote(&user));
    }
    login += &format!("password = \"env:{}_PASSWORD\"\n", source.to_uppercase());
    (url.to_string(), login)
}

/// A TOML string.
fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}
