//! `lastgreen snapshot`: the data taken together, looked at, and brought back.

use clap::{Args, Subcommand};
use indexmap::IndexMap;
use serde_json::json;
use tokio::runtime::Runtime;

use super::command_error::{CommandError, CommandResult};
use super::confirm::{BeginArgs, begin};
use crate::act::infra::snapshot::{check_part, list, mark_golden};
use crate::backend::{LookAt, Operations, PlanRequest};
use crate::base::exit;
use crate::base::units::{count_of, short};
use crate::plan::deploy::{Golden, Manifest, pick, wrong_environment};
use crate::plan::runbook::SnapshotSettings;

#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    pub command: SnapshotSub,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotSub {
    /// Take one now.
    Create {
        /// It is known to be good, and why: then it is never removed.
        #[arg(long, value_name = "WHY")]
        golden: Option<String>,
        #[command(flatten)]
        begin: BeginArgs,
    },
    /// Those that there are, the newest first.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Whether its files are as they were written, and readable. Exit code 0 as they were, 1 not.
    Verify {
        /// An id, golden or latest.
        #[arg(default_value = "latest")]
        snapshot: String,
        #[arg(long)]
        json: bool,
    },
    /// Say that one is known to be good.
    Golden {
        /// An id, or latest.
        snapshot: String,
        /// Why: stands in its manifest.
        #[arg(long, value_name = "TEXT", required_unless_present = "remove")]
        why: Option<String>,
        /// It is not, after all.
        #[arg(long)]
        remove: bool,
    },
    /// Bring the data back.
    Restore {
        /// An id, golden or latest.
        snapshot: String,
        /// Take no snapshot of what there is now first: when that cannot be read any more.
        #[arg(long)]
        no_safety: bool,
        #[command(flatten)]
        begin: BeginArgs,
    },
}

impl SnapshotArgs {
    pub fn json(&self) -> bool {
        match &self.command {
            SnapshotSub::List { json } | SnapshotSub::Verify { json, .. } => *json,
            SnapshotSub::Create { begin, .. } | SnapshotSub::Restore { begin, .. } => begin.json,
            SnapshotSub::Golden { .. } => false,
        }
    }
}

/// # Errors
/// What keeps it from being done.
pub fn snapshot(args: &SnapshotArgs, operations: &mut Operations, runtime: &Runtime) -> CommandResult {
    let Some(settings) = operations.config.acting.settings.snapshots.clone() else {
        let words = format!("{} says nothing about snapshots", operations.config.path.display());
        return Err(CommandError::usage(words).hint("add [snapshots] with databases = [\"NAME\"] and collections = [\"NAME\"]"));
    };
    match &args.command {
        SnapshotSub::Create { golden, begin: wanted } => {
            let warnings = operations.wrong_environment(runtime);
            let inputs = golden.iter().map(|why| ("golden".to_string(), why.clone())).collect();
            let request =
                PlanRequest { runbook: "snapshot".into(), inputs, reason: wanted.reason.clone(), warnings, ..PlanRequest::default() };
            let plan = operations.plan(request)?;
            begin(operations, &plan, wanted)
        }
        SnapshotSub::List { json } => show(&settings, *json, operations),
        SnapshotSub::Verify { snapshot, json } => verify(&settings, snapshot, *json, runtime),
        SnapshotSub::Golden { snapshot, why, remove } => golden(&settings, snapshot, why.as_deref().filter(|_| !remove), operations),
        SnapshotSub::Restore { snapshot, no_safety, begin: wanted } => {
            let found = find(&settings, snapshot)?;
            let looked = operations.look(runtime, LookAt::Data);
            let mut warnings: Vec<String> = looked.mismatches.iter().map(|words| wrong_environment(words)).collect();
            warnings.extend(found.lacks(&settings));
            // Of another than would be gone back to nobody has looked.
            let data = looked.data.filter(|data| data.snapshot.as_ref().is_ok_and(|manifest| manifest.id == found.id));
            warnings.extend(data.iter().flat_map(|data| data.against()).map(|words| format!("it would fail: {words}")));
            let loses = data.and_then(|data| data.loss);
            let loses = loses.map_or_else(|| "not counted".into(), |l| l.words(operations.now()));
            let mut inputs: IndexMap<String, String> = [("snapshot".to_string(), found.id), ("loses".to_string(), loses)].into();
            inputs.extend(no_safety.then(|| ("safety".to_string(), "false".to_string())));
            let request =
                PlanRequest { runbook: "restore".into(), inputs, reason: wanted.reason.clone(), warnings, ..PlanRequest::default() };
            let plan = operations.plan(request)?;
            begin(operations, &plan, wanted)
        }
    }
}

fn find(settings: &SnapshotSettings, wanted: &str) -> Result<Manifest, CommandError> {
    let (all, wrong) = list(&settings.folder);
    // What may not be read is not missing.
    pick(&all, wanted).cloned().map_err(|why| match wrong.first() {
        None => CommandError::usage(why),
        Some(wrong) => CommandError::failed(format!("{wanted} is not among those that can be read: {wrong}")),
    })
}

fn show(settings: &SnapshotSettings, as_json: bool, operations: &Operations) -> CommandResult {
    let (all, wrong) = list(&settings.folder);
    if as_json {
        say!("{}", serde_json::to_string_pretty(&json!({"snapshots": all, "unreadable": wrong})).unwrap_or_default());
    } else if all.is_empty() && wrong.is_empty() {
        say!("there is no snapshot yet: lastgreen snapshot create");
    } else {
        for manifest in &all {
            let golden = manifest.golden.as_ref().map_or_else(String::new, |golden| {
                format!("  GOLDEN by {}: {}", golden.by, golden.why.split_whitespace().collect::<Vec<_>>().join(" "))
            });
            let safety = if manifest.safety { "  SAFETY: before a restore" } else { "" };
            let moved = if manifest.moved.is_empty() { "" } else { "  written to meanwhile" };
            let size = bytesize::ByteSize(manifest.size()).display().iec();
            let age = short(operations.now().since(manifest.at));
            say!(
                "{}  {age} ago  {size}  {}  by {}{golden}{safety}{moved}",
                manifest.id,
                count_of(manifest.parts.len(), "part"),
                manifest.by
            );
        }
        for why in &wrong {
            say!("UNREADABLE  {why}");
        }
    }
    Ok(if wrong.is_empty() { exit::DONE } else { exit::FAILED })
}

fn verify(settings: &SnapshotSettings, wanted: &str, as_json: bool, runtime: &Runtime) -> CommandResult {
    let manifest = find(settings, wanted)?;
    let mut parts = Vec::new();
    for part in &manifest.parts {
        let checked = runtime.block_on(check_part(settings, &manifest, part));
        parts.push((part, checked.map_err(|fault| fault.message)));
    }
    let bad = parts.iter().any(|(_, checked)| checked.is_err());
    if as_json {
        let parts: Vec<_> = parts
            .iter()
            .map(|(part, checked)| json!({"store": part.store, "name": part.name, "ok": checked.is_ok(), "words": checked.as_ref().unwrap_or_else(|e| e)}))
            .collect();
        say!("{}", serde_json::to_string_pretty(&json!({"snapshot": manifest.id, "ok": !bad, "parts": parts})).unwrap_or_default());
    } else {
        say!("{}  {}", manifest.id, if bad { "BAD" } else { "as it was written" });
        for (part, checked) in &parts {
            match checked {
                Ok(words) => say!("  ok   {}  {}  {words}", part.store, part.name),
                Err(why) => say!("  BAD  {}  {}  {why}", part.store, part.name),
            }
        }
    }
    Ok(if bad { exit::FAILED } else { exit::DONE })
}

fn golden(settings: &SnapshotSettings, wanted: &str, why: Option<&str>, operations: &Operations) -> CommandResult {
    if operations.read_only {
        return Err(CommandError::refused("this is --read-only: nothing is marked"));
    }
    let manifest = find(settings, wanted)?;
    let by = operations.operator.user.clone();
    let golden = why.map(|why| Golden { by, at: operations.now(), why: why.to_string() });
    let marked = mark_golden(settings, &manifest, golden).map_err(|e| CommandError::failed(format!("{}: {e}", manifest.id)))?;
    if let Some(before) = manifest.golden.filter(|_| marked.golden.is_some()) {
        say!("{} was golden already: by {} since {}: {}", marked.id, before.by, before.at.iso(), before.why);
    }
    say!("{} is {}", marked.id, if marked.golden.is_some() { "golden: it is never removed" } else { "golden no more" });
    Ok(exit::DONE)
}
