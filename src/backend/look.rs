//! What a rollback depends on outside, looked at and not touched: the switch, the versions, what goes with what, the data that
//! would come back and go, and whether the sources are those of this environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::connect;
use super::operations::Operations;
use super::reach::database_options;
use crate::act::infra::snapshot::{
    Fits, Fitting, KeptBeside, MayRestore, ServerRoom, changes_now, check_part, check_size, count_all, fits, kept, list, may_restore,
    newest, next_size, room, server_rooms,
};
use crate::act::infra::{gate, release, traffic};
use crate::base::clock::{Clock, Stamp};
use crate::base::units::short;
use crate::config::Config;
use crate::judge::Verdict;
use crate::observe::source::Mailbox;
use crate::plan::deploy::{Manifest, Matrix, StoreKind, WriteLoss, goes_in_place, of_environment, pick, wrong_environment};
use crate::plan::runbook::{LastGreen, LastGreenFrom, Observation, Release, SnapshotSettings};
use crate::status::{Store, Summary};

/// What was found out besides what the state folder says.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub observed: Option<Observation>,
    pub green: Option<Result<LastGreen, String>>,
    pub running: Option<Result<String, String>>,
    /// What goes with what, by the gates that look at that.
    pub matrices: Vec<Result<Matrix, String>>,
    pub data: Option<DataLooked>,
    /// What was reached that is not what the configuration expects.
    pub mismatches: Vec<String>,
    /// When the versions and the data were looked at.
    pub versions_at: Option<Stamp>,
    pub data_at: Option<Stamp>,
}

/// What to look at besides the switch and the versions: each looks at what the one before it looks at, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookAt {
    Versions,
    /// Whether the data may be brought back. Nothing is counted, no file is read: it may be looked at every minute.
    Standing,
    /// What would be lost.
    Data,
    /// The files, read whole.
    Files,
}

/// After this long nobody knows any more: the thread that looks may hang.
const SEEN: Duration = Duration::from_secs(60);
const DATA_SEEN: Duration = Duration::from_secs(900);
/// How long one question about data may take, and all of them.
const ASKING: Duration = Duration::from_secs(5);
pub const COUNTING: Duration = Duration::from_secs(15);
/// How long whoever knows what was green last may take, however little time there is: without it no code comes back.
const VERSIONS: Duration = Duration::from_secs(5);
/// How long sources may take to say who they are.
const NAMING: Duration = Duration::from_secs(3);

/// Why something was not found as it has to be: it is not so, or nobody here can tell.
#[derive(Clone, Debug)]
pub struct NotFound {
    pub verdict: Verdict,
    pub words: String,
}

impl NotFound {
    fn wrong(words: String) -> NotFound {
        NotFound { verdict: Verdict::Fail, words }
    }

    fn unknown(words: String) -> NotFound {
        NotFound { verdict: Verdict::Unknown, words }
    }
}

/// What was found out about the data that a full rollback would bring back.
#[derive(Clone, Debug)]
pub struct DataLooked {
    /// The snapshot it would go back to.
    pub snapshot: Result<Manifest, NotFound>,
    /// Whether its files are as they were written.
    pub files: Result<FilesSeen, NotFound>,
    pub loss: Option<WriteLoss>,
    pub rights: Vec<(String, Result<MayRestore, NotFound>)>,
    /// What keeps the snapshot from being restored, by database; or what was made after it and would go with it, in place.
    pub fits: Vec<(String, Result<Fitting, NotFound>)>,
    /// The room that is left for a safety snapshot, in bytes, or why there can be none; and how large that would be.
    pub room: Result<u64, String>,
    pub next_size: u64,
    /// The same on the databases' servers, and what is needed there.
    pub server_rooms: Vec<ServerRoom>,
    /// What restores have left beside the live data.
    pub kept: Vec<KeptBeside>,
}

impl DataLooked {
    /// What would keep the data from coming back, in words.
    pub fn against(&self) -> Vec<String> {
        let rights = self.rights.iter().filter_map(|(_, may)| may.as_ref().err());
        let rights = rights.filter(|not| not.verdict == Verdict::Fail).map(|not| not.words.clone());
        let fits = self.fits.iter().filter_map(|(name, fits)| Some((name, fits.as_ref().err()?)));
        let fits = fits.filter(|(_, not)| not.verdict == Verdict::Fail).map(|(name, not)| format!("{name}: {}", not.words));
        rights.chain(fits).collect()
    }
}

/// How closely files were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesSeen {
    /// They are there, and have their sizes.
    Sizes,
    /// They were read, and have their sums.
    Whole,
}

impl Looked {
    /// What is not older than it may be: what was seen once is not known for ever.
    pub fn fresh(mut self, now: Stamp) -> Looked {
        let is_old = |at: Option<Stamp>, most: Duration| at.is_none_or(|at| now.since(at) > most);
        if is_old(self.observed.as_ref().map(|seen| seen.at), SEEN) {
            self.observed = None;
        }
        if is_old(self.versions_at, SEEN) {
            (self.green, self.running) = (None, None);
            self.matrices.clear();
        }
        if is_old(self.data_at, DATA_SEEN) {
            self.data = None;
        }
        self
    }

    /// Whether the versions and the data have been looked at.
    pub fn known(&self) -> (bool, bool) {
        (self.versions_at.is_some(), self.data.is_some())
    }

    /// The snapshot to go back to, and what that would throw away.
    pub fn snapshot(&self, now: Stamp) -> Option<(Manifest, String)> {
        let data = self.data.as_ref()?;
        let manifest = data.snapshot.as_ref().ok()?;
        let asked = self.data_at.map_or_else(String::new, |at| format!("; asked at {}Z", at.iso().get(11..19).unwrap_or_default()));
        let words = data.loss.as_ref().map_or_else(|| "not counted".into(), |loss| loss.words(now) + &asked);
        Some((manifest.clone(), words))
    }
}

impl Operations {
    /// Finds out what is outside.
    pub fn look(&self, runtime: &Runtime, at: LookAt) -> Looked {
        self.look_within(runtime, at, COUNTING)
    }

    /// What was reached that is not what the configuration expects, as a plan says it.
    pub fn wrong_environment(&self, runtime: &Runtime) -> Vec<String> {
        runtime.block_on(look_at_identity(&self.config, NAMING)).iter().map(|words| wrong_environment(words)).collect()
    }

    /// The same for somebody who waits no longer than so for what stores say.
    pub fn look_within(&self, runtime: &Runtime, at: LookAt, most: Duration) -> Looked {
        look(&self.config, runtime, at, most)
    }
}

/// The same where only the configuration is there.
pub fn look(config: &Config, runtime: &Runtime, at: LookAt, most: Duration) -> Looked {
    runtime.block_on(async {
        let release = config.acting.settings.release.as_ref();
        let observed = async {
            let switch = config.acting.settings.switch.as_ref()?;
            let seen = timeout(most, traffic::observe(switch, &Clock::System)).await;
            // Who was asked and does not tell is not one who was not asked.
            let silent = |_| Observation { at: Clock::System.now(), places: vec![("the switch".into(), Err(not_told(most)))] };
            Some(seen.unwrap_or_else(silent))
        };
        let data = async {
            match &config.acting.settings.snapshots {
                Some(settings) if at > LookAt::Versions => Some(look_at_data(settings, &config.environment.name, at, most).await),
                _ => None,
            }
        };
        let (observed, (green, running), matrices, data, mismatches) = tokio::join!(
            observed,
            look_at_release(config, release, most.max(VERSIONS)),
            look_at_matrices(config, most),
            data,
            look_at_identity(config, most)
        );
        let now = Some(Clock::System.now());
        Looked { observed, green, running, matrices, data, mismatches, versions_at: now, data_at: now }
    })
}

fn not_told(within: Duration) -> String {
    format!("not told within {}", short(within))
}

/// Which version was green last by whoever knows, and which runs; neither is waited for longer than so.
pub async fn look_at_release(
    config: &Config,
    release: Option<&Release>,
    most: Duration,
) -> (Option<Result<LastGreen, String>>, Option<Result<String, String>>) {
    let Some(release) = release else { return (None, None) };
    let database = |name: &str| config.sources.get(name).and_then(|source| database_options(&source.kind, source.timeout));
    let green = async {
        if release.last_green == LastGreenFrom::Journal {
            return None;
        }
        timeout(most, release::last_green(release, database)).await.unwrap_or_else(|_| Some(Err(not_told(most))))
    };
    let running = async {
        let told = timeout(most, release::running(release)).await;
        Some(told.map_or_else(|_| Err(not_told(most)), |told| told.map_err(|fault| fault.message)))
    };
    tokio::join!(green, running)
}

/// What the gates know of what goes with what.
pub async fn look_at_matrices(config: &Config, most: Duration) -> Vec<Result<Matrix, String>> {
    let mut all = Vec::new();
    for gate in config.acting.settings.all_gates() {
        for check in &gate.checks {
            all.extend(gate::matrix(&format!("{}/{}", gate.name, check.name), &check.kind, most).await);
        }
    }
    all
}

/// What sources say they are, against what the configuration expects. They are asked nothing else; who does not say it in time is
/// no mismatch.
async fn look_at_identity(config: &Config, most: Duration) -> Vec<String> {
    if config.environment.expect.is_empty() {
        return Vec::new();
    }
    let mut asking = config.clone();
    asking.signals.clear();
    asking.rules.clear();
    asking.objectives.clear();
    let mailbox = Arc::new(Mailbox::default());
    let Ok(poller) = connect(&asking, &Handle::current(), Duration::ZERO, mailbox.clone()) else { return Vec::new() };
    let mut store = Store::new(&asking);
    let deadline = Instant::now() + most.min(NAMING);
    while !store.all_identified(&asking) && timeout_at(deadline, mailbox.rung()).await.is_ok() {
        store.apply(&asking, mailbox.take(), Clock::System.now());
    }
    poller.end().await;
    Summary::new(&asking, &store, Clock::System.now()).mismatches
}

/// The snapshot to go back to.
pub fn chosen(settings: &SnapshotSettings, environment: &str) -> Result<Manifest, NotFound> {
    let (all, wrong) = list(&settings.folder);
    let all = of_environment(all, environment);
    let picked = pick(&all, "golden").or_else(|_| pick(&all, "latest")).cloned();
    // What may not be read is not missing.
    picked.map_err(|why| match wrong.first() {
        None => NotFound::wrong(why),
        Some(wrong) => NotFound::unknown(format!("cannot be read here: {wrong}")),
    })
}

/// What going back would take and cost, as far as is asked.
pub async fn look_at_data(settings: &SnapshotSettings, environment: &str, at: LookAt, most: Duration) -> DataLooked {
    let snapshot = chosen(settings, environment);
    // It is only looked, beside an application that is at work: a large table is not counted at any price.
    let asking = SnapshotSettings { timeout: ASKING.min(most), ..settings.clone() };
    let listed = async {
        match &snapshot {
            Ok(manifest) if at < LookAt::Files => look_at_sizes(settings, manifest, most).await,
            _ => Ok(FilesSeen::Sizes),
        }
    };
    let loss = async {
        match &snapshot {
            Ok(manifest) if at >= LookAt::Data => Some(look_at_loss(&asking, manifest, most).await),
            _ => None,
        }
    };
    let fits = async {
        let Ok(manifest) = &snapshot else { return Vec::new() };
        let Ok(looked) = timeout(most, fits(&asking, manifest)).await else {
            return vec![("databases".to_string(), Err(NotFound::unknown(not_told(most))))];
        };
        let told = |fits: Result<Fits, String>| fits.map_err(NotFound::unknown)?.map_err(NotFound::wrong);
        looked.into_iter().map(|(name, fits)| (name, told(fits))).collect()
    };
    // All at once: one that hangs is not waited for by the others.
    let (listed, loss, fits, rights, rooms, kept) = tokio::join!(
        listed,
        loss,
        fits,
        timeout(most, may_restore(&asking)),
        timeout(most, server_rooms(&asking)),
        timeout(most, kept(&asking))
    );
    // What reads whole files hears nothing meanwhile: nobody is to wait for it in vain.
    let files = match &snapshot {
        Ok(manifest) if at == LookAt::Files => look_at_files(settings, manifest).await,
        _ => listed,
    };
    let rights = match rights {
        Ok(told) => told.into_iter().map(|(name, may)| (name, may.map_err(NotFound::wrong))).collect(),
        Err(_) => vec![("to restore".into(), Err(NotFound::unknown(not_told(most))))],
    };
    let server_rooms = rooms.unwrap_or_else(|_| vec![("databases".into(), Err(not_told(most)))]);
    DataLooked {
        snapshot,
        files,
        loss,
        rights,
        fits,
        room: room(settings),
        next_size: next_size(settings, environment),
        server_rooms,
        kept: kept.unwrap_or_default(),
    }
}

/// The files of a snapshot, read whole.
async fn look_at_files(settings: &SnapshotSettings, manifest: &Manifest) -> Result<FilesSeen, NotFound> {
    for part in &manifest.parts {
        check_part(settings, manifest, part).await.map_err(|fault| NotFound::wrong(fault.message))?;
    }
    Ok(FilesSeen::Whole)
}

/// The same without reading them. What a program keeps is its own to check, which may take long.
async fn look_at_sizes(settings: &SnapshotSettings, manifest: &Manifest, most: Duration) -> Result<FilesSeen, NotFound> {
    for part in manifest.parts.iter().filter(|part| part.kind != StoreKind::Program) {
        if part.kind == StoreKind::Qdrant && !part.local {
            let listed = timeout(most.min(ASKING), check_part(settings, manifest, part)).await;
            let silent = |_| Err(NotFound::unknown(format!("{} does not say whether it has its snapshot", part.store)));
            listed.map_or_else(silent, |checked| checked.map(drop).map_err(|fault| NotFound::wrong(fault.message)))?;
        } else {
            check_size(settings, manifest, part).map_err(NotFound::wrong)?;
        }
    }
    Ok(FilesSeen::Sizes)
}

/// What was written since a snapshot.
async fn look_at_loss(asking: &SnapshotSettings, manifest: &Manifest, most: Duration) -> WriteLoss {
    let (counted, changes) = tokio::join!(timeout(most, count_all(asking)), timeout(most, changes_now(asking)));
    let (mut now, mut unknown): (BTreeMap<String, BTreeMap<String, u64>>, _) = (BTreeMap::new(), Vec::new());
    let counted = counted.unwrap_or_else(|_| {
        let why = format!("not counted within {}", short(most));
        manifest.parts.iter().map(|part| (part.counted_as().to_string(), Err(why.clone()))).collect()
    });
    for (name, counted) in counted {
        match counted {
            Ok(counts) => drop(now.insert(name, counts)),
            Err(why) => unknown.push(format!("{name}: {why}")),
        }
    }
    let mut changes = changes.unwrap_or_default();
    for part in manifest.parts.iter().filter(|part| part.kind == StoreKind::Postgres && part.kind.is_in_place(asking)) {
        if let Some(counts) = now.get_mut(part.counted_as()) {
            counts.retain(|name, _| goes_in_place(part, &asking.counts, name));
        }
        if let Some(changes) = changes.get_mut(&part.store) {
            changes.rows.retain(|name, _| goes_in_place(part, &asking.counts, name));
        }
    }
    let mut lost = WriteLoss::between(manifest, &now, unknown).with_changes(manifest, &now, &changes);
    // It only helps to recognize what would be lost; whoever could not count is not asked for it.
    if lost.unknown.is_empty() {
        lost.newest = timeout(most, newest(asking, manifest, &lost)).await.unwrap_or_default();
    }
    lost
}
