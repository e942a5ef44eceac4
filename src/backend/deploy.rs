//! The canary for whoever asks once: looked at, planned, held.

use std::collections::HashMap;

use indexmap::IndexMap;
use tokio::runtime::Runtime;

use super::live_signals::LiveSignals;
use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use crate::act::effect::{Points, Signals};
use crate::act::infra::traffic::observe;
use crate::base::clock::Clock;
use crate::config::OperatorRole;
use crate::plan::deploy::{CanarySettings, DeployState, HOLD, STEP, holds};
use crate::plan::runbook::{Content, Plan, Weight};
use crate::status::deploy_state;

/// The input of a step that says why it goes on against the analysis or a gate.
pub const OVERRIDE: &str = "override";

/// What is wanted of a canary.
#[derive(Clone, Debug, Default)]
pub struct CanaryRequest {
    pub to: Weight,
    /// The share that was observed: another one at the time of the step is refused.
    pub from: Weight,
    pub against: Option<String>,
    pub reason: Option<String>,
}

impl Operations {
    /// How a canary is walked up here.
    ///
    /// # Errors
    /// What is missing in the configuration.
    pub fn canary(&self) -> Result<&CanarySettings, OperationError> {
        let words = |what: &str| OperationError::Usage(format!("{} says nothing about {what}", self.config.path.display()));
        if self.config.acting.switch.is_none() {
            return Err(words("the switch of the traffic: add [traffic]"));
        }
        self.config.acting.canary.as_ref().ok_or_else(|| words("how a canary is walked up and judged: add [canary]"))
    }

    /// Looks at the deployment once: the switch, the record, and the signals over the last bake.
    ///
    /// # Errors
    /// When there is no switch to look at.
    pub fn deploy(&mut self, runtime: &Runtime) -> Result<DeployState, OperationError> {
        let config = self.config.clone();
        let Some(switch) = config.acting.switch.clone() else {
            return Err(OperationError::Usage(format!("{} has no [traffic]: there is no switch to look at", config.path.display())));
        };
        let loaded = self.runbooks();
        let ledger = self.ledger(&loaded);
        let (names, bake) = match &config.acting.canary {
            Some(canary) => (canary.analysis.signals(), canary.bake),
            None => (Vec::new(), std::time::Duration::ZERO),
        };
        let signals = LiveSignals::new((*config).clone(), runtime.handle().clone(), Clock::System);
        let (observed, points) = runtime.block_on(async {
            let points = async { if names.is_empty() { Vec::new() } else { signals.points(&names, bake).await } };
            tokio::join!(observe(&switch, &Clock::System), points)
        });
        runtime.block_on(signals.end());
        let by_name: HashMap<&str, &Points> = names.iter().map(String::as_str).zip(&points).collect();
        let of = |signal: &str, since| match by_name.get(signal) {
            Some(Ok(points)) => Ok(points.iter().filter(|(at, _)| *at >= since).map(|(_, value)| *value).collect()),
            Some(Err(why)) => Err(why.clone()),
            None => Err("not asked".into()),
        };
        let state = deploy_state(&config, &ledger, Some(&observed), &of, self.now());
        state.ok_or_else(|| OperationError::Usage("there is no switch to look at".into()))
    }

    /// The plan of a step.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_canary(&mut self, wanted: CanaryRequest) -> Result<Plan, OperationError> {
        let CanaryRequest { to, from, against, reason } = wanted;
        let mut inputs = IndexMap::from([("weight".to_string(), to.to_string()), ("from".to_string(), from.to_string())]);
        inputs.extend(against.map(|why| (OVERRIDE.to_string(), why)));
        self.plan(PlanRequest { runbook: STEP.into(), inputs, reason, ..PlanRequest::default() })
    }

    /// The plan that keeps a canary where it is, or lets it go.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_hold(&mut self, held: bool, reason: Option<String>) -> Result<Plan, OperationError> {
        let inputs = IndexMap::from([("held".to_string(), held.to_string())]);
        self.plan(PlanRequest { runbook: HOLD.into(), inputs, reason, ..PlanRequest::default() })
    }

    /// A canary that is held goes up only against that, by whichever way it is asked for.
    pub(super) fn permit_held(&mut self, content: &Content) -> Result<(), OperationError> {
        let number = |name: &str| content.inputs.get(name).and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()));
        let goes_down = matches!((number("weight"), number("from")), (Some(to), Some(from)) if to <= from);
        if content.runbook != STEP || goes_down || number("weight") == Some(0.0) || !overridden(content).is_empty() {
            return Ok(());
        }
        let environment = content.environment.name.clone();
        let runs = self.runs();
        let own = runs.iter().filter(|run| run.plan.content.environment.name == environment);
        match own.filter_map(|run| holds(&run.id, &run.plan, &run.run)).next().flatten() {
            Some(hold) => {
                let words = format!("held by {} since {}: {}", hold.by.user, hold.at.iso(), hold.reason);
                Err(OperationError::Refused(format!("{words} (lastgreen canary hold --release, or a commander's override)")))
            }
            None => Ok(()),
        }
    }

    /// Whoever goes on against an analysis or a gate has to be a commander.
    pub(super) fn permit_override(&self, content: &Content) -> Result<(), OperationError> {
        if content.runbook != STEP || overridden(content).is_empty() {
            return Ok(());
        }
        let user = &self.operator.user;
        match self.role() {
            OperatorRole::Commander => Ok(()),
            role => Err(OperationError::Refused(format!("{user} is {}: only a commander overrides an analysis or a gate", role.word()))),
        }
    }
}

/// Why a step goes on against what speaks against it.
fn overridden(content: &Content) -> &str {
    content.inputs.get(OVERRIDE).and_then(|value| value.as_str()).unwrap_or("").trim()
}
