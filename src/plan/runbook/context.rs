//! What a plan is made against: the environment with everything a step can name, and what the operator asks for.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::model::{Channel, Runbook};
use super::plan::{FrozenConfig, Notice, PlanEnvironment};
use super::release::Release;
use super::switch::Switch;
use crate::base::units::Unit;

/// What a plan is made against: the environment, and everything a step can name.
#[derive(Clone, Debug, Default)]
pub struct PlanningContext {
    pub environment: PlanEnvironment,
    /// The target these are of, where it is not the environment itself.
    pub target: Option<String>,
    pub vars: Map<String, Json>,
    /// Services (and HTTP sources) by name, with their URLs.
    pub services: IndexMap<String, String>,
    /// Databases by name, with their places as people read them.
    pub databases: IndexMap<String, String>,
    pub signals: IndexMap<String, Unit>,
    pub channels: IndexMap<String, Channel>,
    pub switch: Option<Switch>,
    pub release: Option<Release>,
    pub snapshots: Option<SnapshotsContext>,
    /// Gates with the names of their checks.
    pub gates: IndexMap<String, Vec<String>>,
    /// Those that are wanted before a step of a canary.
    pub canary_gates: Vec<String>,
    /// How long a canary bakes, and what it is judged by.
    pub analysis: Option<(Duration, String)>,
    /// Whom every run tells.
    pub always: Vec<Notice>,
    pub runbooks: IndexMap<String, Arc<Runbook>>,
    pub config: FrozenConfig,
}

/// Snapshots as a plan sees them.
#[derive(Clone, Debug, Default)]
pub struct SnapshotsContext {
    /// What they are taken of.
    pub what: String,
    /// How one comes back.
    pub how: String,
    /// The runbook that stops what writes meanwhile.
    pub hold: Option<String>,
    /// Those that there are, the newest first.
    pub known: Vec<KnownSnapshot>,
}

#[derive(Clone, Debug)]
pub struct KnownSnapshot {
    pub id: String,
    pub golden: bool,
    pub safety: bool,
}

impl SnapshotsContext {
    /// The id that is meant.
    pub(super) fn find(&self, wanted: &str) -> Option<&str> {
        let found = match wanted {
            "latest" => self.known.iter().find(|known| !known.safety),
            "golden" => self.known.iter().find(|known| known.golden),
            id => self.known.iter().find(|known| known.id == id),
        };
        found.map(|known| known.id.as_str())
    }
}

/// What the operator asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub inputs: IndexMap<String, String>,
    pub reason: Option<String>,
    pub drill: bool,
    /// Begun by a program, and not by a person.
    pub automatic: bool,
    pub user: String,
    pub host: String,
    /// Nothing is to be run: inputs that are missing are left open, and everything else is looked at.
    pub only_checks: bool,
}
