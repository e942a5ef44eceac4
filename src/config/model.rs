//! A configuration that has been checked: names resolve, conditions are parsed, PromQL is PromQL.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::roles::Roles;
use crate::base::endpoint::{Endpoint, Tls};
use crate::base::secret::SecretRef;
use crate::base::tier::Tier;
use crate::judge::{Objective, Rule, Signal, Verdict};
use crate::observe::reading::Question;
use crate::plan::deploy::RollbackSettings;
use crate::plan::runbook::{Channel, Notice, StepSettings};

#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
    pub environment: Environment,
    /// The stand-in that this is, where it is one.
    pub target: Option<String>,
    /// Stand-ins of the environment: the same services, databases and collections at other addresses.
    pub targets: IndexMap<String, Arc<Config>>,
    pub ui: Ui,
    pub sources: IndexMap<Arc<str>, SourceConfig>,
    pub signals: IndexMap<Arc<str>, SignalConfig>,
    pub rules: Vec<Rule>,
    pub objectives: Vec<Objective>,
    pub boards: Vec<Board>,
    pub alerts: AlertSettings,
    pub acting: Acting,
}

/// What alerts mean that others raise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertSettings {
    /// What a severity means, by its word in lower case, besides the usual ones.
    pub severities: IndexMap<String, Verdict>,
    /// Alerts that always fire while alerting works.
    pub heartbeats: Vec<String>,
}

/// What runs need besides what is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acting {
    pub state_dir: PathBuf,
    /// The folder of runbooks.
    pub runbooks: PathBuf,
    pub profile: Option<String>,
    pub vars: IndexMap<String, String>,
    pub services: IndexMap<String, Endpoint>,
    /// What its sections say for steps.
    pub settings: StepSettings,
    /// Where rollbacks are counted.
    pub rollback: Option<RollbackSettings>,
    pub notify: IndexMap<String, Channel>,
    /// What every run tells.
    pub always: Vec<Notice>,
    pub roles: Roles,
    /// Of a plan: references of what it did not keep. A script could print them all the same.
    pub further_secrets: Vec<SecretRef>,
    /// The database that records are mirrored to.
    pub audit: Option<Arc<str>>,
}

impl Config {
    /// One of nothing but names.
    pub(super) fn bare(path: &std::path::Path, environment: Environment, acting: Acting) -> Config {
        Config {
            path: path.to_path_buf(),
            environment,
            target: None,
            targets: IndexMap::new(),
            ui: Ui::default(),
            sources: IndexMap::new(),
            signals: IndexMap::new(),
            rules: Vec::new(),
            objectives: Vec::new(),
            boards: Vec::new(),
            alerts: AlertSettings::default(),
            acting,
        }
    }

    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.signals.get(name).map(|s| &s.signal)
    }

    /// Whether the same sources are asked the same questions.
    pub fn asks_the_same(&self, other: &Config) -> bool {
        self.sources == other.sources && self.questions() == other.questions()
    }

    /// Every secret that it refers to.
    pub fn secrets(&self) -> Vec<SecretRef> {
        let mut all = self.acting.further_secrets.clone();
        for source in self.sources.values() {
            match &source.kind {
                SourceKind::Database { password, .. } | SourceKind::Redis { password, .. } => all.extend(password.clone()),
                SourceKind::Prometheus(e) | SourceKind::Alertmanager(e) | SourceKind::Http(e) | SourceKind::Qdrant { endpoint: e, .. } => {
                    all.extend(e.secrets().into_iter().cloned());
                }
                SourceKind::Scrape { targets, .. } => all.extend(targets.iter().flat_map(|t| t.endpoint.secrets()).cloned()),
                SourceKind::Command { .. } => {}
            }
        }
        all.extend(self.acting.notify.values().flat_map(|channel| channel.secrets()).cloned());
        all.extend(self.acting.services.values().flat_map(|endpoint| endpoint.secrets()).cloned());
        all.extend(self.acting.settings.secrets().into_iter().cloned());
        all
    }

    /// Every question that has to be asked, signals and their companions.
    pub fn questions(&self) -> Vec<Question> {
        self.signals.values().flat_map(|s| std::iter::once(&s.question).chain(&s.companions)).cloned().collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    pub name: String,
    pub tier: Tier,
    /// What the sources must say about themselves, as `key=value`.
    pub expect: IndexMap<String, String>,
    /// A line under the header for a first visit.
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorChoice {
    #[default]
    Auto,
    Truecolor,
    #[serde(rename = "256")]
    Indexed,
    #[serde(rename = "16")]
    Ansi,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GlyphChoice {
    #[default]
    Auto,
    Unicode,
    Ascii,
}

/// In which zone times are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeChoice {
    #[default]
    Utc,
    Local,
}

/// The windows that charts can show.
pub const WINDOWS: [Duration; 5] = [
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
];

impl Default for Ui {
    fn default() -> Ui {
        Ui {
            theme: "auto".into(),
            keymap: "default".into(),
            window: WINDOWS[1],
            mouse: false,
            color: ColorChoice::default(),
            glyphs: GlyphChoice::default(),
            time: TimeChoice::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ui {
    /// A shipped theme's name, or the path of a file.
    pub theme: String,
    pub keymap: String,
    pub window: Duration,
    pub mouse: bool,
    pub color: ColorChoice,
    pub glyphs: GlyphChoice,
    pub time: TimeChoice,
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct SourceConfig {
    pub kind: SourceKind,
    pub every: Duration,
    /// How often a new sample can be expected, at the soonest.
    pub sampled: Duration,
    pub timeout: Duration,
    pub concurrency: usize,
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum SourceKind {
    Prometheus(Endpoint),
    Scrape { targets: Vec<ScrapeTarget>, retention: Duration, samples: usize, series: usize },
    Qdrant { endpoint: Endpoint, collection: Option<String> },
    Database { url: String, password: Option<SecretRef>, tls: Tls, connections: u32 },
    Http(Endpoint),
    Redis { url: String, password: Option<SecretRef>, tls: Tls },
    Alertmanager(Endpoint),
    Command { argv: Vec<String>, max_output: u64 },
}

impl SourceKind {
    pub fn word(&self) -> &'static str {
        match self {
            SourceKind::Prometheus(_) => "prometheus",
            SourceKind::Scrape { .. } => "scrape",
            SourceKind::Qdrant { .. } => "qdrant",
            SourceKind::Database { .. } => "database",
            SourceKind::Http(_) => "http",
            SourceKind::Redis { .. } => "redis",
            SourceKind::Alertmanager(_) => "alertmanager",
            SourceKind::Command { .. } => "command",
        }
    }

    /// Whether it knows nothing of what was before it was asked first, and a rate only from the second time on.
    pub fn reads_from_now_on(&self) -> bool {
        matches!(self, SourceKind::Scrape { .. })
    }

    /// Where it is, without credentials.
    pub fn place(&self) -> String {
        match self {
            SourceKind::Prometheus(e) | SourceKind::Http(e) | SourceKind::Alertmanager(e) | SourceKind::Qdrant { endpoint: e, .. } => {
                e.shown()
            }
            SourceKind::Scrape { targets, .. } => targets.iter().map(|t| t.endpoint.shown()).collect::<Vec<_>>().join(" "),
            SourceKind::Database { url, .. } | SourceKind::Redis { url, .. } => without_credentials(url),
            SourceKind::Command { argv, .. } => argv.join(" "),
        }
    }
}

fn without_credentials(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_string() };
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct ScrapeTarget {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub endpoint: Endpoint,
}

/// A signal with everything that has to be asked for it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct SignalConfig {
    pub signal: Signal,
    pub question: Question,
    /// Questions for the number of samples (`NAME#samples`) and the baseline (`NAME#baseline`).
    pub companions: Vec<Question>,
    /// What is asked, for people.
    pub shown: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    pub name: String,
    pub columns: Option<usize>,
    pub panels: Vec<Panel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PanelKind {
    /// Values with verdicts and a small history each.
    Stats,
    /// Lines over time.
    Series,
    /// Parts of a whole over time.
    Stack,
    /// Buckets now, and over time.
    Distribution,
    Table,
    Events,
    /// Rules, and the alerts of Prometheus and Alertmanager.
    Alerts,
    /// Sources and probes.
    Services,
    /// Runbooks, what is due, and what was run.
    Runbooks,
    /// The canary: its steps, its traffic, how it is judged.
    Deploy,
    /// Whether a rollback would work, and how the last ones went.
    Rollback,
    Logs,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub title: String,
    pub kind: PanelKind,
    pub signals: Vec<Arc<str>>,
}
