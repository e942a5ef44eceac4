//! A plan: a runbook with every variable resolved and every target frozen. What the prompt shows and what the runner
//! executes are the same bytes; the fingerprint says so.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::event::Operator;
use super::kinds::{Check, Kind, Uses};
use super::millis;
use super::model::{Channel, Checklists, Danger, Occasion, OnFailure, Retry};
use super::template::holds;
use crate::base::clock::Stamp;
use crate::base::text::{fit, hex};
use crate::base::tier::Tier;
use crate::base::units::short;

/// The format of `plan.json`. A runner refuses any other.
pub const VERSION: u32 = 2;
/// So many of the steps that change something are named before everything else is said.
const GIST: usize = 6;
/// The oldest that is still read.
const OLDEST: u32 = 1;

/// A file that the plan was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

/// What a run needs of the configuration, as it was: the runner works by it, whatever becomes of the file. It holds no
/// secrets, only references to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrozenConfig {
    pub path: PathBuf,
    /// Of plans of the first version: the whole text, which was read again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The values themselves: services, databases, signals, channels, roles.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub values: Json,
    /// Of plans of the first version: sha256 of the shipped profile it builds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanEnvironment {
    pub name: String,
    pub tier: Tier,
}

/// One step, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its id; steps of a nested runbook are `outer/inner`.
    pub key: String,
    pub name: String,
    #[serde(flatten)]
    pub kind: Kind,
    /// Each must be true for the step to be done: those of the runbooks around it, and last its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<Check>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    pub idempotent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// The runbook that leads on by hand when it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// The earlier step that this one takes back, where that has done anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub undo_timeout: Option<Duration>,
    /// Values of templates that only the run will know: inputs as its own runbook sees them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Json>,
    /// Where scripts run and their files are.
    pub folder: PathBuf,
}

/// A condition, and the runbook whose inputs and steps it speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct When {
    pub expression: String,
    /// What the keys of that runbook's steps begin with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Json>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RollbackPlan {
    pub automatic: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Planned>,
}

/// Whom to tell, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub name: String,
    pub channel: Channel,
    pub events: Vec<Occasion>,
}

/// What a plan comes to: the fingerprint is over this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    pub runbook: String,
    pub title: String,
    pub environment: PlanEnvironment,
    pub danger: Danger,
    /// The stand-in of the environment that it acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Tried out, on a target that is not production.
    pub drill: bool,
    /// Begun by a program, and not by a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// It takes the environment from whoever has it, and waits for nobody with its first step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub inputs: Map<String, Json>,
    pub vars: Map<String, Json>,
    /// What the runbook's file is warned of: deprecated, to be reviewed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<Check>,
    pub steps: Vec<Planned>,
    pub rollback: RollbackPlan,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    #[serde(default, skip_serializing_if = "Checklists::is_empty")]
    pub checklists: Checklists,
    /// The runbook, and those it runs.
    pub sources: Vec<SourceFile>,
    pub config: FrozenConfig,
}

impl Content {
    /// Its steps, and those of its rollback.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        self.steps.iter().chain(&self.rollback.steps)
    }

    /// Everything that it names, ways back included.
    pub fn uses(&self) -> Uses {
        let mut uses = Uses::default();
        uses.checks(&self.guard);
        for step in self.all() {
            uses.checks(&step.guard);
            for kind in [Some(&step.kind), step.probe.as_ref(), step.undo.as_ref()].into_iter().flatten() {
                uses.checks(kind.checks());
                uses.extend(kind.uses());
            }
        }
        uses
    }

    /// A drill of a plan of the first version: what changes something is left out.
    pub fn only_pretends(&self) -> bool {
        self.drill && self.target.is_none()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub v: u32,
    /// sha256 over the content.
    pub fingerprint: String,
    pub made: Stamp,
    /// After this it is not begun any more: the world has moved on.
    pub expires: Stamp,
    pub by: Operator,
    /// How long steps took in earlier runs, in milliseconds, by key.
    #[serde(default)]
    pub expected: Map<String, Json>,
    pub content: Content,
}

impl Plan {
    pub fn new(content: Content, by: Operator, made: Stamp, valid: Duration) -> Plan {
        Plan { v: VERSION, fingerprint: fingerprint(&content), made, expires: made.plus(valid), by, expected: Map::new(), content }
    }

    /// Reads `plan.json` and holds it to its fingerprint.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Plan, String> {
        let version: Json = serde_json::from_str(text).map_err(|e| format!("the plan is no JSON: {e}"))?;
        match version.get("v").and_then(Json::as_u64) {
            Some(v) if (u64::from(OLDEST)..=u64::from(VERSION)).contains(&v) => {}
            other => {
                return Err(format!(
                    "the plan is of version {}, this program speaks {VERSION}",
                    other.map_or_else(|| "?".into(), |v| v.to_string())
                ));
            }
        }
        let plan: Plan = serde_json::from_str(text).map_err(|e| format!("the plan cannot be read: {e}"))?;
        let found = fingerprint(&plan.content);
        if found != plan.fingerprint {
            return Err(format!("the plan was changed: its fingerprint is {}, its content gives {found}", plan.fingerprint));
        }
        Ok(plan)
    }

    /// Every step that can be run, in the order of the plan, rollback and undo last.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        self.content.all()
    }

    /// The step behind a key; `undo/KEY` is the undo of a step.
    pub fn step(&self, key: &str) -> Option<std::borrow::Cow<'_, Planned>> {
        if let Some(undone) = key.strip_prefix("undo/") {
            let step = self.content.steps.iter().find(|s| s.key == undone)?;
            let kind = step.undo.clone()?;
            return Some(std::borrow::Cow::Owned(Planned {
                key: key.into(),
                name: format!("undo: {}", step.name),
                timeout: step.undo_timeout.or_else(|| kind.default_timeout()),
                idempotent: kind.is_idempotent(),
                kind,
                when: Vec::new(),
                guard: Vec::new(),
                retry: None,
                probe: None,
                on_failure: Some(OnFailure::Ask),
                by_hand: None,
                takes_back: None,
                undo: None,
                undo_timeout: None,
                inputs: step.inputs.clone(),
                folder: step.folder.clone(),
            }));
        }
        self.all().find(|s| s.key == key).map(std::borrow::Cow::Borrowed)
    }

    pub fn mutates(&self) -> bool {
        self.all().any(Planned::mutates)
    }

    pub fn expected(&self, key: &str) -> Option<Duration> {
        self.expected.get(key).and_then(Json::as_u64).map(Duration::from_millis)
    }

    /// The sum of what is known about the steps.
    pub fn expected_total(&self) -> Option<Duration> {
        let known: Vec<Duration> = self.content.steps.iter().filter_map(|s| self.expected(&s.key)).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }

    /// What the operator has to type before it begins: the environment's name, `yes`, or nothing (one key).
    pub fn confirmation(&self) -> Confirmation {
        match (self.content.danger, self.content.environment.tier == Tier::Production) {
            (Danger::Safe, _) => Confirmation::Key,
            (Danger::Danger, true) => Confirmation::Type(self.content.environment.name.clone()),
            (Danger::Caution | Danger::Danger, _) => Confirmation::Type("yes".into()),
        }
    }

    /// The plan as people read it, line by line: the same in the dialog and on the command line.
    pub fn lines(&self) -> Vec<String> {
        let c = &self.content;
        let drill = match (&c.target, c.drill) {
            (Some(target), true) => format!("  DRILL, for real, on target {target}"),
            (Some(target), false) => format!("  on target {target}"),
            (None, true) => "  DRILL: nothing is changed".into(),
            (None, false) => String::new(),
        };
        let mut lines = vec![format!("{} on {} ({}): {}{drill}", c.title, c.environment.name, c.environment.tier.name(), c.danger.word())];
        if c.emergency {
            lines.push("EMERGENCY: whoever has the environment is told to stop, and it begins at once".into());
        }
        for warning in &c.warnings {
            lines.push(format!("warning  {warning}"));
        }
        lines.extend(self.gist());
        if let Some(reason) = &c.reason {
            lines.push(format!("reason   {reason}"));
        }
        for (name, value) in &c.inputs {
            lines.push(format!("input    {name} = {}", value.as_str().map_or_else(|| value.to_string(), str::to_string)));
        }
        let lists = &c.checklists;
        for (when, items) in [("before", &lists.before), ("during", &lists.during), ("after", &lists.after)] {
            lines.extend(items.iter().map(|item| format!("{when:<8} {item}")));
        }
        if !c.guard.is_empty() {
            let all: Vec<String> = c.guard.iter().map(ToString::to_string).collect();
            lines.push(format!("guard    {}", all.join(", ")));
        }
        // First what somebody in a hurry has to know; then every call.
        lines.extend(self.summary());
        for (i, step) in c.steps.iter().enumerate() {
            lines.push(String::new());
            step.lines(&format!("{}", i + 1), self.expected(&step.key), &mut lines);
        }
        let rollback = &c.rollback;
        if !rollback.steps.is_empty() {
            lines.push(String::new());
            let when = match (rollback.automatic, rollback.conditions.as_slice()) {
                (true, []) => "by itself, after any failure".to_string(),
                (true, all) => format!("by itself, when {}", all.join(" or ")),
                (false, _) => "only when an operator says so".into(),
            };
            lines.push(format!("rollback {when}"));
            for (i, step) in rollback.steps.iter().enumerate() {
                step.lines(&format!("r{}", i + 1), None, &mut lines);
            }
        }
        let until = self.expires.iso();
        lines.push(String::new());
        lines.push(format!("plan     runbook {}, fingerprint {}, good until {}Z", c.runbook, &self.fingerprint[..12], &until[..19]));
        lines
    }

    /// What is changed, a line a step: what a small screen has to show first.
    fn gist(&self) -> Vec<String> {
        let changes = |(_, step): &(usize, &Planned)| step.kind.mutates() && !step.is_ruled_out(&self.content.inputs);
        let all: Vec<(usize, &Planned)> = self.content.steps.iter().enumerate().filter(changes).collect();
        let mut lines: Vec<String> =
            all.iter().take(GIST).map(|(i, step)| format!("does     {} {}", i + 1, fit(&step.kind.describe(), 160))).collect();
        if all.len() > GIST {
            lines.push(format!("         and {} more", all.len() - GIST));
        }
        lines
    }

    /// What will be asked, what cannot be undone, who is told, how long it takes.
    fn summary(&self) -> Vec<String> {
        let c = &self.content;
        let names = |wanted: &dyn Fn(&Planned) -> bool| {
            c.steps
                .iter()
                .enumerate()
                .filter(|(_, s)| wanted(s) && !s.is_ruled_out(&c.inputs))
                .map(|(i, s)| format!("{} {}", i + 1, s.name))
                .collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        let mut asks = names(&|s| s.kind.question().is_some());
        let on_failure = names(&|s| s.on_failure == Some(OnFailure::Ask));
        asks.extend((!on_failure.is_empty()).then(|| format!("when it fails: {}", on_failure.join(", "))));
        let rollback = &c.rollback;
        let by_itself = rollback.automatic && rollback.conditions.is_empty();
        if !rollback.steps.is_empty() && !by_itself {
            asks.push("whether to roll back, after another failure".into());
        }
        lines.push(format!("asks     {}", if asks.is_empty() { "nothing".into() } else { asks.join("; ") }));
        let lasting = names(&|s| s.kind.mutates() && s.undo.is_none());
        let covered = if c.rollback.steps.is_empty() { "" } else { " (besides the rollback)" };
        match (self.mutates(), lasting.as_slice()) {
            (false, _) => lines.push("undo     nothing is changed, there is nothing to undo".into()),
            (true, []) => lines.push("undo     every step that changes something has an undo".into()),
            (true, some) => lines.push(format!("no undo  {}{covered}", some.join(", "))),
        }
        for notice in &c.notices {
            let events: Vec<&str> = notice.events.iter().map(|e| e.word()).collect();
            lines.push(format!("tells    {} on {}", notice.name, events.join(", ")));
        }
        match self.expected_total() {
            Some(total) => lines.push(format!("takes    about {}, by earlier runs", short(total))),
            None => lines.push("takes    not known yet: there is no earlier run".into()),
        }
        lines
    }
}

/// How a plan is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// One key of its own.
    Key,
    /// This text, and then Enter.
    Type(String),
}

impl Planned {
    pub fn mutates(&self) -> bool {
        self.kind.mutates() || self.undo.as_ref().is_some_and(Kind::mutates)
    }

    /// Whether what was asked for says already that it will not be done.
    pub fn is_ruled_out(&self, inputs: &Map<String, Json>) -> bool {
        let of = |when: &When| if when.prefix.is_empty() { inputs.clone() } else { when.inputs.clone() };
        self.when.iter().any(|when| holds(&when.expression, &json!({"inputs": of(when)})) == Ok(false))
    }

    fn lines(&self, number: &str, expected: Option<Duration>, lines: &mut Vec<String>) {
        let about = expected.map_or_else(String::new, |e| format!("  ~ {}", short(e)));
        let limit = self.timeout.map_or_else(|| "no time-out".to_string(), |t| format!("time-out {}", short(t)));
        let mark = if self.kind.mutates() { "changes" } else { "looks" };
        lines.push(format!("{number:>3}  {}  [{}, {mark}, {limit}]{about}", self.name, self.kind.word()));
        in_full(&self.kind, "", lines);
        let checks = |list: &[Check]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        for when in &self.when {
            lines.push(format!("     only when {}", when.expression));
        }
        if !self.guard.is_empty() {
            lines.push(format!("     only while {}", checks(&self.guard)));
        }
        if let Some(probe) = &self.probe {
            in_full(probe, "already so? ", lines);
        }
        if let Some(retry) = self.retry {
            lines.push(format!("     tried again up to {} times, {} apart and longer", retry.count, short(retry.backoff)));
        }
        if let Some(undo) = &self.undo {
            in_full(undo, "undo: ", lines);
        }
        match self.on_failure {
            None | Some(OnFailure::Stop) => {}
            Some(OnFailure::Continue) => lines.push("     on failure: go on".into()),
            Some(OnFailure::Ask) => lines.push("     on failure: ask".into()),
            Some(OnFailure::Rollback) => lines.push("     on failure: roll back".into()),
        }
    }
}

/// A call with everything that goes into it.
fn in_full(kind: &Kind, word: &str, lines: &mut Vec<String>) {
    lines.push(format!("     {word}{}", kind.describe()));
    lines.extend(kind.in_full().into_iter().map(|line| format!("       {line}")));
}

/// sha256 over the content's JSON, whose keys have one order.
fn fingerprint(content: &Content) -> String {
    // A tree of texts, numbers and lists always has a JSON form.
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    hex(&Sha256::digest(&bytes))
}
