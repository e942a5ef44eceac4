//! The canary for whoever asks once: looked at, planned, held.

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::runtime::Runtime;

use super::live_signals::LiveSignals;
use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use super::reach::audit_database;
use super::undo::{RESTORE, UNDO};
use crate::act::effect::{SignalPoints, Signals};
use crate::act::infra::traffic::observe;
use crate::base::clock::{Clock, Stamp};
use crate::base::units::short;
use crate::config::{Config, OperatorRole};
use crate::judge::Verdict;
use crate::plan::deploy::{DeployState, HOLD, Hold, PastRun, PastState, STEP, SaidOfHold, Scope, Turn, TurnState};
use crate::plan::runbook::{CanarySettings, Content, Operator, Plan, RunResult, Weight};
use crate::record::journal::{Holder, RemoteRun, RemoteTurn, RemoteView, Said, look_remotely, put_hold, said_of_hold_there};
use crate::status::{Elsewhere, Ledger, Moment, MomentOf, deploy_state, said_of_hold};

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
    /// What whoever confirms has to know besides.
    pub warnings: Vec<String>,
}

impl Operations {
    /// How a canary is walked up here.
    ///
    /// # Errors
    /// What is missing in the configuration.
    pub fn canary(&self) -> Result<&CanarySettings, OperationError> {
        let words = |what: &str| OperationError::Usage(format!("{} says nothing about {what}", self.config.path.display()));
        if self.config.acting.settings.switch.is_none() {
            return Err(words("the switch of the traffic: add [traffic]"));
        }
        self.config.acting.settings.canary.as_ref().ok_or_else(|| words("how a canary is walked up and judged: add [canary]"))
    }

    /// Looks at the deployment once: the switch, the record, and the signals over the last bake.
    ///
    /// # Errors
    /// When there is no switch to look at.
    pub fn deploy(&mut self, runtime: &Runtime) -> Result<DeployState, OperationError> {
        let config = self.config.clone();
        let Some(switch) = config.acting.settings.switch.clone() else {
            return Err(OperationError::Usage(format!("{} has no [traffic]: there is no switch to look at", config.path.display())));
        };
        let loaded = self.runbooks();
        let mut ledger = self.ledger(&loaded);
        if let Ok(Some(view)) = remote_view(&config, LATEST) {
            heard(&mut ledger.elsewhere, view, self.now());
        }
        let (names, bake) = match &config.acting.settings.canary {
            Some(canary) => (canary.analysis.signals(), canary.bake),
            None => (Vec::new(), std::time::Duration::ZERO),
        };
        let signals = LiveSignals::new((*config).clone(), runtime.handle().clone(), Clock::System);
        let (observed, points) = runtime.block_on(async {
            let observed = observe(&switch, &Clock::System).await;
            // Nothing is compared of a canary without traffic: whoever asks how it is does not wait for that.
            let compared = !names.is_empty() && observed.weight().is_ok_and(|weight| weight > 0.0);
            let points = if compared { signals.points(&names, bake).await } else { Vec::new() };
            (observed, points)
        });
        runtime.block_on(signals.end());
        let by_name: HashMap<&str, &SignalPoints> = names.iter().map(String::as_str).zip(&points).collect();
        let of = |signal: &str, _| by_name.get(signal).map_or_else(|| Err("not asked".into()), |points| (*points).clone());
        let state = deploy_state(&config, &ledger, Some(&observed), &of, self.now());
        state.ok_or_else(|| OperationError::Usage("there is no switch to look at".into()))
    }

    /// The plan of a step.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_canary(&mut self, wanted: CanaryRequest) -> Result<Plan, OperationError> {
        let CanaryRequest { to, from, against, reason, warnings } = wanted;
        let mut inputs = IndexMap::from([("weight".to_string(), to.to_string()), ("from".to_string(), from.to_string())]);
        inputs.extend(against.map(|why| (OVERRIDE.to_string(), why)));
        self.plan(PlanRequest { runbook: STEP.into(), inputs, reason, warnings, ..PlanRequest::default() })
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
        // What the runs say is enough: nobody's runner has to be asked anything.
        let mut ledger = Ledger { runs: self.runs(), ..Ledger::default() };
        // A stand-in of the environment is held by nobody else.
        if content.environment.name == self.config.environment.name {
            // Whoever cannot be asked may hold it: that is for a commander to override.
            ledger.elsewhere.hold = remote_hold(&self.config).map_err(|why| {
                let words = format!("whether somebody holds it cannot be told: {why}");
                OperationError::Refused(format!("{words} (a commander's override goes on all the same)"))
            })?;
        }
        match said_of_hold(&ledger, &content.environment.name).and_then(|(_, hold)| hold) {
            Some(hold) => {
                let words = format!("held by {} since {}: {}", hold.by, hold.at.iso(), hold.reason);
                Err(OperationError::Refused(format!("{words} (lastgreen canary hold --release, or a commander's override)")))
            }
            None => Ok(()),
        }
    }

    /// What whoever holds a canary has to know: where it would not be heard of.
    pub(super) fn hold_binds_here_only(&self, content: &Content) -> Option<String> {
        if content.runbook != HOLD {
            return None;
        }
        match remote_hold(&self.config) {
            Ok(_) if audit_database(&self.config).is_some_and(|database| !database.is_sqlite()) => None,
            Ok(_) => Some("it binds only those who share this state folder: records go to no PostgreSQL".into()),
            Err(why) => Some(format!("it binds only those who share this state folder: {why}")),
        }
    }

    /// Tells everybody who keeps records in the same database that a canary is held, or let go.
    pub(super) fn spread_hold(&self, plan: &Plan, run: &str) {
        let content = &plan.content;
        let Some(database) = audit_database(&self.config).filter(|_| content.runbook == HOLD) else { return };
        let (at, reason) = (self.now(), content.reason.clone().unwrap_or_default());
        let held = content.inputs.get("held").and_then(serde_json::Value::as_bool).unwrap_or(true);
        let hold = Hold { at, by: self.operator.clone(), reason, run: run.into() };
        let text = held.then(|| serde_json::to_string(&hold).unwrap_or_default());
        let said = (at, text);
        let put = || briefly(put_hold(&database, &content.environment.name, &said));
        if let Err(why) = put().or_else(|_| put()) {
            log::error!("whether the canary is held is known only where this state folder is: {why}");
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

/// Among so many of the latest runs the newest of somebody else is looked for.
const NEWEST: i64 = 50;
/// Among so many one is found by its number.
const MANY: i64 = 500;
/// How long the database is asked whether somebody holds the canary.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits so long for a database, and no longer.
fn briefly<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let answer = runtime.block_on(async {
        let slow = |_| format!("the database did not answer within {}", short(PATIENCE));
        tokio::time::timeout(PATIENCE, asking).await.map_err(slow)?
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    answer
}

/// What everybody who keeps records in the same database says of the environment.
fn remote_view(config: &Config, runs: i64) -> Result<Option<RemoteView>, String> {
    let Some(database) = audit_database(config) else { return Ok(None) };
    briefly(look_remotely(&database, &config.environment.name, runs))
}

impl Operations {
    /// Runs of others on this environment among so many of the latest, by the records that all keep in one database; those that
    /// are known here are not among them.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn runs_elsewhere(&self, most: i64) -> Result<Vec<RemoteRun>, String> {
        let mut runs = remote_view(&self.config, most)?.map_or(Ok(Vec::new()), |view| view.runs)?;
        if let Ok(state) = self.state() {
            runs.retain(|run| !state.run(&run.run).exists());
        }
        Ok(runs)
    }

    /// Whose run it is that is not known here, in words behind that.
    pub(super) fn is_elsewhere(&self, wanted: &str) -> String {
        let wanted = wanted.to_ascii_uppercase();
        let runs = self.runs_elsewhere(MANY).unwrap_or_default();
        let mut found = runs.iter().filter(|run| run.run.starts_with(&wanted) || run.run.ends_with(&wanted));
        match (found.next(), found.next()) {
            (Some(run), None) => {
                let how = run.ended.as_ref().map_or("not ended", |end| end.result.word());
                format!("; {} {} ({how}) was begun by {}, and is kept and told from there", run.runbook, run.run, run.by)
            }
            _ => String::new(),
        }
    }

    /// The same in words, behind what there is not here; nothing where there are none.
    pub(super) fn newest_elsewhere(&self) -> String {
        let runs = self.runs_elsewhere(NEWEST).unwrap_or_default();
        runs.first().map_or_else(String::new, |run| format!("; the newest of somebody else is {} {} by {}", run.runbook, run.run, run.by))
    }
}

/// What was said there about holding the canary.
fn remote_hold(config: &Config) -> Result<Option<SaidOfHold>, String> {
    let Some(database) = audit_database(config) else { return Ok(None) };
    let said = briefly(said_of_hold_there(&database, &config.environment.name))?;
    Ok(said.map(read_hold))
}

/// Among so many of the latest runs a rollback that has failed is looked for.
pub(super) const LATEST: i64 = 20;

/// Takes in what was heard of others; what was heard before stands until something else is.
pub(super) fn heard(known: &mut Elsewhere, view: RemoteView, now: Stamp) {
    if let Ok(said) = view.hold {
        known.hold = said.map(read_hold);
    }
    if let Ok(turn) = view.turn {
        known.turn = turn.map(read_turn);
    }
    if let (Ok(runs), Ok(holder)) = (view.runs, view.holder) {
        known.past = runs.iter().filter_map(|run| past_there(run, holder.as_ref(), now)).collect();
        known.moments = runs.iter().flat_map(moments_there).collect();
    }
}

/// A run that has just begun may not have the environment yet; a holder says that it lives more often than so.
const SETTLED: Duration = Duration::from_secs(60);

/// What a run of others says of whether the last rollback stands.
fn past_there(run: &RemoteRun, holder: Option<&Holder>, now: Stamp) -> Option<PastRun> {
    let is_rollback = Scope::of(&run.runbook).is_some();
    let holder = holder.filter(|holder| holder.run == run.run);
    let (state, at, words) = match &run.ended {
        Some(end) if end.result == RunResult::Done && (is_rollback || [STEP, UNDO, RESTORE].contains(&run.runbook.as_str())) => {
            (PastState::Done, end.at, end.words.clone())
        }
        Some(end) if is_rollback && matches!(end.result, RunResult::Failed | RunResult::Superseded) => {
            (PastState::Failed, end.at, end.words.clone())
        }
        None if is_rollback => match holder {
            Some(holder) if holder.idle => (PastState::Stuck, run.at, "it waits for somebody".into()),
            Some(holder) if now.since(holder.beat) <= SETTLED => (PastState::Running, run.at, String::new()),
            None if now.since(run.at) <= SETTLED => (PastState::Running, run.at, String::new()),
            _ => (PastState::Stuck, run.at, "nobody drives it".into()),
        },
        _ => return None,
    };
    Some(PastRun { run: run.run.clone(), runbook: run.runbook.clone(), at, state, words: format!("{words}, by {}", run.by) })
}

/// The beginning of a run of others, and its end where it has one.
fn moments_there(run: &RemoteRun) -> Vec<Moment> {
    let moment = |at, verdict, words| Moment { at, verdict, words, of: MomentOf::Run(run.run.clone()) };
    let mut all = vec![moment(run.at, None, format!("begun by {}: {}", run.by, run.runbook))];
    all.extend(run.ended.as_ref().map(|end| {
        let verdict = if end.result == RunResult::Done { Verdict::Pass } else { Verdict::Warn };
        moment(end.at, Some(verdict), format!("{}: {} by {}", end.result.word(), run.runbook, run.by))
    }));
    all
}

/// What somebody has turned, by the records of all.
fn read_turn(turn: RemoteTurn) -> Turn {
    let RemoteTurn { at, to, run, runbook, by } = turn;
    Turn { at, to: Some(to), state: TurnState::Done, run, runbook, by }
}

/// What stands in the database of it, read.
fn read_hold((at, text): Said) -> SaidOfHold {
    // What cannot be read was said by somebody, and is no letting go.
    let unreadable =
        || Hold { at, by: Operator::default(), reason: "what stands in the database of it cannot be read".into(), run: String::new() };
    (at, text.map(|text| serde_json::from_str(&text).unwrap_or_else(|_| unreadable())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::runbook::Runner;
    use crate::record::journal::RemoteEnd;

    const BEGUN: Stamp = Stamp(1_800_000_000_000);

    fn run(runbook: &str, ended: Option<RunResult>) -> RemoteRun {
        let ended = ended.map(|result| RemoteEnd { at: BEGUN.plus(SETTLED), result, words: "as it came".into() });
        RemoteRun { run: "01A".into(), at: BEGUN, runbook: runbook.into(), by: Operator::default(), reason: None, ended }
    }

    fn holder(run: &str, beat: Stamp, idle: bool) -> Holder {
        let (by, runner) = (Operator::default(), Runner::default());
        Holder { run: run.into(), runbook: "rollback-full".into(), by, runner, since: BEGUN, beat, folder: None, emergency: true, idle }
    }

    #[test]
    fn of_a_rollback_of_others_it_is_known_whether_it_stands() {
        let (soon, later) = (BEGUN.plus(SETTLED / 2), BEGUN.plus(SETTLED * 3));
        let rollback = |ended| run("rollback-full", ended);
        let table = [
            ("done", rollback(Some(RunResult::Done)), None, later, Some(PastState::Done)),
            ("failed", rollback(Some(RunResult::Failed)), None, later, Some(PastState::Failed)),
            ("gave way", rollback(Some(RunResult::Superseded)), None, later, Some(PastState::Failed)),
            ("aborted", rollback(Some(RunResult::Aborted)), None, later, None),
            ("taken back", run(UNDO, Some(RunResult::Done)), None, later, Some(PastState::Done)),
            ("a canary's step", run(STEP, None), None, later, None),
            ("has just begun", rollback(None), None, soon, Some(PastState::Running)),
            ("nobody has it", rollback(None), None, later, Some(PastState::Stuck)),
            ("another has it", rollback(None), Some(holder("01B", later, false)), later, Some(PastState::Stuck)),
            ("it says that it lives", rollback(None), Some(holder("01A", later, false)), later, Some(PastState::Running)),
            ("it says so no more", rollback(None), Some(holder("01A", BEGUN, false)), later, Some(PastState::Stuck)),
            ("it waits for somebody", rollback(None), Some(holder("01A", later, true)), later, Some(PastState::Stuck)),
        ];
        for (what, run, holder, now, wanted) in table {
            assert_eq!(past_there(&run, holder.as_ref(), now).map(|past| past.state), wanted, "{what}");
        }
    }
}
