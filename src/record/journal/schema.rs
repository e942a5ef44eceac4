//! The schema of our own in a PostgreSQL.

use sqlx::{Connection, PgConnection};

/// Makes tables in it, and the schema where it is missing: a role may own it that could not make it.
pub(super) async fn make(pg: &mut PgConnection, tables: &'static str) -> Result<(), sqlx::Error> {
    // Two that begin at once would trip over each other's tables.
    let mut transaction = pg.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(4711)").execute(&mut *transaction).await?;
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace('lastgreen') IS NOT NULL").fetch_one(&mut *transaction).await?;
    if !there {
        sqlx::query("CREATE SCHEMA lastgreen").execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(tables).execute(&mut *transaction).await?;
    transaction.commit().await
}
