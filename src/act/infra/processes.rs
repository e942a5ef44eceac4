//! Programs that a step has begun and that may outlive their runner: each carries the step and the session of its runner,
//! so that a runner which comes later finds what is still at work, and does not begin it a second time beside that.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::base::process::{GroupName, Stat, is_gone};
use crate::observe::source::NAMED;

const SESSION: &str = "LASTGREEN_SESSION";

/// What a program of a step carries in its environment.
pub fn marks(run: &str, key: &str) -> Vec<(String, String)> {
    let session = Stat::of("self").map_or_else(String::new, |own| own.session);
    vec![
        ("LASTGREEN_RUN".into(), run.into()),
        ("LASTGREEN_STEP".into(), key.into()),
        // Whoever makes itself a session of its own means to stay: a service that was begun is not the program that began it.
        (SESSION.into(), session),
    ]
}

/// Every process that carries a step, wherever it has gone.
pub fn carrying(run: &str, key: &str) -> Vec<Pid> {
    all_carrying(run, key).into_iter().map(|(pid, ..)| pid).collect()
}

/// The groups of programs that are named in the folder of a run and still at work. Who belongs to somebody else (behind
/// `sudo`) can only be seen by this; who made itself a session of its own only by what it carries.
pub fn named_at_work(home: &Path) -> Vec<Pid> {
    let Ok(files) = std::fs::read_dir(home) else { return Vec::new() };
    let named = files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(NAMED));
    let at_work = |file: std::fs::DirEntry| {
        // One that is just being written names nothing yet.
        let group = GroupName::read(&file.path())?.at_work();
        if group.is_none() {
            let _ = std::fs::remove_file(file.path());
        }
        group
    };
    named.filter_map(at_work).collect()
}

/// The groups of a step's programs that are still at work.
pub fn at_work(run: &str, key: &str, home: &Path) -> Vec<Pid> {
    let own = |(_, stat, session): (Pid, Stat, String)| {
        let group = || Pid::from_raw(stat.group.parse().ok()?);
        if stat.session == session { group() } else { None }
    };
    let mut groups: Vec<Pid> = all_carrying(run, key).into_iter().filter_map(own).chain(named_at_work(home)).collect();
    groups.sort_by_key(|group| group.as_raw_nonzero());
    groups.dedup();
    groups
}

/// Ends them with everything that they have begun. Whether all of it is gone.
pub async fn end(groups: &[Pid]) -> bool {
    for group in groups {
        // Nobody left in the group is as good.
        let _ = kill_process_group(*group, Signal::KILL);
    }
    for group in groups {
        if !is_gone(*group).await {
            return false;
        }
    }
    true
}

fn all_carrying(run: &str, key: &str) -> Vec<(Pid, Stat, String)> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let wanted = [format!("LASTGREEN_RUN={run}"), format!("LASTGREEN_STEP={key}")];
    let found = |entry: std::fs::DirEntry| {
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let pairs: Vec<&[u8]> = environment.split(|b| *b == 0).collect();
        if !wanted.iter().all(|mark| pairs.contains(&mark.as_bytes())) {
            return None;
        }
        let session = pairs.iter().find_map(|pair| pair.strip_prefix(SESSION.as_bytes())?.strip_prefix(b"="));
        let number = entry.file_name().to_string_lossy().into_owned();
        let stat = Stat::of(&number).filter(|stat| !stat.is_over())?;
        Some((Pid::from_raw(number.parse().ok()?)?, stat, String::from_utf8_lossy(session.unwrap_or_default()).into_owned()))
    };
    all.flatten().filter_map(found).collect()
}
