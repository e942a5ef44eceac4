//! A hold of a canary in PostgreSQL: it binds everybody who keeps their records there, whatever host they are on.

use sqlx::PgConnection;

use super::remote_lease::words;
use super::schema::make;
use crate::base::clock::Stamp;
use crate::base::endpoint::DatabaseOptions;
use crate::observe::source::Session;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS lastgreen.holds (environment text PRIMARY KEY, at bigint NOT NULL, hold text);";

/// What was said last about holding an environment's canary, and when; no text where it was let go.
pub type Said = (Stamp, Option<String>);

/// Puts down what is said now; what was said later by somebody else stays. `Ok(false)`: this database keeps none.
///
/// # Errors
/// What the database said.
pub async fn put_hold(options: &DatabaseOptions, environment: &str, (at, hold): &Said) -> Result<bool, String> {
    let mut session = Session::open(options).await.map_err(|f| f.message)?;
    let Session::Postgres(pg) = &mut session else { return Ok(false) };
    let put = put(pg, environment, *at, hold.as_deref()).await;
    session.close().await;
    put.map(|()| true).map_err(words)
}

async fn put(pg: &mut PgConnection, environment: &str, at: Stamp, hold: Option<&str>) -> Result<(), sqlx::Error> {
    make(pg, TABLE).await?;
    let query = "INSERT INTO lastgreen.holds (environment, at, hold) VALUES ($1, $2, $3) \
                 ON CONFLICT (environment) DO UPDATE SET at = excluded.at, hold = excluded.hold WHERE lastgreen.holds.at <= excluded.at";
    sqlx::query(query).bind(environment).bind(at.0).bind(hold).execute(pg).await.map(drop)
}

/// What was said last; `Ok(None)`: nothing ever.
pub(super) async fn said_of_hold(pg: &mut PgConnection, environment: &str) -> Result<Option<Said>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('lastgreen.holds') IS NOT NULL").fetch_one(&mut *pg).await?;
    if !there {
        return Ok(None);
    }
    let row: Option<(i64, Option<String>)> =
        sqlx::query_as("SELECT at, hold FROM lastgreen.holds WHERE environment = $1").bind(environment).fetch_optional(pg).await?;
    Ok(row.map(|(at, hold)| (Stamp(at), hold)))
}
