//! Records and leases are in the database whose data is brought back, and are never brought back with it: they go on.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::names::say;
use super::server::{CONNECTING, at_database, environment, open, program};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::Fault;
use crate::observe::source::{Session, literal};

/// Where they are.
pub(super) const OWN_SCHEMA: &str = "lastgreen";

/// Records and leases go on in the new database where they are in the live one: a fence number never goes back.
pub(super) async fn own_records(live: &DatabaseOptions, new: &DatabaseOptions, session: &str, limit: Duration) -> Result<(), Fault> {
    let mut there = open(live).await?;
    let query = format!("SELECT count(*) AS v FROM pg_namespace WHERE nspname = {}", literal(OWN_SCHEMA));
    let has = there.run(&query, &[], true, CONNECTING).await;
    there.close().await;
    if has?.value != Some(json!(1)) {
        return Ok(());
    }
    // From one into the other, without a file: there may be no room for one. A dump that is cut off is none that can be restored.
    let pipe =
        "pg_dump --format=custom --no-password --schema=\"$1\" --dbname=\"$2\" | pg_restore --exit-on-error --no-password --dbname=\"$3\"";
    let argv = ["sh", "-c", pipe, "sh", OWN_SCHEMA, &live.url, &new.url];
    program(&argv, environment(live, session).await?, limit).await.map(drop)
}

/// What is our own in a database, as it goes on in one that gets its name back: what stands there is of before.
const HOLDS: &str = "CREATE TABLE IF NOT EXISTS {table} (environment text PRIMARY KEY, at bigint NOT NULL, hold text)";
const CARRIED: [(&str, &str, &str); 3] = [
    (
        "locks",
        "",
        "holder = excluded.holder, beat = excluded.beat, session = excluded.session, fence = excluded.fence, wanted = excluded.wanted",
    ),
    // The table may be younger than the database.
    ("holds", HOLDS, "at = excluded.at, hold = excluded.hold"),
    ("records", "", ""),
];

/// Who has which environment, what was said about holding canaries, and the records since then go on in a database that gets its
/// name back. Where that cannot be done the numbers on the host stand, and the records of its own runs.
pub async fn carry_own(options: &DatabaseOptions, to: &str) -> Result<(), Fault> {
    let (mut from, mut to) = (open(options).await?, open(&at_database(options, to)?).await?);
    let mut done = Ok(());
    for (table, make, update) in CARRIED {
        if done.is_ok() {
            done = carry_table(&mut from, &mut to, (&format!("{OWN_SCHEMA}.{table}"), make, update)).await;
        }
    }
    from.close().await;
    to.close().await;
    done
}

async fn carry_table(from: &mut Session, to: &mut Session, (table, make, update): (&str, &str, &str)) -> Result<(), Fault> {
    let there = format!("SELECT to_regclass({}) IS NOT NULL AS v", literal(table));
    if from.run(&there, &[], true, CONNECTING).await?.value != Some(json!(true)) {
        return Ok(());
    }
    if !make.is_empty() {
        say(to, make.replace("{table}", table)).await?;
    }
    // A record is never changed: only what is younger than the youngest there can be missing, give or take a clock.
    let since = match update.is_empty() {
        true => {
            let youngest = format!("SELECT coalesce(max(at) - interval '1 day', '-infinity')::text AS v FROM {table}");
            let youngest = to.run(&youngest, &[], true, CONNECTING).await?.value;
            format!(" WHERE at > {}::timestamptz", literal(youngest.as_ref().and_then(Json::as_str).unwrap_or("-infinity")))
        }
        false => String::new(),
    };
    let rows = from.run(&format!("SELECT coalesce(json_agg(l), '[]')::text AS v FROM {table} l{since}"), &[], true, CONNECTING).await?;
    let rows = literal(rows.value.as_ref().and_then(Json::as_str).unwrap_or("[]"));
    let new = format!("SELECT * FROM json_populate_recordset(NULL::{table}, {rows})");
    say(to, match update.is_empty() {
        true => format!("INSERT INTO {table} {new} ON CONFLICT DO NOTHING"),
        // What is there already is overwritten; nothing is ever missing in between.
        false => format!(
            "WITH new AS ({new}), gone AS (DELETE FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM new WHERE new.environment = t.environment)) \
             INSERT INTO {table} SELECT * FROM new ON CONFLICT (environment) DO UPDATE SET {update}"
        ),
    })
    .await
}
