//! Rolling back: the plans of its scopes, which version was green last, and whether all of it would work right now.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::runtime::Runtime;

use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use super::reach::database_options;
use crate::act::infra::release;
use crate::base::units::short;
use crate::config::Config;
use crate::judge::Verdict;
use crate::plan::deploy::{Readiness, ReadinessItem, Scope, brought_out};
use crate::plan::runbook::{LastGreen, LastGreenFrom, Observation, Occasion, Plan, Release};
use crate::status::RunStatus;

/// The input of a runbook that is the version to go back to.
const VERSION: &str = "version";
/// After this long without a drill nobody knows any more whether it works.
const REHEARSED: Duration = Duration::from_secs(35 * 86400);

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct RollbackRequest {
    pub reason: Option<String>,
    /// What was green last, as far as that is known.
    pub green: Option<Result<LastGreen, String>>,
    pub target: Option<String>,
    pub drill: bool,
}

/// What was found out besides what the state folder says.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub observed: Option<Observation>,
    pub green: Option<Result<LastGreen, String>>,
    pub running: Option<Result<String, String>>,
}

impl Operations {
    /// The plan of a scope.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_rollback(&mut self, scope: Scope, wanted: RollbackRequest) -> Result<Plan, OperationError> {
        let RollbackRequest { reason, green, target, drill } = wanted;
        let name = scope.runbook();
        let loaded = self.runbooks();
        let takes_version = |runbook: &crate::plan::runbook::Runbook| runbook.inputs.iter().any(|input| input.name == VERSION);
        let asks = loaded.iter().any(|l| l.name == name && l.runbook.as_deref().is_some_and(takes_version));
        let mut inputs = IndexMap::new();
        if asks {
            match green.or_else(|| self.green_on_record().map(Ok)) {
                Some(Ok(green)) => drop(inputs.insert(VERSION.to_string(), green.version)),
                Some(Err(why)) => return Err(OperationError::Unavailable(format!("which version was green last cannot be told: {why}"))),
                None => {
                    let words =
                        "no version was ever green here, by the record: say in [release] who knows (last_green, or query and source)";
                    return Err(OperationError::Unavailable(words.into()));
                }
            }
        }
        self.plan(PlanRequest { runbook: name.into(), inputs, reason, target, drill })
    }

    /// The newest version that a run brought out, and that run is done.
    fn green_on_record(&mut self) -> Option<LastGreen> {
        let environment = self.config.environment.name.clone();
        let runs = self.runs();
        runs.iter().filter(|run| run.plan.content.environment.name == environment).find_map(|run| brought_out(&run.plan, &run.run))
    }

    /// Finds out what is outside: which version was green last, and which runs.
    pub fn look_at_release(&self, runtime: &Runtime) -> Looked {
        let config = self.config.clone();
        runtime.block_on(async {
            let release = config.acting.release.as_ref();
            let observed = async {
                match &config.acting.switch {
                    Some(switch) => Some(crate::act::infra::traffic::observe(switch, &crate::base::clock::Clock::System).await),
                    None => None,
                }
            };
            let (observed, (green, running)) = tokio::join!(observed, look_at_release(&config, release));
            Looked { observed, green, running }
        })
    }

    /// Whether a rollback would work now. Nothing is touched.
    pub fn readiness(&mut self, looked: &Looked) -> Readiness {
        let mut items = vec![switch_item(&self.config, looked)];
        for scope in Scope::ALL {
            items.push(self.plan_item(scope, looked));
        }
        items.extend(self.release_items(looked));
        items.push(notices_item(&self.config));
        items.push(self.drill_item());
        let expected = Scope::ALL.into_iter().filter_map(|scope| Some((scope, self.took(scope)?))).collect();
        Readiness { at: Some(self.now()), items, expected }
    }

    fn plan_item(&mut self, scope: Scope, looked: &Looked) -> ReadinessItem {
        let scopes = vec![scope];
        let what = format!("plan of {}", scope.word());
        let request = RollbackRequest { green: looked.green.clone(), ..RollbackRequest::default() };
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
        let green = looked.green.clone().or_else(|| self.green_on_record().map(Ok));
        let now = self.now();
        let age = |green: &LastGreen| green.at.map_or_else(String::new, |at| format!(", {} ago", short(now.since(at))));
        let green = match green {
            Some(Ok(green)) => (Verdict::Pass, format!("{}{}", green.version, age(&green)), None),
            Some(Err(why)) => (Verdict::Unknown, why, Some("see what [release] last_green or query gives".to_string())),
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
        vec![item("last green", green), item("version", running)]
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
            Some(at) if self.now().since(at) <= REHEARSED => (Verdict::Pass, format!("{} ago", short(self.now().since(at)))),
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
