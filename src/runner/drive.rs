//! The loop of a run: ask the run what comes next, write it down, do it, write down what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::begin::Begin;
use super::control::{self, Control, Reply, Request};
use super::guard::Keeping;
use super::letters::letters;
use super::post::Post;
use crate::base::clock::Clock;
use crate::effect::Reach;
use crate::journal::{Journal, JournalError, Outbox, Replay, StateDir, Watchpoint};
use crate::runbook::{Event, Next, Operator, Phase, Plan, Record, Run, RunResult, Runner};
use crate::source::DatabaseOptions;

/// What a run is driven with.
pub struct Setup {
    pub state: StateDir,
    pub id: String,
    pub plan: Plan,
    pub reach: Reach,
    /// Where records are mirrored to; where that is PostgreSQL, it also locks the environment across hosts.
    pub database: Option<DatabaseOptions>,
    pub watchpoint: Watchpoint,
    pub runner: Runner,
    /// Who takes the run up again, when it is one that was begun before.
    pub resumed_by: Option<Operator>,
    /// It is taken up only to be ended: whether what was done is to be undone.
    pub abort: Option<(bool, String)>,
    /// Something that two users of one host share and can lock, besides their own state folders.
    pub shared: Option<PathBuf>,
    /// Who may ask: through the socket beside the journal unless something else is given.
    pub control: Option<mpsc::Receiver<Control>>,
    /// Becomes true when the process is asked to end: the run is paused after its current step.
    pub leave: watch::Receiver<bool>,
    /// How long what is to be delivered is waited for at the end.
    pub patience: Duration,
}

/// How a runner left its run.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Over(RunResult, String),
    /// Paused: somebody resumes it later.
    Left,
}

pub(super) struct Driver {
    pub(super) plan: Plan,
    pub(super) run: Run,
    pub(super) reach: Reach,
    pub(super) id: String,
    pub(super) home: PathBuf,
    pub(super) outbox: Outbox,
    pub(super) watchpoint: Watchpoint,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    control: mpsc::Receiver<Control>,
    leave: watch::Receiver<bool>,
    /// The newest record that is on disk: what leaves the host goes as far as that.
    synced: watch::Sender<u64>,
    /// A letter could not be put into the outbox: it is put there again from the journal.
    pub(super) unkept: Arc<AtomicBool>,
    pub(super) held: Option<Keeping>,
    /// Why nothing can be written down.
    stuck: Option<String>,
}

/// The runner was asked to end while nothing could be written down.
pub(super) struct Gone;

/// How often the run's folder is looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Between tries to write down what could not be.
const AGAIN: Duration = Duration::from_millis(500);

/// Drives a run to its end, or until the process has to go. `begun` is called once it is on record.
///
/// # Errors
/// When there is nothing to drive: no journal, a broken one.
pub async fn drive(setup: Setup, begun: impl FnOnce(Result<(), String>)) -> Result<Ending, String> {
    let home = setup.state.run(&setup.id);
    let clock = setup.reach.clock.clone();
    let journal_at = home.join("journal.jsonl");
    let (journal, replay) = if journal_at.exists() {
        Journal::open(&home, &setup.id, setup.watchpoint.clone()).map_err(|e| e.to_string())?
    } else {
        (Journal::create(&home, &setup.id, setup.watchpoint.clone()).map_err(|e| e.to_string())?, Replay::default())
    };
    // Only now: whoever has the journal is the one to be asked.
    let (control, socket) = match setup.control {
        Some(control) => (control, None),
        None => (control::listen(&home).map_err(|e| format!("cannot listen beside the run: {e}"))?, Some(home.join(control::FILE))),
    };
    let run = Run::fold(&setup.plan, replay.lines.iter().map(|l| &l.record)).map_err(|e| format!("{}: {e}", journal_at.display()))?;
    let (synced, news) = watch::channel(run.seq);
    let unkept = Arc::new(AtomicBool::new(false));
    let (end_post, post_ends) = watch::channel(false);
    let post = Post {
        state: setup.state.clone(),
        run: setup.id.clone(),
        database: setup.database.clone(),
        clock: clock.clone(),
        watchpoint: setup.watchpoint.clone(),
        unkept: unkept.clone(),
    };
    let carrying = tokio::spawn(Arc::new(post).carry(news, post_ends, setup.patience));
    let mut driver = Driver {
        outbox: Outbox::new(&setup.state),
        plan: setup.plan,
        run,
        reach: setup.reach,
        id: setup.id,
        home,
        watchpoint: setup.watchpoint,
        clock,
        journal,
        control,
        leave: setup.leave,
        synced,
        unkept,
        held: None,
        stuck: None,
    };
    driver.remember_letters(&replay);
    let begin = Begin {
        state: setup.state,
        database: setup.database.filter(|database| !database.url.starts_with("sqlite:")),
        runner: setup.runner,
        resumed_by: setup.resumed_by,
        abort: setup.abort,
        shared: setup.shared,
        cut: replay.torn,
    };
    let ended = match driver.begin(begin, begun).await {
        Ok(true) => driver.lead().await,
        Ok(false) => Ok(()),
        Err(Gone) => Err(Gone),
    };
    if let Some(held) = driver.held.take() {
        held.let_go().await;
    }
    let ending = match (ended, &driver.run.phase) {
        (_, Phase::Ended { result, message }) => Ending::Over(*result, message.clone()),
        _ => Ending::Left,
    };
    // The journal and the socket first: what is still to be delivered must not keep anybody from taking the run up.
    if let Some(socket) = socket {
        let _ = std::fs::remove_file(socket);
    }
    drop(driver);
    let _ = end_post.send(true);
    // The post ends by itself, within its patience.
    let _ = carrying.await;
    Ok(ending)
}

impl Driver {
    /// From one thing to the next, until it is over or the process has to go.
    async fn lead(&mut self) -> Result<(), Gone> {
        loop {
            let settled = matches!(self.run.phase, Phase::Paused { .. } | Phase::Ended { .. });
            if self.is_leaving() && !self.run.pause_wanted && !settled {
                self.append(Event::PauseWanted { by: by_signal() }).await?;
            }
            match self.run.next(&self.plan) {
                Next::Over => return Ok(()),
                Next::Step(key) => self.step(&key).await?,
                Next::Retry(key) => self.retry(&key).await?,
                Next::Probe(key) => self.probe(&key).await?,
                Next::Conclude { step, outcome, message } => self.conclude(&step, outcome, message).await?,
                Next::Ask(question) => {
                    let planned = self.plan.step(&question.step).map(std::borrow::Cow::into_owned);
                    let settled = match &planned {
                        Some(planned) => self.settle(&question.step, planned).await?,
                        None => Some(true),
                    };
                    if settled.is_some() {
                        self.ask(question).await?;
                    }
                }
                Next::Pause => {
                    // Who wanted it stands in the record before.
                    let why = if self.is_leaving() { "the runner was asked to end" } else { "it was asked to pause" };
                    self.append(Event::Paused { why: why.into() }).await?;
                }
                Next::Rollback { why, steps } => drop(self.append(Event::RollbackStarted { why, steps }).await?),
                Next::Finish { result, message } => drop(self.append(Event::Ended { result, message }).await?),
                Next::Await => {
                    if self.is_leaving() {
                        if self.run.pause_wanted {
                            self.append(Event::Paused { why: "the runner was asked to end".into() }).await?;
                        }
                        return Ok(());
                    }
                    self.listen(std::future::pending::<()>()).await?;
                }
            }
        }
    }

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
        for letter in letters(&self.plan, &self.run, &line.record, self.clock.now()) {
            if let Err(e) = self.outbox.put(&letter) {
                log::warn!(target: "runner", "a letter could not be kept: {e}");
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
                    let reply = Reply { ok: control.request == Request::Status, message: self.stuck.clone() };
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
            Request::Status => {
                let _ = reply.send(Reply { ok: true, message: self.stuck.clone() });
                return Ok(());
            }
            Request::Answer { asked, step, choice, note } => match &self.run.phase {
                Phase::Waiting { question } if asked == self.run.asked && question.step == step && question.choices.contains(&choice) => {
                    Event::Answered { step, choice, note: crate::base::secret::outside(&note), by }
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
            Request::Pause => Event::PauseWanted { by },
            Request::Continue => Event::Continued { by },
            Request::Abort { undo: true, .. } if self.held.is_none() && self.plan.mutates() && !self.plan.content.drill => {
                let _ =
                    reply.send(Reply::no("this runner only ends the run, and has not taken the environment: there is no undo from here"));
                return Ok(());
            }
            Request::Abort { undo, reason } => Event::AbortWanted { by, undo, reason: crate::base::secret::outside(&reason) },
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

fn by_signal() -> Operator {
    Operator { user: "signal SIGTERM".into(), ..Operator::default() }
}
