//! What snapshots are taken of, and how they come back, from `[snapshots]`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::base::diag::suggestion;
use crate::base::endpoint::DatabaseOptions;
use crate::config::model::{SourceConfig, SourceKind};
use crate::config::resolver::Resolver;
use crate::config::shape::SpannedText;
use crate::plan::runbook::{CollectionStrategy, DatabaseStore, DatabaseStrategy, NodeStore, ProgramStore, SnapshotSettings};

const KEEP: usize = 7;
const MAX_AGE: Duration = Duration::from_secs(26 * 3600);
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);
/// How many stored points are asked for their neighbours.
const PROBES: usize = 5;

/// What snapshots are taken of, where they go, and how they come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotsShape {
    pub folder: Option<String>,
    /// The runbook that stops what writes meanwhile.
    pub hold: Option<String>,
    /// A program that prints how many bytes are free on the databases' server.
    #[serde(default)]
    pub server_room: Vec<String>,
    #[serde(default)]
    pub databases: Vec<SpannedText>,
    #[serde(default)]
    pub qdrant: Vec<SpannedText>,
    #[serde(default)]
    pub collections: Vec<SpannedText>,
    #[serde(default)]
    pub programs: IndexMap<String, ProgramShape>,
    /// Where the server keeps its snapshots; learnt from it where that is not said.
    pub server_folder: Option<String>,
    pub download: Option<bool>,
    pub keep: Option<usize>,
    pub keep_for: Option<SpannedText>,
    pub max_age: Option<SpannedText>,
    pub timeout: Option<SpannedText>,
    /// Counts besides those of every table.
    #[serde(default)]
    pub counts: IndexMap<String, String>,
    pub probes: Option<usize>,
    pub restore_database: Option<DatabaseStrategy>,
    pub restore_collection: Option<CollectionStrategy>,
}

/// A store of somebody's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramShape {
    pub create: Vec<String>,
    #[serde(default)]
    pub verify: Vec<String>,
    pub restore: Vec<String>,
}

impl SnapshotsShape {
    pub fn has_stores(&self) -> bool {
        !(self.databases.is_empty() && self.collections.is_empty() && self.programs.is_empty())
    }
}

impl Resolver<'_> {
    pub(super) fn snapshots(
        &mut self,
        shape: &SnapshotsShape,
        span: &Range<usize>,
        sources: &IndexMap<Arc<str>, SourceConfig>,
        state_dir: &std::path::Path,
    ) -> Option<SnapshotSettings> {
        let databases: Vec<DatabaseStore> = shape.databases.iter().filter_map(|name| self.snapshot_database(name, sources)).collect();
        let nodes: Vec<NodeStore> = shape.qdrant.iter().filter_map(|name| self.snapshot_node(name, sources)).collect();
        let collections: Vec<String> = shape.collections.iter().map(|name| name.get_ref().clone()).collect();
        let programs: Vec<ProgramStore> = shape
            .programs
            .iter()
            .map(|(name, own)| ProgramStore {
                name: name.clone(),
                create: self.beside(own.create.clone()),
                verify: self.beside(own.verify.clone()),
                restore: self.beside(own.restore.clone()),
            })
            .collect();
        for program in &programs {
            for (what, argv) in [("create", &program.create), ("restore", &program.restore)] {
                if argv.is_empty() {
                    let words = format!("store `{}` has an empty `{what}`", program.name);
                    self.findings.error(span.clone(), words, Some(format!("write {what} = [\"./bin/{what}\", \"{{{{ name }}}}\"]")));
                }
            }
        }
        for (name, query) in &shape.counts {
            let first = query.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
            let word = first.split(|c: char| !c.is_alphabetic()).next().unwrap_or("").to_ascii_uppercase();
            let is_comment = first.starts_with("--") || first.starts_with("/*");
            if !is_comment && !["SELECT", "WITH", "VALUES", "TABLE"].contains(&word.as_str()) {
                let hint = "write a query that only reads: SELECT label, count(*) FROM … GROUP BY label";
                self.findings.error(span.clone(), format!("the count `{name}` is no query: `{query}`"), Some(hint.into()));
            }
        }
        if shape.keep == Some(0) {
            self.findings.error(span.clone(), "keep = 0 would keep none", Some("write how many are kept, from 1".into()));
        }
        if databases.is_empty() && collections.is_empty() && programs.is_empty() && !self.findings.has_errors() {
            let hint = "write databases = [\"NAME\"], collections = [\"NAME\"] with qdrant = [\"NAME\"], or [snapshots.programs.NAME]";
            self.findings.error(span.clone(), "nothing says what a snapshot is taken of", Some(hint.into()));
        }
        if nodes.is_empty() && !collections.is_empty() && shape.qdrant.is_empty() {
            let hint = "write qdrant = [\"NAME\"], the source; of a cluster every node";
            self.findings.error(span.clone(), "collections are taken of no Qdrant", Some(hint.into()));
        }
        let mut time = |text: &Option<SpannedText>, default: Duration| match text {
            Some(text) => self.duration(text),
            None => Some(default),
        };
        Some(SnapshotSettings {
            max_age: time(&shape.max_age, MAX_AGE)?,
            timeout: time(&shape.timeout, TIMEOUT)?,
            keep_for: match &shape.keep_for {
                Some(text) => Some(self.duration(text)?),
                None => None,
            },
            folder: match &shape.folder {
                Some(folder) => self.folder.join(folder),
                None => state_dir.join("snapshots"),
            },
            databases,
            nodes,
            collections,
            programs,
            server_folder: shape.server_folder.clone(),
            hold: shape.hold.clone(),
            server_room: self.beside(shape.server_room.clone()),
            download: shape.download.unwrap_or(false),
            keep: shape.keep.unwrap_or(KEEP),
            counts: shape.counts.iter().map(|(name, query)| (name.clone(), query.clone())).collect(),
            probes: shape.probes.unwrap_or(PROBES),
            restore_database: shape.restore_database.unwrap_or_default(),
            restore_collection: shape.restore_collection.unwrap_or_default(),
        })
    }

    fn snapshot_database(&mut self, name: &SpannedText, sources: &IndexMap<Arc<str>, SourceConfig>) -> Option<DatabaseStore> {
        match sources.get(name.get_ref().as_str()).map(|source| (&source.kind, source.timeout)) {
            Some((SourceKind::Database { url, password, tls, connections }, timeout)) => Some(DatabaseStore {
                name: name.get_ref().clone(),
                options: DatabaseOptions {
                    url: url.clone(),
                    password: password.clone(),
                    tls: tls.clone(),
                    timeout,
                    connections: *connections,
                },
            }),
            _ => {
                let databases =
                    sources.iter().filter(|(_, s)| matches!(s.kind, SourceKind::Database { .. })).map(|(name, _)| name.as_ref());
                let hint = suggestion(name.get_ref(), databases);
                self.findings.error(name.span(), format!("there is no database source `{}`", name.get_ref()), hint);
                None
            }
        }
    }

    fn snapshot_node(&mut self, name: &SpannedText, sources: &IndexMap<Arc<str>, SourceConfig>) -> Option<NodeStore> {
        match sources.get(name.get_ref().as_str()).map(|source| &source.kind) {
            Some(SourceKind::Qdrant { endpoint, .. }) => Some(NodeStore { name: name.get_ref().clone(), endpoint: endpoint.clone() }),
            _ => {
                let nodes = sources.iter().filter(|(_, s)| matches!(s.kind, SourceKind::Qdrant { .. })).map(|(name, _)| name.as_ref());
                let hint = suggestion(name.get_ref(), nodes);
                self.findings.error(name.span(), format!("there is no qdrant source `{}`", name.get_ref()), hint);
                None
            }
        }
    }
}

/// What programs of somebody's own take and bring back.
pub(super) fn reached(settings: &SnapshotSettings) -> Vec<(String, String)> {
    let all = settings.programs.iter().flat_map(|program| [&program.create, &program.restore]).filter(|argv| !argv.is_empty());
    all.map(|argv| (format!("program {}", argv.join(" ")), argv.join(" "))).collect()
}
