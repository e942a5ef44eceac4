//! A deployment as everybody shows it: the canary's traffic by the record and by the switch, and how it is judged.

use std::time::Duration;

use super::ledger::{Ledger, RunLine, RunStatus};
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::config::{Config, SourceKind};
use crate::judge::{CanaryVerdict, Verdict};
use crate::plan::deploy::{
    Compared, DeployState, PastRun, PastState, SaidOfHold, Turn, TurnState, compare, far_off, holds, not_made_good, turns,
};
use crate::plan::runbook::{Kind, Observation, Scope, StepRun, StepState};

/// An observation that is older than this says nothing about now.
const OLD: Duration = Duration::from_secs(60);
/// After this long a rollback that failed is history.
const FORGOTTEN: Duration = Duration::from_secs(12 * 3600);

/// Everything that is known of the deployment; `None` where there is no switch. `points` gives a signal's since a moment.
pub fn deploy_state(
    config: &Config,
    ledger: &Ledger,
    observed: Option<&Observation>,
    points: &dyn Fn(&str, Stamp) -> Compared,
    now: Stamp,
) -> Option<DeployState> {
    config.acting.settings.switch.as_ref()?;
    let environment = &config.environment.name;
    let here = || ledger.runs.iter().filter(|run| run.plan.content.environment.name == *environment);
    // What is known here of a run is newer than what the database has of it.
    let elsewhere = ledger.elsewhere.turn.clone().filter(|turn| ledger.run(&turn.run).is_none());
    let desired = elsewhere.into_iter().chain(here().flat_map(|run| turns(&run.id, &run.plan, &run.run))).max_by_key(|turn| turn.at);
    let hold = said_of_hold(ledger, environment).and_then(|(_, hold)| hold);
    let open = ledger.open(environment);
    let at_work = open.filter(|run| run.status() == RunStatus::Running && Scope::of(&run.plan.content.runbook).is_some());
    let rollback = at_work.map(|run| format!("{} is under way: {} (run {})", run.plan.content.runbook, run.words(), run.id));
    let open_run = open.map(|run| {
        let how = match run.status() {
            RunStatus::Orphaned => "is not over, and nobody drives it",
            RunStatus::Waiting => "waits for an answer",
            RunStatus::Paused => "is paused",
            _ => "is under way",
        };
        format!("{} {how} ({})", run.plan.content.runbook, run.id)
    });
    let failed = failed_rollback(ledger, environment, now);
    let observed = observed.map(|seen| fresh(seen, now));
    let mut state = DeployState { observed, desired, hold, open_run, rollback, failed, ..DeployState::default() };
    if let Some(canary) = &config.acting.settings.canary
        && state.weight().is_ok_and(|weight| weight > 0.0)
    {
        // Both tracks over the same while: not before the canary had its share.
        let since = |turn: &Turn| if turn.state == TurnState::Done { turn.at.plus(canary.warm_up) } else { now };
        let begun = now.minus(canary.bake).max(state.desired.as_ref().map_or(Stamp(0), since));
        let judged = compare(&canary.analysis, (begun, now), &|signal| points(signal, begun));
        let off = || far_off(&canary.analysis, begun, &|signal| points(signal, begun));
        let judged = on_record(judged, ledger, state.desired.as_ref(), (canary.bake, environment), now, &off);
        state.judged_from_now_on = judged.wants_points() && canary.analysis.signals().iter().any(|signal| !tells_a_past(config, signal));
        state.analysis = Some(judged);
    }
    Some(state)
}

/// A rollback that has failed, or stands still in the middle, is what has to be said until something as wide was done, or somebody
/// has gone on from it.
pub fn failed_rollback(ledger: &Ledger, environment: &str, now: Stamp) -> Option<String> {
    let here = ledger.runs.iter().filter(|run| run.plan.content.environment.name == environment && run.plan.content.target.is_none());
    let mut past: Vec<PastRun> = here.filter_map(|run| past_of(run)).collect();
    // What is known here of a run is newer than what the database has of it.
    past.extend(ledger.elsewhere.past.iter().filter(|run| ledger.run(&run.run).is_none()).cloned());
    past.sort_by_key(|run| std::cmp::Reverse(run.at));
    let last = not_made_good(&past).filter(|run| now.since(run.at) < FORGOTTEN)?;
    let ago = short(now.since(last.at));
    Some(match last.state {
        PastState::Failed => format!("{} failed {ago} ago: {} (run {})", last.runbook, last.words, last.run),
        _ => format!("{} is not over, begun {ago} ago: {} (run {})", last.runbook, last.words, last.run),
    })
}

/// What a run says of that, if anything.
fn past_of(run: &RunLine) -> Option<PastRun> {
    // What was only looked at, or refused, has changed nothing.
    let turns = |kind: &Kind| kind.mutates() && matches!(kind, Kind::Traffic(_) | Kind::Release(_) | Kind::Restore(_));
    let touched = |(key, step): (&String, &StepRun)| step.touched && run.plan.step(key).is_some_and(|planned| turns(&planned.kind));
    let is_rollback = Scope::of(&run.plan.content.runbook).is_some();
    // Somebody has gone on without it: the run is over, and what it was for is not done.
    let left_aside = |(key, step): &(&String, &StepRun)| {
        step.state == StepState::Failed && run.plan.step(key).is_some_and(|planned| turns(&planned.kind))
    };
    let left_aside = run.run.steps.iter().find(left_aside).and_then(|(key, _)| run.plan.step(key)).map(|step| step.name.clone());
    let state = match run.status() {
        RunStatus::Done if is_rollback && left_aside.is_some() => PastState::Failed,
        RunStatus::Done if is_rollback || run.run.steps.iter().any(touched) => PastState::Done,
        // What gave way to another is done as far as that one has done it.
        RunStatus::Failed | RunStatus::Superseded if is_rollback => PastState::Failed,
        RunStatus::Orphaned | RunStatus::Waiting | RunStatus::Paused if is_rollback => PastState::Stuck,
        RunStatus::Running if is_rollback => PastState::Running,
        _ => return None,
    };
    let at = run.run.ended.or(run.run.started)?;
    let words = match run.status() {
        RunStatus::Orphaned => format!("nobody drives it: lastgreen resume {}", run.id),
        _ => match &left_aside {
            Some(step) => format!("{step} has failed, and was left aside"),
            None => run.words(),
        },
    };
    Some(PastRun { run: run.id.clone(), runbook: run.plan.content.runbook.clone(), at, state, words })
}

/// Whoever has only just begun to look has too few points of sources that tell no past. What judged last, by all of them, counts for as
/// long again (a minute at least), well or not; where a source says nothing now, or the canary is `off` by what there is, it does not.
fn on_record(
    judged: CanaryVerdict,
    ledger: &Ledger,
    turn: Option<&Turn>,
    (bake, environment): (Duration, &str),
    now: Stamp,
    off: &dyn Fn() -> Option<String>,
) -> CanaryVerdict {
    if !judged.wants_points() {
        return judged;
    }
    let Some(turn) = turn.filter(|turn| turn.state == TurnState::Done) else { return judged };
    let here = ledger.runs.iter().filter(|run| run.plan.content.environment.name == environment);
    let ended = here.flat_map(|run| analyses(run).map(move |(at, state, said)| (at, state, said, &run.id)));
    let last = ended.filter(|(at, ..)| *at >= turn.at).max_by_key(|(at, ..)| *at);
    match last.filter(|(at, ..)| now.since(*at) <= bake.max(Duration::from_secs(60))) {
        Some((at, state, said, run)) => {
            let verdict = match state {
                StepState::Done => Verdict::Pass,
                _ if said.starts_with(Verdict::Unknown.word()) => Verdict::Unknown,
                _ => Verdict::Fail,
            };
            let reason = format!("judged at {} by run {run}: {said}", at.hms());
            match off().filter(|_| verdict == Verdict::Pass) {
                Some(off) => {
                    CanaryVerdict { verdict: Verdict::Unknown, reason: format!("{off}: too few points to judge it; {reason}"), ..judged }
                }
                None => CanaryVerdict { verdict, reason, ..judged },
            }
        }
        None => judged,
    }
}

/// Whether who has only just begun to look hears what a signal was before.
fn tells_a_past(config: &Config, signal: &str) -> bool {
    let source = config.signals.get(signal).and_then(|signal| config.sources.get(&signal.question.source));
    source.is_some_and(|source| matches!(source.kind, SourceKind::Prometheus(_)))
}

/// How the steps of a run that judge a canary have ended, and when.
fn analyses(run: &RunLine) -> impl Iterator<Item = (Stamp, StepState, &str)> {
    let is_one = |key: &String| run.plan.step(key).is_some_and(|step| matches!(step.kind, Kind::Analysis(_)));
    let ended = run.run.steps.iter().filter(move |(key, step)| is_one(key) && matches!(step.state, StepState::Done | StepState::Failed));
    ended.filter_map(|(_, step)| Some((step.ended?, step.state, step.message.as_str())))
}

/// What was said last about holding the canary: by a run that is known here, or by somebody elsewhere.
pub fn said_of_hold(ledger: &Ledger, environment: &str) -> Option<SaidOfHold> {
    let here = ledger.runs.iter().filter(|run| run.plan.content.environment.name == environment);
    let own = here.filter_map(|run| holds(&run.id, &run.plan, &run.run)).next();
    own.into_iter().chain(ledger.elsewhere.hold.clone()).max_by_key(|(at, _)| *at)
}

fn fresh(seen: &Observation, now: Stamp) -> Observation {
    if now.since(seen.at) <= OLD {
        return seen.clone();
    }
    let old = format!("nothing since {}", seen.at.hms());
    Observation { places: seen.places.iter().map(|(place, _)| (place.clone(), Err(old.clone()))).collect(), ..seen.clone() }
}
