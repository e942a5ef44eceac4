//! Qdrant: a snapshot of each collection on each node, brought back into a new collection whose counts and scores are
//! looked at before the alias is switched, in one call. A recovery that may still be running is never begun a second time.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::names::is_called;
use super::{Restored, TAG, Taken, Told, tag};
use crate::base::endpoint::{Auth, Endpoint};
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Response, Web, fetch_secret, qdrant_fault, tasks_running, web_json};
use crate::plan::deploy::{Part, ProbeQuery, StoreKind, drifted};
use crate::plan::runbook::{CollectionStrategy, NodeStore, Progress, SnapshotSettings};

/// Where a server keeps its snapshots unless it says otherwise.
const USUAL: &str = "/qdrant/snapshots";
/// How many neighbours a probe query asks for.
const NEIGHBOURS: u32 = 5;
/// How many probe queries are under way at once.
const AT_ONCE: usize = 4;

fn wrong(words: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Garbage, words.into())
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// How long a server may take for what costs it nothing: names, lists, a switch of aliases. Counts and queries take longer.
const PROMPT: Duration = Duration::from_secs(60);

fn web(node: &NodeStore, settings: &SnapshotSettings) -> Web {
    Web::new(Endpoint { timeout: settings.timeout.min(PROMPT), max_body: 64 << 20, ..node.endpoint.clone() })
}

/// The same for what takes as long as the data is large.
fn patient(node: &NodeStore, settings: &SnapshotSettings) -> Web {
    Web::new(Endpoint { timeout: settings.timeout, max_body: 64 << 20, ..node.endpoint.clone() })
}

async fn send(web: &Web, method: &str, path: &str, body: Option<Json>) -> Result<Response, Fault> {
    let request = web.request(method, path)?;
    web.send(if let Some(body) = body { request.json(&body) } else { request }).await
}

/// What a call gives under `result`.
async fn ask(web: &Web, method: &str, path: &str, body: Option<Json>) -> Result<Json, Fault> {
    let answer = send(web, method, path, body).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer));
    }
    let json: Json = web_json(&answer.body)?;
    Ok(json.get("result").cloned().unwrap_or_default())
}

/// The server's own words.
fn refused(answer: &Response) -> Fault {
    let said = serde_json::from_slice::<Json>(&answer.body).ok();
    let words = said.as_ref().and_then(|json| json.pointer("/status/error")).and_then(Json::as_str).map(str::to_string);
    qdrant_fault(answer.status, &words.unwrap_or_else(|| answer.text()))
}

pub async fn version(node: &NodeStore, settings: &SnapshotSettings) -> Result<String, Fault> {
    let answer = send(&web(node, settings), "GET", "/", None).await?;
    let json: Json = web_json(&answer.body)?;
    Ok(format!("qdrant {}", json["version"].as_str().unwrap_or("?")))
}

/// Every alias, with the collection behind it.
async fn aliases(web: &Web) -> Result<BTreeMap<String, String>, Fault> {
    let found = ask(web, "GET", "/aliases", None).await?;
    let one = |alias: &Json| Some((alias["alias_name"].as_str()?.to_string(), alias["collection_name"].as_str()?.to_string()));
    Ok(found["aliases"].as_array().into_iter().flatten().filter_map(one).collect())
}

async fn real_name(web: &Web, collection: &str) -> Result<String, Fault> {
    Ok(aliases(web).await?.remove(collection).unwrap_or_else(|| collection.to_string()))
}

/// The collection as the configuration names it that a part is of.
pub async fn configured(settings: &SnapshotSettings, node: &NodeStore, part: &Part) -> Result<String, Fault> {
    if !part.of.is_empty() {
        return Ok(part.of.clone());
    }
    // A snapshot of an earlier version does not say.
    let aliases = aliases(&web(node, settings)).await?;
    let of_part = |name: &&String| **name == part.name || aliases.get(*name).is_some_and(|real| *real == part.name);
    match (settings.collections.iter().find(of_part), settings.collections.as_slice()) {
        (Some(name), _) | (None, [name]) => Ok(name.clone()),
        _ => Err(wrong(format!("which of the collections {} is of cannot be told", part.name))),
    }
}

/// Removes a snapshot from its server.
pub async fn forget(node: &NodeStore, part: &Part, settings: &SnapshotSettings) -> Result<(), Fault> {
    let path = format!("/collections/{}/snapshots/{}", encoded(&part.name), encoded(&part.file));
    ask(&web(node, settings), "DELETE", &path, None).await.map(drop)
}

async fn count(web: &Web, collection: &str) -> Result<u64, Fault> {
    let path = format!("/collections/{}/points/count", encoded(collection));
    let found = ask(web, "POST", &path, Some(json!({"exact": true}))).await?;
    found["count"].as_u64().ok_or_else(|| wrong(format!("{collection} gives no count")))
}

/// The collection behind a name, and its points, counted exactly.
pub async fn points(node: &NodeStore, collection: &str, settings: &SnapshotSettings) -> Result<(String, u64), Fault> {
    let web = web(node, settings);
    let real = real_name(&web, collection).await?;
    let points = count(&web, &real).await?;
    Ok((real, points))
}

/// How many recoveries run, by the server's own metrics; `None` where it does not say.
async fn recovering(web: &Web) -> Result<Option<u64>, Fault> {
    let answer = send(web, "GET", "/metrics", None).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer));
    }
    Ok(tasks_running(&answer.text(), "snapshot_recovery_running", None))
}

/// What a node is at that nobody waits for any more.
pub async fn at_work(node: &NodeStore, settings: &SnapshotSettings) -> Result<Option<String>, Fault> {
    let running = recovering(&web(node, settings)).await?;
    Ok(running.filter(|n| *n > 0).map(|n| format!("{n} recovery at work on {}", node.name)))
}

/// Some stored points, asked for their neighbours: the mean of the scores.
async fn probes(web: &Web, collection: &str, ids: &[Json]) -> Result<Vec<ProbeQuery>, Fault> {
    let path = format!("/collections/{}", encoded(collection));
    let info = ask(web, "GET", &path, None).await?;
    let vectors = info.pointer("/config/params/vectors").cloned().unwrap_or_default();
    // A collection may have one vector without a name, or several with one.
    let using = if vectors.get("size").is_some() { None } else { vectors.as_object().and_then(|named| named.keys().next().cloned()) };
    let (path, using) = (format!("{path}/points/query"), using.as_deref());
    let asked: Vec<_> = ids.iter().map(|id| probe(web, &path, using, id)).collect();
    let all: Vec<Option<ProbeQuery>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

/// One of them; `None` where a point has no neighbours.
async fn probe(web: &Web, path: &str, using: Option<&str>, id: &Json) -> Result<Option<ProbeQuery>, Fault> {
    let mut body = json!({"query": id, "limit": NEIGHBOURS});
    if let Some(name) = using {
        body["using"] = json!(name);
    }
    let found = ask(web, "POST", path, Some(body)).await?;
    let scores: Vec<f64> = found["points"].as_array().into_iter().flatten().filter_map(|point| point["score"].as_f64()).collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    Ok((!scores.is_empty()).then(|| ProbeQuery { id: id.clone(), mean }))
}

async fn some_ids(web: &Web, collection: &str, n: usize) -> Result<Vec<Json>, Fault> {
    let path = format!("/collections/{}/points/scroll", encoded(collection));
    let found = ask(web, "POST", &path, Some(json!({"limit": n, "with_payload": false, "with_vector": false}))).await?;
    Ok(found["points"].as_array().into_iter().flatten().map(|point| point["id"].clone()).collect())
}

/// The same probe queries as a snapshot has, now.
pub async fn probes_now(node: &NodeStore, part: &Part, settings: &SnapshotSettings) -> Result<Vec<ProbeQuery>, Fault> {
    let web = web(node, settings);
    let name = configured(settings, node, part).await?;
    let ids: Vec<Json> = part.probes.iter().map(|probe| probe.id.clone()).collect();
    probes(&web, &real_name(&web, &name).await?, &ids).await
}

pub async fn take(
    node: &NodeStore,
    collection: &str,
    folder: &Path,
    settings: &SnapshotSettings,
    told: &mut Told<'_>,
) -> Result<Part, Fault> {
    let web = web(node, settings);
    let real = real_name(&web, collection).await?;
    told(Progress { done: 0.0, of: None, unit: String::new(), words: format!("snapshot of {real} on {}", node.name) });
    let before = count(&web, &real).await?;
    let patient = patient(node, settings);
    let made = ask(&patient, "POST", &format!("/collections/{}/snapshots?wait=true", encoded(&real)), None).await?;
    let name = made["name"].as_str().ok_or_else(|| wrong("the server gives the snapshot no name"))?.to_string();
    let points = count(&web, &real).await?;
    let ids = if settings.probes > 0 { some_ids(&web, &real, settings.probes).await? } else { Vec::new() };
    let mut part = Part {
        kind: StoreKind::Qdrant,
        store: node.name.clone(),
        name: real.clone(),
        file: name.clone(),
        local: false,
        size: made["size"].as_u64().unwrap_or(0),
        sha256: made["checksum"].as_str().unwrap_or("").to_string(),
        counts: BTreeMap::from([("points".to_string(), before)]),
        until: if points == before { BTreeMap::new() } else { BTreeMap::from([("points".to_string(), points)]) },
        of: collection.to_string(),
        probes: probes(&web, &real, &ids).await?,
        changes: None,
    };
    if settings.download {
        download(&patient, &real, &name, folder, &mut part, told).await?;
    }
    if part.size == 0 {
        return Err(wrong(format!("the snapshot {name} has no size: it is none")));
    }
    Ok(part)
}

/// Copies a snapshot here, piece by piece, and holds it to the server's sum.
async fn download(web: &Web, collection: &str, name: &str, folder: &Path, part: &mut Part, told: &mut Told<'_>) -> Result<(), Fault> {
    let file = format!("{}-{}.snapshot", part.store, encoded(collection));
    let path = format!("/collections/{}/snapshots/{}", encoded(collection), encoded(name));
    let (of, words) = (part.size as f64, format!("copied of {name}"));
    let mut progress = |done: u64| told(Progress { done: done as f64, of: Some(of), unit: "bytes".into(), words: words.clone() });
    let (sum, size) = web.download(&path, &folder.join(&file), &mut progress).await?;
    if !part.sha256.is_empty() && part.sha256 != sum {
        return Err(wrong(format!("{name} came with the sum {sum}, and the server says {}", part.sha256)));
    }
    (part.file, part.local, part.sha256, part.size) = (file, true, sum, size);
    Ok(())
}

/// Whether a snapshot is still on its server, as it was.
pub async fn listed(node: &NodeStore, part: &Part, settings: &SnapshotSettings) -> Result<String, Fault> {
    let web = web(node, settings);
    let found = ask(&web, "GET", &format!("/collections/{}/snapshots", encoded(&part.name)), None).await?;
    let entry = found.as_array().into_iter().flatten().find(|entry| entry["name"].as_str() == Some(&part.file));
    let Some(entry) = entry else { return Err(wrong(format!("{} is not on {} any more", part.file, node.name))) };
    let (size, sum) = (entry["size"].as_u64().unwrap_or(0), entry["checksum"].as_str().unwrap_or(""));
    if size != part.size || !part.sha256.is_empty() && !sum.is_empty() && sum != part.sha256 {
        return Err(wrong(format!("{} on {} is another one than was taken: {size} bytes, sum {sum}", part.file, node.name)));
    }
    Ok(format!("{} is on {}", part.file, node.name))
}

/// The new collection that a run restores into.
fn beside(part: &Part, run: &str) -> String {
    format!("{}_{}", part.name, tag(run))
}

pub async fn restore(
    node: &NodeStore,
    part: &Part,
    settings: &SnapshotSettings,
    taken: &Taken<'_>,
    told: &mut Told<'_>,
) -> Result<Restored, Fault> {
    let web = web(node, settings);
    let name = configured(settings, node, part).await?;
    let aliases = aliases(&web).await?;
    let new = match settings.restore_collection {
        CollectionStrategy::InPlace => aliases.get(&name).cloned().unwrap_or_else(|| part.name.clone()),
        CollectionStrategy::Alias if !aliases.contains_key(&name) => {
            let words = format!(
                "{name} is a collection and no alias: there is nothing to switch (make an alias and let the application use it, or set restore_collection = \"in_place\")"
            );
            return Err(Fault::new(FaultKind::Query, words));
        }
        CollectionStrategy::Alias => beside(part, taken.run),
    };
    if aliases.get(&name) == Some(&new) && settings.restore_collection == CollectionStrategy::Alias {
        return Ok(Restored::Done(format!("{name} leads to {new} already")));
    }
    if recovering(&web).await?.is_some_and(|n| n > 0) {
        return Ok(Restored::UnderWay(format!("a recovery is at work on {}", node.name)));
    }
    told(Progress { done: 0.0, of: None, unit: String::new(), words: format!("recovering {} into {new}", part.name) });
    // One that is whole already is not recovered a second time.
    let whole = settings.restore_collection == CollectionStrategy::Alias && is_as_it_was(&web, &new, part).await.is_ok();
    if !whole {
        recover(&patient(node, settings), node, part, &new, settings).await?;
    }
    let how = if part.kind.is_in_place(settings) { " in place" } else { "" };
    Ok(Restored::Done(format!("{new} is recovered{how} on {}", node.name)))
}

/// Looks whether a recovered collection is as it was, over all nodes, and lets its alias lead there.
pub async fn bring_in(node: &NodeStore, part: &Part, settings: &SnapshotSettings, taken: &Taken<'_>) -> Result<String, Fault> {
    let web = web(node, settings);
    let name = configured(settings, node, part).await?;
    let aliases = aliases(&web).await?;
    if part.kind.is_in_place(settings) {
        let real = aliases.get(&name).cloned().unwrap_or_else(|| part.name.clone());
        is_as_it_was(&web, &real, part).await?;
        return Ok(format!("{real} is as it was"));
    }
    let new = beside(part, taken.run);
    if aliases.get(&name) == Some(&new) {
        return Ok(format!("{name} leads to {new}"));
    }
    is_as_it_was(&web, &new, part).await?;
    switch(&web, &name, &new).await?;
    Ok(format!("{name} leads to {new}; what it led to before is kept"))
}

/// Counts and scores of a recovered collection against what they were.
async fn is_as_it_was(web: &Web, collection: &str, part: &Part) -> Result<(), Fault> {
    let points = count(web, collection).await?;
    let different = part.differences(&BTreeMap::from([("points".to_string(), points)]));
    if let [first, ..] = different.as_slice() {
        return Err(wrong(format!("{collection} is not as it was: {first}")));
    }
    let ids: Vec<Json> = part.probes.iter().map(|probe| probe.id.clone()).collect();
    let off = drifted(&part.probes, &probes(web, collection, &ids).await?);
    if off.is_empty() { Ok(()) } else { Err(wrong(format!("{collection} does not find what it found: {}", off.join("; ")))) }
}

/// One call, so that there is no moment without the alias.
async fn switch(web: &Web, alias: &str, to: &str) -> Result<(), Fault> {
    let actions = json!([
        {"delete_alias": {"alias_name": alias}},
        {"create_alias": {"collection_name": to, "alias_name": alias}},
    ]);
    ask(web, "POST", "/collections/aliases", Some(json!({"actions": actions}))).await?;
    // Whoever says yes may have done nothing.
    match aliases(web).await?.remove(alias) {
        Some(now) if now == to => Ok(()),
        Some(now) => Err(wrong(format!("the server says that {alias} was switched, and it leads to {now}"))),
        None => Err(wrong(format!("the server says that {alias} was switched, and there is no such alias"))),
    }
}

/// Asks for a recovery, from wherever the server can have the snapshot; that it is there was looked at before anything was touched.
/// What the server refuses it has not done.
async fn recover(web: &Web, node: &NodeStore, part: &Part, into: &str, settings: &SnapshotSettings) -> Result<(), Fault> {
    let path = format!("/collections/{}/snapshots/recover?wait=true", encoded(into));
    let mut folder = settings.server_folder.clone().unwrap_or_else(|| USUAL.into());
    let mut body = json!({"priority": "snapshot"});
    if !part.sha256.is_empty() {
        body["checksum"] = json!(part.sha256);
    }
    for _ in 0..2 {
        body["location"] = json!(format!("file://{}/{}/{}", folder.trim_end_matches('/'), part.name, part.file));
        let answer = send(web, "PUT", &path, Some(body.clone())).await.map_err(may_go_on)?;
        match answer.status.as_u16() {
            200..=299 => return Ok(()),
            // It says where it keeps them.
            403 => match folder_in(&answer.text()) {
                Some(said) if said != folder => folder = said,
                _ => return Err(refused(&answer)),
            },
            400 | 404 if settings.server_folder.is_none() => break,
            _ => return Err(refused(&answer)),
        }
    }
    // From itself, over HTTP.
    let own = node.endpoint.url.as_str().trim_end_matches('/');
    body["location"] = json!(format!("{own}/collections/{}/snapshots/{}", encoded(&part.name), encoded(&part.file)));
    if let Auth::Header { value, .. } | Auth::Bearer(value) = &node.endpoint.auth {
        body["api_key"] = json!(fetch_secret(value).await?.expose());
    }
    let answer = send(web, "PUT", &path, Some(body)).await.map_err(may_go_on)?;
    if answer.status.is_success() { Ok(()) } else { Err(refused(&answer)) }
}

/// Once a server was asked it may go on, whatever became of the connection.
fn may_go_on(fault: Fault) -> Fault {
    if fault.message.starts_with("cannot reach") { fault } else { Fault::new(FaultKind::Timeout, fault.message) }
}

/// The folder that a server names when it refuses a file outside of it.
fn folder_in(said: &str) -> Option<String> {
    let said = said.replace("\\\"", "\"");
    let (_, rest) = said.split_once("snapshots directory \"")?;
    rest.split('"').next().map(str::to_string).filter(|folder| folder.starts_with('/'))
}

/// The alias leads again to what it led to before; what was recovered is kept.
pub async fn undo(
    node: &NodeStore,
    part: &Part,
    settings: &SnapshotSettings,
    (taken, before): (&Taken<'_>, Option<&str>),
) -> Result<String, Fault> {
    if part.kind.is_in_place(settings) {
        let words = format!("{} was recovered in place: restore the safety snapshot instead", part.name);
        return Err(Fault::new(FaultKind::Query, words));
    }
    let web = web(node, settings);
    let new = beside(part, taken.run);
    let aliases = aliases(&web).await?;
    let mine = aliases.iter().find(|(_, real)| **real == new);
    let Some((alias, _)) = mine else {
        if let Some(before) = before {
            is_where_it_was_put(node, part, settings, (taken.run, before)).await?;
        }
        let found = ask(&web, "GET", "/collections", None).await?;
        let is_there = found["collections"].as_array().into_iter().flatten().any(|one| one["name"] == new.as_str());
        let stays = if is_there { "; the collection stays, used by nothing" } else { "" };
        return Ok(format!("no alias leads to {new}: nothing to take back{stays}"));
    };
    let Some(before) = before else { return Err(wrong(format!("what {alias} led to before is not on record: switch it by hand"))) };
    switch(&web, alias, before).await?;
    Ok(format!("{alias} leads to {before} again"))
}

/// Whether an alias leads to what a run has recovered, or to what there was before: nobody has put it elsewhere since.
pub async fn is_where_it_was_put(
    node: &NodeStore,
    part: &Part,
    settings: &SnapshotSettings,
    (restored_by, before): (&str, &str),
) -> Result<(), Fault> {
    let web = web(node, settings);
    let name = configured(settings, node, part).await?;
    match aliases(&web).await?.get(&name) {
        Some(now) if *now != beside(part, restored_by) && now != before => {
            Err(wrong(format!("{name} leads to {now}, where somebody has put it since: that has to be taken back first")))
        }
        _ => Ok(()),
    }
}

/// The alias leads again to what a run had recovered, after another took that back.
pub async fn redo(
    node: &NodeStore,
    part: &Part,
    settings: &SnapshotSettings,
    (restored_by, before): (&Taken<'_>, Option<&str>),
) -> Result<String, Fault> {
    let web = web(node, settings);
    let name = configured(settings, node, part).await?;
    let new = beside(part, restored_by.run);
    if let Some(before) = before {
        is_where_it_was_put(node, part, settings, (restored_by.run, before)).await?;
    }
    if aliases(&web).await?.get(&name) != Some(&new) {
        // What is not there any more says so before anything is switched.
        count(&web, &new).await?;
        switch(&web, &name, &new).await?;
    }
    Ok(format!("{name} leads to {new} again"))
}

/// Collections that restores have recovered, or were made of, and that no alias leads to.
pub async fn kept(node: &NodeStore, settings: &SnapshotSettings) -> Result<Vec<String>, Fault> {
    let web = web(node, settings);
    let aliases = aliases(&web).await?;
    let found = ask(&web, "GET", "/collections", None).await?;
    let all = found["collections"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
    // Each restore puts a tag behind what it was made of.
    let live: Vec<&String> = settings.collections.iter().filter_map(|name| aliases.get(name)).collect();
    let of_live = |name: &str| live.iter().any(|live| origin(live) == origin(name));
    let used = |name: &str| aliases.values().any(|real| real == name) || settings.collections.iter().any(|plain| plain == name);
    Ok(all.filter(|name| of_live(name) && !used(name)).map(str::to_string).collect())
}

/// The name without what restores have put behind it.
fn origin(mut name: &str) -> &str {
    let like = |stem: &str| format!("{stem}_{}", "0".repeat(TAG));
    while let Some((stem, _)) = name.rsplit_once('_').filter(|(stem, _)| is_called(name, &like(stem))) {
        name = stem;
    }
    name
}

/// What the alias of a part leads to, for the way back.
pub async fn leads_to(node: &NodeStore, part: &Part, settings: &SnapshotSettings) -> Result<Option<String>, Fault> {
    let web = web(node, settings);
    let name = configured(settings, node, part).await?;
    Ok(aliases(&web).await?.remove(&name))
}

/// Whether a restore would be allowed, and whether there is an alias to switch. Nothing is touched.
pub async fn may_restore(node: &NodeStore, settings: &SnapshotSettings) -> Result<String, Fault> {
    let web = web(node, settings);
    let aliases = aliases(&web).await?;
    if settings.restore_collection == CollectionStrategy::Alias
        && let Some(plain) = settings.collections.iter().find(|name| !aliases.contains_key(*name))
    {
        let words = format!("{plain} is no alias: there is nothing to switch (make one, or set restore_collection = \"in_place\")");
        return Err(Fault::new(FaultKind::Query, words));
    }
    // A list of nothing to do changes nothing; a key that may only read is refused.
    ask(&web, "POST", "/collections/aliases", Some(json!({"actions": []}))).await?;
    Ok(format!("{}: aliases may be switched", node.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_restored_again_and_again_is_still_of_the_first() {
        assert_eq!((origin("rag_main"), origin("rag_main_h620kdfq_7dv07r7z")), ("rag_main", "rag_main"));
    }

    #[test]
    fn a_server_says_where_it_keeps_its_snapshots() {
        let said = r#"{"status":{"error":"Forbidden: Snapshot file path must be inside the snapshots directory \"/var/q/snapshots\""}}"#;
        assert_eq!(folder_in(said), Some("/var/q/snapshots".into()));
        assert_eq!(folder_in("Forbidden"), None);
    }
}
