//! Programs that a step has begun and that may outlive their runner: each carries the step and the session of its runner,
//! so that a runner which comes later finds what is still at work, and does not begin it a second time beside that.

use rustix::process::{Pid, Signal, getsid, kill_process_group};

const SESSION: &str = "LASTGREEN_SESSION";

/// What a program of a step carries in its environment.
pub fn marks(run: &str, key: &str) -> Vec<(String, String)> {
    let session = getsid(None).map_or(0, |session| session.as_raw_nonzero().get());
    vec![
        ("LASTGREEN_RUN".into(), run.into()),
        ("LASTGREEN_STEP".into(), key.into()),
        // Whoever makes itself a session of its own means to stay: a service that was begun is not the program that began it.
        (SESSION.into(), session.to_string()),
    ]
}

/// Every process that carries a step, wherever it has gone.
pub fn carrying(run: &str, key: &str) -> Vec<Pid> {
    all_carrying(run, key).into_iter().map(|(pid, ..)| pid).collect()
}

/// The programs of a step that are still at work.
pub fn at_work(run: &str, key: &str) -> Vec<Pid> {
    let own = |(pid, stat, session): (Pid, Stat, String)| (stat.session == session).then_some(pid);
    all_carrying(run, key).into_iter().filter_map(own).collect()
}

/// Ends them with everything that they have begun.
pub fn end(programs: &[Pid]) {
    for pid in programs {
        let group = Stat::of(&pid.as_raw_nonzero().to_string()).and_then(|stat| Pid::from_raw(stat.group.parse().ok()?));
        if let Some(group) = group {
            // Nobody left in the group is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
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
        let stat = Stat::of(&number).filter(|stat| stat.state != "Z")?;
        Some((Pid::from_raw(number.parse().ok()?)?, stat, String::from_utf8_lossy(session.unwrap_or_default()).into_owned()))
    };
    all.flatten().filter_map(found).collect()
}

/// What the kernel says of a process.
pub struct Stat {
    pub state: String,
    pub group: String,
    pub session: String,
    pub began: String,
}

impl Stat {
    pub fn of(pid: &str) -> Option<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; behind it: state, parent, group, session, and much later when it began.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |i: usize| fields.get(i).map(|text| (*text).to_string());
        Some(Stat { state: field(0)?, group: field(2)?, session: field(3)?, began: field(19)? })
    }
}
