//! SQL: a query with an expectation, in a session that cannot write; a statement only where it is marked as changing.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Came, Reach, Tap, expect};
use crate::reading::FaultKind;
use crate::runbook::{Output, SqlCall};
use crate::source::Session;

pub async fn perform(reach: &Reach, call: &SqlCall, limit: Duration, tap: &mut Tap) -> Came {
    let Some(options) = reach.databases.get(&call.source) else {
        return Came::badly(format!("there is no database `{}` any more", call.source), false);
    };
    let options = crate::source::DatabaseOptions { timeout: limit.min(Duration::from_secs(10)), ..options.clone() };
    let mut session = match Session::open(&options).await {
        Ok(session) => session,
        Err(fault) => return Came::badly(fault.message, false),
    };
    let given = session.run(&call.query, &call.params, !call.mutates, limit).await;
    session.close().await;
    let given = match given {
        Ok(given) => given,
        // What the server refused it has not done; a broken connection leaves it open.
        Err(fault) => return Came::badly(fault.message, call.mutates && fault.kind != FaultKind::Query),
    };
    for row in &given.first {
        tap.say(&row.to_string());
    }
    let (value, words) = match (call.mutates, &given.value) {
        (true, _) => (Json::from(given.changed), format!("{} rows changed", given.changed)),
        (false, Some(value)) => (value.clone(), format!("gives {value}")),
        (false, None) => (Json::from(given.rows as u64), format!("{} rows", given.rows)),
    };
    if let Some(condition) = &call.expect {
        match expect::meets(&value, condition) {
            Ok(true) => {}
            Ok(false) => return Came::otherwise(format!("{words}, wanted {condition}"), call.mutates),
            Err(e) => return Came::badly(e, call.mutates),
        }
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
    Came { output: Output { text: crate::base::secret::outside(&text), json: Json::from(given.first) }, ..Came::well(words, call.mutates) }
}
