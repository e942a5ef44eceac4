//! Snapshots and restores on a real PostgreSQL and on the Qdrant stand-in: what is in one, what is refused, what happens to
//! those who are connected, and what a kill in the middle leaves.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::data::{create, json, with_data};
use common::host::Host;
use common::{Postgres, until};
use rustix::process::{Signal, kill_process};
use serde_json::Value as Json;

#[test]
fn a_snapshot_says_what_is_in_it_and_is_held_to_that() {
    let (pg, host) = with_data("keep = 2");
    let golden = create(&host, true);
    let found = json(&host, &["snapshot", "list", "--json"]);
    let part = &found["snapshots"][0]["parts"][0];
    assert_eq!((part["name"].as_str(), part["counts"]["chunks"].as_u64()), (Some("ragdb"), Some(1000)), "{found}");
    assert_eq!(part["counts"]["by_model m1"].as_u64(), Some(500));
    assert_eq!(found["snapshots"][0]["moved"], Json::Null, "nothing was written meanwhile");
    assert!(part["sha256"].as_str().is_some_and(|sum| sum.len() == 64));
    let (code, said) = host.run(&["snapshot", "verify"]);
    assert!(code == 0 && said.contains("as it was written"), "{said}");
    // Retention: the golden one stays, however many come.
    for _ in 0..3 {
        pg.sql_in("ragdb", "INSERT INTO other VALUES (2)");
        create(&host, false);
    }
    let left = json(&host, &["snapshot", "list", "--json"]);
    let ids: Vec<&str> = left["snapshots"].as_array().expect("a list").iter().filter_map(|s| s["id"].as_str()).collect();
    assert!(ids.len() == 3 && ids.contains(&golden.as_str()), "{ids:?}");
    // A byte that is another one, a file that is cut off, one that is gone.
    let file = host.path().join("snaps").join(&golden).join("db.dump");
    let whole = std::fs::read(&file).expect("the dump");
    let mut other = whole.clone();
    other[100] ^= 1;
    for (bytes, wanted) in [(other, "has the sum"), (whole[..500].to_vec(), "has 500 bytes"), (Vec::new(), "has 0 bytes")] {
        std::fs::write(&file, &bytes).expect("written");
        let (code, said) = host.run(&["snapshot", "verify", "golden"]);
        assert!(code == 1 && said.contains("BAD") && said.contains(wanted), "{wanted}: {said}");
        // Nothing of it is brought back.
        let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
        assert!(code == 20 && said.contains(wanted), "{said}");
    }
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(host.run(&["snapshot", "verify", "golden"]).0, 1);
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM other"), "4");
}

#[test]
fn a_database_is_swapped_while_others_are_connected_and_swapped_back() {
    let (pg, host) = with_data("");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10; INSERT INTO other VALUES (2), (3)");
    // Somebody writes all the time, and comes back whenever it is thrown out.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (url, ends) = (pg.url_of("ragdb"), stop.clone());
    let psql = pg.program("psql");
    let writer = std::thread::spawn(move || {
        while !ends.load(std::sync::atomic::Ordering::SeqCst) {
            let _ = Command::new(&psql)
                .args(["-qX", "-d", &url, "-c", "SELECT pg_sleep(0.05); INSERT INTO other VALUES (9)"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    });
    let mut idle = Command::new(pg.program("psql"))
        .args(["-qX", "-d", &pg.url_of("ragdb")])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here", "--reason", "chunks are gone"]);
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    writer.join().expect("the writer");
    let _ = idle.kill();
    let _ = idle.wait();
    // The last step compares with what was: somebody who goes on writing is seen.
    assert!(code == 0 || said.contains("not as in"), "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000", "{said}");
    // What belongs to a database and is in no dump.
    assert_eq!(pg.sql_in("ragdb", "SHOW search_path"), "public, extra");
    let rights = pg.sql(
        "SELECT has_database_privilege('app', 'ragdb', 'CONNECT')::text || has_database_privilege('pg_monitor', 'ragdb', 'CONNECT')::text",
    );
    assert_eq!(rights, "truefalse");
    assert!(pg.sql("SELECT array_to_string(setconfig, ',') FROM pg_db_role_setting WHERE setrole <> 0").contains("statement_timeout=7s"));
    let kept = host.run(&["rollback", "status"]).1;
    assert!(kept.contains("kept beside") && kept.contains(&named(&pg, "ragdb_before_")), "{kept}");
    // Back again, in a moment.
    if code == 0 {
        let (code, said) = host.run(&["rollback", "undo", "--confirm", "here", "--reason", "it was not that"]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "10");
    }
}

#[test]
fn a_database_that_was_left_closed_is_not_ready() {
    let (pg, host) = with_data("");
    create(&host, true);
    let text = host.read("lastgreen.toml")
        + "[services.router]\nurl = \"http://127.0.0.1:9\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/\"\npointer = \"/canary\"\n";
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let words = |what: &str| {
        let status = json(&host, &["rollback", "status", "--json"]);
        let items = status["items"].as_array().expect("items").clone();
        items.iter().find(|item| item["what"] == what).expect("the item")["words"].as_str().expect("words").to_string()
    };
    // What was changed is no more than there was, and would be lost all the same: the server counts it.
    pg.sql_in("ragdb", "UPDATE chunks SET body = 'new' WHERE id <= 7; DELETE FROM chunks WHERE id = 9");
    pg.sql_in("ragdb", "INSERT INTO chunks (model, body) VALUES ('m', 'in its place')");
    until("the server to have counted", || words("would lose").contains("8 chunks changed or replaced since"));
    let rights = || words("rights db");
    assert!(rights().contains("may be restored"), "{}", rights());
    pg.sql("ALTER DATABASE ragdb ALLOW_CONNECTIONS false");
    assert!(rights().contains("takes no connections"), "{}", rights());
}

/// A `pg_restore` before the real one in PATH.
fn before_the_real(host: &mut Host, name: &str, script: &str) {
    let folder = host.path().join("bin");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let all = std::env::var("PATH").unwrap_or_default();
    host.environment = vec![("PATH".into(), format!("{}:{all}", folder.display()))];
}

#[test]
fn a_runner_killed_in_the_middle_of_a_restore_is_taken_up_and_nothing_is_restored_twice_at_once() {
    let (pg, mut host) = with_data("");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    // It restores when it may, and says how many are at it.
    let real = pg.program("pg_restore").display().to_string();
    let home = host.path().display().to_string();
    before_the_real(
        &mut host,
        "pg_restore",
        &format!(
            "case \"$*\" in *--jobs*) echo x >> {home}/begun; while [ ! -e {home}/go ]; do sleep 0.05; done ;; esac\nexec {real} \"$@\""
        ),
    );
    let (code, id) = host.run(&["snapshot", "restore", "golden", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{id}");
    let id = id.trim();
    until("the restore to be under way", || host.has("begun"));
    kill_process(host.runner_pid(id), Signal::KILL).expect("killed");
    host.until(id, "interrupted");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "10", "the live one is untouched");
    std::fs::write(host.path().join("go"), "").expect("written");
    let (code, said) = host.run(&["resume", id]);
    assert_eq!(code, 0, "{said}");
    host.until(id, "done");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
    assert_eq!(pg.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'ragdb_restore_%'"), "0", "nothing half made is left");
}

/// The one database whose name begins so.
fn named(pg: &Postgres, like: &str) -> String {
    pg.sql(&format!("SELECT datname FROM pg_database WHERE datname LIKE '{like}%'")).trim().to_string()
}

/// A restore whose runner was killed while it filled the new database, and everything of it is gone.
fn killed_while_it_fills() -> (Postgres, Host, String) {
    let (pg, mut host) = with_data("");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let (real, home) = (pg.program("pg_restore").display().to_string(), host.path().display().to_string());
    let script = format!(
        "case \"$*\" in *--jobs*) echo $$ > {home}/begun; while [ ! -e {home}/go ]; do sleep 0.05; done ;; esac\nexec {real} \"$@\""
    );
    before_the_real(&mut host, "pg_restore", &script);
    let (code, id) = host.run(&["snapshot", "restore", "golden", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{id}");
    let id = id.trim().to_string();
    until("the restore to be under way", || host.has("begun") && !host.read("begun").trim().is_empty());
    kill_process(host.runner_pid(&id), Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    let orphan = rustix::process::Pid::from_raw(host.read("begun").trim().parse().expect("a number")).expect("a process");
    let _ = kill_process(orphan, Signal::KILL);
    std::fs::write(host.path().join("go"), "").expect("written");
    (pg, host, id)
}

#[test]
fn a_restore_that_was_left_is_not_taken_up_over_a_later_one() {
    let (pg, host, id) = killed_while_it_fills();
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    pg.sql_in("ragdb", "INSERT INTO chunks (model) VALUES ('written since')");
    let (code, said) = host.run(&["resume", &id]);
    assert!(code == 24 && said.contains("has restored since, and is in use"), "{code}: {said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1001", "what was written since is there");
    let (code, said) = host.run(&["abort", &id, "--leave"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_door_that_was_left_closed_is_opened_by_whatever_comes_next() {
    for way in ["resume", "--undo", "--leave"] {
        let (pg, host, id) = killed_while_it_fills();
        pg.sql("ALTER DATABASE ragdb ALLOW_CONNECTIONS false");
        let arguments = if way == "resume" { vec!["resume", id.as_str()] } else { vec!["abort", id.as_str(), way] };
        let (code, said) = host.run(&arguments);
        assert!(code == 0 || way != "resume", "{said}");
        host.until(&id, if way == "resume" { "done" } else { "aborted" });
        assert_eq!(pg.sql("SELECT datallowconn FROM pg_database WHERE datname = 'ragdb'"), "t", "{way}: {said}");
        assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), if way == "resume" { "1000" } else { "10" });
    }
}

#[test]
fn what_was_cut_off_between_the_two_names_is_brought_to_its_end() {
    for way in ["resume", "--undo", "--leave"] {
        let (pg, host, id) = killed_while_it_fills();
        // As it is when both copies are whole, and the live one has given its name away.
        let new = named(&pg, "ragdb_restore_");
        let old = new.replace("_restore_", "_before_");
        pg.sql(&format!("DROP DATABASE {new}"));
        pg.sql(&format!("CREATE DATABASE {new} TEMPLATE ragdb"));
        pg.sql_in(&new, "INSERT INTO other VALUES (99)");
        pg.sql(&format!("ALTER DATABASE ragdb RENAME TO {old}"));
        let arguments = if way == "resume" { vec!["resume", id.as_str()] } else { vec!["abort", id.as_str(), way] };
        let (_, said) = host.run(&arguments);
        until(&format!("the live database to have its name ({way}: {said})"), || named(&pg, "ragdb").lines().any(|name| name == "ragdb"));
        let restored = pg.sql_in("ragdb", "SELECT count(*) FROM other WHERE id = 99");
        assert_eq!(restored, if way == "--undo" { "0" } else { "1" }, "{way}: {said}");
    }
}

#[test]
fn what_is_written_while_it_is_taken_keeps_nothing_from_coming_back() {
    let (pg, mut host) = with_data("");
    let (real, psql) = (pg.program("pg_dump").display().to_string(), pg.program("psql").display().to_string());
    let insert = "INSERT INTO chunks (model, body) SELECT 'new', '' FROM generate_series(1, 7)";
    let script = format!("case \"$*\" in *--file*) {psql} -qX '{}' -c \"{insert}\" ;; esac\nexec {real} \"$@\"", pg.url_of("ragdb"));
    before_the_real(&mut host, "pg_dump", &script);
    let id = create(&host, false);
    host.environment.clear();
    let part = json(&host, &["snapshot", "list", "--json"])["snapshots"][0]["parts"][0].clone();
    assert_eq!(part["counts"]["chunks"].as_u64(), Some(1000), "dumped and counted at one moment: {part}");
    let (code, said) = host.run(&["snapshot", "restore", &id, "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
}

#[test]
fn a_safety_snapshot_pushes_nothing_out_and_is_not_gone_back_to() {
    let (_pg, host) = with_data("keep = 1\n");
    let id = create(&host, false);
    let (code, said) = host.run(&["snapshot", "restore", &id, "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let listed = json(&host, &["snapshot", "list", "--json"]);
    let ids: Vec<(&str, bool)> = listed["snapshots"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["id"].as_str().unwrap_or(""), one["safety"].as_bool().unwrap_or(false)))
        .collect();
    assert!(ids.len() == 2 && ids.contains(&(id.as_str(), false)) && ids.iter().any(|(_, safety)| *safety), "{ids:?}");
    let (code, said) = host.run(&["run", "restore", "--set", "snapshot=latest", "--dry-run"]);
    assert!(code == 0 && said.contains(&id), "the newest that was meant to be one: {said}");
}

#[test]
fn programs_that_are_older_than_the_server_are_refused_before_anything_is_done() {
    let (_pg, mut host) = with_data("");
    before_the_real(&mut host, "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.1'");
    let (code, said) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert!(code == 20 && said.contains("must not be older") && said.contains("9.6.1"), "{said}");
    let listed = json(&host, &["snapshot", "list", "--json"]);
    assert_eq!(listed["snapshots"], serde_json::json!([]), "nothing half made is listed");
    // A dump that fails half-way leaves nothing either.
    before_the_real(
        &mut host,
        "pg_dump",
        "case \"$1\" in --version) echo 'pg_dump (PostgreSQL) 99' ;; *) echo 'no space left' >&2; exit 1 ;; esac",
    );
    let (code, said) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert!(code == 20 && said.contains("no space left"), "{said}");
    let left = std::fs::read_dir(host.path().join("snaps")).map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "nothing is left of it");
}

#[test]
fn a_lease_goes_on_over_the_swap() {
    let (pg, host) = with_data("");
    create(&host, true);
    let fence = || pg.sql_in("ragdb", "SELECT max(fence) FROM lastgreen.locks").parse::<i64>().unwrap_or(0);
    let before = fence();
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(fence() >= before, "a fence number never goes back: {} after {before}", fence());
    let (code, said) = host.run(&["audit", "verify"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn room_on_the_server_is_looked_at_or_told() {
    let (_pg, host) = with_data("");
    create(&host, true);
    let items = |host: &Host| json(host, &["rollback", "status", "--json"])["items"].clone();
    let room =
        |items: &Json| items.as_array().expect("items").iter().find(|item| item["what"] == "room for ragdb").expect("an item").clone();
    let seen = room(&items(&host));
    assert!(seen["verdict"] == "pass" && seen["words"].as_str().is_some_and(|words| words.contains("free on its server")), "{seen}");
    for (told, verdict, words) in [("1000", "fail", "1000 B free on its server"), ("plenty", "warn", "`plenty` is no number of bytes")] {
        let (_pg, host) = with_data(&format!("server_room = [\"echo\", \"{told}\"]"));
        create(&host, true);
        let seen = room(&items(&host));
        assert!(seen["verdict"] == verdict && seen["words"].as_str().is_some_and(|said| said.contains(words)), "{seen}");
    }
}
