//! What comes next in a run: the one pure function that decides, from where the run is and what its plan says.

use serde_json::{Value as Json, json};

use super::event::{Choice, OperatorQuestion, ProbeAnswer, QuestionKind, RunResult, StepResult};
use super::model::OnFailure;
use super::plan::{Plan, Planned};
use super::run::{Back, Phase, Run, StepRun, StepState};
use super::template;

/// What has to be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Find out whether a step that was started is already so.
    Probe(String),
    /// Start a step (again).
    Step(String),
    /// Write down what is known already.
    Conclude {
        step: String,
        outcome: StepResult,
        message: String,
    },
    Ask(OperatorQuestion),
    /// An answer, or somebody who lets it go on, is needed.
    Await,
    Pause,
    Rollback {
        why: String,
        steps: Vec<String>,
    },
    /// Try a failed step again, after its back-off.
    Retry(String),
    Finish {
        result: RunResult,
        message: String,
    },
    Over,
}

impl Run {
    /// What has to be done now.
    pub fn next(&self, plan: &Plan) -> Next {
        match &self.phase {
            Phase::Ended { .. } => return Next::Over,
            Phase::New => return Next::Over,
            Phase::Paused { .. } => return Next::Await,
            Phase::Waiting { .. } => return Next::Await,
            Phase::Running => {}
        }
        if let Some((key, step)) = self.current()
            && let Some(planned) = plan.step(key)
        {
            // What a runner before this one left in the middle is not taken up any more by one that is to pause.
            if self.pause_wanted && step.state == StepState::Unknown && step.answer.is_none() && !self.is_aborting() {
                return Next::Pause;
            }
            return self.unfinished(key, step, &planned);
        }
        if self.is_aborting() {
            return self.aborting(plan);
        }
        // With nothing left to do there is nothing to wait for: the environment is given back.
        let is_open = |step: &StepRun| step.state == StepState::Pending || step.state == StepState::Failed && !step.settled;
        if self.pause_wanted && self.steps.values().any(is_open) {
            return Next::Pause;
        }
        let failures = self.steps.iter().filter(|(_, s)| s.state == StepState::Failed && !s.settled);
        for (key, step) in failures {
            let next = plan.step(key).and_then(|planned| self.failed(plan, key, step, &planned));
            if let Some(next) = next {
                return next;
            }
        }
        let pending = |key: &&String| self.steps.get(*key).is_some_and(|s| s.state == StepState::Pending);
        match &self.rollback {
            Some(back) => match back.steps.iter().find(pending) {
                Some(key) => Next::Step(key.clone()),
                None => self.went_back(back),
            },
            None => match plan.content.steps.iter().map(|s| &s.key).find(pending) {
                Some(key) => Next::Step(key.clone()),
                None => self.finished(),
            },
        }
    }

    fn went_back(&self, back: &Back) -> Next {
        let state = |key: &&String| self.steps.get(*key).is_some_and(|s| matches!(s.state, StepState::Failed | StepState::Skipped));
        let short_of = match back.steps.iter().filter(state).count() {
            0 => String::new(),
            n => format!(" ({n} of {} steps back were not done)", back.steps.len()),
        };
        match back.aborts {
            0 => Next::Finish { result: RunResult::RolledBack, message: format!("rolled back{short_of}: {}", back.why) },
            _ => Next::Finish { result: RunResult::Aborted, message: format!("aborted, and undone{short_of}") },
        }
    }

    /// Whether an abort was wanted that nothing was done about yet.
    pub fn is_aborting(&self) -> bool {
        self.aborts > self.rollback.as_ref().map_or(0, |back| back.aborts)
    }

    fn finished(&self) -> Next {
        let failed = self.steps.values().filter(|s| s.state == StepState::Failed).count();
        let message = match failed {
            0 => "every step is done".to_string(),
            n => format!("done; {n} failed on the way and {} left aside", if n == 1 { "was" } else { "were" }),
        };
        Next::Finish { result: RunResult::Done, message }
    }

    /// A step that was started and has no end.
    fn unfinished(&self, key: &str, step: &StepRun, planned: &Planned) -> Next {
        let conclude = |outcome, message: String| Next::Conclude { step: key.to_string(), outcome, message };
        if let Some((choice, note)) = &step.answer {
            let said = |word: &str| if note.is_empty() { word.to_string() } else { format!("{word}: {note}") };
            return match choice {
                Choice::Done => conclude(StepResult::Done, said("the operator says it is done")),
                Choice::Failed | Choice::Stop | Choice::Rollback => conclude(StepResult::Failed, said("the operator says it has failed")),
                Choice::Skip => conclude(StepResult::Skipped, said("left out by the operator")),
                Choice::Again => Next::Step(key.to_string()),
            };
        }
        if self.is_aborting() {
            return conclude(StepResult::Interrupted, "the run was aborted in the middle of this step".into());
        }
        if let Some((text, check)) = planned.kind.question() {
            return Next::Ask(manual_question(key, text, check));
        }
        match (&planned.probe, step.probed) {
            (Some(_), None | Some(ProbeAnswer::UnderWay)) => return Next::Probe(key.to_string()),
            (Some(_), Some(ProbeAnswer::Yes)) => return conclude(StepResult::Done, "it was done already".into()),
            (Some(_), Some(ProbeAnswer::No)) if step.unsettled => return conclude(StepResult::Failed, step.message.clone()),
            (Some(_), Some(ProbeAnswer::No)) => return Next::Step(key.to_string()),
            (Some(_), Some(ProbeAnswer::Unknown)) | (None, _) => {}
        }
        if !step.unsettled && (planned.idempotent || !planned.kind.mutates()) {
            return Next::Step(key.to_string());
        }
        let what = if step.unsettled { step.message.as_str() } else { "the runner ended before it knew what came of it" };
        let text = format!("Step `{}` was started, and {what}. Look whether it is done: {}", planned.name, planned.kind.describe());
        Next::Ask(OperatorQuestion {
            step: key.to_string(),
            kind: QuestionKind::Unknown,
            text,
            check: Vec::new(),
            choices: vec![Choice::Done, Choice::Again, Choice::Skip, Choice::Failed],
        })
    }

    /// What follows a failure; `None`: the run goes on.
    fn failed(&self, plan: &Plan, key: &str, step: &StepRun, planned: &Planned) -> Option<Next> {
        let why = || format!("{} failed: {}", planned.name, step.message);
        let back = || Next::Rollback { why: why(), steps: self.way_back(plan) };
        let stop = || Next::Finish { result: RunResult::Failed, message: why() };
        if let Some((choice, _)) = &step.answer {
            return Some(if *choice == Choice::Rollback { back() } else { stop() });
        }
        if let Some(retry) = planned.retry
            && (1..=retry.count).contains(&step.attempts)
        {
            return Some(Next::Retry(key.to_string()));
        }
        let can_go_back = self.rollback.is_none() && !self.way_back(plan).is_empty();
        let emergency = plan.content.emergency;
        Some(match planned.on_failure {
            Some(OnFailure::Continue) => return None,
            Some(OnFailure::Ask) => Next::Ask(failure_question(key, step, planned, can_go_back.then_some(emergency))),
            Some(OnFailure::Rollback) if can_go_back => back(),
            None if can_go_back => match self.rolls_back_by_itself(plan, key, step, planned) {
                Ok(true) => back(),
                Ok(false) if plan.content.rollback.steps.is_empty() => stop(),
                // There is a way back, and somebody has to decide.
                Ok(false) => Next::Ask(failure_question(key, step, planned, Some(emergency))),
                Err(e) => {
                    let mut question = failure_question(key, step, planned, Some(emergency));
                    question.text += &format!(" (whether to roll back by itself could not be told: {e})");
                    Next::Ask(question)
                }
            },
            None | Some(OnFailure::Stop | OnFailure::Rollback) => stop(),
        })
    }

    /// Whether a failure is one that the runbook goes back after without asking; an error when that cannot be told.
    fn rolls_back_by_itself(&self, plan: &Plan, key: &str, step: &StepRun, planned: &Planned) -> Result<bool, String> {
        let rollback = &plan.content.rollback;
        if !rollback.automatic || rollback.conditions.is_empty() {
            return Ok(rollback.automatic);
        }
        // The conditions are those of the outermost runbook, wherever the step stands.
        let mut context = self.scope(plan, "", &plan.content.inputs);
        if let Json::Object(map) = &mut context {
            map.insert(
                "step".into(),
                json!({"id": key, "name": planned.name, "status": "failed", "type": planned.kind.word(), "message": step.message}),
            );
            map.insert("validation".into(), json!({"failed": planned.kind.validates()}));
        }
        let told: Vec<Result<bool, String>> = rollback.conditions.iter().map(|c| template::holds(c, &context)).collect();
        if told.contains(&Ok(true)) {
            return Ok(true);
        }
        told.into_iter().try_fold(false, |_, one| one)
    }

    /// Whether a later step has taken a step back already.
    fn is_taken_back(&self, plan: &Plan, key: &str) -> bool {
        let done = |s: &&Planned| self.steps.get(&s.key).is_some_and(|run| run.state == StepState::Done);
        plan.content.steps.iter().filter(|s| s.takes_back.as_deref() == Some(key)).any(|s| done(&s))
    }

    /// What can be undone, the newest first, and then the rollback's own steps.
    pub fn way_back(&self, plan: &Plan) -> Vec<String> {
        let touched =
            |s: &&Planned| s.undo.is_some() && self.steps.get(&s.key).is_some_and(|run| run.touched) && !self.is_taken_back(plan, &s.key);
        let undo = plan.content.steps.iter().filter(touched).map(|s| format!("undo/{}", s.key));
        let mut steps: Vec<String> = undo.collect();
        steps.reverse();
        steps.extend(plan.content.rollback.steps.iter().map(|s| s.key.clone()));
        steps
    }

    fn aborting(&self, plan: &Plan) -> Next {
        let steps = self.way_back(plan);
        if self.undo_wanted && self.rollback.is_none() && !steps.is_empty() {
            return Next::Rollback { why: "the run was aborted".into(), steps };
        }
        let left = self.left_behind(plan).join("; ");
        match &self.superseded_by {
            Some(run) => Next::Finish { result: RunResult::Superseded, message: format!("gave way to the emergency of run {run}: {left}") },
            None => Next::Finish { result: RunResult::Aborted, message: left },
        }
    }

    /// What an abort now would leave as it is, in words.
    pub fn left_behind(&self, plan: &Plan) -> Vec<String> {
        let mut lines = Vec::new();
        for step in &plan.content.steps {
            let Some(run) = self.steps.get(&step.key).filter(|_| !self.is_taken_back(plan, &step.key)) else { continue };
            match self.steps.get(&format!("undo/{}", step.key)).map(|undo| undo.state) {
                Some(StepState::Done) => continue,
                Some(StepState::Pending) | None => {}
                Some(_) => {
                    lines.push(format!("{}: its undo was begun, and is not done", step.name));
                    continue;
                }
            }
            let undo = if step.undo.is_some() { "can be undone" } else { "has no undo" };
            match run.state {
                StepState::Running | StepState::Unknown if step.kind.mutates() => {
                    lines.push(format!("{} is in the middle and {undo}", step.name));
                }
                _ if run.touched => {
                    lines.push(format!("{} {} and {undo}", step.name, if run.state == StepState::Done { "is done" } else { "was begun" }))
                }
                _ => {}
            }
        }
        if lines.is_empty() {
            lines.push("nothing was changed".into());
        }
        lines
    }
}

fn manual_question(key: &str, text: String, check: Vec<String>) -> OperatorQuestion {
    let choices = vec![Choice::Done, Choice::Failed, Choice::Skip];
    OperatorQuestion { step: key.into(), kind: QuestionKind::Manual, text, check, choices }
}

/// With a way back, and whether that is of an emergency: taking one back puts the canary into the traffic again, and is never
/// the first that is offered.
fn failure_question(key: &str, step: &StepRun, planned: &Planned, back: Option<bool>) -> OperatorQuestion {
    let mut choices = vec![Choice::Again, Choice::Skip, Choice::Stop];
    if let Some(emergency) = back {
        let place = if emergency { choices.len() } else { 0 };
        choices.insert(place, Choice::Rollback);
    }
    let by_hand = planned.by_hand.as_ref().map_or_else(String::new, |runbook| format!("; on by hand: runbook {runbook}"));
    let left_out = planned.kind.left_out().map_or_else(String::new, |means| format!("; left out, {means}"));
    let text = format!("Step `{}` failed: {}{left_out}{by_hand}", planned.name, step.message);
    OperatorQuestion { step: key.into(), kind: QuestionKind::Failure, text, check: Vec::new(), choices }
}
