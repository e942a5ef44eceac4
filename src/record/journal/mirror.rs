//! The journal's copy in a database: every record exactly once, whenever the database can be reached. A record's key is
//! its run and number; what is there already is compared, never written again.

use std::path::Path;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::record::JournalLine;
use crate::observe::source::{Session, literal};
use crate::plan::runbook::{Event, Plan};

/// A database being asked to keep records.
pub struct Mirror {
    session: Session,
    /// Whether the operators' own table of events is there.
    has_events: bool,
}

const PG_TABLES: &str = "
CREATE TABLE IF NOT EXISTS lastgreen.records (run text NOT NULL, seq bigint NOT NULL, at timestamptz NOT NULL,
  environment text NOT NULL, type text NOT NULL, line text NOT NULL, PRIMARY KEY (run, seq));
";

/// By these the latest steps and runs of an environment are found among years of records.
const PG_INDEX: &str = "
CREATE INDEX IF NOT EXISTS records_steps ON lastgreen.records (environment, at DESC) WHERE type = 'step_finished';
CREATE INDEX IF NOT EXISTS records_runs ON lastgreen.records (environment, at DESC) WHERE seq = 1;
";

/// Whether they are missing, and ours to make: records may be another role's, which only lets us write them. Where there are so many
/// that it would hold everybody up, they are the owner's to make.
const LACKS_INDEX: &str = "SELECT to_regclass('lastgreen.records_runs') IS NULL AND pg_has_role(relowner, 'USAGE') AND has_schema_privilege('lastgreen', 'CREATE') AND reltuples < 100000 \
                           FROM pg_class WHERE oid = to_regclass('lastgreen.records')";

const LITE_SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS lastgreen_records (run TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL,
  environment TEXT NOT NULL, type TEXT NOT NULL, line TEXT NOT NULL, PRIMARY KEY (run, seq));
";

/// How many records are written in one transaction.
const AT_ONCE: usize = 25;

/// The first way in which journal and mirror differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub seq: u64,
    pub what: String,
}

impl Mirror {
    /// Makes the tables where they are missing.
    ///
    /// # Errors
    /// What the database said.
    pub async fn new(mut session: Session) -> Result<Mirror, sqlx::Error> {
        let has_events = match &mut session {
            Session::Postgres(pg) => {
                let there: bool = sqlx::query_scalar("SELECT to_regclass('lastgreen.records') IS NOT NULL").fetch_one(&mut *pg).await?;
                if !there {
                    super::schema::make(pg, PG_TABLES).await?;
                }
                if sqlx::query_scalar(LACKS_INDEX).fetch_one(&mut *pg).await? {
                    // It is found without, too.
                    if let Err(e) = super::schema::make(pg, PG_INDEX).await {
                        log::info!(target: "mirror", "the index of records cannot be made: {e}");
                    }
                }
                sqlx::query_scalar(
                    "SELECT count(*) = 3 FROM pg_attribute WHERE attrelid = to_regclass('task_events') AND NOT attisdropped \
                     AND attname IN ('task_id', 'event_type', 'metadata')",
                )
                .fetch_one(&mut *pg)
                .await?
            }
            Session::Sqlite(lite) => {
                sqlx::raw_sql(LITE_SCHEMA).execute(&mut *lite).await?;
                let query = "SELECT count(*) FROM pragma_table_info('task_events') WHERE name IN ('task_id', 'event_type', 'metadata')";
                let n: i64 = sqlx::query_scalar(query).fetch_one(&mut *lite).await?;
                n == 3
            }
        };
        Ok(Mirror { session, has_events })
    }

    /// Looks only: makes nothing. `Ok(None)`: there is no mirror in this database.
    ///
    /// # Errors
    /// What the database said.
    pub async fn existing(mut session: Session) -> Result<Option<Mirror>, sqlx::Error> {
        let there: bool = match &mut session {
            Session::Postgres(pg) => sqlx::query_scalar("SELECT to_regclass('lastgreen.records') IS NOT NULL").fetch_one(&mut *pg).await?,
            Session::Sqlite(lite) => {
                let query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'lastgreen_records'";
                sqlx::query_scalar::<_, i64>(query).fetch_one(&mut *lite).await? > 0
            }
        };
        Ok(there.then_some(Mirror { session, has_events: false }))
    }

    /// The first lines of every run that began in an environment: `(run, line)`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn runs(&mut self, environment: &str) -> Result<Vec<(String, String)>, sqlx::Error> {
        match &mut self.session {
            Session::Postgres(pg) => {
                let query = "SELECT run, line FROM lastgreen.records WHERE seq = 1 AND environment = $1 ORDER BY run";
                sqlx::query_as(query).bind(environment).fetch_all(&mut *pg).await
            }
            Session::Sqlite(lite) => {
                let query = "SELECT run, line FROM lastgreen_records WHERE seq = 1 AND environment = ? ORDER BY run";
                sqlx::query_as(query).bind(environment).fetch_all(&mut *lite).await
            }
        }
    }

    /// How many records of a run are there.
    ///
    /// # Errors
    /// What the database said.
    pub async fn count(&mut self, run: &str) -> Result<u64, sqlx::Error> {
        let n: i64 = match &mut self.session {
            Session::Postgres(pg) => {
                sqlx::query_scalar("SELECT count(*) FROM lastgreen.records WHERE run = $1").bind(run).fetch_one(&mut *pg).await?
            }
            Session::Sqlite(lite) => {
                sqlx::query_scalar("SELECT count(*) FROM lastgreen_records WHERE run = ?").bind(run).fetch_one(&mut *lite).await?
            }
        };
        Ok(n as u64)
    }

    /// Writes records that may be there already; with the first and the last one the operators' own row, in the same
    /// transaction.
    ///
    /// # Errors
    /// What the database said; then what follows was not written.
    pub async fn push(&mut self, plan: &Plan, lines: &[JournalLine]) -> Result<(), sqlx::Error> {
        let (has_events, environment) = (self.has_events, plan.content.environment.name.as_str());
        // Over a slow line a part of a long journal is better than nothing.
        for lines in lines.chunks(AT_ONCE) {
            match &mut self.session {
                Session::Postgres(pg) => push_pg(pg, plan, lines, environment, has_events).await?,
                Session::Sqlite(lite) => push_lite(lite, plan, lines, environment, has_events).await?,
            }
        }
        Ok(())
    }

    /// The lines of a run as they are there.
    ///
    /// # Errors
    /// What the database said.
    pub async fn lines(&mut self, run: &str) -> Result<Vec<(u64, String)>, sqlx::Error> {
        let rows: Vec<(i64, String)> = match &mut self.session {
            Session::Postgres(pg) => {
                sqlx::query_as("SELECT seq, line FROM lastgreen.records WHERE run = $1 ORDER BY seq").bind(run).fetch_all(&mut *pg).await?
            }
            Session::Sqlite(lite) => {
                sqlx::query_as("SELECT seq, line FROM lastgreen_records WHERE run = ? ORDER BY seq").bind(run).fetch_all(&mut *lite).await?
            }
        };
        Ok(rows.into_iter().map(|(seq, line)| (seq as u64, line)).collect())
    }

    pub async fn close(self) {
        self.session.close().await;
    }
}

/// The operators' own row about a record, where there is to be one: `(task_id, event_type, metadata)`.
fn event_row(plan: &Plan, line: &JournalLine) -> Option<(String, &'static str, String)> {
    let (kind, outcome) = match &line.record.event {
        Event::Started { .. } => ("runbook_started", "started"),
        Event::Ended { result, .. } => ("runbook_ended", result.word()),
        _ => return None,
    };
    let metadata = serde_json::json!({
        "run": line.record.run,
        "runbook": plan.content.runbook,
        "environment": plan.content.environment.name,
        "reason": plan.content.reason,
        "by": plan.by.to_string(),
        "outcome": outcome,
        "timestamp": line.record.at.iso(),
    });
    Some((format!("run_{}", line.record.run), kind, metadata.to_string()))
}

fn kind_of(event: &Event) -> String {
    serde_json::to_value(event).ok().and_then(|v| v.get("type")?.as_str().map(str::to_string)).unwrap_or_default()
}

async fn push_pg(
    pg: &mut PgConnection,
    plan: &Plan,
    lines: &[JournalLine],
    environment: &str,
    has_events: bool,
) -> Result<(), sqlx::Error> {
    let mut transaction = pg.begin().await?;
    for line in lines {
        let fresh = sqlx::query(
            "INSERT INTO lastgreen.records (run, seq, at, environment, type, line) VALUES ($1, $2, $3::timestamptz, $4, $5, $6) \
             ON CONFLICT (run, seq) DO NOTHING",
        )
        .bind(&line.record.run)
        .bind(line.record.seq as i64)
        .bind(chrono::DateTime::<chrono::Utc>::from_timestamp_millis(line.record.at.0))
        .bind(environment)
        .bind(kind_of(&line.record.event))
        .bind(&line.text)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if let (1, true, Some((task, kind, metadata))) = (fresh, has_events, event_row(plan, line)) {
            // Whether the column is text, json or jsonb: the server casts an untyped literal to what it is.
            let statement = format!(
                "INSERT INTO task_events (task_id, event_type, metadata) VALUES ({}, {}, {})",
                literal(&task),
                literal(kind),
                literal(&metadata)
            );
            // A table of theirs that will not take the row must not keep the records out.
            let mut inner = transaction.begin().await?;
            match sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut *inner).await {
                Ok(_) => inner.commit().await?,
                Err(e @ sqlx::Error::Database(_)) => {
                    log::warn!(target: "mirror", "no row in task_events: {e}");
                    inner.rollback().await?;
                }
                Err(e) => return Err(e),
            }
        }
    }
    transaction.commit().await
}

async fn push_lite(
    lite: &mut SqliteConnection,
    plan: &Plan,
    lines: &[JournalLine],
    environment: &str,
    has_events: bool,
) -> Result<(), sqlx::Error> {
    let mut transaction = lite.begin().await?;
    for line in lines {
        let fresh =
            sqlx::query("INSERT OR IGNORE INTO lastgreen_records (run, seq, at, environment, type, line) VALUES (?, ?, ?, ?, ?, ?)")
                .bind(&line.record.run)
                .bind(line.record.seq as i64)
                .bind(line.record.at.iso())
                .bind(environment)
                .bind(kind_of(&line.record.event))
                .bind(&line.text)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        if let (1, true, Some((task, kind, metadata))) = (fresh, has_events, event_row(plan, line)) {
            let row = sqlx::query("INSERT INTO task_events (task_id, event_type, metadata) VALUES (?, ?, ?)");
            // A table of theirs that will not take the row must not keep the records out.
            match row.bind(task).bind(kind).bind(metadata).execute(&mut *transaction).await {
                Ok(_) => {}
                Err(e @ sqlx::Error::Database(_)) => log::warn!(target: "mirror", "no row in task_events: {e}"),
                Err(e) => return Err(e),
            }
        }
    }
    transaction.commit().await
}

/// Compares a journal with its mirror, record by record.
pub fn compare(journal: &[JournalLine], mirror: &[(u64, String)]) -> Option<Difference> {
    for (i, line) in journal.iter().enumerate() {
        let seq = line.record.seq;
        match mirror.get(i) {
            None => return Some(Difference { seq, what: "is in the journal and not in the database".into() }),
            Some((found, _)) if *found != seq => {
                return Some(Difference { seq, what: format!("is in the journal; the database has {found} in its place") });
            }
            Some((_, text)) if *text != line.text => return Some(Difference { seq, what: "says something else in the database".into() }),
            Some(_) => {}
        }
    }
    let extra = mirror.get(journal.len())?;
    Some(Difference { seq: extra.0, what: "is in the database and not in the journal".into() })
}

/// How many records of a run are known to be in a database: a note that saves asking.
pub fn noted(folder: &Path, database: &str) -> u64 {
    let text = std::fs::read_to_string(folder.join("mirrored")).unwrap_or_default();
    text.split_once(' ').filter(|(_, place)| *place == database).and_then(|(count, _)| count.parse().ok()).unwrap_or(0)
}

/// Notes how many are.
pub fn note(folder: &Path, count: u64, database: &str) {
    // Only a note: without it somebody asks the database.
    let _ = std::fs::write(folder.join("mirrored"), format!("{count} {database}"));
}
