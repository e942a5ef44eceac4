//! Runs as people see them: what the board, the run view and `lastgreen runs` show, from the same journals.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::moment::Moment;
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::plan::deploy::{PastRun, SaidOfHold, Turn, improvements};
use crate::plan::runbook::{
    Frequency, LoadedRunbook, Phase, Plan, Progress, Run, RunResult, Runbook, RunbookStatus, StepProgress, StepRun, StepState, Trigger,
};

/// A run with everything known about it.
#[derive(Clone, Debug)]
pub struct RunLine {
    pub id: String,
    pub plan: Arc<Plan>,
    pub run: Run,
    /// Whether a runner drives it now.
    pub driven: bool,
    /// Why its journal cannot be read to the end, if it cannot.
    pub broken: Option<String>,
    /// How far the step is that is at work, where it says so.
    pub progress: Option<StepProgress>,
}

/// How a run is, in one word and with its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Running,
    Waiting,
    Paused,
    /// Its runner is gone, and it is not over.
    Orphaned,
    Done,
    Failed,
    RolledBack,
    Aborted,
    Refused,
    /// It gave way to an emergency.
    Superseded,
    Broken,
}

impl RunStatus {
    pub fn word(self) -> &'static str {
        match self {
            RunStatus::Running => "running",
            RunStatus::Waiting => "waits for you",
            RunStatus::Paused => "paused",
            RunStatus::Orphaned => "interrupted",
            RunStatus::Done => "done",
            RunStatus::Failed => "failed",
            RunStatus::RolledBack => "rolled back",
            RunStatus::Aborted => "aborted",
            RunStatus::Refused => "refused",
            RunStatus::Superseded => "superseded",
            RunStatus::Broken => "journal broken",
        }
    }

    /// As a filter on the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            RunStatus::Waiting => "waiting",
            RunStatus::RolledBack => "rolled-back",
            RunStatus::Broken => "broken",
            other => other.word(),
        }
    }

    pub const ALL: [RunStatus; 11] = [
        RunStatus::Running,
        RunStatus::Waiting,
        RunStatus::Paused,
        RunStatus::Orphaned,
        RunStatus::Done,
        RunStatus::Failed,
        RunStatus::RolledBack,
        RunStatus::Aborted,
        RunStatus::Refused,
        RunStatus::Superseded,
        RunStatus::Broken,
    ];

    pub fn is_open(self) -> bool {
        matches!(self, RunStatus::Running | RunStatus::Waiting | RunStatus::Paused | RunStatus::Orphaned)
    }
}

impl RunLine {
    /// What is to be done after it: nothing where it has changed nothing, or taken back what it did.
    pub fn afterwards(&self) -> &[String] {
        let undone = self.run.steps.keys().any(|key| key.starts_with("undo/"));
        let stands = matches!(self.status(), RunStatus::Done | RunStatus::Failed | RunStatus::Aborted) && !undone;
        if stands { &self.plan.content.checklists.after } else { &[] }
    }

    pub fn status(&self) -> RunStatus {
        if self.broken.is_some() {
            return RunStatus::Broken;
        }
        match (&self.run.phase, self.driven) {
            (Phase::Ended { result, .. }, _) => match result {
                RunResult::Done => RunStatus::Done,
                RunResult::Failed => RunStatus::Failed,
                RunResult::RolledBack => RunStatus::RolledBack,
                RunResult::Aborted => RunStatus::Aborted,
                RunResult::Refused => RunStatus::Refused,
                RunResult::Superseded => RunStatus::Superseded,
            },
            (Phase::Paused { .. }, _) => RunStatus::Paused,
            (_, false) => RunStatus::Orphaned,
            (Phase::Waiting { .. }, true) => RunStatus::Waiting,
            (Phase::New | Phase::Running, true) => RunStatus::Running,
        }
    }

    /// Whether it is a run of this runbook in this environment: one state folder may serve several.
    pub fn is_of(&self, environment: &str, runbook: &str) -> bool {
        self.plan.content.environment.name == environment && self.plan.content.runbook == runbook
    }

    /// How it is, in words.
    pub fn words(&self) -> String {
        if let Some(broken) = &self.broken {
            return broken.clone();
        }
        match &self.run.phase {
            Phase::Ended { message, .. } => message.clone(),
            Phase::Waiting { question } => question.text.clone(),
            Phase::Paused { why } => why.clone(),
            Phase::New | Phase::Running if !self.driven => "its runner is gone: resume or abort it".into(),
            Phase::New | Phase::Running => {
                self.run.current().and_then(|(key, _)| self.plan.step(key)).map_or_else(String::new, |step| step.name.clone())
            }
        }
    }

    /// Steps that are over, and all there are.
    pub fn progress(&self) -> (usize, usize) {
        let over = self.run.steps.values().filter(|s| s.state.is_over()).count();
        (over, self.run.steps.len().max(self.plan.content.steps.len()))
    }

    /// The number of the step it is at: the last that was begun, also while somebody is asked what becomes of it.
    pub fn at_step(&self) -> usize {
        self.run.steps.values().rposition(|step| step.started.is_some()).map_or(1, |at| at + 1)
    }

    /// How far a step is, where it is the one at work.
    pub fn progress_of(&self, step: &str) -> Option<&Progress> {
        let progress = self.progress.as_ref().filter(|p| p.step == step && self.driven)?;
        self.run.steps.get(step).is_some_and(|s| s.state == StepState::Running).then_some(&progress.progress)
    }

    /// How long it has taken, or took.
    pub fn elapsed(&self, now: Stamp) -> Duration {
        self.run.started.map_or(Duration::ZERO, |started| self.run.ended.unwrap_or(now).since(started))
    }

    /// Every step in the order in which it is or was done, with what the run knows of it.
    pub fn steps(&self) -> Vec<(String, String, StepRun)> {
        let name = |key: &str| self.plan.step(key).map_or_else(|| key.to_string(), |s| s.name.clone());
        if self.run.steps.is_empty() {
            return self.plan.content.steps.iter().map(|s| (s.key.clone(), s.name.clone(), StepRun::default())).collect();
        }
        self.run.steps.iter().map(|(key, run)| (key.clone(), name(key), run.clone())).collect()
    }

    /// For programs.
    pub fn json(&self, now: Stamp) -> Json {
        let steps: Vec<Json> = self
            .steps()
            .into_iter()
            .map(|(key, name, run)| {
                json!({"step": key, "name": name, "state": run.state, "attempts": run.attempts, "started": run.started,
                    "ended": run.ended, "message": run.message, "touched": run.touched})
            })
            .collect();
        let c = &self.plan.content;
        json!({
            "run": self.id, "runbook": c.runbook, "title": c.title, "environment": c.environment.name, "tier": c.environment.tier,
            "danger": c.danger, "drill": c.drill, "reason": c.reason, "fingerprint": self.plan.fingerprint,
            "status": self.status().name(),
            // The older name of the same.
            "standing": self.status().name(), "message": self.words(), "by": self.run.by, "runner": self.run.runner,
            "started": self.run.started, "ended": self.run.ended, "elapsed_ms": self.elapsed(now).as_millis() as u64,
            "question": match &self.run.phase { Phase::Waiting { question } => json!(question), _ => Json::Null },
            "notes": self.run.notes.iter().map(|(at, text, loud)| json!({"at": at, "text": text, "loud": loud})).collect::<Vec<_>>(),
            "steps": steps, "target": c.target, "emergency": c.emergency, "progress": self.progress,
            "automatic": c.automatic, "warnings": c.warnings, "by_hand": self.run.by_hand(&self.plan),
            "improve": if c.drill { json!(improvements(&self.plan, &self.run)) } else { Json::Null },
        })
    }
}

/// Where a step of a run stands, as a mark: the same on the screen and in text.
pub fn step_mark(state: StepState) -> &'static str {
    match state {
        StepState::Pending => " ",
        StepState::Running => "▶",
        StepState::Unknown => "?",
        StepState::Done => "✓",
        StepState::Failed => "✗",
        StepState::Skipped => "-",
        StepState::Interrupted => "!",
    }
}

/// A runbook in the list.
#[derive(Clone, Debug)]
pub struct RunbookLine {
    pub name: String,
    pub loaded: LoadedRunbook,
    /// Its newest run that was not refused.
    pub last: Option<(Stamp, RunStatus)>,
    pub due: Due,
}

/// Whether a runbook ought to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// It has no rhythm.
    No,
    /// In this long.
    In(Duration),
    /// For this long.
    Late(Duration),
    /// It has a rhythm and was never run.
    Never,
}

impl Due {
    pub fn of(runbook: &Runbook, last_done: Option<Stamp>, now: Stamp) -> Due {
        if runbook.front.status != RunbookStatus::Ready {
            return Due::No;
        }
        let Some(next) = next(runbook, last_done) else { return Due::No };
        match next {
            None => Due::Never,
            Some(next) if next > now => Due::In(next.since(now)),
            Some(next) => Due::Late(now.since(next)),
        }
    }

    pub fn words(&self) -> String {
        match self {
            Due::No => String::new(),
            Due::In(time) => format!("in {}", short(rough(*time))),
            Due::Late(time) => format!("late by {}", short(rough(*time))),
            Due::Never => "never run".into(),
        }
    }

    pub fn is_late(&self) -> bool {
        matches!(self, Due::Late(_) | Due::Never)
    }
}

/// As exactly as anybody wants to know it days before.
fn rough(time: Duration) -> Duration {
    let unit = match time.as_secs() {
        0..3600 => 60,
        3600..86400 => 3600,
        _ => 86400,
    };
    Duration::from_secs(time.as_secs().div_ceil(unit) * unit)
}

/// When the next run is due: by its schedule, otherwise by its frequency. `None`: there is no rhythm; `Some(None)`: there
/// is, and there was no run yet.
fn next(runbook: &Runbook, last_done: Option<Stamp>) -> Option<Option<Stamp>> {
    let crons = runbook.triggers.iter().filter_map(|t| match t {
        Trigger::Schedule { cron } => cron.parse::<croner::Cron>().ok(),
        Trigger::Event { .. } => None,
    });
    let crons: Vec<croner::Cron> = crons.collect();
    if !crons.is_empty() && runbook.front.frequency != Frequency::OnDemand {
        let after = |last: Stamp| {
            let last = chrono::DateTime::<chrono::Utc>::from_timestamp_millis(last.0)?;
            crons.iter().filter_map(|c| c.find_next_occurrence(&last, false).ok()).min().map(|at| Stamp(at.timestamp_millis()))
        };
        return Some(last_done.and_then(after));
    }
    let period = runbook.front.frequency.period()?;
    Some(last_done.map(|last| last.plus(period)))
}

/// What is known of others on this environment, by the records that all keep in one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Elsewhere {
    /// Who acts on it from another host or account.
    pub holder: Option<String>,
    /// What was said last about holding the canary.
    pub hold: Option<SaidOfHold>,
    /// Who has turned the canary's traffic last.
    pub turn: Option<Turn>,
    /// What others have run that bears on whether the last rollback stands, the newest first.
    pub past: Vec<PastRun>,
    /// The beginnings and ends of what others have run lately.
    pub moments: Vec<Moment>,
}

/// Runs and runbooks as they are now.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The newest first.
    pub runs: Vec<Arc<RunLine>>,
    pub runbooks: Vec<RunbookLine>,
    /// What the runner of each open run says that keeps it.
    pub stuck: Vec<(String, String)>,
    /// Why there is none, when the state folder cannot be used.
    pub fault: Option<String>,
    /// Runs that cannot be shown, and why.
    pub unreadable: Vec<(String, String)>,
    pub elsewhere: Elsewhere,
    /// Whether anything was read yet.
    pub known: bool,
}

impl Ledger {
    pub fn run(&self, id: &str) -> Option<&Arc<RunLine>> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// The run that is open in an environment, the newest of several.
    pub fn open(&self, environment: &str) -> Option<&Arc<RunLine>> {
        self.runs.iter().find(|run| run.status().is_open() && run.plan.content.environment.name == environment)
    }

    /// The list of runbooks, from what was read and what was run.
    pub fn lines(loaded: &[LoadedRunbook], runs: &[Arc<RunLine>], environment: &str, now: Stamp) -> Vec<RunbookLine> {
        let line = |loaded: &LoadedRunbook| {
            let of = || runs.iter().filter(|r| r.is_of(environment, &loaded.name));
            let last = of().find(|r| r.status() != RunStatus::Refused).and_then(|r| Some((r.run.started?, r.status())));
            let done = of().find(|r| r.status() == RunStatus::Done && !r.plan.content.drill).and_then(|r| r.run.started);
            let due = loaded.runbook.as_ref().map_or(Due::No, |runbook| Due::of(runbook, done, now));
            RunbookLine { name: loaded.name.clone(), loaded: loaded.clone(), last, due }
        };
        loaded.iter().map(line).collect()
    }
}

/// The newest history of a step, for how long it is expected to take: the median of its last five good ends. Only whole runs count:
/// of one that was left half-way the sum of its steps would be taken for the time of all.
pub fn expected(runs: &[Arc<RunLine>], environment: &str, runbook: &str, key: &str) -> Option<Duration> {
    let took = |run: &Arc<RunLine>| {
        let step = run.run.steps.get(key).filter(|s| s.state == StepState::Done)?;
        Some(step.ended?.since(step.started?))
    };
    let mut times: Vec<Duration> = runs
        .iter()
        .filter(|r| r.is_of(environment, runbook) && !r.plan.content.drill && r.status() == RunStatus::Done)
        .filter_map(took)
        .take(5)
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}
