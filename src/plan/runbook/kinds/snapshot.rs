//! `snapshot`, `restore`, `verify`: the data taken together, brought back, and looked at against what it was.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, Misfit, Names, Section, SectionSettings, StepKind, Uses};
use crate::base::endpoint::{DatabaseOptions, Endpoint};
use crate::base::secret::SecretRef;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::template::{self, Fill};

/// What is taken together, where it goes, and how it comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotSettings {
    pub folder: PathBuf,
    /// The runbook that stops what writes while a snapshot is taken or brought back.
    #[serde(default)]
    pub hold: Option<String>,
    /// A program that prints how many bytes are free on the databases' server.
    #[serde(default)]
    pub server_room: Vec<String>,
    pub databases: Vec<DatabaseStore>,
    /// The nodes of a Qdrant cluster, or the one there is.
    pub nodes: Vec<NodeStore>,
    pub collections: Vec<String>,
    pub programs: Vec<ProgramStore>,
    /// Where the server keeps its snapshots; learnt from it where that is not said.
    pub server_folder: Option<String>,
    /// Whether the snapshots of collections are copied here, too.
    pub download: bool,
    pub keep: usize,
    #[serde(default, with = "millis::maybe")]
    pub keep_for: Option<Duration>,
    /// From which age on the newest is too old to go back to.
    #[serde(with = "millis")]
    pub max_age: Duration,
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Counts besides those of every table: a name and a query that gives labels and numbers.
    pub counts: Vec<(String, String)>,
    /// How many stored points are asked for their neighbours.
    pub probes: usize,
    pub restore_database: DatabaseStrategy,
    pub restore_collection: CollectionStrategy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseStore {
    pub name: String,
    pub options: DatabaseOptions,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStore {
    pub name: String,
    pub endpoint: Endpoint,
}

/// A store of somebody's own: programs with their arguments that speak JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramStore {
    pub name: String,
    pub create: Vec<String>,
    pub verify: Vec<String>,
    pub restore: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseStrategy {
    /// Into a new database beside it, and then their names are changed.
    #[default]
    Swap,
    InPlace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectionStrategy {
    /// Into a new collection, and then the alias is switched.
    #[default]
    Alias,
    InPlace,
}

impl SnapshotSettings {
    /// What they are taken of.
    pub fn what(&self) -> String {
        let databases = self.databases.iter().map(|store| store.name.as_str());
        let programs = self.programs.iter().map(|store| store.name.as_str());
        databases.chain(self.collections.iter().map(String::as_str)).chain(programs).collect::<Vec<_>>().join(", ")
    }

    /// What is restored where it is, so that only a safety snapshot has what there was.
    pub fn in_place(&self) -> Vec<&str> {
        let databases = self.databases.iter().filter(|store| self.is_in_place(store)).map(|store| store.name.as_str());
        let collections = self.collections.iter().filter(|_| self.restore_collection == CollectionStrategy::InPlace);
        databases.chain(collections.map(String::as_str)).collect()
    }

    fn is_in_place(&self, store: &DatabaseStore) -> bool {
        self.restore_database == DatabaseStrategy::InPlace || store.options.is_sqlite()
    }

    /// Whether all of that is restored where it is.
    pub fn is_all_in_place(&self, what: RestoreWhat) -> bool {
        let databases = self.databases.iter().all(|store| self.is_in_place(store));
        let collections = self.restore_collection == CollectionStrategy::InPlace || self.collections.is_empty();
        match what {
            RestoreWhat::All => databases && collections,
            RestoreWhat::Databases => databases,
            RestoreWhat::Collections => collections,
            RestoreWhat::Programs => true,
        }
    }

    /// What it means that there is no safety snapshot, by how everything comes back.
    pub fn without_safety(&self) -> String {
        let in_place: Vec<&str> = self.in_place().into_iter().chain(self.programs.iter().map(|store| store.name.as_str())).collect();
        match in_place.as_slice() {
            [] => "what is there now is kept beside what is restored, and can be taken back all the same".into(),
            names => format!("what is there now of {} is gone for good: it is restored in place", names.join(", ")),
        }
    }

    /// How one comes back, as far as that is wanted.
    fn how(&self, what: RestoreWhat) -> String {
        let wants = |one| [RestoreWhat::All, one].contains(&what);
        let databases = match self.restore_database {
            DatabaseStrategy::Swap => "databases beside the live ones, then the names are changed",
            DatabaseStrategy::InPlace => "databases in place",
        };
        let collections = match self.restore_collection {
            CollectionStrategy::Alias => "collections beside the live ones, then the alias is switched",
            CollectionStrategy::InPlace => "collections in place",
        };
        let ways = [
            (wants(RestoreWhat::Databases) && !self.databases.is_empty(), databases),
            (wants(RestoreWhat::Collections) && !self.collections.is_empty(), collections),
            (wants(RestoreWhat::Programs) && !self.programs.is_empty(), "by the programs' own ways"),
        ];
        let ways: Vec<&str> = ways.into_iter().filter_map(|(has, way)| has.then_some(way)).collect();
        if ways.is_empty() { "there are none".into() } else { ways.join("; ") }
    }
}

impl SectionSettings for SnapshotSettings {
    fn secrets(&self) -> Vec<&SecretRef> {
        let databases = self.databases.iter().filter_map(|store| store.options.password.as_ref());
        databases.chain(self.nodes.iter().flat_map(|node| node.endpoint.secrets())).collect()
    }
}

fn uses() -> Uses {
    Uses::section(Section::Snapshots)
}

/// What the configuration says of snapshots; where it says nothing, that is reported.
fn settings(names: &mut dyn Names) -> Option<SnapshotSettings> {
    let settings = names.settings().snapshots.clone();
    if settings.is_none() {
        let hint = "add [snapshots] with databases = [\"NAME\"] and collections = [\"NAME\"] to the configuration";
        names.wrong("nothing says what a snapshot is taken of".into(), Some(hint.into()));
    }
    settings
}

/// Hours: whoever copies a large database knows that it takes long.
const LONG: Duration = Duration::from_secs(6 * 3600);

/// Everything that the configuration takes together, taken now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotStep {
    /// Why it is known to be good, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Taken before something is brought back: it is never gone back to unless somebody names it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub safety: bool,
    /// What is taken, once that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// What it means that it is left out, once that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub without: String,
    /// Without it, it looks whether this very step has taken one already.
    pub mutates: bool,
}

impl StepKind for SnapshotStep {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<SnapshotStep> {
        let golden = f.string(r, "golden");
        let (note, safety) = (f.string(r, "note").unwrap_or_default(), f.flag(r, "safety").unwrap_or(false));
        Some(SnapshotStep { golden, note, safety, mutates: true, ..SnapshotStep::default() })
    }

    fn describe(&self) -> String {
        match self.mutates {
            true => format!("snapshot of {}", if self.what.is_empty() { "everything" } else { &self.what }),
            false => "a snapshot of this step is there".into(),
        }
    }

    fn mutates(&self) -> bool {
        self.mutates
    }

    /// One that nobody saw end has no manifest, and is no snapshot.
    fn is_idempotent(&self) -> bool {
        true
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(LONG)
    }

    fn fill(&mut self, fill: &mut Fill) {
        self.golden.iter_mut().for_each(|golden| fill.text(golden));
        fill.text(&mut self.note);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        let Some(settings) = settings(names) else { return };
        self.what = settings.what();
        self.without = if self.safety { settings.without_safety() } else { String::new() };
    }

    fn uses(&self) -> Uses {
        uses()
    }

    fn own_probe(&self) -> Option<Kind> {
        self.mutates.then(|| Kind::Snapshot(SnapshotStep { mutates: false, ..self.clone() }))
    }

    fn left_out(&self) -> Option<&str> {
        Some(self.without.as_str()).filter(|means| !means.is_empty())
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("a snapshot takes nothing back".into(), None))
    }
}

/// Which of the parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreWhat {
    #[default]
    All,
    Databases,
    Collections,
    Programs,
}

impl RestoreWhat {
    const WORDS: [(&'static str, RestoreWhat); 4] = [
        ("all", RestoreWhat::All),
        ("databases", RestoreWhat::Databases),
        ("collections", RestoreWhat::Collections),
        ("programs", RestoreWhat::Programs),
    ];

    fn word(self) -> &'static str {
        RestoreWhat::WORDS.iter().find(|(_, what)| *what == self).map_or("", |(word, _)| word)
    }
}

/// Data brought back from a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreStep {
    /// Its id; `latest` and `golden` become one when it is planned.
    pub snapshot: String,
    #[serde(default)]
    pub what: RestoreWhat,
    /// How it will be done, once that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub how: String,
    /// The way back, to what there was before: this step, or `RUN/STEP` of another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
    /// The run whose restoring that had taken back: what it restored gets the names again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub again: String,
}

/// The step itself.
const OWN: &str = "";

impl StepKind for RestoreStep {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<RestoreStep> {
        let snapshot = f.required(r, "snapshot", "golden, latest, or an id")?;
        let what = f.choice(r, "what", &RestoreWhat::WORDS).unwrap_or_default();
        let (back, again) = (f.string(r, "back"), f.string(r, "again").unwrap_or_default());
        Some(RestoreStep { snapshot: snapshot.text, what, how: String::new(), back, again })
    }

    fn describe(&self) -> String {
        let how = if self.how.is_empty() { String::new() } else { format!(": {}", self.how) };
        let what = match self.what {
            RestoreWhat::All => String::new(),
            what => format!("{} ", what.word()),
        };
        match self.back.as_deref() {
            Some(_) if !self.again.is_empty() => format!("{what}back to what run {} had restored", self.again),
            Some(OWN) => format!("{what}back to what there was before"),
            Some(of) => format!("{what}back to what there was before {of}"),
            None => format!("restore {what}from {}{how}", self.snapshot),
        }
    }

    fn mutates(&self) -> bool {
        true
    }

    /// It looks how far it is, and goes on from there.
    fn is_idempotent(&self) -> bool {
        true
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(LONG)
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.snapshot);
        self.back.iter_mut().for_each(|back| fill.text(back));
        fill.text(&mut self.again);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        let Some(settings) = settings(names).filter(|_| !template::is_template(&self.snapshot)) else { return };
        if let Some(id) = names.snapshot(&self.snapshot) {
            (self.how, self.snapshot) = (settings.how(self.what), id);
        }
    }

    fn uses(&self) -> Uses {
        uses()
    }

    fn left_out(&self) -> Option<&str> {
        Some("these data stay as they are now, whatever else comes back")
    }

    fn own_undo(&self) -> Option<Kind> {
        self.back.is_none().then(|| Kind::Restore(RestoreStep { back: Some(OWN.into()), how: String::new(), ..self.clone() }))
    }
}

/// The data as it is, against what it was in a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifyStep {
    pub snapshot: String,
    /// Its files, instead of the live data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub files: bool,
}

impl StepKind for VerifyStep {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<VerifyStep> {
        let snapshot = f.required(r, "snapshot", "golden, latest, or an id")?;
        Some(VerifyStep { snapshot: snapshot.text, files: f.flag(r, "files").unwrap_or(false) })
    }

    fn describe(&self) -> String {
        match self.files {
            true => format!("files of {}: size, sha256, readable", self.snapshot),
            false => format!("counts and probe queries are those of {}", self.snapshot),
        }
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(LONG)
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.snapshot);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        if settings(names).is_some() && !template::is_template(&self.snapshot) {
            self.snapshot = names.snapshot(&self.snapshot).unwrap_or_else(|| self.snapshot.clone());
        }
    }

    fn uses(&self) -> Uses {
        uses()
    }

    fn validates(&self) -> bool {
        true
    }

    fn left_out(&self) -> Option<&str> {
        self.files.then_some("nobody has seen that what comes back is whole")
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), None))
    }
}
