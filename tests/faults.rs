//! What sources do to us at 3 AM: refusing, hanging, resetting, lying. Nothing of it turns green, nothing of it keeps the
//! other sources from speaking, and the words say what is wrong.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Canned, free_port, install_tls_provider, respond, start_prometheus};
use lastgreen::backend::{Clients, connect_again};
use lastgreen::base::clock::{Clock, Stamp};
use lastgreen::config::{Config, load_text};
use lastgreen::judge::Verdict;
use lastgreen::observe::reading::SourceState;
use lastgreen::observe::source::{Mailbox, Poller};
use lastgreen::status::{Store, Summary};

fn read(text: &str) -> Config {
    let loaded = load_text(std::path::Path::new("test.toml"), text);
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

struct Watching {
    config: Config,
    store: Store,
    mailbox: Arc<Mailbox>,
    clients: Clients,
    _poller: Poller,
    runtime: tokio::runtime::Runtime,
}

impl Watching {
    fn new(text: &str) -> Watching {
        install_tls_provider();
        let config = read(text);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let mailbox = Arc::new(Mailbox::default());
        let mut clients = Clients::default();
        let poller = connect_again(&config, runtime.handle(), (config.ui.window, mailbox.clone()), &mut clients).expect("connected");
        let store = Store::new(&config);
        Watching { config, store, mailbox, clients, _poller: poller, runtime }
    }

    /// Another configuration, as when its file has changed.
    fn reload(&mut self, text: &str) {
        (self.config, self.mailbox) = (read(text), Arc::default());
        let (config, mailbox) = (&self.config, self.mailbox.clone());
        self._poller = connect_again(config, self.runtime.handle(), (config.ui.window, mailbox), &mut self.clients).expect("connected");
        self.store = Store::new(&self.config);
    }

    /// Takes in news until something holds; every summary on the way is looked at.
    fn until(&mut self, what: &str, mut always: impl FnMut(&Summary), mut holds: impl FnMut(&Summary) -> bool) -> Summary {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let now = Clock::System.now();
            self.store.apply(&self.config, self.mailbox.take(), now);
            let summary = Summary::new(&self.config, &self.store, now);
            always(&summary);
            if holds(&summary) {
                return summary;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {summary:#?}");
            let mailbox = self.mailbox.clone();
            let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(500), mailbox.rung()).await });
        }
    }
}

fn signal<'a>(summary: &'a Summary, name: &str) -> &'a lastgreen::status::SignalLine {
    summary.signals.iter().find(|s| s.name == name).expect(name)
}

/// A configuration with a source in trouble beside one that is well.
fn beside_a_healthy_one(url: &str, healthy: &str, extra: &str) -> String {
    format!(
        "[environment]\nname = \"test\"\n[sources.bad]\nkind = \"prometheus\"\nurl = \"{url}\"\ninterval = \"200ms\"\ntimeout = \"500ms\"\n{extra}\n[sources.good]\nkind = \"http\"\nurl = \"{healthy}\"\ninterval = \"200ms\"\n\
         [signals.a]\nsource = \"bad\"\nquery = \"a\"\nfail = \"> 100\"\n[signals.b]\nsource = \"bad\"\nquery = \"b\"\nfail = \"> 100\"\n[signals.well]\nsource = \"good\"\npath = \"/\"\nfail = \">= 3\"\n"
    )
}

/// Asserts that a trouble is told in words, keeps the rest alive, and never passes.
fn trouble(url: &str, words: &str, of_source: bool) {
    let healthy = Canned::text("200 OK", "fine");
    let mut watching = Watching::new(&beside_a_healthy_one(url, &healthy.url(), "max_body = \"1MiB\""));
    let never_green = |s: &Summary| {
        assert_ne!(signal(s, "a").judgement.verdict, Verdict::Pass);
        assert_ne!(s.verdict, Verdict::Pass);
    };
    let summary = watching.until(words, never_green, |s| {
        let told = |name: &str| signal(s, name).judgement.reason.contains(words);
        told("a") && told("b") && signal(s, "well").judgement.verdict == Verdict::Pass
    });
    let bad = summary.sources.iter().find(|s| s.name == "bad").expect("the source");
    assert_eq!(bad.state == SourceState::Failing, of_source, "{bad:?}");
    if of_source {
        assert!(bad.next_try.is_some() && bad.fault.is_some());
        assert!(summary.reason.contains(words), "the header says why: {}", summary.reason);
    }
    // The healthy one goes on being asked.
    let before = healthy.requests.load(Ordering::SeqCst);
    watching.until("the healthy source to be asked again", never_green, |_| healthy.requests.load(Ordering::SeqCst) > before + 2);
}

const GOOD: &str = "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1,\"3\"]}]}}";

#[test]
fn refusing() {
    trouble(&format!("http://127.0.0.1:{}", free_port()), "connection refused", true);
}

#[test]
fn hanging_before_the_answer() {
    let server = Canned::new(|_, _| std::thread::sleep(Duration::from_secs(120)));
    trouble(&server.url(), "500ms", true);
}

#[test]
fn hanging_in_the_middle_of_the_body() {
    let server = Canned::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"status\":");
        std::thread::sleep(Duration::from_secs(120));
    });
    trouble(&server.url(), "500ms", true);
}

#[test]
fn resetting() {
    let server = Canned::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"sta");
        // A close with unread data in the other direction becomes a reset; without, the body just ends early.
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    trouble(&server.url(), "broke", true);
}

#[test]
fn slow_by_ten_seconds() {
    let server = Canned::new(|_, stream| {
        std::thread::sleep(Duration::from_secs(10));
        respond(stream, "200 OK", &[], GOOD);
    });
    trouble(&server.url(), "500ms", true);
}

#[test]
fn garbage() {
    trouble(&Canned::text("200 OK", "<html>It works!</html>\u{1b}[31m").url(), "does not answer as a Prometheus", true);
}

#[test]
fn an_error_page_of_a_proxy() {
    trouble(&Canned::text("502 Bad Gateway", "<html>bad gateway</html>").url(), "not available (502)", true);
}

#[test]
fn a_gibibyte() {
    let server = Canned::new(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1u64 << 30);
        pour(stream);
    });
    trouble(&server.url(), "larger than", false);
    let server = Canned::new(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        pour(stream);
    });
    trouble(&server.url(), "larger than", false);
}

fn pour(stream: &mut TcpStream) {
    let block = vec![b'x'; 1 << 16];
    for _ in 0..(1 << 14) {
        if stream.write_all(&block).is_err() {
            return;
        }
    }
}

/// A Prometheus that answers what is asked, by a clock of its own.
fn by_its_own_clock(hours: i64) -> Canned {
    Canned::new(move |head, stream| {
        let theirs = Stamp(Clock::System.now().0 + hours * 3_600_000);
        let date = format!("Date: {}", http_date(theirs));
        let at = theirs.seconds();
        let body = if head.contains("count_values") {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{\"s0\":\"{at}\"}},\"value\":[{at},\"1\"]}},{{\"metric\":{{\"s1\":\"{at}\"}},\"value\":[{at},\"1\"]}}]}}}}"
            )
        } else if head.starts_with("POST /api/v1/query_range") {
            let end: f64 = url::form_urlencoded::parse(head.rsplit("\r\n").next().unwrap_or("").as_bytes())
                .find_map(|(n, v)| (n == "end").then(|| v.parse().ok()).flatten())
                .unwrap_or(0.0);
            // What lies far from its own now, it does not have.
            let values = if (end - at).abs() < 60.0 { format!("[{end},\"3\"]") } else { String::new() };
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{{\"metric\":{{}},\"values\":[{values}]}}]}}}}"
            )
        } else {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{}},\"value\":[{at},\"3\"]}}]}}}}"
            )
        };
        respond(stream, "200 OK", &[&date], &body);
    })
}

fn http_date(at: Stamp) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at.0).expect("a date");
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn a_clock_two_hours_off_is_told_and_corrected() {
    for hours in [-2, 2] {
        let server = by_its_own_clock(hours);
        let healthy = Canned::text("200 OK", "fine");
        let mut watching = Watching::new(&beside_a_healthy_one(&server.url(), &healthy.url(), ""));
        let summary = watching.until(
            "the difference to be told",
            |_| {},
            |s| s.sources[0].warning.is_some() && signal(s, "a").judgement.verdict == Verdict::Pass,
        );
        let warning = summary.sources[0].warning.clone().expect("a warning");
        assert!(warning.contains("2h") || warning.contains("1h59m"), "{warning}");
        let age = signal(&summary, "a").judgement.evidence.age_ms.expect("an age");
        assert!(age < 30_000, "the age is corrected: {age}");
    }
}

#[test]
fn one_slow_question_does_not_take_the_source_down() {
    let server = Canned::new(|head, stream| {
        if head.contains("query=b") {
            std::thread::sleep(Duration::from_secs(120));
        }
        let now = Clock::System.now().seconds();
        let body = if head.contains("count_values") {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{\"s0\":\"{now}\"}},\"value\":[{now},\"1\"]}}]}}}}"
            )
        } else {
            let end = now.floor();
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{{\"metric\":{{}},\"values\":[[{end},\"3\"]]}}]}}}}"
            )
        };
        respond(stream, "200 OK", &[], if head.contains("query_range") || head.contains("count_values") { &body } else { GOOD });
    });
    let healthy = Canned::text("200 OK", "fine");
    let mut watching = Watching::new(&beside_a_healthy_one(&server.url(), &healthy.url(), ""));
    watching.until(
        "a to pass while b hangs",
        |_| {},
        |s| signal(s, "a").judgement.verdict == Verdict::Pass && signal(s, "b").judgement.reason.contains("500ms"),
    );
}

#[test]
fn prometheus_restarted_with_empty_storage() {
    let exporter = Canned::text("200 OK", "a 3\nb 4\n");
    let target = format!("127.0.0.1:{}", exporter.port);
    let port = free_port();
    let server = start_prometheus(tempfile::TempDir::new().expect("a folder"), port, std::slice::from_ref(&target), "");
    let healthy = Canned::text("200 OK", "fine");
    let mut watching = Watching::new(&beside_a_healthy_one(&format!("http://127.0.0.1:{port}"), &healthy.url(), ""));
    let passes = |s: &Summary| signal(s, "a").judgement.verdict == Verdict::Pass;
    watching.until("the first good state", |_| {}, passes);
    drop(server);
    watching.until("the fault to be told", |_| {}, |s| s.sources[0].state == SourceState::Failing && signal(s, "a").value.ends_with(" 3"));
    let _server = start_prometheus(tempfile::TempDir::new().expect("a folder"), port, &[target], "");
    watching.until("it to be well again", |_| {}, passes);
}

#[test]
fn a_target_that_vanishes_is_never_zero_errors() {
    let up = Arc::new(AtomicBool::new(true));
    let exporter = Canned::new({
        let up = up.clone();
        move |_, stream| {
            if up.load(Ordering::SeqCst) {
                respond(stream, "200 OK", &[], "requests_total{code=\"200\"} 5\na 1\n");
            } else {
                respond(stream, "500 Internal Server Error", &[], "");
            }
        }
    });
    let other = Canned::text("200 OK", "b 7\n");
    let targets = [&exporter, &other].map(|page| format!("127.0.0.1:{}", page.port));
    let server = start_prometheus(tempfile::TempDir::new().expect("a folder"), free_port(), &targets, "");
    // By the newest samples alone; beside another target that is there, in a window that goes on; and what has never happened yet.
    let queries = [
        ("errors", "sum(requests_total{code=~'5..'}) or sum(requests_total) * 0 or vector(0)"),
        ("share", "sum(increase(requests_total[5m])) / sum(b)"),
        ("never", "(sum(rate(never_total[5m])) or vector(0)) / sum(b)"),
    ];
    let of = |(name, query): &(&str, &str)| format!("[signals.{name}]\nsource = \"p\"\nquery = \"{query}\"\nfail = \"> 10\"\n");
    let text = format!(
        "[environment]\nname = \"test\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:{}\"\ninterval = \"200ms\"\n{}",
        server.port,
        queries.iter().map(of).collect::<String>()
    );
    let mut watching = Watching::new(&text);
    let is = |s: &Summary, name: &str, verdict| signal(s, name).judgement.verdict == verdict;
    let all = ["errors", "share", "never"];
    watching.until("no errors, with data", |_| {}, |s| all.iter().all(|name| is(s, name, Verdict::Pass)));
    // It has been there for a while: what comes and goes within five seconds is not found again.
    watching.until("it to be read often enough", |_| {}, |_| exporter.requests.load(Ordering::SeqCst) > 8);
    up.store(false, Ordering::SeqCst);
    let gone =
        |s: &Summary, name: &str| is(s, name, Verdict::Unknown) && signal(s, name).judgement.reason.contains("no sample of requests_total");
    watching.until(
        "no data",
        |s| assert!(is(s, "never", Verdict::Pass), "{:?}", signal(s, "never")),
        |s| gone(s, "errors") && gone(s, "share"),
    );
}

#[test]
fn the_second_source_speaks_while_the_first_is_away() {
    let exporter = Canned::text("200 OK", "a 3\n");
    let text = format!(
        "[environment]\nname = \"test\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:{}\"\ninterval = \"200ms\"\ntimeout = \"500ms\"\n\
         [sources.direct]\nkind = \"scrape\"\ninterval = \"200ms\"\ntargets = [{{ url = \"{}/metrics\" }}]\n\
         [signals.a]\nsource = \"p\"\nor = \"direct\"\nquery = \"max(a)\"\nfail = \"> 100\"\n",
        free_port(),
        exporter.url()
    );
    let mut watching = Watching::new(&text);
    let summary = watching.until("the second source", |_| {}, |s| signal(s, "a").judgement.verdict == Verdict::Pass);
    let a = signal(&summary, "a");
    assert_eq!((a.via.as_str(), a.value.as_str()), ("direct", "3"));
    assert!(a.notes[0].contains("p is away"), "{:?}", a.notes);
}

#[test]
fn who_is_asked_as_before_goes_on_where_he_was_when_something_else_changes() {
    let (down, pages) = (Canned::text("500 Internal Server Error", ""), Canned::text("200 OK", "a 3\n"));
    let text = format!(
        "[environment]\nname = \"test\"\n[sources.web]\nkind = \"http\"\nurl = \"{}\"\ninterval = \"200ms\"\n[sources.direct]\nkind = \"scrape\"\ninterval = \"200ms\"\n\
         targets = [{{ url = \"{}/metrics\" }}]\n[sources.lite]\nkind = \"database\"\nurl = \"sqlite::memory:\"\n\
         [signals.probe]\nsource = \"web\"\npath = \"/\"\nfail = \">= 3\"\n[signals.kept]\nsource = \"direct\"\nquery = \"sum(count_over_time(a[1h]))\"\n",
        down.url(),
        pages.url()
    );
    let number = |s: &Summary, name: &str| signal(s, name).value.replace(',', "").parse::<f64>().unwrap_or(0.0);
    let mut watching = Watching::new(&text);
    watching.until("failures and pages", |_| {}, |s| number(s, "probe") >= 3.0 && number(s, "kept") >= 3.0);
    watching.reload(&format!("{text}[signals.other]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\n"));
    let known = |s: &Summary, name: &str| signal(s, name).judgement.verdict != Verdict::Unknown || number(s, name) > 0.0;
    watching.until(
        "all to be asked",
        |s| {
            for name in ["probe", "kept"] {
                assert!(!known(s, name) || number(s, name) >= 3.0, "{name} begins anew: {:?}", signal(s, name));
            }
        },
        |s| known(s, "probe") && known(s, "kept"),
    );
    // What is itself another is another.
    watching.reload(&text.replacen("interval = \"200ms\"", "interval = \"10m\"", 1));
    watching.until("the probe to be asked", |_| {}, |s| number(s, "probe") == 1.0);
}
