//! From a configuration to what steps and records reach for.

use std::sync::Arc;
use std::time::Duration;

use super::live_signals::LiveSignals;
use crate::act::effect::{Context, Outgoing};
use crate::base::clock::Clock;
use crate::base::endpoint::DatabaseOptions;
use crate::config::{Config, SourceKind};

/// Everything that steps reach for, by a configuration.
pub fn acting_context(config: &Config, clock: Clock) -> Context {
    let databases = config.sources.iter().filter_map(|(name, s)| Some((name.to_string(), database_options(&s.kind, s.timeout)?)));
    Context {
        services: config.acting.services.iter().map(|(name, endpoint)| (name.clone(), endpoint.clone())).collect(),
        databases: databases.collect(),
        settings: config.acting.settings.clone(),
        hidden: Vec::new(),
        signals: Arc::new(LiveSignals::new(config.clone(), tokio::runtime::Handle::current(), clock.clone())),
        outgoing: Arc::new(NothingOutgoing),
        held: None,
        clock,
    }
}

/// Until a run says where its messages go.
struct NothingOutgoing;

impl Outgoing for NothingOutgoing {
    fn put(&self, _step: &str, channel: &str, _message: &str) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("nothing goes to {channel} from here")))
    }
}

/// The database that records are mirrored to.
pub fn audit_database(config: &Config) -> Option<DatabaseOptions> {
    config.sources.get(config.acting.audit.as_ref()?).and_then(|source| database_options(&source.kind, source.timeout))
}

pub fn database_options(kind: &SourceKind, timeout: Duration) -> Option<DatabaseOptions> {
    match kind {
        SourceKind::Database { url, password, tls, connections } => {
            Some(DatabaseOptions { url: url.clone(), password: password.clone(), tls: tls.clone(), timeout, connections: *connections })
        }
        _ => None,
    }
}
