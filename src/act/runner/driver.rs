//! The hands of a runner: writing down what happened, listening while something is done, and doing what it is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::control::{Control, ControlRequest, Reply};
use super::guard::Keeping;
use crate::act::effect::Context;
use crate::base::clock::Clock;
use crate::plan::runbook::{Event, Operator, Phase, Plan, Record, Run};
use crate::record::journal::{Failpoint, Journal, JournalError};
use crate::record::notify::{Outbox, notifications};

pub(super) struct Driver {
    pub(super) plan: Plan,
    pub(super) run: Run,
    pub(super) context: Context,
    pub(super) id: String,
    pub(super) home: PathBuf,
    pub(super) outbox: Outbox,
    pub(super) failpoint: Failpoint,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) leave: watch::Receiver<bool>,
    /// The newest record that is on disk: what leaves the host goes as far as that.
    pub(super) synced: watch::Sender<u64>,
    /// A notification could not be put into the outbox: it is put there again from the journal.
    pub(super) unkept: Arc<AtomicBool>,
    pub(super) held: Option<Keeping>,
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
        let leaving = self.is_leaving();
        let mut leave = self.leave.clone();
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                Some((text, loud)) = noted(&mut self.held) => self.append(Event::Noted { text, loud }).await?,
                () = told(&mut leave), if !leaving => {
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
        let Control { request, by, reply } = control;
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
            ControlRequest::Pause => Event::PauseWanted { by },
            ControlRequest::Continue => Event::Continued { by },
            ControlRequest::Abort { undo: true, .. } if self.held.is_none() && self.plan.mutates() && !self.plan.content.drill => {
                let _ =
                    reply.send(Reply::no("this runner only ends the run, and has not taken the environment: there is no undo from here"));
                return Ok(());
            }
            ControlRequest::Abort { undo, reason } => Event::AbortWanted { by, undo, reason: crate::base::secret::sanitize(&reason) },
        };
        self.append(event).await?;
        let _ = reply.send(Reply::yes());
        Ok(())
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

/// What is to be said about the environment being held; for ever nothing, when it is not.
async fn noted(held: &mut Option<Keeping>) -> Option<(String, bool)> {
    match held {
        Some(held) => held.notes.recv().await,
        None => std::future::pending().await,
    }
}

/// What the runner itself wants.
pub(super) fn ours() -> Operator {
    Operator { user: "lastgreen".into(), ..Operator::default() }
}

pub(super) fn by_signal() -> Operator {
    Operator { user: "signal SIGTERM".into(), ..Operator::default() }
}
