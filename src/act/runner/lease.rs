//! The lease of an environment while a run lasts: taken on this host and, where the database answers, across hosts; kept
//! with a heartbeat; looked at before every effect. An emergency takes it from whoever has it, and waits for nobody with
//! its first step. A lease that cannot be taken across hosts is said out loud, and is no dead end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::left_behind::{left_at_work, still_at_work};
use super::preempt::{LETS_GO, LOOK, Preempted, preempt_on_host};
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::base::process::Stat;
use crate::base::units::short;
use crate::plan::runbook::{is_wider, slug};
use crate::record::journal::{Holder, HostLease, Life, Other, RemoteLease, RemoteTried, RemoteWord, StateDir, Tried, Wanted, shared_lease};

/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the holder says that it lives, and hears whether an emergency wants the environment.
const BEAT: Duration = Duration::from_secs(2);

/// What a lease is taken with.
#[derive(Clone)]
pub struct LeaseOptions {
    pub state: StateDir,
    pub environment: String,
    pub holder: Holder,
    /// A PostgreSQL that keeps it across hosts.
    pub database: Option<DatabaseOptions>,
    /// The configuration that several users of this host have in common.
    pub shared: Option<PathBuf>,
    pub clock: Clock,
    /// Whether the run does nothing now.
    pub idle: Arc<AtomicBool>,
}

/// What comes of a lease while it is held.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseEvent {
    /// Something to put on record.
    Note { text: String, loud: bool },
    /// An emergency asks this run to stop.
    Wanted(Wanted),
}

/// What a look at the lease says.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseCheck {
    Ours,
    /// An emergency has it, or was there first: this run ends.
    Superseded {
        by: String,
        words: String,
    },
    /// Somebody else has it, who took this run for dead: it has to be looked at.
    Lost(String),
}

/// What came of trying to take it.
pub enum Taking {
    Taken(Lease),
    Refused(String),
}

/// A lease being kept beside the run.
pub struct Lease {
    pub events: mpsc::UnboundedReceiver<LeaseEvent>,
    checks: mpsc::Sender<oneshot::Sender<LeaseCheck>>,
    /// Whether the taking is over: an emergency begins before that.
    settled: watch::Receiver<bool>,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Lease {
    /// Comes back when it is known whether it could be taken.
    pub fn settled(&self) -> impl Future<Output = ()> + use<> {
        let mut settled = self.settled.clone();
        async move { drop(settled.wait_for(|settled| *settled).await) }
    }

    /// Looks whether it is still ours.
    pub fn check(&self) -> impl Future<Output = LeaseCheck> + use<> {
        let checks = self.checks.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            if checks.send(reply).await.is_err() {
                return LeaseCheck::Lost("whoever kept the lease has ended in a fault of ours".into());
            }
            answer.await.unwrap_or_else(|_| LeaseCheck::Lost("whoever kept the lease has ended in a fault of ours".into()))
        }
    }

    pub async fn let_go(self) {
        let _ = self.end.send(true);
        let _ = self.task.await;
    }
}

/// Takes the lease, or says who has it.
///
/// # Errors
/// When even this host's file cannot be used.
pub async fn take(options: LeaseOptions) -> Result<Taking, String> {
    let (mut keeper, parts) = Keeper::new(options);
    if let Some(why) = keeper.take_in_order().await? {
        return Ok(Taking::Refused(why));
    }
    Ok(Taking::Taken(parts.begin(keeper, false)))
}

/// Takes the lease beside the run, which goes on meanwhile: from whoever has it, unless that is an emergency, too.
pub fn take_in_emergency(options: LeaseOptions) -> Lease {
    let (keeper, parts) = Keeper::new(options);
    parts.begin(keeper, true)
}

/// The ends of the channels between a lease and its keeper.
struct LeaseParts {
    events: mpsc::UnboundedReceiver<LeaseEvent>,
}

impl LeaseParts {
    fn begin(self, mut keeper: Keeper, emergency: bool) -> Lease {
        let (checks, asked) = mpsc::channel(4);
        let (tell, settled) = watch::channel(!emergency);
        let (end, ends) = watch::channel(false);
        let task = tokio::spawn(async move {
            if emergency {
                keeper.take_by_preemption(ends.clone()).await;
                tell.send_replace(true);
            }
            keeper.keep(asked, ends).await;
        });
        Lease { events: self.events, checks, settled, end, task }
    }
}

struct Keeper {
    options: LeaseOptions,
    events: mpsc::UnboundedSender<LeaseEvent>,
    host: Vec<HostLease>,
    across: Option<RemoteLease>,
    /// The number it was had under across hosts, last.
    had: Option<u64>,
    /// When the lease across hosts could not be taken again, last.
    missed: Option<Instant>,
    /// It was lost, or never had: what a check says.
    gone: Option<LeaseCheck>,
    /// Whether the run was told so, and has paused.
    told: bool,
}

impl Keeper {
    fn new(options: LeaseOptions) -> (Keeper, LeaseParts) {
        let (sender, events) = mpsc::unbounded_channel();
        (
            Keeper { options, events: sender, host: Vec::new(), across: None, had: None, missed: None, gone: None, told: false },
            LeaseParts { events },
        )
    }

    fn note(&self, text: impl Into<String>, loud: bool) {
        // The run may be over by now.
        let _ = self.events.send(LeaseEvent::Note { text: text.into(), loud });
    }

    /// The files of this host: one's own, and the one that several users share.
    fn files(&self) -> Vec<PathBuf> {
        let o = &self.options;
        let own = o.state.locks().join(slug(&o.environment));
        let shared = o.shared.as_ref().map(|config| shared_lease(config, &o.environment));
        if let Some(None) = shared {
            self.note("not leased against other users of this host: there is no folder that all may write to", false);
        }
        std::iter::once(own).chain(shared.flatten()).collect()
    }

    /// In good order: `Some` says who has it.
    async fn take_in_order(&mut self) -> Result<Option<String>, String> {
        let (environment, holder) = (self.options.environment.clone(), self.options.holder.clone());
        for (i, file) in self.files().into_iter().enumerate() {
            let (lease, dead) = match HostLease::take(&file, holder.clone()) {
                Ok(Tried::Held(other)) => return Ok(Some(refusal(&environment, other.as_ref()))),
                Ok(Tried::Taken(lease, dead)) => (*lease, dead),
                Err(e) if i > 0 => {
                    self.note(format!("not leased against other users of this host: {e}"), false);
                    continue;
                }
                Err(e) => return Err(e),
            };
            if let Some(remark) = &lease.remark {
                self.note(remark.clone(), true);
            }
            self.host.push(lease);
            if i == 0 {
                match left_at_work(&self.options.state, &environment, &holder.run) {
                    Some((text, true)) => return Ok(Some(format!("{text}: resume or abort that run first"))),
                    // Nobody can take that run up any more, and what cannot be ended is not waited for.
                    Some((text, false)) => self.note(format!("BESIDE THIS RUN {text}"), true),
                    None => {}
                }
            }
            if let Some(dead) = dead {
                if let Some(text) = still_at_work(&dead, &holder.runner.place) {
                    return Ok(Some(text));
                }
                if i == 0 || dead.folder.as_ref().is_none_or(|folder| !folder.starts_with(self.options.state.runs())) {
                    self.note(format!("took the lease over from a run that ended without letting go: {dead}"), false);
                }
            }
        }
        match self.open_across().await {
            None => {}
            Some(Err(why)) => self.not_across(&why),
            Some(Ok(mut remote)) => match timeout(PATIENCE * 2, remote.take(&holder, self.fence(), false)).await {
                Ok(Ok(RemoteTried::Taken { fence, dead })) => {
                    self.had = Some(fence);
                    if let Some(other) = dead
                        && let Some(last) = &other.holder
                    {
                        if let Some(text) = still_at_work(last, &holder.runner.place) {
                            let _ = timeout(PATIENCE, remote.give_back(last)).await;
                            return Ok(Some(text));
                        }
                        self.note(format!("took the lease across hosts over from a run that is dead: {other}"), false);
                    }
                    self.across = Some(remote);
                }
                Ok(Ok(RemoteTried::Held(other))) => {
                    remote.close().await;
                    return Ok(Some(format!("{environment} is taken: {other}")));
                }
                Ok(Err(why)) => self.not_across(&why),
                Err(_) => self.not_across(&format!("the database did not answer within {}", short(PATIENCE * 2))),
            },
        }
        self.host.iter_mut().for_each(HostLease::keep);
        Ok(None)
    }

    /// The highest number that this host knows.
    fn fence(&self) -> u64 {
        self.host.iter().map(HostLease::fence).max().unwrap_or(1)
    }

    fn not_across(&mut self, why: &str) {
        self.missed = Some(Instant::now());
        let environment = &self.options.environment;
        self.note(format!("NOT LEASED ACROSS HOSTS: {why}; somebody on another host could act on {environment} as well"), true);
    }

    /// A session for the lease across hosts; `None` where there is no database for it.
    async fn open_across(&mut self) -> Option<Result<RemoteLease, String>> {
        let environment = self.options.environment.clone();
        let Some(database) = &self.options.database else {
            self.note(format!("leased on this host only: records go to no PostgreSQL, which could keep others of {environment}"), false);
            return None;
        };
        let options = DatabaseOptions { timeout: PATIENCE, ..database.clone() };
        match timeout(PATIENCE * 2, RemoteLease::open(&options, &environment)).await {
            Ok(Ok(remote)) => remote.map(Ok),
            Ok(Err(why)) => Some(Err(why)),
            Err(_) => Some(Err(format!("the database did not answer within {}", short(PATIENCE * 2)))),
        }
    }

    /// From whoever has it: asked to stop, waited for, and then fenced off.
    async fn take_by_preemption(&mut self, ends: watch::Receiver<bool>) {
        let holder = self.options.holder.clone();
        // One limit for all: whoever has several has them together.
        let deadline = Instant::now() + LETS_GO;
        for (i, file) in self.files().into_iter().enumerate() {
            match preempt_on_host(&file, &holder, deadline, &ends).await {
                Ok(Preempted::Taken(lease, notes)) => {
                    for (text, loud) in notes {
                        self.note(text, loud);
                    }
                    self.host.push(*lease);
                }
                Ok(Preempted::Refused(other)) => return self.give_way(&other),
                Err(e) if i > 0 => self.note(format!("not leased against other users of this host: {e}"), false),
                Err(e) => self.note(format!("NOT LEASED ON THIS HOST: {e}"), true),
            }
        }
        self.host.iter_mut().for_each(HostLease::keep);
        match self.open_across().await {
            None => {}
            Some(Err(why)) => self.not_across(&why),
            Some(Ok(remote)) => self.preempt_across(remote, ends).await,
        }
    }

    fn give_way(&mut self, other: &Holder) {
        let words = format!("an emergency has it already: {other}");
        self.gone = Some(LeaseCheck::Superseded { by: other.run.clone(), words });
    }

    async fn preempt_across(&mut self, mut remote: RemoteLease, ends: watch::Receiver<bool>) {
        let holder = self.options.holder.clone();
        let wanted = Wanted { run: holder.run.clone(), runbook: holder.runbook.clone(), by: holder.by.clone() };
        let mut deadline = Instant::now() + LETS_GO;
        let mut asked: Option<Other> = None;
        loop {
            let by_force = Instant::now() >= deadline;
            // Only whoever was asked, and is no emergency of the same scope or a wider one, is taken from by force.
            let narrower = |other: &Holder| is_wider(&holder.runbook, &other.runbook);
            let from_asked = asked.as_ref().is_some_and(|other| other.holder.as_ref().is_none_or(|h| !h.emergency || narrower(h)));
            let other = match timeout(PATIENCE, remote.take(&holder, self.fence(), by_force && from_asked)).await {
                Ok(Ok(RemoteTried::Taken { fence, .. })) => {
                    self.had = Some(fence);
                    if let Some(other) = asked {
                        let how = if by_force { "TAKEN OVER BY FORCE, because it did not let go:" } else { "it let go:" };
                        self.note(format!("the lease across hosts was somebody else's; {how} {other}"), by_force);
                    }
                    self.across = Some(remote);
                    return;
                }
                Ok(Ok(RemoteTried::Held(other))) => other,
                Ok(Err(why)) => return self.not_across(&why),
                Err(_) => return self.not_across(&format!("the database did not answer within {}", short(PATIENCE))),
            };
            // One that stands still, or does less, is asked to end, and gives way or goes on; another at work is left alone.
            if let Some(emergency) = other.holder.as_ref().filter(|h| h.emergency && !narrower(h) && (by_force || !h.idle)) {
                if asked.is_some() {
                    let _ = timeout(PATIENCE, remote.want_no_more(&wanted)).await;
                }
                remote.close().await;
                return self.give_way(emergency);
            }
            let run = |other: &Other| other.holder.as_ref().map(|holder| holder.run.clone());
            if asked.as_ref().is_none_or(|had| run(had) != run(&other)) {
                let _ = timeout(PATIENCE, remote.want(&wanted)).await;
                // Whoever has come in between has the same time.
                deadline = Instant::now() + LETS_GO;
                asked = Some(other);
            }
            let over = *ends.borrow();
            if over {
                return remote.close().await;
            }
            sleep(LOOK).await;
        }
    }

    /// Beats and answers, until told to let go.
    async fn keep(&mut self, mut asked: mpsc::Receiver<oneshot::Sender<LeaseCheck>>, mut ends: watch::Receiver<bool>) {
        let mut beat = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                biased;
                _ = ends.wait_for(|end| *end) => LeaseTurn::End,
                Some(reply) = asked.recv() => LeaseTurn::Check(reply),
                _ = beat.tick() => LeaseTurn::Beat,
            };
            match turn {
                LeaseTurn::End => break,
                LeaseTurn::Beat => drop(self.look(false).await),
                LeaseTurn::Check(reply) => {
                    let check = self.look(true).await;
                    self.told = matches!(check, LeaseCheck::Lost(_));
                    // The run may be over by now.
                    let _ = reply.send(check);
                }
            }
        }
        self.let_go_across().await;
        self.host.clear();
    }

    /// Gives the row back: it only says who it was, and without that the next one waits for a beat that does not come.
    async fn let_go_across(&mut self) {
        let given_back = match self.across.take() {
            Some(mut remote) => {
                let done = timeout(PATIENCE, remote.let_go()).await;
                remote.close().await;
                matches!(done, Ok(Ok(())))
            }
            // It never was ours, or is somebody else's by now.
            None => self.had.is_none() || self.gone.is_some(),
        };
        if given_back || self.missed.is_some_and(|at| at.elapsed() < BEAT) {
            return;
        }
        // A restore ends the session that keeps it, and the row that is there then still names this run. Nothing is taken.
        if let Some(Ok(mut remote)) = self.open_across().await {
            let _ = timeout(PATIENCE, remote.name_no_more(&self.options.holder.run)).await;
            remote.close().await;
        }
    }

    /// Says that the holder lives, and looks whether the lease is still ours. `acts`: something is about to be done.
    async fn look(&mut self, acts: bool) -> LeaseCheck {
        match &self.gone {
            // An operator has looked at it, and lets it go on: it needs the lease anew.
            Some(LeaseCheck::Lost(_)) if acts && self.told => return self.take_anew().await,
            Some(gone) => return gone.clone(),
            None => {}
        }
        let now = self.options.clock.now();
        self.host.iter_mut().for_each(|lease| lease.beat(now));
        if let Some(other) = self.host.iter().find_map(HostLease::fenced_by) {
            return self.lose(Some(other));
        }
        self.options.holder.beat = now;
        self.options.holder.idle = self.options.idle.load(Ordering::SeqCst);
        let holder = self.options.holder.clone();
        if let Some(remote) = &mut self.across {
            match timeout(PATIENCE, remote.beat(&holder)).await {
                Ok(Ok(RemoteWord::Ours)) => return LeaseCheck::Ours,
                Ok(Ok(RemoteWord::Wanted(wanted))) => {
                    let _ = self.events.send(LeaseEvent::Wanted(wanted));
                    return LeaseCheck::Ours;
                }
                Ok(Ok(RemoteWord::Fenced(other))) => return self.lose(other),
                Ok(Err(_)) | Err(_) => {
                    self.across = None;
                    // A restore of one's own ends the session that keeps it, and what is there then has the row, too.
                    let check = self.take_again().await;
                    if self.across.is_none() && check == LeaseCheck::Ours {
                        self.note("the lease across hosts is lost: the database has gone", true);
                    }
                    return check;
                }
            }
        }
        // What was lost is taken again: at once where something is about to be done, and otherwise when it is time.
        let soon = if acts { BEAT } else { BEAT * 2 };
        if self.options.database.is_some() && self.missed.is_none_or(|at| at.elapsed() > soon) {
            return self.take_again().await;
        }
        LeaseCheck::Ours
    }

    async fn take_again(&mut self) -> LeaseCheck {
        self.missed = Some(Instant::now());
        let (holder, fence) = (self.options.holder.clone(), self.fence());
        let Some(Ok(mut remote)) = self.open_across().await else { return LeaseCheck::Ours };
        if holder.emergency {
            // Whoever has begun meanwhile gives way, as they would have at the beginning.
            self.preempt_across(remote, nobody_ends()).await;
            return self.gone.clone().unwrap_or(LeaseCheck::Ours);
        }
        match timeout(PATIENCE, remote.take(&holder, fence, false)).await {
            Ok(Ok(RemoteTried::Taken { fence: number, .. })) => {
                let own = self.had.replace(number).map(|had| fence.max(had + 1));
                if own.is_some_and(|own| number > own) {
                    // Somebody had it in between, and has let go: what this run was planned on may not be so any more.
                    let _ = timeout(PATIENCE, remote.let_go()).await;
                    remote.close().await;
                    let words = "TAKEN FOR DEAD: another run took the environment meanwhile, and has ended; look at what it did first";
                    return self.is_gone(LeaseCheck::Lost(words.into()));
                }
                self.note("leased across hosts again", false);
                self.across = Some(remote);
                LeaseCheck::Ours
            }
            Ok(Ok(RemoteTried::Held(other))) => {
                remote.close().await;
                self.lose(other.holder)
            }
            Ok(Err(_)) | Err(_) => LeaseCheck::Ours,
        }
    }

    /// Takes it once more, as at the beginning.
    async fn take_anew(&mut self) -> LeaseCheck {
        self.gone = None;
        self.host.clear();
        if self.options.holder.emergency {
            self.take_by_preemption(nobody_ends()).await;
            return self.gone.clone().unwrap_or(LeaseCheck::Ours);
        }
        let refused = match self.take_in_order().await {
            Ok(None) => return LeaseCheck::Ours,
            Ok(Some(why)) | Err(why) => why,
        };
        self.is_gone(LeaseCheck::Lost(refused))
    }

    /// From now on a check says this.
    fn is_gone(&mut self, check: LeaseCheck) -> LeaseCheck {
        self.gone = Some(check.clone());
        check
    }

    /// Somebody else has it: this run acts no more.
    fn lose(&mut self, other: Option<Holder>) -> LeaseCheck {
        let who = other.as_ref().map_or_else(|| "a run on another host".to_string(), ToString::to_string);
        let check = match other {
            Some(holder) if holder.emergency => {
                LeaseCheck::Superseded { by: holder.run, words: format!("an emergency has taken the environment: {who}") }
            }
            _ => LeaseCheck::Lost(format!("TWO RUNS AT ONCE: somebody else has taken the environment meanwhile: {who}")),
        };
        // What it was is not to be given away any more.
        self.across = None;
        self.is_gone(check)
    }
}

/// For a taking that lasts as long as it lasts.
fn nobody_ends() -> watch::Receiver<bool> {
    watch::channel(false).1
}

/// What the keeper does next.
enum LeaseTurn {
    End,
    Check(oneshot::Sender<LeaseCheck>),
    Beat,
}

fn refusal(environment: &str, other: Option<&Holder>) -> String {
    match other {
        Some(holder) if holder.life(&crate::record::journal::place()) == Life::Alive && is_stopped(holder) => {
            format!("{environment} is taken: {holder}; its process is stopped (kill -CONT {})", holder.runner.pid)
        }
        Some(holder) => format!("{environment} is taken: {holder}; lastgreen attach {} shows it, where it was begun", holder.run),
        None => format!("{environment} is taken by another run on this host"),
    }
}

fn is_stopped(holder: &Holder) -> bool {
    Stat::of(&holder.runner.pid.to_string()).is_some_and(|stat| stat.is_stopped())
}
