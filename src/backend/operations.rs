//! Operations on plans and runs: planned, begun and talked to, the same for the cockpit and the command line, with the same
//! permissions and the same words.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::identity;
use super::known_runs::KnownRuns;
use crate::act::runner::{AbortRequest, ControlRequest, PATIENCE, Reply, Started, ask, start};
use crate::base::clock::{Clock, Stamp};
use crate::base::exit;
use crate::base::text::hex;
use crate::config::{Config, OperatorRole, planned_config, runbook_text, runbooks};
use crate::plan::runbook::{Course, Kind, LoadedRunbook, Operator, Plan, StepRun};
use crate::record::journal::StateDir;
use crate::status::{RunLine, RunStatus};

pub struct Operations {
    pub config: Arc<Config>,
    pub operator: Operator,
    groups: Vec<String>,
    /// Nothing may be run or answered, whoever asks.
    pub read_only: bool,
    pub(super) state: Result<StateDir, String>,
    /// Why the state folder itself cannot be used, where memory stands for it.
    homeless: Option<String>,
    /// What has to be said of the run that was begun last.
    remark: Option<String>,
    clock: Clock,
    pub(super) known: KnownRuns,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationError {
    /// A mistake in what was asked for: no such runbook, run or input.
    Usage(String),
    /// A mistake in a file.
    BadFile(String),
    /// A permission, a lock, a guard.
    Refused(String),
    /// Nobody is there to do it.
    Unavailable(String),
}

impl OperationError {
    pub fn words(&self) -> &str {
        match self {
            OperationError::Usage(words)
            | OperationError::BadFile(words)
            | OperationError::Refused(words)
            | OperationError::Unavailable(words) => words,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            OperationError::Usage(_) => exit::USAGE,
            OperationError::BadFile(_) => exit::BAD_FILE,
            OperationError::Refused(_) => exit::REFUSED,
            OperationError::Unavailable(_) => exit::UNAVAILABLE,
        }
    }
}

impl Operations {
    pub fn new(config: Arc<Config>, read_only: bool) -> Operations {
        let (state, homeless) = state_of(&config);
        Operations::with(config, read_only, state, homeless)
    }

    /// For whoever only looks, and may be another account (a monitoring agent): no folder is made that is then its own.
    pub fn looking(config: Arc<Config>) -> Operations {
        let root = &config.acting.state_dir;
        let (state, homeless) = match root.exists() {
            true => state_of(&config),
            false => (Err(format!("nothing was run here: {} is not there", root.display())), None),
        };
        Operations::with(config, true, state, homeless)
    }

    /// For a runner: what stands in the state folder in which it is.
    pub(super) fn beside(config: Arc<Config>, state: StateDir) -> Operations {
        Operations::with(config, true, Ok(state), None)
    }

    fn with(config: Arc<Config>, read_only: bool, state: Result<StateDir, String>, homeless: Option<String>) -> Operations {
        let operator = identity::operator();
        let groups = identity::groups(&operator.user);
        Operations { config, operator, groups, read_only, state, homeless, remark: None, clock: Clock::System, known: KnownRuns::default() }
    }

    /// The same operations on another configuration.
    pub fn on(self, config: Arc<Config>) -> Operations {
        Operations::new(config, self.read_only)
    }

    /// # Errors
    /// Why the state folder cannot be used.
    pub fn state(&self) -> Result<&StateDir, OperationError> {
        self.state.as_ref().map_err(|e| OperationError::Refused(e.clone()))
    }

    /// Why the state folder itself cannot be used, if so.
    pub(super) fn homeless(&self) -> Option<String> {
        let root = &self.config.acting.state_dir;
        self.homeless.clone().or_else(|| StateDir::could_be_opened(root).err())
    }

    /// Where the record of a run would be, or the nearest folder to it that is there.
    pub(super) fn record_folder(&self) -> Result<PathBuf, String> {
        let runs = match (self.homeless(), &self.state) {
            (Some(why), _) => return Err(why),
            (None, Ok(state)) => state.runs(),
            (None, Err(_)) => self.config.acting.state_dir.clone(),
        };
        Ok(runs.ancestors().find(|folder| folder.exists()).map_or_else(|| PathBuf::from("."), Path::to_path_buf))
    }

    pub fn runbooks(&self) -> Vec<LoadedRunbook> {
        runbooks(&self.config, self.clock.now())
    }

    /// Whether this operator may touch a run, by the roles that were in force where it was planned.
    fn permit_run(&self, plan: &Plan) -> Result<(), OperationError> {
        self.may_write()?;
        let (tier, danger) = (plan.content.environment.tier, plan.content.danger);
        // A plan that says nothing any more binds nobody beyond what is in force now.
        if let Ok((config, _)) = planned_config(plan) {
            config.acting.roles.permit(&self.operator.user, &self.groups, tier, danger).map_err(OperationError::Refused)?;
        }
        self.config.acting.roles.permit(&self.operator.user, &self.groups, tier, danger).map_err(OperationError::Refused)
    }

    fn may_write(&self) -> Result<(), OperationError> {
        match self.read_only {
            true => Err(OperationError::Refused("this is --read-only: nothing is run".into())),
            false => Ok(()),
        }
    }

    /// # Errors
    /// Why this operator may not.
    pub fn permit(&self, plan: &Plan) -> Result<(), OperationError> {
        self.may_write()?;
        self.permit_override(&plan.content)?;
        let (tier, danger) = (plan.content.environment.tier, plan.content.danger);
        self.config.acting.roles.permit(&self.operator.user, &self.groups, tier, danger).map_err(OperationError::Refused)
    }

    /// What the operator may be here.
    pub(super) fn role(&self) -> OperatorRole {
        self.config.acting.roles.of(&self.operator.user, &self.groups)
    }

    /// Begins a plan: writes it down and lets a runner take it. Gives the run's id.
    ///
    /// # Errors
    /// Why it was not begun.
    pub fn begin(&mut self, plan: &Plan) -> Result<String, OperationError> {
        self.permit(plan)?;
        // Somebody may have taken hold of it since it was planned.
        self.permit_held(&plan.content)?;
        if self.clock.now() > plan.expires {
            return Err(OperationError::Refused(format!("the plan expired at {}: make a new one", plan.expires.iso())));
        }
        let id = Ulid::generate().to_string();
        match self.make_at_home(&id, plan) {
            Ok(()) => {}
            // An emergency waits for nothing, not for room or for a folder either.
            Err(why) if plan.content.emergency => {
                let why = why.words().to_string();
                self.keep_in_memory(&id, plan).map_err(|e| OperationError::Unavailable(format!("{why}; and {e}")))?;
                self.remark = Some(format!("{why}: its record is kept in memory, in {}, until the machine ends", self.home(&id)));
            }
            Err(why) => return Err(why),
        }
        // Somebody who was quicker drives it: it has begun.
        self.started(&id, &[])?;
        self.spread_hold(plan, &id);
        Ok(id)
    }

    /// Makes a run in the state folder.
    fn make_at_home(&self, id: &str, plan: &Plan) -> Result<(), OperationError> {
        if let Some(why) = &self.homeless {
            return Err(OperationError::Refused(why.clone()));
        }
        let state = self.state()?;
        // What it may go by has to stand where it will stand.
        state.bring_home();
        state.make_run(id, plan).map(drop).map_err(|why| {
            state.unmake_run(id);
            OperationError::Unavailable(why)
        })
    }

    /// Makes a run where there is room without a disk; from then on this process keeps its records there.
    fn keep_in_memory(&mut self, id: &str, plan: &Plan) -> Result<(), String> {
        StateDir::open_in_memory(&self.config.acting.state_dir)?.make_run(id, plan)?;
        // It is found there from now on, by this process as by every other.
        (self.state, self.homeless) = state_of(&self.config);
        self.state.as_ref().map(drop).map_err(Clone::clone)
    }

    fn home(&self, id: &str) -> String {
        self.state.as_ref().map_or_else(Clone::clone, |state| state.run(id).display().to_string())
    }

    /// What has to be said of the run that was begun last.
    pub fn take_remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// Starts a runner for a run, and waits for its first word. `Ok(false)`: another one drives it already.
    fn started(&self, id: &str, arguments: &[&str]) -> Result<bool, OperationError> {
        match start(&program()?, &self.state()?.run(id), arguments) {
            Ok(Started { ok: true, .. }) => Ok(true),
            Ok(Started { driven: true, .. }) => Ok(false),
            Ok(Started { message, .. }) => Err(OperationError::Refused(message.unwrap_or_else(|| "the runner refused".into()))),
            Err(e) => Err(OperationError::Unavailable(e)),
        }
    }

    /// Lets a new runner take a run up whose own is gone, or lets a paused one go on.
    ///
    /// # Errors
    /// Why not: it is over, the runbook was changed, the environment is taken.
    pub fn resume(&mut self, id: &str) -> Result<(), OperationError> {
        let line = self.line(id)?;
        self.permit_run(&line.plan)?;
        match line.status() {
            RunStatus::Broken => return Err(OperationError::BadFile(line.words())),
            status if !status.is_open() => {
                return Err(OperationError::Refused(format!("run {id} is {}: there is nothing to resume", status.word())));
            }
            _ => {}
        }
        if let Some(emergency) = self.emergency_since(&line) {
            return Err(OperationError::Refused(format!(
                "an emergency has had the environment since ({emergency}): what this run planned holds no more (lastgreen abort {id} --leave)"
            )));
        }
        if let Some(later) = self.restored_since(&line) {
            return Err(OperationError::Refused(format!(
                "{later} has restored since, and is in use: to go on would put that aside with all that was written to it (lastgreen abort {id} --leave)"
            )));
        }
        if let Some(difference) = changed(&line.plan) {
            return Err(OperationError::Refused(format!(
                "the runbook was changed since the run began; put it back, or abort the run:\n{difference}"
            )));
        }
        if line.driven {
            return self.tell(id, &ControlRequest::Continue);
        }
        let by = serde_json::to_string(&self.operator).unwrap_or_default();
        match self.started(id, &["--by", &by])? {
            true => Ok(()),
            // Its runner began in the same moment.
            false => self.tell(id, &ControlRequest::Continue),
        }
    }

    /// The emergency that had the environment after a run was left by its runner.
    fn emergency_since(&mut self, line: &RunLine) -> Option<String> {
        let (environment, begun) = (line.plan.content.environment.name.clone(), line.run.started?);
        if line.driven || line.plan.content.emergency || !line.plan.all().any(|step| step.kind.mutates()) {
            return None;
        }
        let is_later = |other: &RunLine| {
            let c = &other.plan.content;
            let acted = other.run.steps.values().any(|step| step.touched);
            c.emergency && acted && c.environment.name == environment && other.run.started.is_some_and(|at| at > begun)
        };
        // A restore that was cut off is brought to its end, whatever came after it: it may hold the only copy.
        let restores = |(key, step): (&String, &StepRun)| {
            let planned = line.plan.step(key);
            step.attempts > 0 && planned.is_some_and(|planned| matches!(planned.kind, Kind::Restore(_)))
        };
        if line.run.steps.iter().any(restores) {
            return None;
        }
        self.runs().iter().find(|other| is_later(other)).map(|other| other.id.clone())
    }

    /// Tells a run's runner something.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn tell(&mut self, id: &str, request: &ControlRequest) -> Result<(), OperationError> {
        let line = self.line(id)?;
        self.permit_run(&line.plan)?;
        let folder = self.state()?.run(id);
        match ask(&folder, request, &self.operator, PATIENCE) {
            Ok(Reply { ok: true, .. }) => Ok(()),
            Ok(Reply { message, .. }) => Err(OperationError::Refused(message.unwrap_or_else(|| "refused".into()))),
            Err(_) if !line.driven => Err(OperationError::Unavailable(format!("the runner of {id} is gone: lastgreen resume {id}"))),
            Err(e) => Err(OperationError::Unavailable(format!("the runner of {id} does not answer, and will not do it later: {e}"))),
        }
    }

    /// Ends a run, whether its runner lives or not: one that is gone is replaced by one that only ends it.
    ///
    /// # Errors
    /// Why it was not done; also where the run has taken another course since it was `seen`.
    pub fn abort(&mut self, id: &str, undo: bool, reason: &str, seen: Course) -> Result<(), OperationError> {
        let line = self.line(id)?;
        self.permit_run(&line.plan)?;
        if let Some(why) = line.run.has_turned(seen, undo).filter(|_| line.status().is_open()) {
            return Err(OperationError::Refused(why));
        }
        // Of a journal that cannot be read nobody has seen what the run was at.
        let course = Some(seen).filter(|_| line.status() != RunStatus::Broken);
        let wanted = AbortRequest { undo, reason: reason.to_string(), course };
        let text = serde_json::to_string(&wanted).unwrap_or_default();
        let request = ControlRequest::Abort(wanted);
        if line.driven {
            return self.tell(id, &request);
        }
        if !line.status().is_open() {
            return Err(OperationError::Refused(format!("run {id} is {}: there is nothing to abort", line.status().word())));
        }
        let by = serde_json::to_string(&self.operator).unwrap_or_default();
        match self.started(id, &["--by", &by, "--abort", &text])? {
            true => Ok(()),
            // Its runner began in the same moment: that one is told.
            false => self.tell(id, &request),
        }
    }

    pub fn now(&self) -> Stamp {
        self.clock.now()
    }
}

/// The state folder; where it cannot be made, what stands for it in memory, if a run had to be kept there.
fn state_of(config: &Config) -> (Result<StateDir, String>, Option<String>) {
    let root = &config.acting.state_dir;
    match StateDir::open(root) {
        Ok(state) => (Ok(state), None),
        Err(why) => (StateDir::kept_in_memory(root).ok_or_else(|| why.clone()), Some(why)),
    }
}

/// What is different between the runbooks of a plan and those of now; `None`: nothing.
pub fn changed(plan: &Plan) -> Option<String> {
    let mut differences = Vec::new();
    for source in &plan.content.sources {
        match runbook_text(&source.path) {
            None => differences.push(format!("{} is gone", source.path.display())),
            Some(text) if text == source.text => {}
            Some(text) => {
                let diff = similar::TextDiff::from_lines(source.text.as_str(), text.as_str());
                let name = source.path.display().to_string();
                differences.push(
                    diff.unified_diff().context_radius(1).header(&format!("{name} (as planned)"), &format!("{name} (now)")).to_string(),
                );
            }
        }
    }
    for (file, sum) in plan.all().flat_map(|s| [Some(&s.kind), s.probe.as_ref(), s.undo.as_ref()]).flatten().filter_map(Kind::file) {
        match std::fs::read(file) {
            Err(e) => differences.push(format!("{file}: {e}")),
            Ok(bytes) if hex(&Sha256::digest(&bytes)) == sum => {}
            Ok(_) => differences.push(format!("{file} is another script than the one that was planned (sha256 {sum})")),
        }
    }
    (!differences.is_empty()).then(|| differences.join("\n"))
}

/// The program that runs now, also after its file was replaced.
fn program() -> Result<PathBuf, OperationError> {
    let path = std::env::current_exe().map_err(|e| OperationError::Unavailable(format!("cannot find this program: {e}")))?;
    Ok(if path.exists() { path } else { PathBuf::from("/proc/self/exe") })
}
