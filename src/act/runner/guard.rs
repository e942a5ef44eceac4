//! One mutating run per environment: the lock of this host, and the database's across hosts where it answers. A lock
//! that cannot be taken across hosts is said out loud, and is no dead end.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::act::effect::is_at_work;
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::observe::source::Session;
use crate::plan::runbook::Event;
use crate::record::journal::{Holder, HostLock, Mirror, Other, StateDir, Tried, is_driven, read};

/// How long the database is waited for: an emergency does not wait for a database that is away.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the owner says that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// What is held.
pub struct Held {
    host: Box<HostLock>,
    /// Locked as long as it is open.
    _shared: Option<File>,
    across: Option<Mirror>,
    database: Option<DatabaseOptions>,
    environment: String,
}

/// What came of trying to take the environment.
pub enum Taking {
    /// Ours, with what has to be said about it: words, and whether loudly.
    Taken(Box<Held>, Vec<(String, bool)>),
    Refused(String),
}

/// Takes an environment.
///
/// # Errors
/// When even this host's lock file cannot be used.
pub async fn take(
    state: &StateDir,
    environment: &str,
    holder: Holder,
    database: Option<&DatabaseOptions>,
    shared: Option<&Path>,
) -> Result<Taking, String> {
    let mut notes = Vec::new();
    let run = holder.run.clone();
    let host = match HostLock::take(state, environment, holder.clone())? {
        Tried::Held(Some(other)) => return Ok(Taking::Refused(format!("{environment} is taken: {other}"))),
        Tried::Held(None) => return Ok(Taking::Refused(format!("{environment} is taken by another run on this host"))),
        Tried::Taken(lock, dead) => {
            match left_at_work(state, environment, &run) {
                Some((text, true)) => return Ok(Taking::Refused(format!("{text}: resume or abort that run first"))),
                // Nobody can take that run up any more, and an emergency does not wait for what cannot be ended.
                Some((text, false)) => notes.push((format!("BESIDE THIS RUN {text}"), true)),
                None => {}
            }
            notes.extend(dead.map(|dead| (format!("took the lock over from a run that ended without letting go: {dead}"), false)));
            lock
        }
    };
    // Two users of this host have state folders of their own; the configuration they share.
    let shared = match shared.map(File::open) {
        Some(Ok(file)) => match file.try_lock() {
            Ok(()) => Some(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                return Ok(Taking::Refused(format!(
                    "{environment} is taken by a run of another user on this host, under the same configuration"
                )));
            }
            Err(std::fs::TryLockError::Error(e)) => {
                notes.push((format!("not locked against other users of this host: {e}"), false));
                None
            }
        },
        Some(Err(e)) => {
            notes.push((format!("not locked against other users of this host: {e}"), false));
            None
        }
        None => None,
    };
    let mut held = Held { host, _shared: shared, across: None, database: database.cloned(), environment: environment.to_string() };
    if database.is_none() {
        notes.push((format!("locked on this host only: records go to no PostgreSQL, which could lock {environment} across hosts"), false));
    } else {
        match held.take_across().await {
            Ok(Ok(note)) => notes.extend(note.map(|text| (text, false))),
            Ok(Err(other)) => return Ok(Taking::Refused(format!("{environment} is taken: {}", describe(&other)))),
            Err(why) => {
                notes.push((format!("NOT LOCKED ACROSS HOSTS: {why}; somebody on another host could act on {environment} as well"), true))
            }
        }
    }
    held.host.keep();
    Ok(Taking::Taken(Box::new(held), notes))
}

impl Held {
    /// Takes the database's lock; `Ok(Ok(note))` says when it was taken over from somebody who is dead.
    async fn take_across(&mut self) -> Result<Result<Option<String>, Other>, String> {
        let Some(database) = &self.database else { return Ok(Ok(None)) };
        let options = DatabaseOptions { timeout: PATIENCE, ..database.clone() };
        let taking = async {
            let session = Session::open(&options).await.map_err(|f| f.message)?;
            let mut mirror = Mirror::new(session).await.map_err(|e| e.to_string())?;
            let answer = lock(&mut mirror, &self.environment, self.host.holder()).await.map_err(|e| e.to_string())?;
            Ok::<_, String>((mirror, answer))
        };
        match tokio::time::timeout(PATIENCE * 2, taking).await {
            Err(_) => Err(format!("the database did not answer within {}", crate::base::units::short(PATIENCE * 2))),
            Ok(Err(e)) => Err(crate::base::secret::sanitize(&e)),
            Ok(Ok((mirror, Ok(note)))) => {
                self.across = Some(mirror);
                Ok(Ok(note))
            }
            Ok(Ok((mirror, Err(other)))) => {
                mirror.close().await;
                Ok(Err(other))
            }
        }
    }

    /// Says that the owner lives; takes the database's lock (again) when that was lost. What has to be said about it.
    async fn beat(&mut self, clock: &Clock) -> Option<(String, bool)> {
        self.host.beat(clock.now());
        self.database.as_ref()?;
        if let Some(mirror) = &mut self.across {
            let holder = self.host.holder().clone();
            match tokio::time::timeout(PATIENCE, mirror.beat(&self.environment, &holder)).await {
                Ok(Ok(())) => return None,
                _ => {
                    self.across = None;
                    return Some(("the lock across hosts is lost: the database has gone".into(), true));
                }
            }
        }
        match self.take_across().await {
            Ok(Ok(_)) => Some(("locked across hosts again".into(), false)),
            // Our own session of before, which the server still believes in: it is asked again at the next beat.
            Ok(Err(other)) if other.holder.as_ref().is_some_and(|h| h.run == self.host.holder().run) => None,
            Ok(Err(other)) => {
                let who = describe(&other);
                // Said once; this run goes on, because stopping half-way is worse.
                self.database = None;
                Some((format!("TWO RUNS AT ONCE: while the database was away somebody else took the environment: {who}"), true))
            }
            Err(_) => None,
        }
    }

    async fn let_go(self) {
        if let Some(mut mirror) = self.across {
            // The row only says who it was; without it the next one waits for a beat that does not come.
            let _ = tokio::time::timeout(PATIENCE, mirror.let_go(&self.environment, &self.host.holder().run)).await;
            mirror.close().await;
        }
    }

    /// Keeps it beside the run, until told to let go.
    pub fn keep(mut self: Box<Held>, clock: Clock) -> Keeping {
        let (say, notes) = mpsc::unbounded_channel();
        let (end, mut ends) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = ends.wait_for(|end| *end) => break,
                    () = tokio::time::sleep(BEAT) => {}
                }
                if let Some(note) = self.beat(&clock).await {
                    // The run may be over by now.
                    let _ = say.send(note);
                }
            }
            self.let_go().await;
        });
        Keeping { notes, end, task }
    }
}

fn describe(other: &Other) -> String {
    other.holder.as_ref().map_or_else(|| "by a run on another host".into(), ToString::to_string)
}

/// After this long without a word the owner is taken for dead: twelve beats.
const SILENT: Duration = Duration::from_secs(60);

/// Takes the database's lock, also from an owner who is dead and whose session the server still holds open.
async fn lock(mirror: &mut Mirror, environment: &str, holder: &Holder) -> Result<Result<Option<String>, Other>, sqlx::Error> {
    let other = match mirror.lock(environment, holder).await? {
        Ok(()) => return Ok(Ok(None)),
        Err(other) => other,
    };
    let here = |old: &Holder| !old.runner.place.is_empty() && old.runner.place == holder.runner.place;
    let gone = |old: &Holder| old.run == holder.run || here(old) && is_dead(old.runner.pid);
    if other.silent < SILENT && !other.holder.as_ref().is_some_and(gone) {
        return Ok(Err(other));
    }
    // Only the session that was judged: meanwhile it may have gone, and somebody else have come.
    mirror.end_session(environment, other.session).await?;
    let mut now = other.clone();
    for _ in 0..20 {
        match mirror.lock(environment, holder).await? {
            Ok(()) => {
                let text = format!("took the lock across hosts over from a run that is dead: {}", describe(&other));
                return Ok(Ok(Some(text)));
            }
            Err(other) => now = other,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Err(now))
}

/// Whether there is no process of that number here; one of another user's is one.
fn is_dead(pid: u32) -> bool {
    let Some(pid) = Pid::from_raw(pid.cast_signed()) else { return true };
    test_kill_process(pid) == Err(Errno::SRCH)
}

/// Where a process number means something: two containers of one name, or a machine before and after a boot, are two places.
pub fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let world = std::fs::read_link("/proc/self/ns/pid");
    // What cannot be told is no place: it is like no other.
    boot.ok().zip(world.ok()).map_or_else(String::new, |(boot, world)| format!("{} {}", boot.trim(), world.display()))
}

/// A script that a run of this environment has left at work, although nobody drives that run any more; and whether somebody
/// can still take that run up.
fn left_at_work(state: &StateDir, environment: &str, own: &str) -> Option<(String, bool)> {
    for id in state.ids().into_iter().filter(|id| id != own) {
        let folder = state.run(&id);
        let Some(group) = is_at_work(&folder).filter(|_| !is_driven(&folder)) else { continue };
        // One whose plan cannot be read any more may have been of this environment.
        if state.plan(&id).map_or(true, |plan| plan.content.environment.name == environment) {
            let over = read(&folder).is_ok_and(|replay| replay.lines.last().is_some_and(|l| matches!(l.record.event, Event::Ended { .. })));
            let group = group.as_raw_nonzero();
            return Some((format!("a script of run {id} is still at work (process group {group}), although its runner is gone"), !over));
        }
    }
    None
}

/// An environment being kept: what has to be said about it comes through `notes`.
pub struct Keeping {
    pub notes: mpsc::UnboundedReceiver<(String, bool)>,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeping {
    pub async fn let_go(self) {
        let _ = self.end.send(true);
        let _ = self.task.await;
    }
}
