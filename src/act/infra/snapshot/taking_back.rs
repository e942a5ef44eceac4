//! What was brought back is taken back, or brought back again: by the names of databases and aliases, or, in place, by the snapshot
//! that the same run took before.

use super::names::{self, Change};
use super::{
    Restored, Taken, bring_in, check_part, counts_now, in_place, list, node_of, own_schema, postgres, qdrant, restore, roles, session_name,
    store_of,
};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind};
use crate::plan::deploy::{Manifest, Part, StoreKind};
use crate::plan::runbook::{CollectionStrategy, DatabaseStrategy, SnapshotSettings};

/// What is on record of a part from before it was brought back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// What its alias led to.
    pub led_to: Option<&'a str>,
    /// It was brought back, whole.
    pub restored: bool,
}

/// Takes the restoring of one part back, where that can be done.
///
/// # Errors
/// Why not.
pub async fn undo(settings: &SnapshotSettings, part: &Part, taken: &Taken<'_>, before: Before<'_>) -> Result<String, Fault> {
    match part.kind {
        StoreKind::Postgres if !part.kind.is_in_place(settings) => {
            let options = &store_of(settings, part)?.options;
            let names = names::DatabaseNames::of(options, taken.run)?;
            carry_own(options, &names.old).await;
            names::undo(options, &names, before.restored).await
        }
        StoreKind::Qdrant if !part.kind.is_in_place(settings) => {
            qdrant::undo(node_of(settings, part)?, part, settings, (taken, before.led_to)).await
        }
        _ if !before.restored && !was_restored(settings, part, taken).await? => {
            Ok(format!("{} was not restored by run {}: there is nothing to take back", part.name, taken.run))
        }
        _ => by_safety(settings, part, taken, None).await,
    }
}

/// What a run restored, and another took back, gets its names again, where that can be done.
///
/// # Errors
/// Why not.
pub async fn redo(
    settings: &SnapshotSettings,
    part: &Part,
    (undone_by, restored_by): (&Taken<'_>, &Taken<'_>),
    led_to: Option<&str>,
) -> Result<String, Fault> {
    match part.kind {
        StoreKind::Postgres if !part.kind.is_in_place(settings) => {
            let options = &store_of(settings, part)?.options;
            let names = names::DatabaseNames::of(options, restored_by.run)?;
            carry_own(options, &names.undone).await;
            names::redo(options, &names).await
        }
        StoreKind::Qdrant if !part.kind.is_in_place(settings) => {
            qdrant::redo(node_of(settings, part)?, part, settings, (restored_by, led_to)).await
        }
        _ => by_safety(settings, part, undone_by, Some(restored_by.run)).await,
    }
}

/// Whether what a run restored can be taken back, or brought back again, as far as databases and aliases tell: asked before any part of
/// it is touched, so that not a half of it goes.
///
/// # Errors
/// Who has restored since.
pub async fn may_be_taken_back(
    settings: &SnapshotSettings,
    manifest: &Manifest,
    (restored_by, again): (&str, bool),
    led_to: &(dyn Fn(&Part) -> Option<String> + Sync),
) -> Result<(), Fault> {
    // Who cannot be asked now is asked again when it is its turn.
    let away = |fault: &Fault| matches!(fault.kind, FaultKind::Unreachable | FaultKind::Timeout);
    let aliased = settings.restore_collection == CollectionStrategy::Alias;
    for part in manifest.parts.iter().filter(|part| aliased && part.kind == StoreKind::Qdrant) {
        let Some(before) = led_to(part) else { continue };
        match qdrant::is_where_it_was_put(node_of(settings, part)?, part, settings, (restored_by, &before)).await {
            Err(fault) if away(&fault) => {}
            looked => looked?,
        }
    }
    let swapped = settings.restore_database == DatabaseStrategy::Swap;
    for part in manifest.parts.iter().filter(|part| swapped && part.kind == StoreKind::Postgres) {
        let options = &store_of(settings, part)?.options;
        let names = names::DatabaseNames::of(options, restored_by)?;
        match names::may_change(options, &names, again).await {
            Err(fault) if away(&fault) => {}
            looked => looked?,
        }
    }
    Ok(())
}

/// What must not stay as a step that was cut off has left it is brought to its end. In words what was done.
///
/// # Errors
/// Why that cannot be told, or done.
pub async fn leave_whole(settings: &SnapshotSettings, run: &str, change: Change) -> Result<Vec<String>, Fault> {
    let mut done = Vec::new();
    let swapped = settings.restore_database == DatabaseStrategy::Swap;
    for store in settings.databases.iter().filter(|store| swapped && !store.options.is_sqlite()) {
        done.extend(names::leave_whole(&store.options, run, change).await?);
    }
    // One in place would go on to its end, after it was said that nothing goes on.
    for store in settings.databases.iter().filter(|store| !swapped && !store.options.is_sqlite()) {
        done.extend(in_place::leave_whole(&store.options, run).await?);
    }
    Ok(done)
}

async fn carry_own(options: &DatabaseOptions, to: &str) {
    if let Err(fault) = own_schema::carry_own(options, to).await {
        log::info!("records and who has the environment are not carried over: {}", fault.message);
    }
}

/// Whether a part was brought back in place by a run that has not written that down: it may have ended a moment before.
async fn was_restored(settings: &SnapshotSettings, part: &Part, taken: &Taken<'_>) -> Result<bool, Fault> {
    match part.kind {
        StoreKind::Postgres => {
            let options = &store_of(settings, part)?.options;
            if postgres::at_work(options, &session_name(taken.run, taken.key), false).await? > 0 {
                let words = format!("pg_restore is still at work in {}: try again when it is done", part.name);
                return Err(Fault::new(FaultKind::Unavailable, words));
            }
            names::is_restored_by(options, taken.run).await
        }
        // One transaction, too: what is as it was may have become so by it.
        StoreKind::Sqlite => Ok(part.missing_in(&counts_now(settings, part).await?).0.is_empty()),
        // Of a recovery that failed, and of a program, nobody knows how far they came.
        StoreKind::Qdrant | StoreKind::Program => Ok(true),
    }
}

/// What a run took of a part before it restored that.
fn safety_of<'m>(all: &'m [Manifest], part: &Part, run: &str) -> Option<(&'m Manifest, &'m Part)> {
    let same = |other: &&Part| other.store == part.store && other.kind == part.kind;
    let mine = format!("{run} ");
    all.iter().find_map(|manifest| {
        let own = manifest.run.starts_with(&mine).then(|| manifest.parts.iter().find(same)).flatten()?;
        Some((manifest, own))
    })
}

/// Whether what is there now would come back from the snapshot that the same run has taken of it, where it needs that: asked before
/// anything is touched. Without one nobody wants it back.
///
/// # Errors
/// What of it could not be made again.
pub async fn would_come_back(settings: &SnapshotSettings, part: &Part, taken: &Taken<'_>) -> Result<(), Fault> {
    let all = list(&settings.folder).0;
    let found = (part.kind == StoreKind::Postgres && part.kind.is_in_place(settings)).then(|| safety_of(&all, part, taken.run)).flatten();
    let Some((manifest, safety)) = found else { return Ok(()) };
    let file = settings.folder.join(&manifest.id).join(&safety.file);
    let lacking = roles::lacking(&store_of(settings, part)?.options, &file, DatabaseStrategy::InPlace, settings.timeout).await?;
    lacking.lacks.map_or(Ok(()), |lacks| {
        let words = format!(
            "what is there now of {} would not come back from the safety snapshot {}: {lacks}; nothing was changed (lastgreen snapshot restore … --no-safety goes on without a way back)",
            part.name, manifest.id
        );
        Err(Fault::new(FaultKind::Auth, words))
    })
}

/// What was brought back in place is taken back by the snapshot that the same run took before it.
/// `now`: the run whose restoring is in use then.
async fn by_safety(settings: &SnapshotSettings, part: &Part, taken: &Taken<'_>, now: Option<&str>) -> Result<String, Fault> {
    let all = list(&settings.folder).0;
    let found = safety_of(&all, part, taken.run);
    let Some((manifest, safety)) = found else {
        let words = format!("{} was restored in place, and run {} took no safety snapshot of it", part.name, taken.run);
        return Err(Fault::new(FaultKind::Local, words));
    };
    check_part(settings, manifest, safety).await?;
    let restored = restore(settings, safety, manifest, taken, &mut |_| {}).await?;
    if part.kind == StoreKind::Postgres {
        names::mark_live(&store_of(settings, part)?.options, now).await;
    }
    bring_in(settings, &[safety], taken).await?;
    match restored {
        Restored::Done(words) => Ok(format!("{words}, from the safety snapshot {}", manifest.id)),
        Restored::UnderWay(words) => Err(Fault::new(FaultKind::Unavailable, format!("{words}: try again when it is done"))),
    }
}
