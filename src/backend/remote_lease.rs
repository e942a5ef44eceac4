//! Who acts on this environment from another host, or under another account: as the lock in the database has it. Asked now
//! and then, by a thread of its own: a database that hangs keeps nobody waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::reach::audit_database;
use crate::base::endpoint::DatabaseOptions;
use crate::config::Config;
use crate::record::journal::{Holder, remote_holder};

/// How often the database is asked.
const ASK: Duration = Duration::from_secs(15);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct RemoteHolder {
    known: Arc<Mutex<Option<Holder>>>,
    busy: Arc<AtomicBool>,
    asked: Option<Instant>,
}

impl RemoteHolder {
    /// Who held the environment when the database was last asked; asks again when it is time.
    pub fn look(&mut self, config: &Config) -> Option<Holder> {
        let database = audit_database(config).filter(|database| !database.url.starts_with("sqlite:"))?;
        if self.asked.is_none_or(|at| at.elapsed() > ASK) && !self.busy.swap(true, Ordering::SeqCst) {
            self.asked = Some(Instant::now());
            let (known, busy, environment) = (self.known.clone(), self.busy.clone(), config.environment.name.clone());
            let work = move || {
                let _busy = Busy(busy);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                // Without the database nobody knows; what was known before would look fresh.
                let holder = runtime.ok().and_then(|runtime| runtime.block_on(holder(&database, &environment)));
                *known.lock().unwrap_or_else(|p| p.into_inner()) = holder;
            };
            // Without a thread it is asked again the next time.
            let _ = std::thread::Builder::new().name("remote-lease".into()).spawn(work);
        }
        self.known.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }
}

/// At work until this is dropped, however that comes.
pub struct Busy(pub Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

async fn holder(database: &DatabaseOptions, environment: &str) -> Option<Holder> {
    let options = DatabaseOptions { timeout: PATIENCE, ..database.clone() };
    tokio::time::timeout(PATIENCE, remote_holder(&options, environment)).await.ok()?.ok().flatten()
}
