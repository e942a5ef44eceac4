//! Snapshots where they are kept: a folder of manifests with their files, and the stores they are taken of, one a file.
//! What has no manifest is no snapshot; one that is half made is never listed.

mod folder;
mod in_place;
mod kept;
mod looked_at;
mod names;
mod own_schema;
mod postgres;
mod privileged;
mod program;
mod qdrant;
mod rights;
mod roles;
mod server;
mod sqlite;
mod taking_back;

pub use folder::sha256_of;
use folder::{check_files, id_for};
pub use folder::{check_size, list, mark_golden, prune};
pub use in_place::{Fits, Fitting};
pub use kept::{KeptBeside, kept};
pub use looked_at::{ServerRoom, fits, may_restore, next_size, room, server_rooms};
pub use names::Change;
pub use rights::MayRestore;
pub use taking_back::{Before, leave_whole, may_be_taken_back, redo, undo, would_come_back};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::observe::reading::{Fault, FaultKind};
use crate::plan::deploy::{Changes, Manifest, Part, StoreKind, WriteLoss};
use crate::plan::runbook::{DatabaseStore, Progress, SnapshotSettings};

/// Where it is told how far something is.
pub type Told<'a> = dyn FnMut(Progress) + Send + 'a;

/// Who takes a snapshot, and why.
#[derive(Clone)]
pub struct Taken<'a> {
    pub run: &'a str,
    pub key: &'a str,
    pub by: &'a str,
    pub reason: &'a str,
    pub environment: &'a str,
    /// Before something is brought back.
    pub safety: bool,
}

/// What a step's sessions are called on a server: so that they are found there after a kill.
pub fn session_name(run: &str, key: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("lastgreen {run} {}", &crate::base::text::hex(&Sha256::digest(key))[..12])
}

/// So many letters tell the things of one run from those of others, in names that are short.
const TAG: usize = 8;

pub fn tag(run: &str) -> String {
    run[run.len().saturating_sub(TAG)..].to_lowercase()
}

const A_SECOND: Duration = Duration::from_millis(1_100);

/// Takes everything together into a new folder, and gives its manifest. Nothing is listed before all of it is there.
///
/// # Errors
/// Why it could not be taken; what was begun is removed.
pub async fn take(settings: &SnapshotSettings, taken: &Taken<'_>, clock: &Clock, told: &mut Told<'_>) -> Result<Manifest, Fault> {
    // Qdrant names a snapshot by the second, and writes one of the same name over the one before.
    if let Some(newest) = list(&settings.folder).0.first() {
        tokio::time::sleep(A_SECOND.saturating_sub(clock.now().since(newest.ended))).await;
    }
    let at = clock.now();
    let id = id_for(settings, taken.environment, at).map_err(|e| local(&e))?;
    let draft = folder::Draft::begin(&settings.folder, &id).map_err(|e| local(&e))?;
    let before = count_all(settings).await;
    let mut parts = Vec::new();
    let mut versions = BTreeMap::from([("lastgreen".to_string(), env!("CARGO_PKG_VERSION").to_string())]);
    for store in &settings.databases {
        let (part, version) = match store.options.is_sqlite() {
            true => sqlite::take(store, draft.path(), settings, told).await?,
            false => postgres::take(store, draft.path(), settings, taken, told).await?,
        };
        versions.insert(store.name.clone(), version);
        parts.push(part);
    }
    for node in &settings.nodes {
        versions.insert(node.name.clone(), qdrant::version(node, settings).await?);
        for collection in &settings.collections {
            match qdrant::take(node, collection, draft.path(), settings, told).await {
                Ok(part) => parts.push(part),
                Err(fault) => {
                    forget_all(settings, &parts).await;
                    return Err(fault);
                }
            }
        }
    }
    for store in &settings.programs {
        match program::take(store, &id, settings).await {
            Ok(part) => parts.push(part),
            Err(fault) => {
                forget_all(settings, &parts).await;
                return Err(fault);
            }
        }
    }
    let after = count_all(settings).await;
    let manifest = Manifest {
        v: 1,
        id,
        environment: taken.environment.into(),
        at,
        ended: clock.now(),
        by: taken.by.into(),
        run: format!("{} {}", taken.run, taken.key),
        reason: taken.reason.into(),
        golden: None,
        versions,
        parts,
        safety: taken.safety,
        moved: moved(&before, &after),
    };
    draft.finish(&manifest).map_err(|e| local(&e))?;
    Ok(manifest)
}

/// Removes what parts have on their servers: without a manifest nobody would ever find it.
pub async fn forget_all(settings: &SnapshotSettings, parts: &[Part]) {
    for part in parts.iter().filter(|part| part.kind == StoreKind::Qdrant && !part.local) {
        if let Ok(node) = node_of(settings, part)
            && let Err(fault) = qdrant::forget(node, part, settings).await
        {
            log::warn!("{} stays on {}: {}", part.file, node.name, fault.message);
        }
    }
}

/// Comes back when nothing is in the middle of what must not be cut in two.
pub async fn unbroken() {
    names::unbroken().await;
}

fn local(error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Local, format!("the snapshot cannot be written: {error}"))
}

/// Exact counts of everything, by source or collection as they are configured; or why they could not be had.
pub type Counted = BTreeMap<String, Result<BTreeMap<String, u64>, String>>;

/// Counts everything that snapshots are taken of.
pub async fn count_all(settings: &SnapshotSettings) -> Counted {
    let mut all = Counted::new();
    for store in &settings.databases {
        let counts = match store.options.is_sqlite() {
            true => sqlite::counts(&store.options, &settings.counts, settings.timeout).await,
            false => postgres::counts(&store.options, &settings.counts, settings.timeout).await,
        };
        all.insert(store.name.clone(), counts.map_err(|fault| fault.message));
    }
    if let Some(node) = settings.nodes.first() {
        for collection in &settings.collections {
            match qdrant::points(node, collection, settings).await {
                Ok((_, points)) => drop(all.insert(collection.clone(), Ok(BTreeMap::from([("points".to_string(), points)])))),
                Err(fault) => drop(all.insert(collection.clone(), Err(fault.message))),
            }
        }
    }
    all
}

/// The newest keys of tables that have more rows than they had.
pub async fn newest(settings: &SnapshotSettings, manifest: &Manifest, lost: &WriteLoss) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for store in &settings.databases {
        let counts = manifest.parts.iter().filter(|part| part.store == store.name).flat_map(|part| part.counts.keys());
        let own: Vec<&str> = counts.filter(|name| lost.more.iter().any(|(more, _)| more == *name)).map(String::as_str).collect();
        let found = match store.options.is_sqlite() {
            _ if own.is_empty() => continue,
            true => sqlite::newest(&store.options, &own, settings.timeout).await,
            false => postgres::newest(&store.options, &own, settings.timeout).await,
        };
        all.extend(found.unwrap_or_default());
    }
    all
}

/// What the servers have counted of changes, by store, where they do; it only helps to see what would be lost.
pub async fn changes_now(settings: &SnapshotSettings) -> BTreeMap<String, Changes> {
    let mut all = BTreeMap::new();
    for store in settings.databases.iter().filter(|store| !store.options.is_sqlite()) {
        all.extend(postgres::changes(&store.options, settings.timeout).await.ok().map(|told| (store.name.clone(), told)));
    }
    all
}

/// What a database is called where it is.
pub fn database_name(store: &DatabaseStore) -> String {
    if store.options.is_sqlite() {
        let path = store.options.url.trim_start_matches("sqlite:").trim_start_matches("//");
        return Path::new(path).file_name().map_or_else(|| path.to_string(), |name| name.to_string_lossy().into_owned());
    }
    server::database_of(&store.options).unwrap_or_else(|| store.name.clone())
}

/// What was written between two counts.
fn moved(before: &Counted, after: &Counted) -> Vec<String> {
    let mut moved = Vec::new();
    for (name, then) in before {
        match (then, after.get(name)) {
            (Ok(then), Some(Ok(now))) => {
                moved.extend(crate::plan::deploy::differences(then, now).into_iter().map(|words| format!("{name}: {words}")));
            }
            _ => moved.push(format!("{name}: whether anything was written meanwhile is not known")),
        }
    }
    moved
}

/// The counts of a part's own data, now.
///
/// # Errors
/// Why they cannot be had.
pub async fn counts_now(settings: &SnapshotSettings, part: &Part) -> Result<BTreeMap<String, u64>, Fault> {
    match part.kind {
        StoreKind::Postgres => postgres::counts(&store_of(settings, part)?.options, &settings.counts, settings.timeout).await,
        StoreKind::Sqlite => sqlite::counts(&store_of(settings, part)?.options, &settings.counts, settings.timeout).await,
        StoreKind::Qdrant => {
            let node = node_of(settings, part)?;
            let (_, points) = qdrant::points(node, &qdrant::configured(settings, node, part).await?, settings).await?;
            Ok(BTreeMap::from([("points".to_string(), points)]))
        }
        // It is asked to verify itself.
        StoreKind::Program => Ok(part.counts.clone()),
    }
}

fn store_of<'s>(settings: &'s SnapshotSettings, part: &Part) -> Result<&'s DatabaseStore, Fault> {
    let found = settings.databases.iter().find(|store| store.name == part.store);
    found.ok_or_else(|| Fault::new(FaultKind::Local, format!("there is no database `{}` any more", part.store)))
}

fn node_of<'s>(settings: &'s SnapshotSettings, part: &Part) -> Result<&'s crate::plan::runbook::NodeStore, Fault> {
    let found = settings.nodes.iter().find(|node| node.name == part.store);
    found.ok_or_else(|| Fault::new(FaultKind::Local, format!("there is no Qdrant `{}` any more", part.store)))
}

/// How something that is brought back stands.
pub enum Restored {
    Done(String),
    /// The server is still at it.
    UnderWay(String),
}

/// Brings one part back, from wherever an attempt before this one has left it.
///
/// # Errors
/// Why not. The live data is as it was, or as it is said to be.
pub async fn restore(
    settings: &SnapshotSettings,
    part: &Part,
    manifest: &Manifest,
    taken: &Taken<'_>,
    told: &mut Told<'_>,
) -> Result<Restored, Fault> {
    let file = settings.folder.join(&manifest.id).join(&part.file);
    match part.kind {
        StoreKind::Postgres => postgres::restore(store_of(settings, part)?, part, &file, settings, taken, told).await,
        StoreKind::Sqlite => sqlite::restore(store_of(settings, part)?, part, &file, &settings.counts, settings.timeout).await,
        StoreKind::Qdrant => qdrant::restore(node_of(settings, part)?, part, settings, taken, told).await,
        StoreKind::Program => program::restore(settings, part, &manifest.id).await,
    }
}

/// Brings to its end what an attempt before this one was in the middle of; whether the part is brought back by that.
///
/// # Errors
/// Why that cannot be told.
pub async fn taken_up(settings: &SnapshotSettings, part: &Part, taken: &Taken<'_>) -> Result<bool, Fault> {
    match part.kind {
        StoreKind::Postgres if !part.kind.is_in_place(settings) => {
            Ok(names::taken_up(&store_of(settings, part)?.options, taken).await?.is_some())
        }
        _ => Ok(false),
    }
}

/// What the alias of a part leads to, where there is one.
///
/// # Errors
/// Why that cannot be told.
pub async fn leads_to(settings: &SnapshotSettings, part: &Part) -> Result<Option<String>, Fault> {
    qdrant::leads_to(node_of(settings, part)?, part, settings).await
}

/// What is done when all parts are there: the aliases are switched, each once. Gives what was done, in words.
///
/// # Errors
/// When a collection is not what it was; its alias still leads to what it led to before.
pub async fn bring_in(settings: &SnapshotSettings, parts: &[&Part], taken: &Taken<'_>) -> Result<Vec<String>, Fault> {
    let mut done = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for part in parts.iter().filter(|part| part.kind == StoreKind::Qdrant) {
        // Of a cluster the first node is asked for all.
        if seen.insert(part.counted_as()) {
            done.push(qdrant::bring_in(node_of(settings, part)?, part, settings, taken).await?);
        }
    }
    Ok(done)
}

/// The probe queries of a part, now.
///
/// # Errors
/// Why they cannot be asked.
pub async fn qdrant_probes(settings: &SnapshotSettings, part: &Part) -> Result<Vec<crate::plan::deploy::ProbeQuery>, Fault> {
    qdrant::probes_now(node_of(settings, part)?, part, settings).await
}

/// Whether a part's files are as they were written, and readable.
///
/// # Errors
/// What is wrong with them.
pub async fn check_part(settings: &SnapshotSettings, manifest: &Manifest, part: &Part) -> Result<String, Fault> {
    match part.kind {
        StoreKind::Program => program::verify(settings, part, &manifest.id).await,
        StoreKind::Qdrant if !part.local => qdrant::listed(node_of(settings, part)?, part, settings).await,
        kind => {
            let file = settings.folder.join(&manifest.id).join(&part.file);
            let (checked, wanted) = (check_files(&file, part), part.clone());
            checked.map_err(|why| Fault::new(FaultKind::Garbage, why))?;
            if kind == StoreKind::Postgres {
                postgres::readable(&file, Duration::from_secs(120)).await?;
            }
            Ok(format!("{} has its size and sum", wanted.file))
        }
    }
}

/// Whether a server is still at work for a step of a run.
pub async fn at_work(settings: &SnapshotSettings, run: &str, key: &str, end: bool) -> Result<Option<String>, Fault> {
    for store in settings.databases.iter().filter(|store| !store.options.is_sqlite()) {
        let sessions = postgres::at_work(&store.options, &session_name(run, key), end).await?;
        if sessions > 0 {
            return Ok(Some(format!("{sessions} session of this step at work in {}", store.name)));
        }
    }
    for node in &settings.nodes {
        if let Some(words) = qdrant::at_work(node, settings).await? {
            return Ok(Some(words));
        }
    }
    Ok(None)
}
