//! Snapshots and restores on a real PostgreSQL and on the Qdrant stand-in: what is in one, what is refused, what happens to
//! those who are connected, and what a kill in the middle leaves.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
fn the_rights_that_are_said_to_be_enough_are_enough() {
    let (pg, host) = with_data("");
    pg.sql("CREATE ROLE keeper LOGIN CREATEDB; GRANT pg_signal_backend, pg_read_all_data TO keeper; ALTER DATABASE ragdb OWNER TO keeper");
    pg.sql("ALTER ROLE app IN DATABASE ragdb RESET ALL");
    pg.sql_in(
        "ragdb",
        "ALTER TABLE chunks OWNER TO keeper; ALTER TABLE other OWNER TO keeper; GRANT CREATE, USAGE ON SCHEMA public TO keeper",
    );
    let url = pg.url_of("ragdb");
    let (before, behind) = url.split_once("//").expect("a URL");
    let (_, place) = behind.split_once('@').unwrap_or(("", behind));
    let own = host.read("lastgreen.toml").replace(&url, &format!("{before}//keeper@{place}"));
    std::fs::write(host.path().join("lastgreen.toml"), own).expect("written");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
    // And what is not enough is said beforehand.
    let rights = || {
        let items = json(&host, &["rollback", "status", "--json"])["items"].clone();
        let item = items.as_array().expect("items").iter().find(|item| item["what"] == "rights db").expect("an item").clone();
        (item["verdict"] == "pass", item["words"].as_str().unwrap_or_default().to_string())
    };
    assert!(rights().0, "{}", rights().1);
    for (done, undone, wanted) in [
        ("CREATE TABLE theirs (id int)", "DROP TABLE theirs", "cannot make again table public.theirs of postgres"),
        ("CREATE PUBLICATION p FOR ALL TABLES", "DROP PUBLICATION p", "publication p for all tables, which needs a superuser"),
        (
            "ALTER TABLE other ENABLE ROW LEVEL SECURITY; ALTER TABLE other FORCE ROW LEVEL SECURITY",
            "ALTER TABLE other NO FORCE ROW LEVEL SECURITY; ALTER TABLE other DISABLE ROW LEVEL SECURITY",
            "table other, whose rows a policy hides from it",
        ),
        ("SELECT lo_create(77)", "SELECT lo_unlink(77)", "large object 77 of postgres"),
        ("ALTER DATABASE ragdb CONNECTION LIMIT 2", "ALTER DATABASE ragdb CONNECTION LIMIT -1", "2 connections at most"),
    ] {
        pg.sql_in("ragdb", done);
        let (good, words) = rights();
        assert!(!good && words.contains(wanted), "{done}: {words}");
        pg.sql_in("ragdb", undone);
    }
    assert!(rights().0, "{}", rights().1);
    // What stays behind is said, and keeps nothing from coming back.
    pg.sql_in("ragdb", "CREATE SUBSCRIPTION theirs CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)");
    let items = json(&host, &["rollback", "status", "--json"])["items"].clone();
    let beside = items.as_array().expect("items").iter().find(|item| item["what"] == "beside db").expect("an item").clone();
    let words = beside["words"].as_str().unwrap_or_default();
    assert!(beside["verdict"] == "warn" && words.contains("subscription theirs"), "{beside}");
    create(&host, true);
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        pg.sql_in(
            "ragdb",
            "SELECT count(*) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        "0"
    );
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

/// The embedded system, without a screen.
struct Demo {
    child: Child,
    config: PathBuf,
    said: String,
}

impl Demo {
    fn start(scenario: &str) -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lastgreen"))
            .args(["demo", "--headless", "--scenario", scenario])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo");
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        while !said.contains("Look with") {
            assert!(lines.read_line(&mut said).expect("a line") > 0, "{said}");
        }
        let config = said.lines().find_map(|l| l.strip_prefix("config")).expect("a path").trim().into();
        let demo = Demo { child, config, said };
        until("the first snapshot", || !demo.json(&["snapshot", "list", "--json"])["snapshots"].as_array().is_none_or(Vec::is_empty));
        demo
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lastgreen")).arg("--config").arg(&self.config).args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lastgreen")).arg("--config").arg(&self.config).args(arguments).output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn port(&self, name: &str) -> u16 {
        let line = self.said.lines().find(|line| line.starts_with(name)).expect("a line");
        let port = line.split("http://127.0.0.1:").nth(1).expect("an address").split(|c: char| !c.is_ascii_digit()).next();
        port.and_then(|p| p.parse().ok()).expect("a port")
    }

    fn folder(&self) -> &Path {
        self.config.parent().expect("a folder")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(self.child.id() as i32).expect("a pid"), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A request with a body; gives the answer's body.
fn call(port: u16, method: &str, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default()
}

#[test]
fn damaged_data_comes_back_beside_the_live_one_and_goes_again() {
    let demo = Demo::start("healthy");
    let qdrant = demo.port("qdrant");
    let points = |name: &str| {
        let answer = call(qdrant, "POST", &format!("/collections/{name}/points/count"), "{\"exact\":true}");
        serde_json::from_str::<Json>(&answer).expect("json")["result"]["count"].as_u64()
    };
    let all = points("rag_live");
    assert!(all.is_some_and(|n| n > 1000));
    call(qdrant, "POST", "/collections/rag_live/points/delete?wait=true", "{\"points\":[1,2,3,4,5]}");
    assert_eq!(points("rag_live"), all.map(|n| n - 5));
    let (code, said) = demo.run(&["rollback", "status"]);
    assert!(code == 0 && said.contains("5 points of rag_live come back"), "{said}");
    let (code, said) = demo.run(&["rollback", "--scope", "full", "--reason", "points are gone", "--confirm", "rag-demo"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(points("rag_live"), all);
    assert_eq!(points("rag_main"), all.map(|n| n - 5), "what was live before is kept");
    assert!(demo.run(&["rollback", "status"]).1.contains("rag_main: left by restores, used by nothing"));
    let (code, said) = demo.run(&["rollback", "undo", "--confirm", "rag-demo", "--reason", "it was not that"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(points("rag_live"), all.map(|n| n - 5));
    // And it was right after all: the alias leads to what was recovered, the database is again what was restored.
    let undo = demo.json(&["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    // Where somebody else has put the alias since, nothing goes over that.
    call(qdrant, "PUT", "/collections/elsewhere", "{\"vectors\":{\"size\":4,\"distance\":\"Cosine\"}}");
    let put = |to: &str| {
        let create = format!("{{\"create_alias\":{{\"alias_name\":\"rag_live\",\"collection_name\":\"{to}\"}}}}");
        let body = format!("{{\"actions\":[{{\"delete_alias\":{{\"alias_name\":\"rag_live\"}}}},{create}]}}");
        call(qdrant, "POST", "/collections/aliases", &body);
    };
    put("elsewhere");
    let (code, said) = demo.run(&["rollback", "undo", &undo, "--confirm", "rag-demo", "--reason", "it was right"]);
    assert!(code != 0 && said.contains("rag_live leads to elsewhere, where somebody has put it since"), "{code}: {said}");
    assert!(!said.contains("rows in one transaction"), "and no half of it: {said}");
    put("rag_main");
    let (code, said) = demo.run(&["rollback", "undo", &undo, "--confirm", "rag-demo", "--reason", "it was right"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(points("rag_live"), all, "{said}");
    assert!(demo.folder().join("state/snapshots").exists());
}

#[test]
fn a_collection_that_is_no_alias_is_not_ready_and_says_what_to_do() {
    let demo = Demo::start("healthy");
    let text =
        std::fs::read_to_string(&demo.config).expect("the file").replace("collections = [\"rag_live\"]", "collections = [\"rag_main\"]");
    std::fs::write(&demo.config, text).expect("written");
    let (code, said) = demo.run(&["rollback", "status"]);
    assert!(code == 1 && said.contains("rag_main is no alias") && said.contains("in_place"), "{said}");
    let status = demo.json(&["rollback", "status", "--json"]);
    let works: Vec<bool> = status["scopes"].as_array().expect("scopes").iter().filter_map(|scope| scope["works"].as_bool()).collect();
    assert_eq!(works, [true, true, false], "traffic and code still work");
}

#[test]
fn what_writes_is_held_while_a_snapshot_is_taken_and_goes_on_whatever_comes_of_it() {
    let host = Host::new(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.own]\nkind = \"command\"\ncommand = [\"true\"]\n[snapshots]\nfolder = \"snaps\"\nhold = \"quiet\"\n\
         [snapshots.programs.own]\ncreate = [\"./create\"]\nverify = [\"true\"]\nrestore = [\"./restore\"]\n",
    );
    let quiet = "title: Quiet\nowner: \"@data\"\nsteps:\n  - name: Hold\n    id: mark\n    type: script\n    script: \"touch held; echo hold >> said\"\n    \
                 undo:\n      type: script\n      script: \"rm held; echo go >> said\"\n";
    let at = |name: &str| host.path().join(name);
    let program = |name: &str, text: &str| {
        std::fs::write(at(name), format!("#!/bin/sh\ncd {}\n{text}\n", host.path().display())).expect("written");
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).expect("executable");
    };
    let (code, said) = host.run(&["check", "--offline"]);
    assert!(code == 65 && said.contains(":10:1: error") && said.contains("hold names the runbook `quiet`, which there is not"), "{said}");
    std::fs::create_dir_all(at("runbooks")).expect("a folder");
    std::fs::write(
        at("runbooks/quiet.yaml"),
        quiet
            .replace("touch held", &format!("cd {}; touch held", host.path().display()))
            .replace("rm held", &format!("cd {}; rm held", host.path().display())),
    )
    .expect("written");
    program("create", "test -e held || exit 3; echo taken >> said; echo '{\"name\": \"one\", \"size\": 1}'");
    program("restore", "test -e held || exit 3; echo restored >> said");
    let id = create(&host, false);
    let said = |wanted: &str| {
        let all = std::fs::read_to_string(at("said")).expect("what was said").replace('\n', " ");
        assert_eq!(all.trim(), wanted);
        std::fs::remove_file(at("said")).expect("forgotten");
        assert!(!at("held").exists(), "it is held no more");
    };
    said("hold taken go");
    let (code, words) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{words}");
    said("hold restored go");
    // One that cannot be taken holds nothing up.
    program("create", "echo tried >> said; exit 3");
    let (code, words) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert_eq!(code, 21, "{words}");
    said("hold tried go");
    // What was held before, by somebody else, stays held: this run did nothing that it could take back.
    let probed = std::fs::read_to_string(at("runbooks/quiet.yaml")).expect("the runbook")
        + &format!("    probe:\n      type: script\n      script: \"test -e {}\"\n      mutates: false\n", at("held").display());
    std::fs::write(at("runbooks/quiet.yaml"), probed).expect("written");
    std::fs::write(at("held"), "").expect("written");
    program("create", "test -e held || exit 3; echo taken >> said; echo '{\"name\": \"one\", \"size\": 1}'");
    create(&host, false);
    assert!(at("held").exists() && std::fs::read_to_string(at("said")).is_ok_and(|all| all == "taken\n"), "still held");
    let wrong = "title: W\nsteps:\n  - {name: go, type: runbook, back: nothing}\n";
    std::fs::write(at("runbooks/wrong.yaml"), wrong).expect("written");
    let (code, words) = host.run(&["check", "--offline"]);
    assert!(code == 65 && words.contains("wrong.yaml:3") && words.contains("no earlier step `nothing` runs another runbook"), "{words}");
}

#[test]
fn a_store_s_own_program_is_not_begun_a_second_time_beside_the_first() {
    never_two_at_once("");
}

/// As behind `sudo`: nobody can read there what the program carries.
#[test]
fn a_program_that_shows_nothing_of_its_step_is_found_all_the_same() {
    never_two_at_once("[ \"$HOME\" ] && exec env -i PATH=\"$PATH\" \"$0\"\n");
}

fn never_two_at_once(first: &str) {
    let host = Host::new(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.own]\nkind = \"command\"\ncommand = [\"true\"]\n[snapshots]\nfolder = \"snaps\"\n\
         [snapshots.programs.own]\ncreate = [\"./create\"]\nverify = [\"true\"]\nrestore = [\"./restore\"]\n",
    );
    let at = |name: &str| host.path().join(name);
    let program = |name: &str, text: &str| {
        std::fs::write(at(name), format!("#!/bin/sh\ncd {}\n{text}\n", host.path().display())).expect("written");
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).expect("executable");
    };
    program("create", "echo '{\"name\": \"one\", \"size\": 1}'");
    // What it begins for good, in a session of its own, is nothing that anybody waits for.
    program(
        "restore",
        &format!(
            "{first}setsid sleep 600 >/dev/null 2>&1 & until [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do :; done; echo $! >> stays; echo begin >> said; until [ -e go ]; do sleep 0.05; done; echo end >> said"
        ),
    );
    let id = create(&host, false);
    let (code, run) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{run}");
    let run = run.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    let said = || std::fs::read_to_string(at("said")).unwrap_or_default().replace('\n', " ").trim().to_string();
    until("the restore to begin", || said() == "begin");
    kill_process(host.runner_pid(&run), Signal::KILL).expect("killed");
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let (code, words) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && words.contains("still at work") && words.contains(&run), "{code}: {words}");
    let (code, words) = host.run(&["resume", &run, "--detach"]);
    assert_eq!(code, 0, "{words}");
    until("the second runner to wait", || std::fs::read_to_string(host.journal(&run)).is_ok_and(|text| text.contains("is waited for")));
    assert_eq!(said(), "begin");
    std::fs::write(at("go"), "").expect("it may end");
    host.until(&run, "done");
    assert_eq!(said(), "begin end begin end");
    let stays = std::fs::read_to_string(at("stays")).expect("a number");
    for number in stays.lines() {
        let pid = rustix::process::Pid::from_raw(number.parse().expect("a number")).expect("a process");
        kill_process(pid, Signal::KILL).expect("what means to stay, stays");
    }
}

#[test]
fn a_target_has_stores_of_its_own() {
    let config = "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.own]\nkind = \"command\"\ncommand = [\"true\"]\n\
                  [snapshots]\nfolder = \"snaps\"\n[snapshots.programs.own]\ncreate = [\"a\"]\nverify = [\"a\"]\nrestore = [\"a\"]\n\
                  [targets.next]\ntier = \"staging\"\n[targets.next.sources.own]\ncommand = [\"true\"]\n[targets.next.programs.own]\ncreate = [\"b\"]\nverify = [\"b\"]\nrestore = [\"b\"]\n";
    let (code, said) = Host::new(config).run(&["check", "--offline"]);
    assert_eq!(code, 0, "{said}");
    // What it has is not the environment's: a drill would act there.
    let (code, said) = Host::new(&config.replace("\"b\"", "\"a\"")).run(&["check", "--offline"]);
    assert_eq!(code, 65, "{said}");
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
