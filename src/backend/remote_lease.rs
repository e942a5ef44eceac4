//! Who acts on this environment from another host, or under another account: as the lock in the database has it. Asked now
//! and then, by a thread of its own: a database that hangs keeps nobody waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::deploy::{LATEST, heard};
use super::reach::audit_database;
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::config::Config;
use crate::record::journal::{Holder, look_remotely};
use crate::status::Elsewhere;

/// How often the database is asked.
const ASK: Duration = Duration::from_secs(15);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who acts there, and what else is known of others.
type RemoteKnown = (Option<Holder>, Elsewhere);

#[derive(Default)]
pub struct RemoteHolder {
    known: Arc<Mutex<RemoteKnown>>,
    busy: Arc<AtomicBool>,
    asked: Option<Instant>,
}

impl RemoteHolder {
    /// Who held the environment when the database was last asked; asks again when it is time.
    pub fn look(&mut self, config: &Config) -> RemoteKnown {
        let Some(database) = audit_database(config).filter(|database| !database.is_sqlite()) else {
            return RemoteKnown::default();
        };
        if self.asked.is_none_or(|at| at.elapsed() > ASK) && !self.busy.swap(true, Ordering::SeqCst) {
            self.asked = Some(Instant::now());
            let (known, busy, environment) = (self.known.clone(), self.busy.clone(), config.environment.name.clone());
            let work = move || {
                let _busy = Busy(busy);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                // Without the database nobody knows; what was known before would look fresh.
                let Ok(runtime) = runtime else { return };
                let options = DatabaseOptions { timeout: PATIENCE, ..database };
                let asked = async { tokio::time::timeout(PATIENCE, look_remotely(&options, &environment, LATEST)).await };
                let view = runtime.block_on(asked).ok().and_then(Result::ok).flatten();
                let mut known = known.lock().unwrap_or_else(|p| p.into_inner());
                known.0 = view.as_ref().and_then(|view| view.holder.clone().ok().flatten());
                let Some(view) = view else { return };
                heard(&mut known.1, view, Clock::System.now());
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
