//! Whether a rollback would work right now: what it depends on is looked at and nothing is touched, and each thing has its
//! word, its reason and the command that mends it.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::operations::Operations;
use super::reach::database_options;
use super::rollback::{RollbackRequest, chosen, matrix_item};
use crate::act::infra::snapshot::{ServerRoom, changes_now, check_part, count_all, may_restore, newest, room, server_rooms};
use crate::act::infra::{gate, release};
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::config::Config;
use crate::judge::Verdict;
use crate::plan::deploy::{Manifest, Matrix, Readiness, ReadinessItem, Scope, WriteLoss, improvements};
use crate::plan::runbook::{LastGreen, LastGreenFrom, Observation, Occasion, Release, SnapshotSettings};
use crate::status::RunStatus;

/// After this long without a drill nobody knows any more whether it works.
const REHEARSED: Duration = Duration::from_secs(35 * 86400);

/// What was found out besides what the state folder says.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub observed: Option<Observation>,
    pub green: Option<Result<LastGreen, String>>,
    pub running: Option<Result<String, String>>,
    /// What goes with what, by the gates that look at that.
    pub matrices: Vec<Result<Matrix, String>>,
    pub data: Option<DataLooked>,
    /// When the versions and the data were looked at.
    pub versions_at: Option<Stamp>,
    pub data_at: Option<Stamp>,
}

/// What to look at besides the switch and the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAt {
    Versions,
    /// What would be lost, and whether it may be brought back.
    Data,
    /// That, and the files, read whole.
    Files,
}

/// After this long nobody knows any more: the thread that looks may hang.
const SEEN: Duration = Duration::from_secs(60);
const DATA_SEEN: Duration = Duration::from_secs(900);
/// How long one question about data may take, and all of them.
const ASKING: Duration = Duration::from_secs(5);
const COUNTING: Duration = Duration::from_secs(15);

/// What was found out about the data that a full rollback would bring back.
#[derive(Clone, Debug)]
pub struct DataLooked {
    /// The snapshot it would go back to.
    pub snapshot: Result<Manifest, String>,
    /// Whether its files are as they were written, and readable.
    pub files: Result<(), String>,
    pub loss: Option<WriteLoss>,
    pub rights: Vec<(String, Result<String, String>)>,
    /// The room that is left for a safety snapshot, in bytes.
    pub room: Option<u64>,
    /// The same on the databases' servers, and what is needed there.
    pub server_rooms: Vec<ServerRoom>,
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

    /// The snapshot to go back to, and what that would throw away.
    pub fn snapshot(&self, now: Stamp) -> Option<(String, String)> {
        let data = self.data.as_ref()?;
        let manifest = data.snapshot.as_ref().ok()?;
        let counted = self.data_at.map_or_else(String::new, |at| format!("; counted at {}Z", at.iso().get(11..19).unwrap_or_default()));
        let words = data.loss.as_ref().map_or_else(|| "not counted".into(), |loss| loss.words(now) + &counted);
        Some((manifest.id.clone(), words))
    }
}

/// The room that the record of a run takes at most, as a rule.
const RECORD: u64 = 1 << 20;

impl Operations {
    /// Finds out what is outside: which version was green last, and which runs.
    pub fn look(&self, runtime: &Runtime, at: LookAt) -> Looked {
        let config = self.config.clone();
        runtime.block_on(async {
            let release = config.acting.settings.release.as_ref();
            let observed = async {
                match &config.acting.settings.switch {
                    Some(switch) => Some(crate::act::infra::traffic::observe(switch, &crate::base::clock::Clock::System).await),
                    None => None,
                }
            };
            let data = async {
                match &config.acting.settings.snapshots {
                    Some(settings) if at != LookAt::Versions => {
                        Some(look_at_data(settings, &config.environment.name, at == LookAt::Files).await)
                    }
                    _ => None,
                }
            };
            let (observed, (green, running), matrices, data) =
                tokio::join!(observed, look_at_release(&config, release), look_at_matrices(&config), data);
            let now = Some(crate::base::clock::Clock::System.now());
            Looked { observed, green, running, matrices, data, versions_at: now, data_at: now }
        })
    }

    /// Whether a rollback would work now. Nothing is touched.
    pub fn readiness(&mut self, looked: &Looked) -> Readiness {
        let mut items = vec![switch_item(&self.config, looked), self.record_item()];
        for scope in Scope::ALL {
            items.push(self.plan_item(scope, looked));
        }
        items.extend(self.release_items(looked));
        items.extend(
            self.config.acting.settings.snapshots.as_ref().map(|settings| data_items(settings, looked, self.now())).unwrap_or_default(),
        );
        items.push(notices_item(&self.config));
        items.push(self.drill_item());
        let expected = Scope::ALL.into_iter().filter_map(|scope| Some((scope, self.took(scope)?))).collect();
        Readiness { at: Some(self.now()), items, expected }
    }

    fn plan_item(&mut self, scope: Scope, looked: &Looked) -> ReadinessItem {
        let scopes = vec![scope];
        let what = format!("plan of {}", scope.word());
        let request = RollbackRequest { green: looked.green.clone(), snapshot: looked.snapshot(self.now()), ..RollbackRequest::default() };
        match self.plan_rollback(scope, request) {
            Ok(plan) => {
                let missing: Vec<&String> =
                    plan.content.warnings.iter().filter(|warning| warning.starts_with("a secret is missing")).collect();
                match missing.as_slice() {
                    [] => {
                        let steps = plan.content.steps.len();
                        ReadinessItem { what, verdict: Verdict::Pass, words: format!("{steps} steps"), scopes, mend: None }
                    }
                    [first, ..] => {
                        let mend = Some("set it where lastgreen is started".into());
                        ReadinessItem { what, verdict: Verdict::Fail, words: (*first).clone(), scopes, mend }
                    }
                }
            }
            Err(why) => {
                let words = why.words().lines().next().unwrap_or("").to_string();
                let mend = Some(format!("lastgreen rollback --scope {} --dry-run says all of it", scope.word()));
                // Before anybody has looked nothing is known of it.
                let verdict = if scope != Scope::Traffic && looked.versions_at.is_none() { Verdict::Unknown } else { Verdict::Fail };
                ReadinessItem { what, verdict, words, scopes, mend }
            }
        }
    }

    fn release_items(&mut self, looked: &Looked) -> Vec<ReadinessItem> {
        if self.config.acting.settings.release.is_none() {
            return Vec::new();
        }
        let scopes = vec![Scope::Code, Scope::Full];
        let green = self.green(looked.green.clone());
        let now = self.now();
        let runs = looked.running.as_ref().and_then(|running| running.as_ref().ok());
        let version = green.as_ref().and_then(|green| green.as_ref().ok()).map(|green| green.version.clone());
        let age = |green: &LastGreen| green.at.map_or_else(String::new, |at| format!(", {} ago", short(now.since(at))));
        let green = match green {
            Some(Ok(green)) if runs == Some(&green.version) => {
                (Verdict::Pass, format!("{}{}: it is what runs, code stays as it is", green.version, age(&green)), None)
            }
            Some(Ok(green)) => (Verdict::Pass, format!("{}{}", green.version, age(&green)), None),
            Some(Err(why)) => {
                let mend = "[release] last_green prints {\"version\": \"v1\", \"at\": \"2026-01-31T02:40:00Z\", \"verdict\": \"green\"}";
                (Verdict::Unknown, why, Some(mend.to_string()))
            }
            None => (
                Verdict::Fail,
                "no version was ever green here".into(),
                Some("bring one out by a run, or say in [release] who knows".into()),
            ),
        };
        let running = match &looked.running {
            Some(Ok(version)) => (Verdict::Pass, format!("{version} runs"), None),
            Some(Err(why)) => (Verdict::Unknown, why.clone(), None),
            None => (Verdict::Unknown, "not looked at yet".into(), None),
        };
        let item = |what: &str, (verdict, words, mend)| ReadinessItem { what: what.into(), verdict, words, scopes: scopes.clone(), mend };
        let matrices = looked.matrices.iter().filter_map(|matrix| Some(matrix_item(matrix, version.as_deref()?)));
        let matrices: Vec<ReadinessItem> = matrices.collect();
        [item("last green", green), item("version", running)].into_iter().chain(matrices).collect()
    }

    /// Whether there is room for the record of a run: without any, that of an emergency is kept in memory only.
    fn record_item(&self) -> ReadinessItem {
        let bytes = |n: u64| bytesize::ByteSize(n).display().iec().to_string();
        let state = match self.homeless() {
            Some(why) => Err(why),
            None => self.state().map_err(|e| e.words().to_string()),
        };
        let free = state.and_then(|state| {
            let told = rustix::fs::statvfs(state.runs()).map_err(|e| format!("{}: {e}", state.runs().display()))?;
            Ok((told.f_bavail.saturating_mul(told.f_frsize), state.runs()))
        });
        let (verdict, words) = match free {
            Ok((free, _)) if free >= RECORD => (Verdict::Pass, format!("{} free", bytes(free))),
            Ok((free, folder)) => {
                (Verdict::Warn, format!("{} free in {}, it takes up to {}", bytes(free), folder.display(), bytes(RECORD)))
            }
            Err(why) => (Verdict::Warn, why),
        };
        let mend = (verdict != Verdict::Pass).then(|| "make room there, or set another state_dir".to_string());
        ReadinessItem { what: "room for the record".into(), verdict, words, scopes: Vec::new(), mend }
    }

    /// When a rollback was tried out last.
    fn drill_item(&mut self) -> ReadinessItem {
        let targets: Vec<String> = self.config.targets.values().map(|target| target.environment.name.clone()).collect();
        let runs = self.runs();
        let drill = runs.iter().find(|run| {
            let c = &run.plan.content;
            c.drill && targets.contains(&c.environment.name) && Scope::of(&c.runbook).is_some() && run.status() == RunStatus::Done
        });
        let mend = Some("lastgreen rollback --drill".to_string());
        let (verdict, words) = match drill.and_then(|run| run.run.ended) {
            Some(at) if self.now().since(at) <= REHEARSED => {
                let improve = drill.map_or(0, |run| improvements(&run.plan, &run.run).len());
                let more = if improve == 0 { String::new() } else { format!("; {improve} to improve: lastgreen runs ID") };
                (Verdict::Pass, format!("{} ago{more}", short(self.now().since(at))))
            }
            Some(at) => (Verdict::Warn, format!("{} ago, which is long", short(self.now().since(at)))),
            None if targets.is_empty() => (Verdict::Warn, "there is no [targets.NAME] to try it out on".into()),
            None => (Verdict::Warn, "it was never tried out".into()),
        };
        let mend = mend.filter(|_| verdict != Verdict::Pass);
        ReadinessItem { what: "last drill".into(), verdict, words, scopes: Vec::new(), mend }
    }

    /// How long a scope took when it was done last, here or as a drill.
    fn took(&mut self, scope: Scope) -> Option<Duration> {
        let names: Vec<String> = std::iter::once(self.config.environment.name.clone())
            .chain(self.config.targets.values().map(|target| target.environment.name.clone()))
            .collect();
        let runs = self.runs();
        let last = runs.iter().find(|run| {
            let c = &run.plan.content;
            c.runbook == scope.runbook() && names.contains(&c.environment.name) && run.status() == RunStatus::Done
        })?;
        Some(last.elapsed(self.now()))
    }
}

/// Which version was green last by whoever knows, and which runs.
pub async fn look_at_release(
    config: &Config,
    release: Option<&Release>,
) -> (Option<Result<LastGreen, String>>, Option<Result<String, String>>) {
    let Some(release) = release else { return (None, None) };
    let database = |name: &str| config.sources.get(name).and_then(|source| database_options(&source.kind, source.timeout));
    let green = async { if release.last_green == LastGreenFrom::Journal { None } else { release::last_green(release, database).await } };
    let running = async { Some(release::running(release).await.map_err(|fault| fault.message)) };
    tokio::join!(green, running)
}

/// What the gates know of what goes with what.
pub async fn look_at_matrices(config: &Config) -> Vec<Result<Matrix, String>> {
    let mut all = Vec::new();
    for gate in config.acting.settings.all_gates() {
        for check in &gate.checks {
            all.extend(gate::matrix(&format!("{}/{}", gate.name, check.name), &check.kind, COUNTING).await);
        }
    }
    all
}

/// What going back would take and cost. With `files`, the files are read whole.
pub async fn look_at_data(settings: &SnapshotSettings, environment: &str, files: bool) -> DataLooked {
    let snapshot = chosen(settings, environment);
    // It is only looked, beside an application that is at work: a large table is not counted at any price.
    let asking = SnapshotSettings { timeout: ASKING, ..settings.clone() };
    let (mut checked, mut loss) = (Ok(()), None);
    // All at once: one that hangs is not waited for by the others.
    let within = |time: Duration| format!("not told within {}", short(time));
    let (counted, changes, rights, rooms) = tokio::join!(
        tokio::time::timeout(COUNTING, count_all(&asking)),
        tokio::time::timeout(COUNTING, changes_now(&asking)),
        tokio::time::timeout(COUNTING, may_restore(&asking)),
        tokio::time::timeout(COUNTING, server_rooms(&asking)),
    );
    if let Ok(manifest) = &snapshot {
        for part in manifest.parts.iter().filter(|_| files) {
            if let Err(fault) = check_part(settings, manifest, part).await {
                checked = Err(fault.message);
            }
        }
        let (mut now, mut unknown) = (std::collections::BTreeMap::new(), Vec::new());
        let counted = counted.unwrap_or_else(|_| {
            let why = format!("not counted within {}", short(COUNTING));
            manifest.parts.iter().map(|part| (part.counted_as().to_string(), Err(why.clone()))).collect()
        });
        for (name, counted) in counted {
            match counted {
                Ok(counts) => drop(now.insert(name, counts)),
                Err(why) => unknown.push(format!("{name}: {why}")),
            }
        }
        let mut lost = WriteLoss::between(manifest, &now, unknown).with_changes(manifest, &now, &changes.unwrap_or_default());
        // It only helps to recognize what would be lost; whoever could not count is not asked for it.
        if lost.unknown.is_empty() {
            lost.newest = tokio::time::timeout(COUNTING, newest(&asking, manifest, &lost)).await.unwrap_or_default();
        }
        loss = Some(lost);
    }
    let rights = rights.unwrap_or_else(|_| vec![("to restore".into(), Err(within(COUNTING)))]);
    let server_rooms = rooms.unwrap_or_else(|_| vec![("databases".into(), Err(within(COUNTING)))]);
    DataLooked { snapshot, files: checked, loss, rights, room: room(settings), server_rooms }
}

fn data_items(settings: &SnapshotSettings, looked: &Looked, now: Stamp) -> Vec<ReadinessItem> {
    let item = |what: &str, verdict, words: String, mend: Option<&str>| {
        let mend = mend.filter(|_| verdict != Verdict::Pass).map(str::to_string);
        ReadinessItem { what: what.into(), verdict, words, scopes: vec![Scope::Full], mend }
    };
    let Some(data) = &looked.data else { return vec![item("snapshot", Verdict::Unknown, "not looked at yet".into(), None)] };
    let manifest = match &data.snapshot {
        Ok(manifest) => manifest,
        Err(why) => return vec![item("snapshot", Verdict::Fail, why.clone(), Some("lastgreen snapshot create"))],
    };
    let age = now.since(manifest.at);
    let golden = if manifest.golden.is_some() { "golden" } else { "none is golden, this is the newest" };
    let words = format!("{} ({golden}), {} ago", manifest.id, short(age));
    let mut items = vec![match (age > settings.max_age, manifest.golden.is_some()) {
        // It can be gone back to, and that loses much.
        (true, _) => {
            ReadinessItem { scopes: Vec::new(), ..item("snapshot", Verdict::Warn, words, Some("lastgreen snapshot create --golden WHY")) }
        }
        (false, false) => {
            ReadinessItem { scopes: Vec::new(), ..item("snapshot", Verdict::Warn, words, Some("lastgreen snapshot golden ID --why TEXT")) }
        }
        (false, true) => item("snapshot", Verdict::Pass, words, None),
    }];
    items.push(match &data.files {
        Ok(()) => item("its files", Verdict::Pass, "size and sum as they were written".into(), None),
        Err(why) => item("its files", Verdict::Fail, why.clone(), Some("mark another one golden")),
    });
    for (name, may) in &data.rights {
        items.push(match may {
            Ok(words) => item(&format!("rights {name}"), Verdict::Pass, words.clone(), None),
            Err(why) => item(&format!("rights {name}"), Verdict::Fail, why.clone(), None),
        });
    }
    let bytes = |n: u64| bytesize::ByteSize(n).display().iec().to_string();
    items.push(match data.room {
        Some(room) if room > manifest.size().saturating_mul(2) => item("room", Verdict::Pass, format!("{} free", bytes(room)), None),
        Some(room) => {
            let words = format!("{} free for a safety snapshot of about {}", bytes(room), bytes(manifest.size()));
            item("room", Verdict::Fail, words, Some("make room, or set another folder in [snapshots]"))
        }
        None => item("room", Verdict::Unknown, "how much is free cannot be told".into(), None),
    });
    for (name, told) in &data.server_rooms {
        let what = format!("room for {name}");
        items.push(match told {
            Ok((free, needed)) if *free > needed.saturating_add(needed / 5) => {
                item(&what, Verdict::Pass, format!("{} free on its server, {} needed", bytes(*free), bytes(*needed)), None)
            }
            Ok((free, needed)) => {
                let words = format!("{} free on its server, and it takes {} besides the live one", bytes(*free), bytes(*needed));
                item(&what, Verdict::Fail, words, Some("make room there"))
            }
            // It may be there: whoever rolls back is told that nobody has looked.
            Err(why) => {
                let mend =
                    Some("[snapshots] server_room = [\"ssh\", \"db\", \"df\", \"-B1\", \"--output=avail\", \"/var/lib/postgresql\"]");
                ReadinessItem { scopes: Vec::new(), ..item(&what, Verdict::Warn, why.clone(), mend) }
            }
        });
    }
    if let Some(loss) = &data.loss {
        let verdict = if loss.unknown.is_empty() { Verdict::Pass } else { Verdict::Warn };
        items.push(ReadinessItem { scopes: Vec::new(), ..item("would lose", verdict, loss.words(now), None) });
    }
    items
}

fn switch_item(config: &Config, looked: &Looked) -> ReadinessItem {
    let what = "traffic switch".to_string();
    let scopes = Scope::ALL.to_vec();
    if config.acting.settings.switch.is_none() {
        let mend = Some("add [traffic] to the configuration".into());
        return ReadinessItem { what, verdict: Verdict::Fail, words: "there is none".into(), scopes, mend };
    }
    let (verdict, words) = match looked.observed.as_ref().map(|seen| (seen, seen.weight())) {
        Some((seen, Ok(_))) => (Verdict::Pass, format!("answers: canary {}", seen.words())),
        Some((_, Err(why))) => (Verdict::Unknown, why),
        None => (Verdict::Unknown, "not looked at yet".into()),
    };
    ReadinessItem { what, verdict, words, scopes, mend: None }
}

fn notices_item(config: &Config) -> ReadinessItem {
    let told =
        config.acting.always.iter().filter(|notice| notice.events.iter().any(|e| matches!(e, Occasion::Success | Occasion::Failure)));
    let names: Vec<&str> = told.map(|notice| notice.name.as_str()).collect();
    let (verdict, words, mend) = match names.as_slice() {
        [] => (
            Verdict::Warn,
            "nobody is told".to_string(),
            Some("add [notify.NAME] with events = [\"start\", \"success\", \"failure\"]".into()),
        ),
        some => (Verdict::Pass, some.join(", "), None),
    };
    ReadinessItem { what: "notices".into(), verdict, words, scopes: Vec::new(), mend }
}
