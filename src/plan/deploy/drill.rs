//! What a drill has shown that could be better: by what its record says of it, and nothing else.

use std::time::Duration;

use crate::base::units::short;
use crate::plan::runbook::{NOT_NEEDED, Phase, Plan, Run, RunResult, StepRun, StepState};

/// A step that takes more than this share of a drill is worth looking at.
const MOST: f64 = 0.5;
/// Shorter drills have nothing to gain.
const SHORT: Duration = Duration::from_secs(60);

/// What to improve, the worst first; empty when every step was done at its first attempt.
pub fn improvements(plan: &Plan, run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    if let Phase::Ended { result, message } = &run.phase
        && *result != RunResult::Done
    {
        found.push(format!("it did not come to its end: {message}"));
    }
    let took = |step: &StepRun| step.started.zip(step.ended).map_or(Duration::ZERO, |(from, to)| to.since(from));
    let total = run.started.zip(run.ended).map_or(Duration::ZERO, |(from, to)| to.since(from));
    for planned in &plan.content.steps {
        let Some(step) = run.steps.get(&planned.key) else { continue };
        let name = &planned.name;
        match step.state {
            StepState::Failed => found.push(format!("{name} failed: {}", step.message)),
            StepState::Skipped if !step.message.starts_with(NOT_NEEDED) => found.push(format!("{name} was left out: {}", step.message)),
            StepState::Pending | StepState::Running | StepState::Unknown | StepState::Interrupted => {
                found.push(format!("{name} was never done"));
            }
            StepState::Done | StepState::Skipped => {}
        }
        if step.attempts > 1 {
            found.push(format!("{name} needed {} attempts", step.attempts));
        }
        if step.answer.is_some() && planned.kind.question().is_none() {
            found.push(format!("{name} went on only because somebody decided"));
        }
        if total >= SHORT && took(step).as_secs_f64() > MOST * total.as_secs_f64() {
            found.push(format!("{name} took {} of {}: nothing would save more time", short(took(step)), short(total)));
        }
    }
    found.extend(plan.content.warnings.iter().cloned());
    found.extend(run.notes.iter().filter(|(_, _, loud)| *loud).map(|(_, text, _)| text.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Stamp;
    use crate::plan::runbook::{Asked, PlanningContext, load, plan};

    fn a_plan() -> Plan {
        let text =
            "title: T\nsteps:\n  - {name: First, id: a, type: script, script: x}\n  - {name: Second, id: b, type: script, script: x}\n";
        let loaded = load(std::path::Path::new("t.yaml"), text, Stamp(0));
        let runbook = loaded.runbook.expect("a runbook");
        let content = plan(&runbook, &PlanningContext::default(), &Asked::default(), &|_| Err("no file".into())).expect("a plan");
        Plan::new(content, crate::plan::runbook::Operator::default(), Stamp(0), SHORT)
    }

    fn step(state: StepState, seconds: i64) -> StepRun {
        StepRun {
            state,
            attempts: 1,
            started: Some(Stamp(0)),
            ended: Some(Stamp(seconds * 1000)),
            message: "why".into(),
            ..StepRun::default()
        }
    }

    #[test]
    fn what_went_wrong_was_repeated_or_took_long_is_said() {
        let plan = a_plan();
        let ended = |result| Phase::Ended { result, message: "over".into() };
        let of = |a: StepRun, b: StepRun, result| {
            let steps = [("a".to_string(), a), ("b".to_string(), b)].into_iter().collect();
            let run = Run { phase: ended(result), steps, started: Some(Stamp(0)), ended: Some(Stamp(100_000)), ..Run::default() };
            improvements(&plan, &run)
        };
        assert_eq!(of(step(StepState::Done, 40), step(StepState::Done, 40), RunResult::Done), Vec::<String>::new());
        let twice = StepRun { attempts: 2, ..step(StepState::Done, 60) };
        let wanted = ["First needed 2 attempts", "First took 1m of 1m40s: nothing would save more time", "Second failed: why"];
        assert_eq!(of(twice, step(StepState::Failed, 1), RunResult::Done), wanted);
        let left = StepRun { message: "left out by the operator".into(), ..step(StepState::Skipped, 0) };
        assert_eq!(of(left, step(StepState::Done, 1), RunResult::Failed)[0], "it did not come to its end: over");
    }
}
