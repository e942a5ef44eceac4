//! Journals that were read: again only when they have changed, because there may be thousands; and what runners say of how they are.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::act::effect::read_progress;
use crate::act::runner::{ControlRequest, ask};
use crate::base::units::short;
use crate::plan::runbook::{Operator, Output, Plan, Run, Section, StepProgress};
use crate::record::journal::{self, StateDir};
use crate::status::RunLine;

/// After this long without an answer that is said.
const SILENT: Duration = Duration::from_secs(15);
/// How often a runner is asked how it is.
const ASKED: Duration = Duration::from_secs(1);
/// After this long a folder's time of change tells whether it has changed again.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a runner may take to say how it is: nobody waits for that.
const GLANCE: Duration = Duration::from_millis(300);

/// What is known of them.
#[derive(Default)]
pub(super) struct KnownRuns {
    /// Journals that were read, with what the file looked like then.
    read: HashMap<String, (FileMark, Arc<RunLine>)>,
    /// The runs there were, and when their folder had last changed then.
    listed: Option<(SystemTime, Vec<String>)>,
    /// Runs that cannot be shown, and why.
    pub unreadable: Vec<(String, String)>,
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

impl KnownRuns {
    /// Every run, the newest first.
    pub fn all(&mut self, state: &StateDir) -> Vec<Arc<RunLine>> {
        let ids = self.ids(state).unwrap_or_default();
        self.unreadable.clear();
        ids.iter().filter_map(|id| self.read(state, id)).collect()
    }

    /// The ids of all runs. With thousands of them the folder is only read again when something has come or gone.
    pub fn ids(&mut self, state: &StateDir) -> Result<Vec<String>, String> {
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

    /// A run, where it can be shown.
    pub fn read(&mut self, state: &StateDir, id: &str) -> Option<Arc<RunLine>> {
        // A run that is over stays as it is.
        if let Some((_, line)) = self.read.get(id).filter(|(_, line)| line.run.is_over() && !line.driven) {
            return Some(line.clone());
        }
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

    /// What keeps a run, by its runner's own word, which is asked for now and then.
    pub fn keeps(&mut self, state: &StateDir, operator: &Operator, id: &str) -> Option<String> {
        let heard = self.stuck.entry(id.to_string()).or_default();
        if heard.asked.is_some_and(|at| at.elapsed() < ASKED) {
            return heard.said.clone();
        }
        let answer = ask(&state.run(id), &ControlRequest::Status, operator, GLANCE);
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
