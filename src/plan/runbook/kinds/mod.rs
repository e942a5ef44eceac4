//! What a step can be: one kind a file, each the pure half of it. A kind reads its fields strictly, fills in templates in
//! its own fields, names what it needs and its secrets, and says in one line what it will do. The other half, which does
//! it, stands in `act/effect`. The same shapes stand in a runbook (with templates), in a plan (resolved) and in what the
//! runner hands to an effect.

mod analysis;
mod common;
mod gate;
mod health_check;
mod http;
mod load;
mod manual;
mod notify;
mod release;
mod runbook;
mod script;
mod snapshot;
mod sql;
mod traffic;
mod validation;
mod wait;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use analysis::{Analysis, AnalysisSettings, CanarySettings, MetricPair};
pub use common::{Address, Check, JsonCheck, checks, is_condition, telling};
pub use gate::{Gate, GateCheck, GateFact, GateKind, GateStep, Gates};
pub use health_check::{HealthCheck, HealthTarget};
pub use http::HttpCall;
pub use load::LoadTest;
pub use manual::Manual;
pub use notify::Notify;
pub use release::ReleaseStep;
pub use runbook::RunbookCall;
pub use script::{Script, spliced};
pub use snapshot::{
    CollectionStrategy, DatabaseStore, DatabaseStrategy, NodeStore, ProgramStore, RestoreStep, RestoreWhat, SnapshotSettings, SnapshotStep,
    VerifyStep,
};
pub use sql::SqlCall;
pub use traffic::Traffic;
pub use validation::Validation;
pub use wait::Wait;

use super::release::Release;
use super::switch::Switch;
use super::template::Fill;
use crate::base::diag::suggestion;
use crate::base::secret::SecretRef;
use crate::base::yaml::{Fields, Reader};

/// Why something does not fit (`{kind}` stands for the word of its kind), and what to write instead.
pub type Misfit = (String, Option<String>);

/// The pure half of a kind.
pub trait StepKind: Sized {
    /// Reads the fields; what is wrong with them is reported.
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Self>;

    /// The exact call in one line.
    fn describe(&self) -> String;

    /// What the line leaves out of it, indented for the plan.
    fn in_full(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it may change the world.
    fn mutates(&self) -> bool {
        false
    }

    /// How long it may take unless the step says otherwise; `None` waits for ever.
    fn default_timeout(&self) -> Option<Duration>;

    /// Fills in the templates of its own fields.
    fn fill(&mut self, fill: &mut Fill);

    /// Turns names into places, and says which there are not.
    fn resolve(&mut self, _names: &mut dyn Names) {}

    /// Every secret it refers to.
    fn secrets(&self) -> Vec<&SecretRef> {
        Vec::new()
    }

    /// The same, to be counted from a folder.
    fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        Vec::new()
    }

    /// The signals it reads.
    fn checks(&self) -> &[Check] {
        &[]
    }

    /// What it asks the operator, where asking is all it does.
    fn question(&self) -> Option<(String, Vec<String>)> {
        None
    }

    /// What it means that it is left out, where that is not plain.
    fn left_out(&self) -> Option<&str> {
        None
    }

    /// Whose steps stand in its place.
    fn nested(&self) -> Option<&RunbookCall> {
        None
    }

    /// A file it runs, with the sum that was planned.
    fn file(&self) -> Option<(&str, &str)> {
        None
    }

    /// The names it uses: services, databases, channels.
    fn uses(&self) -> Uses {
        Uses::default()
    }

    /// Whether its failure is one that a rollback calls `validation.failed`.
    fn validates(&self) -> bool {
        false
    }

    /// Whether doing it twice is the same as doing it once, also where it changes something.
    fn is_idempotent(&self) -> bool {
        false
    }

    /// What answers "is it already so?" unless the step says otherwise.
    fn own_probe(&self) -> Option<Kind> {
        None
    }

    /// What takes it back unless the step says otherwise.
    fn own_undo(&self) -> Option<Kind> {
        None
    }

    /// # Errors
    /// Why it cannot answer "is it already so?".
    fn as_probe(&self) -> Result<(), Misfit> {
        Err((
            "cannot be a probe: it only looks".into(),
            Some("a probe is a health_check, http, sql, validation, or a script with mutates: false".into()),
        ))
    }

    /// # Errors
    /// Why it cannot take a step back.
    fn as_undo(&self) -> Result<(), Misfit> {
        Ok(())
    }

    /// # Errors
    /// Why it cannot have this time-out.
    fn fits(&self, _timeout: Duration) -> Result<(), Misfit> {
        Ok(())
    }
}

/// What steps need by name: what a plan has to freeze of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub services: BTreeSet<String>,
    pub databases: BTreeSet<String>,
    pub channels: BTreeSet<String>,
    pub gates: BTreeSet<String>,
    pub signals: BTreeSet<String>,
    pub sections: BTreeSet<Section>,
}

impl Uses {
    fn section(section: Section) -> Uses {
        Uses { sections: BTreeSet::from([section]), ..Uses::default() }
    }

    pub fn has(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }

    pub fn extend(&mut self, more: Uses) {
        self.services.extend(more.services);
        self.databases.extend(more.databases);
        self.channels.extend(more.channels);
        self.gates.extend(more.gates);
        self.signals.extend(more.signals);
        self.sections.extend(more.sections);
    }

    pub fn checks(&mut self, checks: &[Check]) {
        self.signals.extend(checks.iter().map(|check| check.signal.clone()));
    }
}

/// What a configuration says for steps in a section of its own.
pub trait SectionSettings: Clone {
    /// Every secret it refers to.
    fn secrets(&self) -> Vec<&SecretRef> {
        Vec::new()
    }

    /// The signals it reads.
    fn signals(&self) -> Vec<String> {
        Vec::new()
    }

    /// As much of it as is needed.
    fn only(&self, _uses: &Uses) -> Self {
        self.clone()
    }
}

macro_rules! sections {
    ($($section:ident $field:ident: $settings:ty;)+) => {
        /// A section that steps use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Section { $($section,)+ }

        /// What a configuration says for steps, section by section: what plans are made against and freeze, and what the
        /// acting half reaches for.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct StepSettings {
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$settings>,)+
        }

        impl StepSettings {
            /// As much of it as is needed.
            pub fn only(&self, uses: &Uses) -> StepSettings {
                StepSettings { $($field: self.$field.as_ref().filter(|_| uses.has(Section::$section)).map(|own| own.only(uses)),)+ }
            }

            /// Every secret it refers to.
            pub fn secrets(&self) -> Vec<&SecretRef> {
                [$(self.$field.iter().flat_map(SectionSettings::secrets).collect::<Vec<_>>(),)+].concat()
            }

            /// The signals it reads.
            pub fn signals(&self) -> Vec<String> {
                [$(self.$field.iter().flat_map(SectionSettings::signals).collect::<Vec<_>>(),)+].concat()
            }
        }
    };
}

sections! {
    Traffic switch: Switch;
    Canary canary: CanarySettings;
    Release release: Release;
    Snapshots snapshots: SnapshotSettings;
    Gates gates: Gates;
}

/// What a plan is made against, as a kind asks for it. Names that there are not are reported by whoever answers.
pub trait Names {
    /// Makes the path a whole URL.
    fn address(&mut self, address: &mut Address);

    /// Where a database is, as people read it.
    fn database(&mut self, name: &str) -> Option<String>;

    /// The channels by these names; all of them for none.
    fn channels(&mut self, channels: &mut Vec<String>);

    /// The path of a script's file beside its runbook, and the sum of what it holds.
    fn file(&mut self, file: &str) -> Option<(String, Option<String>)>;

    /// What the configuration says for steps.
    fn settings(&self) -> Arc<StepSettings>;

    /// The id of the snapshot that is meant.
    fn snapshot(&mut self, wanted: &str) -> Option<String>;

    /// Whether a name hangs on an input that is left open.
    fn is_open(&self, name: &str) -> bool;

    /// Something that is wrong with the kind itself, now that its templates are filled in, and what to write instead.
    fn wrong(&mut self, words: String, hint: Option<String>);
}

macro_rules! kinds {
    ($($variant:ident($type:ident) $word:literal;)+) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum Kind { $($variant($type),)+ }

        /// Words of `type:` in a runbook.
        const WORDS: &[&str] = &[$($word,)+];

        macro_rules! each {
            ($kind:expr, $one:ident => $do:expr) => { match $kind { $(Kind::$variant($one) => $do,)+ } };
        }

        impl Kind {
            pub fn word(&self) -> &'static str {
                match self { $(Kind::$variant(_) => $word,)+ }
            }

            /// The kind that a mapping describes: of a step, a probe or an undo.
            pub fn read(r: &mut Reader, f: &mut Fields) -> Option<Kind> {
                let word = f.required(r, "type", "script")?;
                match word.text.as_str() {
                    $($word => $type::read(r, f).map(Kind::$variant),)+
                    other => {
                        r.error(word.at, format!("there is no kind of step `{other}`"), suggestion(other, WORDS.iter().copied()));
                        None
                    }
                }
            }
        }
    };
}

kinds! {
    HealthCheck(HealthCheck) "health_check";
    Script(Script) "script";
    Http(HttpCall) "http";
    Sql(SqlCall) "sql";
    Validation(Validation) "validation";
    Wait(Wait) "wait";
    Manual(Manual) "manual";
    Notify(Notify) "notify";
    Runbook(RunbookCall) "runbook";
    Load(LoadTest) "load";
    Traffic(Traffic) "traffic";
    Analysis(Analysis) "analysis";
    Release(ReleaseStep) "release";
    Snapshot(SnapshotStep) "snapshot";
    Restore(RestoreStep) "restore";
    Verify(VerifyStep) "verify";
    Gate(GateStep) "gate";
}

impl Kind {
    pub fn describe(&self) -> String {
        each!(self, kind => kind.describe())
    }

    pub fn in_full(&self) -> Vec<String> {
        each!(self, kind => kind.in_full())
    }

    pub fn mutates(&self) -> bool {
        each!(self, kind => kind.mutates())
    }

    pub fn default_timeout(&self) -> Option<Duration> {
        each!(self, kind => kind.default_timeout())
    }

    pub fn fill(&mut self, fill: &mut Fill) {
        each!(self, kind => kind.fill(fill));
    }

    pub fn resolve(&mut self, names: &mut dyn Names) {
        each!(self, kind => kind.resolve(names));
    }

    pub fn secrets(&self) -> Vec<&SecretRef> {
        each!(self, kind => kind.secrets())
    }

    /// References to files count from a folder.
    pub fn secrets_beside(&mut self, folder: &Path) {
        for reference in each!(self, kind => kind.secrets_mut()) {
            *reference = reference.clone().beside(folder);
        }
    }

    pub fn checks(&self) -> &[Check] {
        each!(self, kind => kind.checks())
    }

    pub fn question(&self) -> Option<(String, Vec<String>)> {
        each!(self, kind => kind.question())
    }

    pub fn left_out(&self) -> Option<&str> {
        each!(self, kind => kind.left_out())
    }

    pub fn nested(&self) -> Option<&RunbookCall> {
        each!(self, kind => kind.nested())
    }

    pub fn file(&self) -> Option<(&str, &str)> {
        each!(self, kind => kind.file())
    }

    pub fn uses(&self) -> Uses {
        each!(self, kind => kind.uses())
    }

    pub fn validates(&self) -> bool {
        each!(self, kind => kind.validates())
    }

    pub fn is_idempotent(&self) -> bool {
        each!(self, kind => kind.is_idempotent())
    }

    pub fn own_probe(&self) -> Option<Kind> {
        each!(self, kind => kind.own_probe())
    }

    pub fn own_undo(&self) -> Option<Kind> {
        each!(self, kind => kind.own_undo())
    }

    /// # Errors
    /// Why it cannot answer "is it already so?".
    pub fn as_probe(&self) -> Result<(), Misfit> {
        if self.mutates() {
            return Err(("cannot be a probe: it only looks".into(), Some("write mutates: false if it only looks".into())));
        }
        each!(self, kind => kind.as_probe())
    }

    /// # Errors
    /// Why it cannot take a step back.
    pub fn as_undo(&self) -> Result<(), Misfit> {
        each!(self, kind => kind.as_undo())
    }

    /// # Errors
    /// Why it cannot have this time-out.
    pub fn fits(&self, timeout: Duration) -> Result<(), Misfit> {
        each!(self, kind => kind.fits(timeout))
    }
}

/// The services that addresses go through.
fn services<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Uses {
    Uses { services: addresses.into_iter().filter_map(|address| address.service.clone()).collect(), ..Uses::default() }
}
