//! Whether a rollback would work right now: what it depends on is looked at and nothing is touched, and each thing has its
//! word, its reason and the command that mends it.

use std::time::Duration;

use super::look::{DataLooked, FilesSeen, Looked, NotFound};
use super::operations::Operations;
use super::rollback::{RollbackRequest, matrix_item};
use crate::act::infra::snapshot::{Fitting, KeptBeside};
use crate::base::clock::Stamp;
use crate::base::units::{count_of, short};
use crate::config::Config;
use crate::judge::Verdict;
use crate::plan::deploy::{Readiness, ReadinessItem, Scope, improvements};
use crate::plan::runbook::{LastGreen, Occasion, SnapshotSettings};
use crate::status::{Ledger, RunStatus, failed_rollback};

/// After this long without a drill nobody knows any more whether it works.
const REHEARSED: Duration = Duration::from_secs(35 * 86400);

/// The room that the record of a run takes at most, as a rule.
const RECORD: u64 = 1 << 20;

impl Operations {
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
        items.extend(self.last_item());
        items.push(notices_item(&self.config));
        items.push(self.drill_item());
        let expected = Scope::ALL.into_iter().filter_map(|scope| Some((scope, self.took(scope)?))).collect();
        Readiness { at: Some(self.now()), items, expected }.in_environment(&looked.mismatches)
    }

    /// What keeps the data from coming back, as far as was looked. Whoever has confirmed already is not made to wait for more.
    pub fn against_data(&self, looked: &Looked) -> Vec<String> {
        let settings = self.config.acting.settings.snapshots.as_ref();
        let items = settings.map(|settings| data_items(settings, looked, self.now())).unwrap_or_default();
        let failed = items.iter().filter(|item| item.verdict == Verdict::Fail && !item.scopes.is_empty());
        failed.map(|item| format!("{}: {}", item.what, item.words)).collect()
    }

    /// What the last one has shown speaks louder than what only was looked at.
    fn last_item(&mut self) -> Option<ReadinessItem> {
        let ledger = Ledger { runs: self.runs(), ..Ledger::default() };
        let words = failed_rollback(&ledger, &self.config.environment.name, self.now())?;
        let mend = Some("look at what it says, and roll back at least as wide".to_string());
        Some(ReadinessItem { what: "last rollback".into(), verdict: Verdict::Warn, words, scopes: Vec::new(), mend })
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
                        let steps = count_of(plan.content.steps.len(), "step");
                        ReadinessItem { what, verdict: Verdict::Pass, words: steps, scopes, mend: None }
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
        let folder = self.record_folder();
        let free = folder.and_then(|folder| {
            let told = rustix::fs::statvfs(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            Ok((told.f_bavail.saturating_mul(told.f_frsize), folder))
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
        let mend = if targets.is_empty() { "add [targets.NAME], as assets/rehearsal.md shows" } else { "lastgreen rollback --drill" };
        let mend = Some(mend.to_string());
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

/// An item of what only a full rollback needs.
fn item_of_data(what: &str, verdict: Verdict, words: String, mend: Option<&str>) -> ReadinessItem {
    let mend = mend.filter(|_| verdict != Verdict::Pass).map(str::to_string);
    ReadinessItem { what: what.into(), verdict, words, scopes: vec![Scope::Full], mend }
}

/// What is worth knowing, and keeps nothing from being done.
fn remark(what: &str, words: String, mend: Option<&str>) -> ReadinessItem {
    ReadinessItem { scopes: Vec::new(), ..item_of_data(what, Verdict::Warn, words, mend) }
}

/// Whether whoever restores may, store by store.
fn rights_items(data: &DataLooked) -> Vec<ReadinessItem> {
    let mut items = Vec::new();
    for (name, may) in &data.rights {
        let what = format!("rights {name}");
        match may {
            Err(not) => items.push(item_of_data(&what, not.verdict, not.words.clone(), None)),
            Ok(may) => {
                items.push(match &may.later {
                    Some(later) => remark(&what, later.clone(), Some("let a superuser restore, or another role own that")),
                    None => item_of_data(&what, Verdict::Pass, may.words.clone(), None),
                });
                let mend = Some("make it again after the restore, or take it away before");
                items.extend(may.stays.iter().map(|stays| remark(&format!("beside {name}"), stays.clone(), mend)));
            }
        }
    }
    items
}

/// Whether a snapshot goes into a database as it is to be; nothing where nothing speaks against it.
fn fits_items(name: &str, fits: &Result<Fitting, NotFound>) -> Vec<ReadinessItem> {
    let what = format!("into {name}");
    match fits {
        Ok(Fitting { goes, left }) => {
            let said = |words: &str, names: &[String]| (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")));
            let words = [said("not in the snapshot, and would go", goes), said("belongs to others, and would not be made again", left)];
            words.into_iter().flatten().map(|words| remark(&what, words, None)).collect()
        }
        Err(not) => vec![item_of_data(&what, not.verdict, not.words.clone(), None)],
    }
}

fn data_items(settings: &SnapshotSettings, looked: &Looked, now: Stamp) -> Vec<ReadinessItem> {
    let item = item_of_data;
    // What nobody knows is not mended.
    let if_wrong = |not: &NotFound, mend: &'static str| (not.verdict == Verdict::Fail).then_some(mend);
    let Some(data) = &looked.data else { return vec![item("snapshot", Verdict::Unknown, "not looked at yet".into(), None)] };
    let manifest = match &data.snapshot {
        Ok(manifest) => manifest,
        Err(not) => {
            // Who makes the first one finds out now what would keep it from being brought back.
            let missing = item("snapshot", not.verdict, not.words.clone(), if_wrong(not, "lastgreen snapshot create"));
            return std::iter::once(missing).chain(rights_items(data)).collect();
        }
    };
    let age = now.since(manifest.at);
    let golden = if manifest.golden.is_some() { "golden" } else { "none is golden, this is the newest" };
    let words = format!("{} ({golden}), {} ago", manifest.id, short(age));
    let mut items = vec![match (age > settings.max_age, manifest.golden.is_some()) {
        // It can be gone back to, and that loses much.
        (true, _) => remark("snapshot", words, Some("lastgreen snapshot create --golden WHY")),
        (false, false) => remark("snapshot", words, Some("lastgreen snapshot golden ID --why TEXT")),
        (false, true) => item("snapshot", Verdict::Pass, words, None),
    }];
    items.extend(
        manifest.lacks(settings).map(|words| item("its parts", Verdict::Fail, words, Some("lastgreen snapshot create --golden WHY"))),
    );
    items.push(match &data.files {
        Ok(FilesSeen::Whole) => item("its files", Verdict::Pass, "size and sum as they were written".into(), None),
        Ok(FilesSeen::Sizes) => {
            item("its files", Verdict::Pass, "as large as they were written; `lastgreen rollback status` reads them".into(), None)
        }
        Err(not) => item("its files", not.verdict, not.words.clone(), if_wrong(not, "mark another one golden")),
    });
    items.extend(rights_items(data));
    items.extend(data.fits.iter().flat_map(|(name, fits)| fits_items(name, fits)));
    let bytes = |n: u64| bytesize::ByteSize(n).display().iec().to_string();
    let next = data.loss.as_ref().map_or(manifest.size(), |loss| loss.grown(manifest)).max(data.next_size);
    items.push(match &data.room {
        Ok(room) if *room > next.saturating_mul(2) => item("room", Verdict::Pass, format!("{} free", bytes(*room)), None),
        Ok(room) => {
            let words = format!("{} free for a safety snapshot of about {}", bytes(*room), bytes(next));
            item("room", Verdict::Fail, words, Some("make room, or set another folder in [snapshots]"))
        }
        Err(why) => {
            item("room", Verdict::Fail, format!("no safety snapshot can be taken: {why}"), Some("set another folder in [snapshots]"))
        }
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
                remark(&what, why.clone(), mend)
            }
        });
    }
    items.extend(kept_item(&data.kept));
    if let Some(loss) = &data.loss {
        let verdict = if loss.unknown.is_empty() { Verdict::Pass } else { Verdict::Warn };
        items.push(ReadinessItem { scopes: Vec::new(), ..item("would lose", verdict, loss.words(now), None) });
    }
    items
}

/// So many of what is kept are named.
const NAMED: usize = 3;

/// What restores have left: it takes room until somebody drops it, and keeps nothing from working.
fn kept_item(kept: &[KeptBeside]) -> Option<ReadinessItem> {
    let bytes: u64 = kept.iter().filter_map(|(_, bytes)| *bytes).sum();
    let names: Vec<&str> = kept.iter().take(NAMED).map(|(name, _)| name.as_str()).collect();
    let more = if kept.len() > NAMED { format!(" +{} more", kept.len() - NAMED) } else { String::new() };
    let size = if bytes > 0 { format!(", {} in databases", bytesize::ByteSize(bytes).display().iec()) } else { String::new() };
    let words = format!("{}{more}{size}: left by restores, used by nothing; drop what no undo will need", names.join(", "));
    (!kept.is_empty()).then(|| ReadinessItem { what: "kept beside".into(), verdict: Verdict::Pass, words, scopes: Vec::new(), mend: None })
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
