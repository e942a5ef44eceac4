//! What everybody who keeps records in one PostgreSQL says of an environment, asked in one session: who acts there, what was
//! said about holding its canary, who has turned its traffic last, and which runs there were.

use super::lease::Holder;
use super::remote_hold::{Said, said_of_hold};
use super::remote_lease::{remote_holder, words};
use super::remote_runs::{RemoteRun, remote_runs};
use super::remote_turn::{RemoteTurn, last_turn};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::source::Session;

/// What is known of an environment there, each part or why it cannot be told.
#[derive(Debug)]
pub struct RemoteView {
    pub holder: Result<Option<Holder>, String>,
    pub hold: Result<Option<Said>, String>,
    pub turn: Result<Option<RemoteTurn>, String>,
    pub runs: Result<Vec<RemoteRun>, String>,
}

/// Looks once; `Ok(None)`: this database keeps nothing for several hosts.
///
/// # Errors
/// Why it cannot be reached.
pub async fn look_remotely(options: &DatabaseOptions, environment: &str) -> Result<Option<RemoteView>, String> {
    let mut session = Session::open(options).await.map_err(|f| f.message)?;
    let Session::Postgres(pg) = &mut session else { return Ok(None) };
    let view = RemoteView {
        holder: remote_holder(pg, environment).await.map_err(words),
        hold: said_of_hold(pg, environment).await.map_err(words),
        turn: last_turn(pg, environment).await.map_err(words),
        runs: remote_runs(pg, environment).await.map_err(words),
    };
    session.close().await;
    Ok(Some(view))
}
