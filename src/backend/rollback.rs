//! Rolling back: the plans of its scopes, which version was green last, and whether all of it would work right now.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::runtime::Runtime;

use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use super::reach::database_options;
use crate::act::infra::snapshot::{check_part, count_all, list, may_restore, newest, room};
use crate::act::infra::{gate, release};
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::config::Config;
use crate::judge::Verdict;
use crate::plan::deploy::{
    CollectionStrategy, DatabaseStrategy, Manifest, Matrix, Readiness, ReadinessItem, Scope, SnapshotSettings, WriteLoss, brought_out,
    improvements, of_environment, pick,
};
use crate::plan::runbook::{Kind, LastGreen, LastGreenFrom, NOT_NEEDED, Observation, Occasion, Plan, Release, StepRun, StepState};
use crate::status::RunStatus;

/// The input of a runbook that is the version to go back to.
const VERSION: &str = "version";
/// The inputs of a runbook that are the snapshot to go back to, and what that loses.
const SNAPSHOT: &str = "snapshot";
const LOSES: &str = "loses";
/// The runbook that takes a restore back.
const UNDO: &str = "rollback-undo";
/// After this long without a drill nobody knows any more whether it works.
const REHEARSED: Duration = Duration::from_secs(35 * 86400);

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct RollbackRequest {
    pub reason: Option<String>,
    /// What was green last, as far as that is known.
    pub green: Option<Result<LastGreen, String>>,
    /// The snapshot to go back to, and what that would throw away, in words.
    pub snapshot: Option<(String, String)>,
    /// What goes with what, as far as that was looked at.
    pub matrices: Vec<Result<Matrix, String>>,
    pub target: Option<String>,
    pub drill: bool,
    /// Begun by a program, and not by a person.
    pub automatic: bool,
}

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
        Some((manifest.id.clone(), data.loss.as_ref().map_or_else(|| "not counted".into(), |loss| loss.words(now))))
    }
}

impl Operations {
    /// The plan of a scope.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_rollback(&mut self, scope: Scope, wanted: RollbackRequest) -> Result<Plan, OperationError> {
        let RollbackRequest { reason, green, snapshot, matrices, target, drill, automatic } = wanted;
        let mut warnings = Vec::new();
        let name = scope.runbook();
        let loaded = self.runbooks();
        let takes_version = |runbook: &crate::plan::runbook::Runbook| runbook.inputs.iter().any(|input| input.name == VERSION);
        let found = loaded.iter().find(|l| l.name == name).and_then(|l| l.runbook.as_deref());
        let asks = found.is_some_and(takes_version);
        let restores = found.is_some_and(|runbook| runbook.inputs.iter().any(|input| input.name == SNAPSHOT));
        let mut inputs = IndexMap::new();
        if restores {
            let chosen = snapshot.or_else(|| Some((self.chosen_snapshot().ok()?.id, "not counted".into())));
            inputs.extend(chosen.into_iter().flat_map(|(id, loses)| [(SNAPSHOT.to_string(), id), (LOSES.to_string(), loses)]));
        }
        if asks {
            match self.green(green) {
                Some(Ok(green)) => {
                    // It is not kept back: whoever confirms has to know it.
                    let items = matrices.iter().filter(|_| scope == Scope::Code).map(|matrix| matrix_item(matrix, &green.version));
                    warnings.extend(items.filter(|item| item.verdict != Verdict::Pass).map(|item| format!("matrix: {}", item.words)));
                    inputs.insert(VERSION.to_string(), green.version);
                }
                Some(Err(why)) => return Err(OperationError::Unavailable(format!("which version was green last cannot be told: {why}"))),
                None => {
                    let words =
                        "no version was ever green here, by the record: say in [release] who knows (last_green, or query and source)";
                    return Err(OperationError::Unavailable(words.into()));
                }
            }
        }
        self.plan(PlanRequest { runbook: name.into(), inputs, reason, target, drill, warnings, automatic })
    }

    /// The plan that takes the restoring of a run back: of the one that is named, or of the last that restored here.
    ///
    /// # Errors
    /// When there is none, or nothing of it can be taken back.
    pub fn plan_undo(&mut self, run: Option<&str>, reason: Option<String>) -> Result<Plan, OperationError> {
        let restored = |line: &crate::status::RunLine| {
            line.run.steps.iter().find_map(|(key, step)| match &line.plan.step(key)?.kind {
                Kind::Restore(restore) if step.touched && restore.back.is_none() => Some(restore.snapshot.clone()),
                _ => None,
            })
        };
        let line = match run {
            Some(wanted) => {
                let id = self.find(wanted)?;
                self.line(&id)?
            }
            None => {
                let environment = self.config.environment.name.clone();
                let runs = self.runs();
                let found = runs.iter().find(|line| line.plan.content.environment.name == environment && restored(line).is_some());
                found
                    .cloned()
                    .ok_or_else(|| OperationError::Usage("no run has restored anything here: there is nothing to take back".into()))?
            }
        };
        let is_taken_back = |other: &crate::status::RunLine| {
            let c = &other.plan.content;
            let is_of = c.runbook == UNDO && c.inputs.get("run").and_then(|run| run.as_str()) == Some(&line.id);
            // What it could not take back may be tried again.
            let is_done = |step: &StepRun| step.state == StepState::Done || step.message.starts_with(NOT_NEEDED);
            is_of && other.status() == RunStatus::Done && other.run.steps.values().all(is_done)
        };
        if let Some(before) = self.runs().iter().find(|other| is_taken_back(other)) {
            let words =
                format!("run {} was taken back by {} already: once more would throw away what was written since", line.id, before.id);
            return Err(OperationError::Refused(words));
        }
        let Some(snapshot) = restored(&line) else {
            return Err(OperationError::Usage(format!("run {} has restored nothing", line.id)));
        };
        let mut inputs = IndexMap::from([("run".to_string(), line.id.clone()), (SNAPSHOT.to_string(), snapshot)]);
        let in_place = self.config.acting.snapshots.as_ref().is_some_and(|settings| {
            settings.restore_database == DatabaseStrategy::InPlace || settings.restore_collection == CollectionStrategy::InPlace
        });
        inputs.extend(in_place.then(|| ("safety".to_string(), "true".to_string())));
        self.plan(PlanRequest { runbook: UNDO.into(), inputs, reason, ..PlanRequest::default() })
    }

    /// The snapshot that a full rollback goes back to: the newest golden one, or else the newest.
    fn chosen_snapshot(&self) -> Result<Manifest, String> {
        let Some(settings) = &self.config.acting.snapshots else { return Err("nothing says what a snapshot is taken of".into()) };
        chosen(settings, &self.config.environment.name)
    }

    /// What was green last: as whoever knows has said, or by the record where nobody else is to be asked.
    fn green(&mut self, said: Option<Result<LastGreen, String>>) -> Option<Result<LastGreen, String>> {
        let by_record = self.config.acting.release.as_ref().is_none_or(|release| release.last_green == LastGreenFrom::Journal);
        match said {
            None if by_record => self.green_on_record().map(Ok),
            None => Some(Err("not looked at yet".into())),
            said => said,
        }
    }

    /// The newest version that a run brought out, and that run is done.
    fn green_on_record(&mut self) -> Option<LastGreen> {
        let environment = self.config.environment.name.clone();
        let runs = self.runs();
        runs.iter().filter(|run| run.plan.content.environment.name == environment).find_map(|run| brought_out(&run.plan, &run.run))
    }

    /// Finds out what is outside: which version was green last, and which runs.
    pub fn look(&self, runtime: &Runtime, at: LookAt) -> Looked {
        let config = self.config.clone();
        runtime.block_on(async {
            let release = config.acting.release.as_ref();
            let observed = async {
                match &config.acting.switch {
                    Some(switch) => Some(crate::act::infra::traffic::observe(switch, &crate::base::clock::Clock::System).await),
                    None => None,
                }
            };
            let data = async {
                match &config.acting.snapshots {
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
        let mut items = vec![switch_item(&self.config, looked)];
        for scope in Scope::ALL {
            items.push(self.plan_item(scope, looked));
        }
        items.extend(self.release_items(looked));
        items.extend(self.config.acting.snapshots.as_ref().map(|settings| data_items(settings, looked, self.now())).unwrap_or_default());
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
                ReadinessItem { what, verdict: Verdict::Fail, words, scopes, mend }
            }
        }
    }

    fn release_items(&mut self, looked: &Looked) -> Vec<ReadinessItem> {
        if self.config.acting.release.is_none() {
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
    for gate in &config.acting.gates {
        for check in &gate.checks {
            all.extend(gate::matrix(&format!("{}/{}", gate.name, check.name), &check.kind, COUNTING).await);
        }
    }
    all
}

/// Whether the version that was green last goes with the data that is live: a full rollback brings its own.
fn matrix_item(matrix: &Result<Matrix, String>, version: &str) -> ReadinessItem {
    let (verdict, words) = match matrix {
        Ok(matrix) => {
            let (verdict, words) = matrix.judge(version);
            (verdict.verdict(), format!("{words} ({})", matrix.check))
        }
        Err(why) => (Verdict::Unknown, why.clone()),
    };
    let mend = (verdict == Verdict::Fail).then(|| "a full rollback brings the data back, too".to_string());
    // What nobody can tell is no yes.
    let scopes = if matches!(verdict, Verdict::Fail | Verdict::Unknown) { vec![Scope::Code] } else { Vec::new() };
    ReadinessItem { what: "matrix".into(), verdict, words, scopes, mend }
}

/// The snapshot to go back to.
pub fn chosen(settings: &SnapshotSettings, environment: &str) -> Result<Manifest, String> {
    let all = of_environment(list(&settings.folder).0, environment);
    pick(&all, "golden").or_else(|_| pick(&all, "latest")).cloned()
}

/// What going back would take and cost. With `files`, the files are read whole.
pub async fn look_at_data(settings: &SnapshotSettings, environment: &str, files: bool) -> DataLooked {
    let snapshot = chosen(settings, environment);
    // It is only looked, beside an application that is at work: a large table is not counted at any price.
    let asking = SnapshotSettings { timeout: ASKING, ..settings.clone() };
    let (mut checked, mut loss) = (Ok(()), None);
    if let Ok(manifest) = &snapshot {
        for part in manifest.parts.iter().filter(|_| files) {
            if let Err(fault) = check_part(settings, manifest, part).await {
                checked = Err(fault.message);
            }
        }
        let (mut now, mut unknown) = (std::collections::BTreeMap::new(), Vec::new());
        let counted = tokio::time::timeout(COUNTING, count_all(&asking)).await.unwrap_or_else(|_| {
            let why = format!("not counted within {}", short(COUNTING));
            manifest.parts.iter().map(|part| (part.counted_as().to_string(), Err(why.clone()))).collect()
        });
        for (name, counted) in counted {
            match counted {
                Ok(counts) => drop(now.insert(name, counts)),
                Err(why) => unknown.push(format!("{name}: {why}")),
            }
        }
        let mut lost = WriteLoss::between(manifest, &now, unknown);
        let asked = tokio::time::timeout(COUNTING, newest(&asking, manifest, &lost));
        // It only helps to recognize what would be lost.
        lost.newest = asked.await.unwrap_or_default();
        loss = Some(lost);
    }
    let rights = tokio::time::timeout(COUNTING, may_restore(&asking)).await;
    let rights = rights.unwrap_or_else(|_| vec![("to restore".into(), Err(format!("not told within {}", short(COUNTING))))]);
    DataLooked { snapshot, files: checked, loss, rights, room: room(settings) }
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
    if let Some(loss) = &data.loss {
        let verdict = if loss.unknown.is_empty() { Verdict::Pass } else { Verdict::Warn };
        items.push(ReadinessItem { scopes: Vec::new(), ..item("would lose", verdict, loss.words(now), None) });
    }
    items
}

fn switch_item(config: &Config, looked: &Looked) -> ReadinessItem {
    let what = "traffic switch".to_string();
    let scopes = Scope::ALL.to_vec();
    if config.acting.switch.is_none() {
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
