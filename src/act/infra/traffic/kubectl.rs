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
        KubeResource::Rollout => of_rollout(json),
        KubeResource::Canary => {
            let phase = text(json, "/status/phase");
            let idle = !["Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising"].contains(&phase);
            let weight = match json.pointer("/status/canaryWeight").and_then(Json::as_f64) {
                Some(weight) => weight,
                None if idle => 0.0,
                None => return Err(Fault::new(FaultKind::Garbage, format!("phase {phase}, and its status says no canaryWeight"))),
            };
            Ok(Seen { weight, idle, failed: idle && phase != "Succeeded", note: format!("phase {phase}") })
        }
    }
}

fn of_rollout(json: &Json) -> Result<Seen, Fault> {
    let (current, stable) = (text(json, "/status/currentPodHash"), text(json, "/status/stableRS"));
    let aborted = json.pointer("/status/abort").and_then(Json::as_bool).unwrap_or(false);
    let phase = text(json, "/status/phase");
    if current.is_empty() || stable.is_empty() {
        return Err(Fault::new(FaultKind::Garbage, "its status names no stable and no current version yet"));
    }
    let seen = |weight, note| Seen { weight, note, ..Seen::of(0.0) };
    if current == stable {
        return Ok(Seen { idle: true, ..seen(0.0, format!("no rollout under way, {phase}")) });
    }
    let routed = json.pointer("/status/canary/weights/canary/weight").and_then(Json::as_f64);
    Ok(match (routed, aborted) {
        // That an abort was asked for takes no traffic away yet.
        (Some(weight), true) => seen(weight, ABORTED.to_string()),
        (None, true) => seen(share_of_pods(json), ABORTED.to_string()),
        (Some(weight), false) => seen(weight, phase.to_string()),
        // Without traffic routing it does not say: as many pods as the last step wanted.
        (None, false) => seen(reached(json).map_or(0.0, f64::from), format!("{phase}, by its steps")),
    })
}

/// What is said of a rollout that somebody has aborted.
const ABORTED: &str = "aborted";

/// How many of the pods are the canary's, in per cent: what has none is left out of the status.
fn share_of_pods(json: &Json) -> f64 {
    let number = |at: &str| json.pointer(at).and_then(Json::as_f64).unwrap_or(0.0);
    let updated = number("/status/updatedReplicas");
    if updated <= 0.0 { 0.0 } else { (updated / number("/status/replicas").max(updated)) * 100.0 }
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
    if seen.idle || weight == 0 && seen.note == ABORTED {
        // An abort with nothing under way would take down what is stable.
        return match weight {
            0 => Ok(format!("nothing to abort: {}", seen.note)),
            ALL.. if !seen.failed && kube.resource == KubeResource::Canary => Ok(format!("it is promoted: {}", seen.note)),
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
        assert!(of(&json!({"status": {"phase": "Healthy"}})).is_err(), "two hashes that are missing are not the same one");
        let mut aborted = rollout("b", 1, &json!({"canary": {"weight": 10}}));
        aborted["status"]["abort"] = json!(true);
        assert_eq!(of(&aborted), Ok((10.0, false)), "asked for, and not yet so");
        let mut pods = rollout("b", 1, &Json::Null);
        (pods["status"]["abort"], pods["status"]["updatedReplicas"], pods["status"]["replicas"]) = (json!(true), json!(1), json!(4));
        assert_eq!(of(&pods), Ok((25.0, false)));
        let waiting = json!({"status": {"phase": "Progressing"}});
        assert!(read(KubeResource::Canary, &waiting).is_err(), "no weight is not a weight of 0");
        let flagger = |phase: &str| read(KubeResource::Canary, &json!({"status": {"phase": phase, "canaryWeight": 15}}));
        assert_eq!(flagger("Progressing").map(|seen| (seen.weight, seen.idle)), Ok((15.0, false)));
        assert_eq!(flagger("Succeeded").map(|seen| (seen.idle, seen.failed)), Ok((true, false)));
        assert_eq!(flagger("Failed").map(|seen| (seen.idle, seen.failed)), Ok((true, true)));
    }
}
