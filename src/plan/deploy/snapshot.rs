//! Snapshots: what is in one, by its manifest; which are kept; what restoring one would throw away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::clock::Stamp;
use crate::base::units::thousands;
use crate::plan::runbook::{CollectionStrategy, DatabaseStrategy, SnapshotSettings};

/// What is known of a snapshot. It is written last: what has no manifest is no snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub v: u32,
    pub id: String,
    pub environment: String,
    pub at: Stamp,
    pub ended: Stamp,
    pub by: String,
    /// The run that took it.
    pub run: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
    /// Of this program, of the application where that is known, and of the servers.
    pub versions: BTreeMap<String, String>,
    pub parts: Vec<Part>,
    /// Taken before something is brought back: never what is gone back to unless somebody names it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub safety: bool,
    /// What was written while it was taken, part by part; nothing: its parts are of one moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<String>,
}

/// It is known to be good, and is not removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    pub by: String,
    pub at: Stamp,
    pub why: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    #[default]
    Postgres,
    Sqlite,
    Qdrant,
    Program,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub kind: StoreKind,
    /// The source, node or store.
    pub store: String,
    /// The database or the collection itself, behind an alias too.
    pub name: String,
    /// A file beside the manifest, or the name of a snapshot on its server.
    pub file: String,
    /// Whether the file stands beside the manifest.
    pub local: bool,
    pub size: u64,
    pub sha256: String,
    /// Exact: rows by table, by what was asked for besides, or points.
    pub counts: BTreeMap<String, u64>,
    /// The same counts when it was taken, where they had changed by then: what is in it lies between.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub until: BTreeMap<String, u64>,
    /// The collection as the configuration names it: an alias, mostly.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// Stored points that were asked for their neighbours, and the mean of the scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeQuery>,
    /// What its server had counted of changes by then, where it counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}

/// What was written, by a server's own counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Which counters these are: others, or ones set to zero in between, cannot be compared.
    pub of: String,
    /// By table: rows that were changed, and rows that came in.
    pub rows: BTreeMap<String, (u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeQuery {
    pub id: serde_json::Value,
    pub mean: f64,
}

/// How far the mean of scores may be from what it was.
const SCORES: f64 = 0.05;

impl StoreKind {
    /// Whether it is restored where it is, so that only a safety snapshot has what there was.
    pub fn is_in_place(self, settings: &SnapshotSettings) -> bool {
        match self {
            StoreKind::Postgres => settings.restore_database == DatabaseStrategy::InPlace,
            StoreKind::Qdrant => settings.restore_collection == CollectionStrategy::InPlace,
            StoreKind::Sqlite | StoreKind::Program => true,
        }
    }
}

impl Part {
    /// What it is counted under: the source, or the collection as the configuration names it.
    pub fn counted_as(&self) -> &str {
        match self.kind {
            StoreKind::Qdrant if self.of.is_empty() => &self.name,
            StoreKind::Qdrant => &self.of,
            _ => &self.store,
        }
    }

    /// What people know it by: of a collection also the node, of which there may be several.
    pub fn called(&self) -> String {
        match self.kind {
            StoreKind::Qdrant => format!("{} on {}", self.name, self.store),
            _ => self.name.clone(),
        }
    }

    /// How what is there differs from what is in it.
    pub fn differences(&self, now: &BTreeMap<String, u64>) -> Vec<String> {
        let lies_between = |name: &str, n: u64| match (self.counts.get(name), self.until.get(name)) {
            (Some(a), Some(b)) => (*a.min(b)..=*a.max(b)).contains(&n),
            _ => false,
        };
        let as_counted = |(name, n): (&String, &u64)| {
            let n = if lies_between(name, *n) { self.counts.get(name).copied().unwrap_or(*n) } else { *n };
            (name.clone(), n)
        };
        differences(&self.counts, &now.iter().map(as_counted).collect())
    }

    /// What of it is missing in data that is in use, in words, and how much more there is: whoever uses it writes on, and more
    /// is no fault.
    pub fn missing_in(&self, now: &BTreeMap<String, u64>) -> (Vec<String>, u64) {
        let more = now.iter().map(|(name, n)| n.saturating_sub(self.counts.get(name).copied().unwrap_or(0))).sum();
        let at_most = now.iter().filter_map(|(name, n)| Some((name.clone(), *n.min(self.counts.get(name)?)))).collect();
        (self.differences(&at_most), more)
    }
}

impl Manifest {
    /// What belongs into a snapshot by what is said now, and is not in this one, in words.
    pub fn lacks(&self, settings: &SnapshotSettings) -> Option<String> {
        let has = |is_it: &dyn Fn(&Part) -> bool| self.parts.iter().any(is_it);
        let is_database = |part: &Part| matches!(part.kind, StoreKind::Postgres | StoreKind::Sqlite);
        let databases = settings.databases.iter().map(|store| &store.name);
        let databases = databases.filter(|name| !has(&|part| is_database(part) && part.store == **name));
        let collections = settings.collections.iter();
        let collections =
            collections.filter(|name| !has(&|part| part.kind == StoreKind::Qdrant && (part.of == **name || part.name == **name)));
        let programs = settings.programs.iter().map(|store| &store.name);
        let programs = programs.filter(|name| !has(&|part| part.kind == StoreKind::Program && part.store == **name));
        let all: Vec<&str> = databases.chain(collections).chain(programs).map(String::as_str).collect();
        (!all.is_empty()).then(|| format!("the snapshot has no {}: that stays as it is", all.join(", ")))
    }

    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_str(text).map_err(|e| format!("the manifest cannot be read: {e}"))?;
        if manifest.v != 1 {
            return Err(format!("the manifest is of version {}, this program speaks 1", manifest.v));
        }
        Ok(manifest)
    }

    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }
}

/// Those of an environment: what was tried out elsewhere is none of its own.
pub fn of_environment(all: Vec<Manifest>, environment: &str) -> Vec<Manifest> {
    all.into_iter().filter(|manifest| manifest.environment == environment).collect()
}

/// The snapshot that is meant: an id, `latest`, or `golden`, the newest of those. The newest stand first.
///
/// # Errors
/// When there is none.
pub fn pick<'m>(all: &'m [Manifest], wanted: &str) -> Result<&'m Manifest, String> {
    let found = match wanted {
        "latest" => all.iter().find(|manifest| !manifest.safety),
        "golden" => all.iter().find(|manifest| manifest.golden.is_some()),
        id => all.iter().find(|manifest| manifest.id == id),
    };
    found.ok_or_else(|| match wanted {
        "latest" => "there is no snapshot yet: lastgreen snapshot create".into(),
        "golden" => "no snapshot is golden: lastgreen snapshot golden ID --why TEXT".into(),
        id => format!("there is no snapshot `{id}`; `lastgreen snapshot list` lists them"),
    })
}

/// The snapshots that are kept no longer: beyond so many, or older than that; never a golden one, never the newest.
pub fn too_old<'m>(all: &'m [Manifest], settings: &SnapshotSettings, now: Stamp) -> Vec<&'m Manifest> {
    let of = |safety: bool| all.iter().filter(move |manifest| manifest.golden.is_none() && manifest.safety == safety).enumerate();
    let beyond = |(place, manifest): &(usize, &Manifest)| {
        *place >= settings.keep.max(1) || *place > 0 && settings.keep_for.is_some_and(|most| now.since(manifest.at) > most)
    };
    of(false).chain(of(true)).filter(beyond).map(|(_, manifest)| manifest).collect()
}

/// What differs between what was counted then and now, in words.
pub fn differences(then: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let one = |name: &String| match (then.get(name), now.get(name)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(a), Some(b)) => Some(format!("{name}: {} then, {} now", thousands(*a as f64), thousands(*b as f64))),
        (Some(a), None) => Some(format!("{name} is gone, of {} then", thousands(*a as f64))),
        (None, Some(b)) => Some(format!("{name} is new, with {}", thousands(*b as f64))),
        (None, None) => None,
    };
    names.into_iter().filter_map(one).collect()
}

/// What is wrong with the scores of probe queries against what they were.
pub fn drifted(then: &[ProbeQuery], now: &[ProbeQuery]) -> Vec<String> {
    let one = |probe: &ProbeQuery| {
        let Some(found) = now.iter().find(|p| p.id == probe.id) else { return Some(format!("point {} is gone", probe.id)) };
        let off = (found.mean - probe.mean).abs();
        (off > SCORES * probe.mean.abs().max(f64::EPSILON))
            .then(|| format!("point {}: mean score {:.3} then, {:.3} now", probe.id, probe.mean, found.mean))
    };
    then.iter().filter_map(one).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::plan::runbook::{CollectionStrategy, DatabaseStrategy};

    pub(in crate::plan::deploy) fn manifest(id: &str, at: i64, golden: bool) -> Manifest {
        let golden = golden.then(|| Golden { by: "eva".into(), at: Stamp(at), why: "smoke passed".into() });
        let counts = BTreeMap::from([("chunks".to_string(), 10), ("old".to_string(), 5)]);
        let part = Part {
            kind: StoreKind::Postgres,
            store: "db".into(),
            name: "ragdb".into(),
            file: "db.dump".into(),
            local: true,
            size: 7,
            sha256: String::new(),
            counts,
            until: BTreeMap::new(),
            of: String::new(),
            probes: Vec::new(),
            changes: None,
        };
        Manifest {
            v: 1,
            id: id.into(),
            environment: "e".into(),
            at: Stamp(at),
            ended: Stamp(at),
            by: "eva".into(),
            run: "R".into(),
            reason: String::new(),
            golden,
            versions: BTreeMap::new(),
            parts: vec![part],
            safety: false,
            moved: Vec::new(),
        }
    }

    fn settings(keep: usize, keep_for: Option<u64>) -> SnapshotSettings {
        SnapshotSettings {
            hold: None,
            server_room: Vec::new(),
            folder: PathBuf::new(),
            databases: Vec::new(),
            nodes: Vec::new(),
            collections: Vec::new(),
            programs: Vec::new(),
            server_folder: None,
            download: false,
            keep,
            keep_for: keep_for.map(Duration::from_secs),
            max_age: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            counts: Vec::new(),
            probes: 0,
            restore_database: DatabaseStrategy::Swap,
            restore_collection: CollectionStrategy::Alias,
        }
    }

    #[test]
    fn a_golden_one_and_the_newest_always_stay() {
        let all = [manifest("e", 5_000, false), manifest("d", 4_000, true), manifest("c", 3_000, false), manifest("b", 2_000, false)];
        let gone =
            |keep, keep_for| too_old(&all, &settings(keep, keep_for), Stamp(100_000)).iter().map(|m| m.id.clone()).collect::<Vec<_>>();
        assert_eq!(gone(2, None), ["b"]);
        assert_eq!(gone(0, None), ["c", "b"], "the newest stays");
        assert_eq!(gone(9, Some(1)), ["c", "b"]);
        assert_eq!(pick(&all, "golden").map(|m| m.id.as_str()), Ok("d"));
        assert_eq!(pick(&all, "latest").map(|m| m.id.as_str()), Ok("e"));
        assert!(pick(&all, "x").is_err() && pick(&[], "latest").is_err());
        let mut first = all.clone();
        first[0].safety = true;
        assert_eq!(pick(&first, "latest").map(|m| m.id.as_str()), Ok("d"), "what was there before a rollback is not gone back to");
        assert_eq!(pick(&first, "e").map(|m| m.id.as_str()), Ok("e"), "unless it is named");
        let left = too_old(&first, &settings(1, None), Stamp(100_000));
        assert_eq!(left.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["b"], "each sort has its own newest");
    }

    #[test]
    fn what_differs_is_counted() {
        let mut part = manifest("a", 0, false).parts.remove(0);
        part.until.insert("chunks".into(), 14);
        let of = |n| part.differences(&BTreeMap::from([("chunks".to_string(), n), ("old".to_string(), 5)]));
        assert!(of(10).is_empty() && of(12).is_empty() && of(14).is_empty());
        assert!(of(9).len() == 1 && of(15).len() == 1);
        assert_eq!(differences(&BTreeMap::from([("a".into(), 1)]), &BTreeMap::from([("a".into(), 2)])), ["a: 1 then, 2 now"]);
        let probe = |mean| ProbeQuery { id: 1.into(), mean };
        assert!(drifted(&[probe(0.8)], &[probe(0.77)]).is_empty());
        assert_eq!(drifted(&[probe(0.8)], &[probe(0.7)]).len(), 1);
        assert_eq!(drifted(&[probe(0.8)], &[]).len(), 1);
    }
}
