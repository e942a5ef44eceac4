//! Who acts on this environment from another host, or under another account: as the lock in the database has it. Asked now
//! and then, by a thread of its own: a database that hangs keeps nobody waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::deploy::{read_hold, read_turn};
use super::reach::audit_database;
use crate::base::endpoint::DatabaseOptions;
use crate::config::Config;
use crate::plan::deploy::{SaidOfHold, Turn};
use crate::record::journal::{Holder, last_turn, remote_holder, said_of_hold};

/// How often the database is asked.
const ASK: Duration = Duration::from_secs(15);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who acts there, what was said about holding the canary, and who has turned its traffic last.
type Known = (Option<Holder>, Option<SaidOfHold>, Option<Turn>);

#[derive(Default)]
pub struct RemoteHolder {
    known: Arc<Mutex<Known>>,
    busy: Arc<AtomicBool>,
    asked: Option<Instant>,
}

impl RemoteHolder {
    /// Who held the environment when the database was last asked; asks again when it is time.
    pub fn look(&mut self, config: &Config) -> Known {
        let Some(database) = audit_database(config).filter(|database| !database.url.starts_with("sqlite:")) else {
            return Known::default();
        };
        if self.asked.is_none_or(|at| at.elapsed() > ASK) && !self.busy.swap(true, Ordering::SeqCst) {
            self.asked = Some(Instant::now());
            let (known, busy, environment) = (self.known.clone(), self.busy.clone(), config.environment.name.clone());
            let work = move || {
                let _busy = Busy(busy);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                // Without the database nobody knows; what was known before would look fresh.
                let Ok(runtime) = runtime else { return };
                let asked =
                    async { tokio::join!(holder(&database, &environment), hold(&database, &environment), turn(&database, &environment)) };
                let (holder, said, turn) = runtime.block_on(asked);
                let mut known = known.lock().unwrap_or_else(|p| p.into_inner());
                known.0 = holder;
                // A hold that was heard of stands until something else is heard.
                if let Some(said) = said {
                    known.1 = said;
                }
                if let Some(turn) = turn {
                    known.2 = turn;
                }
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

/// What was said about holding the canary; `None` where that cannot be told now.
async fn hold(database: &DatabaseOptions, environment: &str) -> Option<Option<SaidOfHold>> {
    let options = DatabaseOptions { timeout: PATIENCE, ..database.clone() };
    let said = tokio::time::timeout(PATIENCE, said_of_hold(&options, environment)).await.ok()?.ok()?;
    Some(said.map(read_hold))
}

/// Who has turned the canary's traffic last; `None` where that cannot be told now.
async fn turn(database: &DatabaseOptions, environment: &str) -> Option<Option<Turn>> {
    let options = DatabaseOptions { timeout: PATIENCE, ..database.clone() };
    let turn = tokio::time::timeout(PATIENCE, last_turn(&options, environment)).await.ok()?.ok()?;
    Some(turn.map(read_turn))
}
