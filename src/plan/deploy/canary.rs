//! A canary by the record: who has turned its traffic to what, and who holds it. Folded from runs, so that it survives
//! every restart.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::base::clock::Stamp;
use crate::plan::runbook::{Kind, Operator, Plan, Run, StepState, Traffic, Weight};

/// The runbook of a step, and that which holds a canary where it is.
pub const STEP: &str = "canary-step";
pub const HOLD: &str = "canary-hold";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnState {
    /// Asked for, and not seen to be so yet.
    Asked,
    /// Observed.
    Done,
    Failed,
}

/// Somebody has turned the traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// When it was done, or begun.
    pub at: Stamp,
    /// To which share; `None`: back to one that is not known here.
    pub to: Option<Weight>,
    pub state: TurnState,
    pub run: String,
    pub runbook: String,
    pub by: Operator,
}

/// What a run has turned, in order.
pub fn turns(id: &str, plan: &Plan, run: &Run) -> Vec<Turn> {
    let turn = |(key, step): (&String, &crate::plan::runbook::StepRun)| {
        let planned = plan.step(key)?;
        let Kind::Traffic(traffic) = &planned.kind else { return None };
        if !traffic.mutates || !step.touched && step.state != StepState::Running && step.state != StepState::Unknown {
            return None;
        }
        let state = match step.state {
            StepState::Done => TurnState::Done,
            StepState::Failed | StepState::Interrupted | StepState::Skipped => TurnState::Failed,
            _ => TurnState::Asked,
        };
        let at = step.ended.or(step.started)?;
        let (to, by) = (wanted(traffic, &step.output.json), run.by.clone());
        Some(Turn { at, to, state, run: id.into(), runbook: plan.content.runbook.clone(), by })
    };
    let mut turns: Vec<Turn> = run.steps.iter().filter_map(turn).collect();
    turns.sort_by_key(|turn| turn.at);
    turns
}

/// What was wanted: by the plan, or, for what only the run knew, by what it says it has done.
fn wanted(traffic: &Traffic, output: &Json) -> Option<Weight> {
    let said = output.get("to").and_then(Json::as_u64).and_then(|to| Weight::try_from(to).ok());
    said.or_else(|| traffic.weight().ok().flatten())
}

/// A canary is to stay where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    pub at: Stamp,
    pub by: Operator,
    pub reason: String,
    pub run: String,
}

/// What was said about holding, and when; none where it was let go.
pub type SaidOfHold = (Stamp, Option<Hold>);

/// What a run says about holding.
pub fn holds(id: &str, plan: &Plan, run: &Run) -> Option<SaidOfHold> {
    let c = &plan.content;
    if c.runbook != HOLD || !run.steps.values().all(|step| step.state == StepState::Done) {
        return None;
    }
    let at = run.started?;
    let held = c.inputs.get("held").and_then(Json::as_bool).unwrap_or(true);
    Some((at, held.then(|| Hold { at, by: run.by.clone(), reason: c.reason.clone().unwrap_or_default(), run: id.into() })))
}
