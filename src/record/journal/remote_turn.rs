//! Who has turned the canary's traffic last, by the records of everybody who keeps them in the same PostgreSQL.

use serde_json::Value as Json;
use sqlx::PgConnection;

use crate::base::clock::Stamp;
use crate::plan::runbook::{Event, Operator, StepResult, Weight};

/// A share of the traffic that a run has set, and that was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteTurn {
    pub at: Stamp,
    pub to: Weight,
    pub run: String,
    pub runbook: String,
    pub by: Operator,
}

/// How many of the latest steps that speak of an observed share are looked at.
const LOOKED_AT: i64 = 8;

/// The last one in an environment; `Ok(None)`: none.
pub(super) async fn last_turn(pg: &mut PgConnection, environment: &str) -> Result<Option<RemoteTurn>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('lastgreen.records') IS NOT NULL").fetch_one(&mut *pg).await?;
    if !there {
        return Ok(None);
    }
    let query = "SELECT step.run, step.line, began.line, (extract(epoch FROM step.at) * 1000)::bigint \
                 FROM lastgreen.records step JOIN lastgreen.records began ON began.run = step.run AND began.seq = 1 \
                 WHERE step.environment = $1 AND step.type = 'step_finished' AND step.line LIKE '%\"observed\":%' ORDER BY step.at DESC LIMIT $2";
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(query).bind(environment).bind(LOOKED_AT).fetch_all(pg).await?;
    Ok(rows.into_iter().find_map(|(run, step, began, at)| {
        let to = turned(&step)?;
        let Event::Started { runbook, by, .. } = event(&began)? else { return None };
        Some(RemoteTurn { at: Stamp(at), to, run, runbook, by })
    }))
}

/// What a record says; a single one is in no chain that could be held to its sums.
pub(super) fn event(line: &str) -> Option<Event> {
    #[derive(serde::Deserialize)]
    struct Line {
        event: Event,
    }
    serde_json::from_str::<Line>(line).ok().map(|line| line.event)
}

/// The share that a record says was set and seen.
fn turned(line: &str) -> Option<Weight> {
    let Event::StepFinished { outcome: StepResult::Done, touched: true, output, .. } = event(line)? else { return None };
    output.json.get("observed").filter(|seen| seen.is_object())?;
    output.json.get("to").and_then(Json::as_u64).and_then(|to| Weight::try_from(to).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_set_and_seen_is_a_turn() {
        let line = |outcome: &str, touched: bool, json: &str| {
            format!(
                r#"{{"v":1,"seq":4,"event":{{"type":"step_finished","step":"turn","outcome":"{outcome}","message":"m","touched":{touched},"output":{{"text":"","json":{json}}}}}}}"#
            )
        };
        let seen = r#"{"before":"0 %","to":10,"observed":{"at":1,"places":[]}}"#;
        assert_eq!(turned(&line("done", true, seen)), Some(10));
        assert_eq!(turned(&line("failed", true, seen)), None);
        assert_eq!(turned(&line("done", false, seen)), None, "it only looked");
        assert_eq!(turned(&line("done", true, r#"{"observed":10,"to":10}"#)), None, "some program's own output");
        assert_eq!(turned("not a record"), None);
    }
}
