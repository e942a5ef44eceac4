//! From a configuration to clients, and the words for when there is no configuration.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::base::endpoint::DatabaseOptions;
use crate::base::endpoint::Endpoint;
use crate::config::{Config, SourceConfig, SourceKind};
use crate::observe::engine::Limits;
use crate::observe::reading::{Ask, Question};
use crate::observe::source::{
    Alertmanager, Client, CommandClient, Database, Mailbox, PageTarget, Poller, Probe, Prometheus, Qdrant, Redis, Scrape, ScrapeOptions,
    Source, Web,
};

/// Clients by their source.
#[derive(Default)]
pub struct Clients(HashMap<Arc<str>, Connected>);

/// A client, and what it was made of.
struct Connected {
    source: SourceConfig,
    queries: Vec<String>,
    client: Arc<dyn Client>,
}

/// Makes the clients and starts asking.
///
/// # Errors
/// When a client cannot be made at all; says which.
pub fn connect(config: &Config, runtime: &Handle, window: Duration, mailbox: Arc<Mailbox>) -> Result<Poller, String> {
    connect_again(config, runtime, (window, mailbox), &mut Clients::default())
}

/// The same for whoever was connected before. What is itself the same goes on where it was, whatever else has changed: a reader of pages
/// with what it has read, a probe with how often it has failed.
///
/// # Errors
/// When a client cannot be made at all; says which. The ones before are as they were.
pub fn connect_again(
    config: &Config,
    runtime: &Handle,
    (window, mailbox): (Duration, Arc<Mailbox>),
    clients: &mut Clients,
) -> Result<Poller, String> {
    let questions = config.questions();
    let (mut sources, mut all) = (Vec::new(), HashMap::new());
    for (name, source) in &config.sources {
        // A question may be given more time than its source: the client must not cut it short.
        let longest = questions.iter().filter(|q| q.source == *name).map(|q| q.timeout).max().unwrap_or_default().max(source.timeout);
        let patient = SourceConfig { timeout: longest, ..source.clone() };
        let queries = queries(name, &questions);
        let client = match clients.0.get(name).filter(|before| before.source == patient && before.queries == queries) {
            Some(before) => before.client.clone(),
            None => client(&patient, &queries).map_err(|e| format!("source {name}: {e}"))?,
        };
        all.insert(name.clone(), Connected { source: patient, queries, client: client.clone() });
        sources.push(Source {
            name: name.clone(),
            kind: source.kind.word(),
            client,
            concurrency: source.concurrency,
            timeout: source.timeout,
        });
    }
    clients.0 = all;
    Ok(Poller::start(runtime, sources, questions, window, mailbox))
}

fn client(source: &SourceConfig, queries: &[String]) -> Result<Arc<dyn Client>, String> {
    let web = |endpoint: &Endpoint| Web::new(Endpoint { timeout: source.timeout, ..endpoint.clone() });
    Ok(match &source.kind {
        SourceKind::Prometheus(endpoint) => Arc::new(Prometheus::new(web(endpoint))),
        SourceKind::Alertmanager(endpoint) => Arc::new(Alertmanager::new(web(endpoint))),
        SourceKind::Http(endpoint) => Arc::new(Probe::new(web(endpoint))),
        SourceKind::Qdrant { endpoint, collection } => Arc::new(Qdrant::new(web(endpoint), collection.clone())),
        SourceKind::Redis { url, password, tls } => Arc::new(Redis::new(url.clone(), password.clone(), tls.clone(), source.timeout)),
        SourceKind::Command { argv, max_output } => Arc::new(CommandClient {
            argv: argv.clone(),
            environment: Vec::new(),
            names: None,
            timeout: source.timeout,
            max_output: *max_output,
        }),
        SourceKind::Database { url, password, tls, connections } => {
            let options = DatabaseOptions {
                url: url.clone(),
                password: password.clone(),
                tls: tls.clone(),
                timeout: source.timeout,
                connections: *connections,
            };
            Arc::new(Database::new(options)?)
        }
        SourceKind::Scrape { targets, retention, samples, series } => {
            let targets = targets.iter().map(|t| PageTarget::new(t.name.clone(), t.labels.clone(), web(&t.endpoint))).collect();
            let limits = Limits { retention: *retention, samples: *samples, series: *series };
            let options = ScrapeOptions { every: source.every, timeout: source.timeout, limits };
            Arc::new(Scrape::new(targets, options, queries).map_err(|e| e.to_string())?)
        }
    })
}

/// The PromQL that a source may be asked, as first or as second source.
fn queries(source: &str, questions: &[Question]) -> Vec<String> {
    let mut out = Vec::new();
    for question in questions {
        let second = question.or.iter().map(|(name, ask)| (name, ask));
        for (name, ask) in std::iter::once((&question.source, &question.ask)).chain(second) {
            if let Ask::Promql { query, .. } = ask
                && **name == *source
            {
                out.push(query.clone());
            }
        }
    }
    out
}

/// What to say when no configuration is found.
pub fn describe_nowhere(places: &[PathBuf]) -> String {
    let mut text = String::from(
        "There is no configuration. Looked at:\n  --config FILE            (not given)\n  $LASTGREEN_CONFIG        (not set)\n",
    );
    for place in places {
        text += &format!("  {}\n", place.display());
    }
    text + "\nTo see it at work, with nothing installed or configured:\n  lastgreen demo\nTo write a configuration for what answers here:\n  lastgreen init\n"
}
