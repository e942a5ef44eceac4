//! Canary and rollback from the command line: what is refused, what waits for nobody, what stays out when somebody else was
//! turning it in the same moment, and what is counted.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::host::Host;
use common::router::{Router, host, rollback};
use common::terminal::Terminal;
use common::{Canned, free_port, http_get, pushgateway, respond, until};
use rustix::process::{Signal, kill_process};
use serde_json::Value as Json;

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

/// Its record is kept where there is room without a disk.
#[test]
fn no_room_for_its_record_holds_up_no_emergency() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let host = host(&server, "");
    assert_eq!(host.run(&["runs"]).0, 0);
    // A folder in which nobody can make anything, not even root.
    let runs = host.path().join("state/runs");
    std::fs::remove_dir_all(&runs).expect("removed");
    std::os::unix::fs::symlink("/proc/self/fd", &runs).expect("linked");
    let (code, said) = host.run(&["canary", "set", "25", "--confirm", "here", "--override", "a try"]);
    assert!(code == 69 && said.contains("cannot write") && router.share() == 10.0, "an ordinary run is refused: {code}: {said}");
    let (code, said) = rollback(&host);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
    let kept = said.split_whitespace().find(|word| word.starts_with("/dev/shm/lastgreen-")).expect("where it is").trim_end_matches(',');
    assert!(std::fs::read_to_string(Path::new(kept).join("journal.jsonl")).is_ok_and(|text| text.contains("\"ended\"")), "{said}");
    // Every later process finds it, and brings it home when there is room.
    let id = Path::new(kept).file_name().and_then(|name| name.to_str()).expect("its number").to_string();
    let listed = || host.run(&["runs", "--json"]).1;
    assert!(listed().contains(&id) && Path::new(kept).is_dir(), "{}", listed());
    assert!(host.run(&["audit", "verify", &id]).1.contains("ok"), "{said}");
    std::fs::remove_file(&runs).expect("removed");
    assert!(listed().contains(&id) && !Path::new(kept).exists(), "{}", listed());
    assert!(std::fs::read_to_string(runs.join(&id).join("journal.jsonl")).is_ok_and(|text| text.contains("\"ended\"")));
    assert!(host.run(&["runs", &id]).0 == 0);
    // A folder that anybody may write to is not used, and holds up no emergency either.
    let state = host.path().join("state");
    let open_to = |mode| std::fs::set_permissions(&state, std::fs::Permissions::from_mode(mode)).expect("set");
    open_to(0o777);
    let (_, readiness) = host.run(&["rollback", "status"]);
    assert!(readiness.contains("room for the record") && readiness.contains("is open to others"), "{readiness}");
    let (code, said) = rollback(&host);
    assert!(code == 0 && said.contains("kept in memory"), "{code}: {said}");
    open_to(0o700);
    assert_eq!(serde_json::from_str::<Json>(&listed()).expect("json").as_array().map(Vec::len), Some(2), "{}", listed());
    // What stood for the state folder in memory.
    std::fs::remove_dir_all(Path::new(kept).ancestors().nth(2).expect("its folder")).expect("removed");
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
    let gateway = pushgateway();
    let more = format!("[rollback]\nprefix = \"rag\"\ntextfile = \"rollback.prom\"\npushgateway = \"http://127.0.0.1:{}\"\n", gateway.port);
    let host = host(&server, &more);
    for _ in 0..2 {
        assert_eq!(rollback(&host).0, 0);
    }
    until("the second to be counted", || {
        host.has("rollback.prom") && host.read("rollback.prom").contains("rag_rollback_total{reason=\"manual\"} 2")
    });
    assert!(host.read("rollback.prom").contains("rag_rollback_duration_seconds "));
    let page = || http_get(gateway.port, "/metrics").map(|(_, page)| page).unwrap_or_default();
    let line = |name: &str| page().lines().find(|line| line.starts_with(name)).unwrap_or_default().to_string();
    until("both to be pushed", || line("rag_rollback_total{").ends_with(" 2"));
    assert!(line("rag_rollback_total{").contains("reason=\"manual\""), "{}", page());
    assert!(line("rag_rollback_duration_seconds{").rsplit(' ').next().is_some_and(|n| n.parse::<f64>().is_ok()), "{}", page());
}

#[test]
fn a_hold_binds_a_plan_that_was_made_before_it() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    // The question is open, and meanwhile somebody else holds.
    let config = host.path().join("lastgreen.toml").display().to_string();
    let mut asked = Terminal::open(120, 40, &["--config", &config, "canary", "set", "10"], &[]);
    asked.wait("the question", |screen| screen.trim_end().ends_with(':'));
    let (code, words) = host.run(&["canary", "hold", "--reason", "a look at it first", "--confirm", "here"]);
    assert_eq!(code, 0, "{words}");
    asked.press("yes\r");
    asked.wait_for("a look at it first");
    assert_eq!(asked.ended(), 24);
    assert_eq!(router.share(), 0.0);
}

#[test]
fn a_hold_binds_a_step_that_is_under_way_already() {
    let router = Router::default();
    let server = router.start();
    let gate = "[gates.slow.c]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"touch asked; while [ ! -e go ]; do sleep 0.05; done\"]\n";
    let host = host(&server, gate);
    let text = host.read("lastgreen.toml").replace("bake = \"2s\"", "bake = \"2s\"\ngates = [\"slow\"]");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let (code, id) = host.run(&["canary", "set", "10", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{id}");
    until("the gate to be asked", || host.has("asked"));
    let (code, said) = host.run(&["canary", "hold", "--reason", "errors are seen", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    std::fs::write(host.path().join("go"), "").expect("written");
    until("it to be over, or to ask", || ["failed", "waiting", "rolled back"].contains(&host.status(id.trim()).as_str()));
    let (_, said) = host.run(&["runs", id.trim()]);
    assert!(router.share() == 0.0 && said.contains("held by"), "{said}");
}

#[test]
fn a_hold_binds_whoever_keeps_records_in_the_same_database() {
    let (router, pg) = (Router::default(), common::Postgres::start());
    let server = router.start();
    let with = format!("[sources.pg]\nkind = \"database\"\nurl = \"{}\"\n[audit]\ndatabase = \"pg\"\n", pg.url());
    let (first, second) = (host(&server, &with), host(&server, &with));
    let hold = |host: &Host, arguments: &[&str]| {
        let (code, said) = host.run(&[&["canary", "hold", "--reason", "a look at it first", "--confirm", "here"], arguments].concat());
        assert_eq!(code, 0, "{said}");
        said
    };
    assert!(!hold(&first, &[]).contains("binds only those"));
    let step = ["canary", "set", "10", "--confirm", "here"];
    for host in [&first, &second] {
        let (code, said) = host.run(&step);
        assert!(code == 24 && said.contains("held by") && said.contains("a look at it first"), "{said}");
        assert!(host.run(&["canary", "status"]).1.contains("a look at it first"));
    }
    // Down is always free, and whoever comes from elsewhere lets it go for all.
    hold(&second, &["--release"]);
    let (code, said) = first.run(&step);
    assert!(code != 24 && router.share() == 10.0, "{said}");
    // Who has turned it is known to all of them, too, and not taken for a stranger.
    let turned = second.run(&["canary", "status"]).1;
    let id = serde_json::from_str::<serde_json::Value>(&first.run(&["runs", "--json"]).1).expect("json")[0]["run"]
        .as_str()
        .expect("a run")
        .to_string();
    assert!(turned.contains(&id) && !turned.contains("somebody else"), "{turned}");
    let listed = second.run(&["runs"]).1;
    assert!(listed.lines().any(|line| line.contains(&id) && line.contains("elsewhere")), "{listed}");
    // Where nobody else hears of it, that is said.
    let alone = host(&server, "");
    let (_, said) = alone.run(&["canary", "hold", "--reason", "a look at it first", "--dry-run"]);
    assert!(said.contains("it binds only those who share this state folder"), "{said}");
}

#[test]
fn what_hangs_beside_it_holds_up_no_traffic() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 25.0;
    let server = router.start();
    // Whoever knows what was green last never answers; the messenger is busy at first.
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let slack = Canned::new(move |_, stream| match count.fetch_add(1, Ordering::SeqCst) {
        0 => respond(stream, "429 Too Many Requests", &["Retry-After: 1"], "rate_limited"),
        _ => respond(stream, "200 OK", &[], "ok"),
    });
    let more = "[release]\ndeploy = [\"true\", \"{{ version }}\"]\nrunning = [\"sleep\", \"600\"]\nlast_green = [\"sleep\", \"600\"]\n\
         [notify.team]\nkind = \"slack\"\nwebhook = \"env:HOOK\"\nevents = [\"success\"]\n";
    let mut host = host(&server, more);
    host.environment = vec![("HOOK".into(), slack.url())];
    let (code, said) = rollback(&host);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
    until("the letter to arrive in the end", || {
        // Whatever comes next sends what still waits.
        let _ = host.run(&["audit", "sync"]);
        told.load(Ordering::SeqCst) >= 2
    });
}

#[test]
fn of_a_scope_that_cannot_be_planned_the_traffic_is_taken_back_and_no_more_is_claimed() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 25.0;
    let server = router.start();
    // Whoever knows what was green last never answers.
    let more = "[release]\ndeploy = [\"true\", \"{{ version }}\"]\nrunning = [\"sleep\", \"600\"]\nlast_green = [\"sleep\", \"600\"]\n";
    let host = host(&server, more);
    let asked = ["rollback", "--scope", "code", "--reason", "it is bad"];
    let (code, said) = host.run(&[asked.as_slice(), &["--dry-run"]].concat());
    assert!(code == 69 && said.contains("not told within"), "{code}: {said}");
    let (code, said) = host.run(&[asked.as_slice(), &["--confirm", "elsewhere"]].concat());
    assert_eq!((code, router.share()), (24, 25.0), "{said}");
    let (code, said) = host.run(&[asked.as_slice(), &["--confirm", "here"]].concat());
    assert_eq!((code, router.share()), (1, 0.0), "{said}");
    assert!(said.contains("ONLY THE TRAFFIC: code cannot be planned: which version was green last cannot be told"), "{said}");
    let (_, runs) = host.run(&["runs", "--json"]);
    let runs: Json = serde_json::from_str(&runs).expect("json");
    let (code, shown) = host.run(&["runs", runs[0]["run"].as_str().expect("a run")]);
    assert!(code == 0 && shown.contains("ONLY THE TRAFFIC"), "it stands on record: {shown}");
}

#[test]
fn of_two_who_press_at_one_moment_both_end_and_the_canary_is_out() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 25.0;
    let server = router.start();
    let host = host(&server, "");
    let both = std::thread::scope(|scope| {
        [scope.spawn(|| rollback(&host)), scope.spawn(|| rollback(&host))].map(|one| one.join().expect("it ends"))
    });
    assert!(both.iter().any(|(code, _)| *code == 0), "{both:?}");
    assert_eq!(router.share(), 0.0, "{both:?}");
    let (_, runs) = host.run(&["runs", "--json"]);
    let runs: Json = serde_json::from_str(&runs).expect("json");
    let ends: Vec<&str> = runs.as_array().expect("runs").iter().filter_map(|run| run["status"].as_str()).collect();
    assert!(ends.iter().all(|end| ["done", "superseded"].contains(end)) && ends.len() == 2, "{ends:?}");
}

#[test]
fn a_canary_in_the_middle_of_its_bake_gives_way() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    let text = host.read("lastgreen.toml").replace("bake = \"2s\"", "bake = \"10m\"");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let (code, id) = host.run(&["canary", "set", "10", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{id}");
    until("the canary to have its share", || router.share() == 10.0);
    let (code, said) = rollback(&host);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
    host.until(id.trim(), "superseded");
}

#[test]
fn a_promotion_that_waits_for_a_human_holds_up_no_automatic_rollback() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    host.runbook("walk", "title: Walk\nsteps:\n  - {name: up, id: up, type: traffic, to: 10}\n  - {name: sure, type: manual, text: Go on?}\n  - {name: more, type: traffic, to: 25}\n");
    let id = host.begin("walk");
    host.until(&id, "waiting");
    assert_eq!(router.share(), 10.0);
    let (code, said) = host.run(&["rollback", "--automatic", "--reason", "a threshold is breached", "--confirm", "here"]);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
    host.until(&id, "superseded");
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

/// The shipped rollback of the traffic, as the profile has it.
const OF_PROFILE: &str = include_str!("../assets/profiles/rag/runbooks/rollback-traffic.yaml");

#[test]
fn whether_a_person_or_a_program_rolled_back_is_on_record() {
    let router = Router::default();
    let server = router.start();
    let pg = common::Postgres::start();
    pg.sql("CREATE TABLE task_events (task_id text PRIMARY KEY, event_type text, metadata jsonb, created_at timestamptz DEFAULT now())");
    let host = host(&server, &format!("[sources.database]\nkind = \"database\"\nurl = \"{}\"\n", pg.url()));
    host.runbook("rollback-traffic", OF_PROFILE);
    for (arguments, wanted) in [(&["--automatic"][..], "rollback_auto"), (&[], "rollback_manual")] {
        *router.share.lock().expect("a lock") = 10.0;
        let mut all = vec!["rollback", "--reason", "it \"is\" bad", "--confirm", "here"];
        all.extend(arguments);
        let (code, said) = host.run(&all);
        assert_eq!(code, 0, "{said}");
        let rows = pg.sql("SELECT event_type || ' ' || (metadata->>'reason') FROM task_events ORDER BY created_at DESC LIMIT 1");
        assert_eq!(rows, format!("{wanted} it \"is\" bad"));
    }
    // Nobody is asked where nobody is.
    assert_eq!(host.run(&["rollback", "--automatic"]).0, 64);
}

#[test]
fn a_step_that_failed_says_what_leads_on_by_hand() {
    let host = Host::plain("");
    host.runbook("next", "title: Next\nsteps:\n  - {name: a, type: wait, time: 1s}\n");
    let first = |by_hand: &str| {
        format!("title: First\nsteps:\n  - {{name: look, type: script, script: exit 1, on_failure: ask, by_hand: [{by_hand}]}}\n")
    };
    host.runbook("first", &first("missing"));
    let (code, said) = host.run(&["run", "first", "--dry-run"]);
    assert!(code == 65 && said.contains("first.yaml:3") && said.contains("by_hand: there is no runbook `missing`"), "{said}");
    host.runbook("first", &first("missing, next"));
    let id = host.begin("first");
    host.until(&id, "waiting");
    let (_, said) = host.run(&["runs", &id]);
    assert!(said.contains("on by hand: runbook next") && said.contains("on by hand: lastgreen run next"), "{said}");
}
