//! The process group of a script: named on disk before the script begins, so that a runner which comes later can find
//! what one before it has left at work; and ended as a whole.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::time::{Instant, sleep, timeout};

use crate::act::infra::processes::{carrying, named_at_work};
use crate::base::process::{DEATH, GroupName, is_gone};

/// Between asking a group to end and ending it.
const GRACE: Duration = Duration::from_secs(3);
/// As long as what is written into the file when the script begins: a full disk then has room for it.
const ROOM: usize = 96;

/// The file that names the process group of a step while it runs.
pub fn mark(home: &Path) -> PathBuf {
    home.join("script.pid")
}

/// What the first process does before it becomes the script: its number, when it began and on which boot, into the file;
/// then it opens its two pipes for both directions, so that they outlive whoever reads them.
pub const NAME_ITSELF: &str = "read -r _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ began _ </proc/$$/stat && \
     read -r boot </proc/sys/kernel/random/boot_id && echo \"$$ $began $boot\" 1<>\"$1\" || exit 125; \
     exec 1<>\"$2\" 2<>\"$3\" || exit 125; shift 3; exec \"$@\"";

/// The pipes that a script writes to. They stand in the folder of the run, so that a runner which comes later reads on.
pub fn pipes(home: &Path) -> [PathBuf; 2] {
    [home.join("script.out"), home.join("script.err")]
}

/// As much as a script may print while nobody reads, before it has to wait.
const PIPE_ROOM: usize = 1 << 20;

/// Opens the pipes for reading; `fresh` makes them anew.
///
/// # Errors
/// When they cannot be made, or opened.
pub fn open_pipes(home: &Path, fresh: bool) -> std::io::Result<[Receiver; 2]> {
    let open = |path: &PathBuf| {
        if fresh {
            let _ = std::fs::remove_file(path);
            mkfifoat(CWD, path, Mode::from_raw_mode(0o600))?;
        }
        let pipe = OpenOptions::new().open_receiver(path)?;
        // Smaller where the system allows no more.
        let _ = fcntl_setpipe_size(&pipe, PIPE_ROOM);
        Ok::<_, std::io::Error>(pipe)
    };
    let [out, err] = pipes(home);
    Ok([open(&out)?, open(&err)?])
}

/// Ends what has left a step's group. Whether nothing of it is left.
pub async fn end_strays(run: &str, key: &str) -> bool {
    let deadline = Instant::now() + DEATH;
    loop {
        let left = carrying(run, key);
        if left.is_empty() || Instant::now() >= deadline {
            return left.is_empty();
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Makes room for the group's name.
///
/// # Errors
/// When there is none, or one is still at work whose name stands there: then nothing may begin.
pub fn reserve(home: &Path) -> std::io::Result<()> {
    if let Some(group) = is_at_work(home) {
        let words = format!("a script is still at work that could not be ended: process group {}", group.as_raw_nonzero());
        return Err(std::io::Error::new(std::io::ErrorKind::ResourceBusy, words));
    }
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(mark(home))?;
    std::io::Write::write_all(&mut file, " ".repeat(ROOM).as_bytes())?;
    file.sync_all()
}

/// Whether the file names a group: one that is empty was never begun.
pub fn is_named(home: &Path) -> bool {
    GroupName::read(&mark(home)).is_some()
}

/// The script that a runner which is gone has left at work, if it has.
fn is_at_work(home: &Path) -> Option<Pid> {
    GroupName::read(&mark(home))?.at_work()
}

/// What a step has begun and nobody has seen the end of.
pub struct LeftAtWork {
    what: &'static str,
    group: Pid,
}

impl std::fmt::Display for LeftAtWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process group {})", self.what, self.group.as_raw_nonzero())
    }
}

/// A script or a program of a run that is at work.
pub fn left_at_work(home: &Path) -> Option<LeftAtWork> {
    let script = is_at_work(home).map(|group| LeftAtWork { what: "a script", group });
    script.or_else(|| named_at_work(home).first().map(|group| LeftAtWork { what: "a program", group: *group }))
}

/// The same, once what was told to end has had the time for it.
pub async fn stays_at_work(home: &Path) -> Option<LeftAtWork> {
    let deadline = Instant::now() + DEATH;
    loop {
        let left = left_at_work(home);
        if left.is_none() || Instant::now() >= deadline {
            return left;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Ends a whole process group: first asked, then made to. Whether it is gone.
pub async fn end(group: Option<Pid>, child: &mut tokio::process::Child) -> bool {
    let Some(group) = group else { return child.wait().await.is_ok() };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    let _ = timeout(DEATH, child.wait()).await;
    is_gone(group).await
}

/// Waits for what a runner that is gone has left running, and ends it when it takes longer than its step may.
/// Says what was found; an error when it cannot be ended.
pub async fn end_orphan(home: &Path, patience: Duration) -> Option<Result<String, String>> {
    let Some(group) = is_at_work(home) else {
        let _ = std::fs::remove_file(mark(home));
        return None;
    };
    let number = group.as_raw_nonzero();
    let deadline = Instant::now() + patience;
    while is_at_work(home).is_some() {
        if Instant::now() >= deadline {
            let _ = kill_process_group(group, Signal::TERM);
            sleep(GRACE).await;
            let _ = kill_process_group(group, Signal::KILL);
            if !is_gone(group).await {
                return Some(Err(format!("the script is still running and cannot be ended from here: process group {number}")));
            }
            let _ = std::fs::remove_file(mark(home));
            return Some(Ok("the script was still running, and was ended".into()));
        }
        sleep(Duration::from_millis(50)).await;
    }
    let _ = std::fs::remove_file(mark(home));
    Some(Ok(format!("the script was still running (process group {number}), and was waited for")))
}
