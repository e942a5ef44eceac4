//! The lease of an environment on this host: who may act there now. A file holds its fence number, which only grows, and
//! its holder with a heartbeat; the holder keeps it locked besides, so that the kernel says when it has died. What counts
//! is the record: whoever finds a higher fence in it than their own has been fenced off, and acts no more.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::clock::Stamp;
use crate::base::process::Stat;
use crate::base::text::hex;
use crate::plan::runbook::{Operator, Runner};

/// Who has an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub run: String,
    pub runbook: String,
    pub by: Operator,
    pub runner: Runner,
    pub since: Stamp,
    /// When it last said that it lives.
    pub beat: Stamp,
    /// The folder of its run on its host: where it can be told to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// It is an emergency, which nothing pre-empts while it is at work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// It does nothing now: it is paused, or waits for an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
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

/// What is known of a holder's process from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Alive,
    Dead,
    /// It is of another host or container.
    Elsewhere,
}

impl Holder {
    /// Whether its process lives, as seen from a place.
    pub fn life(&self, here: &str) -> Life {
        if self.runner.place.is_empty() || self.runner.place != here {
            return Life::Elsewhere;
        }
        let Some(pid) = Pid::from_raw(self.runner.pid.cast_signed()) else { return Life::Dead };
        // One of another user's is one.
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Life::Dead;
        }
        match (self.runner.began, began(self.runner.pid)) {
            // Ended, though nobody has taken note of it; or a number that was given again.
            (_, None) => Life::Dead,
            (ours, Some(now)) if ours != 0 && ours != now => Life::Dead,
            _ => Life::Alive,
        }
    }

    /// Whether it may be taken over from, seen from a place, when nothing was heard of it for so long.
    pub fn is_gone(&self, here: &str, silent: Duration) -> bool {
        match self.life(here) {
            // One that was stopped lives, however long it has been silent.
            Life::Alive => false,
            Life::Dead => true,
            Life::Elsewhere => silent >= SILENT,
        }
    }
}

/// After this long without a word a holder of another host or container is taken for dead: many beats.
const SILENT: Duration = Duration::from_secs(60);

/// When a process began, in ticks since the boot; with its number it names the process.
pub fn began(pid: u32) -> Option<u64> {
    // One that has ended, and that nobody has taken note of, is none.
    Stat::of(&pid.to_string()).filter(|stat| !stat.is_over())?.began.parse().ok()
}

/// Where a process number means something: two containers of one name, or a machine before and after a boot, are two places.
pub fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let world = std::fs::read_link("/proc/self/ns/pid");
    // What cannot be told is no place: it is like no other.
    boot.ok().zip(world.ok()).map_or_else(String::new, |(boot, world)| format!("{} {}", boot.trim(), world.display()))
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct LeaseRecord {
    fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
}

/// A lease on this host, from when it was taken; let go of when dropped.
pub struct HostLease {
    file: File,
    path: PathBuf,
    fence: u64,
    holder: Holder,
    /// Whether the kernel's lock is ours as well: without it the record alone keeps others out.
    locked: bool,
    /// Whom the file names again when this is let go of: nothing has come of taking it over from the dead.
    dead: Option<Holder>,
    /// What has to be known about how it was taken.
    pub remark: Option<String>,
}

/// What came of trying.
pub enum Tried {
    /// Ours now; with the last holder, when that one died without letting go.
    Taken(Box<HostLease>, Option<Holder>),
    Held(Option<Holder>),
}

/// How long a lock is tried that names nobody: its holder may be about to write its name.
const GLANCE: Duration = Duration::from_millis(300);

impl HostLease {
    /// Tries to take the lease that a file stands for.
    ///
    /// # Errors
    /// When the file cannot be used at all.
    pub fn take(path: &Path, holder: Holder) -> Result<Tried, String> {
        let failed = |e: std::io::Error| format!("cannot use {}: {e}", path.display());
        let mut file = open(path).map_err(failed)?;
        let deadline = Instant::now() + GLANCE;
        let here = holder.runner.place.clone();
        let (locked, record) = loop {
            let locked = match file.try_lock() {
                Ok(()) => true,
                Err(std::fs::TryLockError::WouldBlock) => false,
                Err(std::fs::TryLockError::Error(e)) => return Err(failed(e)),
            };
            let record = read(&mut file);
            // Of a machine that has been started anew, or a container that is no more, nobody has it locked.
            let silent = |other: &Holder| if locked { holder.beat.since(other.beat) } else { Duration::ZERO };
            let lives = record.holder.as_ref().is_some_and(|other| other.run != holder.run && !other.is_gone(&here, silent(other)));
            if lives {
                return Ok(Tried::Held(record.holder));
            }
            // Locked, and nobody is named who lives: its holder is about to write, or it is a stranger's lock.
            if locked || Instant::now() >= deadline {
                break (locked, record);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let remark = (!locked).then(|| format!("{} is locked by {}, which holds no lease", path.display(), locker(&file)));
        let dead = record.holder.filter(|other| other.run != holder.run);
        let lease = HostLease { file, path: path.to_path_buf(), fence: record.fence + 1, holder, locked, dead: dead.clone(), remark };
        lease.write().map_err(failed)?;
        Ok(Tried::Taken(Box::new(lease), dead))
    }

    /// Takes it from whoever has it: their fence is lower from now on.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn take_over(path: &Path, holder: Holder) -> Result<HostLease, String> {
        let failed = |e: std::io::Error| format!("cannot use {}: {e}", path.display());
        let mut file = open(path).map_err(failed)?;
        let locked = file.try_lock().is_ok();
        let fence = read(&mut file).fence + 1;
        let lease = HostLease { file, path: path.to_path_buf(), fence, holder, locked, dead: None, remark: None };
        lease.write().map_err(failed)?;
        Ok(lease)
    }

    /// It is ours for good: whoever had it before is of no more interest.
    pub fn keep(&mut self) {
        self.dead = None;
    }

    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Who has fenced this lease off, if anybody has. A file that is gone is nobody's.
    pub fn fenced_by(&self) -> Option<Holder> {
        let record = read(&mut File::open(&self.path).ok()?);
        // Of two who took the same number in one moment the last to write has it.
        let other = |h: &Holder| h.run != self.holder.run;
        match record.holder {
            Some(holder) if record.fence > self.fence || record.fence == self.fence && other(&holder) => Some(holder),
            None if record.fence > self.fence => Some(self.holder.clone()),
            _ => None,
        }
    }

    /// Says that the holder lives.
    pub fn beat(&mut self, now: Stamp) {
        self.holder.beat = now;
        if !self.locked {
            self.locked = self.file.try_lock().is_ok();
        }
        // A full disk must not end a run; and what has been taken over is not written on.
        if self.fenced_by().is_none() {
            let _ = self.write();
        }
    }

    fn write(&self) -> std::io::Result<()> {
        self.put(&LeaseRecord { fence: self.fence, holder: Some(self.holder.clone()) })
    }

    fn put(&self, record: &LeaseRecord) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)
    }
}

impl Drop for HostLease {
    fn drop(&mut self) {
        // Without a holder it says that it was let go of in good order; the number stays.
        if self.fenced_by().is_none() {
            let holder = self.dead.take();
            let _ = self.put(&LeaseRecord { fence: self.fence, holder });
        }
    }
}

/// Who has a lease on this host now, where somebody has.
pub fn holder_of(path: &Path) -> Option<Holder> {
    read(&mut File::open(path).ok()?).holder
}

/// The file that users of one host share who have one configuration: besides their own state folders. `None`: there is no
/// folder that all of them may write to.
pub fn shared_lease(config: &Path, environment: &str) -> Option<PathBuf> {
    let config = std::fs::canonicalize(config).unwrap_or_else(|_| config.to_path_buf());
    let name = hex(&Sha256::digest(format!("{}\n{environment}", config.display())));
    let open_to_all = |folder: &PathBuf| std::fs::metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o1002 == 0o1002);
    let folder = [PathBuf::from("/run/lock"), PathBuf::from("/var/lock"), PathBuf::from("/tmp")].into_iter().find(open_to_all)?;
    Some(folder.join(format!("lastgreen-{}.lease", &name[..16])))
}

/// Opens a lease's file, made where it is missing. In a folder that others write to it is theirs to write as well, so
/// that each can put a name in it.
fn open(path: &Path) -> std::io::Result<File> {
    // Not made in the same breath: in a folder open to all the kernel refuses that for a file of somebody else's.
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    match OpenOptions::new().read(true).write(true).custom_flags(nofollow).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let shared = path.parent().and_then(|folder| std::fs::metadata(folder).ok()).is_some_and(|meta| meta.mode() & 0o002 != 0);
    let mode = if shared { 0o666 } else { 0o600 };
    match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => {
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            Ok(file)
        }
        // Somebody else has made it in between.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).custom_flags(nofollow).open(path)
        }
        Err(e) => Err(e),
    }
}

/// What a file says; a file of before there were fences names its holder alone.
fn read(file: &mut File) -> LeaseRecord {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    if read.is_err() {
        return LeaseRecord::default();
    }
    serde_json::from_str(&text)
        .ok()
        .or_else(|| serde_json::from_str(&text).ok().map(|holder| LeaseRecord { fence: 0, holder: Some(holder) }))
        .unwrap_or_default()
}

/// The process that has a file locked, as the kernel has it: `process 4711 (flock)`.
fn locker(file: &File) -> String {
    let unknown = || "some process".to_string();
    let Ok(meta) = file.metadata() else { return unknown() };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let wanted = format!(":{}", meta.ino());
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`
    let line =
        locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|f| f.get(5).is_some_and(|id| id.ends_with(&wanted)));
    let Some(pid) = line.and_then(|fields| fields.get(4).map(|pid| (*pid).to_string())) else { return unknown() };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", crate::base::text::clean(name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(run: &str, pid: u32) -> Holder {
        let runner =
            Runner { host: "h".into(), pid, place: place(), version: "1".into(), state: String::new(), began: began(pid).unwrap_or(0) };
        let by = Operator { user: "ana".into(), ..Operator::default() };
        let (since, beat) = (Stamp(1), Stamp(1));
        Holder { run: run.into(), runbook: "x".into(), by, runner, since, beat, folder: None, emergency: false, idle: false }
    }

    fn take(path: &Path, run: &str) -> Tried {
        HostLease::take(path, holder(run, std::process::id())).expect("the file can be used")
    }

    #[test]
    fn a_lease_is_one_at_a_time_and_its_number_only_grows() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("rag");
        let Tried::Taken(first, None) = take(&path, "A") else { panic!("free") };
        assert!(matches!(take(&path, "B"), Tried::Held(Some(h)) if h.run == "A"));
        let number = first.fence();
        drop(first);
        let Tried::Taken(second, None) = take(&path, "B") else { panic!("let go of") };
        assert_eq!(second.fence(), number + 1);
    }

    #[test]
    fn whoever_is_fenced_off_finds_out_and_does_not_write_over_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("rag");
        let Tried::Taken(mut old, None) = take(&path, "A") else { panic!("free") };
        assert_eq!(old.fenced_by(), None);
        let new = HostLease::take_over(&path, holder("E", std::process::id())).expect("an emergency");
        assert_eq!(old.fenced_by().map(|h| h.run), Some("E".into()));
        old.beat(Stamp(5));
        drop(old);
        assert_eq!(holder_of(&path).map(|h| h.run), Some("E".into()), "the old holder leaves the new one alone");
        assert!(matches!(take(&path, "B"), Tried::Held(Some(h)) if h.run == "E"), "though the kernel's lock is free");
        drop(new);
        assert!(matches!(take(&path, "B"), Tried::Taken(..)));
    }

    #[test]
    fn a_strangers_lock_keeps_nobody_out_and_is_named() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("rag");
        drop(take(&path, "A"));
        let stranger = File::open(&path).expect("readable");
        stranger.try_lock().expect("any reader can lock a file");
        let Tried::Taken(lease, None) = take(&path, "B") else { panic!("nobody holds it") };
        let remark = lease.remark.clone().expect("it is said");
        assert!(remark.contains(&format!("process {}", std::process::id())), "{remark}");
        assert!(matches!(take(&path, "C"), Tried::Held(Some(h)) if h.run == "B"));
    }

    #[test]
    fn the_dead_are_taken_over_and_named_again_when_nothing_came_of_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("rag");
        let gone = LeaseRecord { fence: 7, holder: Some(Holder { runner: Runner { pid: 0, ..holder("D", 1).runner }, ..holder("D", 1) }) };
        std::fs::write(&path, serde_json::to_vec(&gone).expect("JSON")).expect("written");
        let Tried::Taken(lease, Some(dead)) = take(&path, "B") else { panic!("its holder is dead") };
        assert_eq!((dead.run.as_str(), lease.fence()), ("D", 8));
        drop(lease);
        let Tried::Taken(mut lease, Some(_)) = take(&path, "C") else { panic!("still dead") };
        lease.keep();
        drop(lease);
        assert!(matches!(take(&path, "E"), Tried::Taken(_, None)));
    }
}
