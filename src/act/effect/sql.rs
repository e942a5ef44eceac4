//! SQL: a query with an expectation, in a session that cannot write; a statement only where it is marked as changing, and
//! taken back when what it changed is not what was expected.

use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::http::redacted;
use super::{Context, Invocation, Outcome, OutputLog, expect};
use crate::base::endpoint::DatabaseOptions;
use crate::base::text::hex;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Given, Session};
use crate::plan::runbook::{Output, SqlCall};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long the end of a session may take that was told to end.
const ENDING: Duration = Duration::from_secs(10);

pub async fn perform(context: &Context, call: &SqlCall, invocation: &Invocation<'_>, limit: Duration, tap: &mut OutputLog) -> Outcome {
    let mut session = match open(context, call, limit).await {
        Ok(session) => session,
        Err(fault) => return Outcome::badly(fault.message, false),
    };
    if let Err(fault) = session.name(&name(invocation.run, invocation.key)).await {
        return Outcome::badly(fault.message, false);
    }
    let came = work(&mut session, call, limit, tap).await;
    session.close().await;
    // What the server refused it has not done; a broken connection leaves it open.
    came.unwrap_or_else(|fault| Outcome::badly(fault.message, call.mutates && fault.kind != FaultKind::Query))
}

async fn open(context: &Context, call: &SqlCall, limit: Duration) -> Result<Session, Fault> {
    let options = context.databases.get(&call.source);
    let options = options.ok_or_else(|| Fault::new(FaultKind::Local, format!("there is no database `{}` any more", call.source)))?;
    Session::open(&DatabaseOptions { timeout: limit.min(CONNECTING), ..options.clone() }).await
}

async fn work(session: &mut Session, call: &SqlCall, limit: Duration, tap: &mut OutputLog) -> Result<Outcome, Fault> {
    // Only with an expectation is there anything to take back; some statements do not run inside a transaction.
    let held = call.mutates && call.expect.is_some();
    if held {
        session.say("BEGIN").await?;
    }
    let given = session.run(&call.query, &call.params, !call.mutates, limit).await?;
    for row in &given.first {
        tap.say(&row.to_string());
    }
    let (value, words) = read(call, &given);
    let verdict = call.expect.as_ref().map_or(Ok(true), |condition| expect::meets(&value, condition));
    if held {
        session.say(if verdict == Ok(true) { "COMMIT" } else { "ROLLBACK" }).await?;
    }
    let undone = if held { ", and was taken back" } else { "" };
    Ok(match (verdict, &call.expect) {
        (Ok(true), _) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            let output = Output { text: crate::base::secret::sanitize(&text), json: redacted(Json::from(given.first)) }.bounded();
            Outcome { output, ..Outcome::well(words, call.mutates) }
        }
        (Ok(false), Some(condition)) => Outcome::otherwise(format!("{words}, wanted {condition}{undone}"), false),
        (Ok(false), None) => Outcome::otherwise(words, false),
        (Err(e), _) => Outcome::badly(format!("{e}{undone}"), false),
    })
}

fn read(call: &SqlCall, given: &Given) -> (Json, String) {
    match (call.mutates, &given.value) {
        (true, _) => (Json::from(given.changed), format!("{} rows changed", given.changed)),
        (false, Some(value)) => (value.clone(), format!("gives {value}")),
        (false, None) => (Json::from(given.rows as u64), format!("{} rows", given.rows)),
    }
}

/// What a step's session is called on the server: names there are short.
fn name(run: &str, key: &str) -> String {
    format!("lastgreen {run} {}", &hex(&Sha256::digest(key))[..12])
}

/// Waits until the server has finished what it was asked for and nobody waits for any more; ends it when that takes too
/// long. Whether nothing of it is at work any more: without the database that cannot be known.
pub async fn settle_sql(context: &Context, call: &SqlCall, run: &str, key: &str, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let Ok(mut session) = open(context, call, CONNECTING).await else { return false };
    let name = name(run, key);
    let settled = loop {
        let now = Instant::now();
        match session.at_work(&name, now >= deadline).await {
            Ok(0) => break true,
            Ok(_) if now < deadline + ENDING => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(_) | Err(_) => break false,
        }
    };
    session.close().await;
    settled
}
