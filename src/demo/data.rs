//! The demo's database: an SQLite file with the chunks the service answers from, and the record of rollbacks.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Row, SqlitePool};

pub struct DemoDatabase {
    path: PathBuf,
    pool: SqlitePool,
}

/// A chunk as the vector store knows it.
pub struct DemoPoint {
    pub id: u64,
    pub document: String,
    pub vector: Vec<f32>,
}

const CHUNKS: u64 = 1284;
const DOCUMENTS: u64 = 96;

const SCHEMA: &str = "
CREATE TABLE rag_chunks (id INTEGER PRIMARY KEY, uri TEXT NOT NULL, model_id TEXT NOT NULL, content TEXT NOT NULL,
  checksum TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (datetime('now')), deleted_at TEXT);
CREATE TABLE task_events (id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, event_type TEXT NOT NULL,
  metadata TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (datetime('now')));
CREATE TABLE deployments (version TEXT NOT NULL, at TEXT NOT NULL, verdict TEXT NOT NULL);
INSERT INTO deployments (version, at, verdict) VALUES
  ('v1.4.1', strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-12 days'), 'green'),
  ('v1.4.2', strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-3 days'), 'green'),
  ('v1.5.0', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), 'canary');
INSERT INTO task_events (task_id, event_type, metadata, created_at) VALUES
  ('rollback_1', 'rollback_auto', '{\"reason\":\"gate_fail_rate\",\"outcome\":\"done\"}', datetime('now', '-8 days', '-3 hours')),
  ('rollback_2', 'rollback_manual', '{\"reason\":\"latency_spike\",\"outcome\":\"done\"}', datetime('now', '-21 days', '+5 hours')),
  ('rollback_3', 'rollback_auto', '{\"reason\":\"faithfulness_drop\",\"outcome\":\"failed\"}', datetime('now', '-40 days'));
";

impl DemoDatabase {
    pub async fn create(path: &Path, seed: u64) -> Result<DemoDatabase, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        let mut random = StdRng::seed_from_u64(seed);
        let mut transaction = pool.begin().await?;
        for id in 1..=CHUNKS {
            let document = format!("doc://handbook/{:03}", id % DOCUMENTS);
            let model = if id % 7 == 0 { "embed-small-2" } else { "embed-large-3" };
            let content = format!("chunk {id} of {document}: {:016x}", random.random::<u64>());
            sqlx::query("INSERT INTO rag_chunks (id, uri, model_id, content, checksum) VALUES (?, ?, ?, ?, ?)")
                .bind(id as i64)
                .bind(document)
                .bind(model)
                .bind(&content)
                .bind(checksum(&content))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(DemoDatabase { path: path.to_path_buf(), pool })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub async fn points(&self) -> Result<Vec<DemoPoint>, sqlx::Error> {
        let rows =
            sqlx::query("SELECT id, uri, content FROM rag_chunks WHERE deleted_at IS NULL ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let (id, document, content): (i64, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                let hash = Sha256::digest(content.as_bytes());
                let vector = hash.iter().take(8).map(|b| f32::from(*b) / 255.0).collect();
                Ok(DemoPoint { id: id as u64, document, vector })
            })
            .collect()
    }

    /// The share of a sample of chunks whose content is not what was stored; `None` when it cannot be read.
    pub async fn damaged_share(&self) -> Option<f64> {
        if !self.path.exists() {
            return None;
        }
        let rows = sqlx::query("SELECT content, checksum FROM rag_chunks WHERE deleted_at IS NULL AND id % 8 = 0")
            .fetch_all(&self.pool)
            .await
            .ok()?;
        let damaged = rows.iter().filter(|row| match (row.try_get::<String, _>(0), row.try_get::<String, _>(1)) {
            (Ok(content), Ok(sum)) => checksum(&content) != sum,
            _ => true,
        });
        Some(damaged.count() as f64 / rows.len().max(1) as f64)
    }

    /// What a bad ingestion does: four of ten chunks hold something else than what was meant.
    pub async fn corrupt(&self) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE rag_chunks SET content = 'ÿþ' || substr(content, 1, 12) WHERE (id / 8) % 10 < 4").execute(&self.pool).await?;
        Ok(())
    }

    /// Takes the file away, once.
    pub fn take_away(&self) {
        // It may be gone already.
        let _ = std::fs::rename(&self.path, self.path.with_extension("away"));
    }
}

fn checksum(content: &str) -> String {
    Sha256::digest(content.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}
