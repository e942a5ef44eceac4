//! The data of the Qdrant stand-in: collections of points, aliases, and snapshots that are real files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::clock::{Clock, Stamp};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredPoint {
    pub vector: Vec<f32>,
    #[serde(default)]
    pub payload: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Collection {
    pub size: usize,
    pub distance: String,
    pub points: BTreeMap<u64, StoredPoint>,
}

impl Collection {
    pub fn store(&mut self, id: u64, vector: Vec<f32>, payload: Value) {
        let vector = self.as_stored(vector);
        self.points.insert(id, StoredPoint { vector, payload });
    }

    /// Where directions are compared, vectors are kept with length one.
    pub fn as_stored(&self, mut vector: Vec<f32>) -> Vec<f32> {
        let length = dot(&vector, &vector).sqrt();
        if self.distance == "Cosine" && length > 0.0 {
            vector.iter_mut().for_each(|x| *x /= length);
        }
        vector
    }
}

/// In eight sums side by side, which the machine adds at once: a real server looks at no more than a few points.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// The part of every collection that one node of a cluster has.
#[derive(Clone, Copy, Debug)]
pub struct DemoShard {
    pub number: u64,
    pub of: u64,
}

impl Default for DemoShard {
    fn default() -> DemoShard {
        DemoShard { number: 0, of: 1 }
    }
}

impl DemoShard {
    pub fn peer(self) -> u64 {
        3_103_475_282_892_522 + self.number
    }

    pub fn has(self, point: u64) -> bool {
        point % self.of == self.number
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct StoredSnapshot {
    pub name: String,
    pub creation_time: String,
    pub size: u64,
    /// Not known of a file that was put there by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

pub struct Storage {
    pub collections: BTreeMap<String, Collection>,
    pub aliases: BTreeMap<String, String>,
    pub troubles: Troubles,
    /// Recoveries under way, by collection.
    pub recovering: BTreeMap<String, usize>,
    /// The most recoveries of one collection that were ever under way at once.
    pub busiest: usize,
    folder: PathBuf,
    operations: u64,
}

/// How a server behaves that has much data, or was hurt.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// How long a recovery takes. Meanwhile the collection cannot be read, and what is written to it is lost.
    pub recovery: Duration,
    /// Collections with a shard that a killed recovery has left behind: only another recovery mends them.
    pub dirty: BTreeSet<String>,
}

impl Storage {
    pub fn new(folder: PathBuf) -> Result<Storage> {
        std::fs::create_dir_all(&folder)?;
        Ok(Storage {
            collections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            troubles: Troubles::default(),
            recovering: BTreeMap::new(),
            busiest: 0,
            folder,
            operations: 0,
        })
    }

    /// The collection's own name, behind an alias too.
    pub fn name<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let real = self.aliases.get(name).map_or(name, String::as_str);
        self.collections.contains_key(real).then_some(real)
    }

    pub fn next_operation(&mut self) -> u64 {
        self.operations += 1;
        self.operations
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a snapshot of a node's part of a collection. Two within one second have the same name, as with the real one.
    pub fn snapshot(&self, collection: &str, shard: DemoShard) -> Result<StoredSnapshot> {
        let Some(data) = self.collections.get(collection) else { return Err(Error::other("no such collection")) };
        let now = Clock::System.now();
        let (day, time) = (&now.iso()[..10], &now.iso()[11..19]);
        let name = format!("{collection}-{}-{day}-{}.snapshot", shard.peer(), time.replace(':', "-"));
        let folder = self.folder.join(collection);
        std::fs::create_dir_all(&folder)?;
        let own = data.points.iter().filter(|(id, _)| shard.has(**id)).map(|(id, point)| (*id, point.clone())).collect();
        let bytes = serde_json::to_vec(&Collection { points: own, ..Collection::clone(data) })?;
        let file = folder.join(&name);
        let unfinished = file.with_extension("tmp");
        std::fs::write(&unfinished, &bytes)?;
        std::fs::write(sum_of(&file), sha256(&bytes))?;
        std::fs::rename(&unfinished, &file)?;
        describe(&file)
    }

    pub fn snapshots(&self, collection: &str, shard: DemoShard) -> Vec<StoredSnapshot> {
        let Ok(files) = std::fs::read_dir(self.folder.join(collection)) else { return Vec::new() };
        let mut all: Vec<StoredSnapshot> = files
            .flatten()
            .filter(|f| f.path().extension().is_some_and(|e| e == "snapshot"))
            .filter_map(|f| describe(&f.path()).ok())
            .filter(|found| found.name.contains(&format!("-{}-", shard.peer())))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub fn snapshot_file(&self, collection: &str, name: &str) -> Option<PathBuf> {
        // A name with a path in it is never a snapshot's.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return None;
        }
        Some(self.folder.join(collection).join(name)).filter(|file| file.is_file())
    }
}

/// Where the sum of a snapshot stands: it is taken once, when the snapshot is made, and told from then on.
pub fn sum_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(".checksum");
    name.into()
}

fn describe(file: &Path) -> Result<StoredSnapshot> {
    let about = file.metadata()?;
    let made = about.modified()?.duration_since(std::time::UNIX_EPOCH).map_err(Error::other)?;
    Ok(StoredSnapshot {
        name: file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        creation_time: Stamp(made.as_millis() as i64).iso()[..19].to_string(),
        size: about.len(),
        checksum: std::fs::read_to_string(sum_of(file)).ok(),
    })
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
