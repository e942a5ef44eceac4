//! The loop of a run: ask the run what comes next, write it down, do it, write down what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::{mpsc, watch};

use super::begin::Begin;
use super::control::{self, AbortRequest, Control};
use super::driver::{Driver, Gone, by_signal};
use super::outgoing::StepNotifications;
use crate::act::effect::{Context, Settled, left_at_work};
use crate::base::endpoint::DatabaseOptions;
use crate::plan::runbook::{Channel, Event, Next, Operator, Phase, Plan, Run, RunResult, Runner};
use crate::record::journal::{Failpoint, Journal, JournalError, StateDir};
use crate::record::notify::{Deliverer, Outbox};

/// What a run is driven with.
pub struct Setup {
    pub state: StateDir,
    pub id: String,
    pub plan: Plan,
    pub context: Context,
    /// Where messages of steps may go.
    pub channels: IndexMap<String, Channel>,
    /// Where records are mirrored to; where that is PostgreSQL, it also locks the environment across hosts.
    pub database: Option<DatabaseOptions>,
    pub failpoint: Failpoint,
    pub runner: Runner,
    /// Who takes the run up again, when it is one that was begun before.
    pub resumed_by: Option<Operator>,
    /// It is taken up only to be ended: whether what was done is to be undone.
    pub abort: Option<AbortRequest>,
    /// Something that two users of one host share and can lock, besides their own state folders.
    pub shared: Option<PathBuf>,
    /// Who may ask: through the socket beside the journal unless something else is given.
    pub control: Option<mpsc::Receiver<Control>>,
    /// Becomes true when the process is asked to end: the run is paused after its current step.
    pub leave: watch::Receiver<bool>,
    /// How long what is to be delivered is waited for at the end.
    pub patience: Duration,
    /// What has to be on record about how the run is driven.
    pub remarks: Vec<String>,
    /// What is to be done when the run is over, told how it ended and how long it took.
    pub over: Option<WhenOver>,
}

/// What is to be done when a run is over.
pub type WhenOver = Box<dyn FnOnce(RunResult, Duration) + Send>;

/// Why there is nothing to drive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriveError {
    #[error("another runner drives this run")]
    Driven,
    #[error("{0}")]
    Failed(String),
}

impl From<JournalError> for DriveError {
    fn from(error: JournalError) -> DriveError {
        match error {
            JournalError::Driven { .. } => DriveError::Driven,
            other => DriveError::Failed(other.to_string()),
        }
    }
}

/// How a runner left its run.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Over(RunResult, String),
    /// Paused: somebody resumes it later.
    Left,
}

/// How long the post goes on when the runner is told to end.
const HURRY: Duration = Duration::from_secs(5);

/// Drives a run to its end, or until the process has to go. `begun` is called once it is on record.
///
/// # Errors
/// When there is nothing to drive: no journal, a broken one.
pub async fn drive(setup: Setup, begun: impl FnOnce(Result<(), String>)) -> Result<Ending, DriveError> {
    let home = setup.state.run(&setup.id);
    let clock = setup.context.clock.clone();
    let journal_at = home.join("journal.jsonl");
    let (journal, replay) = Journal::open(&home, &setup.id, setup.failpoint.clone()).map_err(DriveError::from)?;
    // Only now: whoever has the journal is the one to be asked.
    let (control, socket) = match setup.control {
        Some(control) => (control, None),
        None => (
            control::listen(&home).map_err(|e| DriveError::Failed(format!("cannot listen beside the run: {e}")))?,
            Some(home.join(control::FILE)),
        ),
    };
    let run = Run::fold(&setup.plan, replay.lines.iter().map(|l| &l.record))
        .map_err(|e| DriveError::Failed(format!("{}: {e}", journal_at.display())))?;
    let outgoing = StepNotifications {
        outbox: Outbox::new(&setup.state),
        channels: setup.channels,
        run: setup.id.clone(),
        environment: setup.plan.content.environment.name.clone(),
        drill: setup.plan.content.drill,
        clock: clock.clone(),
    };
    let context = Context { outgoing: Arc::new(outgoing), ..setup.context };
    let (synced, news) = watch::channel(run.seq);
    let unkept = Arc::new(AtomicBool::new(false));
    let (end_post, post_ends) = watch::channel(false);
    let post = Deliverer {
        state: setup.state.clone(),
        run: setup.id.clone(),
        database: setup.database.clone(),
        clock: clock.clone(),
        failpoint: setup.failpoint.clone(),
        unkept: unkept.clone(),
    };
    let mut leaves = setup.leave.clone();
    let carrying = tokio::spawn(Arc::new(post).carry(news, post_ends, setup.patience));
    let mut driver = Driver {
        idle: Arc::default(),
        outbox: Outbox::new(&setup.state),
        state: setup.state.clone(),
        plan: setup.plan,
        run,
        context,
        id: setup.id,
        home,
        failpoint: setup.failpoint,
        clock,
        journal,
        control,
        leave: setup.leave,
        synced,
        unkept,
        lease: None,
        stuck: None,
    };
    driver.remember_notifications(&replay);
    let begin = Begin {
        state: setup.state,
        database: setup.database.filter(|database| !database.is_sqlite()),
        runner: setup.runner,
        resumed_by: setup.resumed_by,
        abort: setup.abort,
        shared: setup.shared,
        cut: replay.torn,
        remarks: setup.remarks,
    };
    let ended = match driver.begin(begin, begun).await {
        Ok(true) => driver.lead().await,
        Ok(false) => Ok(()),
        Err(Gone) => Err(Gone),
    };
    if let Some(lease) = driver.lease.take() {
        lease.let_go().await;
    }
    if driver.run.is_over() && left_at_work(&driver.home).is_none() {
        driver.state.close_run(&driver.id);
    }
    let ending = match (ended, &driver.run.phase) {
        (_, Phase::Ended { result, message }) => Ending::Over(*result, message.clone()),
        _ => Ending::Left,
    };
    if let (Ending::Over(result, _), Some(over)) = (&ending, setup.over) {
        let took = driver.run.started.zip(driver.run.ended).map_or(Duration::ZERO, |(began, ended)| ended.since(began));
        over(*result, took);
    }
    // The journal and the socket first: what is still to be delivered must not keep anybody from taking the run up.
    if let Some(socket) = socket {
        let _ = std::fs::remove_file(socket);
    }
    drop(driver);
    let _ = end_post.send(true);
    // The post ends by itself, within its patience; who is told to end hurries, and a later process brings what is left.
    let hurried = async {
        if leaves.wait_for(|leaves| *leaves).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(HURRY).await;
    };
    tokio::select! {
        _ = carrying => {}
        () = hurried => {}
    }
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
                        None => Some(Settled::Over),
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
}
