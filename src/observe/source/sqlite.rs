//! SQLite: the embedded default. One read-only connection that gives up at the statement's deadline.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Row, SqlitePool, TypeInfo, ValueRef};

use super::rows::{MOST_ROWS, Rows};
use crate::observe::reading::{Fault, FaultKind};

pub struct Sqlite {
    path: PathBuf,
    timeout: Duration,
    pool: tokio::sync::OnceCell<SqlitePool>,
}

impl Sqlite {
    pub fn new(path: PathBuf, timeout: Duration) -> Sqlite {
        Sqlite { path, timeout, pool: tokio::sync::OnceCell::new() }
    }

    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| "?".into(), |stem| stem.to_string_lossy().into_owned())
    }

    async fn pool(&self) -> &SqlitePool {
        self.pool
            .get_or_init(|| async {
                let options = SqliteConnectOptions::new()
                    .filename(&self.path)
                    .read_only(true)
                    .busy_timeout(self.timeout)
                    .pragma("query_only", "ON")
                    .disable_statement_logging();
                // Connections are not kept long: the file may be replaced by a restored one.
                SqlitePoolOptions::new()
                    .max_connections(1)
                    .max_lifetime(Duration::from_secs(10))
                    .acquire_timeout(self.timeout)
                    .connect_lazy_with(options)
            })
            .await
    }

    pub(super) async fn rows(&self, query: &str) -> Result<Rows, Fault> {
        let mut connection = self.pool().await.acquire().await.map_err(|e| self.fault(&e))?;
        let deadline = Instant::now() + self.timeout;
        connection.lock_handle().await.map_err(|e| self.fault(&e))?.set_progress_handler(10_000, move || Instant::now() < deadline);
        let wrapped = format!("SELECT * FROM (\n{query}\n) LIMIT {}", MOST_ROWS + 1);
        let found = sqlx::query(AssertSqlSafe(wrapped)).persistent(false).fetch_all(&mut *connection).await;
        if let Ok(mut handle) = connection.lock_handle().await {
            handle.remove_progress_handler();
        }
        let found = found.map_err(|e| self.fault(&e))?;
        if found.len() > MOST_ROWS {
            return Err(Fault::new(FaultKind::TooLarge, format!("the query gives more than {MOST_ROWS} rows")));
        }
        let columns = found.first().map(|row| row.columns().iter().map(|c| c.name().to_string()).collect()).unwrap_or_default();
        let rows =
            found.iter().map(|row| (0..row.len()).map(|i| cell(row, i)).collect::<Result<_, _>>()).collect::<Result<_, sqlx::Error>>();
        Rows { columns, rows: rows.map_err(|e| self.fault(&e))? }.told_apart()
    }

    fn fault(&self, error: &sqlx::Error) -> Fault {
        match error {
            sqlx::Error::Database(e) => match e.code().as_deref() {
                Some("14") if !self.path.exists() => {
                    Fault::new(FaultKind::Unreachable, format!("there is no file {}", self.path.display()))
                }
                Some("14") => Fault::new(FaultKind::Unreachable, format!("cannot open {}: {}", self.path.display(), e.message())),
                Some("9") => {
                    Fault::new(FaultKind::Query, format!("the query took longer than {}", crate::base::units::short(self.timeout)))
                }
                Some("26" | "11") => Fault::new(FaultKind::Unavailable, format!("{}: {}", self.path.display(), e.message())),
                _ => Fault::new(FaultKind::Query, e.message()),
            },
            sqlx::Error::PoolTimedOut => Fault::new(FaultKind::Timeout, "the database is busy"),
            other => Fault::new(FaultKind::Garbage, other.to_string()),
        }
    }
}

/// A cell by what is stored in it, not by what its column was declared as.
fn cell(row: &SqliteRow, i: usize) -> Result<serde_json::Value, sqlx::Error> {
    let (null, kind) = {
        let raw = row.try_get_raw(i)?;
        (raw.is_null(), raw.type_info().name().to_string())
    };
    if null {
        return Ok(serde_json::Value::Null);
    }
    Ok(match kind.as_str() {
        "INTEGER" => row.try_get_unchecked::<i64, _>(i)?.into(),
        "REAL" => row.try_get_unchecked::<f64, _>(i)?.into(),
        "BLOB" => format!("{} bytes", row.try_get_unchecked::<Vec<u8>, _>(i)?.len()).into(),
        _ => row.try_get_unchecked::<String, _>(i)?.into(),
    })
}
