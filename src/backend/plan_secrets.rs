//! The secrets of a plan: whether all of them can be had before anything is begun, and what the redactor has to know.

use std::collections::BTreeSet;

use crate::base::secret::SecretRef;
use crate::config::{Config, SourceKind};
use crate::plan::runbook::{Content, Kind};

fn kinds(content: &Content) -> impl Iterator<Item = &Kind> {
    content.all().flat_map(|step| [Some(&step.kind), step.probe.as_ref(), step.undo.as_ref()]).flatten()
}

/// Every secret that the configuration or the plan refers to.
pub fn referenced(config: &Config, content: &Content) -> Vec<SecretRef> {
    let mut all = config.secrets();
    all.extend(content.notices.iter().flat_map(|notice| notice.channel.secrets()).cloned());
    all.extend(kinds(content).flat_map(Kind::secrets).cloned());
    all
}

/// Those that its steps need, undo and rollback included.
fn needed(config: &Config, content: &Content) -> BTreeSet<SecretRef> {
    let uses = content.uses();
    let services = uses.services.iter().filter_map(|name| config.acting.services.get(name));
    let databases = uses.databases.iter().filter_map(|name| config.sources.get(name.as_str()));
    let mut needed: BTreeSet<SecretRef> = kinds(content).flat_map(Kind::secrets).cloned().collect();
    needed.extend(services.flat_map(|endpoint| endpoint.secrets()).cloned());
    needed.extend(config.acting.settings.only(&uses).secrets().into_iter().cloned());
    needed.extend(databases.filter_map(|source| match &source.kind {
        SourceKind::Database { password, .. } => password.clone(),
        _ => None,
    }));
    needed
}

fn reasons<'r>(references: impl IntoIterator<Item = &'r SecretRef>) -> Vec<String> {
    references.into_iter().filter_map(|reference| reference.fetch().err().map(|why| format!("{reference}: {why}"))).collect()
}

/// The secrets a plan needs that cannot be had now: each by its reference, with the reason.
pub fn missing(config: &Config, content: &Content) -> Vec<String> {
    reasons(&needed(config, content))
}

/// The same without running any command: for whoever only plans.
pub fn absent(config: &Config, content: &Content) -> Vec<String> {
    reasons(needed(config, content).iter().filter(|reference| !matches!(reference, SecretRef::Cmd(_))))
}

/// Makes the redactor know what a script could print although its step was not given it.
pub fn know(references: &[SecretRef]) {
    for reference in references {
        // A command may take long or ask; it is fetched when it is needed, and known from then on.
        if !matches!(reference, SecretRef::Cmd(_)) {
            let _ = reference.fetch();
        }
    }
}
