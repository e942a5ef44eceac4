//! The hands of a runner: writing down what happened, listening while something is done, and doing what it is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::control::{AbortRequest, Control, ControlRequest, Reply};
use super::lease::{Lease, LeaseCheck, LeaseEvent};
use crate::act::effect::Context;
use crate::base::clock::Clock;
use crate::plan::runbook::{Event, Operator, Phase, Plan, Record, Run, is_wider};
use crate::record::journal::{Failpoint, Journal, JournalError, StateDir};
use crate::record::notify::{Outbox, notifications};

pub(super) struct Driver {
    pub(super) plan: Plan,
    pub(super) run: Run,
    pub(super) context: Context,
    pub(super) id: String,
    pub(super) home: PathBuf,
    pub(super) outbox: Outbox,
    pub(super) state: StateDir,
    pub(super) failpoint: Failpoint,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) leave: watch::Receiver<bool>,
    /// The newest record that is on disk: what leaves the host goes as far as that.
    pub(super) synced: watch::Sender<u64>,
    /// A notification could not be put into the outbox: it is put there again from the journal.
    pub(super) unkept: Arc<AtomicBool>,
    /// Whether it does nothing now: whoever keeps the lease tells others.
    pub(super) idle: Arc<AtomicBool>,
    pub(super) lease: Option<Lease>,
    /// Why nothing can be written down.
    pub(super) stuck: Option<String>,
}

/// The runner was asked to end while nothing could be written down.
pub(super) struct Gone;

/// How often the run's folder is looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Between tries to write down what could not be.
const AGAIN: Duration = Duration::from_millis(500);

impl Driver {
    /// Writes an event down, takes it in, and tells whoever is to be told.
    pub(super) fn write(&mut self, event: &Event) -> Result<(), JournalError> {
        let now = self.clock.now();
        let mut next = self.run.clone();
        let record = Record { seq: self.run.seq + 1, at: now, run: self.id.clone(), event: event.clone() };
        // Every event comes from the table that takes it in. Should that ever not hold, nothing is written that would
        // make the journal unreadable, and nothing is done any more.
        next.apply(&self.plan, &record)?;
        let line = self.journal.append(now, event.clone())?;
        self.stuck = None;
        self.run = next;
        self.idle.store(self.stands_still(), Ordering::SeqCst);
        for notification in notifications(&self.plan, &self.run, &line.record, self.clock.now()) {
            if let Err(e) = self.outbox.put(&notification) {
                log::warn!(target: "runner", "a notification could not be kept: {e}");
                self.unkept.store(true, Ordering::SeqCst);
            }
        }
        self.synced.send_replace(self.run.seq);
        Ok(())
    }

    /// The same; while it cannot be written nothing goes on.
    pub(super) async fn append(&mut self, event: Event) -> Result<(), Gone> {
        loop {
            match self.write(&event) {
                Ok(()) => return Ok(()),
                Err(e @ (JournalError::Illegal(_) | JournalError::Taken { .. })) => {
                    log::error!(target: "runner", "{e}");
                    return Err(Gone);
                }
                Err(e) => {
                    self.say_stuck(&e);
                    self.wait_stuck().await?;
                }
            }
        }
    }

    /// Nothing is done while something that has to be written cannot be; the journal can, so that requests are done. Whether
    /// one of them changes what comes next.
    pub(super) async fn be_held(&mut self, why: &(dyn std::fmt::Display + Sync)) -> Result<bool, Gone> {
        self.say_stuck(why);
        let heard = self.listen(tokio::time::sleep(AGAIN)).await?;
        if self.is_leaving() {
            return Err(Gone);
        }
        Ok(heard.is_none())
    }

    fn say_stuck(&mut self, why: &dyn std::fmt::Display) {
        if self.stuck.is_none() {
            log::error!(target: "runner", "paused, because nothing can be written down: {why}");
        }
        self.stuck = Some(format!("paused: nothing can be written down: {why}"));
    }

    /// A while in which nothing but questions about the state are answered.
    async fn wait_stuck(&mut self) -> Result<(), Gone> {
        let deadline = tokio::time::Instant::now() + AGAIN;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return Ok(()),
                () = told(&mut self.leave) => return Err(Gone),
                Some(control) = self.control.recv() => {
                    let reply = Reply { ok: control.request == ControlRequest::Status, message: self.stuck.clone() };
                    let _ = control.reply.send(reply);
                }
            }
        }
    }

    /// Does a piece of work and listens meanwhile. `None`: something was asked for that changes what comes next, before
    /// the work was done.
    pub(super) async fn listen<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, Gone> {
        tokio::pin!(work);
        let (mut look, mut missed) = (tokio::time::interval(LOOK), 0);
        // One that was told before this began is on record first, too.
        let told_already = self.is_leaving() && (self.run.pause_wanted || self.run.phase != Phase::Running);
        let mut leave = self.leave.clone();
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                Some(event) = heard(&mut self.lease) => {
                    let aborts = self.run.aborts;
                    self.lease_event(event).await?;
                    if self.run.aborts != aborts {
                        return Ok(None);
                    }
                }
                () = told(&mut leave), if !told_already => {
                    // On record at once: whoever looks sees that it ends after this step.
                    if self.run.phase == Phase::Running && !self.run.pause_wanted {
                        self.append(Event::PauseWanted { by: by_signal() }).await?;
                    }
                    return Ok(None);
                }
                // A run whose folder was taken away is nobody's any more.
                _ = look.tick() => {
                    missed = if self.home.join("plan.json").try_exists().is_ok_and(|there| !there) { missed + 1 } else { 0 };
                    if missed > 1 {
                        return Err(Gone);
                    }
                }
                Some(control) = self.control.recv() => {
                    let before = (self.run.phase.clone(), self.run.aborts);
                    self.answer(control).await?;
                    if before != (self.run.phase.clone(), self.run.aborts) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Does what an operator asks for.
    async fn answer(&mut self, control: Control) -> Result<(), Gone> {
        let Control { request, by, until, reply } = control;
        // It may have waited here while something else was being written down.
        if until.is_some_and(|until| Clock::System.now() > until) {
            let _ = reply.send(Reply::no("that came too late: nothing was done"));
            return Ok(());
        }
        let event = match request {
            ControlRequest::Status => {
                let _ = reply.send(Reply { ok: true, message: self.stuck.clone() });
                return Ok(());
            }
            ControlRequest::Answer { asked, step, choice, note } => match &self.run.phase {
                Phase::Waiting { question } if asked == self.run.asked && question.step == step && question.choices.contains(&choice) => {
                    Event::Answered { step, choice, note: crate::base::secret::sanitize(&note), by }
                }
                Phase::Waiting { question } => {
                    let all: Vec<&str> = question.choices.iter().map(|c| c.word()).collect();
                    let _ = reply.send(Reply::no(format!("it asks something else by now, about `{}`: {}", question.step, all.join(", "))));
                    return Ok(());
                }
                _ => {
                    let _ = reply.send(Reply::no("nothing is asked now: somebody else may have answered"));
                    return Ok(());
                }
            },
            ControlRequest::Supersede { runbook, .. } if !self.gives_way(&runbook) => {
                let _ = reply.send(Reply::no("this is an emergency itself, and at work: it gives way to none but one of a wider scope"));
                return Ok(());
            }
            ControlRequest::Supersede { run, .. } => Event::SupersedeWanted { by, run: crate::base::secret::sanitize(&run) },
            ControlRequest::Pause => Event::PauseWanted { by },
            ControlRequest::Continue => Event::Continued { by },
            ControlRequest::Abort(wanted) => match self.refuses(&wanted) {
                Some(why) => {
                    let _ = reply.send(Reply::no(why));
                    return Ok(());
                }
                None => abort_wanted(by, wanted),
            },
        };
        self.append(event).await?;
        let _ = reply.send(Reply::yes());
        Ok(())
    }

    /// Why the run is not ended as somebody wants it.
    fn refuses(&self, wanted: &AbortRequest) -> Option<String> {
        if wanted.undo && self.lease.is_none() && self.plan.mutates() && !self.plan.content.only_pretends() {
            return Some("this runner only ends the run, and has not taken the environment: there is no undo from here".into());
        }
        self.run.has_turned(wanted.course?, wanted.undo)
    }

    /// Whether nothing is done now, and will not be before somebody says something.
    fn stands_still(&self) -> bool {
        matches!(self.run.phase, Phase::Waiting { .. } | Phase::Paused { .. })
    }

    /// Whether it ends for an emergency: one that is at work itself does so only for what takes back more than it does.
    fn gives_way(&self, runbook: &str) -> bool {
        let c = &self.plan.content;
        !c.emergency || self.stands_still() || is_wider(runbook, &c.runbook)
    }

    /// What has come of the lease goes on record.
    async fn lease_event(&mut self, event: LeaseEvent) -> Result<(), Gone> {
        match event {
            LeaseEvent::Note { text, loud } => self.append(Event::Noted { text, loud }).await,
            LeaseEvent::Wanted(wanted) if self.run.superseded_by.is_some() || !self.gives_way(&wanted.runbook) => Ok(()),
            LeaseEvent::Wanted(wanted) => self.append(Event::SupersedeWanted { by: wanted.by, run: wanted.run }).await,
        }
    }

    /// What was said of the lease so far goes on record.
    pub(super) async fn note_lease(&mut self) -> Result<(), Gone> {
        while let Some(event) = self.lease.as_mut().and_then(|lease| lease.events.try_recv().ok()) {
            self.lease_event(event).await?;
        }
        Ok(())
    }

    /// Whether the lease lets this run act. The first step of an emergency waits for nobody; everything else waits until it
    /// is known. What follows otherwise is on record when this comes back.
    pub(super) async fn check_lease(&mut self, first: bool) -> Result<bool, Gone> {
        let Some(lease) = &self.lease else { return Ok(true) };
        if self.plan.content.emergency && first {
            return Ok(true);
        }
        let (settled, check) = (lease.settled(), lease.check());
        let looking = async move {
            settled.await;
            check.await
        };
        let Some(check) = self.listen(looking).await? else { return Ok(false) };
        self.note_lease().await?;
        match check {
            // Asked to stop in the same moment.
            LeaseCheck::Ours => Ok(!self.run.is_aborting()),
            LeaseCheck::Superseded { by, words } => {
                self.append(Event::Noted { text: words, loud: true }).await?;
                self.append(Event::SupersedeWanted { by: ours(), run: by }).await?;
                Ok(false)
            }
            LeaseCheck::Lost(words) => {
                self.pause_beside(words).await?;
                Ok(false)
            }
        }
    }

    /// Whether the process was asked to end.
    pub(super) fn is_leaving(&self) -> bool {
        *self.leave.borrow()
    }
}

/// Comes back when the process is asked to end.
async fn told(leave: &mut watch::Receiver<bool>) {
    let _ = leave.wait_for(|leave| *leave).await;
}

/// What comes of the lease; for ever nothing, when there is none.
async fn heard(lease: &mut Option<Lease>) -> Option<LeaseEvent> {
    match lease {
        Some(lease) => lease.events.recv().await,
        None => std::future::pending().await,
    }
}

/// What goes on record of somebody who ends the run.
pub(super) fn abort_wanted(by: Operator, AbortRequest { undo, reason, .. }: AbortRequest) -> Event {
    Event::AbortWanted { by, undo, reason: crate::base::secret::sanitize(&reason) }
}

/// What the runner itself wants.
pub(super) fn ours() -> Operator {
    Operator { user: "lastgreen".into(), ..Operator::default() }
}

pub(super) fn by_signal() -> Operator {
    Operator { user: "signal SIGTERM".into(), ..Operator::default() }
}
