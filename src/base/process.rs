//! What the kernel says of a process. Everything is text, as it is written there: a group or a session that lies outside of
//! this container has the number 0, which no process has, and which the types of process numbers do not take.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process_group};

/// How long the end of a process is waited for that was told to end at once.
pub const DEATH: Duration = Duration::from_secs(5);

/// What stands in `/proc/PID/stat`.
pub struct Stat {
    pub state: String,
    pub group: String,
    pub session: String,
    /// In ticks since the boot.
    pub began: String,
}

impl Stat {
    /// Of a process number, or of `self`.
    pub fn of(pid: &str) -> Option<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; behind it: state, parent, group, session, and much later when it began.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |i: usize| fields.get(i).map(|text| (*text).to_string());
        Some(Stat { state: field(0)?, group: field(2)?, session: field(3)?, began: field(19)? })
    }

    /// Over, though nobody has taken note of it yet.
    pub fn is_over(&self) -> bool {
        self.state == "Z"
    }

    pub fn is_stopped(&self) -> bool {
        self.state == "T"
    }
}

/// A process group as a file names it: its leader's number, when that began, and on which boot.
pub struct GroupName {
    group: Pid,
    began: String,
    boot: String,
}

impl GroupName {
    /// Of a process that leads a group and is still there.
    pub fn of(leader: Pid) -> Option<GroupName> {
        Some(GroupName { group: leader, began: Stat::of(&leader.as_raw_nonzero().to_string())?.began, boot: boot() })
    }

    pub fn read(file: &Path) -> Option<GroupName> {
        let text = std::fs::read_to_string(file).ok()?;
        let mut words = text.split_whitespace();
        let group = Pid::from_raw(words.next()?.parse().ok()?)?;
        Some(GroupName { group, began: words.next()?.to_string(), boot: words.next()?.to_string() })
    }

    /// The group, while anything of it is at work.
    pub fn at_work(&self) -> Option<Pid> {
        // A number is not given again while a group has it; so only its leader could be another program.
        let leader = Stat::of(&self.group.as_raw_nonzero().to_string());
        let ours = boot() == self.boot && leader.is_none_or(|leader| leader.began == self.began);
        (ours && lives(self.group)).then_some(self.group)
    }
}

impl std::fmt::Display for GroupName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.group.as_raw_nonzero(), self.began, self.boot)
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// Whether anything of a group is still there. What belongs to somebody else (behind `sudo`) counts.
fn lives(group: Pid) -> bool {
    match test_kill_process_group(group) {
        Err(Errno::PERM) => true,
        Err(_) => false,
        // Processes that have ended, and that nobody has taken note of, are not at work.
        Ok(()) => {
            let Ok(all) = std::fs::read_dir("/proc") else { return true };
            let names = all.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let number = group.as_raw_nonzero().get().to_string();
            names
                .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
                .any(|pid| Stat::of(&pid).is_some_and(|stat| stat.group == number && !stat.is_over()))
        }
    }
}

/// Waits a while for a group that was told to end at once. Whether it is gone.
pub async fn is_gone(group: Pid) -> bool {
    let deadline = Instant::now() + DEATH;
    while lives(group) {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
