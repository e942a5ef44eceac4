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

/// A rollback that has failed, and where nothing is known to have come after it.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedRollback {
    pub run: String,
    pub runbook: String,
    /// When it ended.
    pub at: Stamp,
    /// What it said at its end, and whose it was where that is somebody else's.
    pub words: String,
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
        if !mismatches.is_empty() {
            let item = ReadinessItem {
                what: "environment".into(),
                verdict: Verdict::Fail,
                words: format!("WRONG ENVIRONMENT: {}", mismatches.join("; ")),
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
