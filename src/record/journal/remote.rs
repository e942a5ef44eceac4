//! What everybody who keeps records in one PostgreSQL says of an environment, asked in one session: who acts there, what was
//! said about holding its canary, who has turned its traffic last, and which runs there were.

use std::time::Duration;

use super::lease::Holder;
use super::remote_hold::{Said, said_of_hold};
use super::remote_lease::{remote_holder, words};
use super::remote_runs::{RemoteRun, remote_runs};
use super::remote_turn::{RemoteTurn, last_turn};
use crate::base::endpoint::DatabaseOptions;
use crate::base::units::short;
use crate::observe::source::Session;

/// What is known of an environment there, each part or why it cannot be told.
#[derive(Debug)]
pub struct RemoteView {
    pub holder: Result<Option<Holder>, String>,
    pub hold: Result<Option<Said>, String>,
    pub turn: Result<Option<RemoteTurn>, String>,
    pub runs: Result<Vec<RemoteRun>, String>,
}

/// How long each part may take: an answer that is dear does not take those with it that are cheap.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks once, at so many runs; `Ok(None)`: this database keeps nothing for several hosts.
///
/// # Errors
/// Why it cannot be reached.
pub async fn look_remotely(options: &DatabaseOptions, environment: &str, runs: i64) -> Result<Option<RemoteView>, String> {
    if options.is_sqlite() {
        return Ok(None);
    }
    let mut session = Session::open(options).await.map_err(|f| f.message)?;
    let Session::Postgres(pg) = &mut session else { return Ok(None) };
    let mut late = false;
    let view = RemoteView {
        holder: within(remote_holder(pg, environment), &mut late).await,
        hold: within(said_of_hold(pg, environment), &mut late).await,
        turn: within(last_turn(pg, environment), &mut late).await,
        runs: within(remote_runs(pg, environment, runs), &mut late).await,
    };
    if !late {
        session.close().await;
    }
    Ok(Some(view))
}

/// What was said of holding the canary alone.
///
/// # Errors
/// Why that cannot be told.
pub async fn said_of_hold_there(options: &DatabaseOptions, environment: &str) -> Result<Option<Said>, String> {
    if options.is_sqlite() {
        return Ok(None);
    }
    let mut session = Session::open(options).await.map_err(|f| f.message)?;
    let Session::Postgres(pg) = &mut session else { return Ok(None) };
    let said = said_of_hold(pg, environment).await.map_err(words);
    session.close().await;
    said
}

/// A session in which something is still under way is asked nothing more.
async fn within<T>(asking: impl Future<Output = Result<T, sqlx::Error>>, late: &mut bool) -> Result<T, String> {
    let said = || format!("no answer within {}", short(PATIENCE));
    if *late {
        return Err(said());
    }
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(words),
        Err(_) => {
            *late = true;
            Err(said())
        }
    }
}
