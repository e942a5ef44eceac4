//! The `database` source: PostgreSQL or SQLite behind one face. A signal's SQL is one query that only reads; the answer
//! becomes a number, lines, a table or events, whichever server gave it.

use std::path::PathBuf;

use super::postgres::Postgres;
use super::rows::Rows;
use super::sqlite::Sqlite;
use super::{Answer, Boxed, Client, Identity, not_understood};
use crate::base::clock::Stamp;
use crate::base::endpoint::DatabaseOptions;
use crate::base::secret::sanitize;
use crate::observe::reading::{Ask, EventOutcome, Fault, FaultKind, Health, LabelledValue, Shape, SourceEvent, Table, Value, number_in};

pub enum Database {
    Postgres(Box<Postgres>),
    Sqlite(Sqlite),
}

impl Database {
    /// # Errors
    /// When the URL is none.
    pub fn new(options: DatabaseOptions) -> Result<Database, String> {
        match options.url.strip_prefix("sqlite:") {
            Some(path) => Ok(Database::Sqlite(Sqlite::new(PathBuf::from(path.trim_start_matches("//")), options.timeout))),
            None => Postgres::new(options).map(|pg| Database::Postgres(Box::new(pg))),
        }
    }

    async fn rows(&self, query: &str) -> Result<Rows, Fault> {
        let query = query.trim().trim_end_matches(';');
        match self {
            Database::Postgres(pg) => pg.rows(query).await,
            Database::Sqlite(lite) => lite.rows(query).await,
        }
    }

    fn health_query(&self, health: Health) -> Result<&'static str, Fault> {
        match (self, health) {
            (Database::Postgres(_), health) => Ok(super::postgres::health_query(health)),
            (Database::Sqlite(_), Health::Size) => {
                Ok("SELECT page_count * page_size AS value FROM pragma_page_count(), pragma_page_size()")
            }
            (Database::Sqlite(_), _) => Err(Fault::new(FaultKind::Query, "SQLite knows its size, and no other health")),
        }
    }
}

impl Client for Database {
    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            let (rows, shape) = match ask {
                Ask::Sql { query, shape } => (self.rows(query).await?, *shape),
                Ask::Health(health) => (self.rows(self.health_query(*health)?).await?, Shape::Scalar),
                other => return Err(not_understood(other)),
            };
            match (shaped(rows, shape), ask) {
                (Err(fault), Ask::Health(Health::ReplicationLag)) if fault.kind == FaultKind::Empty => {
                    let words =
                        "no lag can be told: a standby is missing or its stream is silent (or this user is not in pg_read_all_stats)";
                    Err(Fault::new(FaultKind::Empty, words))
                }
                (Err(fault), Ask::Health(_)) if fault.kind == FaultKind::Empty => {
                    Err(Fault::new(FaultKind::Query, "not visible to this user: grant it the role pg_read_all_stats"))
                }
                (shaped, _) => shaped.map(Answer::now),
            }
        })
    }

    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move { self.rows("SELECT 1 AS v").await.map(drop) })
    }

    fn identity(&self) -> Option<Boxed<'_, Identity>> {
        Some(Box::pin(async move {
            let name = match self {
                Database::Postgres(pg) => pg.name().await?,
                Database::Sqlite(lite) => lite.name(),
            };
            Ok(vec![("database".into(), sanitize(&name))])
        }))
    }
}

fn number(cell: &serde_json::Value) -> Option<f64> {
    match cell {
        serde_json::Value::Number(n) => n.as_f64(),
        serde_json::Value::Bool(b) => Some(f64::from(u8::from(*b))),
        serde_json::Value::String(s) => number_in(s),
        _ => None,
    }
}

fn text(cell: &serde_json::Value) -> String {
    match cell {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(s) => sanitize(s),
        other => sanitize(&other.to_string()),
    }
}

fn shaped(rows: Rows, shape: Shape) -> Result<Value, Fault> {
    let wrong = |what: String| Fault::new(FaultKind::Query, what);
    match shape {
        Shape::Scalar => {
            let [row] = rows.rows.as_slice() else {
                return Err(match rows.rows.len() {
                    0 => Fault::new(FaultKind::Empty, "the query gives no row"),
                    n => wrong(format!("the query gives {n} rows, a scalar is one (or say shape = \"lines\")")),
                });
            };
            let [cell] = row.as_slice() else { return Err(wrong(format!("the query gives {} columns, a scalar is one", row.len()))) };
            match (number(cell), cell) {
                // A text stays one: whether it is meant as a number the signal says.
                (_, serde_json::Value::String(_)) => Ok(Value::Text(text(cell))),
                (Some(value), _) => Ok(Value::Number(value)),
                (None, serde_json::Value::Null) => Err(Fault::new(FaultKind::Empty, "the query gives NULL")),
                (None, other) => Ok(Value::Text(text(other))),
            }
        }
        Shape::Lines => {
            if rows.columns.len() != 2 && !rows.rows.is_empty() {
                return Err(wrong(format!("lines are rows of label and value; the query gives {} columns", rows.columns.len())));
            }
            let line = |row: &Vec<serde_json::Value>| {
                // Of one line nothing is known then, and of the others all is.
                let value = if row[1].is_null() { Some(f64::NAN) } else { number(&row[1]) };
                let value = value.ok_or_else(|| wrong(format!("{}: `{}` is not a number", text(&row[0]), text(&row[1]))))?;
                Ok(LabelledValue { label: text(&row[0]).into(), value })
            };
            rows.rows.iter().map(line).collect::<Result<_, Fault>>().map(Value::Lines)
        }
        Shape::Table => {
            let columns = rows.columns.iter().map(|c| sanitize(c)).collect();
            Ok(Value::Table(Table { columns, rows: rows.rows.iter().map(|r| r.iter().map(text).collect()).collect(), ..Table::default() }))
        }
        Shape::Events => {
            let find = |name: &str| rows.columns.iter().position(|c| c == name);
            let (Some(at), Some(kind)) = (find("at"), find("kind")) else {
                if rows.rows.is_empty() {
                    return Ok(Value::Events(Vec::new()));
                }
                return Err(wrong("events need the columns `at` and `kind` (and may have `text` and `outcome`)".into()));
            };
            let (words, outcome) = (find("text"), find("outcome"));
            let event = |row: &Vec<serde_json::Value>| {
                let when = number(&row[at]).ok_or_else(|| wrong(format!("`{}` is not a time", text(&row[at]))))?;
                let outcome = match outcome.map(|o| text(&row[o]).to_lowercase()).as_deref() {
                    Some("done" | "success" | "succeeded" | "ok" | "true" | "1") => EventOutcome::Done,
                    Some("failed" | "failure" | "error" | "false" | "0") => EventOutcome::Failed,
                    _ => EventOutcome::Unknown,
                };
                Ok(SourceEvent {
                    at: Stamp::from_seconds(when),
                    kind: text(&row[kind]),
                    text: words.map_or_else(String::new, |w| text(&row[w])),
                    outcome,
                })
            };
            rows.rows.iter().map(event).collect::<Result<_, Fault>>().map(Value::Events)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(columns: &[&str], rows: serde_json::Value) -> Rows {
        let rows = rows.as_array().expect("rows").iter().map(|r| r.as_array().expect("a row").clone()).collect();
        Rows { columns: columns.iter().map(|c| (*c).to_string()).collect(), rows }
    }

    #[test]
    fn shapes_of_answers() {
        assert_eq!(shaped(rows(&["n"], json!([[3]])), Shape::Scalar), Ok(Value::Number(3.0)));
        assert_eq!(shaped(rows(&["n"], json!([["1.50"]])), Shape::Scalar), Ok(Value::Text("1.50".into())));
        assert!(rows(&["a", "b"], json!([[1, 2]])).told_apart().is_ok());
        assert!(rows(&["a", "a"], json!([[1, 2]])).told_apart().is_err_and(|fault| fault.message.contains("two are called `a`")));
        assert_eq!(shaped(rows(&["n"], json!([["green"]])), Shape::Scalar), Ok(Value::Text("green".into())));
        for (bad, kind) in [
            (json!([]), FaultKind::Empty),
            (json!([[null]]), FaultKind::Empty),
            (json!([[1], [2]]), FaultKind::Query),
            (json!([[1, 2]]), FaultKind::Query),
        ] {
            assert_eq!(shaped(rows(&["n"], bad.clone()), Shape::Scalar).expect_err("a fault").kind, kind, "{bad}");
        }
        let events = shaped(rows(&["at", "kind", "outcome"], json!([["2026-11-12 02:40:00", "rollback", "success"]])), Shape::Events);
        assert!(matches!(events, Ok(Value::Events(e)) if e[0].outcome == EventOutcome::Done && e[0].at.date_hm().ends_with("11-12 02:40")));
        assert!(shaped(rows(&["when"], json!([[1]])), Shape::Events).is_err());
        assert!(shaped(rows(&["a", "b"], json!([["x", "y"]])), Shape::Lines).is_err());
    }
}
