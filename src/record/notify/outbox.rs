//! What others are to be told, on disk until they were: written beside the journal, sent by whoever comes by, retried
//! with growing pauses, and named so that the receiver can tell a second copy.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::clock::Stamp;
use crate::base::text::hex;
use crate::plan::runbook::{Channel, Occasion, slug};
use crate::record::journal::{StateDir, sync_folder, write_private};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The same for every copy: receivers that can tell copies apart do it by this.
    pub id: String,
    pub run: String,
    /// The record it is about: notifications of a run go out in this order.
    pub seq: u64,
    pub occasion: Occasion,
    pub name: String,
    pub channel: Channel,
    pub title: String,
    pub lines: Vec<String>,
    pub environment: String,
    pub at: Stamp,
    pub attempts: u32,
    pub next_try: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// After this long nobody wants to read it any more.
const GIVES_UP: Duration = Duration::from_secs(7 * 86400);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

pub struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    pub fn new(state: &StateDir) -> Outbox {
        Outbox { folder: state.outbox() }
    }

    /// The name of a notification about a record.
    pub fn id(run: &str, seq: u64, channel: &str) -> String {
        // Two names may come to the same slug.
        format!("{run}-{seq}-{}-{}", slug(channel), &hex(&Sha256::digest(channel))[..4])
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn sent(&self) -> PathBuf {
        self.folder.join("sent")
    }

    /// Puts a notification in, unless it was put in before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, notification: &Notification) -> std::io::Result<()> {
        let refused = self.folder.join("refused").join(format!("{}.json", notification.id));
        if self.path(&notification.id).exists() || self.sent().join(&notification.id).exists() || refused.exists() {
            return Ok(());
        }
        self.write(notification)
    }

    fn write(&self, notification: &Notification) -> std::io::Result<()> {
        let draft = self.folder.join(format!(".{}", notification.id));
        write_private(&draft, &serde_json::to_vec(notification).unwrap_or_default())?;
        std::fs::rename(&draft, self.path(&notification.id))?;
        sync_folder(&self.folder)
    }

    /// Everything that is still to be sent, the oldest first.
    pub fn waiting(&self) -> Vec<Notification> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut notifications: Vec<Notification> = entries
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
            .filter_map(|e| serde_json::from_slice(&std::fs::read(e.path()).ok()?).ok())
            .collect();
        notifications.sort_by(|a, b| (a.at, a.seq, &a.id).cmp(&(b.at, b.seq, &b.id)));
        notifications
    }

    /// The right to send: one at a time on this host, so that nothing is sent twice.
    pub fn sender(&self) -> Option<File> {
        let file = File::create(self.folder.join(".sender")).ok()?;
        file.try_lock().ok().map(|()| file)
    }

    /// Takes a notification out: it has arrived.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn arrived(&self, notification: &Notification) -> std::io::Result<()> {
        std::fs::create_dir_all(self.sent())?;
        std::fs::rename(self.path(&notification.id), self.sent().join(&notification.id))?;
        sync_folder(&self.folder)
    }

    /// Takes a notification out that its receiver will not have: it keeps nothing else back.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn refused(&self, notification: &Notification, error: &str) -> std::io::Result<()> {
        self.write(&Notification { attempts: notification.attempts + 1, error: Some(error.into()), ..notification.clone() })?;
        let refused = self.folder.join("refused");
        std::fs::create_dir_all(&refused)?;
        std::fs::rename(self.path(&notification.id), refused.join(format!("{}.json", notification.id)))?;
        sync_folder(&self.folder)
    }

    /// Keeps a notification for later; `after`: as long as its receiver wants.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn failed(&self, notification: &Notification, error: &str, after: Option<Duration>, now: Stamp) -> std::io::Result<()> {
        let pause = FIRST_PAUSE.saturating_mul(1 << notification.attempts.min(10)).min(LONGEST_PAUSE);
        let next_try = now.plus(after.map_or(pause, |after| after.max(pause)));
        let kept = Notification { attempts: notification.attempts + 1, next_try, error: Some(error.into()), ..notification.clone() };
        if now.since(notification.at) > GIVES_UP {
            log::warn!(target: "outbox", "{} was not delivered to {} in a week: {error}", notification.title, notification.name);
            return self.arrived(&kept);
        }
        self.write(&kept)
    }
}

impl Notification {
    /// Whether it is to be sent now. A time that no pause comes to was set by another clock.
    pub fn is_due(&self, now: Stamp) -> bool {
        self.next_try <= now || self.next_try > now.plus(LONGEST_PAUSE.max(LONGEST_WISH))
    }
}

/// The longest that a receiver may wish to be left alone.
const LONGEST_WISH: Duration = Duration::from_secs(3600);
