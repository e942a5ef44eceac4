//! A run: a pure fold over its journal, with a table of what can follow what. Whoever drives a run writes down what is
//! going to happen, does it, and writes down what came of it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::event::{Choice, Event, Operator, OperatorQuestion, Output, ProbeAnswer, QuestionKind, Record, RunResult, Runner, StepResult};
use super::plan::{Plan, Planned};
use crate::base::clock::Stamp;

/// How the message of a step begins whose condition did not hold.
pub const NOT_NEEDED: &str = "not needed";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    #[default]
    Pending,
    Running,
    /// Started by a runner that is gone: nobody knows how it ended.
    Unknown,
    Done,
    Failed,
    Skipped,
    Interrupted,
}

impl StepState {
    pub fn word(self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Running => "running",
            StepState::Unknown => "unknown",
            StepState::Done => "done",
            StepState::Failed => "failed",
            StepState::Skipped => "skipped",
            StepState::Interrupted => "interrupted",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, StepState::Done | StepState::Failed | StepState::Skipped | StepState::Interrupted)
    }
}

/// One step of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepRun {
    pub state: StepState,
    pub attempts: u32,
    pub started: Option<Stamp>,
    pub ended: Option<Stamp>,
    pub message: String,
    /// Whether the world may be different because of it.
    pub touched: bool,
    pub output: Output,
    /// What the probe said since the step was last started, if it was asked.
    pub probed: Option<ProbeAnswer>,
    /// It was not seen to end within its time-out.
    pub unsettled: bool,
    pub answer: Option<(Choice, String)>,
    /// Failed, and dealt with: the run has gone on.
    pub settled: bool,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The journal has no record yet.
    New,
    Running,
    Waiting {
        question: OperatorQuestion,
    },
    Paused {
        why: String,
    },
    Ended {
        result: RunResult,
        message: String,
    },
}

/// A record that cannot follow what came before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {what}")]
pub struct Broken {
    pub seq: u64,
    pub what: String,
}

/// The way back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Back {
    pub why: String,
    pub steps: Vec<String>,
    /// How many aborts had been asked for when it began: one more ends it.
    pub aborts: u32,
}

/// Where a run is going, as far as an abort turns it: what somebody had seen of that when they decided to abort it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    pub aborts: u32,
    pub goes_back: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub phase: Phase,
    pub steps: IndexMap<String, StepRun>,
    pub by: Operator,
    pub runner: Runner,
    pub started: Option<Stamp>,
    pub ended: Option<Stamp>,
    pub pause_wanted: bool,
    /// How often somebody wanted it to end, and whether with undo.
    pub aborts: u32,
    pub undo_wanted: bool,
    /// The emergency that it gives way to.
    pub superseded_by: Option<String>,
    pub rollback: Option<Back>,
    pub notes: Vec<(Stamp, String, bool)>,
    pub seq: u64,
    /// The record that asked last: an answer names it, so that it cannot be taken for an answer to something else.
    pub asked: u64,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            phase: Phase::New,
            steps: IndexMap::new(),
            by: Operator::default(),
            runner: Runner::default(),
            started: None,
            ended: None,
            pause_wanted: false,
            aborts: 0,
            undo_wanted: false,
            superseded_by: None,
            rollback: None,
            notes: Vec::new(),
            seq: 0,
            asked: 0,
        }
    }
}

impl Run {
    /// Folds a journal.
    ///
    /// # Errors
    /// The first record that cannot follow.
    pub fn fold<'r>(plan: &Plan, records: impl IntoIterator<Item = &'r Record>) -> Result<Run, Broken> {
        let mut run = Run::default();
        for record in records {
            run.apply(plan, record)?;
        }
        Ok(run)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether it has gone all of its way back.
    pub fn is_undone(&self) -> bool {
        let done = |key: &String| self.steps.get(key).is_some_and(|step| step.state == StepState::Done);
        self.rollback.as_ref().is_some_and(|back| back.steps.iter().all(done))
    }

    /// Whether what was done is being undone: whoever ends it now cuts that off.
    pub fn is_going_back(&self) -> bool {
        self.rollback.is_some() && self.current().is_some_and(|(_, step)| step.state == StepState::Running)
    }

    pub fn course(&self) -> Course {
        Course { aborts: self.aborts, goes_back: self.rollback.is_some() }
    }

    /// Why an abort that was decided on when the run was seen on such a course is not what it was meant to be any more, in words. Who
    /// wants what it is at already has it.
    pub fn has_turned(&self, seen: Course, undo: bool) -> Option<String> {
        let course = self.course();
        let is_undone = self.undo_wanted || course.goes_back;
        if seen == course || undo == is_undone {
            return None;
        }
        let how = match (course.aborts > seen.aborts, self.undo_wanted) {
            (true, true) => "somebody else has aborted it, to be undone",
            (true, false) => "somebody else has aborted it, to be left as it is",
            (false, _) => "a step has failed, and it goes back by itself",
        };
        Some(format!("not aborted: {how}, since you looked; look again, and abort it once more where that is not to be"))
    }

    /// Whether nothing of it has been begun yet.
    pub fn is_untouched(&self) -> bool {
        self.steps.values().all(|step| step.state == StepState::Pending && step.attempts == 0)
    }

    /// The step that runs, or whose end is not known.
    pub fn current(&self) -> Option<(&String, &StepRun)> {
        self.steps.iter().find(|(_, s)| matches!(s.state, StepState::Running | StepState::Unknown))
    }

    /// The runbook that leads on by hand from the step that failed last.
    pub fn by_hand(&self, plan: &Plan) -> Option<String> {
        let failed = self.steps.iter().rfind(|(_, step)| step.state == StepState::Failed);
        plan.step(failed?.0)?.by_hand.clone()
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// Says why it cannot stand here; the run is as it was.
    pub fn apply(&mut self, plan: &Plan, record: &Record) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken { seq: record.seq, what });
        if record.seq != self.seq + 1 {
            return broken(format!("follows record {}", self.seq));
        }
        match (&self.phase, &record.event) {
            (Phase::New, Event::Started { .. }) => {}
            (Phase::New, _) => return broken("a journal begins with `started`".into()),
            (_, Event::Started { .. }) => return broken("the run has started already".into()),
            (Phase::Ended { .. }, _) => return broken("the run is over".into()),
            _ => {}
        }
        if let Some(step) = record.event.step()
            && plan.step(step).is_none()
        {
            return broken(format!("the plan has no step `{step}`"));
        }
        if let Err(what) = self.transition(plan, record) {
            return broken(what);
        }
        self.seq = record.seq;
        Ok(())
    }

    /// The transition table.
    fn transition(&mut self, plan: &Plan, record: &Record) -> Result<(), String> {
        let at = record.at;
        match &record.event {
            Event::Started { by, runner, fingerprint, .. } => {
                if *fingerprint != plan.fingerprint {
                    return Err("the plan beside this journal is not the one the run began with".into());
                }
                self.phase = Phase::Running;
                (self.by, self.runner, self.started) = (by.clone(), runner.clone(), Some(at));
                self.steps = plan.content.steps.iter().map(|s| (s.key.clone(), StepRun::default())).collect();
            }
            Event::Resumed { runner, .. } => {
                self.runner = runner.clone();
                for (key, step) in self.steps.iter_mut().filter(|(_, s)| !s.state.is_over()) {
                    // What a probe said then may not be so now.
                    step.probed = None;
                    // A question that is open stays open; everything else was cut off in the middle.
                    if step.state == StepState::Running && !matches!(self.phase, Phase::Waiting { .. }) {
                        step.state = StepState::Unknown;
                        step.touched |= plan.step(key).is_some_and(|s| s.kind.mutates());
                    }
                }
                if let Phase::Paused { .. } = self.phase {
                    self.phase = Phase::Running;
                }
                self.pause_wanted = false;
            }
            Event::StepStarted { step, attempt, .. } => {
                let s = self.open_step(step)?;
                if s.state == StepState::Running {
                    return Err(format!("step `{step}` runs already"));
                }
                *s = StepRun { state: StepState::Running, attempts: *attempt, started: Some(at), touched: s.touched, ..StepRun::default() };
            }
            Event::StepProbed { step, answer, .. } => self.open_step(step)?.probed = Some(*answer),
            Event::StepFinished { step, outcome, message, touched, output, .. } => {
                let s = self.open_step(step)?;
                if s.state == StepState::Failed {
                    // A further attempt that did not come to its start.
                    s.attempts += 1;
                }
                if *outcome == StepResult::Unsettled {
                    (s.state, s.unsettled, s.probed) = (StepState::Unknown, true, None);
                    (s.message, s.touched) = (message.clone(), true);
                    return Ok(());
                }
                s.state = match outcome {
                    StepResult::Done => StepState::Done,
                    StepResult::Failed => StepState::Failed,
                    StepResult::Skipped => StepState::Skipped,
                    StepResult::Interrupted | StepResult::Unsettled => StepState::Interrupted,
                };
                s.ended = Some(at);
                s.started = s.started.or(Some(at));
                s.message.clone_from(message);
                s.touched |= *touched;
                s.output = output.clone();
                s.settled = false;
                s.answer = None;
            }
            Event::Asked { question } => {
                if !self.steps.contains_key(&question.step) {
                    return Err(format!("step `{}` is not part of this run", question.step));
                }
                self.phase = Phase::Waiting { question: question.clone() };
                self.asked = record.seq;
            }
            Event::Answered { step, choice, note, .. } => self.answered(step, *choice, note)?,
            Event::PauseWanted { .. } => self.pause_wanted = true,
            Event::Paused { why } => {
                if !matches!(self.phase, Phase::Waiting { .. }) {
                    self.phase = Phase::Paused { why: why.clone() };
                }
                self.pause_wanted = false;
            }
            Event::Continued { .. } => {
                self.pause_wanted = false;
                if let Phase::Paused { .. } = self.phase {
                    self.phase = Phase::Running;
                }
            }
            Event::AbortWanted { undo, .. } => {
                // Who wants it undone while it is being undone has it already.
                if !(*undo && self.rollback.is_some()) {
                    self.aborts += 1;
                    self.undo_wanted = *undo;
                }
                self.pause_wanted = false;
                self.phase = Phase::Running;
            }
            Event::SupersedeWanted { run, .. } => {
                self.aborts += 1;
                (self.undo_wanted, self.pause_wanted) = (false, false);
                self.superseded_by = Some(run.clone());
                self.phase = Phase::Running;
            }
            Event::RollbackStarted { why, steps } => {
                for key in steps {
                    if plan.step(key).is_none() {
                        return Err(format!("the plan has no step `{key}`"));
                    }
                    self.steps.entry(key.clone()).or_default();
                }
                for step in self.steps.values_mut().filter(|s| s.state == StepState::Failed) {
                    step.settled = true;
                }
                self.rollback = Some(Back { why: why.clone(), steps: steps.clone(), aborts: self.aborts });
                self.phase = Phase::Running;
            }
            Event::Noted { text, loud } => self.notes.push((at, text.clone(), *loud)),
            Event::Ended { result, message } => {
                self.phase = Phase::Ended { result: *result, message: message.clone() };
                self.ended = Some(at);
            }
        }
        Ok(())
    }

    /// A step of this run that may still change.
    fn open_step(&mut self, key: &str) -> Result<&mut StepRun, String> {
        if matches!(self.phase, Phase::Paused { .. }) {
            return Err("the run is paused".into());
        }
        match self.steps.get_mut(key) {
            None => Err(format!("step `{key}` is not part of this run")),
            Some(step) if matches!(step.state, StepState::Done | StepState::Skipped | StepState::Interrupted) => {
                Err(format!("step `{key}` is over already"))
            }
            Some(step) => Ok(step),
        }
    }

    fn answered(&mut self, key: &str, choice: Choice, note: &str) -> Result<(), String> {
        let Phase::Waiting { question } = &self.phase else { return Err("nothing was asked".into()) };
        if question.step != *key {
            return Err(format!("the question was about `{}`", question.step));
        }
        if !question.choices.contains(&choice) {
            return Err(format!("`{}` was no choice", choice.word()));
        }
        let kind = question.kind;
        self.phase = Phase::Running;
        let step = self.steps.get_mut(key).ok_or("no such step")?;
        if kind == QuestionKind::Failure {
            // What was asked about is over; only what follows was open.
            match choice {
                Choice::Again => *step = StepRun { attempts: step.attempts, touched: step.touched, ..StepRun::default() },
                Choice::Skip => step.settled = true,
                _ => step.answer = Some((choice, note.to_string())),
            }
        } else {
            step.answer = Some((choice, note.to_string()));
        }
        Ok(())
    }

    /// What templates of a step can see.
    pub fn context(&self, plan: &Plan, planned: &Planned) -> Json {
        let key = planned.key.strip_prefix("undo/").unwrap_or(&planned.key);
        let prefix = match key.rsplit_once('/') {
            None | Some(("rollback", _)) => String::new(),
            Some((outer, _)) => format!("{outer}/"),
        };
        self.scope(plan, &prefix, if prefix.is_empty() { &plan.content.inputs } else { &planned.inputs })
    }

    /// What is seen from inside a runbook: its inputs, and its own steps by their ids. The outermost has no prefix.
    pub fn scope(&self, plan: &Plan, prefix: &str, inputs: &serde_json::Map<String, Json>) -> Json {
        let c = &plan.content;
        let mut steps = serde_json::Map::new();
        for (key, run) in &self.steps {
            // Steps of the same runbook, by their own ids.
            let own = if prefix.is_empty() { key.strip_prefix("rollback/").or(Some(key)) } else { key.strip_prefix(prefix) };
            let Some(id) = own.filter(|id| !id.contains('/')) else { continue };
            steps.insert(
                id.to_string(),
                json!({"status": run.state.word(), "output": run.output.text, "json": run.output.json, "message": run.message}),
            );
        }
        json!({
            "inputs": inputs,
            "environment": {"name": c.environment.name, "tier": c.environment.tier.name()},
            "vars": c.vars,
            "operator": {"user": plan.by.user, "host": plan.by.host, "automatic": c.automatic},
            "steps": steps,
        })
    }
}

impl Event {
    /// The step an event is about.
    pub fn step(&self) -> Option<&str> {
        match self {
            Event::StepStarted { step, .. }
            | Event::StepProbed { step, .. }
            | Event::StepFinished { step, .. }
            | Event::Answered { step, .. } => Some(step),
            Event::Asked { question } => Some(&question.step),
            _ => None,
        }
    }
}
