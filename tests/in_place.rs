//! Restores in place on a real PostgreSQL: all or nothing, what was made later and stands on what comes back, and the way back.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Stdio};

use common::data::{create, json, with_data};
use common::host::Host;
use common::{Postgres, until};
use rustix::process::{Signal, kill_process};

/// What readiness says of the database in place.
fn readiness(host: &Host) -> Option<(String, String)> {
    let items = json(host, &["rollback", "status", "--json"])["items"].clone();
    let item = items.as_array().expect("items").iter().find(|item| item["what"] == "into ragdb")?.clone();
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_string();
    Some((text("verdict"), text("words")))
}

#[test]
fn what_was_made_later_and_stands_on_it_goes_and_comes_back_by_an_undo() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of(
        "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('good', 'bad'); CREATE TABLE app.\"My Notes\" (chunk int REFERENCES public.chunks, mood app.mood)",
    );
    of(
        "CREATE FUNCTION public.short(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT left(t, 3) $$; CREATE INDEX ON chunks (public.short(body))",
    );
    of("CREATE VIEW first AS SELECT id, body FROM chunks; CREATE MATERIALIZED VIEW second AS SELECT count(*) FROM first");
    create(&host, true);
    assert_eq!(readiness(&host), None, "nothing stands in its way");
    // The migration of a release that turns out bad.
    of("CREATE TABLE later (chunk int REFERENCES chunks ON DELETE CASCADE); INSERT INTO later VALUES (7); CREATE TABLE app.new (id int)");
    of("CREATE VIEW late AS SELECT * FROM first; CREATE MATERIALIZED VIEW latest AS SELECT * FROM late; DELETE FROM chunks WHERE id > 10");
    let goes = "foreign key later_chunk_fkey of public.later, view public.late, view public.latest";
    let told = readiness(&host);
    assert_eq!(told, Some(("warn".into(), format!("not in the snapshot, and would go: {goes}"))));
    let items = json(&host, &["rollback", "status", "--json"])["items"].clone();
    let loses = items.as_array().expect("items").iter().find(|item| item["what"] == "would lose").expect("an item")["words"].clone();
    assert!(!loses.to_string().contains("later") && loses.to_string().contains("990 chunks come back"), "tables stay: {loses}");
    let standing = "SELECT (SELECT count(*) FROM chunks) || ' ' || (SELECT count(*) FROM later) || ' ' || (SELECT count(*) FROM pg_constraint WHERE contype = 'f') \
        || ' ' || (SELECT count(*) FROM pg_class WHERE relname IN ('late', 'latest', 'first', 'second', 'new'))";
    assert_eq!(of(standing), "10 1 2 5");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert!(code == 0 && said.contains(&format!("what stood on it has gone: {goes}")), "{said}");
    assert_eq!(of(standing), "1000 1 1 3", "tables stay, with what is in them");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(of(standing), "10 1 2 5");
    let undo = json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let (code, said) = host.run(&["rollback", "undo", &undo, "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(of(standing), "1000 1 1 3");
}

/// A partition has its key from the whole, and cannot lose it alone; one that was made later keeps its rows.
#[test]
fn partitions_come_back_and_one_that_was_made_later_is_left_beside() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of("CREATE TABLE days (day int, chunk int REFERENCES chunks, PRIMARY KEY (day)) PARTITION BY RANGE (day)");
    of("CREATE TABLE d1 PARTITION OF days FOR VALUES FROM (0) TO (10); CREATE TABLE d2 PARTITION OF days FOR VALUES FROM (10) TO (20)");
    of(
        "CREATE INDEX ON days (chunk); INSERT INTO days SELECT i, i + 1 FROM generate_series(0, 19) i; CREATE PUBLICATION p FOR TABLE chunks",
    );
    of("CREATE TYPE span AS RANGE (subtype = int4); CREATE TABLE spans (s span)");
    create(&host, true);
    assert_eq!(readiness(&host), None, "nothing stands in its way");
    of("DELETE FROM days WHERE day > 4; CREATE TABLE d3 PARTITION OF days FOR VALUES FROM (20) TO (30); INSERT INTO days VALUES (25, 7)");
    of("CREATE TABLE new (id int); ALTER PUBLICATION p ADD TABLE new, other");
    let goes = "public.d3 as a partition of public.days, public.new in publication p, public.other in publication p";
    assert_eq!(readiness(&host), Some(("warn".into(), format!("not in the snapshot, and would go: {goes}"))));
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert!(code == 0 && said.contains(&format!("what stood on it has gone: {goes}")), "{said}");
    let counts = "SELECT (SELECT count(*) FROM days) || ' ' || (SELECT count(*) FROM d3)";
    assert_eq!(of(counts), "20 1");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!((code, of(counts).as_str()), (0, "6 1"), "{said}");
}

/// A view cannot be dropped where a table has its name.
#[test]
fn a_name_that_is_something_else_now_keeps_it_from_being_begun() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of("CREATE VIEW first AS SELECT 1 AS id; CREATE FUNCTION act(i int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE steps");
    create(&host, true);
    assert_eq!(readiness(&host), None);
    of("DROP VIEW first; CREATE TABLE first (id int); DROP FUNCTION act; CREATE PROCEDURE act(i int) LANGUAGE sql AS 'SELECT 1'");
    let why = "ragdb cannot be restored in place: public.act(i integer) was a function, and is a procedure now; public.first was a view, and is a table now";
    assert_eq!(readiness(&host), Some(("fail".into(), why.into())));
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert!(code == 22 && said.contains(why), "{code}: {said}");
}

#[test]
fn what_must_not_go_is_said_before_and_nothing_is_begun() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    create(&host, true);
    pg.sql_in("ragdb", "CREATE TABLE child (more int) INHERITS (chunks); INSERT INTO child (model) VALUES ('m1')");
    let why = "ragdb cannot be restored in place: default value for column id of table public.child stands on sequence public.chunks_id_seq; \
               table public.child stands on table public.chunks";
    assert_eq!(readiness(&host), Some(("fail".into(), why.into())));
    let (_, planned) = host.run(&["snapshot", "restore", "golden", "--dry-run"]);
    assert!(planned.contains("it would fail: ") && planned.contains(why), "{planned}");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert!(code == 22 && said.contains(why), "{code}: {said}");
    let count = || pg.sql_in("ragdb", "SELECT count(*) FROM chunks");
    assert_eq!(count(), "1001");
    // Whoever goes on without it is not told that the data is as it was.
    let run = json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let asked = json(&host, &["runs", &run, "--json"]).to_string();
    assert!(asked.contains("left out, these data stay as they are now"), "{asked}");
    host.run(&["attach", &run, "--answer", "skip"]);
    host.until(&run, "waiting");
    let said = host.run(&["runs", &run]).1;
    assert!(said.contains("ragdb was not brought back by this run"), "{said}");
    host.run(&["attach", &run, "--answer", "stop"]);
    host.until(&run, "failed");
    // What restored nothing takes nothing back, and what was written since stays.
    pg.sql_in("ragdb", "INSERT INTO chunks (model) SELECT 'm' FROM generate_series(1, 500)");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert!(code == 0 && said.contains("ragdb was not restored by run"), "{code}: {said}");
    assert!(said.contains("did not restore all of this") && !said.contains("NAME_undone"), "{said}");
    assert!(!said.contains("It is kept in"), "there is nothing to keep: {said}");
    assert!(said.contains("It came to the end of no restore") && !said.contains("501 chunks) goes"), "nothing is lost by it: {said}");
    assert_eq!(count(), "1501");
}

#[test]
fn in_place_is_one_transaction_and_goes_back_by_the_safety_snapshot() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
    // What was written since is kept before it is taken back.
    pg.sql_in("ragdb", "INSERT INTO chunks (model, body) VALUES ('m', 'since')");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert!(code == 0 && said.contains("safety snapshot"), "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "10");
    let kept = json(&host, &["snapshot", "list", "--json"])["snapshots"][0].clone();
    assert_eq!((kept["safety"].as_bool(), kept["parts"][0]["counts"]["chunks"].as_u64()), (Some(true), Some(1001)), "{kept}");
    let listed = host.run(&["snapshot", "list"]).1;
    assert_eq!(listed.lines().filter(|line| line.contains("SAFETY")).count(), 2, "they are told from those of one's own: {listed}");
    // And that is taken back in place as well, by what was kept before it.
    let undo = json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let (code, said) = host.run(&["rollback", "undo", &undo, "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1001");
}

#[test]
fn in_place_somebody_elses_later_restore_is_known_by_the_records() {
    let (_pg, first) = with_data("restore_database = \"in_place\"");
    // The same with a state folder of its own, which a host puts first.
    let text = first.read("lastgreen.toml");
    let second = Host::new(text.split_once('\n').expect("more than one line").1);
    let restore = |host: &Host| {
        create(host, true);
        let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
        assert_eq!(code, 0, "{said}");
        json(host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string()
    };
    restore(&first);
    let later = restore(&second);
    let (code, said) = first.run(&["rollback", "undo", "--confirm", "here"]);
    assert!(code == 24 && said.contains(&later) && said.contains("elsewhere"), "{code}: {said}");
    assert_eq!(second.run(&["rollback", "undo", "--confirm", "here"]).0, 0);
    let (code, said) = first.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!(code, 0, "what was taken back is in nobody's way: {said}");
}

#[test]
fn an_abort_that_leaves_it_lets_nothing_come_later() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    let id = create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let held = held(&pg);
    let (code, run) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{run}");
    let run = run.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    let waiting = || pg.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'lastgreen %' AND wait_event_type = 'Lock'");
    until("pg_restore to wait", || waiting() == "1");
    kill_process(host.runner_pid(&run), Signal::KILL).expect("killed");
    host.until(&run, "interrupted");
    let (code, said) = host.run(&["abort", &run, "--leave"]);
    assert!(code == 0 && said.contains("pg_restore was ended in ragdb: nothing of it is there"), "{code}: {said}");
    assert_eq!(waiting(), "0");
    drop(held);
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "10");
}

/// Somebody who has a table, until it is dropped.
struct Held(Child, Option<ChildStdin>);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.1.take());
        let _ = self.0.wait();
    }
}

fn held(pg: &Postgres) -> Held {
    let url = pg.url_of("ragdb");
    let mut holder = pg.command("psql").args(["-qAtX", "-d", &url]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql");
    let mut said = BufReader::new(holder.stdout.take().expect("its output"));
    let mut sends = holder.stdin.take().expect("its input");
    std::io::Write::write_all(&mut sends, b"BEGIN; LOCK chunks; SELECT 'held';\n").expect("sent");
    let mut line = String::new();
    said.read_line(&mut line).expect("an answer");
    assert_eq!(line.trim(), "held");
    Held(holder, Some(sends))
}

#[test]
fn whom_it_waits_for_is_said_and_it_does_not_wait_for_ever() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    let id = create(&host, true);
    let held = held(&pg);
    let (code, run) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{run}");
    let run = run.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    until("it to say what it waits for", || {
        json(&host, &["runs", &run, "--json"])["progress"].to_string().contains("waits for a lock of postgres")
    });
    // Nobody lets go of it.
    host.until(&run, "waiting");
    let told = json(&host, &["runs", &run, "--json"]).to_string();
    assert!(told.contains("canceling statement due to lock timeout"), "{told}");
    drop(held);
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
}

#[test]
fn what_was_kept_nowhere_is_not_taken_back() {
    let (pg, host) = with_data("restore_database = \"in_place\"");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    // No way back is promised where there is none.
    let planned = |more: &[&str]| host.run(&[&["snapshot", "restore", "golden", "--dry-run"], more].concat()).1;
    let back = "databases back to what there was before";
    assert!(planned(&[]).contains(back) && !planned(&["--no-safety"]).contains(back), "{}", planned(&["--no-safety"]));
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!((code, pg.sql_in("ragdb", "SELECT count(*) FROM chunks").as_str()), (0, "1000"), "{said}");
    assert!(said.contains("no safety snapshot is taken: what is there now of db is gone for good"), "{said}");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert!(code == 24 && said.contains("safety"), "{code}: {said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000", "nothing was begun");
}
