//! One mutating run per environment, on this host: a file that its owner keeps locked for as long as it lives, with who
//! that is and a heartbeat. The kernel lets go of it when the owner dies, so a stale lock is taken over, never forced.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde::{Deserialize, Serialize};

use super::state::StateDir;
use crate::base::clock::Stamp;
use crate::plan::runbook::{Operator, Runner, slug};

/// Who has the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub run: String,
    pub runbook: String,
    pub by: Operator,
    pub runner: Runner,
    pub since: Stamp,
    /// When it last said that it lives.
    pub beat: Stamp,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} runs {} since {} (run {}, process {} on {})",
            self.by,
            self.runbook,
            self.since.iso(),
            self.run,
            self.runner.pid,
            self.runner.host
        )
    }
}

/// The lock while it is held; let go of when dropped.
pub struct HostLock {
    file: File,
    holder: Holder,
    /// Whom the file names again when this is let go of: nothing has come of taking it over from the dead.
    dead: Option<Holder>,
}

/// What came of trying.
pub enum Tried {
    /// Ours now; with the last owner, when that one died without letting go.
    Taken(Box<HostLock>, Option<Holder>),
    Held(Option<Holder>),
}

impl HostLock {
    /// Tries to take an environment's lock.
    ///
    /// # Errors
    /// When the file cannot be opened at all.
    pub fn take(state: &StateDir, environment: &str, holder: Holder) -> Result<Tried, String> {
        let path = state.locks().join(slug(environment));
        let failed = |e: std::io::Error| format!("cannot lock {}: {e}", path.display());
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        let before = read_holder(&mut file);
        match file.try_lock() {
            Ok(()) => {
                // Between the first look and the lock its owner may have let go in good order.
                let dead = before.and_then(|_| read_holder(&mut file));
                let mut lock = HostLock { file, holder, dead: dead.clone() };
                lock.write().map_err(failed)?;
                Ok(Tried::Taken(Box::new(lock), dead))
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(Tried::Held(before)),
            Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    /// It is ours for good: whoever had it before is of no more interest.
    pub fn keep(&mut self) {
        self.dead = None;
    }

    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Says that the owner lives.
    pub fn beat(&mut self, now: Stamp) {
        self.holder.beat = now;
        // A full disk must not end a run; the kernel's lock holds without it.
        let _ = self.write();
    }

    fn write(&mut self) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(&self.holder).unwrap_or_default();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&bytes)?;
        self.file.set_len(bytes.len() as u64)
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        let _ = match self.dead.take() {
            Some(dead) => {
                self.holder = dead;
                self.write()
            }
            // An empty file says that it was let go of in good order.
            None => self.file.set_len(0),
        };
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
