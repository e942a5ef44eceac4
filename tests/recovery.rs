//! Runs that were cut off, stopped or could not go on: nothing is done twice, nothing half and silently, and whoever has to
//! decide is asked.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::host::{Host, waits_for};
use common::{Canned, Postgres, respond, until};
use lastgreen::act::runner::{ControlRequest, PATIENCE, ask};
use lastgreen::plan::runbook::Operator;
use rustix::process::{Signal, kill_process, test_kill_process};

/// A step that says when it has begun, then waits for a file.
const SLOW: &str = "  - {name: slow, type: script, cwd: .., idempotent: true, script: 'echo x >> begun; while [ ! -e go ]; do sleep 0.02; done; echo x >> ended'}\n";

#[test]
fn a_runner_that_is_told_to_go_while_it_waits_for_a_script_begins_nothing_beside_it() {
    let host = Host::plain("");
    host.runbook("slow", &format!("title: Slow\nsteps:\n{SLOW}"));
    host.runbook("other", "title: Other\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch other}\n");
    let id = host.begin("slow");
    until("the script to begin", || host.read("begun") == "x\n");
    kill_process(host.runner_pid(&id), Signal::KILL).expect("sent");
    host.until(&id, "interrupted");
    // The next one finds the script at work, and is told to go while it waits.
    let (code, said) = host.run(&["resume", &id, "--detach"]);
    assert_eq!(code, 0, "{said}");
    let pid = host.runner_pid(&id);
    kill_process(pid, Signal::TERM).expect("sent");
    until("it to go", || test_kill_process(pid).is_err());
    assert_eq!(host.status(&id), "paused");
    assert_eq!(host.read("begun"), "x\n", "it was not begun beside itself");
    // Its lock was let go of in good order; what it left is at work all the same.
    let (code, said) = host.run(&["run", "other", "--confirm", "here"]);
    assert!(code == 24 && said.contains("still at work"), "{code}: {said}");
    std::fs::write(host.path().join("go"), "").expect("written");
    until("the script to end", || host.read("ended") == "x\n");
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(host.run(&["run", "other", "--confirm", "here"]).0, 0);
}

#[test]
fn a_probe_that_complains_has_not_said_no() {
    for (complaint, asked) in [("echo no route to host >&2; ", true), ("", false)] {
        let host = Host::plain("");
        host.runbook(
            "probe",
            &format!(
                "title: Probe\nsteps:\n  - name: add\n    type: script\n    cwd: ..\n    script: |\n      echo x >> added\n      while [ ! -e go ]; do sleep 0.02; done\n    probe: {{type: script, mutates: false, cwd: .., script: '[ ! -e added ] || {{ {complaint}exit 1; }}; exit 1'}}\n"
            ),
        );
        let id = host.begin("probe");
        until("the step to begin", || host.read("added") == "x\n");
        kill_process(host.runner_pid(&id), Signal::KILL).expect("sent");
        host.until(&id, "interrupted");
        std::fs::write(host.path().join("go"), "").expect("written");
        let (code, said) = host.run(&["resume", &id]);
        assert_eq!(code, if asked { 22 } else { 0 }, "{said}");
        assert_eq!(host.read("added"), if asked { "x\n" } else { "x\nx\n" });
    }
}

#[test]
fn again_after_a_failure_that_may_have_worked_asks_the_probe_first() {
    let host = Host::plain("");
    host.runbook(
        "again",
        "title: Again\nsteps:\n  - {name: add, type: script, cwd: .., script: 'echo x >> added; exit 3', on_failure: ask, probe: {type: script, mutates: false, cwd: .., script: '[ -e added ]'}}\n",
    );
    let (code, said) = host.run(&["run", "again", "--confirm", "here"]);
    assert_eq!(code, 22, "{said}");
    let id = host.run(&["runs", "--json"]).1;
    let id = serde_json::from_str::<serde_json::Value>(&id).expect("json")[0]["run"].as_str().expect("an id").to_string();
    assert_eq!(host.run(&["attach", "--answer", "again"]).0, 0);
    host.until(&id, "done");
    assert_eq!(host.read("added"), "x\n", "the lost answer is no reason to do it twice");
    assert!(host.run(&["audit", "show"]).1.contains("it was so already"));
}

#[test]
fn a_way_back_that_fails_asks_and_goes_on() {
    let host = Host::plain("");
    host.runbook(
        "back",
        "title: Back\nsteps:\n  - {name: bad, type: script, script: exit 1}\nrollback:\n  automatic: true\n  steps:\n    - {name: one, type: script, script: exit 1}\n    - {name: two, type: script, cwd: .., script: 'touch two; echo it'}\n    - {name: three, type: script, cwd: .., script: 'echo \"$GIVEN\" > three', env: {GIVEN: '{{ steps.two.output }}'}}\n",
    );
    let (code, said) = host.run(&["run", "back", "--confirm", "here"]);
    assert_eq!(code, 22, "{said}");
    assert!(said.contains("Step `one` failed"), "{said}");
    let id = serde_json::from_str::<serde_json::Value>(&host.run(&["runs", "--json"]).1).expect("json")[0]["run"].to_string();
    assert_eq!(host.run(&["attach", "--answer", "skip"]).0, 0);
    host.until(id.trim_matches('"'), "rolled-back");
    assert_eq!(host.read("three"), "it\n", "a later step of the way back knows what an earlier one gave");
}

#[test]
fn a_run_that_is_paused_does_not_go_on_with_a_changed_runbook_although_its_runner_lives() {
    let host = Host::plain("");
    std::fs::write(host.path().join("runbooks/do.sh"), "touch ../done\n").expect("written");
    let text = format!("title: Long\nsteps:\n{}  - {{name: do, type: script, file: do.sh}}\n", waits_for("go"));
    host.runbook("long", &text);
    let id = host.begin("long");
    assert_eq!(host.run(&["attach", &id, "--pause"]).0, 0);
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "paused");
    assert!(test_kill_process(host.runner_pid(&id)).is_ok(), "its runner waits");
    std::fs::write(host.path().join("runbooks/do.sh"), "touch ../other\n").expect("written");
    let (code, said) = host.run(&["resume", &id]);
    assert!(code == 24 && said.contains("do.sh is another script"), "{code}: {said}");
    std::fs::write(host.path().join("runbooks/do.sh"), "touch ../done\n").expect("written");
    host.runbook("long", &text.replace("title: Long", "title: Longer"));
    let (code, said) = host.run(&["resume", &id]);
    assert!(code == 24 && said.contains("+title: Longer"), "{code}: {said}");
    host.runbook("long", &text);
    assert_eq!(host.run(&["resume", &id]).0, 0);
    assert!(host.has("done") && !host.has("other"));
}

#[test]
fn without_room_for_a_script_it_is_not_begun() {
    let host = Host::plain("");
    host.runbook(
        "room",
        "title: Room\nsteps:\n  - {name: take, type: script, script: 'mv \"$HOME/state/runs/$LASTGREEN_RUN/output\" \"$HOME/kept\"'}\n  - {name: after, type: script, cwd: .., script: echo x >> after}\nrollback: {automatic: true, script: 'touch \"$HOME/back\"'}\n",
    );
    let id = host.begin("room");
    let folder = host.path().join("state/runs").join(&id);
    until("the runner to say what keeps it", || {
        let said = ask(&folder, &ControlRequest::Status, &Operator::default(), PATIENCE);
        said.is_ok_and(|reply| reply.message.is_some_and(|m| m.contains("nothing can be written down")))
    });
    assert!(!host.has("after") && !host.has("back"), "a full disk is no failure of the step");
    assert!(!host.read(&format!("state/runs/{id}/journal.jsonl")).contains("\"step\":\"after\""), "and nothing was announced");
    std::fs::create_dir(folder.join("output")).expect("a folder");
    host.until(&id, "done");
    assert_eq!(host.read("after"), "x\n");
}

#[test]
fn whoever_waits_for_an_answer_is_told_to_although_the_letter_before_takes_its_time() {
    let letters: Arc<Mutex<Vec<String>>> = Arc::default();
    let (kept, count) = (letters.clone(), AtomicUsize::new(0));
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let hook = Canned::new(move |request, stream| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            // The first is on its way while the question is asked.
            let _ = gate.lock().expect("a lock").recv_timeout(Duration::from_secs(10));
        }
        kept.lock().expect("a lock").push(request.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_string());
        respond(stream, "200 OK", &[], "ok");
    });
    let host = Host::plain(&format!(
        "[notify.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\nevents = [\"start\", \"waiting\"]\n[audit]\ndatabase = \"none\"\n",
        hook.port
    ));
    host.runbook("ask", "title: Ask\nsteps:\n  - {name: sure, type: manual, text: Sure?}\n");
    let id = host.begin("ask");
    host.until(&id, "waiting");
    release.send(()).expect("sent");
    until("both letters", || letters.lock().expect("a lock").len() == 2);
    assert!(letters.lock().expect("a lock")[1].contains("waits for an operator"));
    assert_eq!(host.run(&["attach", "--answer", "done"]).0, 0);
    host.until(&id, "done");
}

#[test]
fn an_abort_ends_the_statement_on_the_server_too() {
    let pg = Postgres::start();
    let host = Host::with_database(&pg);
    host.runbook(
        "sleep",
        "title: Sleep\nsteps:\n  - {name: nap, type: sql, source: db, mutates: true, query: 'CREATE TABLE slept AS SELECT 1 AS n FROM pg_sleep(60)'}\n",
    );
    let id = host.begin("sleep");
    let at_work = || pg.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE TABLE slept%' AND state = 'active'");
    until("the statement to be at work", || at_work() == "1");
    let (code, said) = host.run(&["abort", &id, "--leave"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(at_work(), "0", "nothing of it goes on behind the record");
    assert_eq!(pg.sql("SELECT to_regclass('slept') IS NULL"), "t");
}

#[test]
fn values_of_statements_are_what_their_columns_want_them_to_be() {
    let pg = Postgres::start();
    pg.sql("CREATE TABLE task_events (id serial, task_id text, event_type text, metadata jsonb, at timestamptz DEFAULT now())");
    pg.sql("CREATE TABLE t (id uuid, n int, at timestamptz, share numeric, said text)");
    let host = Host::new(&format!(
        "profile = \"rag\"\n[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.database]\nkind = \"database\"\nurl = \"{}\"\n[sources.stable]\nkind = \"http\"\nurl = \"http://127.0.0.1:9\"\n",
        pg.url()
    ));
    let (code, said) = host.run(&["run", "stop-ingestion", "--confirm", "here"]);
    assert_eq!(code, 0, "the shipped one: {said}");
    assert_eq!(pg.sql("SELECT metadata->>'reason' FROM task_events WHERE event_type = 'ingestion_held'"), "maintenance");
    host.runbook(
        "types",
        "title: Types\ninputs: {said: {default: \"it's \\\\ 'so'; DROP TABLE t\"}}\nsteps:\n  - {name: put, type: sql, source: database, mutates: true, query: 'INSERT INTO t VALUES ($1, $2, $3, $4, $5)', params: ['6f1c1f0e-0000-4000-8000-000000000001', 7, '2026-11-21T03:00:00Z', 0.25, '{{ inputs.said }}'], expect: 1}\n  - {name: look, type: sql, source: database, query: 'SELECT count(*) FROM t WHERE n = $1 AND at < $2 AND said = $3', params: [7, '2026-11-22', '{{ inputs.said }}'], expect: 1}\n",
    );
    let (code, said) = host.run(&["run", "types", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql("SELECT said FROM t"), "it's \\ 'so'; DROP TABLE t");
    pg.sql("CREATE PROCEDURE keep(text) LANGUAGE sql AS 'INSERT INTO t (said) VALUES ($1)'");
    host.runbook(
        "call",
        "title: Call\nsteps:\n  - {name: call, type: sql, source: database, mutates: true, query: 'CALL keep($1)', params: [called]}\n",
    );
    let (code, said) = host.run(&["run", "call", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql("SELECT count(*) FROM t WHERE said = 'called'"), "1");
}

#[test]
fn the_lock_of_somebody_elsewhere_is_not_taken_for_a_dead_one() {
    let pg = Postgres::start();
    let (first, second) = (Host::with_database(&pg), Host::with_database(&pg));
    first.runbook("long", &format!("title: Long\nsteps:\n{}", waits_for("go")));
    second.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let id = first.begin("long");
    // As from a container of the same name, whose process numbers mean nothing here.
    let elsewhere = |place: &str| {
        pg.sql(&format!(
            "UPDATE lastgreen.locks SET holder = (holder::jsonb || jsonb_build_object('runner', holder::jsonb->'runner' || '{{\"pid\": 4194303{place}}}'))::text"
        ))
    };
    elsewhere(", \"place\": \"another boot pid:[1]\"");
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains("is taken"), "{code}: {said}");
    assert!(!second.has("touched"));
    std::fs::write(first.path().join("go"), "").expect("written");
    first.until(&id, "done");
}

#[test]
fn a_runner_that_only_waits_for_its_post_ends_when_it_is_told_to() {
    // A port that was free a moment ago: nobody takes the letter.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let host = Host::plain(&format!("[notify.hook]\nkind = \"webhook\"\nurl = \"http://{nobody}/\"\nevents = [\"success\"]\n"));
    host.runbook("short", "title: Short\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch it}\n");
    let id = host.begin("short");
    let runner = host.runner_pid(&id);
    host.until(&id, "done");
    // It stays for hours to bring what is left.
    assert!(test_kill_process(runner).is_ok(), "it waits for its letter to be taken");
    kill_process(runner, Signal::TERM).expect("sent");
    until("the runner to be gone", || test_kill_process(runner).is_err());
}
