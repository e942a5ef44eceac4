//! What restores have left beside the live data: databases and collections that nothing uses, until somebody drops them.

use serde_json::Value as Json;

use super::names::{DatabaseNames, is_called};
use super::server::{CONNECTING, maintenance};
use super::{TAG, qdrant};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::Fault;
use crate::observe::source::literal;
use crate::plan::runbook::SnapshotSettings;

/// Something that is kept, and how many bytes it takes where that is told.
pub type KeptBeside = (String, Option<u64>);

/// Everything of that kind. Who does not answer has nothing to tell.
pub async fn kept(settings: &SnapshotSettings) -> Vec<KeptBeside> {
    let mut all = Vec::new();
    for store in settings.databases.iter().filter(|store| !store.options.is_sqlite()) {
        all.extend(databases(&store.options).await.unwrap_or_default());
    }
    // Of a cluster the first node is asked for all.
    if let Some(node) = settings.nodes.first() {
        let collections = qdrant::kept(node, settings).await.unwrap_or_default();
        all.extend(collections.into_iter().map(|name| (name, None)));
    }
    all
}

async fn databases(options: &DatabaseOptions) -> Result<Vec<KeptBeside>, Fault> {
    // As they are called, whichever run it was.
    let like = DatabaseNames::of(options, &"0".repeat(TAG))?;
    let mut session = maintenance(options).await?;
    let names = session.run("SELECT json_agg(datname ORDER BY datname) AS v FROM pg_database", &[], true, CONNECTING).await;
    let names = names.map(|given| given.value.unwrap_or_default());
    let mut all = Vec::new();
    for name in names.as_ref().ok().and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
        if ![&like.new, &like.old, &like.undone].iter().any(|like| is_called(name, like)) {
            continue;
        }
        let size = session.run(&format!("SELECT pg_database_size({}) AS v", literal(name)), &[], true, CONNECTING).await;
        all.push((name.to_string(), size.ok().and_then(|given| given.value?.as_u64())));
    }
    session.close().await;
    names.map(|_| all)
}
