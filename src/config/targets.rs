//! Targets: what the environment comes to at other addresses. A target has what it names and nothing else, so that nothing
//! reaches production by an address that was forgotten.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use sqlx::postgres::PgConnectOptions;

use super::file::{Entries, FileShape, TargetFile};
use super::model::{Config, SourceKind};
use super::resolver::Resolver;
use super::shape::{EnvironmentShape, SnapshotsShape, SourceShape, SpannedText, TargetSourceShape};
use crate::base::diag::{Findings, suggestion};
use crate::base::tier::Tier;
use crate::plan::runbook::{Switch, SwitchKind};

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
        traffic: target.traffic.clone(),
        canary: file.canary.clone(),
        release: target.release.clone(),
        // A program of somebody's own brings back where it was told to: a target has others.
        snapshots: file.snapshots.clone().map(|(own, span)| (SnapshotsShape { programs: target.programs.clone(), ..own }, span)),
        gates: file.gates.clone(),
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
    let switch = config.acting.switch.iter().flat_map(switched);
    let release = config.acting.release.iter().map(|release| (format!("release {}", release.place()), release.place()));
    let programs = config.acting.snapshots.iter().flat_map(|snapshots| &snapshots.programs).flat_map(|program| {
        let own = [&program.create, &program.restore].into_iter().filter(|argv| !argv.is_empty());
        own.map(|argv| (format!("program {}", argv.join(" ")), argv.join(" "))).collect::<Vec<_>>()
    });
    sources.chain(services).chain(switch).chain(release).chain(programs).collect()
}

/// What a switch turns: two that are told the same turn the same.
fn switched(switch: &Switch) -> Vec<(String, String)> {
    if let SwitchKind::Haproxy { addresses, backend } = &switch.kind {
        let one = |address: &String| match address.rsplit_once(':').filter(|_| !address.starts_with('/')) {
            Some((host, port)) => (format!("switch {}:{port} {backend}", machine(host)), format!("{address} {backend}")),
            None => (format!("switch {address} {backend}"), format!("{address} {backend}")),
        };
        return addresses.iter().map(one).collect();
    }
    switch.places().into_iter().map(|place| (format!("switch {place}"), place)).collect()
}

fn web_address(url: &url::Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}{}", machine(url.host_str().unwrap_or_default()), url.path().trim_end_matches('/'))
}

/// A parameter of the URL may name another host or database than its beginning does.
fn database_address(text: &str) -> String {
    let Some(options) = text.starts_with("postgres").then(|| text.parse::<PgConnectOptions>().ok()).flatten() else {
        return text.strip_prefix("sqlite:").map_or_else(|| text.to_string(), |path| format!("sqlite {}", path.trim_start_matches("//")));
    };
    let host = if options.get_socket().is_some() { HERE.to_string() } else { machine(options.get_host()) };
    format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or(options.get_username()))
}

/// This machine, under all of its names.
const HERE: &str = "localhost";

fn machine(host: &str) -> String {
    let name = host.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
    let is_here = |ip: IpAddr| {
        let ip = ip.to_canonical();
        ip.is_loopback() || ip.is_unspecified()
    };
    match name.parse::<IpAddr>() {
        Ok(ip) if is_here(ip) => HERE.into(),
        Ok(_) => name,
        Err(_) if name.starts_with('/') || name.ends_with(".localhost") => HERE.into(),
        Err(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_however_it_is_spelt() {
        let database = database_address("postgres://u@127.0.0.1:5433/app");
        for other in [
            "postgres://u@localhost:5433/app",
            "postgres://u@127.0.0.1:5433/other?dbname=app",
            "postgres://u@elsewhere:5433/app?host=127.0.0.1",
            "postgres://u@%2Frun%2Fpg:5433/app",
        ] {
            assert_eq!(database_address(other), database, "{other}");
        }
        for other in ["postgres://u@127.0.0.1:5433/stage", "postgres://u@127.0.0.1:5434/app", "postgres://u@db:5433/app"] {
            assert_ne!(database_address(other), database, "{other}");
        }
        let web = |text: &str| web_address(&url::Url::parse(text).unwrap());
        for other in ["http://LOCALHOST:80/", "http://0.0.0.0", "http://[::1]", "http://[::ffff:127.0.0.1]:80", "http://127.0.0.1./"] {
            assert_eq!(web(other), web("http://127.0.0.1"), "{other}");
        }
        assert_ne!(web("http://127.0.0.1/stage"), web("http://127.0.0.1"));
        assert_ne!(web("https://127.0.0.1"), web("http://127.0.0.1"));
    }
}
