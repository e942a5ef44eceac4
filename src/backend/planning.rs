//! From what somebody wants to a plan: which environment or stand-in, which runbook, with what.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::operations::{OperationError, Operations};
use super::plan_secrets::absent;
use crate::act::infra::snapshot::list;
use crate::base::tier::Tier;
use crate::config::{Config, freeze, planning_context};
use crate::plan::deploy::{Manifest, of_environment};
use crate::plan::runbook::{
    Asked, Content, Kind, KnownSnapshot, Plan, PlanningContext, Runbook, RunbookStatus, Section, SnapshotSettings, plan,
};
use crate::record::journal;
use crate::status::{RunLine, expected};

/// From how many runs is learned how long steps take.
const LEARNED: usize = 100;
/// How long a plan may be begun after it was made.
const VALID: Duration = Duration::from_secs(600);

/// What is to be planned.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    pub runbook: String,
    pub inputs: IndexMap<String, String>,
    pub reason: Option<String>,
    /// A stand-in of the environment; without one the environment itself.
    pub target: Option<String>,
    pub drill: bool,
    /// Begun by a program, and not by a person.
    pub automatic: bool,
    /// What whoever confirms has to know besides.
    pub warnings: Vec<String>,
}

/// What a plan gives up that restores in place and takes no safety snapshot before, in words.
fn without_safety(settings: &SnapshotSettings, content: &Content) -> Option<String> {
    let steps = || content.steps.iter().filter(|step| !step.is_ruled_out(&content.inputs)).map(|step| &step.kind);
    let restores = steps().any(|kind| matches!(kind, Kind::Restore(restore) if restore.back.is_none()));
    let is_kept = steps().any(|kind| matches!(kind, Kind::Snapshot(snapshot) if snapshot.safety));
    let gives_up = restores && !is_kept && !settings.in_place().is_empty();
    gives_up.then(|| format!("no safety snapshot is taken: {}", settings.without_safety()))
}

impl Operations {
    /// The environment, or the stand-in of it that is asked for. A drill needs one that is not production.
    pub fn target(&self, target: Option<&str>, drill: bool) -> Result<Arc<Config>, OperationError> {
        let targets = &self.config.targets;
        let fit: Vec<&String> = targets.iter().filter(|(_, t)| t.environment.tier != Tier::Production).map(|(name, _)| name).collect();
        let name = match (target, fit.as_slice()) {
            (Some(name), _) => name,
            (None, _) if !drill => return Ok(self.config.clone()),
            (None, [one]) => one.as_str(),
            (None, []) => {
                let words = "a drill acts for real, on a stand-in of the environment, and there is none: add [targets.NAME] with tier = \"staging\", \
                             and below it [targets.NAME.sources.…] and [targets.NAME.services.…] with their addresses";
                return Err(OperationError::Usage(words.into()));
            }
            (None, many) => {
                let names = many.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(OperationError::Usage(format!("say on which target the drill is to be: --target, one of {names}")));
            }
        };
        let Some(config) = targets.get(name) else {
            let hint = crate::base::diag::suggestion(name, targets.keys().map(String::as_str));
            return Err(OperationError::Usage(format!("there is no target `{name}`: {}", hint.unwrap_or_else(|| "there are none".into()))));
        };
        if drill && config.environment.tier == Tier::Production {
            return Err(OperationError::Refused(format!("target {name} is production: no drill is held there")));
        }
        Ok(config.clone())
    }

    /// Makes a plan. Nothing is written.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan(&mut self, wanted: PlanRequest) -> Result<Plan, OperationError> {
        let PlanRequest { runbook: name, inputs, reason, target, drill, automatic, warnings } = wanted;
        let config = self.target(target.as_deref(), drill)?;
        let loaded = self.runbooks();
        let Some(found) = loaded.iter().find(|l| l.name == name) else {
            let hint = crate::base::diag::suggestion(&name, loaded.iter().map(|l| l.name.as_str()));
            return Err(OperationError::Usage(format!(
                "there is no runbook `{name}`: {}",
                hint.unwrap_or_else(|| "there are none".into())
            )));
        };
        let Some(runbook) = &found.runbook else {
            return Err(OperationError::BadFile(found.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
        };
        if runbook.front.status == RunbookStatus::Draft && config.environment.tier == Tier::Production {
            return Err(OperationError::Refused(format!(
                "{name} is a draft, and drafts do not run in production: set status: ready once it was tried elsewhere"
            )));
        }
        let reason = reason.map(|r| crate::base::secret::sanitize(r.trim())).filter(|r| !r.is_empty());
        let (user, host) = (self.operator.user.clone(), self.operator.host.clone());
        let asked = Asked { inputs, reason, drill, automatic, user, host, only_checks: false };
        let mut context = planning_context(&config, &loaded);
        if let Some(settings) = &config.acting.settings.snapshots
            && uses_snapshots(runbook)
        {
            // Also for a target: what is tried out there is the environment's own.
            let own = of_environment(list(&settings.folder).0, &self.config.environment.name);
            let one = |manifest: Manifest| KnownSnapshot { golden: manifest.golden.is_some(), safety: manifest.safety, id: manifest.id };
            context.snapshots = own.into_iter().map(one).collect();
        }
        let mut content = content(runbook, &context, &asked)?;
        self.permit_held(&content)?;
        content.warnings.extend(self.hold_binds_here_only(&content));
        if let Some(settings) = &config.acting.settings.snapshots
            && let Some(words) = without_safety(settings, &content)
        {
            content.warnings.push(words);
            // What is nowhere any more cannot be gone back to.
            for step in &mut content.steps {
                step.undo.take_if(
                    |_| matches!(&step.kind, Kind::Restore(restore) if restore.back.is_none() && settings.is_all_in_place(restore.what)),
                );
            }
        }
        content.warnings.splice(0..0, warnings.into_iter().chain(found.findings.iter().map(|f| f.cause.clone())));
        for path in content.sources.iter().map(|s| &s.path).chain([&config.path]) {
            if path.exists() {
                journal::trusted(path).map_err(OperationError::Refused)?;
            }
        }
        content.config.values = freeze(&config, &content);
        // Part of what is shown, and so of what the fingerprint is over.
        let absent = absent(&config, &content);
        content.warnings.extend(absent.into_iter().map(|why| format!("a secret is missing here: {why}")));
        let mut plan = Plan::new(content, self.operator.clone(), self.now(), VALID);
        let runs = self.newest()?;
        for step in &plan.content.steps {
            if let Some(time) = expected(&runs, &plan.content.environment.name, &name, &step.key) {
                plan.expected.insert(step.key.clone(), Json::from(time.as_millis() as u64));
            }
        }
        Ok(plan)
    }

    /// The newest runs: enough to know how long steps take, however many there were before.
    fn newest(&mut self) -> Result<Vec<Arc<RunLine>>, OperationError> {
        let ids = self.state().map(|state| state.newest(LEARNED)).unwrap_or_default();
        Ok(ids.iter().filter_map(|id| self.read_run(id)).collect())
    }
}

/// A plan's content, or every reason why there is none.
fn content(runbook: &Runbook, context: &PlanningContext, asked: &Asked) -> Result<Content, OperationError> {
    let read = |path: &Path| {
        journal::trusted(path)?;
        std::fs::read(path).map_err(|e| e.to_string())
    };
    plan(runbook, context, asked, &read).map_err(|all| {
        // What is sound with its inputs left open is wrong by what was given for them.
        let open = Asked { only_checks: true, inputs: IndexMap::new(), ..asked.clone() };
        let words = all.join("\n");
        if plan(runbook, context, &open, &read).is_ok() { OperationError::Usage(words) } else { OperationError::BadFile(words) }
    })
}

/// Whether it may have to know which snapshots there are: where they are kept may be slow, or gone.
fn uses_snapshots(runbook: &Runbook) -> bool {
    let steps = runbook.steps.iter().chain(&runbook.rollback.steps);
    let mut kinds = steps.flat_map(|step| std::iter::once(&step.kind).chain(&step.undo).chain(&step.probe));
    kinds.any(|kind| matches!(kind, Kind::Runbook(_)) || kind.uses().has(Section::Snapshots))
}
