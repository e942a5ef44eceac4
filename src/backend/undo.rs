//! Taking the restoring of data back, and that again: which run it is of, and what goes out of use by it.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::runtime::Runtime;

use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use super::rollback::SNAPSHOT;
use crate::act::effect::may_take_back;
use crate::act::infra::snapshot::list;
use crate::base::units::{short, thousands};
use crate::config::planned_config;
use crate::plan::deploy::{Scope, WriteLoss};
use crate::plan::runbook::{Kind, NOT_NEEDED, Plan, RunResult, SnapshotSettings, StepRun, StepState};
use crate::record::journal::RemoteRun;
use crate::status::{RunLine, RunStatus};

/// The runbook that takes a restore back.
pub(super) const UNDO: &str = "rollback-undo";
pub(super) const RESTORE: &str = "restore";
/// Its inputs: the run whose doing is taken back, and the one that restored, where that had only taken a restore back.
const RUN: &str = "run";
const AGAIN: &str = "again";

/// How long somebody who wants something taken back waits for those who may speak against it.
const ASKING: Duration = Duration::from_secs(5);
/// How many runs of others are looked at.
const MOST: i64 = 50;

/// What is taken back.
struct Undone {
    run: Arc<RunLine>,
    snapshot: String,
    /// The run that restored, where what is taken back is itself the taking back of that.
    again: Option<String>,
    /// What came after it, where that is not certain to be in use.
    later: Option<String>,
}

/// The snapshot that a run brought back, if it did and has not taken that back itself.
fn restored(line: &RunLine) -> Option<String> {
    let taken_back = |key: &str| line.run.steps.get(&format!("undo/{key}")).is_some_and(|undo| undo.state == StepState::Done);
    line.run.steps.iter().find_map(|(key, step)| match &line.plan.step(key)?.kind {
        Kind::Restore(restore) if step.touched && restore.back.is_none() && !taken_back(key) => Some(restore.snapshot.clone()),
        _ => None,
    })
}

/// A restoring that is in effect.
#[derive(Clone, Copy, Debug, PartialEq)]
struct InEffect<'r> {
    /// The run that restored.
    of: &'r str,
    /// The run that has put it there: that one, or one that brought it back.
    by: &'r str,
    whole: bool,
}

/// What is in effect in an environment, the one on top of all others last: what each restored has what the one before it had
/// left beside it.
fn in_effect<'r>(environment: &str, runs: &'r [Arc<RunLine>]) -> Vec<InEffect<'r>> {
    let mut stack: Vec<InEffect<'r>> = Vec::new();
    for line in runs.iter().rev().filter(|line| line.plan.content.environment.name == environment) {
        let put = |of: &'r str| InEffect { of, by: &line.id, whole: restores(line).all(|step| step.state == StepState::Done) };
        match (input(line, AGAIN), input(line, RUN)) {
            (Some(of), _) if restores(line).any(|step| step.touched) => {
                stack.retain(|one| one.of != of);
                stack.push(put(of));
            }
            (None, Some(of)) if is_whole(line) => stack.retain(|one| one.of != of),
            (None, None) if restored(line).is_some() => stack.push(put(&line.id)),
            _ => {}
        }
    }
    stack
}

/// The version that a run brought out, if it did: it is not taken back with the data.
fn brought_out(line: &RunLine) -> Option<String> {
    line.run.steps.iter().rev().find_map(|(key, step)| match &line.plan.step(key)?.kind {
        Kind::Release(release) if step.touched && step.state == StepState::Done => Some(release.version.clone()),
        _ => None,
    })
}

/// The newest run that restored somewhere else, as behind words that nothing is to be taken back here.
fn tried_out(runs: &[Arc<RunLine>]) -> String {
    let tried = runs.iter().filter(|line| line.plan.content.target.is_some() && restored(line).is_some());
    let newest = tried.map(|line| (&line.plan.content.environment.name, &line.id)).next();
    newest.map_or_else(String::new, |(at, id)| format!("; the last one on {at} is taken back by its number: lastgreen rollback undo {id}"))
}

/// The steps of a run that restore, or take that back.
fn restores(line: &RunLine) -> impl Iterator<Item = &StepRun> {
    let is_restore = |key: &String| line.plan.step(key).is_some_and(|step| matches!(step.kind, Kind::Restore(_)));
    line.run.steps.iter().filter(move |(key, _)| is_restore(key)).map(|(_, step)| step)
}

fn input<'a>(line: &'a RunLine, name: &str) -> Option<&'a str> {
    let inputs = (line.plan.content.runbook == UNDO).then_some(&line.plan.content.inputs)?;
    inputs.get(name)?.as_str().filter(|value| !value.trim().is_empty())
}

/// Whether everything of a run was done, or not needed. What could not be taken back may be tried again.
fn is_whole(line: &RunLine) -> bool {
    let is_done = |step: &StepRun| step.state == StepState::Done || step.message.starts_with(NOT_NEEDED);
    line.status() == RunStatus::Done && line.run.steps.values().all(is_done)
}

/// Whether a run has come to the end of restoring something.
fn has_restored(line: &RunLine) -> bool {
    restores(line).any(|step| step.state == StepState::Done && !step.message.starts_with(NOT_NEEDED))
}

/// The newest run that took back what a run restored, or brought that back: the state is what it left.
fn last_change<'r>(restorer: &str, runs: &'r [Arc<RunLine>]) -> Option<&'r RunLine> {
    let is_of = |line: &&RunLine| input(line, AGAIN).or_else(|| input(line, RUN)) == Some(restorer);
    // A safety snapshot alone has changed nothing.
    let touched = |line: &&RunLine| restores(line).any(|step| step.touched);
    runs.iter().map(Arc::as_ref).filter(is_of).find(touched)
}

/// What went in since, as the record's words.
fn since(snapshot: &str, written: Option<&WriteLoss>) -> String {
    let Some(written) = written.filter(|written| written.snapshot == snapshot) else {
        return "what was written since then (not counted here)".into();
    };
    let one = |(name, n): &(String, u64)| format!("{} {name}", thousands(*n as f64));
    let mut said: Vec<String> = written.more.iter().map(one).collect();
    said.extend(written.changed.iter().map(|changed| format!("{} changed or replaced", one(changed))));
    said.extend((!written.unknown.is_empty()).then(|| format!("NOT COUNTED: {}", written.unknown.join("; "))));
    let said = if said.is_empty() { "no count has grown".to_string() } else { said.join(", ") };
    format!("what was written since then ({said})")
}

impl Operations {
    /// The plan of a runbook, by whichever way it is asked for: taking a restore back always looks what there is to take back.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_runbook(&mut self, wanted: PlanRequest) -> Result<Plan, OperationError> {
        if wanted.runbook != UNDO || wanted.target.is_some() || wanted.drill {
            return self.plan(wanted);
        }
        let run = wanted.inputs.get(RUN).filter(|run| !run.trim().is_empty()).cloned();
        self.plan_undo(run.as_deref(), wanted.reason, None)
    }

    /// Whether there is something to take back, as far as the record tells.
    ///
    /// # Errors
    /// Why not.
    pub fn may_undo(&mut self, run: Option<&str>) -> Result<(), OperationError> {
        self.undone(run).map(drop)
    }

    /// The plan that takes the restoring of a run back: of the one that is named, or of the last that restored here. Of a run
    /// that took one back it brings back what was restored.
    ///
    /// # Errors
    /// When there is none, or nothing of it can be taken back.
    pub fn plan_undo(&mut self, run: Option<&str>, reason: Option<String>, written: Option<&WriteLoss>) -> Result<Plan, OperationError> {
        let Undone { run: line, snapshot, again, later } = self.undone(run)?;
        // What is counted is counted against the snapshot, which says nothing of the time in between.
        let since = since(&snapshot, written.filter(|_| again.is_none() && line.plan.content.target.is_none()));
        let kept = match (self.is_in_place(), again.is_some()) {
            (true, _) => "It is kept in the safety snapshot that is taken first".to_string(),
            (false, true) => "It is kept beside, databases as NAME_before_…".into(),
            (false, false) => "It is kept beside, databases as NAME_undone_…".into(),
        };
        let runs = self.runs();
        let goes = match last_change(&line.id, &runs).filter(|last| again.is_none() && input(last, AGAIN).is_none()) {
            // Only one that did not come to its end is taken up.
            Some(last) => {
                format!(
                    "nobody has seen how far run {} came, which took run {} back: what is there now goes out of use all the same",
                    last.id, line.id
                )
            }
            None => self.goes_out_of_use(&line, again.is_some(), &since),
        };
        let kept = format!("{kept}; `lastgreen rollback undo` with the number of this run brings it back");
        let mut warnings = vec![if again.is_some() || has_restored(&line) { format!("{goes}. {kept}") } else { goes }];
        warnings.extend(later);
        warnings.extend(self.restored_elsewhere(&line)?);
        warnings.extend(brought_out(&line).map(|version| {
            format!("the code stays {version}, which run {} brought out, and the traffic where it is: only the data is taken back", line.id)
        }));
        let mut inputs = IndexMap::from([(RUN.to_string(), line.id.clone()), (SNAPSHOT.to_string(), snapshot)]);
        inputs.extend(again.map(|again| (AGAIN.to_string(), again)));
        inputs.extend(self.is_in_place().then(|| ("safety".to_string(), "true".to_string())));
        // Where it was restored, it is taken back.
        let target = line.plan.content.target.clone();
        self.plan(PlanRequest { runbook: UNDO.into(), inputs, reason, warnings, target, ..PlanRequest::default() })
    }

    /// What goes out of use when a run is taken back, in words.
    fn goes_out_of_use(&self, line: &RunLine, again: bool, since: &str) -> String {
        let run = &line.id;
        let ended = line.run.ended.map(|at| format!("{} ago", short(self.now().since(at))));
        let when = ended.as_deref().unwrap_or("and is not over");
        if again {
            return format!("run {run} took a restore back {when}: {since} goes out of use with it");
        }
        if !restores(line).any(|step| step.touched && step.state != StepState::Done) {
            return format!("run {run} restored this {when}: {since} goes out of use with it");
        }
        let ended = ended.map_or_else(|| "it is not over".into(), |ago| format!("it ended {ago}"));
        let short = format!("run {run} did not restore all of this, and what it has not restored stays as it is; {ended}");
        match has_restored(line) {
            true => format!("{short}: {since} goes out of use with it"),
            false if restores(line).any(|step| matches!(step.state, StepState::Running | StepState::Unknown)) => {
                format!("nobody has seen how far run {run} came: where it has restored, {since} goes out of use with it; {ended}")
            }
            // Nobody has seen that anything was restored: what was written since the snapshot is not what goes.
            false => format!("{short}. It came to the end of no restore: only what it has restored all the same goes out of use"),
        }
    }

    /// Whether databases and aliases have what is to be taken back on top: what the record does not tell. Somebody waits for it, but
    /// not for long.
    ///
    /// # Errors
    /// Who has restored since.
    pub fn may_take_back(&self, runtime: &Runtime, plan: &Plan) -> Result<(), OperationError> {
        // Where it was restored is in the plan, a stand-in's addresses too.
        let Ok((config, _)) = planned_config(plan) else { return Ok(()) };
        let Some(settings) = &config.acting.settings.snapshots else { return Ok(()) };
        let runs = self.state()?.runs();
        let asking = SnapshotSettings { timeout: ASKING, ..settings.clone() };
        let asked = runtime.block_on(async { tokio::time::timeout(ASKING, may_take_back(&asking, plan, &runs)).await });
        // Whoever cannot be asked is asked again before anything is touched.
        asked.unwrap_or(Ok(())).map_err(OperationError::Refused)
    }

    /// Whoever has brought data back whole since a run that restores was left by its runner: here, or by the records of others.
    pub(super) fn restored_since(&mut self, line: &RunLine) -> Option<String> {
        let (begun, environment) = (line.run.started?, line.plan.content.environment.name.clone());
        if line.driven || !line.plan.all().any(|step| matches!(step.kind, Kind::Restore(_))) {
            return None;
        }
        let runs = self.runs();
        let is_later = |other: &&Arc<RunLine>| {
            let ended = other.run.ended.is_some_and(|at| at > begun);
            let here = other.id != line.id && other.plan.content.environment.name == environment;
            here && ended && other.status() == RunStatus::Done && restores(other).any(|step| step.touched)
        };
        if let Some(other) = runs.iter().find(is_later) {
            return Some(format!("run {} ({})", other.id, other.plan.content.runbook));
        }
        if environment != self.config.environment.name {
            return None;
        }
        let others = self.runs_elsewhere(MOST).unwrap_or_default();
        let restores = |runbook: &str| [UNDO, RESTORE].contains(&runbook) || Scope::of(runbook) == Some(Scope::Full);
        let is_later = |other: &&RemoteRun| {
            let done = other.ended.as_ref().is_some_and(|end| end.result == RunResult::Done && end.at > begun);
            done && restores(&other.runbook)
        };
        others.iter().find(is_later).map(|other| format!("run {} ({} by {}, elsewhere)", other.run, other.runbook, other.by))
    }

    /// Who has restored since on another host, and not taken it back: only a database that was swapped says so itself.
    fn restored_elsewhere(&self, line: &RunLine) -> Result<Option<String>, OperationError> {
        let Some(since) = line.run.started else { return Ok(None) };
        let others = self.runs_elsewhere(MOST).unwrap_or_default();
        let later = others.iter().filter(|other| other.at > since && other.ended.as_ref().is_some_and(|end| end.result == RunResult::Done));
        let (mut undone, mut in_use) = (0, None);
        // The newest first: an undo takes back what came before it.
        for other in later {
            if other.runbook == UNDO {
                undone += 1;
            } else if other.runbook == RESTORE || Scope::of(&other.runbook) == Some(Scope::Full) {
                match undone {
                    0 => in_use = in_use.or(Some(other)),
                    _ => undone -= 1,
                }
            }
        }
        let Some(other) = in_use else { return Ok(None) };
        let words = format!(
            "{} {} by {} restored after that, elsewhere: that has to be taken back first, there",
            other.runbook, other.run, other.by
        );
        match self.is_in_place() {
            true => Err(OperationError::Refused(words)),
            false => Ok(Some(words)),
        }
    }

    /// Whether anything is restored where it is, so that only a safety snapshot has what there was.
    fn is_in_place(&self) -> bool {
        self.config.acting.settings.snapshots.as_ref().is_some_and(|settings| !settings.in_place().is_empty())
    }

    /// What is taken back: by the run that is named, or the last that restored here.
    fn undone(&mut self, run: Option<&str>) -> Result<Undone, OperationError> {
        let runs = self.runs();
        let line = match run {
            Some(wanted) => {
                let id = self.find(wanted)?;
                self.line(&id)?
            }
            None => {
                let environment = self.config.environment.name.clone();
                Self::is_settled(&environment, &runs)?;
                let last = in_effect(&environment, &runs).last().map(|one| one.of);
                let is_it = |line: &&Arc<RunLine>| match last {
                    Some(id) => line.id == id,
                    None => line.plan.content.environment.name == environment && restored(line).is_some(),
                };
                let found = runs.iter().find(is_it);
                found.cloned().ok_or_else(|| {
                    let others = self.newest_elsewhere();
                    let tried = tried_out(&runs);
                    OperationError::Usage(format!("no run has restored anything here: there is nothing to take back{tried}{others}"))
                })?
            }
        };
        if let Some(of) = input(&line, AGAIN) {
            // It is the state after the restore: that is what can be taken back.
            return Err(OperationError::Usage(format!(
                "run {} brought back what {of} had restored: lastgreen rollback undo {of}",
                line.id
            )));
        }
        let undone = input(&line, RUN).zip(input(&line, SNAPSHOT)).filter(|_| line.run.steps.values().any(|step| step.touched));
        if let Some((of, snapshot)) = undone.map(|(of, snapshot)| (of.to_string(), snapshot.to_string())) {
            may_be_redone(&line, &of, &runs)?;
            let later = Self::is_on_top(&line, &of, &runs)?;
            return Ok(Undone { run: line, snapshot, again: Some(of), later });
        }
        let Some(snapshot) = restored(&line) else {
            return Err(OperationError::Usage(format!("run {} has restored nothing, or has taken it back itself", line.id)));
        };
        self.may_be_undone(&line, &runs)?;
        self.has_something_to_go_back_to(&line, &snapshot)?;
        let later = Self::is_on_top(&line, &line.id, &runs)?;
        Ok(Undone { run: line, snapshot, again: None, later })
    }

    /// Whether it is certain what "the last restore" is: nothing is in the middle, and nobody has just taken one back.
    fn is_settled(environment: &str, runs: &[Arc<RunLine>]) -> Result<(), OperationError> {
        let here = || runs.iter().filter(|line| line.plan.content.environment.name == environment);
        let in_the_middle = |line: &&Arc<RunLine>| restores(line).any(|step| matches!(step.state, StepState::Running | StepState::Unknown));
        if let Some(line) = here().filter(|line| line.status().is_open()).find(in_the_middle) {
            return Err(OperationError::Refused(format!(
                "run {0} is in the middle of restoring: lastgreen resume {0} brings it to its end, lastgreen abort {0} --undo takes it back",
                line.id
            )));
        }
        let Some(last) = here().find(|line| restores(line).any(|step| step.touched)) else { return Ok(()) };
        match (input(last, RUN).filter(|_| input(last, AGAIN).is_none() && is_whole(last)), in_effect(environment, runs).last()) {
            (Some(of), Some(below)) => Err(OperationError::Refused(format!(
                "what {of} had restored was taken back by {}: what is in use now was restored by {1}. To take that back, too, name it: lastgreen rollback undo {1}",
                last.id, below.of
            ))),
            _ => Ok(()),
        }
    }

    /// Whether what a run restored can be taken back now.
    fn may_be_undone(&self, line: &RunLine, runs: &[Arc<RunLine>]) -> Result<(), OperationError> {
        let Some(last) = last_change(&line.id, runs) else { return Ok(()) };
        let words = match input(last, AGAIN) {
            Some(_) if self.is_in_place() => format!(
                "run {} brought back what {} had restored, in place: what there was before that is in its safety snapshot (lastgreen snapshot list; lastgreen snapshot restore ID)",
                last.id, line.id
            ),
            Some(_) => return Ok(()),
            None if is_whole(last) && !has_restored(line) => format!(
                "run {} came to the end of no restore, and {} has seen to what there was of it: there is nothing to take back any more",
                line.id, last.id
            ),
            None if is_whole(last) => format!(
                "run {} was taken back by {} already: once more would throw away what was written since. `lastgreen rollback undo {}` takes that back",
                line.id, last.id, last.id
            ),
            None => return Ok(()),
        };
        Err(OperationError::Refused(words))
    }

    /// What was restored in place is taken back by the safety snapshot of the same run, and by nothing else.
    fn has_something_to_go_back_to(&self, line: &RunLine, snapshot: &str) -> Result<(), OperationError> {
        let Some(settings) = self.config.acting.settings.snapshots.as_ref().filter(|_| line.plan.content.target.is_none()) else {
            return Ok(());
        };
        let (all, _) = list(&settings.folder);
        let Some(manifest) = all.iter().find(|manifest| manifest.id == snapshot) else { return Ok(()) };
        let mine = format!("{} ", line.id);
        let has_safety = all.iter().any(|manifest| manifest.run.starts_with(&mine));
        if has_safety || !manifest.parts.iter().all(|part| part.kind.is_in_place(settings)) || !restores(line).any(|step| step.touched) {
            return Ok(());
        }
        Err(OperationError::Refused(format!(
            "run {} {} in place and took no safety snapshot before: what there was is kept nowhere (lastgreen snapshot list; lastgreen snapshot restore ID; what an earlier run restored is taken back by its number)",
            line.id,
            if has_restored(line) { "restored" } else { "began to restore" }
        )))
    }

    /// Nothing is taken back from below what came after it. What did not restore everything may not be in use at all: that is said.
    fn is_on_top(line: &RunLine, of: &str, runs: &[Arc<RunLine>]) -> Result<Option<String>, OperationError> {
        let stack = in_effect(&line.plan.content.environment.name, runs);
        let above = match stack.iter().position(|one| one.of == of) {
            Some(at) => stack.get(at + 1),
            None => stack.last().filter(|last| *last.by > *line.id),
        };
        let Some(above) = above else { return Ok(None) };
        let later = above.of;
        match above.whole {
            true => Err(OperationError::Refused(format!(
                "run {later} restored after that, and what it restored is in use: take that back first (lastgreen rollback undo {later})"
            ))),
            false => Ok(Some(format!("run {later} restored after that, and not everything: look what is in use before this is confirmed"))),
        }
    }
}

/// Whether what a run restored can be brought back, after another has taken that back.
fn may_be_redone(undo: &RunLine, of: &str, runs: &[Arc<RunLine>]) -> Result<(), OperationError> {
    let refused = |words: String| Err(OperationError::Refused(words));
    let restorer = runs.iter().find(|run| run.id == of);
    let is_good = |run: &Arc<RunLine>| restores(run).all(|step| step.state == StepState::Done);
    // What was never whole was never in use.
    if !restorer.is_some_and(is_good) {
        return refused(format!("run {of} did not restore everything, or is not known here: there is nothing whole to bring back"));
    }
    match last_change(of, runs) {
        Some(last) if input(last, AGAIN).is_some() && is_whole(last) => {
            refused(format!("run {} was taken back by {} already: what {of} had restored is in use", undo.id, last.id))
        }
        Some(last) if input(last, AGAIN).is_none() && last.id != undo.id => {
            refused(format!("run {} took it back since: lastgreen rollback undo {}", last.id, last.id))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_since_is_said_as_far_as_it_is_known() {
        let lost = |more: &[(&str, u64)], unknown: &[&str]| WriteLoss {
            snapshot: "s".into(),
            more: more.iter().map(|(name, n)| (name.to_string(), *n)).collect(),
            changed: more.iter().map(|(name, n)| (name.to_string(), n + 1)).collect(),
            unknown: unknown.iter().map(|why| why.to_string()).collect(),
            ..WriteLoss::default()
        };
        let of = |written: Option<&WriteLoss>| since("s", written).replace("what was written since then ", "");
        assert_eq!(of(None), "(not counted here)");
        assert_eq!(of(Some(&lost(&[], &[]))), "(no count has grown)");
        assert_eq!(of(Some(&lost(&[("docs", 1_200)], &[]))), "(1,200 docs, 1,201 docs changed or replaced)");
        assert_eq!(of(Some(&lost(&[("docs", 1)], &["db: away"]))), "(1 docs, 2 docs changed or replaced, NOT COUNTED: db: away)");
        assert_eq!(since("other", Some(&lost(&[], &[]))), "what was written since then (not counted here)");
    }
}
