//! A PostgreSQL with something in it, and a host that takes snapshots of it.

use serde_json::Value as Json;

use super::Postgres;
use super::host::Host;

/// What a command says, as JSON.
pub fn json(host: &Host, arguments: &[&str]) -> Json {
    let (_, text) = host.run(arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A database with some rows, settings and rights of its own; and a host that takes snapshots of it.
pub fn with_data(more: &str) -> (Postgres, Host) {
    let pg = Postgres::start();
    pg.sql("CREATE ROLE app LOGIN");
    pg.sql("CREATE DATABASE ragdb");
    let of = |query: &str| pg.sql_in("ragdb", query);
    of(
        "CREATE TABLE chunks (id serial PRIMARY KEY, model text, body text); INSERT INTO chunks (model, body) SELECT 'm' || (i % 2), repeat('x', 100) FROM generate_series(1, 1000) i",
    );
    of("CREATE TABLE other (id int); INSERT INTO other VALUES (1)");
    of("ALTER DATABASE ragdb SET search_path TO public, extra; ALTER ROLE app IN DATABASE ragdb SET statement_timeout TO '7s'");
    of("REVOKE CONNECT ON DATABASE ragdb FROM PUBLIC; GRANT CONNECT ON DATABASE ragdb TO app");
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\ntimeout = \"5s\"\n\
         [snapshots]\ndatabases = [\"db\"]\nfolder = \"snaps\"\n{more}\n[snapshots.counts]\nby_model = \"SELECT model, count(*) FROM chunks GROUP BY model\"\n",
        pg.url_of("ragdb")
    ));
    (pg, host)
}

/// A snapshot; its number.
pub fn create(host: &Host, golden: bool) -> String {
    let mut arguments = vec!["snapshot", "create", "--confirm", "here"];
    arguments.extend(golden.then_some(["--golden", "known to be good"]).into_iter().flatten());
    let (code, said) = host.run(&arguments);
    assert_eq!(code, 0, "{said}");
    json(host, &["snapshot", "list", "--json"])["snapshots"][0]["id"].as_str().expect("an id").to_string()
}
