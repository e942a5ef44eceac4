//! SQLite: copied whole by the database itself, and brought back inside one transaction, so that whoever has the file open
//! sees either what there was or what there is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;

use super::{Restored, Told, database_name, sha256_of};
use crate::base::endpoint::DatabaseOptions;
use crate::base::units::count_of;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::Session;
use crate::plan::deploy::{Part, StoreKind, differences};
use crate::plan::runbook::{DatabaseStore, Progress, SnapshotSettings};

/// How long a lock of somebody else is waited for.
const LOCKED: Duration = Duration::from_secs(30);

async fn open(options: &DatabaseOptions) -> Result<Session, Fault> {
    Session::open(&DatabaseOptions { timeout: LOCKED, ..options.clone() }).await
}

/// As an identifier; its own quotes are doubled.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As a text in a statement.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The tables of a schema, in one text. Our own record of what was done is no data that is brought back.
async fn tables(session: &mut Session, schema: &str, limit: Duration) -> Result<Vec<String>, Fault> {
    let query = format!(
        "SELECT json_group_array(name) AS v FROM {schema}.sqlite_master WHERE type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'lastgreen\\_%' ESCAPE '\\'"
    );
    let given = session.run(&query, &[], true, limit).await?;
    let names = given.value.as_ref().and_then(Json::as_str).unwrap_or("[]");
    serde_json::from_str(names).map_err(|e| Fault::new(FaultKind::Garbage, e.to_string()))
}

/// The columns of a table that are written, in the order of their names.
async fn columns(session: &mut Session, schema: &str, table: &str, limit: Duration) -> Result<Vec<String>, Fault> {
    let query = format!(
        "SELECT json_group_array(name) AS v FROM (SELECT name FROM pragma_table_xinfo({}, {}) WHERE hidden = 0 ORDER BY name)",
        text(table),
        text(schema)
    );
    let given = session.run(&query, &[], true, limit).await?;
    let names = given.value.as_ref().and_then(Json::as_str).unwrap_or("[]");
    serde_json::from_str(names).map_err(|e| Fault::new(FaultKind::Garbage, e.to_string()))
}

async fn count(session: &mut Session, schema: &str, table: &str, limit: Duration) -> Result<u64, Fault> {
    let given = session.run(&format!("SELECT count(*) AS v FROM {schema}.{}", quoted(table)), &[], true, limit).await?;
    given.value.as_ref().and_then(Json::as_u64).ok_or_else(|| Fault::new(FaultKind::Garbage, format!("{table} gives no count")))
}

pub async fn counts(options: &DatabaseOptions, more: &[(String, String)], limit: Duration) -> Result<BTreeMap<String, u64>, Fault> {
    let mut session = open(options).await?;
    let counted = counted(&mut session, more, limit).await;
    session.close().await;
    counted
}

/// The highest row numbers of tables.
pub async fn newest(options: &DatabaseOptions, tables: &[&str], limit: Duration) -> Result<BTreeMap<String, String>, Fault> {
    let mut session = open(options).await?;
    let mut all = BTreeMap::new();
    for table in tables {
        // A table without row numbers has none.
        if let Ok(given) = session.run(&format!("SELECT max(rowid) AS v FROM {}", quoted(table)), &[], true, limit).await {
            all.extend(given.value.filter(|v| !v.is_null()).map(|newest| ((*table).to_string(), newest.to_string())));
        }
    }
    session.close().await;
    Ok(all)
}

async fn counted(session: &mut Session, more: &[(String, String)], limit: Duration) -> Result<BTreeMap<String, u64>, Fault> {
    let mut all = BTreeMap::new();
    for table in tables(session, "main", limit).await? {
        let rows = count(session, "main", &table, limit).await?;
        all.insert(table, rows);
    }
    for (name, query) in more {
        let given = session.run(query, &[], true, limit).await?;
        super::postgres::add_labelled(&mut all, name, &given)?;
    }
    Ok(all)
}

pub async fn take(store: &DatabaseStore, folder: &Path, settings: &SnapshotSettings, told: &mut Told<'_>) -> Result<(Part, String), Fault> {
    let name = database_name(store);
    let file = format!("{}.sqlite", store.name);
    told(Progress { done: 0.0, of: None, unit: String::new(), words: format!("copying {name}") });
    let mut session = open(&store.options).await?;
    let copied = async {
        let version = session.run("SELECT sqlite_version() AS v", &[], true, LOCKED).await?;
        session.run(&format!("VACUUM INTO {}", text(&folder.join(&file).display().to_string())), &[], false, settings.timeout).await?;
        Ok::<_, Fault>(version.value.as_ref().and_then(Json::as_str).unwrap_or("?").to_string())
    };
    let version = copied.await;
    session.close().await;
    let version = version?;
    // What is in the copy, and not what is in the live one by now.
    let copy = DatabaseOptions { url: format!("sqlite:{}", folder.join(&file).display()), ..store.options.clone() };
    let counts = counts(&copy, &settings.counts, settings.timeout).await?;
    let (sha256, size) = sha256_of(&folder.join(&file)).map_err(|e| Fault::new(FaultKind::Local, e.to_string()))?;
    let part =
        Part { kind: StoreKind::Sqlite, store: store.name.clone(), name, file, local: true, size, sha256, counts, ..Part::default() };
    Ok((part, format!("sqlite {version}")))
}

pub async fn restore(
    store: &DatabaseStore,
    part: &Part,
    file: &Path,
    more: &[(String, String)],
    limit: Duration,
) -> Result<Restored, Fault> {
    let mut session = open(&store.options).await?;
    let attach = format!("ATTACH DATABASE {} AS snapshot", text(&format!("file:{}?mode=ro", file.display())));
    let plain = format!("ATTACH DATABASE {} AS snapshot", text(&file.display().to_string()));
    let done = async {
        if session.run(&attach, &[], false, limit).await.is_err() {
            session.run(&plain, &[], false, limit).await?;
        }
        // Tables are emptied one after the other: what refers to what is looked at when all of it is there.
        session.run("PRAGMA foreign_keys = OFF", &[], false, limit).await?;
        session.run("BEGIN IMMEDIATE", &[], false, limit).await?;
        let copied = copy(&mut session, part, more, limit).await;
        session.say(if copied.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        copied
    };
    let done = done.await;
    session.close().await;
    done.map(|rows| Restored::Done(format!("{}: {} in one transaction", part.name, count_of(rows as usize, "row"))))
}

/// Every table of the snapshot in the place of the live one; what the snapshot does not have stays.
async fn copy(session: &mut Session, part: &Part, more: &[(String, String)], limit: Duration) -> Result<u64, Fault> {
    let (then, now) = (tables(session, "snapshot", limit).await?, tables(session, "main", limit).await?);
    let missing: Vec<&String> = then.iter().filter(|table| !now.contains(table)).collect();
    if !missing.is_empty() {
        let words = format!("{} of the snapshot have no table here: its schema is another one", missing.len());
        return Err(Fault::new(FaultKind::Query, words));
    }
    let mut rows = 0;
    for table in &then {
        let name = quoted(table);
        session.run(&format!("DELETE FROM main.{name}"), &[], false, limit).await?;
        let (then, now) = (columns(session, "snapshot", table, limit).await?, columns(session, "main", table, limit).await?);
        if then != now {
            let words = format!("{table} has the columns {}, and had {}: its schema is another one", now.join(", "), then.join(", "));
            return Err(Fault::new(FaultKind::Query, words));
        }
        let all = then.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO main.{name} ({all}) SELECT {all} FROM snapshot.{name}");
        rows += session.run(&insert, &[], false, limit).await?.changed;
    }
    let mut counts = counted(session, more, limit).await?;
    counts.retain(|name, _| part.counts.contains_key(name));
    let different = differences(&part.counts, &counts);
    if different.is_empty() { Ok(rows) } else { Err(Fault::new(FaultKind::Garbage, format!("not as it was: {}", different.join("; ")))) }
}
