//! The lease across hosts: a row in PostgreSQL with holder, heartbeat and fence number, and a session's advisory lock beside
//! it, by which the server says at once when a holder has gone. The row counts: a lock that has become free while its
//! holder's heart beats (a server that was started anew) is nobody else's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::lease::Holder;
use crate::base::endpoint::DatabaseOptions;
use crate::observe::source::Session;
use crate::plan::runbook::Operator;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS lastgreen.locks (environment text PRIMARY KEY, holder text NOT NULL, beat timestamptz NOT NULL,
  session int NOT NULL DEFAULT 0);
ALTER TABLE lastgreen.locks ADD COLUMN IF NOT EXISTS session int NOT NULL DEFAULT 0;
ALTER TABLE lastgreen.locks ADD COLUMN IF NOT EXISTS fence bigint NOT NULL DEFAULT 0;
ALTER TABLE lastgreen.locks ADD COLUMN IF NOT EXISTS wanted text;
";

/// A number that stands for an environment in `pg_advisory_lock`.
fn lock_key(environment: &str) -> i64 {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!("lastgreen/{environment}"));
    let mut first = [0u8; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first)
}

/// The same as `pg_locks` shows it, in two halves: for `$1` and `$2` of [`HOLDS_IT`].
fn lock_parts(environment: &str) -> (i64, i64) {
    let key = lock_key(environment);
    ((key >> 32) & 0xffff_ffff, key & 0xffff_ffff)
}

/// Whether a row of `pg_locks` is the lock of an environment.
const HOLDS_IT: &str = "locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = $1 AND objid::bigint = $2 \
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Somebody else who has an environment, and how long nothing was heard of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    pub holder: Option<Holder>,
    pub silent: Duration,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "{holder}; last heard of {} ago", crate::base::units::short(self.silent)),
            None => f.write_str("a run on another host"),
        }
    }
}

/// An emergency that wants the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub run: String,
    #[serde(default)]
    pub runbook: String,
    pub by: Operator,
}

/// What came of trying.
#[derive(Clone, Debug, PartialEq)]
pub enum RemoteTried {
    /// Ours, under this number; with the last holder, when that one was dead.
    Taken {
        fence: u64,
        dead: Option<Other>,
    },
    Held(Other),
}

/// What the row says to its holder.
#[derive(Clone, Debug, PartialEq)]
pub enum RemoteWord {
    Ours,
    /// An emergency asks it to stop.
    Wanted(Wanted),
    /// Somebody else has it, under a higher number.
    Fenced(Option<Holder>),
}

struct LeaseRow {
    holder: Option<Holder>,
    silent: Duration,
    session: i32,
}

/// A session that asks for, or holds, the lease of an environment.
pub struct RemoteLease {
    session: Session,
    environment: String,
    fence: u64,
}

impl RemoteLease {
    /// Opens a session for it, and makes the table where it is missing. `Ok(None)`: a database of one host, whose own lease
    /// is enough.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open(options: &DatabaseOptions, environment: &str) -> Result<Option<RemoteLease>, String> {
        let mut session = Session::open(options).await.map_err(|f| f.message)?;
        let Session::Postgres(pg) = &mut session else { return Ok(None) };
        prepare(pg).await.map_err(words)?;
        Ok(Some(RemoteLease { session, environment: environment.to_string(), fence: 0 }))
    }

    fn postgres(&mut self) -> Result<&mut PgConnection, String> {
        match &mut self.session {
            Session::Postgres(pg) => Ok(pg),
            Session::Sqlite(_) => Err("this database keeps no lease across hosts".into()),
        }
    }

    /// Tries to take it. `by_force`: also from a holder who lives, because that one was asked and did not let go.
    ///
    /// # Errors
    /// What the database said.
    pub async fn take(&mut self, holder: &Holder, at_least: u64, by_force: bool) -> Result<RemoteTried, String> {
        let environment = self.environment.clone();
        let pg = self.postgres()?;
        let mut transaction = pg.begin().await.map_err(words)?;
        let tried = take(&mut transaction, &environment, holder, at_least, by_force).await.map_err(words)?;
        transaction.commit().await.map_err(words)?;
        if let RemoteTried::Taken { fence, .. } = tried {
            self.fence = fence;
        }
        Ok(tried)
    }

    /// Says that the holder lives, and hears what the row says. An error means that the session has gone.
    ///
    /// # Errors
    /// What the database said.
    pub async fn beat(&mut self, holder: &Holder) -> Result<RemoteWord, String> {
        let (environment, fence) = (self.environment.clone(), self.fence);
        let pg = self.postgres()?;
        let query = "UPDATE lastgreen.locks SET holder = $2, beat = now(), session = pg_backend_pid() \
                     WHERE environment = $1 AND fence = $3 RETURNING wanted";
        let text = serde_json::to_string(holder).unwrap_or_default();
        let row: Option<Option<String>> =
            sqlx::query_scalar(query).bind(&environment).bind(text).bind(fence as i64).fetch_optional(&mut *pg).await.map_err(words)?;
        match row {
            Some(wanted) => {
                let wanted = wanted.and_then(|text| serde_json::from_str::<Wanted>(&text).ok()).filter(|w| w.run != holder.run);
                Ok(wanted.map_or(RemoteWord::Ours, RemoteWord::Wanted))
            }
            None => Ok(RemoteWord::Fenced(read_row(pg, &environment).await.map_err(words)?.and_then(|row| row.holder))),
        }
    }

    /// Asks the holder to stop: an emergency wants the environment.
    ///
    /// # Errors
    /// What the database said.
    pub async fn want(&mut self, wanted: &Wanted) -> Result<(), String> {
        let environment = self.environment.clone();
        let text = serde_json::to_string(wanted).unwrap_or_default();
        let query = "UPDATE lastgreen.locks SET wanted = $2 WHERE environment = $1";
        sqlx::query(query).bind(environment).bind(text).execute(self.postgres()?).await.map(drop).map_err(words)
    }

    /// Takes that back: whoever has it keeps it.
    ///
    /// # Errors
    /// What the database said.
    pub async fn want_no_more(&mut self, wanted: &Wanted) -> Result<(), String> {
        let environment = self.environment.clone();
        let text = serde_json::to_string(wanted).unwrap_or_default();
        let query = "UPDATE lastgreen.locks SET wanted = NULL WHERE environment = $1 AND wanted = $2";
        sqlx::query(query).bind(environment).bind(text).execute(self.postgres()?).await.map(drop).map_err(words)
    }

    /// Lets go of it in good order; its number stays.
    ///
    /// # Errors
    /// What the database said.
    pub async fn let_go(&mut self) -> Result<(), String> {
        let (environment, fence) = (self.environment.clone(), self.fence);
        let pg = self.postgres()?;
        let query = "UPDATE lastgreen.locks SET holder = '', session = 0, wanted = NULL WHERE environment = $1 AND fence = $2";
        sqlx::query(query).bind(&environment).bind(fence as i64).execute(&mut *pg).await.map_err(words)?;
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock_key(&environment)).execute(&mut *pg).await.map(drop).map_err(words)
    }

    /// Takes a run's name out of a row that this session does not hold: the run is over.
    ///
    /// # Errors
    /// What the database said.
    pub async fn name_no_more(&mut self, run: &str) -> Result<(), String> {
        let environment = self.environment.clone();
        let named = format!("%\"run\":\"{run}\"%");
        let query = "UPDATE lastgreen.locks SET holder = '', session = 0, wanted = NULL WHERE environment = $1 AND holder LIKE $2";
        sqlx::query(query).bind(environment).bind(named).execute(self.postgres()?).await.map(drop).map_err(words)
    }

    /// Names the last holder again: nothing has come of taking it over.
    ///
    /// # Errors
    /// What the database said.
    pub async fn give_back(&mut self, last: &Holder) -> Result<(), String> {
        let (environment, fence) = (self.environment.clone(), self.fence);
        let text = serde_json::to_string(last).unwrap_or_default();
        let query = "UPDATE lastgreen.locks SET holder = $3, session = 0 WHERE environment = $1 AND fence = $2";
        sqlx::query(query).bind(environment).bind(fence as i64).bind(text).execute(self.postgres()?).await.map(drop).map_err(words)
    }

    pub async fn close(self) {
        self.session.close().await;
    }
}

/// Who has an environment across hosts now, where a session of theirs holds it; looks only. `Ok(None)`: nobody, or there is no
/// such table.
pub(super) async fn remote_holder(pg: &mut PgConnection, environment: &str) -> Result<Option<Holder>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('lastgreen.locks') IS NOT NULL").fetch_one(&mut *pg).await?;
    if !there {
        return Ok(None);
    }
    let query = format!(
        "SELECT holder FROM lastgreen.locks WHERE environment = $3 AND EXISTS (SELECT 1 FROM pg_locks WHERE {HOLDS_IT} AND pid = session)"
    );
    let (high, low) = lock_parts(environment);
    let row = sqlx::query_scalar(AssertSqlSafe(query)).bind(high).bind(low).bind(environment);
    let row: Option<String> = row.fetch_optional(pg).await?;
    Ok(row.and_then(|text| serde_json::from_str(&text).ok()))
}

pub(super) fn words(error: sqlx::Error) -> String {
    // Where the error comes from in the library or the server is of no use to anybody here.
    let Some(said) = error.as_database_error() else { return crate::base::secret::sanitize(&error.to_string()) };
    let message = crate::base::secret::sanitize(said.message());
    match said.code().as_deref() {
        Some("42501") => format!(
            "{message}: records and the lease are kept in a schema of their own; let its owner run CREATE SCHEMA lastgreen AUTHORIZATION … for this user, or set [audit] database = \"none\""
        ),
        _ => message,
    }
}

async fn prepare(pg: &mut PgConnection) -> Result<(), sqlx::Error> {
    let there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('lastgreen.locks') AND attname = 'wanted' AND NOT attisdropped)",
    )
    .fetch_one(&mut *pg)
    .await?;
    if there {
        return Ok(());
    }
    super::schema::make(pg, TABLES).await
}

async fn read_row(pg: &mut PgConnection, environment: &str) -> Result<Option<LeaseRow>, sqlx::Error> {
    let query = "SELECT holder, extract(epoch FROM now() - beat)::float8, session FROM lastgreen.locks WHERE environment = $1";
    let row: Option<(String, f64, i32)> = sqlx::query_as(query).bind(environment).fetch_optional(pg).await?;
    Ok(row.map(|(text, silent, session)| LeaseRow {
        holder: serde_json::from_str(&text).ok(),
        silent: Duration::from_secs_f64(silent.clamp(0.0, 1e9)),
        session,
    }))
}

/// Whether a row's holder may be taken over from.
fn is_free(row: &LeaseRow, ours: &Holder) -> bool {
    match &row.holder {
        None => true,
        Some(other) if other.run == ours.run => true,
        Some(other) => other.is_gone(&ours.runner.place, row.silent),
    }
}

async fn take(
    pg: &mut PgConnection,
    environment: &str,
    holder: &Holder,
    at_least: u64,
    by_force: bool,
) -> Result<RemoteTried, sqlx::Error> {
    let key = lock_key(environment);
    // One at a time decides; the number beside the environment's own.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(key.wrapping_add(1)).execute(&mut *pg).await?;
    let row = read_row(pg, environment).await?;
    let other = |row: &LeaseRow| Other { holder: row.holder.clone(), silent: row.silent };
    if let Some(row) = &row
        && !is_free(row, holder)
        && !by_force
    {
        return Ok(RemoteTried::Held(other(row)));
    }
    let mut ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(key).fetch_one(&mut *pg).await?;
    let named = row.as_ref().filter(|row| row.holder.is_some() && row.session != 0);
    if !ours && let Some(row) = named {
        // Only the session that was judged: meanwhile it may have gone, and somebody else have come.
        let query = format!("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {HOLDS_IT} AND pid = $3");
        let (high, low) = lock_parts(environment);
        sqlx::query(AssertSqlSafe(query)).bind(high).bind(low).bind(row.session).execute(&mut *pg).await?;
        for _ in 0..20 {
            ours = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(key).fetch_one(&mut *pg).await?;
            if ours {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    if !ours && !by_force {
        return Ok(RemoteTried::Held(row.as_ref().map_or(Other { holder: None, silent: Duration::ZERO }, other)));
    }
    let query = "INSERT INTO lastgreen.locks (environment, holder, beat, session, fence) VALUES ($1, $2, now(), pg_backend_pid(), $3) \
                 ON CONFLICT (environment) DO UPDATE SET holder = excluded.holder, beat = excluded.beat, session = excluded.session, \
                 fence = greatest(lastgreen.locks.fence + 1, excluded.fence), wanted = NULL RETURNING fence";
    let text = serde_json::to_string(holder).unwrap_or_default();
    let fence: i64 = sqlx::query_scalar(query).bind(environment).bind(text).bind(at_least as i64).fetch_one(&mut *pg).await?;
    let dead = row.filter(|row| row.holder.as_ref().is_some_and(|h| h.run != holder.run)).map(|row| other(&row));
    Ok(RemoteTried::Taken { fence: fence.max(0) as u64, dead })
}
