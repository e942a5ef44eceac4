//! A store of somebody's own: programs with their arguments. `create` prints JSON with `name`, `size` and, where it has
//! them, `sha256` and `counts`; `verify` and `restore` are given that name.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Restored;
use crate::act::infra::command::run;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::web_json;
use crate::plan::deploy::{Part, StoreKind};
use crate::plan::runbook::{ProgramStore, SnapshotSettings, render};

#[derive(Deserialize)]
struct Created {
    name: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    sha256: String,
    #[serde(default)]
    counts: BTreeMap<String, u64>,
}

fn filled(argv: &[String], snapshot: &str, name: &str) -> Result<Vec<String>, Fault> {
    let values = serde_json::json!({"snapshot": snapshot, "name": name});
    let words = argv.iter().map(|word| render(word, &values));
    words.collect::<Result<_, _>>().map_err(|e| Fault::new(FaultKind::Local, e))
}

fn store_of<'s>(settings: &'s SnapshotSettings, part: &Part) -> Result<&'s ProgramStore, Fault> {
    let found = settings.programs.iter().find(|store| store.name == part.store);
    found.ok_or_else(|| {
        Fault::new(
            FaultKind::Local,
            format!("there is no store `{}` here: [snapshots.programs], or [targets.NAME.programs] of a target", part.store),
        )
    })
}

pub async fn take(store: &ProgramStore, snapshot: &str, settings: &SnapshotSettings) -> Result<Part, Fault> {
    let printed = run(filled(&store.create, snapshot, "")?, settings.timeout).await?;
    let created: Created = web_json(printed.as_bytes())?;
    Ok(Part {
        kind: StoreKind::Program,
        store: store.name.clone(),
        name: store.name.clone(),
        file: created.name,
        local: false,
        size: created.size,
        sha256: created.sha256,
        counts: created.counts,
        ..Part::default()
    })
}

pub async fn verify(settings: &SnapshotSettings, part: &Part, snapshot: &str) -> Result<String, Fault> {
    let store = store_of(settings, part)?;
    if store.verify.is_empty() {
        return Err(Fault::new(FaultKind::Local, format!("nothing says how {} is verified", store.name)));
    }
    let printed = run(filled(&store.verify, snapshot, &part.file)?, settings.timeout).await?;
    Ok(printed.lines().last().unwrap_or("verified").trim().to_string())
}

pub async fn restore(settings: &SnapshotSettings, part: &Part, snapshot: &str) -> Result<Restored, Fault> {
    let store = store_of(settings, part)?;
    let printed = run(filled(&store.restore, snapshot, &part.file)?, settings.timeout).await?;
    Ok(Restored::Done(printed.lines().last().unwrap_or("restored").trim().to_string()))
}
