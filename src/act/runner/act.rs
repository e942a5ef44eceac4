//! One step: whether it is needed, whether it may be done now, whether it is so already; then the deed.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::driver::{Driver, Gone, ours};
use crate::act::effect::{Invocation, Outcome, OutputLog, is_at_work, look_fresh, look_once, output_file, perform, settle_sql, stage};
use crate::plan::runbook::{
    Event, Kind, Occasion, OperatorQuestion, Output, Planned, QuestionKind, StepResult, StepState, fill, holds, render,
};
use crate::record::journal::FailpointAt;
use crate::record::notify::{Notification, Outbox};

/// How long a server is asked whether it is still at work on what has failed.
const SETTLING: Duration = Duration::from_secs(20);
/// How long a probe may take.
const PROBING: Duration = Duration::from_secs(30);

impl Driver {
    /// What templates of a step see, with what only the run knows.
    fn template_values(&self, planned: &Planned) -> Json {
        let mut values = self.run.context(&self.plan, planned);
        with_run(&mut values, &self.id);
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
    fn rendered(&self, planned: &Planned, kind: &Kind) -> Result<Kind, String> {
        let values = self.template_values(planned);
        let mut tree = serde_json::to_value(kind).map_err(|e| e.to_string())?;
        fill(&mut tree, &values)?;
        serde_json::from_value(tree).map_err(|e| e.to_string())
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
            with_run(&mut scope, &self.id);
            match holds(&when.expression, &scope) {
                Ok(true) => {}
                Ok(false) => return self.finish(key, StepResult::Skipped, format!("not needed: {}", when.expression)).await,
                Err(e) => return self.finish(key, StepResult::Failed, format!("when: {e}")).await,
            }
        }
        if self.plan.content.drill && planned.kind.mutates() {
            return self.finish(key, StepResult::Skipped, "a drill changes nothing").await;
        }
        let kind = match self.rendered(&planned, &planned.kind) {
            Ok(kind) => kind,
            Err(e) => return self.finish(key, StepResult::Failed, e).await,
        };
        if !planned.guard.is_empty() {
            let context = self.context.clone();
            let Some(came) = self.listen(look_once(&context, &planned.guard)).await? else { return Ok(()) };
            if !came.ok {
                return self.finish(key, StepResult::Failed, format!("the guard does not hold: {}", came.message)).await;
            }
        }
        // Not only before the first attempt: one that failed may have been done all the same.
        let uncertain = before.state == StepState::Pending && before.attempts == 0 || before.touched;
        if planned.probe.is_some() && uncertain && before.probed.is_none() {
            self.probe(key).await?;
            match self.run.steps.get(key).and_then(|s| s.probed) {
                Some(Some(true)) => return self.finish(key, StepResult::Done, "it was so already").await,
                Some(_) => {}
                // Something else was asked for meanwhile.
                None => return Ok(()),
            }
        }
        if let Kind::Script(script) = &kind
            && let Err(e) = stage(script, &self.home, key)
        {
            return self.not_staged(key, e).await;
        }
        self.append(Event::StepStarted { step: key.into(), attempt: before.attempts + 1, what: kind.describe() }).await?;
        match &kind {
            // The question follows from the record.
            Kind::Manual { .. } => Ok(()),
            Kind::Notify { channels, message } => self.notify(key, channels, message).await,
            _ => self.deed(key, &planned, &kind).await,
        }
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
        let mut came = self.perform(key, planned, kind, planned.timeout).await?;
        (self.failpoint)(FailpointAt::AfterEffect);
        if let (Kind::Sql(call), false, true) = (kind, came.ok, came.touched) {
            let (context, call, run, step) = (self.context.clone(), call.clone(), self.id.clone(), key.to_string());
            let settling = async move { tokio::time::timeout(SETTLING, settle_sql(&context, &call, &run, &step, Duration::ZERO)).await };
            if self.listen(settling).await? != Some(Ok(true)) {
                came.message += "; whether the server is still at it could not be told";
            }
        }
        let outcome = match (came.ok, self.run.aborts > 0 && came.message.starts_with("stopped")) {
            (true, _) => StepResult::Done,
            (false, true) => StepResult::Interrupted,
            (false, false) => StepResult::Failed,
        };
        self.append(Event::StepFinished {
            step: key.into(),
            outcome,
            message: came.message,
            touched: came.touched || came.ok && planned.undo.is_some(),
            took_ms: self.clock.now().since(begun).as_millis() as u64,
            output: came.output,
        })
        .await?;
        match is_at_work(&self.home) {
            Some(group) => {
                let number = group.as_raw_nonzero();
                self.pause_beside(format!("a script is still at work and cannot be ended from here: process group {number}")).await
            }
            None => Ok(()),
        }
    }

    /// Nothing more is done beside what goes on: somebody has to look.
    pub(super) async fn pause_beside(&mut self, text: String) -> Result<(), Gone> {
        self.append(Event::Noted { text, loud: true }).await?;
        if self.run.pause_wanted { Ok(()) } else { self.append(Event::PauseWanted { by: ours() }).await }
    }

    /// Does it, and listens meanwhile: an abort ends it at once, everything else waits for its end.
    async fn perform(&mut self, key: &str, planned: &Planned, kind: &Kind, timeout: Option<Duration>) -> Result<Outcome, Gone> {
        let (stop, stopped) = watch::channel(false);
        let (context, run, home) = (self.context.clone(), self.id.clone(), self.home.clone());
        let (folder, environment) = (planned.folder.clone(), self.plan.content.environment.name.clone());
        let (key, kind) = (key.to_string(), kind.clone());
        let aborts = self.run.aborts;
        // A task of its own, so that it goes on while something is written down.
        let mut work = tokio::spawn(async move {
            let mut tap = OutputLog::new(&output_file(&home, &key));
            let invocation = Invocation {
                run: &run,
                key: &key,
                kind: &kind,
                timeout,
                folder: &folder,
                home: &home,
                environment: &environment,
                stop: stopped,
            };
            let came = perform(&context, invocation, &mut tap).await;
            tap.finish();
            came
        });
        loop {
            match self.listen(&mut work).await? {
                Some(Ok(came)) => return Ok(came),
                // A panic in an effect is a failure whose deeds nobody knows.
                Some(Err(e)) => {
                    return Ok(Outcome { message: format!("ended in a fault of ours: {e}"), touched: true, ..Outcome::default() });
                }
                None if self.run.aborts > aborts => drop(stop.send(true)),
                None => {}
            }
        }
    }

    /// What the runner before this one has asked of a database may still be at work there: it is waited for. Whether it
    /// is over; `None`: something else was asked for meanwhile.
    pub(super) async fn settle(&mut self, key: &str, planned: &Planned) -> Result<Option<bool>, Gone> {
        let unknown = self.run.steps.get(key).is_some_and(|s| s.state == StepState::Unknown);
        let Kind::Sql(call) = &planned.kind else { return Ok(Some(true)) };
        if !unknown || !call.mutates {
            return Ok(Some(true));
        }
        let (context, call, run, key) = (self.context.clone(), call.clone(), self.id.clone(), key.to_string());
        let patience = planned.timeout.unwrap_or(PROBING);
        self.listen(settle_sql(&context, &call, &run, &key, patience)).await
    }

    /// Asks a step's probe, and puts on record what it says.
    pub(super) async fn probe(&mut self, key: &str) -> Result<(), Gone> {
        let Some(planned) = self.plan.step(key).map(Cow::into_owned) else { return Ok(()) };
        let Some(probe) = &planned.probe else { return Ok(()) };
        let Some(settled) = self.settle(key, &planned).await? else { return Ok(()) };
        let started = self.run.steps.get(key).and_then(|s| s.started);
        let came = match self.rendered(&planned, probe) {
            _ if !settled => Outcome { message: "whether the server is still at it cannot be told".into(), ..Outcome::default() },
            Err(e) => Outcome { message: e, ..Outcome::default() },
            Ok(Kind::Validation { checks, .. }) => {
                let context = self.context.clone();
                let looked = match started {
                    Some(since) => self.listen(look_fresh(&context, &checks, since, PROBING)).await?,
                    None => self.listen(look_once(&context, &checks)).await?,
                };
                match looked {
                    Some(came) => came,
                    None => return Ok(()),
                }
            }
            Ok(probe) => {
                let aborts = self.run.aborts;
                let timeout = probe.default_timeout().unwrap_or(PROBING).min(PROBING);
                let came = self.perform(key, &planned, &probe, Some(timeout)).await?;
                if self.run.aborts > aborts {
                    return Ok(());
                }
                came
            }
        };
        let already = if came.ok { Some(true) } else { came.certain.then_some(false) };
        self.append(Event::StepProbed { step: key.into(), already, message: came.message }).await
    }

    pub(super) async fn conclude(&mut self, key: &str, outcome: StepResult, message: String) -> Result<(), Gone> {
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

    /// Puts notifications into the outbox: the step is done when they are on disk.
    async fn notify(&mut self, key: &str, channels: &[String], message: &str) -> Result<(), Gone> {
        let now = self.clock.now();
        let message = if self.plan.content.drill { format!("DRILL: {message}") } else { message.to_string() };
        for name in channels {
            let Some(channel) = self.context.channels.get(name) else { continue };
            let mut lines = message.lines().map(crate::base::secret::sanitize);
            let notification = Notification {
                // The same at every attempt.
                id: format!("{}-{}", Outbox::id(&self.id, 0, name), key.replace('/', "__")),
                run: self.id.clone(),
                seq: self.run.seq,
                occasion: Occasion::Start,
                name: name.clone(),
                channel: channel.clone(),
                title: lines.next().unwrap_or_default(),
                lines: lines.collect(),
                environment: self.plan.content.environment.name.clone(),
                at: now,
                attempts: 0,
                next_try: now,
                error: None,
            };
            while let Err(e) = self.outbox.put(&notification) {
                if self.be_held(&e).await? {
                    return self.finish(key, StepResult::Failed, format!("not in the outbox: {e}")).await;
                }
            }
        }
        self.finish(key, StepResult::Done, format!("in the outbox for {}", channels.join(", "))).await
    }
}

fn with_run(values: &mut Json, id: &str) {
    if let Json::Object(map) = values {
        map.insert("run".into(), json!({"id": id}));
    }
}
