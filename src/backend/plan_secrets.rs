//! The secrets of a plan: whether all of them can be had before anything is begun, and what the redactor has to know.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::secret::SecretRef;
use crate::config::{Config, SourceKind};
use crate::plan::runbook::{Content, Kind};

/// How long a command may take that gives a secret.
const FETCHING: Duration = Duration::from_secs(10);

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

fn fetched(reference: &SecretRef) -> Result<(), String> {
    let SecretRef::Cmd(_) = reference else { return reference.fetch().map(drop) };
    // One that takes for ever is not to be had.
    let (said, answer) = std::sync::mpsc::channel();
    let asked = reference.clone();
    std::thread::spawn(move || said.send(asked.fetch().map(drop)));
    answer.recv_timeout(FETCHING).unwrap_or_else(|_| Err("the command that gives it does not end".into()))
}

fn reasons<'r>(references: impl IntoIterator<Item = &'r SecretRef>) -> Vec<String> {
    references.into_iter().filter_map(|reference| fetched(reference).err().map(|why| format!("{reference}: {why}"))).collect()
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
