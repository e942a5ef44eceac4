//! Argo Rollouts and Flagger, through `kubectl`: what they say in JSON is read; what they are told are argument vectors. With
//! no release on its way there is nothing to abort, and nothing is told.

use serde_json::Value as Json;

use super::NotSet;
use crate::act::infra::command::run;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::web_json;
use crate::plan::runbook::{ALL, KubeCommand, KubeResource, Kubectl, Seen, Switch, Weight, percent};

pub async fn observe(switch: &Switch, kube: &Kubectl) -> Result<Seen, Fault> {
    read(kube.resource, &get(switch, kube).await?)
}

async fn get(switch: &Switch, kube: &Kubectl) -> Result<Json, Fault> {
    // The long name: `canary` alone may be somebody else's.
    let resource = match kube.resource {
        KubeResource::Rollout => "rollouts.argoproj.io",
        KubeResource::Canary => "canaries.flagger.app",
    };
    let words = ["kubectl", "get", resource, &kube.name, "-o", "json"];
    let argv = words.into_iter().map(str::to_string).chain(kube.flags.iter().cloned()).collect();
    web_json(run(argv, switch.timeout).await?.as_bytes())
}

fn text<'j>(json: &'j Json, pointer: &str) -> &'j str {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or("")
}

/// The canary's share by an object's status.
fn read(resource: KubeResource, json: &Json) -> Result<Seen, Fault> {
    if !json.get("status").is_some_and(Json::is_object) {
        return Err(Fault::new(FaultKind::Garbage, "it has no status yet: its controller has not seen it"));
    }
    match resource {
        KubeResource::Rollout => Ok(of_rollout(json)),
        KubeResource::Canary => {
            let phase = text(json, "/status/phase");
            let weight = json.pointer("/status/canaryWeight").and_then(Json::as_f64).unwrap_or(0.0);
            let idle = !["Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising"].contains(&phase);
            Ok(Seen { weight, idle, note: format!("phase {phase}") })
        }
    }
}

fn of_rollout(json: &Json) -> Seen {
    let (current, stable) = (text(json, "/status/currentPodHash"), text(json, "/status/stableRS"));
    let aborted = json.pointer("/status/abort").and_then(Json::as_bool).unwrap_or(false);
    let phase = text(json, "/status/phase");
    if current == stable || aborted {
        let note = if aborted { "aborted".to_string() } else { format!("no rollout under way, {phase}") };
        return Seen { weight: 0.0, idle: !aborted, note };
    }
    match json.pointer("/status/canary/weights/canary/weight").and_then(Json::as_f64) {
        Some(weight) => Seen { weight, idle: false, note: phase.to_string() },
        // Without traffic routing it does not say: as many pods as the last step wanted.
        None => Seen { weight: reached(json).map_or(0.0, f64::from), idle: false, note: format!("{phase}, by its steps") },
    }
}

fn steps(json: &Json) -> (&[Json], usize) {
    let steps = json.pointer("/spec/strategy/canary/steps").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let index = json.pointer("/status/currentStepIndex").and_then(Json::as_u64).unwrap_or(0) as usize;
    (steps, index.min(steps.len()))
}

fn weight_of(step: &Json) -> Option<Weight> {
    step.get("setWeight").and_then(Json::as_u64).and_then(|weight| Weight::try_from(weight).ok())
}

/// The weight of the last step that was taken.
fn reached(json: &Json) -> Option<Weight> {
    let (steps, index) = steps(json);
    steps[..index].iter().rev().find_map(weight_of)
}

/// The weight that the rollout goes to when it is told to go on.
fn next(json: &Json) -> Option<Weight> {
    let (steps, index) = steps(json);
    steps[index..].iter().find_map(weight_of)
}

pub async fn set(switch: &Switch, kube: &Kubectl, weight: Weight) -> Result<String, NotSet> {
    let json = get(switch, kube).await.map_err(|fault| NotSet::before(fault.message))?;
    let seen = read(kube.resource, &json).map_err(|fault| NotSet::before(fault.message))?;
    if seen.idle || weight == 0 && seen.note == "aborted" {
        // An abort with nothing under way would take down what is stable.
        return match weight {
            0 => Ok(format!("nothing to abort: {}", seen.note)),
            _ => Err(NotSet::before(format!("there is no release on its way to send traffic to ({})", seen.note))),
        };
    }
    let argv = match kube.command(weight) {
        KubeCommand::Own(template) => switch.argv(template, weight).map_err(NotSet::before)?,
        KubeCommand::Rollouts(arguments) => {
            if weight > 0 && weight < ALL {
                if (seen.weight - f64::from(weight)).abs() < 0.5 {
                    return Ok("it is there already".into());
                }
                can_step(&json, weight)?;
            }
            let words = ["kubectl"].into_iter().chain(arguments).map(str::to_string);
            words.chain(kube.flags.iter().cloned()).collect()
        }
    };
    match run(argv, switch.within).await {
        Ok(printed) => Ok(printed.lines().last().unwrap_or("").trim().to_string()),
        Err(fault) => Err(NotSet { touched: !fault.message.starts_with("cannot start"), message: fault.message }),
    }
}

/// A rollout takes its own steps, one after the other.
fn can_step(json: &Json, weight: Weight) -> Result<(), NotSet> {
    match next(json) {
        Some(next) if next == weight => Ok(()),
        Some(next) => Err(NotSet::before(format!(
            "the rollout's next step is {}: it goes there, to 100 % or to 0 %, or to any share with a `set` command in [traffic]",
            percent(f64::from(next))
        ))),
        None => Err(NotSet::before("the rollout has no further step with a weight: it goes to 100 % or to 0 %")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(current: &str, index: u64, weights: &Json) -> Json {
        json!({
            "spec": {"strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]}}},
            "status": {"phase": "Paused", "currentPodHash": current, "stableRS": "a", "currentStepIndex": index, "canary": {"weights": weights}},
        })
    }

    #[test]
    fn an_object_says_how_far_its_release_is() {
        let of = |json: &Json| read(KubeResource::Rollout, json).map(|seen| (seen.weight, seen.idle));
        assert_eq!(of(&rollout("a", 0, &Json::Null)), Ok((0.0, true)), "no release on its way");
        assert_eq!(of(&rollout("b", 1, &json!({"canary": {"weight": 10}}))), Ok((10.0, false)));
        assert_eq!(of(&rollout("b", 3, &Json::Null)), Ok((25.0, false)), "without traffic routing: by its steps");
        assert_eq!(next(&rollout("b", 1, &Json::Null)), Some(25));
        assert_eq!(next(&rollout("b", 4, &Json::Null)), None);
        assert!(of(&json!({"spec": {}})).is_err());
        let flagger = |phase: &str| read(KubeResource::Canary, &json!({"status": {"phase": phase, "canaryWeight": 15}}));
        assert_eq!(flagger("Progressing").map(|seen| (seen.weight, seen.idle)), Ok((15.0, false)));
        assert_eq!(flagger("Succeeded").map(|seen| seen.idle), Ok(true));
    }
}
