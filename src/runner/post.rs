//! What leaves the host beside a run: records to the mirror, letters to their receivers. Never in the run's way: what
//! cannot be delivered now stays on disk, and whoever comes by later (a runner, a cockpit, `audit sync`) delivers it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::base::clock::Clock;
use crate::effect::deliver;
use crate::journal::{Mirror, Moment, Outbox, StateDir, Watchpoint, note, noted, read};
use crate::source::{DatabaseOptions, Session};

/// What came of mirroring a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorDone {
    pub records: u64,
    pub written: u64,
}

/// Brings a run's mirror up to its journal.
///
/// # Errors
/// Why it could not.
pub async fn sync_run(state: &StateDir, id: &str, database: &DatabaseOptions) -> Result<MirrorDone, String> {
    let folder = state.run(id);
    let replay = read(&folder).map_err(|e| e.to_string())?;
    let records = replay.lines.len() as u64;
    if noted(&folder) == records {
        return Ok(MirrorDone { records, written: 0 });
    }
    let plan = state.plan(id)?;
    let session = Session::open(database).await.map_err(|f| f.message)?;
    let words = |e: sqlx::Error| crate::base::secret::outside(&format!("the mirror: {e}"));
    let mut mirror = Mirror::new(session).await.map_err(words)?;
    let there = mirror.count(id).await.map_err(words)?;
    // When the database has as many as it was given in order, what follows is what is missing.
    let from = if there <= records { there as usize } else { 0 };
    mirror.push(&plan, &replay.lines[from..]).await.map_err(words)?;
    let now_there = mirror.count(id).await.map_err(words)?;
    if now_there < records {
        // Something in the middle was missing.
        mirror.push(&plan, &replay.lines).await.map_err(words)?;
    }
    mirror.close().await;
    note(&folder, records);
    Ok(MirrorDone { records, written: records.saturating_sub(there) })
}

/// Sends every letter that is due. Gives the number that could not be sent.
pub async fn deliver_waiting(state: &StateDir, clock: &Clock, watchpoint: &Watchpoint) -> usize {
    let outbox = Outbox::new(state);
    let waiting = outbox.waiting();
    if waiting.is_empty() {
        return 0;
    }
    // Somebody else is at it: nothing must be sent twice.
    let Some(_sender) = outbox.sender() else { return waiting.len() };
    let mut left = 0;
    // Looked at again: until the right to send was ours, somebody may have sent some.
    for letter in outbox.waiting() {
        let now = clock.now();
        if letter.next_try > now {
            left += 1;
            continue;
        }
        watchpoint(Moment::BeforeNotice);
        let sent = deliver(&letter).await;
        watchpoint(Moment::AfterNotice);
        let noted = match &sent {
            Ok(()) => outbox.arrived(&letter),
            Err(e) => {
                log::warn!(target: "outbox", "{} not delivered to {}: {e}", letter.title, letter.name);
                outbox.failed(&letter, e, now)
            }
        };
        if sent.is_err() || noted.is_err() {
            left += 1;
        }
    }
    left
}

/// Delivers beside a run until told to end, and then once more.
pub struct Post {
    pub state: StateDir,
    pub run: String,
    pub database: Option<DatabaseOptions>,
    pub clock: Clock,
    pub watchpoint: Watchpoint,
}

/// Between tries when something is left.
const PAUSE: Duration = Duration::from_secs(2);

impl Post {
    /// `news` rings after each record; `end` becomes true when the run is over, and `patience` is for what is then left.
    pub async fn carry(self, news: Arc<Notify>, mut end: watch::Receiver<bool>, patience: Duration) {
        let mut left = false;
        loop {
            let ended = *end.borrow();
            if !ended {
                tokio::select! {
                    () = news.notified() => {}
                    () = tokio::time::sleep(PAUSE), if left => {}
                    _ = end.changed() => {}
                }
            }
            left = !self.once().await;
            // What was written while the last round was under way needs one more.
            if ended {
                break;
            }
        }
        let deadline = tokio::time::Instant::now() + patience;
        while left && tokio::time::Instant::now() + PAUSE < deadline {
            tokio::time::sleep(PAUSE).await;
            left = !self.once().await;
        }
    }

    /// Whether everything was delivered.
    async fn once(&self) -> bool {
        let mirror = async {
            match &self.database {
                None => true,
                Some(database) => sync_run(&self.state, &self.run, database).await.map_err(|e| log::warn!(target: "mirror", "{e}")).is_ok(),
            }
        };
        let (mirrored, letters) = tokio::join!(mirror, deliver_waiting(&self.state, &self.clock, &self.watchpoint));
        mirrored && letters == 0
    }
}
