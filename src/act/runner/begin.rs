//! How a run begins, or is taken up again: on record, with the environment taken, and only where everything holds that has
//! to hold.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::control::AbortRequest;
use super::driver::{Driver, Gone, abort_wanted};
use super::lease::{self, LeaseOptions, Taking};
use crate::act::effect::processes;
use crate::base::endpoint::DatabaseOptions;
use crate::plan::runbook::{Event, Operator, RunResult, Runner};
use crate::record::journal::{Holder, Replay, StateDir, mark_begun};
use crate::record::notify::remember_notifications;

/// How often it is looked whether a program that was left behind is still at work.
const AGAIN: Duration = Duration::from_millis(100);

/// What is only needed to begin.
pub(super) struct Begin {
    pub(super) state: StateDir,
    pub(super) database: Option<DatabaseOptions>,
    pub(super) runner: Runner,
    pub(super) resumed_by: Option<Operator>,
    pub(super) abort: Option<AbortRequest>,
    pub(super) shared: Option<PathBuf>,
    pub(super) cut: u64,
    /// What has to be on record about how the run is driven.
    pub(super) remarks: Vec<String>,
}

impl Driver {
    /// Notifications that a runner before this one did not get to write.
    pub(super) fn remember_notifications(&mut self, replay: &Replay) {
        if !remember_notifications(&self.plan, &self.outbox, replay, self.clock.now()) {
            self.unkept.store(true, Ordering::SeqCst);
        }
    }

    /// What is written first: that the run was started, or that somebody took it up.
    fn beginning(&self, begin: &Begin) -> Event {
        if !self.journal.is_empty() {
            return Event::Resumed {
                by: begin.resumed_by.clone().unwrap_or_else(|| self.plan.by.clone()),
                runner: begin.runner.clone(),
                cut: begin.cut,
            };
        }
        let c = &self.plan.content;
        Event::Started {
            runbook: c.runbook.clone(),
            title: c.title.clone(),
            fingerprint: self.plan.fingerprint.clone(),
            environment: c.environment.name.clone(),
            tier: c.environment.tier,
            danger: c.danger,
            drill: c.drill,
            reason: c.reason.clone(),
            // One that was never begun may be begun by somebody else.
            by: begin.resumed_by.clone().unwrap_or_else(|| self.plan.by.clone()),
            runner: begin.runner.clone(),
        }
    }

    /// Puts the beginning on record, takes the environment, and checks what has to hold. Whether there is more to do.
    pub(super) async fn begin(&mut self, begin: Begin, begun: impl FnOnce(Result<(), String>)) -> Result<bool, Gone> {
        let fresh = self.journal.is_empty();
        if !fresh && self.run.is_over() {
            // Whoever ends it otherwise has not ended it.
            begun(if begin.abort.is_some() { Err("not aborted: the run is over since you looked".into()) } else { Ok(()) });
            return Ok(false);
        }
        if let Some(why) = begin.abort.as_ref().and_then(|wanted| self.run.has_turned(wanted.course?, wanted.undo)) {
            begun(Err(why));
            return Ok(false);
        }
        let event = self.beginning(&begin);
        if let Err(why) = self.take(&begin).await {
            if fresh {
                self.append(event).await?;
                self.append(Event::Ended { result: RunResult::Refused, message: why.clone() }).await?;
            }
            begun(Err(why));
            return Ok(false);
        }
        // Where not even the beginning can be written down, whoever asked is told at once.
        if let Err(e) = self.write(&event) {
            begun(Err(format!("nothing can be written down: {e}")));
            return Err(Gone);
        }
        if let Err(e) = mark_begun(&self.home) {
            log::warn!(target: "runner", "cannot mark the run as begun: {e}");
        }
        for text in begin.remarks {
            self.append(Event::Noted { text, loud: true }).await?;
        }
        self.note_lease().await?;
        let refused = if self.run.is_untouched() && begin.abort.is_none() { self.refused().await } else { None };
        if let Some(message) = refused {
            self.append(Event::Ended { result: RunResult::Refused, message: message.clone() }).await?;
            begun(Err(message));
            return Ok(false);
        }
        if let (Some(wanted), Some(by)) = (begin.abort, begin.resumed_by) {
            self.append(abort_wanted(by, wanted)).await?;
        }
        begun(Ok(()));
        if !fresh {
            self.wait_for_orphan().await?;
        }
        Ok(true)
    }

    /// A script that a runner left behind may still be at work: its end is waited for before anything else is done, and
    /// an abort ends it.
    async fn wait_for_orphan(&mut self) -> Result<(), Gone> {
        while !self.is_leaving() {
            let patience = if self.run.is_aborting() { Duration::ZERO } else { self.orphan_patience() };
            let home = self.home.clone();
            match self.listen(crate::act::effect::end_orphan(&home, patience)).await? {
                Some(Some(Ok(text))) => return self.append(Event::Noted { text, loud: false }).await,
                Some(Some(Err(text))) => {
                    return self.pause_beside(text).await;
                }
                Some(None) => return self.wait_for_programs().await,
                None => {}
            }
        }
        Ok(())
    }

    /// The same of programs that a step has begun otherwise: a switch, a release, a store of somebody's own.
    async fn wait_for_programs(&mut self) -> Result<(), Gone> {
        let Some(key) = self.run.current().map(|(key, _)| key.to_string()) else { return Ok(()) };
        let deadline = Instant::now() + self.orphan_patience();
        let mut said = false;
        loop {
            let left = processes::at_work(&self.id, &key, &self.home);
            let Some(first) = left.first() else { return Ok(()) };
            let number = first.as_raw_nonzero();
            if Instant::now() >= deadline || self.run.is_aborting() {
                if !processes::end(&left).await {
                    let text = format!("what step {key} had begun is still running and cannot be ended from here: process group {number}");
                    return self.pause_beside(text).await;
                }
                let text = format!("what step {key} had begun was still running (process group {number}), and was ended");
                return self.append(Event::Noted { text, loud: false }).await;
            }
            if !said {
                said = true;
                let text = format!("what step {key} has begun is still running (process group {number}), and is waited for");
                self.append(Event::Noted { text, loud: false }).await?;
            }
            if self.is_leaving() {
                return Ok(());
            }
            self.listen(tokio::time::sleep(AGAIN)).await?;
        }
    }

    /// How long a script that a runner left behind may still take.
    fn orphan_patience(&self) -> Duration {
        let current = self.run.current().and_then(|(key, step)| Some((self.plan.step(key)?.timeout?, step.started?)));
        match current {
            Some((timeout, started)) => timeout.saturating_sub(self.clock.now().since(started)),
            None => Duration::from_secs(10),
        }
    }

    /// Takes the environment, where this run can change it. An emergency begins while that is still going on.
    async fn take(&mut self, begin: &Begin) -> Result<(), String> {
        let only_ends = matches!(begin.abort, Some(AbortRequest { undo: false, .. }));
        if !self.plan.mutates() || self.plan.content.only_pretends() || only_ends {
            return Ok(());
        }
        let now = self.clock.now();
        let holder = Holder {
            run: self.id.clone(),
            runbook: self.plan.content.runbook.clone(),
            by: begin.resumed_by.clone().unwrap_or_else(|| self.plan.by.clone()),
            runner: begin.runner.clone(),
            since: now,
            beat: now,
            folder: Some(self.home.clone()),
            emergency: self.plan.content.emergency,
            idle: false,
        };
        let options = LeaseOptions {
            state: begin.state.clone(),
            environment: self.plan.content.environment.name.clone(),
            holder,
            database: begin.database.clone(),
            shared: begin.shared.clone(),
            clock: self.clock.clone(),
            idle: self.idle.clone(),
        };
        let lease = if self.plan.content.emergency {
            lease::take_in_emergency(options)
        } else {
            match lease::take(options).await? {
                Taking::Taken(lease) => lease,
                Taking::Refused(why) => return Err(why),
            }
        };
        self.lease = Some(lease);
        Ok(())
    }

    /// Why a plan is not begun, if it is not.
    async fn refused(&mut self) -> Option<String> {
        let now = self.clock.now();
        if now > self.plan.expires {
            return Some(format!("the plan expired at {}: make a new one", self.plan.expires.iso()));
        }
        let guard = &self.plan.content.guard;
        if guard.is_empty() {
            return None;
        }
        let outcome = crate::act::effect::look_once(&self.context, guard).await;
        (!outcome.is_done()).then(|| format!("the guard does not hold: {}", outcome.message))
    }
}
