//! A run's journal on disk: appended, synced before anything follows from it, replayed when a run is taken up again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{sync_folder, write_private};
use super::record::{GENESIS, JournalLine, Replay, Wrong, frame, replay};
use crate::base::clock::Stamp;
use crate::plan::runbook::{Event, Record};

/// The moments between which a runner can be killed: tests do that at each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailpointAt {
    BeforeAppend,
    /// Written, not synced.
    Written,
    Synced,
    BeforeEffect,
    AfterEffect,
    BeforeNotice,
    AfterNotice,
}

/// Called at each [`FailpointAt`].
pub type Failpoint = Arc<dyn Fn(FailpointAt) + Send + Sync>;

/// A failpoint that does nothing.
pub fn no_failpoint() -> Failpoint {
    Arc::new(|_| {})
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("this cannot stand in a journal, a fault of ours: {0}")]
    Illegal(#[from] crate::plan::runbook::Broken),
    #[error("{path}: another runner drives this run")]
    Driven { path: PathBuf },
    #[error("{path}: the journal was taken away")]
    Taken { path: PathBuf },
    #[error("{path}: the journal had records, and is empty or gone: what was done is not known here (lastgreen audit verify)")]
    Emptied { path: PathBuf },
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{path}: {wrong}")]
    Wrong { path: PathBuf, wrong: Wrong },
}

/// An open journal: one writer, and everything it has said.
pub struct Journal {
    path: PathBuf,
    run: String,
    file: File,
    /// Bytes that are known to be good.
    good: u64,
    sum: String,
    seq: u64,
    /// Something stands behind what is good, and could not be taken away.
    dirty: bool,
    watch: Failpoint,
}

pub const FILE: &str = "journal.jsonl";

impl Journal {
    /// Opens the journal of a run, made where there is none; a torn last line is cut off. Whoever gets its lock reads what is
    /// there: another runner may have written and left meanwhile.
    ///
    /// # Errors
    /// When it cannot be read, is another runner's, or a line is wrong; when it once had records, and has none.
    pub fn open(folder: &Path, run: &str, failpoint: Failpoint) -> Result<(Journal, Replay), JournalError> {
        let path = folder.join(FILE);
        let io = |error| JournalError::Io { path: path.clone(), error };
        let mut file = OpenOptions::new().write(true).read(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        alone(&file, &path)?;
        // Somebody may have taken it away between the two.
        if file.metadata().map_err(io)?.nlink() == 0 {
            return Err(JournalError::Taken { path });
        }
        sync_folder(folder).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let mut replay = replay_of(folder, &bytes).map_err(|wrong| JournalError::Wrong { path: path.clone(), wrong })?;
        if replay.lines.is_empty() && has_begun(folder) {
            return Err(JournalError::Emptied { path });
        }
        if replay.torn > 0 {
            file.set_len(replay.good).map_err(io)?;
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        if replay.unended {
            file.write_all(b"\n").map_err(io)?;
            replay.good += 1;
        }
        file.sync_data().map_err(io)?;
        let (sum, seq) = replay.lines.last().map_or((GENESIS.to_string(), 0), |l| (l.sum.clone(), l.record.seq));
        let journal = Journal { path, run: run.into(), file, good: replay.good, sum, seq, dirty: false, watch: failpoint };
        Ok((journal, replay))
    }

    /// Takes away what stands behind what is good.
    fn clear(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.good)?;
        self.file.seek(SeekFrom::Start(self.good)).map(drop)
    }

    pub fn is_empty(&self) -> bool {
        self.seq == 0
    }

    /// Writes an event down. When this comes back it is on the disk.
    ///
    /// # Errors
    /// When it is not; the journal is then as it was before.
    pub fn append(&mut self, at: Stamp, event: Event) -> Result<JournalLine, JournalError> {
        (self.watch)(FailpointAt::BeforeAppend);
        let record = Record { seq: self.seq + 1, at, run: self.run.clone(), event };
        let line = frame(&record, &self.sum);
        let bytes = [line.text.as_bytes(), b"\n"].concat();
        // Written into a file that no folder has any more, it would be on no record.
        if self.file.metadata().is_ok_and(|meta| meta.nlink() == 0) {
            return Err(JournalError::Taken { path: self.path.clone() });
        }
        if self.dirty {
            self.clear().map_err(|error| JournalError::Io { path: self.path.clone(), error })?;
            self.dirty = false;
        }
        let written = self.file.write_all(&bytes).and_then(|()| {
            (self.watch)(FailpointAt::Written);
            self.file.sync_data()
        });
        if let Err(error) = written {
            // What was written of it must not stay: the next record would stand behind it.
            self.dirty = self.clear().is_err();
            return Err(JournalError::Io { path: self.path.clone(), error });
        }
        (self.watch)(FailpointAt::Synced);
        self.good += bytes.len() as u64;
        self.sum.clone_from(&line.sum);
        self.seq = record.seq;
        Ok(line)
    }
}

/// One writer a journal: the kernel keeps others out for as long as the file is open here.
fn alone(file: &File, path: &Path) -> Result<(), JournalError> {
    let deadline = Instant::now() + GLANCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            // Whoever only looks whether it is driven has it for a moment.
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Err(std::fs::TryLockError::WouldBlock) => return Err(JournalError::Driven { path: path.to_path_buf() }),
            Err(std::fs::TryLockError::Error(error)) => return Err(JournalError::Io { path: path.to_path_buf(), error }),
        }
    }
}

/// How long somebody's look at a journal may keep its writer out.
const GLANCE: Duration = Duration::from_millis(300);

/// Says that a run's journal has records: one that is empty later was emptied.
///
/// # Errors
/// When that cannot be written.
pub fn mark_begun(folder: &Path) -> std::io::Result<()> {
    if has_begun(folder) {
        return Ok(());
    }
    write_private(&folder.join(BEGUN), b"")?;
    sync_folder(folder)
}

/// Whether a run's journal had records once.
pub fn has_begun(folder: &Path) -> bool {
    folder.join(BEGUN).exists()
}

const BEGUN: &str = "begun";

/// Reads a journal without touching it: for whoever only looks.
///
/// # Errors
/// When it cannot be read, or a line is wrong.
pub fn read(folder: &Path) -> Result<Replay, JournalError> {
    let path = folder.join(FILE);
    let bytes = std::fs::read(&path).map_err(|error| JournalError::Io { path: path.clone(), error })?;
    replay_of(folder, &bytes).map_err(|wrong| JournalError::Wrong { path, wrong })
}

/// A journal belongs to the run whose folder it is in.
fn replay_of(folder: &Path, bytes: &[u8]) -> Result<Replay, Wrong> {
    let replay = replay(bytes)?;
    let run = folder.file_name().map(|name| name.to_string_lossy());
    match replay.lines.first() {
        Some(line) if run.as_deref() != Some(line.record.run.as_str()) => {
            Err(Wrong::Broken { line: 1, what: format!("it belongs to another run, {}", line.record.run) })
        }
        _ => Ok(replay),
    }
}

/// Whether a runner has a journal open now.
pub fn is_driven(folder: &Path) -> bool {
    File::open(folder.join(FILE)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
