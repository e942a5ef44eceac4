//! One step: whether it is needed, whether it may be done now, whether it is so already; then the deed.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::driver::{Driver, Gone, ours};
use crate::act::effect::{Ended, Invocation, Outcome, OutputLog, Settled, acting, look_once, perform, stays_at_work};
use crate::base::clock::Stamp;
use crate::plan::runbook::{
    Event, Fill, Kind, NOT_NEEDED, OperatorQuestion, Output, Planned, ProbeAnswer, QuestionKind, StepResult, StepState, holds, render,
    render_with,
};
use crate::record::journal::FailpointAt;

/// How long a server is asked whether it is still at work on what has failed.
const SETTLING: Duration = Duration::from_secs(20);

impl Driver {
    /// What templates of a step see, with what only the run knows.
    fn template_values(&self, planned: &Planned) -> Json {
        let mut values = self.run.context(&self.plan, planned);
        with_run(&mut values, &self.id, self.plan.content.reason.as_deref());
        values
    }

    /// Asks, with what the run knows filled in.
    pub(super) async fn ask(&mut self, question: OperatorQuestion) -> Result<(), Gone> {
        let mut question = question;
        if let Some(planned) = self.plan.step(&question.step).map(Cow::into_owned) {
            let values = self.template_values(&planned);
            let filled = |text: &str| render(text, &values).unwrap_or_else(|e| format!("{text} ({e})"));
            if question.kind == QuestionKind::Manual {
                question.text = filled(&question.text);
                question.check = question.check.iter().map(|item| filled(item)).collect();
            }
        }
        if self.plan.content.drill {
            question.text = format!("DRILL: {}", question.text);
        }
        question.text = crate::base::secret::redact(&question.text).into_owned();
        self.append(Event::Asked { question }).await
    }

    /// A kind with the templates filled in that only the run knows.
    pub(super) fn rendered(&self, planned: &Planned, kind: &Kind) -> Result<Kind, String> {
        let values = self.template_values(planned);
        let mut render = |text: &str, typed: bool| render_with(&values, text, typed);
        let mut fill = Fill::new(&mut render);
        let mut kind = kind.clone();
        kind.fill(&mut fill);
        if fill.problems.is_empty() { Ok(kind) } else { Err(fill.problems.join("; ")) }
    }

    async fn finish(&mut self, key: &str, outcome: StepResult, message: impl Into<String>) -> Result<(), Gone> {
        self.append(Event::StepFinished {
            step: key.into(),
            outcome,
            message: message.into(),
            touched: false,
            took_ms: 0,
            output: Output::default(),
        })
        .await
    }

    /// Starts a step, or starts it again.
    pub(super) async fn step(&mut self, key: &str) -> Result<(), Gone> {
        let Some(planned) = self.plan.step(key).map(Cow::into_owned) else { return Ok(()) };
        let before = self.run.steps.get(key).cloned().unwrap_or_default();
        for when in &planned.when {
            let inputs = if when.prefix.is_empty() { &self.plan.content.inputs } else { &when.inputs };
            let mut scope = self.run.scope(&self.plan, &when.prefix, inputs);
            with_run(&mut scope, &self.id, self.plan.content.reason.as_deref());
            match holds(&when.expression, &scope) {
                Ok(true) => {}
                Ok(false) => return self.finish(key, StepResult::Skipped, format!("{NOT_NEEDED}: {}", when.expression)).await,
                Err(e) => return self.finish(key, StepResult::Failed, format!("when: {e}")).await,
            }
        }
        if planned.takes_back.as_ref().is_some_and(|of| !self.run.steps.get(of).is_some_and(|step| step.touched)) {
            return self.finish(key, StepResult::Skipped, format!("{NOT_NEEDED}: nothing was done that it takes back")).await;
        }
        if self.plan.content.only_pretends() && planned.kind.mutates() {
            return self.finish(key, StepResult::Skipped, "a drill of an earlier version changes nothing").await;
        }
        let kind = match self.rendered(&planned, &planned.kind) {
            Ok(kind) => kind,
            Err(e) => return self.finish(key, StepResult::Failed, e).await,
        };
        if !self.may_act(key, &kind).await? {
            return Ok(());
        }
        if let Some(held) = self.context.held.clone().filter(|_| matches!(kind, Kind::Traffic(_)) && !key.starts_with("undo/")) {
            let Some(said) = self.listen(tokio::task::spawn_blocking(move || held())).await? else { return Ok(()) };
            if let Ok(Err(why)) = said {
                return self.finish(key, StepResult::Failed, why).await;
            }
        }
        if !planned.guard.is_empty() {
            let context = self.context.clone();
            let Some(outcome) = self.listen(look_once(&context, &planned.guard)).await? else { return Ok(()) };
            if !outcome.is_done() {
                return self.finish(key, StepResult::Failed, format!("the guard does not hold: {}", outcome.message)).await;
            }
        }
        // Not only before the first attempt: one that failed may have been done all the same.
        let uncertain = before.state == StepState::Pending && before.attempts == 0 || before.touched;
        // A share of the traffic is set outright: one that looks right may be on its way elsewhere.
        let outright = matches!(&kind, Kind::Traffic(traffic) if traffic.weight() == Ok(Some(0)));
        if planned.probe.is_some() && uncertain && before.probed.is_none() && !outright {
            self.probe(key).await?;
            match self.run.steps.get(key).and_then(|s| s.probed) {
                Some(ProbeAnswer::Yes) => return self.finish(key, StepResult::Done, "it was so already").await,
                Some(ProbeAnswer::No | ProbeAnswer::Unknown) => {}
                // Something else was asked for meanwhile.
                Some(ProbeAnswer::UnderWay) | None => return Ok(()),
            }
        }
        if let Some(act) = acting(&kind)
            && let Err(e) = act.stage(&self.home, key)
        {
            return self.not_staged(key, e).await;
        }
        self.append(Event::StepStarted { step: key.into(), attempt: before.attempts + 1, what: kind.describe() }).await?;
        // What is only asked follows from the record.
        if acting(&kind).is_none() { Ok(()) } else { self.deed(key, &planned, &kind).await }
    }

    /// Whether this run may still change the world: what its lease says. Otherwise what follows is on record already.
    async fn may_act(&mut self, key: &str, kind: &Kind) -> Result<bool, Gone> {
        if !kind.mutates() {
            return Ok(true);
        }
        // Every attempt of the first step: one that fails must not make the next one wait.
        let first = self.run.steps.iter().all(|(other, step)| other == key || !step.touched && step.attempts == 0);
        self.check_lease(first).await
    }

    /// What a script needs could not be put on disk: without room the run waits, beside a script that cannot be ended it
    /// pauses, and anything else is a failure of the step.
    async fn not_staged(&mut self, key: &str, e: std::io::Error) -> Result<(), Gone> {
        match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound => {
                self.be_held(&e).await.map(drop)
            }
            ErrorKind::ResourceBusy => self.pause_beside(e.to_string()).await,
            _ => self.finish(key, StepResult::Failed, format!("the script cannot be written: {e}")).await,
        }
    }

    async fn deed(&mut self, key: &str, planned: &Planned, kind: &Kind) -> Result<(), Gone> {
        let begun = self.clock.now();
        (self.failpoint)(FailpointAt::BeforeEffect);
        let mut outcome = self.perform(key, planned, kind, planned.timeout, None).await?;
        while outcome.ended == Ended::NoRoom {
            if self.be_held(&outcome.message).await? {
                break;
            }
            outcome = self.perform(key, planned, kind, planned.timeout, None).await?;
        }
        (self.failpoint)(FailpointAt::AfterEffect);
        if !outcome.is_done() && outcome.touched {
            self.settle_failure(key, kind, &mut outcome).await?;
        }
        let result = match outcome.ended {
            Ended::Done => StepResult::Done,
            Ended::Stopped if self.run.is_aborting() => StepResult::Interrupted,
            // Its probe tells what became of it.
            Ended::UnderWay if planned.probe.is_some() => StepResult::Unsettled,
            Ended::Stopped | Ended::UnderWay | Ended::Failed | Ended::Otherwise | Ended::NoRoom => StepResult::Failed,
        };
        self.append(Event::StepFinished {
            step: key.into(),
            outcome: result,
            touched: outcome.touched || outcome.is_done() && planned.undo.is_some(),
            message: outcome.message,
            took_ms: self.clock.now().since(begun).as_millis() as u64,
            output: outcome.output,
        })
        .await?;
        match stays_at_work(&self.home).await {
            Some(left) => self.pause_beside(format!("still at work, and cannot be ended from here: {left}")).await,
            None => Ok(()),
        }
    }

    /// Ends what is still at it where that can be done, and says so where it cannot.
    async fn settle_failure(&mut self, key: &str, kind: &Kind, outcome: &mut Outcome) -> Result<(), Gone> {
        let (context, kind, run, key) = (self.context.clone(), kind.clone(), self.id.clone(), key.to_string());
        let settling = async move {
            match acting(&kind) {
                Some(act) => tokio::time::timeout(SETTLING, act.settle(&context, &run, &key, true)).await.ok(),
                None => Some(Settled::Over),
            }
        };
        match self.listen(settling).await?.flatten() {
            // It was ended there: nothing goes on.
            Some(Settled::Over) if outcome.ended == Ended::UnderWay => outcome.ended = Ended::Failed,
            Some(Settled::Over) => {}
            Some(Settled::Lingers) if outcome.ended == Ended::UnderWay => outcome.message += "; whoever was asked may still be at it",
            Some(Settled::Lingers) => {}
            Some(Settled::UnderWay(_) | Settled::Unknown(_)) | None => {
                outcome.message += "; whether the server is still at it could not be told";
            }
        }
        Ok(())
    }

    /// Nothing more is done beside what goes on: somebody has to look.
    pub(super) async fn pause_beside(&mut self, text: String) -> Result<(), Gone> {
        self.append(Event::Noted { text, loud: true }).await?;
        if self.run.pause_wanted { Ok(()) } else { self.append(Event::PauseWanted { by: ours() }).await }
    }

    /// Does it, and listens meanwhile: an abort ends it at once, everything else waits for its end.
    pub(super) async fn perform(
        &mut self,
        key: &str,
        planned: &Planned,
        kind: &Kind,
        timeout: Option<Duration>,
        newer_than: Option<Stamp>,
    ) -> Result<Outcome, Gone> {
        let (stop, stopped) = watch::channel(false);
        let (context, run, home) = (self.context.clone(), self.id.clone(), self.home.clone());
        let (by, reason) = (self.plan.by.user.clone(), self.plan.content.reason.clone().unwrap_or_default());
        let (folder, environment) = (planned.folder.clone(), self.plan.content.environment.name.clone());
        let (key, kind) = (key.to_string(), kind.clone());
        let aborts = self.run.aborts;
        // A task of its own, so that it goes on while something is written down.
        let mut work = tokio::spawn(async move {
            let mut log = OutputLog::new(&home, &key);
            let invocation = Invocation {
                run: &run,
                key: &key,
                timeout,
                folder: &folder,
                home: &home,
                environment: &environment,
                by: &by,
                reason: &reason,
                newer_than,
                stop: stopped,
            };
            let outcome = perform(&context, &kind, invocation, &mut log).await;
            log.finish();
            outcome
        });
        loop {
            match self.listen(&mut work).await? {
                Some(Ok(outcome)) => return Ok(outcome),
                // A panic in an effect is a failure whose deeds nobody knows.
                Some(Err(e)) => return Ok(Outcome::failed(format!("ended in a fault of ours: {e}"), true)),
                None if self.run.aborts > aborts => drop(stop.send(true)),
                None => {}
            }
        }
    }

    /// What a runner before this one has left in the middle of a step is not left so, where that cannot stay.
    async fn left_whole(&self, key: &str) -> Option<String> {
        let unknown = self.run.steps.get(key).is_some_and(|step| step.state == StepState::Unknown);
        let planned = self.plan.step(key).filter(|_| unknown)?;
        let act = acting(&planned.kind)?;
        match tokio::time::timeout(SETTLING, act.leave_whole(&self.context, &self.id)).await {
            Ok(Ok(done)) => (!done.is_empty()).then(|| done.join("; ")),
            Ok(Err(fault)) => Some(format!("whether it stays in the middle cannot be told: {}", fault.message)),
            Err(_) => Some("whether it stays in the middle cannot be told: nobody answers".into()),
        }
    }

    pub(super) async fn conclude(&mut self, key: &str, outcome: StepResult, message: String) -> Result<(), Gone> {
        let message = match self.left_whole(key).await {
            Some(done) => format!("{message}; {done}"),
            None => message,
        };
        let mutates = self.plan.step(key).is_some_and(|s| s.kind.mutates() || s.undo.is_some());
        let started = self.run.steps.get(key).and_then(|s| s.started);
        self.append(Event::StepFinished {
            step: key.into(),
            outcome,
            message,
            touched: mutates && outcome != StepResult::Skipped,
            took_ms: started.map_or(0, |at| self.clock.now().since(at).as_millis() as u64),
            output: Output::default(),
        })
        .await
    }

    /// Tries a failed step again, after a pause that grows.
    pub(super) async fn retry(&mut self, key: &str) -> Result<(), Gone> {
        let attempts = self.run.steps.get(key).map_or(1, |s| s.attempts);
        let backoff = self.plan.step(key).and_then(|s| s.retry).map_or(Duration::ZERO, |r| r.backoff);
        let pause = backoff.saturating_mul(1 << attempts.saturating_sub(1).min(6));
        let waited = self.listen(tokio::time::sleep(pause)).await?;
        // Whoever asked for something meanwhile decides what comes next.
        if waited.is_some() && !self.is_leaving() && !self.run.pause_wanted { self.step(key).await } else { Ok(()) }
    }
}

fn with_run(values: &mut Json, id: &str, reason: Option<&str>) {
    if let Json::Object(map) = values {
        map.insert("run".into(), json!({"id": id, "reason": reason.unwrap_or("")}));
    }
}
