//! The runs of everybody who keeps records in the same PostgreSQL, as far as their first and last records tell.

use sqlx::PgConnection;

use super::remote_turn::event;
use crate::base::clock::Stamp;
use crate::plan::runbook::{Event, Operator, RunResult};

/// A run by its first record, and by its last where that has come.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteRun {
    pub run: String,
    pub at: Stamp,
    pub runbook: String,
    pub by: Operator,
    pub reason: Option<String>,
    pub ended: Option<RemoteEnd>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RemoteEnd {
    pub at: Stamp,
    pub result: RunResult,
    pub words: String,
}

/// A run, its first and its last record, and when they were written.
type EndsOfRun = (String, String, Option<String>, i64, Option<i64>);

/// The latest of an environment, the newest first.
pub(super) async fn remote_runs(pg: &mut PgConnection, environment: &str, most: i64) -> Result<Vec<RemoteRun>, sqlx::Error> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let there: bool = sqlx::query_scalar("SELECT to_regclass('lastgreen.records') IS NOT NULL").fetch_one(&mut *pg).await?;
    if !there {
        return Ok(Vec::new());
    }
    let query = "SELECT began.run, began.line, ended.line, (extract(epoch FROM began.at) * 1000)::bigint, \
                 (extract(epoch FROM ended.at) * 1000)::bigint \
                 FROM lastgreen.records began LEFT JOIN lastgreen.records ended ON ended.run = began.run AND ended.type = 'ended' \
                 WHERE began.environment = $1 AND began.seq = 1 ORDER BY began.at DESC LIMIT $2";
    let rows: Vec<EndsOfRun> = sqlx::query_as(query).bind(environment).bind(most).fetch_all(pg).await?;
    let one = |(run, began, ended, at, ended_at): EndsOfRun| {
        let Event::Started { runbook, by, reason, .. } = event(&began)? else { return None };
        let ended = ended.zip(ended_at).and_then(|(line, at)| match event(&line)? {
            Event::Ended { result, message, .. } => Some(RemoteEnd { at: Stamp(at), result, words: message }),
            _ => None,
        });
        Some(RemoteRun { run, at: Stamp(at), runbook, by, reason, ended })
    };
    Ok(rows.into_iter().filter_map(one).collect())
}
