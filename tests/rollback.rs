//! Canary and rollback from the command line: what is refused, what waits for nobody, what stays out when somebody else was
//! turning it in the same moment, and what is counted.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::host::Host;
use common::{Canned, free_port, respond, until};
use rustix::process::{Signal, kill_process};
use serde_json::Value as Json;

/// A router that keeps a share.
#[derive(Clone, Default)]
struct Router {
    share: Arc<Mutex<f64>>,
    puts: Arc<AtomicUsize>,
    /// A call that is still on its way: it arrives behind the next look.
    late: Arc<Mutex<Option<f64>>>,
    /// No call is answered.
    hangs: Arc<AtomicBool>,
}

impl Router {
    fn start(&self) -> Canned {
        let router = self.clone();
        Canned::new(move |request, stream| {
            if request.starts_with("PUT") {
                router.puts.fetch_add(1, Ordering::SeqCst);
                until("the router to answer", || !router.hangs.load(Ordering::SeqCst));
                let (_, body) = request.split_once("\r\n\r\n").unwrap_or_default();
                let wanted: Json = serde_json::from_str(body).expect("json");
                *router.share.lock().expect("a lock") = wanted["canary"].as_f64().expect("a share");
            }
            let now = *router.share.lock().expect("a lock");
            respond(stream, "200 OK", &[], &format!("{{\"canary\": {now}}}"));
            if request.starts_with("GET")
                && now == 0.0
                && let Some(late) = router.late.lock().expect("a lock").take()
            {
                *router.share.lock().expect("a lock") = late;
            }
        })
    }

    fn share(&self) -> f64 {
        *self.share.lock().expect("a lock")
    }
}

const SIGNALS: &str =
    "[signals.bad]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\n[signals.good]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\n";

fn host(server: &Canned, more: &str) -> Host {
    Host::plain(&format!(
        "{SIGNALS}[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/traffic\"\npointer = \"/canary\"\nwithin = \"3s\"\ntimeout = \"2s\"\n\
         [canary]\nsteps = [0, 10, 25, 100]\nbake = \"2s\"\nat_least = 1\n[canary.metrics.m]\ncanary = \"bad\"\nstable = \"good\"\n\
         [services.router]\nurl = \"{}\"\n{more}",
        server.url()
    ))
}

fn rollback(host: &Host) -> (i32, String) {
    host.run(&["rollback", "--reason", "it is bad", "--confirm", "here"])
}

#[test]
fn what_comes_in_behind_it_is_turned_back() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let host = host(&server, "");
    *router.late.lock().expect("a lock") = Some(10.0);
    let (code, said) = rollback(&host);
    assert_eq!(code, 0, "{said}");
    assert_eq!(router.share(), 0.0, "{said}");
    assert!(router.puts.load(Ordering::SeqCst) >= 2, "it is not enough to have sent it once");
}

#[test]
fn it_is_sent_even_where_it_looks_done() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    let (code, said) = rollback(&host);
    assert_eq!(code, 0, "{said}");
    assert!(router.puts.load(Ordering::SeqCst) >= 1, "0 % that is observed may be on its way elsewhere: {said}");
}

#[test]
fn sources_that_are_away_hold_up_nothing() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 25.0;
    let server = router.start();
    let more = format!(
        "[sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:{}\"\n[sources.pg]\nkind = \"database\"\nurl = \"postgres://a@127.0.0.1:{}/a\"\n\
         [audit]\ndatabase = \"pg\"\n",
        free_port(),
        free_port()
    );
    let host = host(&server, &more);
    let (code, said) = rollback(&host);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
}

#[test]
fn what_speaks_against_a_step_up_is_not_left_out_by_an_empty_word() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "[roles]\noperator = [\"*\"]\ncommander = [\"somebody\"]\n[roles.may]\noperator = { staging = \"danger\" }\n");
    let set = |weight: &str, more: &[&str]| host.run(&[&["canary", "set", weight, "--confirm", "here"][..], more].concat());
    let (code, said) = set("100", &[]);
    assert!(code == 24 && said.contains("10 %, 25 % would be left out"), "{said}");
    let (code, said) = host.run(&["canary", "hold", "--reason", "a look at it first", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = set("10", &[]);
    assert!(code == 24 && said.contains("a look at it first"), "{said}");
    for empty in ["", "  "] {
        let (code, said) = set("10", &["--override", empty]);
        assert!(code == 64 && said.contains("--override is empty"), "{said}");
        let by_hand = format!("override={empty}");
        let (code, said) =
            host.run(&["run", "canary-step", "--set", "weight=10", "--set", "from=0", "--set", &by_hand, "--confirm", "here"]);
        assert!(code == 24 && said.contains("held by"), "{said}");
    }
    let (code, said) = set("10", &["--override", "I know better"]);
    assert!(code == 24 && said.contains("only a commander"), "{said}");
    assert_eq!(router.share(), 0.0);
    let (code, said) = host.run(&["canary", "hold", "--release", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_run_that_was_left_is_not_taken_up_after_an_emergency() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    router.hangs.store(true, Ordering::SeqCst);
    let (code, id) = host.run(&["canary", "set", "10", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{id}");
    let id = id.trim();
    until("the call to be on its way", || router.puts.load(Ordering::SeqCst) == 1);
    kill_process(host.runner_pid(id), Signal::KILL).expect("killed");
    host.until(id, "interrupted");
    router.hangs.store(false, Ordering::SeqCst);
    let (code, said) = rollback(&host);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
    let (code, said) = host.run(&["resume", id]);
    assert!(code == 24 && said.contains("an emergency has had the environment since"), "{said}");
    let (_, said) = host.run(&["abort", id, "--undo"]);
    assert_eq!(router.share(), 0.0, "taking it back sends nothing to a canary that was taken out: {said}");
}

#[test]
fn a_pause_of_the_canary_is_none_of_an_emergency() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    router.hangs.store(true, Ordering::SeqCst);
    let (code, id) = host.run(&["rollback", "--reason", "bad", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{id}");
    until("the call to be on its way", || router.puts.load(Ordering::SeqCst) == 1);
    let (code, said) = host.run(&["canary", "pause"]);
    assert!(code == 24 && said.contains("nothing to pause"), "{said}");
    router.hangs.store(false, Ordering::SeqCst);
    host.until(id.trim(), "done");
}

#[test]
fn rollbacks_are_counted_for_a_textfile_collector_and_a_pushgateway() {
    let router = Router::default();
    let server = router.start();
    let pushed: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = pushed.clone();
    let gateway = Canned::new(move |request, stream| {
        kept.lock().expect("a lock").push(request.to_string());
        respond(stream, "200 OK", &[], "");
    });
    let more = format!("[rollback]\nprefix = \"rag\"\ntextfile = \"rollback.prom\"\npushgateway = \"{}\"\n", gateway.url());
    let host = host(&server, &more);
    for _ in 0..2 {
        assert_eq!(rollback(&host).0, 0);
    }
    until("the second to be counted", || {
        host.has("rollback.prom") && host.read("rollback.prom").contains("rag_rollback_total{reason=\"manual\"} 2")
    });
    assert!(host.read("rollback.prom").contains("rag_rollback_duration_seconds "));
    until("both to be pushed", || pushed.lock().expect("a lock").len() == 2);
    let pushed = pushed.lock().expect("a lock");
    assert!(pushed[1].contains("/metrics/job/") && pushed[1].contains("rag_rollback_total{reason=\"manual\"} 2"), "{}", pushed[1]);
}

#[test]
fn a_switch_that_says_the_same_for_every_share_is_a_mistake() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    let text = host.read("lastgreen.toml").replace("pointer = \"/canary\"", "pointer = \"/canary\"\nbody = '{\"canary\": 10}'");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let (code, said) = host.run(&["check", "--offline"]);
    assert!(code == 65 && said.contains("says the same for every share"), "{said}");
}

#[test]
fn gates_say_what_they_found_and_nothing_unknown_passes() {
    let router = Router::default();
    let server = router.start();
    let more = "[gates.code.own]\nkind = \"command\"\ncommand = [\"./ok\"]\n\
                [gates.bad.own]\nkind = \"command\"\ncommand = [\"./bad\"]\n\
                [gates.lost.own]\nkind = \"command\"\ncommand = [\"./nowhere\"]\n\
                [gates.matrix.fits]\nkind = \"compat\"\nfile = \"compat.md\"\nbinary = \"v2\"\nschema = \"v1\"\ncollection = \"c\"\n\
                [gates.locked.files]\nkind = \"lockfile\"\nfile = \"models.lock\"\n";
    let host = host(&server, more);
    for (name, script) in [("ok", "echo fine"), ("bad", "echo 'two tests failed' >&2; exit 1")] {
        let path = host.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let compat = |status: &str| {
        let table =
            format!("| binary | schema | collection | status |\n|---|---|---|---|\n| * | * | * | OK |\n| v2 | v1 | c | {status} |\n");
        std::fs::write(host.path().join("compat.md"), table).expect("written");
    };
    let gate = |name: &str| host.run(&["gate", name]);
    assert_eq!(gate("code").0, 0);
    let (code, said) = gate("bad");
    assert!(code == 1 && said.contains("FAIL") && said.contains("two tests failed"), "{code} {said}");
    for lost in ["lost", "locked"] {
        let (code, said) = gate(lost);
        assert!(code == 1 && said.contains("UNKNOWN"), "what is not there is unknown, and no pass: {said}");
    }
    for (status, wanted, code) in
        [("OK", "PASS", 0), ("WARN", "WARN", 0), ("INCOMPATIBLE", "FAIL", 1), ("BROKEN", "UNKNOWN", 1), ("NOT OK", "UNKNOWN", 1)]
    {
        compat(status);
        let (got, said) = gate("matrix");
        assert!(got == code && said.to_uppercase().contains(wanted), "{status}: {got} {said}");
    }
    let (code, said) = gate("nope");
    assert_eq!(code, 64, "{said}");
}
