//! The acting half of step kinds: one kind a file. Each does it, says in words what came of it and whether the world may be
//! different now, settles what a runner before it has left, and reports progress. What comes from outside is cleaned and
//! redacted before anything is kept of it.

mod analysis;
mod context;
mod expect;
mod gate;
mod group;
mod health;
mod http;
mod load;
mod notify;
mod outcome;
mod output_log;
mod release;
mod script;
mod snapshot;
mod sql;
mod traffic;
mod validation;
mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

pub use crate::act::infra::processes;
pub use context::{AskedBefore, CheckSeen, Context, Outgoing, SignalPoints, Signals};
pub use gate::{look_at_gates, word as gate_word};
pub use group::{end_orphan, left_at_work, stays_at_work};
pub use outcome::{Ended, Outcome, Settled};
pub use output_log::{OutputLog, read_progress};
pub use snapshot::may_take_back;
pub use validation::look_once;

use crate::act::infra::command::marked;
use crate::base::clock::Stamp;
use crate::observe::reading::Fault;
use crate::observe::source::Boxed;
use crate::plan::runbook::Kind;

/// What is to be done.
pub struct Invocation<'a> {
    pub run: &'a str,
    pub key: &'a str,
    pub timeout: Option<Duration>,
    /// Where scripts are.
    pub folder: &'a Path,
    /// The run's own folder.
    pub home: &'a Path,
    pub environment: &'a str,
    /// Who began the run, and why.
    pub by: &'a str,
    pub reason: &'a str,
    /// A probe takes only what was read after this: how it was before the step began says nothing.
    pub newer_than: Option<Stamp>,
    /// Becomes true when it is to end at once.
    pub stop: watch::Receiver<bool>,
}

impl Invocation<'_> {
    /// How long it may take.
    fn limit(&self) -> Duration {
        self.timeout.unwrap_or(PATIENCE)
    }
}

/// How long anything may take that has no time-out of its own.
const PATIENCE: Duration = Duration::from_secs(300);

/// The acting half of a kind.
pub trait Act: Send + Sync {
    /// Puts on disk what it needs besides its record: without room for that it must not begin.
    ///
    /// # Errors
    /// When it cannot be written, or something is still at work that it would run beside.
    fn stage(&self, _home: &Path, _key: &str) -> std::io::Result<()> {
        Ok(())
    }

    /// Does it. Whoever calls ends it at the time-out, unless it does that itself.
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome>;

    /// Whether it keeps its time-out and its stop itself.
    fn ends_itself(&self) -> bool {
        false
    }

    /// Comes back when it is not in the middle of something that must not be cut in two.
    fn unbroken(&self) -> Boxed<'_, ()> {
        Box::pin(async {})
    }

    /// Brings to its end what must not stay as a runner that is gone has left it, for whoever goes no further. In words what was done.
    fn leave_whole<'a>(&'a self, _context: &'a Context, _run: &'a str) -> Boxed<'a, Result<Vec<String>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Whether whoever was asked is still at it, after a time-out or the end of a runner; `end`: ends that.
    fn settle<'a>(&'a self, _context: &'a Context, _run: &'a str, _key: &'a str, _end: bool) -> Boxed<'a, Settled> {
        Box::pin(async { Settled::Over })
    }
}

/// The acting half of a kind; `None`: it is led by the run itself (a question, another runbook).
pub fn acting(kind: &Kind) -> Option<&dyn Act> {
    Some(match kind {
        Kind::HealthCheck(kind) => kind,
        Kind::Script(kind) => kind,
        Kind::Http(kind) => kind,
        Kind::Sql(kind) => kind,
        Kind::Validation(kind) => kind,
        Kind::Wait(kind) => kind,
        Kind::Load(kind) => kind,
        Kind::Notify(kind) => kind,
        Kind::Traffic(kind) => kind,
        Kind::Analysis(kind) => kind,
        Kind::Release(kind) => kind,
        Kind::Snapshot(kind) => kind,
        Kind::Restore(kind) => kind,
        Kind::Verify(kind) => kind,
        Kind::Gate(kind) => kind,
        Kind::Manual(_) | Kind::Runbook(_) => return None,
    })
}

/// The file that a step's output goes to.
pub fn output_file(home: &Path, key: &str) -> PathBuf {
    home.join("output").join(format!("{}.log", key.replace('/', "__")))
}

/// Does it. Comes back when it is done, has failed, has taken too long, or was stopped.
pub async fn perform(context: &Context, kind: &Kind, invocation: Invocation<'_>, log: &mut OutputLog) -> Outcome {
    let Some(act) = acting(kind) else {
        return Outcome::failed(format!("a {} is not performed but led by the run", kind.word()), false);
    };
    if act.ends_itself() {
        return act.perform(context, &invocation, log).await;
    }
    marked(invocation.run, invocation.key, invocation.home, limited(context, kind, act, &invocation, log)).await
}

async fn limited(context: &Context, kind: &Kind, act: &dyn Act, invocation: &Invocation<'_>, log: &mut OutputLog) -> Outcome {
    let mutates = kind.mutates();
    let limit = invocation.limit();
    let mut stop = invocation.stop.clone();
    let stopped = tokio::select! {
        outcome = act.perform(context, invocation, &mut *log) => return outcome,
        () = tokio::time::sleep(limit) => false,
        () = async { drop(stop.wait_for(|stop| *stop).await) } => true,
    };
    act.unbroken().await;
    if stopped {
        return Outcome::stopped(mutates);
    }
    let why = log.last().map_or_else(String::new, |line| format!("; last: {line}"));
    let text = format!("not done within {}{why}", crate::base::units::short(limit));
    // What was asked to change something does not stop because nobody waits for it any more.
    if mutates { Outcome::under_way(text) } else { Outcome::failed(text, false) }
}
