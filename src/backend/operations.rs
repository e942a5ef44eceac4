//! Operations on plans and runs: planned, begun and talked to, the same for the cockpit and the command line, with the same
//! permissions and the same words.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::identity;
use crate::act::effect::read_progress;
use crate::act::runner::{ControlRequest, PATIENCE, Reply, Started, ask, start};
use crate::base::clock::{Clock, Stamp};
use crate::base::exit;
use crate::base::text::hex;
use crate::base::units::short;
use crate::config::{Config, OperatorRole, planned_config, runbook_text, runbooks};
use crate::plan::runbook::{Kind, LoadedRunbook, Operator, Output, Plan, Run, Section, StepProgress, StepRun};
use crate::record::journal::{self, StateDir};
use crate::status::{Ledger, RunLine, RunStatus};

/// After this long without an answer that is said.
const SILENT: Duration = Duration::from_secs(15);
/// How often a runner is asked how it is.
const ASKED: Duration = Duration::from_secs(1);
/// After this long a folder's time of change tells whether it has changed again.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a runner may take to say how it is: nobody waits for that.
const GLANCE: Duration = Duration::from_millis(300);

pub struct Operations {
    pub config: Arc<Config>,
    pub operator: Operator,
    groups: Vec<String>,
    /// Nothing may be run or answered, whoever asks.
    pub read_only: bool,
    state: Result<StateDir, String>,
    /// Why the state folder itself cannot be used, where memory stands for it.
    homeless: Option<String>,
    /// What has to be said of the run that was begun last.
    remark: Option<String>,
    clock: Clock,
    /// Journals that were read, with what the file looked like then.
    read: HashMap<String, (FileMark, Arc<RunLine>)>,
    /// The runs there were, and when their folder had last changed then.
    listed: Option<(SystemTime, Vec<String>)>,
    /// Runs that cannot be shown, and why.
    unreadable: Vec<(String, String)>,
    /// What runners said last of how they are; and since when one has not answered.
    stuck: HashMap<String, Heard>,
}

#[derive(Default)]
struct Heard {
    asked: Option<Instant>,
    silent: Option<Instant>,
    said: Option<String>,
}

/// What tells that something about a run has changed.
#[derive(Clone, Debug, PartialEq)]
struct FileMark {
    length: u64,
    changed: Option<SystemTime>,
    driven: bool,
    progress: Option<StepProgress>,
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
        let operator = identity::operator();
        let groups = identity::groups(&operator.user);
        let (state, homeless) = state_of(&config);
        Operations {
            config,
            operator,
            groups,
            read_only,
            state,
            homeless,
            remark: None,
            clock: Clock::System,
            read: HashMap::new(),
            listed: None,
            unreadable: Vec::new(),
            stuck: HashMap::new(),
        }
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

    pub fn runbooks(&self) -> Vec<LoadedRunbook> {
        runbooks(&self.config, self.clock.now())
    }

    /// The run an operator means: an id, a part of one, or `last`, the newest of this environment.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&mut self, wanted: &str) -> Result<String, OperationError> {
        self.find_newest(wanted, false)
    }

    /// The same for talking to it: `last` is then the newest that is not over, where there is one.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find_open(&mut self, wanted: &str) -> Result<String, OperationError> {
        self.find_newest(wanted, true)
    }

    fn find_newest(&mut self, wanted: &str, open: bool) -> Result<String, OperationError> {
        if wanted != "last" {
            return self.state()?.find(wanted).map_err(OperationError::Usage);
        }
        self.state()?;
        let environment = self.config.environment.name.clone();
        let mut here = self.runs();
        // One whose name is not known may be any.
        here.retain(|run| environment.is_empty() || run.plan.content.environment.name == environment);
        let open = here.iter().find(|run| open && run.status().is_open());
        open.or(here.first())
            .map(|run| run.id.clone())
            .ok_or_else(|| OperationError::Usage(format!("there is no run on {environment} here{}", self.newest_elsewhere())))
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
    /// Why it was not done.
    pub fn abort(&mut self, id: &str, undo: bool, reason: &str) -> Result<(), OperationError> {
        let line = self.line(id)?;
        self.permit_run(&line.plan)?;
        let request = ControlRequest::Abort { undo, reason: reason.to_string() };
        if line.driven {
            return self.tell(id, &request);
        }
        if !line.status().is_open() {
            return Err(OperationError::Refused(format!("run {id} is {}: there is nothing to abort", line.status().word())));
        }
        let by = serde_json::to_string(&self.operator).unwrap_or_default();
        let how = if undo { "undo" } else { "leave" };
        match self.started(id, &["--by", &by, "--abort", how, "--reason", reason])? {
            true => Ok(()),
            // Its runner began in the same moment: that one is told.
            false => self.tell(id, &request),
        }
    }

    /// One run.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn line(&mut self, id: &str) -> Result<Arc<RunLine>, OperationError> {
        self.read_run(id).ok_or_else(|| OperationError::Usage(format!("there is no run `{id}`; `lastgreen runs` lists them")))
    }

    /// Every run, the newest first.
    pub fn runs(&mut self) -> Vec<Arc<RunLine>> {
        let ids = self.ids().unwrap_or_default();
        self.unreadable.clear();
        ids.iter().filter_map(|id| self.read_run(id)).collect()
    }

    /// Runs that are there and cannot be shown, and why: as of the last look at all of them.
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.unreadable
    }

    /// The ids of all runs. With thousands of them the folder is only read again when something has come or gone.
    fn ids(&mut self) -> Result<Vec<String>, String> {
        let state = self.state.as_ref().map_err(Clone::clone)?;
        let changed = state.changed().map_err(|e| format!("cannot read {}: {e}", state.runs().display()))?;
        // What changed just now may change again in the same tick of its clock.
        let settled = changed.elapsed().is_ok_and(|age| age > SETTLED);
        if let Some((at, ids)) = &self.listed
            && *at == changed
            && settled
        {
            return Ok(ids.clone());
        }
        let ids = state.list()?;
        self.listed = settled.then(|| (changed, ids.clone()));
        Ok(ids)
    }

    pub(super) fn read_run(&mut self, id: &str) -> Option<Arc<RunLine>> {
        // A run that is over stays as it is.
        if let Some((_, line)) = self.read.get(id).filter(|(_, line)| line.run.is_over() && !line.driven) {
            return Some(line.clone());
        }
        let state = self.state.as_ref().ok()?;
        let folder = state.run(id);
        let meta = std::fs::metadata(folder.join("journal.jsonl")).ok();
        let driven = journal::is_driven(&folder);
        let mark = FileMark {
            length: meta.as_ref().map_or(0, std::fs::Metadata::len),
            changed: meta.and_then(|m| m.modified().ok()),
            driven,
            progress: if driven { read_progress(&folder) } else { None },
        };
        if let Some((seen, line)) = self.read.get(id)
            && *seen == mark
        {
            return Some(line.clone());
        }
        let plan = match self.read.get(id) {
            Some((_, line)) => line.plan.clone(),
            None => match state.plan(id) {
                Ok(plan) => Arc::new(plan),
                Err(why) => {
                    self.unreadable.push((id.to_string(), why));
                    return None;
                }
            },
        };
        let line = Arc::new(RunLine { progress: mark.progress.clone(), ..read_line(id, plan, &folder, driven) });
        self.read.insert(id.to_string(), (mark, line.clone()));
        Some(line)
    }

    /// Everything there is to show.
    pub fn ledger(&mut self, loaded: &[LoadedRunbook]) -> Ledger {
        let fault = self.ids().err();
        let runs = self.runs();
        let open = runs.iter().filter(|r| r.driven && r.status().is_open());
        let stuck = open.filter_map(|run| Some((run.id.clone(), self.keeps(&run.id)?))).collect();
        let runbooks = Ledger::lines(loaded, &runs, &self.config.environment.name, self.clock.now());
        Ledger { runs, runbooks, stuck, fault, unreadable: self.unreadable.clone(), known: true, ..Ledger::default() }
    }

    /// What keeps a run, by its runner's own word, which is asked for now and then.
    fn keeps(&mut self, id: &str) -> Option<String> {
        let state = self.state.as_ref().ok()?;
        let heard = self.stuck.entry(id.to_string()).or_default();
        if heard.asked.is_some_and(|at| at.elapsed() < ASKED) {
            return heard.said.clone();
        }
        let answer = ask(&state.run(id), &ControlRequest::Status, &self.operator, GLANCE);
        heard.asked = Some(Instant::now());
        match answer {
            Ok(reply) => (heard.silent, heard.said) = (None, reply.message),
            // While it takes locks and looks at guards it hears nothing.
            Err(e) => {
                let since = heard.silent.get_or_insert_with(Instant::now).elapsed();
                heard.said = (since > SILENT).then(|| format!("its runner lives, and has not answered for {}: {e}", short(since)));
            }
        }
        heard.said.clone()
    }

    /// The file that a step's output is in.
    pub fn output(&self, id: &str, key: &str) -> Option<PathBuf> {
        Some(crate::act::effect::output_file(&self.state.as_ref().ok()?.run(id), key))
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

fn read_line(id: &str, plan: Arc<Plan>, folder: &Path, driven: bool) -> RunLine {
    let broken = |plan, e: String| RunLine { id: id.into(), plan, run: Run::default(), driven, broken: Some(e), progress: None };
    let lines = match journal::read(folder) {
        Ok(replay) => replay.lines,
        // A run whose runner has not written its first word, or never did.
        Err(_) if !folder.join("journal.jsonl").exists() => Vec::new(),
        Err(e) => return broken(plan, e.to_string()),
    };
    match Run::fold(&plan, lines.iter().map(|l| &l.record)) {
        Ok(mut run) => {
            // What its steps gave is of no more use, and there may be thousands of runs.
            if run.is_over() {
                // But for what says where traffic and code are.
                let turns = |key: &str| {
                    plan.step(key).map(|step| step.kind.uses()).is_some_and(|uses| uses.has(Section::Traffic) || uses.has(Section::Release))
                };
                let spent = run.steps.iter_mut().filter(|(key, _)| !turns(key));
                spent.for_each(|(_, step)| step.output = Output::default());
            }
            RunLine { id: id.into(), plan, run, driven, broken: None, progress: None }
        }
        Err(e) => broken(plan, e.to_string()),
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
