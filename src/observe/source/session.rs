//! One connection to a database that may write: for steps of runbooks, the mirror of journals, and locks across hosts.
//! Signals never get one of these.

use std::time::Duration;

use serde_json::Value as Json;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, SqliteConnection};

use super::postgres;
use super::tls_words::plain_words;
use crate::base::endpoint::DatabaseOptions;
use crate::base::secret::sanitize;
use crate::observe::reading::{Fault, FaultKind};

pub enum Session {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// What a statement gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The value, when there is one row with one column.
    pub value: Option<Json>,
    pub rows: usize,
    /// Rows that were changed.
    pub changed: u64,
    /// The first rows, as JSON objects.
    pub first: Vec<Json>,
}

/// How much longer than its limit a statement is waited for.
const HEARD_OF: Duration = Duration::from_secs(5);
/// How many rows of an answer are kept.
const KEPT: usize = 20;

impl Session {
    /// Connects. Secrets are fetched again.
    ///
    /// # Errors
    /// Why there is no connection, in words.
    pub async fn open(options: &DatabaseOptions) -> Result<Session, Fault> {
        let connecting = async {
            match options.url.strip_prefix("sqlite:") {
                Some(path) => {
                    let lite = SqliteConnectOptions::new()
                        .filename(path.trim_start_matches("//"))
                        .busy_timeout(options.timeout)
                        .disable_statement_logging();
                    let connection = lite.connect().await;
                    connection
                        .map(Session::Sqlite)
                        .map_err(|e| Fault::new(FaultKind::Unreachable, format!("{}: {}", options.url, plain_words(&e.to_string()))))
                }
                None => {
                    let pg = postgres::writing_options(options).await?;
                    PgConnection::connect_with(&pg).await.map(Session::Postgres).map_err(|e| postgres::fault(&e))
                }
            }
        };
        tokio::time::timeout(options.timeout, connecting).await.unwrap_or_else(|_| {
            let what = format!("the database did not answer within {}", crate::base::units::short(options.timeout));
            Err(Fault::new(FaultKind::Timeout, what))
        })
    }

    /// Says on the server whose work this is, so that it can be found there.
    ///
    /// # Errors
    /// What the database said.
    pub async fn name(&mut self, name: &str) -> Result<(), Fault> {
        let Session::Postgres(pg) = self else { return Ok(()) };
        let set = sqlx::query("SELECT set_config('application_name', $1, false)").persistent(false).bind(name).execute(&mut *pg).await;
        set.map(drop).map_err(|e| postgres::fault(&e))
    }

    /// How many sessions of that name are at work on the server.
    ///
    /// # Errors
    /// What the database said.
    pub async fn at_work(&mut self, name: &str, end: bool) -> Result<i64, Fault> {
        let Session::Postgres(pg) = self else { return Ok(0) };
        let query = "SELECT count(CASE WHEN $2 THEN pg_terminate_backend(pid) END), count(*) FROM pg_stat_activity \
                     WHERE application_name = $1 AND pid <> pg_backend_pid() AND state <> 'idle'";
        let counted: Result<(i64, i64), _> = sqlx::query_as(query).persistent(false).bind(name).bind(end).fetch_one(&mut *pg).await;
        counted.map(|(_, there)| there).map_err(|e| postgres::fault(&e))
    }

    /// `BEGIN`, `COMMIT` or `ROLLBACK`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn say(&mut self, word: &'static str) -> Result<(), Fault> {
        let said = match self {
            Session::Postgres(pg) => sqlx::raw_sql(word).execute(&mut *pg).await.map(drop),
            Session::Sqlite(lite) => sqlx::raw_sql(word).execute(&mut *lite).await.map(drop),
        };
        said.map_err(|e| postgres::fault(&e))
    }

    /// Runs one statement with its values, and reads what it gives. With `read_only` nothing can be changed.
    ///
    /// # Errors
    /// What the database said.
    pub async fn run(&mut self, query: &str, params: &[Json], read_only: bool, limit: Duration) -> Result<Given, Fault> {
        // The server keeps the limit; one that is not heard of any more cannot.
        let most = limit.saturating_add(HEARD_OF);
        tokio::time::timeout(most, self.run_as_long_as_it_takes(query, params, read_only, limit)).await.unwrap_or_else(|_| {
            let words = format!("the database did not answer within {}", crate::base::units::short(most));
            Err(Fault::new(FaultKind::Timeout, words))
        })
    }

    async fn run_as_long_as_it_takes(&mut self, query: &str, params: &[Json], read_only: bool, limit: Duration) -> Result<Given, Fault> {
        let query = query.trim().trim_end_matches(';');
        let fault = |e: sqlx::Error| postgres::fault(&e);
        match self {
            Session::Postgres(pg) => {
                let setting = format!(
                    "SET statement_timeout = {}; SET default_transaction_read_only = {}",
                    limit.as_millis(),
                    if read_only { "on" } else { "off" }
                );
                sqlx::raw_sql(AssertSqlSafe(setting)).execute(&mut *pg).await.map_err(fault)?;
                let wrapped;
                let text = if read_only {
                    wrapped = format!("SELECT row_to_json(q)::text FROM (\n{query}\n) q LIMIT 10000");
                    &wrapped
                } else {
                    query
                };
                // Values are given as they are written, and the server reads each as what its place wants: a text may be a
                // jsonb, a uuid or a time. Only what has values has to be prepared; not everything can be.
                let words = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH"];
                let first = text.split(|c: char| !c.is_alphabetic()).next().unwrap_or("").to_ascii_uppercase();
                let prepared = !params.is_empty() && words.contains(&first.as_str());
                let call = if !prepared {
                    text.to_string()
                } else {
                    let prepare = format!("PREPARE lastgreen_step AS {text}");
                    sqlx::query(AssertSqlSafe(prepare)).persistent(false).execute(&mut *pg).await.map_err(fault)?;
                    let values: Vec<String> = params.iter().map(value_literal).collect();
                    format!("EXECUTE lastgreen_step({})", values.join(", "))
                };
                let bound = sqlx::query(AssertSqlSafe(call)).persistent(false);
                // As `CALL` has them: of the type they are written in.
                let bound = if prepared { bound } else { params.iter().fold(bound, bind_pg) };
                if !read_only {
                    let done = bound.execute(&mut *pg).await.map_err(fault)?;
                    return Ok(Given { value: None, rows: 0, changed: done.rows_affected(), first: Vec::new() });
                }
                let rows = bound.fetch_all(&mut *pg).await.map_err(fault)?;
                let read = |row: &PgRow| row.try_get::<String, _>(0).ok().and_then(|text| serde_json::from_str(&text).ok());
                Ok(given(rows.len(), rows.iter().take(KEPT).filter_map(read).collect()))
            }
            Session::Sqlite(lite) => {
                let only = if read_only { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" };
                sqlx::raw_sql(only).execute(&mut *lite).await.map_err(fault)?;
                let bound = params.iter().fold(sqlx::query(AssertSqlSafe(query.to_string())).persistent(false), bind_lite);
                if !read_only {
                    let done = bound.execute(&mut *lite).await.map_err(fault)?;
                    return Ok(Given { value: None, rows: 0, changed: done.rows_affected(), first: Vec::new() });
                }
                let rows = bound.fetch_all(&mut *lite).await.map_err(fault)?;
                Ok(given(rows.len(), rows.iter().take(KEPT).map(object).collect()))
            }
        }
    }

    pub async fn close(self) {
        // Whoever closes has no more use for the connection, however that ends.
        let _ = match self {
            Session::Postgres(pg) => pg.close().await,
            Session::Sqlite(lite) => lite.close().await,
        };
    }
}

fn given(rows: usize, first: Vec<Json>) -> Given {
    let value = match first.as_slice() {
        [Json::Object(row)] if rows == 1 && row.len() == 1 => row.values().next().cloned(),
        _ => None,
    };
    Given { value, rows, changed: 0, first }
}

fn bind_pg<'q>(query: Query<'q, sqlx::Postgres, PgArguments>, value: &Json) -> Query<'q, sqlx::Postgres, PgArguments> {
    match value {
        Json::Null => query.bind(None::<String>),
        Json::Bool(flag) => query.bind(*flag),
        Json::Number(n) if n.is_i64() => query.bind(n.as_i64()),
        Json::Number(n) => query.bind(n.as_f64()),
        Json::String(text) => query.bind(text.clone()),
        other => query.bind(other.to_string()),
    }
}

/// A text as a PostgreSQL literal of no type of its own.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\0', "").replace('\\', "\\\\").replace('\'', "''");
    format!("E'{escaped}'")
}

fn value_literal(value: &Json) -> String {
    match value {
        Json::Null => "NULL".into(),
        Json::String(text) => literal(text),
        other => literal(&other.to_string()),
    }
}

fn bind_lite<'q>(query: Query<'q, sqlx::Sqlite, SqliteArguments>, value: &Json) -> Query<'q, sqlx::Sqlite, SqliteArguments> {
    match value {
        Json::Null => query.bind(None::<String>),
        Json::Bool(flag) => query.bind(*flag),
        Json::Number(n) if n.is_i64() => query.bind(n.as_i64()),
        Json::Number(n) => query.bind(n.as_f64()),
        Json::String(text) => query.bind(text.clone()),
        other => query.bind(other.to_string()),
    }
}

/// A row of SQLite as an object: its columns have no type of their own.
fn object(row: &SqliteRow) -> Json {
    use sqlx::{Column, TypeInfo, ValueRef};
    let cell = |i: usize| match row.try_get_raw(i) {
        Ok(raw) if raw.is_null() => Json::Null,
        Ok(raw) => match raw.type_info().name() {
            "INTEGER" => row.try_get::<i64, _>(i).map_or(Json::Null, Json::from),
            "REAL" => row.try_get::<f64, _>(i).map_or(Json::Null, Json::from),
            _ => row.try_get::<String, _>(i).map_or(Json::Null, |text| Json::from(sanitize(&text))),
        },
        Err(_) => Json::Null,
    };
    Json::Object(row.columns().iter().enumerate().map(|(i, column)| (column.name().to_string(), cell(i))).collect())
}
