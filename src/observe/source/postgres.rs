//! PostgreSQL: a small pool of read-only sessions with a statement time-out. A signal's query runs as a sub-select that
//! gives JSON, so that any column type reads the same, one statement is one statement, and nothing but a SELECT fits.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Row};

use super::pg_url;
use super::rows::{Columns, MOST_ROWS, Rows};
use super::tls_words::{plain_words, tls_cause};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind, Health};

pub struct Postgres {
    options: DatabaseOptions,
    base: PgConnectOptions,
    pool: tokio::sync::OnceCell<PgPool>,
}

impl Postgres {
    pub fn new(options: DatabaseOptions) -> Result<Postgres, String> {
        let timeout = options.timeout.as_millis().to_string();
        let base = base_options(&options)?.options([
            ("statement_timeout", timeout.as_str()),
            ("lock_timeout", timeout.as_str()),
            ("default_transaction_read_only", "on"),
        ]);
        Ok(Postgres { options, base, pool: tokio::sync::OnceCell::new() })
    }

    /// The options with the password.
    async fn connect_options(&self) -> Result<PgConnectOptions, Fault> {
        Ok(match &self.options.password {
            None => self.base.clone(),
            Some(secret) => self.base.clone().password(super::secrets::fetch(secret).await?.expose()),
        })
    }

    async fn pool(&self) -> Result<&PgPool, Fault> {
        self.pool
            .get_or_try_init(|| async {
                Ok(PgPoolOptions::new()
                    .max_connections(self.options.connections)
                    .min_connections(0)
                    .acquire_timeout(self.options.timeout)
                    .idle_timeout(Duration::from_secs(300))
                    .connect_lazy_with(self.connect_options().await?))
            })
            .await
    }

    pub(super) async fn rows(&self, query: &str) -> Result<Rows, Fault> {
        let pool = self.pool().await?;
        // The line break ends a comment at the end of the query.
        let wrapped = format!("SELECT row_to_json(q)::text FROM (\n{query}\n) q LIMIT {}", MOST_ROWS + 1);
        let found = sqlx::query(AssertSqlSafe(wrapped)).persistent(false).fetch_all(pool).await;
        let found = match found {
            Ok(found) => found,
            Err(sqlx::Error::PoolTimedOut) => return Err(self.why().await),
            Err(error) => return Err(fault(&error)),
        };
        if found.len() > MOST_ROWS {
            return Err(Fault::new(FaultKind::TooLarge, format!("the query gives more than {MOST_ROWS} rows")));
        }
        let mut rows = Rows { columns: Vec::new(), rows: Vec::with_capacity(found.len()) };
        for row in found {
            let text: String = row.try_get(0).map_err(|e| fault(&e))?;
            let Columns(row) = super::web::json(text.as_bytes())?;
            if rows.columns.is_empty() {
                rows.columns = row.iter().map(|(name, _)| name.clone()).collect();
            }
            rows.rows.push(row.into_iter().map(|(_, v)| v).collect());
        }
        rows.told_apart()
    }

    pub async fn name(&self) -> Result<String, Fault> {
        let rows = self.rows("SELECT current_database() AS name").await?;
        Ok(rows.rows.first().and_then(|r| r.first()).and_then(|v| v.as_str()).unwrap_or("?").to_string())
    }

    /// Why no connection could be had: the pool keeps that to itself, so one is tried in the open.
    async fn why(&self) -> Fault {
        let options = match self.connect_options().await {
            Ok(options) => options,
            Err(fault) => return fault,
        };
        // A password that was changed meanwhile is used from here on.
        if let Some(pool) = self.pool.get() {
            pool.set_connect_options(options.clone());
        }
        match tokio::time::timeout(self.options.timeout, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                Fault::new(FaultKind::Unavailable, format!("all {} connections are busy", self.options.connections))
            }
            Ok(Err(error)) => fault(&error),
            Err(_) => Fault::new(FaultKind::Timeout, format!("no answer within {}", crate::base::units::short(self.options.timeout))),
        }
    }
}

/// Where the server is and who we are there, without the password.
fn base_options(options: &DatabaseOptions) -> Result<PgConnectOptions, String> {
    let mut base = pg_url::connect_options(&options.url)?;
    if let Some(ca) = &options.tls.ca {
        base = base.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca);
    }
    if let (Some(cert), Some(key)) = (&options.tls.cert, &options.tls.key) {
        base = base.ssl_client_cert(cert).ssl_client_key(key);
    }
    Ok(base.application_name("lastgreen").disable_statement_logging())
}

/// Options of a connection that may write, with the password.
pub(super) async fn writing_options(options: &DatabaseOptions) -> Result<PgConnectOptions, Fault> {
    let base = base_options(options).map_err(|e| Fault::new(FaultKind::Local, e))?;
    Ok(match &options.password {
        None => base,
        Some(secret) => base.password(super::secrets::fetch(secret).await?.expose()),
    })
}

pub(super) fn fault(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(e) => {
            let kind = match e.code().as_deref().unwrap_or("") {
                "28P01" | "28000" | "3D000" => FaultKind::Auth,
                "57014" | "55P03" => FaultKind::Query,
                code if code.starts_with("57P") || code.starts_with("53") || code.starts_with("08") => FaultKind::Unavailable,
                _ => FaultKind::Query,
            };
            Fault::new(kind, e.message())
        }
        sqlx::Error::Io(e) => match tls_cause(e) {
            Some(tls) => Fault::new(FaultKind::Tls, format!("TLS failed: {tls}")),
            None => Fault::new(
                FaultKind::Unreachable,
                format!("cannot reach the database: {}", e.to_string().split(" (os error").next().unwrap_or("").to_lowercase()),
            ),
        },
        sqlx::Error::Tls(e) => {
            let cause = tls_cause(e.as_ref()).unwrap_or_else(|| plain_words(&e.to_string()));
            Fault::new(FaultKind::Tls, format!("TLS failed: {cause}"))
        }
        sqlx::Error::PoolTimedOut => Fault::new(FaultKind::Timeout, "no connection in time"),
        other => Fault::new(FaultKind::Garbage, plain_words(&other.to_string())),
    }
}

/// What other sessions do is hidden (NULL) from a user without the role: then the answer is NULL as well, never a zero.
pub fn health_query(health: Health) -> &'static str {
    match health {
        Health::Connections => {
            "SELECT sum(numbackends)::float8 / current_setting('max_connections')::float8 AS value FROM pg_stat_database"
        }
        Health::LongestTransaction => {
            "SELECT CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN greatest(coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0), 0)::float8 END AS value FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()"
        }
        Health::LocksWaiting => {
            "SELECT CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN count(*) END AS value FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name <> 'lastgreen' AND datname = current_database()"
        }
        Health::ReplicationLag => {
            // Without a stream nobody knows how far a standby is behind. Only a server with nothing that waits for a
            // standby (no slot, no stream) has none. A stream that is silent while there is more to send is not at 0.
            "SELECT CASE WHEN pg_is_in_recovery() THEN CASE \
                 WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND now() - last_msg_receipt_time < interval '35s') THEN NULL \
                 WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
                 ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END \
             WHEN NOT pg_has_role('pg_read_all_stats', 'USAGE') THEN NULL \
             WHEN current_setting('synchronous_standby_names') <> '' \
                 AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) THEN NULL \
             WHEN EXISTS (SELECT FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active) THEN NULL \
             ELSE (SELECT CASE WHEN bool_or(state <> 'streaming') THEN NULL \
                 ELSE coalesce(max(CASE WHEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) > 0 THEN greatest(extract(epoch FROM replay_lag), CASE WHEN reply_time < now() - interval '10s' THEN extract(epoch FROM now() - reply_time) END) END), 0) END \
                 FROM pg_stat_replication WHERE application_name NOT IN ('pg_basebackup', 'pg_receivewal')) END::float8 AS value"
        }
        Health::CacheHitRatio => {
            "SELECT CASE WHEN sum(blks_hit + blks_read) = 0 THEN 1 ELSE sum(blks_hit)::float8 / sum(blks_hit + blks_read)::float8 END AS value FROM pg_stat_database WHERE datname = current_database()"
        }
        Health::Deadlocks => "SELECT deadlocks AS value FROM pg_stat_database WHERE datname = current_database()",
        Health::Size => "SELECT pg_database_size(current_database()) AS value",
    }
}
