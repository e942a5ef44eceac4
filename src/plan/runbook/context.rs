//! What a plan is made against: the environment with everything a step can name, and what the operator asks for.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::kinds::StepSettings;
use super::model::{Channel, Runbook};
use super::plan::{FrozenConfig, Notice, PlanEnvironment};
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
    pub settings: Arc<StepSettings>,
    /// The snapshots there are, the newest first.
    pub snapshots: Vec<KnownSnapshot>,
    /// Whom every run tells.
    pub always: Vec<Notice>,
    pub runbooks: IndexMap<String, Arc<Runbook>>,
    pub config: FrozenConfig,
}

/// A snapshot as a plan sees it.
#[derive(Clone, Debug)]
pub struct KnownSnapshot {
    pub id: String,
    pub golden: bool,
    pub safety: bool,
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
