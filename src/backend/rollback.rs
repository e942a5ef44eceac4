//! Rolling back: the plans of its scopes, which version was green last, and whether all of it would work right now.

use indexmap::IndexMap;

use super::look::chosen;
use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use crate::judge::Verdict;
use crate::plan::deploy::{Manifest, Matrix, ReadinessItem, Scope, brought_out, wrong_environment};
use crate::plan::runbook::{LastGreen, LastGreenFrom, Plan};

/// The input of a runbook that is the version to go back to.
const VERSION: &str = "version";
/// The inputs of a runbook that are the snapshot to go back to, and what that loses.
pub(super) const SNAPSHOT: &str = "snapshot";
const LOSES: &str = "loses";

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct RollbackRequest {
    pub reason: Option<String>,
    /// What was green last, as far as that is known.
    pub green: Option<Result<LastGreen, String>>,
    /// The version that runs, where that is known.
    pub running: Option<String>,
    /// The snapshot to go back to, and what that would throw away, in words.
    pub snapshot: Option<(Manifest, String)>,
    /// What goes with what, as far as that was looked at.
    pub matrices: Vec<Result<Matrix, String>>,
    /// What was reached that is not what the configuration expects.
    pub mismatches: Vec<String>,
    pub target: Option<String>,
    pub drill: bool,
    /// Begun by a program, and not by a person.
    pub automatic: bool,
    /// Why it is less than was asked for.
    pub instead: Option<String>,
}

impl Operations {
    /// The plan of a scope.
    ///
    /// # Errors
    /// Everything that keeps it from being made.
    pub fn plan_rollback(&mut self, scope: Scope, wanted: RollbackRequest) -> Result<Plan, OperationError> {
        let RollbackRequest { reason, green, running, snapshot, matrices, mismatches, target, drill, automatic, instead } = wanted;
        let mut warnings: Vec<String> = instead.into_iter().chain(mismatches.iter().map(|words| wrong_environment(words))).collect();
        let name = scope.runbook();
        let loaded = self.runbooks();
        if !loaded.iter().any(|loaded| loaded.name == name) {
            return Err(OperationError::Unavailable(self.cannot(scope)));
        }
        let takes_version = |runbook: &crate::plan::runbook::Runbook| runbook.inputs.iter().any(|input| input.name == VERSION);
        let found = loaded.iter().find(|l| l.name == name).and_then(|l| l.runbook.as_deref());
        let asks = found.is_some_and(takes_version);
        let restores = found.is_some_and(|runbook| runbook.inputs.iter().any(|input| input.name == SNAPSHOT));
        let mut inputs = IndexMap::new();
        if restores {
            let (manifest, loses) = match snapshot {
                Some(chosen) => chosen,
                None => (self.chosen_snapshot().map_err(OperationError::Unavailable)?, "not counted".into()),
            };
            warnings.extend(self.config.acting.settings.snapshots.as_ref().and_then(|settings| manifest.lacks(settings)));
            inputs.extend([(SNAPSHOT.to_string(), manifest.id), (LOSES.to_string(), loses)]);
        }
        if asks {
            match self.green(green) {
                Some(Ok(green)) => {
                    // It is not kept back: whoever confirms has to know it.
                    let items = matrices.iter().filter(|_| scope == Scope::Code).map(|matrix| matrix_item(matrix, &green.version));
                    warnings.extend(items.filter(|item| item.verdict != Verdict::Pass).map(|item| format!("matrix: {}", item.words)));
                    if running.as_ref() == Some(&green.version) {
                        warnings.push(format!("{} runs already: the code will not change", green.version));
                    }
                    inputs.insert(VERSION.to_string(), green.version);
                }
                Some(Err(why)) => {
                    let words = format!("which version was green last cannot be told: {why}; scope traffic needs none");
                    return Err(OperationError::Unavailable(words));
                }
                None => {
                    let words = "no version was ever green here, by the record: say in [release] who knows (last_green, or query and source); scope traffic needs none";
                    return Err(OperationError::Unavailable(words.into()));
                }
            }
        }
        self.plan(PlanRequest { runbook: name.into(), inputs, reason, target, drill, warnings, automatic })
    }

    /// What a scope needs that the configuration does not say.
    fn cannot(&self, scope: Scope) -> String {
        let settings = &self.config.acting.settings;
        let sections = [
            ("[traffic]", settings.switch.is_some(), true),
            ("[release]", settings.release.is_some(), scope != Scope::Traffic),
            ("[snapshots]", settings.snapshots.is_some(), scope == Scope::Full),
        ];
        let missing: Vec<&str> = sections.iter().filter(|(_, there, needed)| *needed && !there).map(|(name, ..)| *name).collect();
        match missing.as_slice() {
            [] => format!("there is no runbook `{}`", scope.runbook()),
            missing => format!("the configuration has no {}", missing.join(" and no ")),
        }
    }

    /// The snapshot that a full rollback goes back to: the newest golden one, or else the newest.
    fn chosen_snapshot(&self) -> Result<Manifest, String> {
        let Some(settings) = &self.config.acting.settings.snapshots else { return Err("nothing says what a snapshot is taken of".into()) };
        chosen(settings, &self.config.environment.name).map_err(|not| not.words)
    }

    /// What was green last: as whoever knows has said, or by the record where nobody else is to be asked.
    pub(super) fn green(&mut self, said: Option<Result<LastGreen, String>>) -> Option<Result<LastGreen, String>> {
        let by_record = self.config.acting.settings.release.as_ref().is_none_or(|release| release.last_green == LastGreenFrom::Journal);
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
}

/// Whether the version that was green last goes with the data that is live: a full rollback brings its own.
pub(super) fn matrix_item(matrix: &Result<Matrix, String>, version: &str) -> ReadinessItem {
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
