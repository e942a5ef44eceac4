//! The embedded engine against real Prometheus: the same page, the same moments, the same answers. Whatever the gate lets
//! through must agree; whatever it refuses must be refused with the name of the construct.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Canned, http_get, install_tls_provider, prometheus, respond, until};
use lastgreen::base::clock::{Clock, Stamp};
use lastgreen::config::load_text;
use lastgreen::observe::engine::{Engine, Format, Limits, parse, supported};
use lastgreen::observe::reading::Ask;

/// Expressions of the kinds a cockpit asks, besides those of the shipped profiles.
const MORE: &[&str] = &[
    "up",
    "requests_total",
    "requests_total{code=\"200\"}",
    "requests_total{code!=\"200\"}",
    "requests_total{code=~\"5..\"}",
    "requests_total{code!~\"5..\"}",
    "requests_total{path=\"/api/{id}\"}",
    "requests_total{path=\"/x,y\"}",
    "requests_total{q=\"a=b\"}",
    "requests_total{nothing=\"\"}",
    "rate(requests_total[10s])",
    "increase(requests_total[10s])",
    "irate(requests_total[10s])",
    "delta(queue[10s])",
    "idelta(queue[10s])",
    "resets(restarts_total[10s])",
    "sum(requests_total)",
    "sum by (code) (requests_total)",
    "sum without (code) (requests_total)",
    "avg by (code) (rate(requests_total[10s]))",
    "min(queue)",
    "max(queue)",
    "count(requests_total)",
    "count by (code) (requests_total)",
    "group(requests_total)",
    "stddev(requests_total)",
    "stdvar(requests_total)",
    "quantile(0.5, requests_total)",
    "topk(2, requests_total)",
    "bottomk(1, requests_total)",
    "avg_over_time(queue[10s])",
    "min_over_time(queue[10s])",
    "max_over_time(queue[10s])",
    "sum_over_time(queue[10s])",
    "count_over_time(queue[10s])",
    "last_over_time(queue[10s])",
    "present_over_time(queue[10s])",
    "stddev_over_time(queue[10s])",
    "stdvar_over_time(queue[10s])",
    "max_over_time(nan_gauge[10s])",
    "min_over_time(nan_gauge[10s])",
    "max_over_time(nan_gauge[10s]) < bool 5",
    "max_over_time(inf_gauge[10s])",
    "histogram_quantile(1, sum by (le) (rate(latency_bucket[10s])))",
    "histogram_quantile(1, sum by (le) (rate(equal_bucket[10s])))",
    "histogram_quantile(0.5, sum by (le) (rate(latency_bucket[10s])))",
    "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[10s])))",
    "histogram_quantile(0.9, rate(latency_bucket[10s]))",
    "histogram_quantile(0.999, sum by (le) (rate(slow_bucket[10s])))",
    "sum(rate(latency_sum[10s])) / sum(rate(latency_count[10s]))",
    "queue + 1",
    "1 + queue",
    "queue * 2 - 1",
    "queue / 3",
    "queue % 3",
    "queue ^ 2",
    "-queue",
    "1e3 * queue",
    "queue > 1",
    "queue > 1e9",
    "queue > bool 1",
    "1 < queue",
    "queue == queue",
    "requests_total > 100 and requests_total < 1e9",
    "queue or up",
    "requests_total unless requests_total{code=\"200\"}",
    "sum(rate(requests_total{code=\"418\"}[10s])) or vector(0)",
    "sum(rate(requests_total{code=\"500\"}[10s])) / sum(rate(requests_total[10s]))",
    "sum by (code) (rate(requests_total[10s])) / sum by (code) (requests_total)",
    "abs(-queue)",
    "ceil(queue / 3)",
    "floor(queue / 3)",
    "sqrt(queue)",
    "exp(queue / 10)",
    "ln(queue + 1)",
    "log2(queue + 1)",
    "log10(queue + 1)",
    "clamp(queue, 1, 5)",
    "clamp_min(queue, 4)",
    "clamp_max(queue, 4)",
    "vector(1)",
    "scalar(queue) + 1",
    "absent(nothing_here)",
    "absent(queue)",
    "absent(nothing{a=\"b\"})",
    "requests_total offset 3s",
    "rate(requests_total[5s] offset 3s)",
    "timestamp(queue) > bool 0",
    "max(timestamp(queue)) > bool 0",
    "count_values(\"v\", up)",
    "(sum(queue)) < (sum(up)) or (sum(up))",
    "job:requests:sum",
    "nan_gauge",
    "inf_gauge",
    "sum(nan_gauge)",
    "hour(vector(0))",
    "day_of_week(vector(0))",
    "count(up == 0) or vector(0)",
    "requests_total and on() up",
    "pi()",
    // Labels that are called like a word of the language.
    "spans{quantile=\"0.5\"}",
    "spans{group!=\"a\"}",
    "sum by (group) (spans)",
    "sum without (quantile, Start) (spans)",
    "avg by (quantile) (max_over_time(spans[10s]))",
    "count_values(\"group\", spans)",
];

/// Refused, each by name.
const REFUSED: &[(&str, &str)] = &[
    ("max_over_time(rate(requests_total[5s])[10s:1s])", "sub-queries"),
    ("queue / on(job) up", "`on`"),
    ("requests_total * on(job) group_left queue", "`on`"),
    ("-(2) ^ 2", "`-`"),
    ("label_replace(up, \"a\", \"b\", \"job\", \".*\")", "`label_replace`"),
    ("quantile_over_time(0.5, queue[10s])", "`quantile_over_time`"),
    ("deriv(queue[10s])", "`deriv`"),
    ("round(queue)", "`round`"),
    ("sgn(queue)", "`sgn`"),
    ("{__name__=\"queue\"}", "without a metric name"),
];

fn page(n: u64) -> String {
    let queue = 3 + (n * 7) % 5;
    let slow = n * 3;
    format!(
        "# TYPE requests_total counter\n\
         requests_total{{code=\"200\",path=\"/api/{{id}}\"}} {a}\nrequests_total{{code=\"200\",path=\"/x,y\"}} {b}\n\
         requests_total{{code=\"500\",path=\"/\",q=\"a=b\"}} {c}\nrequests_total{{code=\"404\",path=\"quo\\\"te\"}} 7\n\
         # TYPE queue gauge\nqueue {queue}\nrestarts_total {r}\nspans{{quantile=\"0.5\",group=\"a\"}} {a}\nspans{{quantile=\"0.9\",group=\"b\",Start=\"x\"}} {b}\njob:requests:sum {a}\nnan_gauge NaN\ninf_gauge +Inf\n\
         # TYPE latency histogram\nlatency_bucket{{le=\"0.1\"}} {b}\nlatency_bucket{{le=\"0.5\"}} {ab}\nlatency_bucket{{le=\"1\"}} {abc}\n\
         latency_bucket{{le=\"+Inf\"}} {abcd}\nlatency_sum {sum}\nlatency_count {abcd}\n\
         slow_bucket{{le=\"1\"}} {n}\nslow_bucket{{le=\"+Inf\"}} {slow}\n\
         equal_bucket{{le=\"0.1\",i=\"1\"}} {a}\nequal_bucket{{le=\"0.1\",i=\"2\"}} {b}\nequal_bucket{{le=\"0.1\",i=\"3\"}} {c}\n\
         equal_bucket{{le=\"0.5\",i=\"1\"}} {a}\nequal_bucket{{le=\"0.5\",i=\"2\"}} {b}\nequal_bucket{{le=\"0.5\",i=\"3\"}} {c}\n\
         equal_bucket{{le=\"+Inf\",i=\"1\"}} {a}\nequal_bucket{{le=\"+Inf\",i=\"2\"}} {b}\nequal_bucket{{le=\"+Inf\",i=\"3\"}} {c}\n",
        a = n * 13,
        b = n * 5,
        c = n * 2,
        r = n % 4,
        ab = n * 18,
        abc = n * 19,
        abcd = n * 20,
        sum = n as f64 * 6.5,
    )
}

type Answer = BTreeMap<Vec<(String, String)>, f64>;

/// Real Prometheus' answer; errors are told apart from empty ones.
fn theirs(port: u16, query: &str, at: Stamp) -> Result<Answer, String> {
    let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let (_, body) = http_get(port, &format!("/api/v1/query?query={encoded}&time={:.3}", at.seconds())).ok_or("no answer")?;
    let json: serde_json::Value = serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))?;
    if json["status"] != "success" {
        return Err(json["error"].to_string());
    }
    let number = |v: &serde_json::Value| v[1].as_str().map(|s| s.replace("Inf", "inf").parse::<f64>().expect("a number")).expect("a text");
    let result = &json["data"]["result"];
    if json["data"]["resultType"] == "scalar" {
        return Ok(BTreeMap::from([(Vec::new(), number(result))]));
    }
    let series = result.as_array().expect("series").iter().map(|s| {
        let mut labels: Vec<(String, String)> =
            s["metric"].as_object().expect("labels").iter().map(|(n, v)| (n.clone(), v.as_str().expect("a text").to_string())).collect();
        labels.sort();
        (labels, number(&s["value"]))
    });
    Ok(series.collect())
}

fn ours(engine: &Engine, query: &str, at: Stamp) -> Answer {
    let query = supported(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    engine.instant(&query, at).expect("an answer").into_iter().map(|s| (s.labels, s.points[0].1)).collect()
}

fn agree(a: &Answer, b: &Answer) -> bool {
    let near = |x: f64, y: f64| x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= 1e-9 * x.abs().max(y.abs()).max(1.0);
    a.len() == b.len() && a.iter().zip(b).all(|((la, va), (lb, vb))| la == lb && near(*va, *vb))
}

/// The samples that real Prometheus stored, replayed into the engine at the very times at which they were scraped.
fn replay(port: u16, engine: &Engine, until_time: Stamp) -> usize {
    let (_, body) = http_get(port, &format!("/api/v1/query?query=%7Bjob%3D%22test%22%7D%5B10m%5D&time={:.3}", until_time.seconds()))
        .expect("an answer");
    let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let mut scrapes: BTreeMap<i64, Vec<lastgreen::observe::engine::Sample>> = BTreeMap::new();
    let mut extra = Vec::new();
    for series in json["data"]["result"].as_array().expect("series") {
        let mut labels: Vec<(String, String)> =
            series["metric"].as_object().expect("labels").iter().map(|(n, v)| (n.clone(), v.as_str().expect("text").to_string())).collect();
        let name = labels.remove(labels.iter().position(|(n, _)| n == "__name__").expect("a name")).1;
        extra = labels.iter().filter(|(n, _)| n == "job" || n == "instance").cloned().collect();
        labels.retain(|(n, _)| n != "job" && n != "instance");
        labels.sort();
        for value in series["values"].as_array().expect("values") {
            let at = Stamp::from_seconds(value[0].as_f64().expect("a time")).0;
            let number = value[1].as_str().expect("a text").replace("Inf", "inf").parse().expect("a number");
            scrapes.entry(at).or_default().push(lastgreen::observe::engine::Sample {
                name: name.clone(),
                labels: labels.clone(),
                value: number,
                at: None,
            });
        }
    }
    for (at, samples) in &scrapes {
        engine.ingest("test", &extra, samples, Stamp(*at)).expect("stored");
    }
    scrapes.len()
}

#[test]
fn the_engine_answers_as_prometheus_does_or_refuses() {
    install_tls_provider();
    let n = Arc::new(Mutex::new(0u64));
    let exporter = Canned::new({
        let n = n.clone();
        move |_, stream| {
            let mut n = n.lock().expect("a lock");
            *n += 1;
            respond(stream, "200 OK", &["Content-Type: text/plain; version=0.0.4"], &page(*n));
        }
    });
    let server = prometheus(&[format!("127.0.0.1:{}", exporter.port)]);
    until("twenty scrapes", || *n.lock().expect("a lock") >= 20);
    let now = Clock::System.now();
    let engine = Engine::new(Limits::default()).expect("an engine");
    assert!(replay(server.port, &engine, now) >= 15);
    // What our own reading of the page makes of it is what Prometheus stored.
    let stored = theirs(server.port, "count({job=\"test\",__name__!~\"up|scrape_.*\"})", now).expect("a count");
    assert_eq!(stored.values().next().copied(), Some(parse(&page(1), Format::Text).samples.len() as f64));

    let profile = "profile = \"rag\"\n[vars]\nwindow = \"10s\"\n[environment]\nname = \"t\"\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://localhost:9\"\n";
    let config = load_text(std::path::Path::new("t.toml"), profile).config.expect("the profile");
    let shipped: Vec<String> = config
        .questions()
        .iter()
        .filter_map(|q| match &q.ask {
            Ask::Promql { query, .. } => Some(query.clone()),
            _ => None,
        })
        .collect();
    assert!(shipped.len() > 20 && MORE.len() >= 60);

    let (mut compared, mut refused, mut wrong) = (0, 0, Vec::new());
    // Moments between two scrapes: on a sample's very edge Prometheus 2 and 3 differ.
    let newest = theirs(server.port, "timestamp(queue)", now).expect("a time");
    let newest = Stamp::from_seconds(*newest.values().next().expect("a sample"));
    for query in MORE.iter().map(|q| (*q).to_string()).chain(shipped.clone()) {
        if let Err(e) = supported(&query) {
            assert!(!shipped.contains(&query), "a shipped expression is refused: {query}: {e}");
            refused += 1;
            continue;
        }
        for back in [300, 4_300, 9_300] {
            let at = newest.minus(Duration::from_millis(back)).plus(Duration::from_millis(600));
            let want = theirs(server.port, &query, at).unwrap_or_else(|e| panic!("{query}: {e}"));
            let got = ours(&engine, &query, at);
            compared += 1;
            if !agree(&want, &got) {
                wrong.push(format!("{query} at -{back}\n  prometheus {want:?}\n  engine     {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{compared} answers agree, {refused} expressions refused");
    for (query, word) in REFUSED {
        let error = supported(query).expect_err(query);
        assert!(error.cause.contains(word), "{query}: {error}");
    }
}
