//! Data taken together, brought back, and looked at. Bringing back looks how far it is and goes on from there; what a
//! server is still at is waited for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Act, Context, Invocation, Outcome, OutputLog, Settled};
use crate::act::infra::snapshot::{
    Before, Change, Restored, Taken, at_work, bring_in, check_part, counts_now, forget_all, leads_to, leave_whole, list, mark_golden,
    may_be_taken_back, prune, qdrant_probes, redo, restore, take, taken_up, unbroken, undo, would_come_back,
};
use crate::base::units::{count_of, short};
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::Boxed;
use crate::plan::deploy::{Golden, Manifest, Part, StoreKind, drifted, pick};
use crate::plan::runbook::{Kind, NOT_NEEDED, Output, Plan, RestoreStep, RestoreWhat, SnapshotSettings, SnapshotStep, VerifyStep};

/// How often something that is under way is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a step that cannot find its settings comes to.
fn unsettled() -> Outcome {
    Outcome::failed("nothing says any more what a snapshot is taken of", false)
}

fn taken<'a>(invocation: &'a Invocation<'a>) -> Taken<'a> {
    let key = invocation.key.strip_prefix("undo/").unwrap_or(invocation.key);
    let (by, reason, environment) = (invocation.by, invocation.reason, invocation.environment);
    Taken { run: invocation.run, key, by, reason, environment, safety: false }
}

/// The snapshot that a step names.
fn named(settings: &SnapshotSettings, wanted: &str) -> Result<Manifest, String> {
    let (all, _) = list(&settings.folder);
    pick(&all, wanted).cloned()
}

impl Act for SnapshotStep {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(settings) = &context.settings.snapshots else { return unsettled() };
            if self.mutates { create(context, self, settings, invocation, log).await } else { is_there(settings, invocation) }
        })
    }
}

/// Whether this very step has taken one already.
fn is_there(settings: &SnapshotSettings, invocation: &Invocation<'_>) -> Outcome {
    let mine = format!("{} {}", invocation.run, invocation.key);
    let (all, _) = list(&settings.folder);
    match all.iter().find(|manifest| manifest.run == mine) {
        Some(manifest) => Outcome::done(format!("{} is there", manifest.id), false).with(output(manifest)),
        None => Outcome::otherwise("this step has taken none", false),
    }
}

fn output(manifest: &Manifest) -> Output {
    Output { text: manifest.id.clone(), json: json!({"id": manifest.id, "size": manifest.size(), "parts": manifest.parts}) }.bounded()
}

async fn create(
    context: &Context,
    step: &SnapshotStep,
    settings: &SnapshotSettings,
    invocation: &Invocation<'_>,
    log: &mut OutputLog,
) -> Outcome {
    let mut manifest = {
        let mut told = |progress| log.progress(progress);
        let of = taken(invocation);
        // Why it was taken is the step's own words where it has some.
        let reason = if step.note.is_empty() { of.reason.to_string() } else { format!("{}: {}", step.note, of.reason) };
        let of = Taken { safety: step.safety, reason: reason.trim_end_matches(": "), ..of };
        match take(settings, &of, &context.clock, &mut told).await {
            Ok(manifest) => manifest,
            Err(fault) => return Outcome::failed(fault.message, false),
        }
    };
    if let Some(why) = step.golden.as_ref().filter(|why| !why.trim().is_empty()) {
        let golden = Golden { by: invocation.by.into(), at: context.clock.now(), why: why.clone() };
        match mark_golden(settings, &manifest, Some(golden)) {
            Ok(marked) => manifest = marked,
            Err(e) => return Outcome::failed(format!("{} is taken, and could not be marked golden: {e}", manifest.id), true),
        }
    }
    for part in &manifest.parts {
        let counts: Vec<String> = part.counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
        log.say(&format!("{} {}: {} bytes, {}", part.store, part.name, part.size, counts.join(", ")));
    }
    for words in &manifest.moved {
        log.say(&format!("written meanwhile: {words}"));
    }
    // Nothing is removed that this very run may be about to bring back.
    if !step.safety {
        for gone in prune(settings, invocation.environment, context.clock.now()) {
            log.say(&format!("{} was older than is kept, and is removed", gone.id));
            forget_all(settings, &gone.parts).await;
        }
    }
    let meanwhile = if manifest.moved.is_empty() { "" } else { "; something was written meanwhile" };
    let size = bytesize::ByteSize(manifest.size()).display().iec();
    Outcome::done(format!("{}  {size}{meanwhile}", manifest.id), true).with(output(&manifest))
}

impl Act for RestoreStep {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(settings) = &context.settings.snapshots else { return unsettled() };
            let manifest = match named(settings, &self.snapshot) {
                Ok(manifest) => manifest,
                Err(why) => return Outcome::failed(why, false),
            };
            let parts: Vec<&Part> = manifest.parts.iter().filter(|part| is_of(self.what, part)).collect();
            if parts.is_empty() {
                return Outcome::done(format!("{NOT_NEEDED}: the snapshot has nothing of that"), false);
            }
            match self.back.as_deref() {
                None => bring_back(settings, &manifest, &parts, invocation, log).await,
                Some(of) => {
                    let own = taken(invocation);
                    let of = if of.is_empty() { Some((own.run, own.key)) } else { of.split_once('/') };
                    let Some((run, key)) = of else { return Outcome::failed("what is taken back is no RUN/STEP", false) };
                    let of = Taken { run, key, ..own };
                    let restored_by = if self.again.is_empty() { run } else { &self.again };
                    // The other run's folder stands beside this one's.
                    let home = invocation.home.parent().unwrap_or(invocation.home).join(restored_by);
                    if let Err(fault) = may_go_back(settings, &manifest, (restored_by, !self.again.is_empty()), &home).await {
                        return Outcome::failed(fault.message, false);
                    }
                    if !self.again.is_empty() {
                        return go_back_again(settings, &parts, (&of, &Taken { run: restored_by, ..of.clone() }), &home, log).await;
                    }
                    go_back(settings, &parts, (&of, &home), log).await
                }
            }
        })
    }

    fn unbroken(&self) -> Boxed<'_, ()> {
        Box::pin(unbroken())
    }

    fn leave_whole<'a>(&'a self, context: &'a Context, run: &'a str) -> Boxed<'a, Result<Vec<String>, Fault>> {
        Box::pin(async move {
            let Some(settings) = &context.settings.snapshots else { return Ok(Vec::new()) };
            let (run, change) = match self.back.as_deref() {
                None => (run, Change::Restore),
                Some(_) if !self.again.is_empty() => (self.again.as_str(), Change::Again),
                Some(of) => (of.split_once('/').map_or(run, |(run, _)| run), Change::Back),
            };
            leave_whole(settings, run, change).await
        })
    }

    /// A recovery is not taken back because nobody waits for it any more.
    fn settle<'a>(&'a self, context: &'a Context, run: &'a str, key: &'a str, end: bool) -> Boxed<'a, Settled> {
        Box::pin(async move {
            let Some(settings) = &context.settings.snapshots else { return Settled::Over };
            let key = key.strip_prefix("undo/").unwrap_or(key);
            match at_work(settings, run, key, end).await {
                Ok(Some(words)) => Settled::UnderWay(words),
                Ok(None) => Settled::Over,
                Err(fault) => Settled::Unknown(fault.message),
            }
        })
    }
}

/// Whether what a restore, or the taking back of one, has done is still on top of what databases and aliases say. Who cannot be asked
/// says nothing against it.
async fn may_go_back(settings: &SnapshotSettings, manifest: &Manifest, by: (&str, bool), home: &Path) -> Result<(), Fault> {
    let before = kept_by_all(home);
    may_be_taken_back(settings, manifest, by, &|part: &Part| before.get(&leads_as(part)).cloned()).await
}

/// The same for whoever plans it: of all that a plan takes back. `runs` is where the folders of runs are.
///
/// # Errors
/// Who has restored since.
pub async fn may_take_back(settings: &SnapshotSettings, plan: &Plan, runs: &Path) -> Result<(), String> {
    for step in &plan.content.steps {
        let Kind::Restore(restore) = &step.kind else { continue };
        let Some((run, _)) = restore.back.as_deref().and_then(|back| back.split_once('/')) else { continue };
        let restored_by = if restore.again.is_empty() { run } else { &restore.again };
        // What it says of a snapshot that is gone it says when it is its turn.
        let Ok(manifest) = named(settings, &restore.snapshot) else { continue };
        let by = (restored_by, !restore.again.is_empty());
        may_go_back(settings, &manifest, by, &runs.join(restored_by)).await.map_err(|fault| fault.message)?;
    }
    Ok(())
}

fn is_of(what: RestoreWhat, part: &Part) -> bool {
    match what {
        RestoreWhat::All => true,
        RestoreWhat::Databases => matches!(part.kind, StoreKind::Postgres | StoreKind::Sqlite),
        RestoreWhat::Collections => part.kind == StoreKind::Qdrant,
        RestoreWhat::Programs => part.kind == StoreKind::Program,
    }
}

/// What an attempt before this one has begun comes first; and what has mistakes, or no way back that it needs, is seen before anything is
/// touched.
async fn may_begin(settings: &SnapshotSettings, manifest: &Manifest, parts: &[&Part], taken: &Taken<'_>) -> Result<(), String> {
    for part in parts {
        let said = |fault: Fault| format!("{}: {}", part.called(), fault.message);
        if !taken_up(settings, part, taken).await.map_err(said)? && part.kind != StoreKind::Program {
            check_part(settings, manifest, part).await.map_err(said)?;
        }
    }
    for part in parts {
        would_come_back(settings, part, taken).await.map_err(|fault| fault.message)?;
    }
    Ok(())
}

async fn bring_back(
    settings: &SnapshotSettings,
    manifest: &Manifest,
    parts: &[&Part],
    invocation: &Invocation<'_>,
    log: &mut OutputLog,
) -> Outcome {
    let deadline = Instant::now() + invocation.limit();
    // What aliases led to, before any of them is switched.
    if let Err(why) = keep(settings, parts, invocation).await {
        return Outcome::failed(why, false);
    }
    if let Err(why) = may_begin(settings, manifest, parts, &taken(invocation)).await {
        return Outcome::failed(why, false);
    }
    let mut done = Vec::new();
    for part in parts {
        loop {
            let result = {
                let mut told = |progress| log.progress(progress);
                restore(settings, part, manifest, &taken(invocation), &mut told).await
            };
            match result {
                Ok(Restored::Done(words)) => {
                    log.say(&words);
                    done.push(words);
                    break;
                }
                Ok(Restored::UnderWay(words)) if Instant::now() < deadline => {
                    log.say(&words);
                    sleep(AGAIN).await;
                }
                Ok(Restored::UnderWay(words)) => return Outcome::under_way(words),
                // A server that is asked to recover goes on although nobody waits for it.
                Err(fault) if matches!(fault.kind, FaultKind::Timeout) => {
                    return Outcome::under_way(format!("{}: {}", part.called(), fault.message));
                }
                // Whatever it says: something was asked for, and may be there.
                Err(fault) => return Outcome::failed(format!("{}: {}", part.called(), fault.message), true),
            }
        }
        if let Err(why) = restored(part, invocation) {
            return Outcome::failed(why, true);
        }
    }
    match bring_in(settings, parts, &taken(invocation)).await {
        Ok(words) => {
            words.iter().for_each(|words| log.say(words));
            done.extend(words);
        }
        Err(fault) => return Outcome::failed(fault.message, true),
    }
    Outcome::done(done.join("; "), true)
}

fn place(home: &Path, key: &str) -> PathBuf {
    home.join(format!("restored-{}.json", key.replace('/', "__")))
}

/// Writes down what is about to be brought back, and what aliases lead to before, once.
async fn keep(settings: &SnapshotSettings, parts: &[&Part], invocation: &Invocation<'_>) -> Result<(), String> {
    let path = place(invocation.home, invocation.key);
    if path.exists() {
        return Ok(());
    }
    let mut before: BTreeMap<String, String> = parts.iter().map(|part| (begun_as(part), "yes".into())).collect();
    for part in parts.iter().filter(|part| part.kind == StoreKind::Qdrant) {
        if let Some(real) = leads_to(settings, part).await.map_err(|fault| fault.message)? {
            before.insert(leads_as(part), real);
        }
    }
    put(&path, &before).map_err(|e| format!("what there was before cannot be written down: {e}"))
}

fn put(path: &Path, record: &BTreeMap<String, String>) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, serde_json::to_vec(record).unwrap_or_default())?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(&draft, path)
}

/// Writes down that a part was brought back.
fn restored(part: &Part, invocation: &Invocation<'_>) -> Result<(), String> {
    let path = place(invocation.home, invocation.key);
    let written = std::fs::read(&path).and_then(|bytes| {
        let mut record: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(std::io::Error::other)?;
        record.insert(restored_as(part), "yes".into());
        put(&path, &record)
    });
    written.map_err(|e| format!("{} is restored, and that cannot be written down: {e}", part.name))
}

/// What was kept of a step that restored: what aliases led to, and which parts were brought back.
fn kept(home: &Path, key: &str) -> BTreeMap<String, String> {
    let bytes = std::fs::read(place(home, key)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The same of every step of a run.
fn kept_by_all(home: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let records = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("restored-"));
    let read = records.filter_map(|entry| serde_json::from_slice::<BTreeMap<String, String>>(&std::fs::read(entry.path()).ok()?).ok());
    read.flatten().collect()
}

fn leads_as(part: &Part) -> String {
    format!("{} {}", part.store, part.name)
}

fn begun_as(part: &Part) -> String {
    format!("begun {} {}", part.store, part.name)
}

fn restored_as(part: &Part) -> String {
    format!("restored {} {}", part.store, part.name)
}

async fn go_back(settings: &SnapshotSettings, parts: &[&Part], (taken, home): (&Taken<'_>, &Path), log: &mut OutputLog) -> Outcome {
    let before = kept(home, taken.key);
    let mut each = Vec::new();
    for part in parts.iter().rev() {
        let led_to = before.get(&leads_as(part)).map(String::as_str);
        let was = Before { led_to, restored: before.contains_key(&restored_as(part)) };
        each.push(undo(settings, part, taken, was).await);
    }
    gone_back(each, log)
}

/// What a run had restored before another took that back is there again.
async fn go_back_again(
    settings: &SnapshotSettings,
    parts: &[&Part],
    both: (&Taken<'_>, &Taken<'_>),
    home: &Path,
    log: &mut OutputLog,
) -> Outcome {
    let before = kept(home, both.0.key);
    let mut each = Vec::new();
    for part in parts {
        each.push(redo(settings, part, both, before.get(&leads_as(part)).map(String::as_str)).await);
    }
    gone_back(each, log)
}

/// What came of taking each part back, together.
fn gone_back(each: Vec<Result<String, Fault>>, log: &mut OutputLog) -> Outcome {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for one in each {
        let all = if one.is_ok() { &mut done } else { &mut failed };
        all.push(one.unwrap_or_else(|fault| fault.message));
    }
    done.iter().chain(&failed).for_each(|words| log.say(words));
    match failed.as_slice() {
        [] => Outcome::done(done.join("; "), true),
        some => Outcome::failed(some.join("; "), !done.is_empty()),
    }
}

impl Act for VerifyStep {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(settings) = &context.settings.snapshots else { return unsettled() };
            let manifest = match named(settings, &self.snapshot) {
                Ok(manifest) => manifest,
                Err(why) => return Outcome::failed(why, false),
            };
            let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
            let of_this_run = kept_by_all(invocation.home);
            for part in &manifest.parts {
                // It may look as it was, with other data in it.
                if !self.files && of_this_run.contains_key(&begun_as(part)) && !of_this_run.contains_key(&restored_as(part)) {
                    wrong.push(format!("{} was not brought back by this run", part.name));
                }
                let looked = if self.files {
                    check_part(settings, &manifest, part).await.map(|words| (words, Vec::new()))
                } else {
                    live(settings, part).await
                };
                match looked {
                    Ok((words, off)) => {
                        log.say(&words);
                        wrong.extend(off);
                    }
                    Err(fault) => unknown.push(format!("{}: {}", part.called(), fault.message)),
                }
            }
            let limit = short(invocation.limit());
            log.say(&format!("{} looked at, within {limit}", count_of(manifest.parts.len(), "part")));
            match (wrong.as_slice(), unknown.as_slice()) {
                ([], []) => Outcome::done(format!("as in {}", manifest.id), false),
                (some, []) => Outcome::otherwise(format!("not as in {}: {}", manifest.id, some.join("; ")), false),
                (_, some) => Outcome::failed(some.join("; "), false),
            }
        })
    }
}

/// The live data of a part against what it was: what was seen, and what is missing.
async fn live(settings: &SnapshotSettings, part: &Part) -> Result<(String, Vec<String>), Fault> {
    let now = counts_now(settings, part).await?;
    let (mut off, more) = part.missing_in(&now);
    if part.kind == StoreKind::Qdrant && !part.probes.is_empty() {
        off.extend(drifted(&part.probes, &qdrant_probes(settings, part).await?));
    }
    let off: Vec<String> = off.into_iter().map(|words| format!("{}: {words}", part.name)).collect();
    let since = if more == 0 { String::new() } else { format!(", {more} written since") };
    Ok((format!("{}: {} counts, {} probe queries{since}", part.name, now.len(), part.probes.len()), off))
}
