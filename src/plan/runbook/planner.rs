//! From a runbook to a plan: inputs filled in, templates rendered, targets resolved, nested runbooks laid out. Whatever
//! cannot be resolved is reported, all of it at once.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::context::{Asked, PlanningContext};
use super::kinds::{Check, Kind, RunbookCall};
use super::model::{Danger, InputType, OnFailure, Runbook, RunbookStatus, Step};
use super::plan::{Content, Notice, Planned, RollbackPlan, SourceFile, When};
use super::step_names::StepNames;
use super::template::{self, Fill};
use crate::base::diag::{position, suggestion};
use crate::base::tier::Tier;
use crate::judge::Condition;

/// How deep runbooks may run runbooks.
const DEEPEST: usize = 5;
/// The most steps that a plan may come to, with those of the runbooks it runs: nobody could read more.
const MOST_STEPS: usize = 1000;

/// Makes a plan's content. `read` gives the bytes of a script file.
///
/// # Errors
/// Every reason why there can be no plan.
pub fn plan(
    runbook: &Runbook,
    world: &PlanningContext,
    asked: &Asked,
    read: &dyn Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Content, Vec<String>> {
    let here = format!("{}:1", runbook.path.display());
    let mut planner = Planner {
        world,
        asked,
        read,
        problems: Vec::new(),
        left_out: Vec::new(),
        here,
        sources: Vec::new(),
        danger: Danger::Safe,
        guard: Vec::new(),
        emergency: runbook.emergency,
        laid_out: 0,
        too_large: false,
    };
    planner.permitted(runbook);
    let given: IndexMap<String, Json> = asked.inputs.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
    let inputs = planner.inputs(runbook, &given);
    let steps = planner.steps(runbook, &runbook.steps, &inputs, "", &mut vec![runbook.name.clone()]);
    let rollback = RollbackPlan {
        automatic: runbook.rollback.automatic,
        conditions: runbook.rollback.conditions.clone(),
        steps: planner.steps(runbook, &runbook.rollback.steps, &inputs, "", &mut vec![runbook.name.clone()]),
    };
    for condition in &runbook.rollback.conditions {
        planner.here = format!("{}:{}", runbook.path.display(), position(&runbook.text, runbook.text.find(condition).unwrap_or(0)).0);
        planner.vars_exist("rollback", &template::uses_of_expression(condition).unwrap_or_default());
    }
    let notices = planner.notices(runbook);
    if planner.too_large {
        planner.here = format!("{}:1", runbook.path.display());
        planner.problem(
            format!("with the runbooks it runs this comes to more than {MOST_STEPS} steps, or more than {DEEPEST} deep"),
            Some("split it".into()),
        );
    }
    let Planner { mut problems, left_out, sources, danger, guard, .. } = planner;
    if !problems.is_empty() {
        problems.dedup();
        return Err(problems);
    }
    Ok(Content {
        runbook: runbook.name.clone(),
        title: runbook.front.title.clone(),
        environment: world.environment.clone(),
        danger,
        target: world.target.clone(),
        drill: asked.drill,
        automatic: asked.automatic,
        emergency: runbook.emergency,
        reason: asked.reason.clone(),
        inputs,
        vars: world.vars.clone(),
        warnings: left_out,
        guard,
        steps,
        rollback,
        notices,
        checklists: runbook.checklists.clone(),
        sources,
        config: world.config.clone(),
    })
}

struct Planner<'a> {
    world: &'a PlanningContext,
    asked: &'a Asked,
    read: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
    problems: Vec<String>,
    /// Steps that are left out because what they need is not configured.
    left_out: Vec<String>,
    /// The file and line that is looked at, for messages.
    here: String,
    sources: Vec<SourceFile>,
    danger: Danger,
    guard: Vec<Check>,
    /// What is planned goes on whoever has the environment.
    emergency: bool,
    /// How many steps there are by now.
    laid_out: usize,
    too_large: bool,
}

impl Planner<'_> {
    fn problem(&mut self, text: impl Into<String>, hint: Option<String>) {
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        self.problems.push(format!("{}: {}{hint}", self.here, text.into()));
    }

    fn permitted(&mut self, runbook: &Runbook) {
        // What may not be run yet may be looked at.
        if runbook.front.status == RunbookStatus::Draft && self.world.environment.tier == Tier::Production && !self.asked.only_checks {
            let hint = "set status: ready once it was tried elsewhere";
            self.problem(format!("{} is a draft, and drafts do not run in production", runbook.name), Some(hint.into()));
        }
        for (word, line) in &runbook.placeholders {
            self.problems.push(format!("{}:{line}: `{word}` is still to be filled in", runbook.path.display()));
        }
    }

    /// The values of a runbook's inputs: what was given, in the declared types, and the defaults.
    fn inputs(&mut self, runbook: &Runbook, given: &IndexMap<String, Json>) -> Map<String, Json> {
        let mut values = Map::new();
        for name in given.keys().filter(|name| !runbook.inputs.iter().any(|i| i.name == **name)) {
            let hint = suggestion(name, runbook.inputs.iter().map(|i| i.name.as_str()));
            self.problem(format!("{} has no input `{name}`", runbook.name), hint);
        }
        for input in &runbook.inputs {
            let value = match given.get(&input.name) {
                None if self.asked.only_checks && input.default.is_none() => continue,
                Some(Json::String(text)) if self.asked.only_checks && template::is_template(text) => continue,
                Some(Json::String(text)) => input.parse(text),
                Some(other) if input.kind == InputType::String => input.parse(&other.to_string()),
                Some(other) => input.parse(&other.to_string()).or_else(|_| input.check(other.clone())),
                None => input.default.clone().ok_or_else(|| format!("input `{}` is missing: --set {}=…", input.name, input.name)),
            };
            match value {
                Ok(value) => drop(values.insert(input.name.clone(), value)),
                Err(e) => self.problem(e, None),
            }
        }
        values
    }

    fn context(&self, inputs: &Map<String, Json>) -> Json {
        json!({
            "inputs": inputs,
            "environment": {"name": self.world.environment.name, "tier": self.world.environment.tier.name()},
            "vars": self.world.vars,
            "operator": {"user": self.asked.user, "host": self.asked.host, "automatic": self.asked.automatic},
        })
    }

    fn steps(
        &mut self,
        runbook: &Runbook,
        steps: &[Step],
        inputs: &Map<String, Json>,
        prefix: &str,
        outer: &mut Vec<String>,
    ) -> Vec<Planned> {
        if !self.sources.iter().any(|s| s.path == runbook.path) {
            self.sources.push(SourceFile { path: runbook.path.clone(), text: runbook.text.to_string() });
            self.danger = self.danger.max(runbook.danger);
            let at = runbook.text.find("\nguard:").map_or(0, |at| at + 1);
            self.here = format!("{}:{}", runbook.path.display(), position(&runbook.text, at).0);
            for check in &runbook.guard {
                self.check(&runbook.name, check);
            }
            // That of another runbook is looked at when its first step is to be done.
            if outer.len() == 1 {
                self.guard.clone_from(&runbook.guard);
            }
        }
        let mut planned = Vec::new();
        for step in steps {
            self.here = format!("{}:{}", runbook.path.display(), position(&runbook.text, step.at).0);
            let problems = self.problems.len();
            let kind = self.kind(runbook, step, &step.kind, inputs);
            if let Some(when) = &step.when {
                self.condition(step, when, inputs);
            }
            if let Some(call) = kind.nested() {
                let inner = self.called(step, call, (prefix, inputs), &planned, outer);
                if !self.is_left_out(step, problems) {
                    planned.extend(inner);
                }
                continue;
            }
            self.laid_out += 1;
            if self.laid_out > MOST_STEPS {
                self.too_large = true;
                return planned;
            }
            let probe = step.probe.clone().or_else(|| step.kind.own_probe()).map(|p| self.kind(runbook, step, &p, inputs));
            // Taking the canary out in an emergency has no way back of its own: nobody puts it in again by the way.
            let is_way_back = |kind: &Kind| !(self.emergency && step.undo.is_none() && matches!(kind, Kind::Traffic(_)));
            let undo = step.way_back().filter(is_way_back).map(|u| self.kind(runbook, step, &u, inputs));
            let others = [probe.as_ref(), undo.as_ref()].into_iter().flatten().flat_map(Kind::checks);
            for check in step.guard.iter().chain(kind.checks()).chain(others) {
                self.check(&step.name, check);
            }
            if self.is_left_out(step, problems) {
                continue;
            }
            planned.push(Planned {
                key: format!("{prefix}{}", step.id),
                name: step.name.clone(),
                when: step.when.iter().map(|expression| when(expression, prefix, inputs)).collect(),
                guard: step.guard.clone(),
                timeout: step.timeout.or_else(|| kind.default_timeout()),
                kind,
                retry: step.retry,
                idempotent: step.idempotent,
                probe,
                on_failure: step.on_failure,
                by_hand: self.by_hand(step),
                takes_back: None,
                undo,
                undo_timeout: step.undo_timeout,
                inputs: if prefix.is_empty() { Map::new() } else { inputs.clone() },
                folder: folder_of(&runbook.path),
            });
        }
        planned
    }

    /// The first of a step's ways on by hand that there is; none where it does not insist on what it names.
    fn by_hand(&mut self, step: &Step) -> Option<String> {
        let known = &self.world.runbooks;
        let found = step.by_hand.iter().find(|name| known.contains_key(*name)).cloned();
        if let (None, Some(first), false) = (&found, step.by_hand.first(), step.if_configured) {
            let hint = suggestion(first, known.keys().map(String::as_str));
            self.problem(format!("step `{}`: by_hand: there is no runbook `{first}`", step.name), hint);
        }
        found
    }

    /// Whether a step is left out because something that it names is not configured: what was said about that since is then
    /// no problem, and is said where the plan is shown.
    fn is_left_out(&mut self, step: &Step, problems: usize) -> bool {
        if !step.if_configured || self.problems.len() == problems {
            return false;
        }
        let why = self.problems.split_off(problems).remove(0);
        let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
        self.left_out.push(format!("left out: {}", why.split(" (").next().unwrap_or(why)));
        true
    }

    /// The steps that stand in the place of one.
    fn called(
        &mut self,
        step: &Step,
        call: &RunbookCall,
        around: (&str, &Map<String, Json>),
        before: &[Planned],
        outer: &mut Vec<String>,
    ) -> Vec<Planned> {
        match call {
            RunbookCall::Named { name, inputs } => self.nested(step, name, inputs, around, outer),
            RunbookCall::Hold { otherwise, .. } => {
                let hold =
                    self.world.settings.snapshots.as_ref().and_then(|snapshots| snapshots.hold.clone()).or_else(|| otherwise.clone());
                // It cannot hold itself.
                let own = hold.filter(|name| outer.first() != Some(name));
                own.map_or_else(Vec::new, |name| self.nested(step, &name, &Map::new(), around, outer))
            }
            RunbookCall::Back { back } => {
                let of = format!("{}{back}/", around.0);
                let laid_out = before.iter().rev().filter(|planned| planned.key.starts_with(&of));
                laid_out.filter_map(|planned| taken_back(step, planned, around)).collect()
            }
        }
    }

    /// The steps of another runbook, in the place of the step that names it.
    fn nested(
        &mut self,
        step: &Step,
        name: &str,
        given: &Map<String, Json>,
        (prefix, own_inputs): (&str, &Map<String, Json>),
        outer: &mut Vec<String>,
    ) -> Vec<Planned> {
        let Some(inner) = self.world.runbooks.get(name).cloned() else {
            let hint = suggestion(name, self.world.runbooks.keys().map(String::as_str));
            self.problem(format!("step `{}`: there is no runbook `{name}`", step.name), hint);
            return Vec::new();
        };
        if outer.contains(&inner.name) {
            self.problem(format!("step `{}`: {} → {name} runs in a circle", step.name, outer.join(" → ")), None);
            return Vec::new();
        }
        if outer.len() > DEEPEST || self.laid_out > MOST_STEPS {
            self.too_large = true;
            return Vec::new();
        }
        if step.undo.is_some() || step.probe.is_some() || step.retry.is_some() || step.timeout.is_some() {
            self.problem(format!("step `{}`: the runbook's own steps carry undo, probe, retry and timeout", step.name), None);
        }
        if step.on_failure == Some(OnFailure::Continue) {
            self.problem(
                format!("step `{}`: a runbook that failed half-way is not gone past: its own steps say what follows", step.name),
                None,
            );
        }
        if !inner.rollback.steps.is_empty() {
            self.problem(format!("step `{}`: {name} has a rollback of its own, and can only be run by itself", step.name), None);
        }
        let open = |text: &str| self.asked.only_checks && template::uses(text).is_ok_and(|uses| !uses.is_late());
        if given.values().filter_map(Json::as_str).any(|text| template::is_template(text) && !open(text)) {
            self.problem(format!("step `{}`: inputs of another runbook have to be known when it is planned", step.name), None);
        }
        for check in &step.guard {
            self.check(&step.name, check);
        }
        self.permitted(&inner);
        let given: IndexMap<String, Json> = given.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let inputs = self.inputs(&inner, &given);
        outer.push(inner.name.clone());
        let mut steps = self.steps(&inner, &inner.steps, &inputs, &format!("{prefix}{}/", step.id), outer);
        outer.pop();
        for inside in &mut steps {
            inside.name = format!("{}: {}", step.name, inside.name);
            // Conditions and guards of the outer step stand above those of each inner one.
            if let Some(expression) = &step.when {
                inside.when.insert(0, when(expression, prefix, own_inputs));
            }
            inside.guard.splice(0..0, step.guard.iter().cloned());
            inside.on_failure = inside.on_failure.or(step.on_failure);
        }
        if let Some(first) = steps.first_mut() {
            first.guard.splice(0..0, inner.guard.iter().cloned());
        }
        steps
    }

    /// A kind with its templates rendered and its targets resolved.
    fn kind(&mut self, runbook: &Runbook, step: &Step, kind: &Kind, inputs: &Map<String, Json>) -> Kind {
        let (context, only_checks) = (self.context(inputs), self.asked.only_checks);
        let mut used = template::TemplateNames::default();
        let mut render = |text: &str, typed: bool| {
            let uses = template::uses(text)?;
            let late = uses.is_late() || only_checks && uses.inputs().any(|name| !inputs.contains_key(name));
            used.0.extend(uses.0);
            let value = match (late, typed) {
                (true, _) => return Ok(Json::from(text)),
                (false, true) => template::render_value(text, &context)?,
                (false, false) => Json::String(template::render(text, &context)?),
            };
            // It would be read as a template in the run.
            match value.as_str() {
                Some(made) if template::is_template(made) => Err(format!("`{text}` comes to a text with template signs in it")),
                _ => Ok(value),
            }
        };
        let mut kind = kind.clone();
        let mut fill = Fill::new(&mut render);
        kind.fill(&mut fill);
        let wrong = fill.problems;
        for e in wrong {
            self.problem(format!("step `{}`: {e}", step.name), None);
        }
        self.vars_exist(&format!("step `{}`", step.name), &used);
        let folder = folder_of(&runbook.path);
        kind.secrets_beside(&folder);
        let Planner { world, read, problems, here, .. } = self;
        kind.resolve(&mut StepNames { world, read: *read, only_checks, problems, here, step: &step.name, folder });
        kind
    }

    /// Whether a name depends on an input that is left open.
    fn is_open(&self, name: &str) -> bool {
        self.asked.only_checks && template::is_template(name)
    }

    /// A condition that can be told by what is known already has to be one that can be told.
    fn condition(&mut self, step: &Step, when: &str, inputs: &Map<String, Json>) {
        let uses = template::uses_of_expression(when).unwrap_or_default();
        self.vars_exist(&format!("step `{}`", step.name), &uses);
        let open = self.asked.only_checks && uses.inputs().any(|name| !inputs.contains_key(name));
        if uses.is_late() || open {
            return;
        }
        if let Err(e) = template::holds(when, &self.context(inputs)) {
            self.problem(format!("step `{}`: when: {e}", step.name), None);
        }
    }

    fn vars_exist(&mut self, whose: &str, uses: &template::TemplateNames) {
        for name in uses.0.iter().filter_map(|name| name.strip_prefix("vars.")) {
            let name = name.split('.').next().unwrap_or(name);
            if !self.world.vars.contains_key(name) {
                let hint = suggestion(name, self.world.vars.keys().map(String::as_str));
                self.problem(format!("{whose}: there is no `{name}` under [vars]"), hint);
            }
        }
    }

    fn check(&mut self, whose: &str, check: &Check) {
        let Some(unit) = self.world.signals.get(&check.signal) else {
            let hint = suggestion(&check.signal, self.world.signals.keys().map(String::as_str));
            self.problem(format!("`{whose}`: there is no signal `{}`", check.signal), hint);
            return;
        };
        if let Some(condition) = &check.condition
            // What is still open is known when it is planned.
            && !self.is_open(condition)
            && let Err(e) = Condition::parse(condition, *unit)
        {
            self.problem(format!("`{whose}`: {}: {e}", check.signal), None);
        }
    }

    /// The runbook's own notifications, and those that every run has.
    fn notices(&mut self, runbook: &Runbook) -> Vec<Notice> {
        let own = |name: &str| runbook.notifications.iter().any(|n| n.name == name && n.own.is_none());
        let mut notices: Vec<Notice> = self.world.always.iter().filter(|n| !own(&n.name)).cloned().collect();
        for (i, wanted) in runbook.notifications.iter().enumerate() {
            // One that a runbook describes itself is not the configured one of the same name.
            let name = if wanted.own.is_some() { format!("{} {}", wanted.name, i + 1) } else { wanted.name.clone() };
            let channel = wanted.own.clone().or_else(|| self.world.channels.get(&wanted.name).cloned());
            match channel {
                Some(channel) => notices.push(Notice { name, channel, events: wanted.events.clone() }),
                None => {
                    self.here = format!("{}:{}", runbook.path.display(), position(&runbook.text, wanted.at).0);
                    let known = suggestion(&wanted.name, self.world.channels.keys().map(String::as_str));
                    let hint = known.unwrap_or_else(|| format!("add [notify.{}] to the configuration", wanted.name));
                    self.problem(format!("there is no channel `{}`", wanted.name), Some(hint));
                }
            }
        }
        notices
    }
}

/// The way back of a step as a step of its own; where that has done nothing it is left out.
fn taken_back(step: &Step, planned: &Planned, (prefix, inputs): (&str, &Map<String, Json>)) -> Option<Planned> {
    let kind = planned.undo.clone()?;
    Some(Planned {
        // In the same runbook, so that its templates see the same steps.
        key: format!("{}-back", planned.key),
        name: format!("{}: {}", step.name, planned.name),
        when: planned.when.iter().cloned().chain(step.when.iter().map(|expression| when(expression, prefix, inputs))).collect(),
        guard: step.guard.clone(),
        timeout: planned.undo_timeout.or_else(|| kind.default_timeout()),
        retry: None,
        idempotent: kind.is_idempotent(),
        probe: None,
        on_failure: step.on_failure,
        by_hand: None,
        takes_back: Some(planned.key.clone()),
        undo: None,
        undo_timeout: None,
        kind,
        inputs: planned.inputs.clone(),
        folder: planned.folder.clone(),
    })
}

fn when(expression: &str, prefix: &str, inputs: &Map<String, Json>) -> When {
    let inputs = if prefix.is_empty() { Map::new() } else { inputs.clone() };
    When { expression: expression.to_string(), prefix: prefix.to_string(), inputs }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}
