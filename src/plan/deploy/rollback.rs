//! Rolling back: how far it can go, what was green last by the record, and whether it would work right now.

use std::time::Duration;

use serde::Serialize;

use crate::base::clock::Stamp;
use crate::base::endpoint::Endpoint;
use crate::judge::Verdict;
use crate::plan::runbook::{Kind, LastGreen, NOT_NEEDED, Plan, Run, RunResult, Scope, StepState};

/// Where rollbacks are counted.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct RollbackSettings {
    /// What the names of the metrics begin with.
    pub prefix: String,
    /// A file that a textfile collector reads.
    pub textfile: Option<std::path::PathBuf>,
    pub pushgateway: Option<Endpoint>,
}

/// The version that a run brought out, if it is done, by its own account.
pub fn brought_out(plan: &Plan, run: &Run) -> Option<LastGreen> {
    let at = run.ended?;
    if !matches!(&run.phase, crate::plan::runbook::Phase::Ended { result: RunResult::Done, .. }) {
        return None;
    }
    // A check that failed and was left aside, or that somebody left out, says that nobody knows.
    let is_good = |key: &String, step: &crate::plan::runbook::StepRun| {
        let left_out = step.state == StepState::Skipped && !step.message.starts_with(NOT_NEEDED);
        let says_how_it_is =
            |kind: &Kind| !kind.mutates() && !matches!(kind, Kind::Manual(_) | Kind::Wait(_) | Kind::Notify(_) | Kind::Load(_));
        let checks = plan.step(key).is_some_and(|planned| says_how_it_is(&planned.kind));
        !(checks && (left_out || step.state == StepState::Failed))
    };
    if !run.steps.iter().all(|(key, step)| is_good(key, step)) {
        return None;
    }
    let version = run.steps.iter().rev().find_map(|(key, step)| {
        let planned = plan.step(key)?;
        let Kind::Release(release) = &planned.kind else { return None };
        let done = release.mutates && step.state == StepState::Done;
        done.then(|| step.output.json.get("version")?.as_str().map(str::to_string)).flatten()
    })?;
    Some(LastGreen { version, at: Some(at) })
}

/// What was reached that is not what the configuration expects, as everybody says it.
pub fn wrong_environment(words: &str) -> String {
    format!("WRONG ENVIRONMENT: {words}")
}

/// What became of a run, for whoever asks whether the last rollback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastState {
    Done,
    Failed,
    /// It is not over, and does nothing: nobody drives it, or it waits for somebody.
    Stuck,
    Running,
}

/// A run that bears on that, here or by the records of others.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRun {
    pub run: String,
    pub runbook: String,
    /// When it ended, or began where it has not.
    pub at: Stamp,
    pub state: PastState,
    /// What it says, and whose it is where that is somebody else's.
    pub words: String,
}

/// The rollback that is not made good: it failed, or stands still, and nothing as wide has been done since. The newest first.
pub fn not_made_good(past: &[PastRun]) -> Option<&PastRun> {
    let mut done: Option<Scope> = None;
    for run in past {
        match (Scope::of(&run.runbook), run.state) {
            // Somebody has gone on from it.
            (None, PastState::Done) => return None,
            (Some(scope), PastState::Done | PastState::Running) => done = done.max(Some(scope)),
            (Some(scope), _) if done.is_none_or(|done| done < scope) => return Some(run),
            _ => {}
        }
    }
    None
}

/// One thing that a rollback needs, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadinessItem {
    pub what: String,
    pub verdict: Verdict,
    pub words: String,
    /// The scopes that do not work without it; none: it is good to have.
    pub scopes: Vec<Scope>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Whether a rollback would work right now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Readiness {
    pub at: Option<Stamp>,
    pub items: Vec<ReadinessItem>,
    /// How long each scope took when it was done last, where it was.
    pub expected: Vec<(Scope, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessState {
    Ready,
    /// Some scopes work.
    Degraded,
    NotReady,
}

impl ReadinessState {
    pub fn word(self) -> &'static str {
        match self {
            ReadinessState::Ready => "READY",
            ReadinessState::Degraded => "DEGRADED",
            ReadinessState::NotReady => "NOT READY",
        }
    }

    pub fn verdict(self) -> Verdict {
        match self {
            ReadinessState::Ready => Verdict::Pass,
            ReadinessState::Degraded => Verdict::Warn,
            ReadinessState::NotReady => Verdict::Fail,
        }
    }
}

impl Readiness {
    /// With what was reached that is not what the configuration expects: what would be brought back may be somebody else's.
    #[must_use]
    pub fn in_environment(mut self, mismatches: &[String]) -> Readiness {
        let said = self.items.iter().any(|item| item.what == "environment");
        if !mismatches.is_empty() && !said {
            let item = ReadinessItem {
                what: "environment".into(),
                verdict: Verdict::Fail,
                words: wrong_environment(&mismatches.join("; ")),
                scopes: vec![Scope::Code, Scope::Full],
                mend: Some("correct the addresses in [sources], or [environment.expect]".into()),
            };
            self.items.insert(0, item);
        }
        self
    }

    /// Whether a scope works: nothing it needs is bad or unknown.
    pub fn works(&self, scope: Scope) -> bool {
        !self.items.is_empty() && self.against(scope).next().is_none()
    }

    /// What keeps a scope from working.
    pub fn against(&self, scope: Scope) -> impl Iterator<Item = &ReadinessItem> {
        self.items.iter().filter(move |item| item.scopes.contains(&scope) && matches!(item.verdict, Verdict::Fail | Verdict::Unknown))
    }

    pub fn state(&self) -> ReadinessState {
        let works = Scope::ALL.into_iter().filter(|scope| self.works(*scope)).count();
        match works {
            0 => ReadinessState::NotReady,
            n if n == Scope::ALL.len() => ReadinessState::Ready,
            _ => ReadinessState::Degraded,
        }
    }

    /// The state in one line: which scopes work, and the first thing that is wrong.
    pub fn words(&self) -> String {
        if self.items.is_empty() {
            return "not looked at yet".into();
        }
        let works: Vec<&str> = Scope::ALL.into_iter().filter(|scope| self.works(*scope)).map(Scope::word).collect();
        // What is in the way of the most.
        let worst = self.items.iter().filter(|item| item.verdict != Verdict::Pass).max_by_key(|item| (item.scopes.len(), item.verdict));
        let why = worst.map_or_else(String::new, |item| format!("; {}: {}", item.what, item.words));
        let which = match works.as_slice() {
            [] if Scope::ALL.into_iter().all(|scope| self.against(scope).all(|item| item.verdict == Verdict::Unknown)) => {
                "whether any scope works is not known".to_string()
            }
            [] => "no scope works".to_string(),
            some if some.len() == Scope::ALL.len() => "every scope works".into(),
            some => format!("works: {}", some.join(", ")),
        };
        which + &why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(what: &str, verdict: Verdict, scopes: &[Scope]) -> ReadinessItem {
        ReadinessItem { what: what.into(), verdict, words: "so it is".into(), scopes: scopes.to_vec(), mend: None }
    }

    #[test]
    fn a_rollback_is_made_good_by_what_is_as_wide() {
        let run =
            |runbook: &str, state| PastRun { run: runbook.into(), runbook: runbook.into(), at: Stamp(0), state, words: String::new() };
        let of = |past: &[(&str, PastState)]| {
            let past: Vec<PastRun> = past.iter().map(|(runbook, state)| run(runbook, *state)).collect();
            not_made_good(&past).map(|run| run.runbook.clone())
        };
        use PastState::{Done, Failed, Running, Stuck};
        let failed = Some("rollback-full".to_string());
        assert_eq!(of(&[("rollback-full", Failed)]), failed);
        assert_eq!(of(&[("rollback-full", Stuck)]), failed, "one that nobody drives is not over");
        assert_eq!(of(&[("rollback-traffic", Done), ("rollback-full", Failed)]), failed, "the data is not back by that");
        assert_eq!(of(&[("rollback-full", Done), ("rollback-full", Failed)]), None);
        assert_eq!(of(&[("rollback-full", Running), ("rollback-code", Stuck)]), None);
        assert_eq!(of(&[("canary-step", Done), ("rollback-full", Failed)]), None, "somebody has gone on from it");
        assert_eq!(of(&[("canary-step", Failed), ("rollback-full", Failed)]), failed);
        assert_eq!(of(&[("rollback-traffic", Failed), ("rollback-full", Done)]), Some("rollback-traffic".to_string()));
    }

    #[test]
    fn what_cannot_be_told_is_not_ready() {
        let of = |items: Vec<ReadinessItem>| Readiness { items, ..Readiness::default() };
        let good = item("switch", Verdict::Pass, &Scope::ALL);
        assert_eq!(of(Vec::new()).state(), ReadinessState::NotReady, "nothing was looked at");
        assert_eq!(of(vec![good.clone()]).state(), ReadinessState::Ready);
        let unknown = item("last green", Verdict::Unknown, &[Scope::Code, Scope::Full]);
        let degraded = of(vec![good.clone(), unknown]);
        assert_eq!((degraded.state(), degraded.works(Scope::Traffic)), (ReadinessState::Degraded, true));
        assert_eq!(degraded.words(), "works: traffic; last green: so it is");
        assert_eq!(of(vec![item("switch", Verdict::Fail, &Scope::ALL)]).state(), ReadinessState::NotReady);
        // What is only good to have makes nothing impossible.
        assert_eq!(of(vec![good, item("drill", Verdict::Warn, &[])]).state(), ReadinessState::Ready);
    }
}
