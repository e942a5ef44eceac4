//! The vocabulary in which whoever shows (a cockpit, a command) and the backend talk: what is asked for, and what has come.

use std::sync::Arc;

use indexmap::IndexMap;

use super::ledger::Ledger;
use crate::plan::deploy::{Readiness, Scope};
use crate::plan::runbook::{Choice, Course, Observation, Plan};

/// What the backend is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Plan {
        serial: u64,
        runbook: String,
        inputs: IndexMap<String, String>,
        reason: Option<String>,
    },
    /// A scope of a rollback, for the dialog of that number.
    PlanRollback {
        serial: u64,
        scope: Scope,
        reason: Option<String>,
        /// What was reached that is not what the configuration expects.
        mismatches: Vec<String>,
    },
    Begin(Arc<Plan>),
    Answer {
        run: String,
        asked: u64,
        step: String,
        choice: Choice,
        note: String,
    },
    Pause(String),
    Resume(String),
    Abort {
        run: String,
        undo: bool,
        /// What it was at when it was decided to.
        seen: Course,
    },
    /// Whose output is looked at.
    Look(Option<(String, String)>),
}

/// What the backend says.
#[derive(Clone, Debug)]
pub enum Update {
    Ledger(Box<Ledger>),
    /// What was seen of the switch of the traffic.
    Traffic(Observation),
    /// For which dialog, and what came of it.
    Planned(u64, Result<Arc<Plan>, String>),
    /// The same for one scope of a rollback.
    PlannedScope(u64, Scope, Result<Arc<Plan>, String>),
    /// Whether a rollback would work.
    Readiness(Box<Readiness>),
    /// Which plan, and the id of the run that has begun.
    Begun(Arc<Plan>, Result<String, String>),
    /// How an answer, a pause or an abort went.
    Said(Result<String, String>),
    Output(OutputTail),
}

/// The end of a step's output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputTail {
    pub run: String,
    pub step: String,
    pub lines: Vec<String>,
    /// There is more before it.
    pub cut: bool,
}
