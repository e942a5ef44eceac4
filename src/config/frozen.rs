//! What a plan freezes of a configuration: the values that its steps, guards and notices need, and nothing else. A run works
//! by them alone, wherever and whenever it is taken up, whatever has become of the file or of a shipped profile.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::load::{load_file, load_text};
use super::model::{Acting, Config, Environment, SignalConfig, SourceConfig};
use super::roles::Roles;
use crate::base::endpoint::Endpoint;
use crate::base::secret::SecretRef;
use crate::plan::deploy::{RollbackSettings, Scope};
use crate::plan::runbook::{Channel, Content, Plan, StepSettings};

/// The frozen values, as `plan.json` has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FrozenValues {
    services: IndexMap<String, Endpoint>,
    sources: IndexMap<Arc<str>, SourceConfig>,
    signals: IndexMap<Arc<str>, SignalConfig>,
    notify: IndexMap<String, Channel>,
    #[serde(flatten)]
    settings: StepSettings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback: Option<RollbackSettings>,
    roles: Roles,
    /// Every reference of the configuration: what has to be taken out of whatever a script prints.
    secrets: Vec<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit: Option<Arc<str>>,
}

/// The values of a configuration that a plan's content needs.
pub fn freeze(config: &Config, content: &Content) -> serde_json::Value {
    let mut uses = content.uses();
    let settings = config.acting.settings.only(&uses);
    uses.signals.extend(settings.signals());
    let signals: IndexMap<Arc<str>, SignalConfig> =
        config.signals.iter().filter(|(name, _)| uses.signals.contains(&***name)).map(|(n, s)| (n.clone(), s.clone())).collect();
    let mut sources = uses.databases;
    for signal in signals.values() {
        sources.insert(signal.question.source.to_string());
        sources.extend(signal.question.or.iter().map(|(name, _)| name.to_string()));
    }
    sources.extend(config.acting.audit.iter().map(ToString::to_string));
    let kept = |names: &BTreeSet<String>, name: &str| names.contains(name);
    let values = FrozenValues {
        services: config.acting.services.iter().filter(|(n, _)| kept(&uses.services, n)).map(|(n, s)| (n.clone(), s.clone())).collect(),
        sources: config.sources.iter().filter(|(n, _)| kept(&sources, n)).map(|(n, s)| (n.clone(), s.clone())).collect(),
        signals,
        notify: config.acting.notify.iter().filter(|(n, _)| kept(&uses.channels, n)).map(|(n, c)| (n.clone(), c.clone())).collect(),
        settings,
        rollback: config.acting.rollback.clone().filter(|_| Scope::of(&content.runbook).is_some()),
        roles: config.acting.roles.clone(),
        secrets: config.secrets(),
        audit: config.acting.audit.clone(),
    };
    // A tree of texts, numbers and lists always has a JSON form.
    serde_json::to_value(values).unwrap_or_default()
}

/// The configuration that a plan was made under, as far as its run needs it; and what has to be said about that.
///
/// # Errors
/// Only for plans of the first version, which kept the text: why it means nothing to this program.
pub fn planned_config(plan: &Plan) -> Result<(Config, Option<String>), String> {
    let frozen = &plan.content.config;
    if frozen.values.is_null() {
        return planned_by_text(plan);
    }
    let values: FrozenValues =
        serde_json::from_value(frozen.values.clone()).map_err(|e| format!("the plan's own values cannot be read: {e}"))?;
    let mut config = bare(plan, &frozen.path);
    (config.sources, config.signals) = (values.sources, values.signals);
    config.acting.services = values.services;
    config.acting.notify = values.notify;
    config.acting.settings = values.settings;
    config.acting.rollback = values.rollback;
    config.acting.roles = values.roles;
    config.acting.further_secrets = values.secrets;
    config.acting.audit = values.audit;
    Ok((config, None))
}

/// A plan of the first version kept the text: read again, on whatever profile this program ships now. Where that text means
/// nothing any more, the file as it is now does.
fn planned_by_text(plan: &Plan) -> Result<(Config, Option<String>), String> {
    let frozen = &plan.content.config;
    let remark = |what: &str| Some(format!("this plan was made by an earlier version: {what}"));
    if let Some(config) = load_text(&frozen.path, &frozen.text).config {
        let shipped = frozen.profile.is_some() && frozen.profile != super::planning::profile_sum(&config);
        return Ok((config, shipped.then(|| remark("the profile it builds on is read as this program ships it")).flatten()));
    }
    match load_file(&frozen.path).ok().and_then(|loaded| loaded.config) {
        Some(config) => Ok((config, remark("its configuration cannot be read any more, the file as it is now is used"))),
        None => Err(format!("neither the configuration in the plan nor {} can be read by this program", frozen.path.display())),
    }
}

/// A configuration of nothing but names: what ends a run needs no more.
pub fn bare(plan: &Plan, path: &Path) -> Config {
    let c = &plan.content;
    Config::bare(
        path,
        Environment { name: c.environment.name.clone(), tier: c.environment.tier, expect: IndexMap::new(), hint: None },
        Acting::default(),
    )
}
