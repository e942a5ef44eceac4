//! A PostgreSQL server and its programs: sessions in one of its databases or beside them, and what the programs need to get in.

use std::time::Duration;

use serde_json::Value as Json;

use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{CommandClient, Session, fetch_secret, postgres_options};

/// What subscribes to another server is no data: two of it would read one stream. Readiness says that it stays behind.
pub(super) const NO_SUBSCRIPTIONS: &str = "--no-subscriptions";
/// How long a connection may take.
pub(super) const CONNECTING: Duration = Duration::from_secs(10);
/// How often it is looked how far a program is.
pub(super) const LOOK: Duration = Duration::from_millis(500);

pub(super) fn wrong(words: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Query, words.into())
}

/// The name of the database that a URL leads to.
pub fn database_of(options: &DatabaseOptions) -> Option<String> {
    let parsed = postgres_options(&options.url).ok()?;
    Some(parsed.get_database().unwrap_or(parsed.get_username()).to_string())
}

/// The same where there has to be one.
pub(super) fn named(options: &DatabaseOptions) -> Result<String, Fault> {
    database_of(options).ok_or_else(|| wrong("the URL names no database"))
}

/// The same server, another database.
pub(super) fn at_database(options: &DatabaseOptions, name: &str) -> Result<DatabaseOptions, Fault> {
    let mut url = url::Url::parse(&options.url).map_err(|e| wrong(e.to_string()))?;
    let rest: Vec<(String, String)> = url.query_pairs().filter(|(key, _)| key != "dbname").map(|(k, v)| (k.into(), v.into())).collect();
    url.set_path(&format!("/{}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)));
    url.query_pairs_mut().clear().extend_pairs(rest);
    let url = url.to_string();
    Ok(DatabaseOptions { url: url.trim_end_matches('?').to_string(), ..options.clone() })
}

pub(super) async fn open(options: &DatabaseOptions) -> Result<Session, Fault> {
    Session::open(&DatabaseOptions { timeout: CONNECTING, ..options.clone() }).await
}

/// From where databases are made, renamed and dropped.
pub(super) async fn maintenance(options: &DatabaseOptions) -> Result<Session, Fault> {
    open(&at_database(options, "postgres")?).await
}

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the programs need to get in: by their environment, never on the command line.
pub(super) async fn environment(options: &DatabaseOptions, session: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut all = vec![("PGAPPNAME".to_string(), session.to_string()), ("PGCONNECT_TIMEOUT".into(), CONNECTING.as_secs().to_string())];
    if let Some(password) = &options.password {
        all.push(("PGPASSWORD".into(), fetch_secret(password).await?.expose().to_string()));
    }
    let tls = &options.tls;
    if let Some(ca) = &tls.ca {
        all.extend([("PGSSLMODE".into(), "verify-full".into()), ("PGSSLROOTCERT".into(), ca.display().to_string())]);
    }
    for (name, file) in [("PGSSLCERT", &tls.cert), ("PGSSLKEY", &tls.key)] {
        all.extend(file.as_ref().map(|file| (name.to_string(), file.display().to_string())));
    }
    Ok(all)
}

/// The most that is read of what a program prints: a schema of many tables is long.
const PRINTED: u64 = 64 << 20;

pub(super) async fn program(argv: &[&str], environment: Vec<(String, String)>, limit: Duration) -> Result<String, Fault> {
    let argv = argv.iter().map(|word| (*word).to_string()).collect();
    CommandClient { argv, environment, names: None, timeout: limit, max_output: PRINTED }.run().await
}

/// A program of PostgreSQL must not be older than its server.
pub(super) async fn fits(name: &str, server: &str) -> Result<(), Fault> {
    let major = |text: &str| text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).and_then(|n| n.parse::<u32>().ok());
    let said = program(&[name, "--version"], Vec::new(), CONNECTING).await?;
    match (major(&said), major(server)) {
        (Some(own), Some(theirs)) if own >= theirs => Ok(()),
        _ => Err(wrong(format!("{name} here is `{}`, and the server is {server}: it must not be older", said.trim()))),
    }
}

pub(super) async fn server_version(session: &mut Session) -> Result<String, Fault> {
    let given = session.run("SELECT current_setting('server_version') AS v", &[], true, CONNECTING).await?;
    Ok(given.value.as_ref().and_then(Json::as_str).unwrap_or("?").to_string())
}
