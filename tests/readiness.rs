//! Whether a rollback would work, and what became of the last one: as every command says it, in every place.

mod common;

use std::sync::atomic::Ordering;

use common::router::{Router, host, rollback};
use common::until;
use serde_json::Value as Json;

#[test]
fn a_rollback_that_failed_is_not_forgotten() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let host = host(&server, "");
    router.hangs.store(true, Ordering::SeqCst);
    let (code, said) = rollback(&host);
    assert_ne!(code, 0, "{said}");
    router.hangs.store(false, Ordering::SeqCst);
    until("the calls that hung to be over", || router.share() == 0.0);
    *router.share.lock().expect("a lock") = 10.0;
    let (code, said) = host.run(&["canary", "status"]);
    assert!(code == 2 && said.contains("rollback-traffic failed"), "{code}: {said}");
    let (code, said) = rollback(&host);
    assert_eq!(code, 0, "{said}");
    assert!(!host.run(&["canary", "status"]).1.contains("failed"), "what came after it counts");
}

#[test]
fn a_rollback_whose_step_was_left_aside_is_not_done() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let host = host(
        &server,
        "[release]\ndeploy = [\"false\", \"{{ version }}\"]\nrunning = [\"echo\", \"v2\"]\n\
         last_green = [\"echo\", '{\"version\": \"v1\", \"at\": \"2026-01-01T00:00:00Z\", \"verdict\": \"green\"}']\n",
    );
    let (code, said) = host.run(&["rollback", "--scope", "code", "--reason", "it is bad", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{said}");
    let id = said.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    host.until(&id, "waiting");
    assert_eq!(host.run(&["attach", &id, "--answer", "skip"]).0, 0);
    host.until(&id, "done");
    for asked in [["status"].as_slice(), &["canary", "status"]] {
        let (code, said) = host.run(asked);
        assert!(code == 2 && said.contains("was left aside"), "{asked:?} {code}: {said}");
    }
}

#[test]
fn a_rollback_that_failed_is_known_to_whoever_keeps_records_in_the_same_database() {
    let (router, pg) = (Router::default(), common::Postgres::start());
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let with = format!("[sources.pg]\nkind = \"database\"\nurl = \"{}\"\n[audit]\ndatabase = \"pg\"\n", pg.url());
    let (first, second) = (host(&server, &with), host(&server, &with));
    router.hangs.store(true, Ordering::SeqCst);
    let (code, said) = rollback(&first);
    assert_ne!(code, 0, "{said}");
    let id = first.run(&["runs", "--json"]).1;
    let id = serde_json::from_str::<Json>(&id).expect("json")[0]["run"].as_str().expect("a run").to_string();
    router.hangs.store(false, Ordering::SeqCst);
    until("the calls that hung to be over", || router.share() == 0.0);
    *router.share.lock().expect("a lock") = 10.0;
    for asked in [["canary", "status"].as_slice(), &["status"]] {
        let (code, said) = second.run(asked);
        assert!(code == 2 && said.contains("rollback-traffic failed") && said.contains(&id), "{asked:?} {code}: {said}");
    }
    let (code, said) = second.run(&["runs", &id]);
    assert!(code == 64 && said.contains("kept and told from there"), "{code}: {said}");
    let (code, said) = rollback(&second);
    assert_eq!(code, 0, "{said}");
    for host in [&first, &second] {
        assert!(!host.run(&["canary", "status"]).1.contains("failed"), "what came after it counts, wherever it was done");
    }
}

#[test]
fn a_rollback_that_nobody_drives_is_not_over() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let host = host(&server, "");
    router.hangs.store(true, Ordering::SeqCst);
    let (code, said) = host.run(&["rollback", "--reason", "it is bad", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{said}");
    let id = said.trim().to_string();
    until("it to be at work", || router.puts.load(Ordering::SeqCst) > 0);
    rustix::process::kill_process(host.runner_pid(&id), rustix::process::Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    for asked in [["status"].as_slice(), &["canary", "status"]] {
        let (code, said) = host.run(asked);
        assert!(
            code == 2 && said.contains("rollback-traffic is not over") && said.contains("nobody drives it"),
            "{asked:?} {code}: {said}"
        );
    }
    let (code, said) = host.run(&["canary", "set", "25", "--confirm", "here"]);
    assert!(code == 24 && said.contains("is not over"), "{said}");
    router.hangs.store(false, Ordering::SeqCst);
}

#[test]
fn status_says_how_the_canary_is_and_whether_a_rollback_would_work() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let host = host(&server, "");
    let (code, said) = host.run(&["status"]);
    assert!(said.contains("canary at 10 %") && said.contains("rollback\n  DEGRADED  works: traffic"), "{code}: {said}");
    assert!(!host.has("state"), "whoever only looks makes no folder");
    let document: Json = serde_json::from_str(&host.run(&["status", "--json"]).1).expect("json");
    assert_eq!((document["readiness"]["state"].as_str(), document["deploy"]["verdict"].is_string()), (Some("degraded"), true));
    drop(server);
    let (code, said) = host.run(&["status"]);
    assert!(code == 3 && said.contains("UNKNOWN") && said.contains("cannot reach"), "{code}: {said}");
}

#[test]
fn a_wrong_environment_is_said_wherever_a_rollback_is_planned() {
    let server = Router::default().start();
    let release = "[release]\ndeploy = [\"true\", \"{{ version }}\"]\nrunning = [\"echo\", \"v2\"]\nlast_green = [\"echo\", '{\"version\": \"v1\", \"verdict\": \"green\"}']\n";
    let more = format!("{release}[environment.expect]\ndatabase = \"ragdb\"\n");
    let host = host(&server, &more);
    let wrong = "WRONG ENVIRONMENT: lite says database app, expected ragdb";
    let code = ["rollback", "--scope", "code", "--dry-run"];
    for asked in [["status"].as_slice(), &["rollback", "status"], &code, &["canary", "set", "10", "--dry-run"]] {
        let (code, said) = host.run(asked);
        assert!(said.contains(wrong), "{asked:?} {code}: {said}");
    }
    assert!(host.run(&["rollback", "status"]).1.contains("works: traffic"), "what is not certain to be the right one is not ready");
}

#[test]
fn a_version_that_does_not_go_with_the_data_is_not_ready_to_come_back() {
    let router = Router::default();
    let server = router.start();
    let more = "[gates.matrix.fits]\nkind = \"compat\"\nfile = \"compat.md\"\nbinary = \"v9\"\nschema = \"s2\"\ncollection = \"c\"\n\
                [release]\ndeploy = [\"true\", \"{{ version }}\"]\nrunning = [\"echo\", \"v2\"]\n\
                last_green = [\"echo\", '{\"version\": \"v1\", \"at\": \"2026-01-01T00:00:00Z\", \"verdict\": \"green\"}']\n";
    let host = host(&server, more);
    for (status, verdict, works) in [("OK", "pass", true), ("INCOMPATIBLE", "fail", false), ("nobody knows", "unknown", false)] {
        let table = format!("| binary | schema | collection | status |\n|---|---|---|---|\n| v1 | s2 | c | {status} |\n");
        std::fs::write(host.path().join("compat.md"), table).expect("written");
        let (_, said) = host.run(&["rollback", "status", "--json"]);
        let said: Json = serde_json::from_str(&said).expect("json");
        let item = said["items"].as_array().expect("items").iter().find(|item| item["what"] == "matrix").expect("the matrix");
        assert_eq!(item["verdict"], verdict, "{item}");
        let code = said["scopes"].as_array().expect("scopes").iter().find(|scope| scope["scope"] == "code").expect("code");
        assert_eq!(code["works"], works, "{said}");
        // It is not kept back, and whoever confirms reads it.
        let (_, plan) = host.run(&["rollback", "--scope", "code", "--dry-run", "--reason", "x"]);
        assert_eq!(plan.contains("matrix: "), verdict != "pass", "{plan}");
    }
}

#[test]
fn a_snapshot_that_lacks_a_store_or_cannot_be_read_is_not_ready() {
    let server = Router::default().start();
    let with = |databases: &str| {
        format!(
            "[sources.more]\nkind = \"database\"\nurl = \"sqlite:more.db\"\n[snapshots]\ndatabases = [{databases}]\nfolder = \"snaps\"\n\
             [release]\ndeploy = [\"true\", \"{{{{ version }}}}\"]\nrunning = [\"echo\", \"v1\"]\n\
             last_green = [\"echo\", '{{\"version\": \"v1\", \"at\": \"2026-01-01T00:00:00Z\", \"verdict\": \"green\"}}']\n"
        )
    };
    let host = host(&server, &with("\"lite\""));
    std::fs::write(host.path().join("more.db"), "").expect("written");
    let (code, said) = host.run(&["snapshot", "create", "--golden", "known to be good", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let lacks = "the snapshot has no more: that stays as it is";
    assert!(!host.run(&["rollback", "status"]).1.contains(lacks));
    // What is said later belongs to it, too.
    let text = host.read("lastgreen.toml").replace("databases = [\"lite\"]", "databases = [\"lite\", \"more\"]");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    for asked in [["rollback", "status"].as_slice(), &["rollback", "--scope", "full", "--reason", "x", "--dry-run"]] {
        let (code, said) = host.run(asked);
        assert!(said.contains(lacks), "{asked:?} {code}: {said}");
    }
    let (code, said) = host.run(&["rollback", "--scope", "full", "--reason", "x", "--confirm", "here"]);
    assert!(said.contains(lacks), "whoever only confirms is told, too: {code}: {said}");
    // Whoever may not read what there is does not say that there is none.
    let entries = std::fs::read_dir(host.path().join("snaps")).expect("snapshots").flatten();
    for folder in entries.filter(|entry| entry.path().is_dir()) {
        std::fs::write(folder.path().join("manifest.json"), "{").expect("written");
    }
    let (code, said) = host.run(&["rollback", "status"]);
    assert!(code == 1 && said.contains("cannot be read here:") && said.contains("UNKNOWN  snapshot"), "{code}: {said}");
}

#[test]
fn a_rollback_that_gave_way_half_done_is_made_good_by_nothing_narrower() {
    let router = Router::default();
    *router.share.lock().expect("a lock") = 10.0;
    let server = router.start();
    let release = "[release]\ndeploy = [\"false\", \"{{ version }}\"]\nrunning = [\"echo\", \"v2\"]\n\
                   last_green = [\"echo\", '{\"version\": \"v1\", \"at\": \"2026-01-01T00:00:00Z\", \"verdict\": \"green\"}']\n";
    let host = host(&server, release);
    let (code, said) = host.run(&["rollback", "--scope", "code", "--reason", "it is bad", "--confirm", "here"]);
    assert!(code == 22 || code == 20, "{code}: {said}");
    let (code, said) = rollback(&host);
    assert_eq!((code, router.share()), (0, 0.0), "{said}");
    for asked in [["status"].as_slice(), &["canary", "status"]] {
        let (code, said) = host.run(asked);
        assert!(code == 2 && said.contains("rollback-code failed"), "{asked:?} {code}: {said}");
    }
    let (_, said) = host.run(&["rollback", "status"]);
    assert!(said.contains("last rollback") && said.contains("roll back at least as wide"), "{said}");
}

#[test]
fn a_bake_that_was_judged_bad_is_seen_although_sources_tell_no_past() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    let often = host.read("lastgreen.toml").replace("AS v\"\n", "AS v\"\ninterval = \"100ms\"\n");
    let text = often.replacen("SELECT 1 AS v", "SELECT 9 AS v", 1).replace("bake = \"2s\"", "bake = \"6s\"");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let (code, said) = host.run(&["canary", "set", "10", "--confirm", "here"]);
    assert!(code != 0 && said.contains("fail after"), "{code}: {said}");
    assert_eq!(router.share(), 10.0, "somebody is asked: {said}");
    for asked in [["status"].as_slice(), &["canary", "status"]] {
        let (code, said) = host.run(asked);
        assert!(code == 2 && said.contains("fail after"), "{asked:?} {code}: {said}");
    }
}
