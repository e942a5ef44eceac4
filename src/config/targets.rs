//! Targets: what the environment comes to at other addresses. A target has what it names and nothing else, so that nothing
//! reaches production by an address that was forgotten.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::address::{database_address, web_address};
use super::entries::Entries;
use super::file::{FileShape, TargetFile};
use super::model::{Config, SourceKind};
use super::resolver::Resolver;
use super::sections::reached as reached_by_steps;
use super::shape::{EnvironmentShape, SourceShape, SpannedText, TargetSourceShape};
use crate::base::diag::{Findings, suggestion};
use crate::base::tier::Tier;

/// Resolves every target; what is wrong in them goes into the findings.
pub(super) fn targets(
    findings: &mut Findings,
    path: &Path,
    folder: &Path,
    file: &FileShape,
    main: &Config,
) -> IndexMap<String, Arc<Config>> {
    let mut out = IndexMap::new();
    for (name, (target, span)) in &file.targets {
        for (kind, known, named) in [
            ("source", names(&file.sources), names(&target.sources)),
            ("service", main.acting.services.keys().cloned().collect(), names(&target.services)),
        ] {
            for unknown in named.iter().filter(|name| !known.contains(name)) {
                let hint = suggestion(unknown, known.iter().map(String::as_str));
                findings.error(span.clone(), format!("target `{name}`: there is no {kind} `{unknown}` to stand in for"), hint);
            }
        }
        let shape = shape_of(name, target, file, main);
        // Left-out signals and the like were said of the environment itself.
        let mut own = findings.clone();
        own.found.clear();
        let mut resolver = Resolver { findings: &mut own, vars: &shape.vars, kinds: IndexMap::new(), folder: folder.to_path_buf() };
        let config = resolver.config(path, &shape);
        let errors = own.found.into_iter().filter(|finding| finding.severity == crate::base::diag::Severity::Error);
        let fresh: Vec<_> = errors.filter(|error| !findings.found.contains(error)).collect();
        findings.found.extend(fresh);
        let Some(mut config) = config else { continue };
        if config.environment.name == main.environment.name {
            let hint = "give it a name of its own: it is what is typed to confirm";
            findings.error(span.clone(), format!("target `{name}` has the environment's own name"), Some(hint.into()));
        }
        for place in shared_places(main, &config) {
            let hint = "a target is a stand-in: give it an address of its own";
            findings.error(
                span.clone(),
                format!("target `{name}` reaches what the environment itself reaches: {place}"),
                Some(hint.into()),
            );
        }
        config.target = Some(name.to_string());
        out.insert(name.to_string(), Arc::new(config));
    }
    out
}

fn names<T>(entries: &Entries<T>) -> Vec<String> {
    entries.keys().map(ToString::to_string).collect()
}

/// The file as it would be if the target were the environment.
fn shape_of(name: &str, target: &TargetFile, file: &FileShape, main: &Config) -> FileShape {
    let mut vars = file.vars.clone();
    vars.extend(target.vars.clone());
    let mut sources = Entries::new();
    for (source, (own, span)) in &target.sources {
        if let Some((shape, _)) = file.sources.get(source) {
            sources.insert(source.clone(), (stand_in(shape, own), span.clone()));
        }
    }
    let span = file.targets.get(name).map_or(0..0, |(_, span)| span.clone());
    let own_name = target.name.clone().unwrap_or_else(|| SpannedText::new(span.clone(), format!("{}-{name}", main.environment.name)));
    let environment =
        EnvironmentShape { name: Some(own_name), tier: Some(target.tier.unwrap_or(Tier::Staging)), ..EnvironmentShape::default() };
    FileShape {
        vars,
        environment: Some((environment, span)),
        sources,
        signals: file.signals.clone(),
        services: target.services.clone(),
        sections: file.sections.of_target(&target.sections),
        notify: file.notify.clone(),
        roles: file.roles.clone(),
        state_dir: file.state_dir.clone(),
        runbooks: file.runbooks.clone(),
        profile: file.profile.clone(),
        begins: file.begins,
        profile_begins: file.profile_begins,
        is_target: true,
        ..FileShape::default()
    }
}

/// The same source at another address.
fn stand_in(shape: &SourceShape, own: &TargetSourceShape) -> SourceShape {
    SourceShape {
        url: own.url.clone(),
        headers: own.headers.clone(),
        bearer_token: own.bearer_token.clone(),
        user: own.user.clone(),
        password: own.password.clone(),
        api_key: own.api_key.clone(),
        tls: own.tls.clone(),
        targets: own.targets.clone(),
        collection: own.collection.clone().or_else(|| shape.collection.clone()),
        command: own.command.clone(),
        ..shape.clone()
    }
}

/// Addresses that both reach, however they are spelt.
fn shared_places(main: &Config, target: &Config) -> Vec<String> {
    let own: BTreeSet<String> = reached(main).into_iter().map(|(address, _)| address).collect();
    let shared = reached(target).into_iter().filter(|(address, _)| own.contains(address)).map(|(_, shown)| shown);
    shared.collect::<BTreeSet<String>>().into_iter().collect()
}

/// Every address in one spelling, and as people read it. What only runs here has none to compare.
fn reached(config: &Config) -> Vec<(String, String)> {
    let sources = config.sources.values().flat_map(|source| match &source.kind {
        SourceKind::Prometheus(e) | SourceKind::Http(e) | SourceKind::Alertmanager(e) | SourceKind::Qdrant { endpoint: e, .. } => {
            vec![(web_address(&e.url), e.shown())]
        }
        SourceKind::Scrape { targets, .. } => targets.iter().map(|t| (web_address(&t.endpoint.url), t.endpoint.shown())).collect(),
        SourceKind::Database { url, .. } => vec![(database_address(url), source.kind.place())],
        SourceKind::Redis { .. } => vec![(source.kind.place(), source.kind.place())],
        SourceKind::Command { .. } => Vec::new(),
    });
    let services = config.acting.services.values().map(|endpoint| (web_address(&endpoint.url), endpoint.shown()));
    sources.chain(services).chain(reached_by_steps(&config.acting.settings)).collect()
}
