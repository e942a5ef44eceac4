//! A restore that is taken back, and that again: what it comes to on a real PostgreSQL, in which order, and for whom.

mod common;

use common::data::{create, json, with_data};

#[test]
fn undo_gives_the_one_before_its_name_back() {
    let (pg, host) = with_data("");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let count = || pg.sql_in("ragdb", "SELECT count(*) FROM chunks");
    assert_eq!(count(), "1000");
    let restored = json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    // Records go on: those of the restoring were only in the database that has lost the name.
    let records = format!("SELECT count(*) FROM lastgreen.records WHERE run = '{restored}' AND type = 'ended'");
    assert_eq!(pg.sql_in("ragdb", &records), "1");
    // Once more would throw away what was written since.
    pg.sql_in("ragdb", "INSERT INTO chunks (model, body) VALUES ('m', 'new')");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert!(code == 24 && said.contains("already"), "{said}");
    assert_eq!(count(), "11");
    let kept = pg.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'ragdb_undone_%'");
    assert_eq!(kept, "1", "what was restored is kept");
    // It was right after all: the taking back is taken back, by its own number, as often as anybody likes.
    let last = || json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let undo = last();
    assert!(said.contains(&format!("rollback undo {undo}")), "{said}");
    let (code, said) = host.run(&["rollback", "undo", &undo, "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(count() == "1000" && said.contains("again what was restored"), "{said}");
    let (code, said) = host.run(&["rollback", "undo", &undo, "--confirm", "here"]);
    assert!(code == 24 && said.contains("already"), "{said}");
    let again = last();
    let (code, said) = host.run(&["rollback", "undo", &again, "--confirm", "here"]);
    assert!(code == 64 && said.contains("brought back what"), "{said}");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(count(), "11", "with what was written in between");
}

#[test]
fn nothing_is_taken_back_from_below_a_later_restore() {
    let (pg, host) = with_data("");
    create(&host, true);
    let restore = || {
        let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
        assert_eq!(code, 0, "{said}");
        json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string()
    };
    let count = || pg.sql_in("ragdb", "SELECT count(*) FROM chunks");
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let first = restore();
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 20");
    let second = restore();
    let (code, said) = host.run(&["rollback", "undo", &first, "--confirm", "here"]);
    assert!(code == 24 && said.contains(&format!("lastgreen rollback undo {second}")) && count() == "1000", "{said}");
    let last = || json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let undo = |run: &str| host.run(&["rollback", "undo", run, "--confirm", "here"]);
    let (code, said) = undo(&second);
    assert!(code == 0 && count() == "20", "{said}");
    let of_second = last();
    let (code, said) = undo(&first);
    assert!(code == 0 && count() == "10", "{said}");
    let of_first = last();
    // The second comes back, and the first no more: it would go over that.
    let (code, said) = undo(&of_second);
    assert!(code == 0 && count() == "1000", "{said}");
    let (code, said) = undo(&of_first);
    assert!(code == 24 && said.contains(&format!("lastgreen rollback undo {second}")) && count() == "1000", "{said}");
    // Somebody on another host has restored since: the database itself says so.
    pg.sql("COMMENT ON DATABASE ragdb IS 'restored by lastgreen run 7ZZZZZZZZZZZZZZZZZZZZZZZZZ'");
    let before = last();
    let (code, said) = undo(&second);
    assert!(code == 24 && said.contains("restored by run 7ZZZZZZZZZZZZZZZZZZZZZZZZZ since") && count() == "1000", "{said}");
    assert_eq!(last(), before, "it is refused before anything is begun");
}

#[test]
fn what_was_restored_on_a_target_is_taken_back_there() {
    let (pg, host) = with_data("");
    create(&host, true);
    pg.sql("CREATE DATABASE stage");
    let target = format!("[targets.next]\ntier = \"staging\"\n[targets.next.sources.db]\nurl = \"{}\"\n", pg.url_of("stage"));
    std::fs::write(host.path().join("lastgreen.toml"), host.read("lastgreen.toml") + &target).expect("written");
    let restore = ["run", "restore", "--target", "next", "--set", "snapshot=golden", "--set", "safety=false", "--confirm", "here-next"];
    let (_, planned) = host.run(&[&restore[..], &["--dry-run"]].concat());
    let announced: Vec<&str> = planned.lines().filter(|line| line.starts_with("does ")).collect();
    assert!(
        announced[0].contains("restore databases") && announced[1].ends_with("there are none"),
        "what is ruled out is not announced: {planned}"
    );
    let (code, said) = host.run(&restore);
    assert_eq!((code, pg.sql_in("stage", "SELECT count(*) FROM chunks").as_str()), (0, "1000"), "{said}");
    let run = json(&host, &["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    let (code, said) = host.run(&["rollback", "undo", &run, "--confirm", "here"]);
    assert!(code != 0 && said.contains("here-next"), "it is not the environment's own that is taken back: {said}");
    let (code, said) = host.run(&["rollback", "undo", &run, "--confirm", "here-next"]);
    assert_eq!((code, pg.sql_in("ragdb", "SELECT count(*) FROM chunks").as_str()), (0, "1000"), "{said}");
    assert_eq!(pg.sql_in("stage", "SELECT to_regclass('chunks') IS NULL"), "t");
}

#[test]
fn who_has_the_environment_is_known_in_a_database_that_got_its_name_back() {
    let (pg, host) = with_data("");
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let id = create(&host, true);
    let (code, said) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let fence = || pg.sql_in("ragdb", "SELECT fence FROM lastgreen.locks").parse::<u64>().expect("a number");
    let before = fence();
    let (code, said) = host.run(&["rollback", "undo", "--reason", "it was right", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("is lost"), "its own doing ends the session that keeps the lease: {said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT holder FROM lastgreen.locks"), "", "it is over");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 0 && !said.contains("without letting go") && !said.contains("TAKEN") && !said.contains("is dead"), "{said}");
    assert!(fence() > before, "a number never goes back");
}

#[test]
fn whoever_undoes_a_moment_after_somebody_else_takes_back_nothing_older_by_it() {
    let (pg, host) = with_data("");
    create(&host, true);
    for _ in 0..2 {
        pg.sql_in("ragdb", "INSERT INTO chunks (model) VALUES ('written since')");
        let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
        assert_eq!(code, 0, "{said}");
    }
    let older = json(&host, &["runs", "--json"])[1]["run"].as_str().expect("a run").to_string();
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert!(code == 24 && said.contains(&format!("lastgreen rollback undo {older}")), "{code}: {said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1001");
    let (code, said) = host.run(&["rollback", "undo", &older, "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn what_only_waits_for_an_answer_gives_way_to_it() {
    let (pg, host) = with_data("");
    host.runbook("asks", "title: Asks\nemergency: true\nsteps:\n  - {name: touch, type: script, script: touch touched}\n  - {name: look, type: manual, text: look}\n");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = host.run(&["run", "asks", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{said}");
    let asks = said.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    host.until(&asks, "waiting");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!((code, pg.sql_in("ragdb", "SELECT count(*) FROM chunks").as_str()), (0, "10"), "{said}");
    host.until(&asks, "superseded");
}
