//! SQL: a query with an expectation, in a session that cannot write; a statement only where it is marked as changing, and
//! taken back when what it changed is not what was expected.

use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::http::redacted;
use super::{Act, Context, Invocation, Outcome, OutputLog, Settled, expect};
use crate::base::endpoint::DatabaseOptions;
use crate::base::text::hex;
use crate::base::units::count_of;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Boxed, Given, Session};
use crate::plan::runbook::{Output, SqlCall};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long the end of a session may take that was told to end.
const ENDING: Duration = Duration::from_secs(10);

impl Act for SqlCall {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(run(context, self, invocation, log))
    }

    fn settle<'a>(&'a self, context: &'a Context, run: &'a str, key: &'a str, end: bool) -> Boxed<'a, Settled> {
        Box::pin(settle(context, self, run, key, end))
    }
}

async fn run(context: &Context, call: &SqlCall, invocation: &Invocation<'_>, log: &mut OutputLog) -> Outcome {
    let limit = invocation.limit();
    let mut session = match open(context, call, limit).await {
        Ok(session) => session,
        Err(fault) => return Outcome::failed(fault.message, false),
    };
    if let Err(fault) = session.name(&name(invocation.run, invocation.key)).await {
        return Outcome::failed(fault.message, false);
    }
    let outcome = work(&mut session, call, limit, log).await;
    session.close().await;
    // What the server refused it has not done; a broken connection leaves it open.
    outcome.unwrap_or_else(|fault| Outcome::failed(fault.message, call.mutates && fault.kind != FaultKind::Query))
}

async fn open(context: &Context, call: &SqlCall, limit: Duration) -> Result<Session, Fault> {
    let options = context.databases.get(&call.source);
    let options = options.ok_or_else(|| Fault::new(FaultKind::Local, format!("there is no database `{}` any more", call.source)))?;
    Session::open(&DatabaseOptions { timeout: limit.min(CONNECTING), ..options.clone() }).await
}

async fn work(session: &mut Session, call: &SqlCall, limit: Duration, log: &mut OutputLog) -> Result<Outcome, Fault> {
    // Only with an expectation is there anything to take back; some statements do not run inside a transaction.
    let held = call.mutates && call.expect.is_some();
    if held {
        session.say("BEGIN").await?;
    }
    let given = session.run(&call.query, &call.params, !call.mutates, limit).await?;
    for row in &given.first {
        log.say(&row.to_string());
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
            Outcome::done(words, call.mutates).with(output)
        }
        (Ok(false), Some(condition)) => Outcome::otherwise(format!("{words}, wanted {condition}{undone}"), false),
        (Ok(false), None) => Outcome::otherwise(words, false),
        (Err(e), _) => Outcome::failed(format!("{e}{undone}"), false),
    })
}

fn read(call: &SqlCall, given: &Given) -> (Json, String) {
    match (call.mutates, &given.value) {
        (true, _) => (Json::from(given.changed), count_of(given.changed as usize, "row") + " changed"),
        (false, Some(value)) => (value.clone(), format!("gives {value}")),
        (false, None) => (Json::from(given.rows as u64), count_of(given.rows, "row")),
    }
}

/// What a step's session is called on the server: names there are short.
fn name(run: &str, key: &str) -> String {
    format!("lastgreen {run} {}", &hex(&Sha256::digest(key))[..12])
}

/// Whether the server is still at what it was asked for and nobody waits for any more. Without the database that cannot be
/// known.
async fn settle(context: &Context, call: &SqlCall, run: &str, key: &str, end: bool) -> Settled {
    if !call.mutates {
        return Settled::Over;
    }
    let deadline = Instant::now() + ENDING;
    let mut session = match open(context, call, CONNECTING).await {
        Ok(session) => session,
        Err(fault) => return Settled::Unknown(fault.message),
    };
    let name = name(run, key);
    let settled = loop {
        match session.at_work(&name, end).await {
            Ok(0) => break Settled::Over,
            // Told to end, it takes a moment.
            Ok(_) if end && Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(n) => break Settled::UnderWay(format!("{n} session of this step at work in the database")),
            Err(fault) => break Settled::Unknown(fault.message),
        }
    };
    session.close().await;
    settled
}
