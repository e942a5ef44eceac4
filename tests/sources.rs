//! The clients against real servers: PostgreSQL, Prometheus, Alertmanager, Redis, and HTTPS with an own authority.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Canned, Postgres, alertmanager, install_tls_provider, redis, respond, start_prometheus, until};
use lastgreen::base::endpoint::DatabaseOptions;
use lastgreen::base::endpoint::{Auth, Endpoint, Tls};
use lastgreen::base::secret::SecretRef;
use lastgreen::observe::reading::{
    AlertState, Ask, EventOutcome, Fact, Fault, FaultKind, Health, ProbeSpec, Question, Shape, SourceState, Value,
};
use lastgreen::observe::source::{
    Alertmanager, Client, CommandClient, Database, Mailbox, Poller, Probe, Prometheus, Qdrant, Redis, Source, Web,
};

const TIMEOUT: Duration = Duration::from_secs(5);

fn endpoint(url: &str) -> Endpoint {
    install_tls_provider();
    Endpoint {
        url: url.parse().expect("a URL"),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        timeout: TIMEOUT,
        max_body: 1 << 20,
        proxy: None,
    }
}

fn web(url: &str) -> Web {
    Web::new(endpoint(url))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn ask(client: &dyn Client, ask: &Ask) -> Result<Value, Fault> {
    runtime().block_on(client.ask(ask)).map(|a| a.value)
}

fn promql(query: &str) -> Ask {
    Ask::Promql { query: query.into(), selectors: vec![query.into()], strict: true }
}

fn sql(query: &str, shape: Shape) -> Ask {
    Ask::Sql { query: query.into(), shape }
}

fn database(url: String, timeout: Duration) -> Database {
    Database::new(DatabaseOptions { url, password: None, tls: Tls::default(), timeout, connections: 2 }).expect("a database")
}

#[test]
fn postgres_reads_and_only_reads() {
    let pg = Postgres::start();
    let runtime = runtime();
    runtime.block_on(async {
        use sqlx::Connection;
        let mut admin = sqlx::PgConnection::connect(&pg.url()).await.expect("connected");
        sqlx::raw_sql(
            "CREATE TABLE task_events (task_id text, event_type text, metadata jsonb, created_at timestamptz DEFAULT now());
             INSERT INTO task_events VALUES ('r1', 'rollback_auto', '{\"reason\":\"gate\",\"outcome\":\"done\"}', '2026-11-12T02:40:00Z');
             CREATE TABLE rag_chunks (id int, uri text, model_id text, deleted_at timestamptz);
             INSERT INTO rag_chunks SELECT i, 'doc' || i % 5, 'm' || i % 2, NULL FROM generate_series(1, 40) i;",
        )
        .execute(&mut admin)
        .await
        .expect("tables");
    });
    let db = database(pg.url(), TIMEOUT);
    let run = |a: Ask| runtime.block_on(db.ask(&a)).map(|a| a.value);
    assert_eq!(run(sql("SELECT count(*) FROM rag_chunks", Shape::Scalar)), Ok(Value::Number(40.0)));
    assert_eq!(run(sql("SELECT 1.50::numeric -- a comment;", Shape::Scalar)), Ok(Value::Number(1.5)));
    assert_eq!(run(sql("SELECT 'green'::text;", Shape::Scalar)), Ok(Value::Text("green".into())));
    let lines = run(sql("SELECT model_id, count(*) FROM rag_chunks GROUP BY 1 ORDER BY 1", Shape::Lines)).expect("lines").lines();
    assert_eq!((&*lines[0].label, lines[0].value, lines.len()), ("m0", 20.0, 2));
    let events = run(sql(
        "SELECT created_at AS at, event_type AS kind, metadata->>'reason' AS text, metadata->>'outcome' AS outcome FROM task_events",
        Shape::Events,
    ));
    match events.expect("events") {
        Value::Events(events) => {
            assert_eq!(
                (&events[0].at.date_hm()[5..], events[0].outcome, events[0].text.as_str()),
                ("11-12 02:40", EventOutcome::Done, "gate")
            );
        }
        other => panic!("{other:?}"),
    }
    for health in [
        Health::Connections,
        Health::LongestTransaction,
        Health::LocksWaiting,
        Health::ReplicationLag,
        Health::CacheHitRatio,
        Health::Deadlocks,
        Health::Size,
    ] {
        assert!(matches!(run(Ask::Health(health)), Ok(Value::Number(n)) if n.is_finite() && n >= 0.0), "{health:?}");
    }
    // Nothing but reading fits, however it is written.
    for attack in [
        "DELETE FROM rag_chunks RETURNING 1",
        "SELECT 1) q; DELETE FROM rag_chunks; --",
        "WITH d AS (DELETE FROM rag_chunks RETURNING 1) SELECT count(*) FROM d",
    ] {
        assert_eq!(run(sql(attack, Shape::Scalar)).expect_err(attack).kind, FaultKind::Query, "{attack}");
    }
    assert_eq!(run(sql("SELECT count(*) FROM rag_chunks", Shape::Scalar)), Ok(Value::Number(40.0)));
    assert_eq!(runtime.block_on(db.identity().expect("an identity")), Ok(vec![("database".into(), "postgres".into())]));
    let slow = database(pg.url(), Duration::from_millis(300));
    let fault = runtime.block_on(slow.ask(&sql("SELECT 1 FROM pg_sleep(5)", Shape::Scalar))).expect_err("too slow");
    assert!(fault.message.contains("statement timeout"), "{fault}");
}

#[test]
fn postgres_restarted_under_us() {
    let mut pg = Postgres::start();
    let runtime = runtime();
    let db = database(pg.url(), Duration::from_secs(2));
    let run = || runtime.block_on(db.ask(&sql("SELECT 1", Shape::Scalar))).map(|a| a.value);
    assert_eq!(run(), Ok(Value::Number(1.0)));
    pg.down();
    let fault = run().expect_err("it is down");
    assert!(fault.kind.is_of_source(), "{fault:?}");
    let fault = run().expect_err("it is still down");
    assert!(fault.message.contains("refused"), "the cause is told: {fault:?}");
    pg.up();
    until("the database to answer again", || run() == Ok(Value::Number(1.0)));
}

#[test]
fn wrong_password_and_missing_database() {
    let pg = Postgres::start();
    let url = pg.url().replace("/postgres", "/nowhere");
    let fault = ask(&database(url, Duration::from_secs(2)), &sql("SELECT 1", Shape::Scalar)).expect_err("no such database");
    assert_eq!(fault.kind, FaultKind::Auth, "{fault:?}");
    let server = redis(Some("right-password"));
    let wrong = Redis::new(
        format!("redis://127.0.0.1:{}", server.port),
        Some(SecretRef::parse("cmd:echo wrong-password").expect("a reference")),
        Tls::default(),
        TIMEOUT,
    );
    let fault = ask(&wrong, &Ask::Redis { command: vec!["PING".into()], field: None }).expect_err("refused");
    assert_eq!(fault.kind, FaultKind::Auth, "{fault:?}");
    assert!(!fault.message.contains("wrong-password"));
}

#[test]
fn redis_numbers_fields_and_a_restart() {
    let mut server = redis(None);
    let client = Redis::new(format!("redis://127.0.0.1:{}", server.port), None, Tls::default(), TIMEOUT);
    let runtime = runtime();
    let run = |words: &[&str], field: Option<&str>| {
        let ask = Ask::Redis { command: words.iter().map(|w| (*w).to_string()).collect(), field: field.map(String::from) };
        runtime.block_on(client.ask(&ask)).map(|a| a.value)
    };
    assert_eq!(run(&["PING"], None), Ok(Value::Text("PONG".into())));
    assert_eq!(run(&["RPUSH", "jobs", "a", "b"], None), Ok(Value::Number(2.0)));
    assert_eq!(run(&["LLEN", "jobs"], None), Ok(Value::Number(2.0)));
    assert_eq!(run(&["LRANGE", "jobs", "0", "-1"], None), Ok(Value::Number(2.0)));
    // A text stays one: whether it is meant as a number the signal says.
    assert!(matches!(run(&["INFO", "memory"], Some("used_memory")).map(Value::meant_as_number), Ok(Value::Number(n)) if n > 0.0));
    assert_eq!(run(&["SET", "version", "15.10"], None), Ok(Value::Text("OK".into())));
    assert_eq!(run(&["GET", "version"], None), Ok(Value::Text("15.10".into())));
    assert_eq!(run(&["HSET", "h", "a", "1", "b", "2", "c", "3"], None), Ok(Value::Number(3.0)));
    assert_eq!(run(&["HGETALL", "h"], None), Ok(Value::Number(3.0)), "three fields are three");
    assert_eq!(run(&["MGET", "x", "y", "z"], None), Ok(Value::Number(0.0)), "what is not there is not counted");
    assert_eq!(run(&["GET", "nothing"], None).expect_err("nil").kind, FaultKind::Empty);
    assert_eq!(run(&["NOSUCH"], None).expect_err("unknown").kind, FaultKind::Query);
    // A connection that the server has ended meanwhile is made anew: that is no failure.
    let other = Redis::new(format!("redis://127.0.0.1:{}", server.port), None, Tls::default(), TIMEOUT);
    let kill = Ask::Redis { command: ["CLIENT", "KILL", "TYPE", "normal"].map(String::from).to_vec(), field: None };
    runtime.block_on(other.ask(&kill)).expect("killed");
    assert_eq!(run(&["PING"], None), Ok(Value::Text("PONG".into())));
    server.stop();
    assert!(run(&["PING"], None).expect_err("down").kind.is_of_source());
}

#[test]
fn prometheus_answers_ages_ranges_and_identity() {
    install_tls_provider();
    let exporter = Canned::text("200 OK", "queue{track=\"a\"} 3\nqueue{track=\"b\"} 5\nplain 7\n");
    let rules = "groups:\n  - name: g\n    rules:\n      - alert: QueueLong\n        expr: queue > 4\n        labels: {severity: critical}\n        annotations: {summary: \"the queue is long\"}\n";
    let folder = tempfile::TempDir::new().expect("a folder");
    let server = start_prometheus(folder, common::free_port(), &[format!("127.0.0.1:{}", exporter.port)], rules);
    let client = Prometheus::new(web(&format!("http://127.0.0.1:{}", server.port)));
    until("the metric", || ask(&client, &promql("max(plain)")) == Ok(Value::Number(7.0)));
    assert_eq!(ask(&client, &promql("sum by (track) (queue)")).map(|v| v.lines().len()), Ok(2));
    assert_eq!(ask(&client, &promql("sum(nothing)")), Ok(Value::Lines(Vec::new())));
    // One selector without a name is asked apart, and takes no other along.
    let selectors = ["{job=\"test\"}".to_string(), "plain".into(), "nothing".into()];
    let ages = runtime().block_on(client.newest(&selectors)).expect("ages");
    assert!(ages.contains_key(&selectors[0]) && ages.contains_key("plain") && !ages.contains_key("nothing"), "{ages:?}");
    let fault = ask(&client, &promql("sum(")).expect_err("not PromQL");
    assert!(fault.kind == FaultKind::Query && fault.message.contains("parse error"), "{fault:?}");
    assert_eq!(ask(&client, &promql("plain[1m]")).expect_err("a range").kind, FaultKind::Query);
    let runtime = runtime();
    let newest: HashMap<_, _> =
        runtime.block_on(client.newest(&["plain".into(), "queue{track=\"a\"}".into(), "nothing".into()])).expect("ages");
    assert_eq!(newest.len(), 2, "{newest:?}");
    let now = lastgreen::base::clock::Clock::System.now();
    assert!(newest.values().all(|sample| now.since(sample.at) < Duration::from_secs(10) && !sample.gone));
    let step = Duration::from_secs(1);
    until("the range to have both lines", || {
        let end = lastgreen::base::clock::Clock::System.now().align(step);
        let range = runtime.block_on(client.range(&promql("queue"), end.minus(Duration::from_secs(30)), end, step));
        range.expect("a range").0.len() == 2
    });
    assert_eq!(runtime.block_on(client.identity().expect("an identity")), Ok(vec![("environment".into(), "test-env".into())]));
    until("the alert to fire", || match ask(&client, &Ask::Alerts) {
        Ok(Value::Alerts(alerts)) => {
            alerts.iter().any(|a| a.name == "QueueLong" && a.state == AlertState::Firing && a.text == "the queue is long")
        }
        _ => false,
    });
}

#[test]
fn alertmanager_shows_what_is_silenced() {
    let server = alertmanager();
    let url = format!("http://127.0.0.1:{}", server.port);
    let post = |path: &str, body: &str| {
        let response = runtime().block_on(async {
            let web = web(&url);
            let request = web.request("POST", path).expect("a request").header("content-type", "application/json").body(body.to_string());
            web.send(request).await
        });
        assert!(response.expect("an answer").status.is_success(), "{path}");
    };
    let alert = |name: &str| {
        format!(
            "{{\"labels\":{{\"alertname\":\"{name}\",\"severity\":\"critical\"}},\"annotations\":{{\"summary\":\"{name} \\u001b[31m is up\"}}}}"
        )
    };
    post("api/v2/alerts", &format!("[{},{}]", alert("Loud"), alert("Quiet")));
    post(
        "api/v2/silences",
        "{\"matchers\":[{\"name\":\"alertname\",\"value\":\"Quiet\",\"isRegex\":false,\"isEqual\":true}],\"startsAt\":\"2020-01-01T00:00:00Z\",\"endsAt\":\"2099-01-01T00:00:00Z\",\"createdBy\":\"oncall\",\"comment\":\"known\"}",
    );
    let client = Alertmanager::new(web(&url));
    until("the silence to apply", || match ask(&client, &Ask::Alerts) {
        Ok(Value::Alerts(alerts)) => {
            alerts.iter().any(|a| a.name == "Loud" && a.state == AlertState::Firing && a.text == "Loud [31m is up")
                && alerts.iter().any(|a| a.name == "Quiet" && a.state == AlertState::Silenced && a.text.contains("oncall"))
        }
        _ => false,
    });
}

#[test]
fn https_with_an_own_authority_and_a_client_certificate() {
    install_tls_provider();
    let folder = tempfile::TempDir::new().expect("a folder");
    let pki = Pki::new(folder.path());
    let port = tls_server(&pki);
    let url = format!("https://localhost:{port}");
    let tls = |ca: bool, client: bool| Tls {
        ca: ca.then(|| folder.path().join("ca.pem")),
        cert: client.then(|| folder.path().join("client.pem")),
        key: client.then(|| folder.path().join("client.key")),
    };
    let get = |tls: Tls| {
        let web = Web::new(Endpoint { tls, ..endpoint(&url) });
        runtime().block_on(async { web.send(web.get("")?).await }).map(|r| r.text())
    };
    assert_eq!(get(tls(true, true)).as_deref(), Ok("hello"));
    let fault = get(tls(false, true)).expect_err("an unknown authority");
    assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
    let fault = get(tls(true, false)).expect_err("no certificate of ours");
    assert!(fault.kind.is_of_source(), "{fault:?}");
    let fault = get(Tls { ca: Some(folder.path().join("nothing.pem")), ..Tls::default() }).expect_err("no file");
    assert!(fault.kind == FaultKind::Local && fault.message.contains("nothing.pem"), "{fault:?}");
}

struct Pki {
    server: (Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>),
    roots: rustls::RootCertStore,
}

impl Pki {
    fn new(folder: &Path) -> Pki {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("an authority");
        let issuer = Issuer::new(params, ca_key);
        let leaf = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let cert = CertificateParams::new(vec![name.to_string()]).expect("parameters").signed_by(&key, &issuer).expect("signed");
            (cert, key)
        };
        let (server, server_key) = leaf("localhost");
        let (client, client_key) = leaf("lastgreen");
        std::fs::write(folder.join("ca.pem"), ca.pem()).expect("written");
        std::fs::write(folder.join("client.pem"), client.pem()).expect("written");
        std::fs::write(folder.join("client.key"), client_key.serialize_pem()).expect("written");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).expect("a root");
        let key = rustls::pki_types::PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key");
        Pki { server: (vec![server.der().clone()], key), roots }
    }
}

/// A TLS server that wants a client certificate and says hello.
fn tls_server(pki: &Pki) -> u16 {
    use std::io::{Read, Write};
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(pki.roots.clone())).build().expect("a verifier");
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(pki.server.0.clone(), pki.server.1.clone_key())
        .expect("a certificate");
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let Ok(connection) = rustls::ServerConnection::new(config.clone()) else { continue };
            let mut stream = rustls::StreamOwned::new(connection, tcp);
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}

#[test]
fn probes_count_failures_in_a_row() {
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let server = Canned::new({
        let healthy = healthy.clone();
        move |_, stream| {
            let status = if healthy.load(std::sync::atomic::Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            respond(stream, status, &[], "{\"status\":\"ok\",\"queue\":{\"length\":12}}");
        }
    });
    let probe = Probe::new(web(&server.url()));
    let spec = ProbeSpec {
        path: "/healthz".into(),
        method: "GET".into(),
        status: 200,
        body: Some("\"status\":\"ok\"".into()),
        within: None,
        signal: String::new(),
        timeout: None,
    };
    for n in 1..=3 {
        assert_eq!(ask(&probe, &Ask::Probe(spec.clone())), Ok(Value::Number(f64::from(n))));
    }
    healthy.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ask(&probe, &Ask::Probe(spec.clone())), Ok(Value::Number(0.0)));
    let wrong_body = ProbeSpec { body: Some("all is lost".into()), ..spec };
    assert_eq!(ask(&probe, &Ask::Probe(wrong_body)), Ok(Value::Number(1.0)));
    let json = Ask::Json { path: "/x".into(), pointer: "/queue/length".into() };
    assert_eq!(ask(&probe, &json), Ok(Value::Number(12.0)));
}

/// A probe answers also while its source is away, whatever else asks that; and the source is said to be away.
#[test]
fn a_probe_beside_another_question_is_answered_while_nobody_listens() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port();
    let source = Source {
        name: "api".into(),
        kind: "http",
        client: Arc::new(Probe::new(web(&format!("http://127.0.0.1:{port}")))),
        concurrency: 4,
        timeout: TIMEOUT,
    };
    let question = |name: &str, ask: Ask| Question {
        name: name.into(),
        source: "api".into(),
        ask,
        every: Duration::from_millis(20),
        timeout: TIMEOUT,
        history: false,
        or: None,
        numbers: false,
        only_numbers: false,
        past: None,
    };
    let spec = ProbeSpec {
        path: "/healthz".into(),
        method: "GET".into(),
        status: 200,
        body: None,
        within: None,
        signal: String::new(),
        timeout: None,
    };
    let questions =
        vec![question("pointer", Ask::Json { path: "/x".into(), pointer: "/queue".into() }), question("probe", Ask::Probe(spec))];
    let mailbox = Arc::new(Mailbox::default());
    let _poller = Poller::start(runtime.handle(), vec![source], questions, Duration::from_secs(60), mailbox.clone());
    let (mut failures, mut away) = (0.0, false);
    until("ten failures of the probe", || {
        let delivery = mailbox.take();
        for (_, reading) in &delivery.readings {
            if let Ok(value) = &reading.outcome {
                let Value::Number(n) = value else { panic!("{value:?}") };
                assert!(*n > failures, "the failures are counted in a row");
                failures = *n;
            }
        }
        assert!(delivery.readings.iter().all(|(name, reading)| **name != *"probe" || reading.outcome.is_ok()), "{delivery:?}");
        away |= delivery.sources.iter().any(|(_, health)| health.state == SourceState::Failing);
        failures >= 10.0
    });
    assert!(away, "the source is away");
}

#[test]
fn an_answer_out_of_a_cache_is_as_old_as_it_is() {
    let aged = Canned::new(|_, stream| respond(stream, "200 OK", &["Age: 300"], "{\"queue\": 3}"));
    let one_date = Canned::new(|_, stream| respond(stream, "200 OK", &["Date: Thu, 26 Nov 2026 03:00:00 GMT"], "{\"queue\": 3}"));
    let json = Ask::Json { path: "/x".into(), pointer: "/queue".into() };
    let age = |probe: &Probe| {
        let answer = runtime().block_on(probe.ask(&json)).expect("an answer");
        answer.at.map(|at| lastgreen::base::clock::Clock::System.now().since(at).as_secs())
    };
    assert!(age(&Probe::new(web(&aged.url()))).is_some_and(|age| (300..330).contains(&age)), "it says so");
    let probe = Probe::new(web(&one_date.url()));
    assert_eq!(age(&probe), None, "the first may be of now");
    until("one that bears the same date for seconds to be old", || age(&probe).is_some());
}

#[test]
fn commands_are_ended_with_their_whole_group() {
    let command = |argv: &[&str], timeout| CommandClient {
        argv: argv.iter().map(|a| (*a).to_string()).collect(),
        environment: Vec::new(),
        names: None,
        timeout,
        max_output: 1000,
    };
    let output = Ask::Output { pointer: None };
    assert_eq!(ask(&command(&["echo", " 42 "], TIMEOUT), &output), Ok(Value::Number(42.0)));
    let pointed = Ask::Output { pointer: Some("/a/0".into()) };
    assert_eq!(ask(&command(&["echo", "{\"a\":[7]}"], TIMEOUT), &pointed), Ok(Value::Number(7.0)));
    let fault = ask(&command(&["sh", "-c", "echo oops >&2; exit 3"], TIMEOUT), &output).expect_err("it fails");
    assert!(fault.message.contains("oops"), "{fault}");
    assert_eq!(ask(&command(&["yes"], Duration::from_secs(1)), &output).expect_err("endless").kind, FaultKind::Timeout);
    assert_eq!(ask(&command(&["sh", "-c", "head -c 5000 /dev/zero"], TIMEOUT), &output).expect_err("too much").kind, FaultKind::TooLarge);
    assert_eq!(ask(&command(&["/no/such/program"], TIMEOUT), &output).expect_err("not there").kind, FaultKind::Local);
    // A grandchild goes too.
    let folder = tempfile::TempDir::new().expect("a folder");
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    assert_eq!(ask(&command(&["sh", "-c", &script], Duration::from_millis(500)), &output).expect_err("too slow").kind, FaultKind::Timeout);
    let pid = std::fs::read_to_string(pid).expect("a pid").trim().to_string();
    until("the grandchild to end", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|s| s.trim().starts_with('Z')))
    });
}

#[test]
fn qdrant_as_the_stand_in_answers() {
    install_tls_provider();
    let runtime = runtime();
    let demo = runtime.block_on(lastgreen::demo::start(lastgreen::demo::Scenario::Healthy, 1)).expect("the embedded system");
    let described = demo.describe();
    let url = described.lines().find_map(|l| l.strip_prefix("qdrant      ")).expect("its address").to_string();
    let client = Qdrant::new(web(&url), Some("rag_main".into()));
    let fact =
        |collection: &str, fact: Fact| runtime.block_on(client.ask(&Ask::Qdrant { collection: collection.into(), fact })).map(|a| a.value);
    assert_eq!(fact("rag_main", Fact::Status), Ok(Value::Text("green".into())));
    assert_eq!(fact("rag_main", Fact::Points), Ok(Value::Number(1284.0)));
    assert_eq!(fact("rag_live", Fact::Points), Ok(Value::Number(1284.0)), "behind its alias");
    assert_eq!(fact("rag_main", Fact::Optimizer), Ok(Value::Text("ok".into())));
    assert_eq!(fact("rag_main", Fact::InactiveReplicas), Ok(Value::Number(0.0)));
    assert_eq!(fact("", Fact::Cluster), Ok(Value::Text("disabled".into())));
    assert_eq!(fact("", Fact::Unwell), Ok(Value::Number(0.0)));
    assert!(matches!(fact("rag_main", Fact::SnapshotAge), Ok(Value::Number(age)) if age < 600.0));
    assert!(
        matches!(fact("", Fact::Collections), Ok(Value::Table(t)) if t.rows == [["rag_main", "green", "1,284", &t.rows[0][3]]] && t.moments == [3])
    );
    assert_eq!(fact("nothing", Fact::Status), Ok(Value::Text("red: there is no collection nothing".into())));
    let missing = fact("nothing", Fact::Points).expect_err("not there");
    assert!(missing.kind == FaultKind::Empty && missing.message.contains("doesn't exist"), "{missing:?}");
    assert_eq!(
        (fact("rag_live", Fact::Recovering), fact("rag_live", Fact::Snapshotting)),
        (Ok(Value::Number(0.0)), Ok(Value::Number(0.0)))
    );
    let behind = Qdrant::new(web(&url), Some("rag_live".into()));
    let names = runtime.block_on(behind.identity().expect("an identity")).expect("names");
    assert_eq!(names, [("collection".to_string(), "rag_live".to_string()), ("collection".into(), "rag_main".into())]);
    assert_eq!(runtime.block_on(client.identity().expect("an identity")), Ok(vec![("collection".into(), "rag_main".into())]));
    let folder = demo.config_path();
    assert!(folder.exists());
    drop(demo);
    assert!(!folder.exists(), "nothing is left behind");
}

#[test]
fn qdrant_that_looks_well_and_is_not() {
    // Killed in the middle of a recovery: health pages say 200, the collection cannot be read.
    let server = Canned::new(|head, stream| {
        if head.starts_with("GET /collections/c ") {
            respond(
                stream,
                "500 Internal Server Error",
                &[],
                "{\"status\":{\"error\":\"Service internal error: Dirty shard - shard is not fully initialized\"},\"time\":0.1}",
            );
        } else if head.starts_with("GET /collections ") {
            respond(stream, "200 OK", &[], "{\"result\":{\"collections\":[{\"name\":\"c\"}]},\"status\":\"ok\",\"time\":0.1}");
        } else if head.contains("api-key: right") {
            respond(stream, "200 OK", &[], "{\"result\":{\"aliases\":[]},\"status\":\"ok\",\"time\":0.1}");
        } else {
            respond(stream, "401 Unauthorized", &[], "Must provide an API key or an Authorization bearer token");
        }
    });
    let client = Qdrant::new(web(&server.url()), None);
    let status = ask(&client, &Ask::Qdrant { collection: "c".into(), fact: Fact::Status });
    assert!(matches!(&status, Ok(Value::Text(text)) if text.starts_with("red: cannot be read: a shard is damaged")), "{status:?}");
    assert_eq!(ask(&client, &Ask::Qdrant { collection: String::new(), fact: Fact::Unwell }), Ok(Value::Number(1.0)));
    for fact in [Fact::Segments, Fact::InactiveReplicas] {
        let fault = ask(&client, &Ask::Qdrant { collection: "c".into(), fact }).expect_err("dirty");
        assert!(fault.message.starts_with("cannot be read: a shard is damaged"), "nothing of it passes: {fault}");
    }
    let fault = ask(&client, &Ask::Qdrant { collection: "c".into(), fact: Fact::Aliases }).expect_err("no key");
    assert!(fault.kind == FaultKind::Auth && fault.message.contains("API key"), "{fault:?}");
    let key = Auth::Header { name: "api-key".into(), value: SecretRef::parse("cmd:echo right").expect("a reference") };
    let client = Qdrant::new(Web::new(Endpoint { auth: key, ..endpoint(&server.url()) }), None);
    assert!(ask(&client, &Ask::Qdrant { collection: "c".into(), fact: Fact::Aliases }).is_ok());
}

#[test]
fn qdrant_at_work_on_a_recovery_is_no_pass() {
    let page = "# TYPE snapshot_recovery_running gauge\nq_snapshot_recovery_running{id=\"c\"} 1\nq_snapshot_recovery_running{id=\"d\"} 0\n";
    let server = Canned::new(move |head, stream| {
        let ok = |stream: &mut _, result: &str| {
            respond(stream, "200 OK", &[], &format!("{{\"result\":{result},\"status\":\"ok\",\"time\":0.1}}"))
        };
        match head.split(' ').nth(1).unwrap_or_default() {
            "/metrics" => respond(stream, "200 OK", &[], page),
            "/aliases" => ok(stream, r#"{"aliases":[{"alias_name":"live","collection_name":"c"}]}"#),
            other if other.ends_with("/count") => ok(stream, r#"{"count":100020}"#),
            "/collections/secret" => respond(stream, "403 Forbidden", &[], r#"{"status":{"error":"Forbidden: no access"},"time":0.1}"#),
            "/cluster" => ok(
                stream,
                r#"{"status":"enabled","raft_info":{"term":1,"leader":null},"consensus_thread_status":{"consensus_thread_status":"stopped_with_err","err":"disk full"},"message_send_failures":{"http://b":{}}}"#,
            ),
            _ => ok(stream, r#"{"status":"green","optimizer_status":"ok","segments_count":1}"#),
        }
    });
    let client = Qdrant::new(web(&server.url()), None);
    let fact = |collection: &str, fact: Fact| ask(&client, &Ask::Qdrant { collection: collection.into(), fact });
    for name in ["c", "live"] {
        assert!(matches!(fact(name, Fact::Status), Ok(Value::Text(text)) if text.starts_with("yellow: a recovery is under way")));
        assert!(fact(name, Fact::Points).expect_err("no number").message.contains("a recovery is under way"));
        assert_eq!(fact(name, Fact::Recovering), Ok(Value::Number(1.0)));
    }
    assert_eq!((fact("d", Fact::Status), fact("d", Fact::Points)), (Ok(Value::Text("green".into())), Ok(Value::Number(100_020.0))));
    // What a key may not see is that question's fault, and not the source's.
    let refused = fact("secret", Fact::Segments).expect_err("refused");
    assert!(!refused.kind.is_of_source() && refused.message.contains("not allowed"), "{refused:?}");
    assert_eq!(
        fact("", Fact::Cluster),
        Ok(Value::Text("enabled, no leader, consensus stopped with err (disk full), cannot reach http://b".into()))
    );
}

#[test]
fn qdrant_with_many_collections_is_asked_for_several_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_once, highest) = (now.clone(), most.clone());
    let server = Canned::new(move |head, stream| {
        let ok = |stream: &mut _, result: &str| {
            respond(stream, "200 OK", &[], &format!("{{\"result\":{result},\"status\":\"ok\",\"time\":0.1}}"))
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/collections" {
            let names: Vec<String> = (0..40).map(|i| format!("{{\"name\":\"c{i}\"}}")).collect();
            return ok(stream, &format!("{{\"collections\":[{}]}}", names.join(",")));
        }
        highest.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        at_once.fetch_sub(1, Ordering::SeqCst);
        match path {
            other if other.ends_with("/count") => ok(stream, r#"{"count":1}"#),
            other if other.ends_with("/snapshots") => ok(stream, "[]"),
            _ => ok(stream, r#"{"status":"green","optimizer_status":"ok","segments_count":1}"#),
        }
    });
    let client = Qdrant::new(web(&server.url()), None);
    let Ok(Value::Table(table)) = ask(&client, &Ask::Qdrant { collection: String::new(), fact: Fact::Collections }) else {
        panic!("a table")
    };
    assert_eq!((table.rows.len(), table.rows[39][0].as_str()), (40, "c39"), "in the server's order");
    let most = most.load(Ordering::SeqCst);
    assert!((2..=30).contains(&most), "{most} at once");
}

#[test]
fn qdrant_names_may_hold_anything_and_half_a_snapshot_is_none() {
    let server = Canned::new(|head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let ok = |stream: &mut _, result: &str| {
            respond(stream, "200 OK", &[], &format!("{{\"result\":{result},\"status\":\"ok\",\"time\":0.1}}"))
        };
        let whole = |name: &str, size: u64, sum: &str| {
            format!("{{\"name\":\"{name}\",\"creation_time\":\"2026-01-0{size}T00:00:00\",\"size\":{size},\"checksum\":{sum}}}")
        };
        match path {
            "/collections" => ok(stream, r#"{"collections":[{"name":"a b"},{"name":"a%20b"},{"name":"docs#old"}]}"#),
            "/collections/a%20b/points/count" => ok(stream, r#"{"count":3}"#),
            "/collections/a%2520b/points/count" => ok(stream, r#"{"count":0}"#),
            "/collections/docs%23old/points/count" => {
                respond(stream, "500 Internal Server Error", &[], r#"{"status":{"error":"a shard is damaged"},"time":0.1}"#)
            }
            "/collections/a%20b/snapshots" => {
                let all = [whole("being-made", 0, "null"), whole("good", 2, "\"ab\""), whole("without", 3, "null")];
                ok(stream, &format!("[{}]", all.join(",")));
            }
            "/collections/docs%23old/snapshots" => {
                ok(stream, r#"[{"name":"later","creation_time":"2126-01-02T00:00:00","size":2,"checksum":"ab"}]"#);
            }
            "/collections/a%2520b/snapshots" => ok(stream, &format!("[{}]", whole("empty", 0, "null"))),
            other if other.ends_with("/snapshots") => ok(stream, "[]"),
            "/collections/a%20b" | "/collections/a%2520b" | "/collections/docs%23old" => {
                ok(stream, r#"{"status":"green","optimizer_status":"ok","segments_count":1}"#);
            }
            _ => respond(stream, "404 Not Found", &[], "{\"status\":{\"error\":\"Not found\"},\"time\":0.1}"),
        }
    });
    let client = Qdrant::new(web(&server.url()), None);
    let fact = |collection: &str, fact: Fact| ask(&client, &Ask::Qdrant { collection: collection.into(), fact });
    assert_eq!(fact("a b", Fact::Points), Ok(Value::Number(3.0)));
    assert_eq!(fact("a%20b", Fact::Points), Ok(Value::Number(0.0)));
    // The newest of those that are whole is two days into the year; nothing whole is no snapshot.
    let age = |name: &str| fact(name, Fact::SnapshotAge);
    let second = lastgreen::base::clock::Stamp::parse("2026-01-02T00:00:00").expect("a time");
    assert!(
        matches!(age("a b"), Ok(Value::Number(age)) if (lastgreen::base::clock::Clock::System.now().since(second).as_secs_f64() - age).abs() < 60.0)
    );
    assert_eq!(age("a%20b").expect_err("none").kind, FaultKind::Empty);
    assert_eq!(age("docs#old").expect_err("no age").message, "the newest snapshot is from the future (2126-01-02T00:00:00.000Z)");
    let Ok(Value::Table(table)) = fact("", Fact::Collections) else { panic!("a table") };
    assert_eq!(table.rows[1], ["a%20b", "green", "0", "none"]);
    assert_eq!(table.rows[2][0], "docs#old");
    assert!(table.rows[2][1].contains("a shard is damaged") && table.rows[2][2] == "?", "{:?}", table.rows[2]);
    let Ok(Value::Table(table)) = fact("a b", Fact::Snapshots) else { panic!("a table") };
    assert!(table.rows.iter().filter(|row| row[2].contains("not whole")).count() == 2, "{:?}", table.rows);
}

#[test]
fn sqlite_reads_its_kinds() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("app.db");
    runtime().block_on(async {
        use sqlx::Connection;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut db = sqlx::SqliteConnection::connect_with(&options).await.expect("a file");
        sqlx::raw_sql("CREATE TABLE t (a INTEGER, b); INSERT INTO t VALUES (1, 2.5), (2, 'x'), (3, NULL);")
            .execute(&mut db)
            .await
            .expect("rows");
    });
    let db = database(format!("sqlite:{}", path.display()), Duration::from_millis(500));
    let runtime = runtime();
    let run = |a: Ask| runtime.block_on(db.ask(&a)).map(|a| a.value);
    assert_eq!(run(sql("SELECT count(*) FROM t", Shape::Scalar)), Ok(Value::Number(3.0)));
    assert!(
        matches!(run(sql("SELECT a, b FROM t ORDER BY a", Shape::Table)), Ok(Value::Table(t)) if t.rows == [["1", "2.5"], ["2", "x"], ["3", ""]])
    );
    assert!(run(sql("DELETE FROM t RETURNING 1", Shape::Scalar)).is_err());
    assert!(matches!(run(Ask::Health(Health::Size)), Ok(Value::Number(n)) if n > 0.0));
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
    assert!(run(sql(endless, Shape::Scalar)).expect_err("endless").message.contains("longer than"));
    let gone = database(format!("sqlite:{}", folder.path().join("none.db").display()), TIMEOUT);
    assert_eq!(ask(&gone, &sql("SELECT 1", Shape::Scalar)).expect_err("no file").kind, FaultKind::Unreachable);
}

#[test]
fn prometheus_behind_a_prefix_with_headers() {
    let server = Canned::new(|head, stream| {
        let right = head.starts_with("POST /prometheus/api/v1/query ")
            && head.to_lowercase().contains("x-scope-orgid: team")
            && head.contains("partial_response=false");
        let body = "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1,\"3\"]}]}}";
        respond(stream, if right { "200 OK" } else { "404 Not Found" }, &[], body);
    });
    let mut target = endpoint(&format!("{}/prometheus", server.url()));
    target.headers.push(("X-Scope-OrgID".into(), "team".into()));
    let client = Prometheus::new(Web::new(target));
    assert_eq!(ask(&client, &promql("a")), Ok(Value::Number(3.0)));
}
