//! Whether a snapshot could be taken, and brought back, now: looked at, and nothing is touched.

use super::in_place::{self, Fits, Fitting};
use super::rights::MayRestore;
use super::{database_name, list, postgres, qdrant, rights, roles, store_of};
use crate::observe::reading::Fault;
use crate::plan::deploy::{Manifest, StoreKind, of_environment};
use crate::plan::runbook::{DatabaseStrategy, SnapshotSettings};

/// Whether everything may be restored, store by store. Nothing is touched.
pub async fn may_restore(settings: &SnapshotSettings) -> Vec<(String, Result<MayRestore, String>)> {
    let mut all = Vec::new();
    for store in settings.databases.iter().filter(|store| !store.options.is_sqlite()) {
        let may = rights::may_restore(store, settings).await;
        all.push((store.name.clone(), may.map_err(|fault| fault.message)));
    }
    for node in &settings.nodes {
        let may = qdrant::may_restore(node, settings).await;
        let may = may.map(|words| MayRestore { words, stays: None, later: None });
        all.push((node.name.clone(), may.map_err(|fault| fault.message)));
    }
    all
}

/// Whether a snapshot can be restored as it is to be, by database; or why nobody can tell.
pub async fn fits(settings: &SnapshotSettings, manifest: &Manifest) -> Vec<(String, Result<Fits, String>)> {
    let mut all = Vec::new();
    for part in manifest.parts.iter().filter(|part| part.kind == StoreKind::Postgres) {
        let file = settings.folder.join(&manifest.id).join(&part.file);
        let fits = async {
            let options = &store_of(settings, part)?.options;
            let lacking = roles::lacking(options, &file, settings.restore_database, settings.timeout).await?;
            if let Some(lacks) = lacking.lacks {
                return Ok(Err(lacks));
            }
            match settings.restore_database {
                DatabaseStrategy::Swap => Ok(Ok(Fitting { goes: Vec::new(), left: lacking.left })),
                DatabaseStrategy::InPlace => in_place::fits_in(options, part, &file, settings.timeout).await,
            }
        };
        all.push((part.name.clone(), fits.await.map_err(|fault: Fault| fault.message)));
    }
    all
}

/// The room that is left where snapshots are kept, in bytes.
///
/// # Errors
/// Why nothing can be written there, or how much cannot be told.
pub fn room(settings: &SnapshotSettings) -> Result<u64, String> {
    let folder = settings.folder.ancestors().find(|folder| folder.exists()).ok_or("there is no such folder")?;
    let said = |e: rustix::io::Errno| format!("{}: {}", folder.display(), std::io::Error::from(e));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(said)?;
    let stat = rustix::fs::statvfs(folder).map_err(said)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// About how large the next snapshot will be: as the largest of the last ones.
pub fn next_size(settings: &SnapshotSettings, environment: &str) -> u64 {
    let all = of_environment(list(&settings.folder).0, environment);
    all.iter().take(RECENT).map(Manifest::size).max().unwrap_or(0)
}

/// So many of the last snapshots tell how large the next will be.
const RECENT: usize = 5;

/// A database, and how many bytes are free on its server and needed there; or why nobody can tell.
pub type ServerRoom = (String, Result<(u64, u64), String>);

/// The room on the server of each database, and what a restore of it needs there.
pub async fn server_rooms(settings: &SnapshotSettings) -> Vec<ServerRoom> {
    let mut all = Vec::new();
    for store in settings.databases.iter().filter(|store| !store.options.is_sqlite()) {
        all.push((database_name(store), postgres::server_room(store, settings).await.map_err(|fault| fault.message)));
    }
    all
}
