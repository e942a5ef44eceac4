//! What an operator tried and found: full disks, killed runners, slow servers, missing secrets, letters that nobody takes,
//! journals that were emptied, stale requests.

mod common;

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::host::{Host, waits_for};
use common::{Canned, Postgres, respond, until};
use lastgreen::act::runner::{AbortRequest, ControlRequest, ask};
use lastgreen::plan::runbook::{Course, Operator};
use rustix::process::{Signal, kill_process};

#[test]
fn a_script_outlives_its_runner_and_may_go_on_printing() {
    let host = Host::plain("");
    host.runbook(
        "prints",
        "title: Prints\nsteps:\n  - {name: print, type: script, cwd: .., idempotent: true, script: 'echo x >> one; while [ ! -e go ]; do sleep 0.02; done; for i in 1 2 3; do echo line $i; echo err $i >&2; done; echo x >> two'}\n",
    );
    let id = host.begin("prints");
    until("the first effect", || host.has("one"));
    kill_process(host.runner_pid(&id), Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    std::fs::write(host.path().join("go"), "").expect("written");
    until("the second effect, behind lines that nobody reads", || host.has("two"));
}

#[test]
fn a_server_that_is_still_at_it_is_not_asked_twice() {
    let (posted, applied) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (posts, applies) = (posted.clone(), applied.clone());
    // It does what it was asked for a while after it was asked, whether anybody waits or not.
    let server = Canned::new(move |head, stream| {
        if head.starts_with("POST") {
            posts.fetch_add(1, Ordering::SeqCst);
            let applies = applies.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(2));
                applies.fetch_add(1, Ordering::SeqCst);
            });
            std::thread::sleep(Duration::from_secs(4));
        }
        respond(stream, "200 OK", &[], &format!("{{\"n\": {}}}", applies.load(Ordering::SeqCst)));
    });
    let host = Host::plain("");
    let step = format!(
        "  - {{name: post, type: http, method: POST, url: \"{0}/\", timeout: 6s, probe: {{type: http, url: \"{0}/n\", expect: {{/n: \">= 1\"}}}}}}\n",
        server.url()
    );
    host.runbook("slow", &format!("title: Slow\nsteps:\n{step}"));
    let id = host.begin("slow");
    until("the request to be there", || posted.load(Ordering::SeqCst) == 1);
    kill_process(host.runner_pid(&id), Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 0, "{said}");
    assert_eq!((posted.load(Ordering::SeqCst), applied.load(Ordering::SeqCst)), (1, 1));
    let (_, audit) = host.run(&["audit", "show", &id]);
    assert!(audit.contains("may still be at it until"), "it says why it waits: {audit}");
}

#[test]
fn a_secret_that_is_missing_is_missed_before_anything_is_begun() {
    let mut host = Host::plain("");
    let text = "title: Secrets\nsteps:\n  - name: one\n    type: script\n    cwd: ..\n    script: echo x >> one\n    undo: {type: script, cwd: .., script: echo x >> undone, secrets: {TOK: \"env:TOK_OF_UNDO\"}}\n  - {name: two, type: script, cwd: .., script: echo x >> two, secrets: {TOK: \"env:TOK_OF_TWO\"}}\n";
    host.runbook("secrets", text);
    let (code, said) = host.run(&["run", "secrets", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains("env:TOK_OF_UNDO") && said.contains("env:TOK_OF_TWO"), "each by its name: {said}");
    assert!(!host.has("one"));
    let (code, said) = host.run(&["run", "secrets", "--dry-run"]);
    assert!(code == 0 && said.contains("a secret is missing here: env:TOK_OF_TWO"), "{said}");
    host.environment = vec![("TOK_OF_UNDO".into(), "undo-s3cret".into()), ("TOK_OF_TWO".into(), "two-s3cret".into())];
    let (code, said) = host.run(&["run", "secrets", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_letter_that_nobody_takes_keeps_no_other_back() {
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = got.clone();
    let server = Canned::new(move |head, stream| {
        // The first is refused for good, as too large or malformed ones are.
        let mut got = kept.lock().expect("a lock");
        got.push(head.lines().next().unwrap_or("").to_string());
        let status = if got.len() == 1 { "400 Bad Request" } else { "200 OK" };
        respond(stream, status, &[], "no");
    });
    let host = Host::plain(&format!("[notify.hook]\nkind = \"webhook\"\nurl = \"{}\"\nevents = [\"start\", \"success\"]\n", server.url()));
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    assert_eq!(host.run(&["run", "quick", "--confirm", "here"]).0, 0);
    until("the second letter", || got.lock().expect("a lock").len() == 2);
    until("nothing to wait", || host.run(&["audit", "sync"]).1.contains("0 notifications still wait"));
    assert_eq!(got.lock().expect("a lock").len(), 2, "what was refused is not sent again");
}

#[test]
fn a_receiver_that_wants_to_be_left_alone_is_and_the_reason_is_told() {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let server = Canned::new(move |_, stream| {
        asked.fetch_add(1, Ordering::SeqCst);
        respond(stream, "429 Too Many Requests", &["Retry-After: 3000"], "slow down");
    });
    let host = Host::plain(&format!("[notify.hook]\nkind = \"webhook\"\nurl = \"{}\"\nevents = [\"success\"]\n", server.url()));
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    assert_eq!(host.run(&["run", "quick", "--confirm", "here"]).0, 0);
    until("it to be tried", || count.load(Ordering::SeqCst) == 1);
    until("the reason to be told", || {
        let (code, said) = host.run(&["audit", "sync"]);
        code == 69 && said.contains("429") && said.contains("slow down") && said.contains("1 notifications still wait")
    });
    assert_eq!(count.load(Ordering::SeqCst), 1, "not before it is time");
}

#[test]
fn a_journal_that_is_gone_is_found_and_nothing_is_done_again() {
    let pg = Postgres::start();
    let host = Host::with_database(&pg);
    host.runbook(
        "long",
        &format!("title: Long\nsteps:\n  - {{name: add, type: script, cwd: .., script: echo x >> added}}\n{}", waits_for("go")),
    );
    let id = host.begin("long");
    until("the first step", || host.has("added"));
    until("its records to be in the database", || {
        pg.sql("SELECT count(*) FROM lastgreen.records").trim().parse::<u32>().is_ok_and(|n| n >= 3)
    });
    kill_process(host.runner_pid(&id), Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    std::fs::write(host.path().join("go"), "").expect("written");
    for how in ["emptied", "removed"] {
        match how {
            "emptied" => std::fs::write(host.journal(&id), "").expect("written"),
            _ => std::fs::remove_file(host.journal(&id)).expect("removed"),
        }
        let (code, said) = host.run(&["audit", "verify"]);
        assert!(code == 1 && said.contains("BAD") && said.contains(&id), "{how}: {code}: {said}");
        let (code, said) = host.run(&["resume", &id]);
        assert_ne!(code, 0, "{how}: {said}");
        assert_eq!(host.read("added"), "x\n", "{how}: it was done again");
    }
    // Without its plan it is a run all the same.
    std::fs::write(host.path().join(format!("state/runs/{id}/plan.json")), "{").expect("written");
    std::fs::write(host.journal(&id), "x").expect("written");
    let (_, list) = host.run(&["runs"]);
    assert!(list.contains(&id) && list.contains("CANNOT BE SHOWN"), "{list}");
    let (code, said) = host.run(&["audit", "verify"]);
    assert!(code == 1 && said.contains(&id), "{said}");
}

#[test]
fn what_was_answered_as_failed_does_not_happen_later() {
    let host = Host::plain("");
    host.runbook("long", &format!("title: Long\nsteps:\n{}  - {{name: last, type: script, script: 'true'}}\n", waits_for("go")));
    let id = host.begin("long");
    let pid = host.runner_pid(&id);
    kill_process(pid, Signal::STOP).expect("stopped");
    let (code, said) = host.run(&["abort", &id, "--undo"]);
    kill_process(pid, Signal::CONT).expect("woken");
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("will not do it later"), "{said}");
    // It lives, hears what is asked now, and has done nothing of what was asked then.
    assert_eq!(host.run(&["attach", &id, "--pause"]).0, 0);
    assert!(!host.read(&format!("state/runs/{id}/journal.jsonl")).contains("abort_wanted"));
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "paused");
}

#[test]
fn a_pause_that_was_asked_for_during_the_last_step_keeps_nothing() {
    let host = Host::plain("");
    host.runbook("long", &format!("title: Long\nsteps:\n{}", waits_for("go")));
    let id = host.begin("long");
    until("the step to be under way", || host.has("waits-for-go"));
    assert_eq!(host.run(&["attach", &id, "--pause"]).0, 0);
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "done");
}

#[test]
fn a_process_that_left_the_group_is_ended_too() {
    let host = Host::plain("");
    host.runbook(
        "stray",
        "title: Stray\nsteps:\n  - {name: stray, type: script, cwd: .., timeout: 1s, script: 'setsid sh -c \"echo \\$\\$ > stray; sleep 300\" & sleep 300'}\n",
    );
    let (code, said) = host.run(&["run", "stray", "--confirm", "here"]);
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("its processes were ended"), "{said}");
    let pid = rustix::process::Pid::from_raw(host.read("stray").trim().parse().expect("a number")).expect("a process");
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z")
    };
    assert!(gone(), "it said that its processes were ended");
}

#[test]
fn nested_beyond_all_measure_is_said_and_not_tried() {
    let host = Host::plain("");
    let calls = |name: &str| {
        format!(
            "title: X\nsteps:\n{}",
            (0..60).map(|i| format!("  - {{name: c{i}, type: runbook, runbook: {name}}}\n")).collect::<String>()
        )
    };
    for i in 0..6 {
        host.runbook(
            &format!("n{i}"),
            &if i == 5 { "title: X\nsteps:\n  - {name: one, type: wait, time: 1ms}\n".into() } else { calls(&format!("n{}", i + 1)) },
        );
    }
    let (code, said) = host.run(&["run", "n0", "--dry-run"]);
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("more than 1000 steps") && !said.contains("circle"), "{said}");
    let (code, said) = host.run(&["check", "--offline"]);
    assert!(code == 65 && said.contains("more than 1000 steps"), "{said}");
}

#[test]
fn a_full_disk_ends_no_run_and_no_log() {
    let host = Host::plain("");
    host.runbook(
        "long",
        &format!("title: Long\nsteps:\n{}  - {{name: after, type: script, cwd: .., script: touch after}}\n", waits_for("go")),
    );
    let id = host.begin("long");
    let pid = host.runner_pid(&id);
    // Before that its script is not written: it would fail for want of room, and rightly ask.
    until("the first step", || host.has("waits-for-go"));
    // The limit is that of every file of the process: journal, log and all.
    let limit = |bytes: &str| {
        let done =
            std::process::Command::new("prlimit").args([&format!("--pid={}", pid.as_raw_nonzero()), &format!("--fsize={bytes}:")]).status();
        assert!(done.expect("prlimit").success());
    };
    limit("1");
    std::fs::write(host.path().join("go"), "").expect("written");
    until("it to say that nothing can be written", || {
        let answer = lastgreen::act::runner::ask(
            &host.path().join("state/runs").join(&id),
            &lastgreen::act::runner::ControlRequest::Status,
            &lastgreen::plan::runbook::Operator::default(),
            Duration::from_secs(10),
        );
        answer.is_ok_and(|reply| reply.message.is_some_and(|text| text.contains("nothing can be written")))
    });
    assert!(!host.has("after"), "nothing is done that cannot be written down");
    limit("unlimited");
    host.until(&id, "done");
    assert!(host.has("after"));
}

/// Two who want it otherwise in one moment: the first has it, and the other is told what has come of it meanwhile.
#[test]
fn an_abort_that_somebody_else_was_before_is_not_cut_off_unseen() {
    let host = Host::plain("");
    host.runbook(
        "back",
        &format!(
            "title: Back\nsteps:\n  - {{name: make, type: script, cwd: .., script: touch made, undo: {{type: script, cwd: .., script: 'touch going; while [ ! -e go ]; do sleep 0.02; done; rm made'}}}}\n{}",
            waits_for("never")
        ),
    );
    let id = host.begin("back");
    until("the last step", || host.has("waits-for-never"));
    let folder = host.path().join("state/runs").join(&id);
    let by = Operator { user: "mira".into(), host: "desk".into(), ..Operator::default() };
    let seen = Course { aborts: 0, goes_back: false };
    let abort = |undo| {
        let request = ControlRequest::Abort(AbortRequest { undo, reason: String::new(), course: Some(seen) });
        ask(&folder, &request, &by, Duration::from_secs(10)).expect("an answer")
    };
    assert!(abort(true).ok);
    until("it to go back", || host.has("going"));
    let second = abort(false);
    assert!(
        !second.ok && second.message.as_ref().is_some_and(|why| why.contains("somebody else has aborted it, to be undone")),
        "{second:?}"
    );
    assert!(abort(true).ok, "who wants it undone has that");
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "aborted");
    assert!(!host.has("made"), "it was undone");
    // Whoever has seen that may cut it off, and both are told what has become of it.
    for name in ["going", "go", "waits-for-never"] {
        std::fs::remove_file(host.path().join(name)).expect("removed");
    }
    let id = host.begin("back");
    until("the last step", || host.has("waits-for-never"));
    let undo = host.command(&["abort", &id, "--undo"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    until("it to go back", || host.has("going"));
    let (code, said) = host.run(&["abort", &id, "--leave"]);
    assert!(code == 0 && said.contains("make: its undo was begun, and is not done"), "{code}: {said}");
    assert!(said.contains("it is being undone just now: --leave cuts that off"), "{said}");
    let told = undo.expect("begun").wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.code() == Some(24) && said.contains("not everything was undone"), "{said}");
}
