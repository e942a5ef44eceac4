//! What a role needs to bring data back, on a real PostgreSQL: what is said to be enough is enough, and what is not is said before.

mod common;

use common::data::{create, json, with_data};
use common::host::Host;
use common::{Postgres, until};

/// What readiness says of something.
fn item(host: &Host, what: &str) -> Option<(String, String)> {
    let items = json(host, &["rollback", "status", "--json"])["items"].clone();
    let item = items.as_array().expect("items").iter().find(|item| item["what"] == what)?.clone();
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_string();
    Some((text("verdict"), text("words")))
}

/// A database that a role without all rights owns and keeps.
fn kept_by_a_role(more: &str) -> (Postgres, Host) {
    let (pg, host) = with_data(more);
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
    (pg, host)
}

#[test]
fn the_rights_that_are_said_to_be_enough_are_enough() {
    let (pg, host) = kept_by_a_role("");
    create(&host, true);
    pg.sql_in("ragdb", "DELETE FROM chunks WHERE id > 10");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
    // And what is not enough is said beforehand.
    let rights = || {
        let (verdict, words) = item(&host, "rights db").expect("an item");
        (verdict == "pass", words)
    };
    assert!(rights().0, "{}", rights().1);
    for (done, undone, wanted) in [
        ("CREATE TABLE theirs (id int)", "DROP TABLE theirs", "cannot make again table public.theirs of postgres"),
        ("CREATE PUBLICATION p FOR ALL TABLES", "DROP PUBLICATION p", "publication p for all tables, which needs a superuser"),
        (
            "ALTER TABLE other ENABLE ROW LEVEL SECURITY; ALTER TABLE other FORCE ROW LEVEL SECURITY",
            "ALTER TABLE other NO FORCE ROW LEVEL SECURITY; ALTER TABLE other DISABLE ROW LEVEL SECURITY",
            "a policy hides rows of other from this role",
        ),
        (
            "CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO app; ALTER TABLE theirs ENABLE ROW LEVEL SECURITY",
            "DROP TABLE theirs",
            "a policy hides rows of theirs from this role",
        ),
        (
            "CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE internal AS 'texteq'; ALTER FUNCTION same OWNER TO keeper",
            "DROP FUNCTION same",
            "cannot make again function public.same, which needs a superuser",
        ),
        ("CREATE PUBLICATION theirs FOR TABLE other", "DROP PUBLICATION theirs", "publication theirs of postgres"),
        (
            "CREATE SUBSCRIPTION busy CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = 's'); ALTER SUBSCRIPTION busy ENABLE",
            "ALTER SUBSCRIPTION busy DISABLE; ALTER SUBSCRIPTION busy SET (slot_name = NONE); DROP SUBSCRIPTION busy",
            "which this role cannot end: ALTER SUBSCRIPTION busy DISABLE",
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
    let (verdict, words) = item(&host, "beside db").expect("an item");
    assert!(verdict == "warn" && words.contains("subscription theirs"), "{words}");
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

/// What is live now may be another matter than what the snapshot has.
#[test]
fn what_a_snapshot_needs_is_read_from_the_snapshot() {
    let (pg, host) = kept_by_a_role("");
    let (verdict, words) = item(&host, "rights db").expect("rights are looked at before there is a snapshot");
    assert!(verdict == "pass" && item(&host, "snapshot").expect("an item").0 == "fail", "{words}");
    let of = |query: &str| pg.sql_in("ragdb", query);
    pg.sql("CREATE ROLE \"the reader\"; CREATE ROLE gone");
    of("ALTER TABLE other OWNER TO app; GRANT SELECT ON chunks TO \"the reader\" WITH GRANT OPTION; GRANT SELECT ON chunks TO gone");
    assert_eq!(item(&host, "rights db").expect("an item").0, "warn");
    create(&host, true);
    let snapshot = || item(&host, "into ragdb");
    of("ALTER TABLE other OWNER TO keeper");
    let owns = "app owns some of schema public, where it may make nothing: let keeper own that, and take a new snapshot; or a superuser restores it";
    let (verdict, words) = snapshot().expect("an item");
    assert_eq!((verdict.as_str(), words), ("fail", format!("{owns}; some of it is owned by app: GRANT app TO keeper")));
    pg.sql("GRANT app TO keeper");
    assert_eq!(snapshot().expect("an item").1, owns);
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert!(code != 0 && said.contains("permission denied for schema public"), "so it is: {said}");
    host.run(&["abort", "--leave"]);
    pg.sql("ALTER ROLE keeper SUPERUSER");
    assert_eq!(snapshot(), None);
    of("DROP OWNED BY gone");
    pg.sql("DROP ROLE gone");
    assert_eq!(snapshot().expect("an item").1, "role gone, which may use some of it, is not there");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert!(code != 0 && said.contains("role \"gone\" does not exist"), "so it is: {said}");
    host.run(&["abort", "--leave"]);
    pg.sql("CREATE ROLE gone");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(of("SELECT tableowner FROM pg_tables WHERE tablename = 'other'"), "app");
}

/// Odd names, and what only a superuser makes: neither a fault where there is none, nor none where there is one.
#[test]
fn what_is_said_of_a_snapshot_is_so_when_it_is_restored() {
    let (pg, host) = kept_by_a_role("");
    let of = |query: &str| pg.sql_in("ragdb", query);
    pg.sql("CREATE ROLE \"the owner\"; GRANT \"the owner\" TO keeper; GRANT CREATE ON DATABASE ragdb TO \"the owner\"; CREATE ROLE ghost");
    let restored = |wanted: Option<&str>| {
        create(&host, true);
        let said = item(&host, "into ragdb").filter(|(verdict, _)| verdict == "fail");
        assert_eq!(said.as_ref().map(|(_, words)| words.as_str()), wanted);
        let (code, told) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
        assert_eq!(code == 0, wanted.is_none(), "{wanted:?}: {told}");
        if code != 0 {
            host.run(&["abort", "--leave"]);
        }
        told
    };
    // Nothing of this is a hindrance: spaces, a publication of a role that may make things, grants on what an extension has made.
    of(
        "CREATE SCHEMA \"S p\" AUTHORIZATION \"the owner\"; CREATE TABLE \"S p\".\"My Docs\" (id int); ALTER TABLE \"S p\".\"My Docs\" OWNER TO \"the owner\"",
    );
    of("CREATE PUBLICATION fine FOR TABLE \"S p\".\"My Docs\"; ALTER PUBLICATION fine OWNER TO \"the owner\"");
    of(
        "CREATE EXTENSION citext; GRANT EXECUTE ON FUNCTION citext_eq(citext, citext) TO keeper; CREATE POLICY p ON other TO \"the owner\" USING (true)",
    );
    pg.sql("ALTER ROLE app IN DATABASE ragdb SET statement_timeout TO '7s'; ALTER DATABASE ragdb SET log_min_duration_statement = 7");
    pg.sql("COMMENT ON DATABASE ragdb IS 'the team''s'");
    let told = restored(None);
    let left = "belongs to others, and would not be made again: grants on public FUNCTION citext_eq(public.citext, public.citext)";
    assert_eq!(item(&host, "into ragdb"), Some(("warn".into(), left.into())));
    assert!(
        pg.sql("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'ragdb'")
            .starts_with("the team's\nrestored by")
    );
    // What this role may not set again is said, before and after.
    assert!(told.contains("not set again: ") && told.contains("log_min_duration_statement (permission denied"), "{told}");
    assert!(told.contains("statement_timeout of role app"), "{told}");
    let undo = || assert_eq!(host.run(&["rollback", "undo", "--confirm", "here"]).0, 0);
    pg.sql("ALTER SYSTEM SET allow_in_place_tablespaces = on");
    pg.sql("SELECT pg_reload_conf()");
    until("the setting", || pg.sql("SHOW allow_in_place_tablespaces") == "on");
    pg.sql("CREATE TABLESPACE \"fast disk\" LOCATION ''");
    undo();
    let (_, words) = item(&host, "beside db").expect("an item");
    assert!(words.contains("setting log_min_duration_statement") && words.contains("setting statement_timeout of role app"), "{words}");
    for (done, undone, wanted) in [
        (
            "CREATE STATISTICS st ON id, model FROM chunks; ALTER STATISTICS st OWNER TO \"the owner\"",
            "DROP STATISTICS st",
            "the owner owns some of schema public, where it may make nothing: let keeper own that, and take a new snapshot; or a superuser restores it",
        ),
        (
            "CREATE EXTENSION pg_stat_statements",
            "DROP EXTENSION pg_stat_statements",
            "extension pg_stat_statements, which a superuser makes",
        ),
        (
            "CREATE PUBLICATION mine FOR TABLE chunks; REVOKE CREATE ON DATABASE ragdb FROM \"the owner\"; ALTER PUBLICATION mine OWNER TO keeper",
            "DROP PUBLICATION mine; GRANT CREATE ON DATABASE ragdb TO \"the owner\"",
            "publications of the owner, which may make nothing here: GRANT CREATE ON DATABASE ragdb TO \"the owner\"",
        ),
        (
            "CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE internal AS 'texteq'; ALTER FUNCTION same OWNER TO keeper",
            "DROP FUNCTION same",
            "only a superuser makes functions in internal: public.same",
        ),
        (
            "CREATE FUNCTION calm() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'; ALTER FUNCTION calm OWNER TO keeper",
            "DROP FUNCTION calm",
            "only a superuser makes a leakproof function: public.calm",
        ),
        (
            "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET log_statement TO 'none' AS 'SELECT 1'; ALTER FUNCTION quiet OWNER TO keeper",
            "DROP FUNCTION quiet",
            "only a superuser sets log_statement for function public.quiet",
        ),
        (
            "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO keeper",
            "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM keeper",
            "grants on FUNCTION pg_read_file(text), which only a superuser gives",
        ),
        (
            "CREATE TEXT SEARCH TEMPLATE plain (lexize = dsimple_lexize)",
            "DROP TEXT SEARCH TEMPLATE plain",
            "only a superuser makes some of it: text search template public plain",
        ),
        (
            "CREATE TABLE far (id int) TABLESPACE \"fast disk\"; ALTER TABLE far OWNER TO keeper",
            "DROP TABLE far",
            "GRANT CREATE ON TABLESPACE \"fast disk\" TO keeper: some of it lies there",
        ),
    ] {
        of(done);
        restored(Some(wanted));
        of(undone);
    }
    of("CREATE POLICY g ON chunks TO ghost USING (true)");
    create(&host, true);
    of("DROP POLICY g ON chunks");
    pg.sql("DROP ROLE ghost");
    assert_eq!(item(&host, "into ragdb").expect("an item").1, "role ghost, which may use some of it, is not there");
}

/// What a superuser has made by an extension stays where it is in place; a grant on it is only tried.
#[test]
fn what_an_extension_has_made_is_no_hindrance_in_place() {
    let (pg, host) = kept_by_a_role("restore_database = \"in_place\"");
    pg.sql_in("ragdb", "CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO keeper");
    for (granted, wanted) in [("", None), ("REVOKE USAGE ON FOREIGN DATA WRAPPER postgres_fdw FROM keeper", Some("fail"))] {
        create(&host, true);
        pg.sql_in("ragdb", &format!("DELETE FROM chunks WHERE id > 10; {granted}"));
        let said = item(&host, "into ragdb");
        assert_eq!(said.as_ref().map(|(verdict, _)| verdict.as_str()), wanted, "{said:?}");
        let (code, told) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
        assert_eq!(code == 0, wanted.is_none(), "{told}");
        let rows = if wanted.is_none() { "1000" } else { "10" };
        assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), rows);
    }
}

fn in_place(host: &Host) {
    let own = host.read("lastgreen.toml").replace("folder = \"snaps\"", "folder = \"snaps\"\nrestore_database = \"in_place\"");
    std::fs::write(host.path().join("lastgreen.toml"), own).expect("written");
}

/// What is made anew in a live database has the grants it had, whatever whoever makes it gives away by default.
#[test]
fn default_privileges_open_nothing_that_comes_back_in_place() {
    let (pg, host) = kept_by_a_role("restore_database = \"in_place\"");
    let of = |query: &str| pg.sql_in("ragdb", query);
    pg.sql("CREATE ROLE stranger; CREATE ROLE friend");
    let may = |table: &str| {
        let one = |role: &str| of(&format!("SELECT has_table_privilege('{role}', '{table}', 'SELECT')"));
        format!("{} {}", one("stranger"), one("friend"))
    };
    let given = |to: &str| format!("ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA public GRANT SELECT ON TABLES TO {to}");
    of(&given("friend"));
    of("ALTER DEFAULT PRIVILEGES FOR ROLE keeper REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC");
    create(&host, true);
    of(&given("PUBLIC"));
    of("ALTER DEFAULT PRIVILEGES FOR ROLE keeper GRANT SELECT ON TABLES TO stranger; DELETE FROM chunks WHERE id > 10");
    assert_eq!(may("chunks"), "f f");
    let told = item(&host, "into ragdb");
    assert_eq!(told, Some(("warn".into(), "not in the snapshot, and would go: default privileges on tables".into())));
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!((code, of("SELECT count(*) FROM chunks").as_str(), may("chunks").as_str()), (0, "1000", "f f"), "{said}");
    let defaults = "SELECT string_agg(defaclobjtype::text || ' ' || defaclacl::text, ', ' ORDER BY defaclobjtype) FROM pg_default_acl";
    assert_eq!(of(defaults), "f {keeper=X/keeper}, r {friend=r/keeper}");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!((code, of("SELECT count(*) FROM chunks").as_str(), may("chunks").as_str()), (0, "10", "f f"), "{said}");
    assert_eq!(of("SELECT count(*) FROM pg_default_acl"), "3", "what was given since is given again");
}

/// What no snapshot of this role has is not taken away.
#[test]
fn a_password_that_the_role_does_not_see_keeps_it_from_being_begun() {
    let (pg, host) = kept_by_a_role("");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of("CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO keeper");
    of("CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; ALTER SERVER far OWNER TO keeper");
    of(
        "CREATE USER MAPPING FOR app SERVER far OPTIONS (user 'u', password 'p'); CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'x')",
    );
    create(&host, true);
    in_place(&host);
    of("CREATE USER MAPPING FOR keeper SERVER far OPTIONS (user 'y', password 'z')");
    let (verdict, words) = item(&host, "into ragdb").expect("an item");
    assert_eq!(verdict, "fail");
    assert!(words.contains("user mapping of app on server far may have a password, which this role does not see"), "{words}");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert!(code != 0 && said.contains("cannot be restored in place"), "{said}");
    assert_eq!(of("SELECT count(*) FROM pg_user_mapping WHERE 'password=p' = ANY (umoptions)"), "1");
    host.run(&["abort", "--leave"]);
    // What it sees goes, and comes back by the undo.
    of("DROP USER MAPPING FOR app SERVER far; DROP USER MAPPING FOR keeper SERVER far");
    create(&host, true);
    of("CREATE USER MAPPING FOR keeper SERVER far OPTIONS (user 'y', password 'z')");
    let goes = "not in the snapshot, and would go: user mapping of keeper on server far";
    assert_eq!(item(&host, "into ragdb"), Some(("warn".into(), goes.into())));
    let seen = || of("SELECT count(*) FROM pg_user_mapping WHERE 'password=z' = ANY (umoptions)");
    for (words, wanted) in [(vec!["snapshot", "restore", "golden"], "0"), (vec!["rollback", "undo"], "1")] {
        let (code, said) = host.run(&[&words[..], &["--confirm", "here"]].concat());
        assert_eq!((code, seen().as_str()), (0, wanted), "{said}");
    }
}

/// Nothing is restored over what would never come back, unless somebody wants it so.
#[test]
fn what_would_not_come_back_keeps_it_from_being_begun() {
    let (pg, host) = kept_by_a_role("restore_database = \"in_place\"");
    create(&host, true);
    let of = |query: &str| pg.sql_in("ragdb", query);
    of("ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO app; DELETE FROM chunks WHERE id > 10");
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert!(code == 22 && said.contains("would not come back from the safety snapshot"), "{code}: {said}");
    assert_eq!(of("SELECT count(*) FROM chunks"), "10");
    host.run(&["abort", "--leave"]);
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!((code, of("SELECT count(*) FROM chunks").as_str()), (0, "1000"), "{said}");
}

/// A role that only reads unless it is told otherwise restores all the same; and a range has its own functions.
#[test]
fn what_is_no_hindrance_is_not_said_to_be_one() {
    let (pg, host) = kept_by_a_role("");
    pg.sql("ALTER ROLE keeper SET default_transaction_read_only = on; ALTER DATABASE ragdb SET default_transaction_read_only = on");
    let of = |query: &str| pg.sql_in("ragdb", &format!("SET TRANSACTION READ WRITE; {query}"));
    of("CREATE TYPE span AS RANGE (subtype = float8); ALTER TYPE span OWNER TO keeper");
    of("CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int); ALTER AGGREGATE total(int) OWNER TO keeper");
    of(
        "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET log_min_messages TO 'error' AS 'SELECT 1'; ALTER FUNCTION quiet OWNER TO keeper",
    );
    pg.sql("BEGIN READ WRITE; GRANT SET ON PARAMETER log_min_messages TO keeper; COMMIT");
    for _ in ["swap", "in place"] {
        create(&host, true);
        assert_eq!(item(&host, "rights db").expect("an item").0, "pass");
        of("DELETE FROM chunks WHERE id > 10");
        let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
        assert_eq!((code, of("SELECT count(*) FROM chunks").as_str()), (0, "1000"), "{said}");
        in_place(&host);
    }
}

/// A vacuum that the server has begun is nobody's session, and gives way by itself.
#[test]
fn a_vacuum_at_work_is_no_hindrance() {
    let (pg, host) = kept_by_a_role("");
    create(&host, true);
    pg.sql("ALTER SYSTEM SET autovacuum_naptime = '1s'");
    pg.sql("SELECT pg_reload_conf()");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of("ALTER TABLE chunks SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 0)");
    of("INSERT INTO chunks (model, body) SELECT 'm', repeat('x', 500) FROM generate_series(1, 20000); DELETE FROM chunks WHERE id > 10");
    until("a vacuum", || {
        pg.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'ragdb' AND backend_type = 'autovacuum worker'") != "0"
    });
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!((code, of("SELECT count(*) FROM chunks").as_str()), (0, "1000"), "{said}");
}

/// A count of a part of the rows is none.
#[test]
fn rows_that_a_policy_hides_are_not_counted_as_lost() {
    let (pg, host) = kept_by_a_role("");
    create(&host, true);
    pg.sql_in("ragdb", "ALTER TABLE other ENABLE ROW LEVEL SECURITY; ALTER TABLE other FORCE ROW LEVEL SECURITY");
    let (verdict, words) = item(&host, "would lose").expect("an item");
    assert!(verdict == "warn" && words.contains("NOT COUNTED") && words.contains("does not see all of its rows"), "{words}");
    let (code, said) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert!(code != 0 && said.contains("does not see all of its rows"), "{said}");
    // And what it means to go on without a safety snapshot is said by how this one comes back.
    host.runbook("own", "title: Own\nsteps:\n  - {name: safety, type: snapshot, safety: true, on_failure: ask}\n");
    let asked = |means: &str| {
        let (code, said) = host.run(&["run", "own", "--confirm", "here"]);
        assert!(code == 22 && said.contains(&format!("left out, {means}")), "{code}: {said}");
        host.run(&["abort", "--leave"]);
    };
    asked("what is there now is kept beside what is restored, and can be taken back all the same");
    in_place(&host);
    asked("what is there now of db is gone for good: it is restored in place");
    // What has come back and cannot be counted has come back.
    pg.sql_in("ragdb", "ALTER TABLE other NO FORCE ROW LEVEL SECURITY; CREATE TABLE later (id int); ALTER TABLE later OWNER TO keeper");
    pg.sql_in(
        "ragdb",
        "ALTER TABLE later ENABLE ROW LEVEL SECURITY; ALTER TABLE later FORCE ROW LEVEL SECURITY; DELETE FROM chunks WHERE id > 10",
    );
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert!(code == 22 && said.contains("ragdb WAS restored in place, and what it is now cannot be counted"), "{code}: {said}");
    assert_eq!(pg.sql_in("ragdb", "SELECT count(*) FROM chunks"), "1000");
}

/// A superuser ends what applies a subscription; it goes on in what is kept beside, and comes back with it.
#[test]
fn a_subscription_that_is_at_work_is_no_hindrance_to_a_superuser_and_is_named_in_place() {
    let (mut pg, host) = with_data("");
    pg.sql("ALTER SYSTEM SET wal_level = 'logical'");
    pg.down();
    pg.up();
    pg.sql("CREATE DATABASE source");
    pg.sql_in("source", "CREATE TABLE chunks (id int PRIMARY KEY, model text, body text); CREATE PUBLICATION p FOR TABLE chunks");
    pg.sql_in("source", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of(&format!(
        "CREATE SUBSCRIPTION theirs CONNECTION '{}' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)",
        pg.url_of("source")
    ));
    let applied = |id: u32| {
        pg.sql_in("source", &format!("INSERT INTO chunks VALUES ({id}, 'm', '')"));
        until("it to be applied", || of(&format!("SELECT count(*) FROM chunks WHERE id = {id}")) == "1");
    };
    applied(5000);
    create(&host, true);
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = host.run(&["rollback", "undo", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    applied(5001);
    // In place nothing is applied to a table any more that was dropped and made anew: that is said, before and after.
    in_place(&host);
    of("CREATE PUBLICATION later FOR TABLE chunks, other");
    let goes = "public.chunks in publication later, public.chunks in subscription theirs, public.other in publication later";
    assert_eq!(item(&host, "into ragdb").expect("an item").1, format!("not in the snapshot, and would go: {goes}"));
    let (code, said) = host.run(&["snapshot", "restore", "golden", "--confirm", "here"]);
    assert!(code == 0 && said.contains(&format!("what stood on it has gone: {goes}")), "{said}");
}
