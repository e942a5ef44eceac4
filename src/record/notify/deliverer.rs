//! What leaves the host beside a run: records to the mirror, notifications to their receivers. Never in the run's way: what
//! cannot be delivered now stays on disk, and whoever comes by later (a runner, a cockpit, `audit sync`) delivers it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::notifications::remember_notifications;
use super::outbox::{Notification, Outbox};
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::base::units::short;
use crate::observe::source::Session;
use crate::plan::runbook::{Channel, Event};
use crate::record::journal::{Failpoint, FailpointAt, Mirror, StateDir, note, noted, read};
use crate::record::notify::deliver;

/// What came of mirroring a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorDone {
    pub records: u64,
    pub written: u64,
}

/// How long one round with the database may take: one that hangs is tried again later.
const ROUND: Duration = Duration::from_secs(20);
/// How long one notification may take.
const LONGEST_TRY: Duration = Duration::from_secs(20);

/// How much of a run is brought to its mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What is new: what a note says is there is not asked for again.
    New,
    /// The same, as far as this record: what stands behind it may not be on disk.
    Until(u64),
    /// All of it, by what the database itself has: it may have been put back to how it was before.
    All,
}

/// Brings a run's mirror up to its journal.
///
/// # Errors
/// Why it could not.
pub async fn sync_run(state: &StateDir, id: &str, database: &DatabaseOptions, extent: Extent) -> Result<MirrorDone, String> {
    let syncing = sync(state, id, database, extent);
    tokio::time::timeout(ROUND, syncing).await.unwrap_or_else(|_| Err(format!("the mirror: no answer within {}", short(ROUND))))
}

async fn sync(state: &StateDir, id: &str, database: &DatabaseOptions, extent: Extent) -> Result<MirrorDone, String> {
    let folder = state.run(id);
    if !folder.join("journal.jsonl").exists() {
        return Ok(MirrorDone { records: 0, written: 0 });
    }
    let mut replay = read(&folder).map_err(|e| e.to_string())?;
    if let Extent::Until(last) = extent {
        replay.lines.retain(|line| line.record.seq <= last);
    }
    let records = replay.lines.len() as u64;
    if extent != Extent::All && noted(&folder, &database.url) == records {
        return Ok(MirrorDone { records, written: 0 });
    }
    let plan = state.plan(id)?;
    let session = Session::open(database).await.map_err(|f| f.message)?;
    let words = |e: sqlx::Error| crate::base::secret::sanitize(&format!("the mirror: {e}"));
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
    note(&folder, records, &database.url);
    Ok(MirrorDone { records, written: records.saturating_sub(there) })
}

/// Notifications of a run that is over, which its runner did not get to write.
pub fn sweep_notifications(state: &StateDir, id: &str, clock: &Clock) {
    let folder = state.run(id);
    let swept = folder.join("told");
    if swept.exists() {
        return;
    }
    if let (Ok(plan), Ok(replay)) = (state.plan(id), read(&folder)) {
        let all = remember_notifications(&plan, &Outbox::new(state), &replay, clock.now());
        let over = replay.lines.last().is_some_and(|l| matches!(l.record.event, Event::Ended { .. }));
        if over && all {
            // Only a note: without it somebody looks again.
            let _ = std::fs::write(swept, "");
        }
    }
}

/// A notification that is still to be sent, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undelivered {
    pub run: String,
    pub channel: String,
    pub title: String,
    pub why: String,
}

impl Undelivered {
    fn of(notification: &Notification, why: &str) -> Undelivered {
        let why = if why.is_empty() { notification.error.clone().unwrap_or_else(|| "not tried yet".into()) } else { why.to_string() };
        Undelivered { run: notification.run.clone(), channel: notification.name.clone(), title: notification.title.clone(), why }
    }
}

/// Sends every notification that is due. Gives those that could not be sent.
pub async fn deliver_waiting(state: &StateDir, clock: &Clock, failpoint: &Failpoint) -> Vec<Undelivered> {
    let outbox = Outbox::new(state);
    let waiting = outbox.waiting();
    if waiting.is_empty() {
        return Vec::new();
    }
    // Somebody else is at it: nothing must be sent twice.
    let Some(_sender) = outbox.sender() else { return waiting.iter().map(|one| Undelivered::of(one, "")).collect() };
    let mut left = Vec::new();
    // What is about the same run arrives in order: a later notification does not overtake one that has to wait.
    let mut held: HashSet<(String, String)> = HashSet::new();
    // A receiver that does not answer keeps nobody else's notifications back, and its own only until the next round.
    let mut silent: Vec<Channel> = Vec::new();
    // Looked at again: until the right to send was ours, somebody may have sent some.
    for notification in outbox.waiting() {
        let now = clock.now();
        let queue = (notification.run.clone(), notification.name.clone());
        if !notification.is_due(now) || held.contains(&queue) || silent.contains(&notification.channel) {
            left.push(Undelivered::of(&notification, ""));
            held.insert(queue);
            continue;
        }
        failpoint(FailpointAt::BeforeNotice);
        let silence = || Err(format!("no answer within {}", short(LONGEST_TRY)).into());
        let sent = tokio::time::timeout(LONGEST_TRY, deliver(&notification)).await.unwrap_or_else(|_| silence());
        failpoint(FailpointAt::AfterNotice);
        let noted = match &sent {
            Ok(()) => outbox.arrived(&notification),
            Err(failure) => {
                log::warn!(target: "outbox", "{} not delivered to {}: {}", notification.title, notification.name, failure.why);
                if failure.again {
                    silent.push(notification.channel.clone());
                    outbox.failed(&notification, &failure.why, failure.after, now)
                } else {
                    outbox.refused(&notification, &failure.why)
                }
            }
        };
        match (&sent, noted) {
            (Err(failure), _) if failure.again => {
                left.push(Undelivered::of(&notification, &failure.why));
                held.insert(queue);
            }
            (_, Err(e)) => {
                left.push(Undelivered::of(&notification, &e.to_string()));
                held.insert(queue);
            }
            _ => {}
        }
    }
    left
}

/// Delivers beside a run until told to end, and then once more.
pub struct Deliverer {
    pub state: StateDir,
    pub run: String,
    pub database: Option<DatabaseOptions>,
    pub clock: Clock,
    pub failpoint: Failpoint,
    /// Some notification is not in the outbox yet.
    pub unkept: Arc<AtomicBool>,
}

/// The longest between tries when a run is over.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Between tries when something is left.
const PAUSE: Duration = Duration::from_secs(2);

/// What is carried.
#[derive(Clone, Copy)]
enum Consignment {
    Records,
    Notifications,
}

impl Deliverer {
    /// `news` is the newest record that is on disk; `end` becomes true when the run is over, and `patience` is for what is then left.
    /// Notifications and records do not wait for each other: a database that hangs keeps no notification back.
    pub async fn carry(self: Arc<Deliverer>, news: watch::Receiver<u64>, end: watch::Receiver<bool>, patience: Duration) {
        let records = self.clone().rounds(Consignment::Records, news.clone(), end.clone(), patience);
        tokio::join!(records, self.rounds(Consignment::Notifications, news, end, patience));
    }

    /// Goes round after each record, again while something is left, and once more when the run is over.
    async fn rounds(
        self: Arc<Deliverer>,
        load: Consignment,
        mut news: watch::Receiver<u64>,
        mut end: watch::Receiver<bool>,
        patience: Duration,
    ) {
        let mut left = false;
        loop {
            let ended = *end.borrow();
            if !ended {
                tokio::select! {
                    Ok(()) = news.changed() => {}
                    () = tokio::time::sleep(PAUSE), if left => {}
                    _ = end.changed() => {}
                }
            }
            let last = *news.borrow_and_update();
            left = !self.once(load, last).await;
            // What was written while the last round was under way needs one more.
            if ended {
                break;
            }
        }
        let deadline = tokio::time::Instant::now() + patience;
        let mut pause = PAUSE;
        while left && tokio::time::Instant::now() + pause < deadline {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_WAIT);
            let last = *news.borrow();
            left = !self.once(load, last).await;
        }
    }

    /// Puts notifications into the outbox that did not get there. Whether none is left.
    fn keep(&self) -> bool {
        if !self.unkept.swap(false, Ordering::SeqCst) {
            return true;
        }
        let kept = match (self.state.plan(&self.run), read(&self.state.run(&self.run))) {
            (Ok(plan), Ok(replay)) => remember_notifications(&plan, &Outbox::new(&self.state), &replay, self.clock.now()),
            _ => false,
        };
        if !kept {
            self.unkept.store(true, Ordering::SeqCst);
        }
        kept
    }

    /// Whether everything of this run was delivered.
    async fn once(&self, load: Consignment, last: u64) -> bool {
        match (load, &self.database) {
            (Consignment::Records, None) => true,
            (Consignment::Records, Some(database)) => {
                let synced = sync_run(&self.state, &self.run, database, Extent::Until(last)).await;
                synced.map_err(|e| log::warn!(target: "mirror", "{e}")).is_ok()
            }
            (Consignment::Notifications, _) => {
                let kept = self.keep();
                !deliver_waiting(&self.state, &self.clock, &self.failpoint).await.iter().any(|one| one.run == self.run) && kept
            }
        }
    }
}
