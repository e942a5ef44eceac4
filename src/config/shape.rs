//! What files may say, field by field, before anything is checked. Unknown keys are errors; every text that can be wrong
//! in itself keeps its place in the file. Fields are optional where a profile may have given them already.

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use super::model::{ColorChoice, GlyphChoice, PanelKind, TimeChoice};
use crate::base::tier::Tier;
use crate::base::units::Unit;
use crate::judge::{Level, NoData};
use crate::observe::reading::{Fact, Health, Shape};
use crate::plan::runbook::{Danger, Occasion};

pub type SpannedText = Spanned<String>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentShape {
    pub name: Option<SpannedText>,
    pub tier: Option<Tier>,
    pub expect: IndexMap<String, String>,
    pub hint: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UiShape {
    pub theme: Option<String>,
    pub keymap: Option<String>,
    pub window: Option<SpannedText>,
    pub mouse: Option<bool>,
    pub color: Option<ColorChoice>,
    pub glyphs: Option<GlyphChoice>,
    pub time: Option<TimeChoice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindShape {
    Prometheus,
    Scrape,
    Qdrant,
    Database,
    Http,
    Redis,
    Alertmanager,
    Command,
}

impl KindShape {
    /// As files write it.
    pub fn word(self) -> &'static str {
        match self {
            KindShape::Prometheus => "prometheus",
            KindShape::Scrape => "scrape",
            KindShape::Qdrant => "qdrant",
            KindShape::Database => "database",
            KindShape::Http => "http",
            KindShape::Redis => "redis",
            KindShape::Alertmanager => "alertmanager",
            KindShape::Command => "command",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceShape {
    pub kind: KindShape,
    pub url: Option<SpannedText>,
    pub interval: Option<SpannedText>,
    pub timeout: Option<SpannedText>,
    /// prometheus: how often it scrapes
    pub scrape_interval: Option<SpannedText>,
    pub concurrency: Option<usize>,
    #[serde(default)]
    pub headers: IndexMap<String, Spanned<String>>,
    pub bearer_token: Option<SpannedText>,
    pub user: Option<String>,
    pub password: Option<SpannedText>,
    pub api_key: Option<SpannedText>,
    #[serde(default)]
    pub tls: TlsShape,
    pub max_body: Option<SpannedText>,
    pub proxy: Option<SpannedText>,
    /// scrape
    #[serde(default)]
    pub targets: Vec<TargetShape>,
    pub retention: Option<SpannedText>,
    pub max_samples: Option<usize>,
    pub max_series: Option<usize>,
    /// qdrant
    pub collection: Option<String>,
    /// database
    pub connections: Option<u32>,
    /// command
    pub command: Option<Vec<String>>,
}

/// A source at another address: how to get in is said anew, because what opens production opens nothing else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetSourceShape {
    pub url: Option<SpannedText>,
    pub headers: IndexMap<String, Spanned<String>>,
    pub bearer_token: Option<SpannedText>,
    pub user: Option<String>,
    pub password: Option<SpannedText>,
    pub api_key: Option<SpannedText>,
    pub tls: TlsShape,
    pub targets: Vec<TargetShape>,
    pub collection: Option<String>,
    pub command: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsShape {
    pub ca: Option<std::path::PathBuf>,
    pub cert: Option<std::path::PathBuf>,
    pub key: Option<std::path::PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetShape {
    pub url: SpannedText,
    pub name: Option<String>,
    #[serde(default)]
    pub labels: IndexMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalShape {
    pub title: Option<String>,
    pub source: Option<SpannedText>,
    /// A second source for the same query, when the first one is away.
    pub or: Option<SpannedText>,
    pub query: Option<SpannedText>,
    pub unit: Option<Unit>,
    pub warn: Option<SpannedText>,
    pub fail: Option<SpannedText>,
    pub baseline: Option<SpannedText>,
    /// Fewer samples than this are no basis for a verdict; `samples` is the query that counts them.
    pub at_least: Option<u64>,
    pub samples: Option<SpannedText>,
    pub interval: Option<SpannedText>,
    pub timeout: Option<SpannedText>,
    /// database
    pub shape: Option<Shape>,
    pub health: Option<Health>,
    /// qdrant
    pub fact: Option<Fact>,
    pub collection: Option<String>,
    /// prometheus, alertmanager
    pub alerts: Option<bool>,
    /// http
    pub path: Option<SpannedText>,
    pub pointer: Option<SpannedText>,
    pub method: Option<String>,
    pub status: Option<u16>,
    pub body: Option<SpannedText>,
    pub within: Option<SpannedText>,
    /// redis
    pub command: Option<Vec<String>>,
    pub field: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleShape {
    pub signal: Option<SpannedText>,
    pub when: Option<SpannedText>,
    #[serde(rename = "for")]
    pub hold: Option<SpannedText>,
    pub level: Option<Level>,
    pub no_data: Option<NoData>,
    pub summary: Option<String>,
    pub runbook: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloShape {
    pub objective: Option<SpannedText>,
    pub window: Option<SpannedText>,
    pub source: Option<SpannedText>,
    pub or: Option<SpannedText>,
    pub good: Option<SpannedText>,
    pub total: Option<SpannedText>,
    pub no_data: Option<NoData>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardShape {
    pub name: SpannedText,
    pub columns: Option<usize>,
    #[serde(default)]
    pub panels: Vec<PanelShape>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelShape {
    pub title: String,
    pub kind: PanelKind,
    #[serde(default)]
    pub signals: Vec<SpannedText>,
}

/// Something that steps of runbooks talk to over HTTP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceShape {
    pub url: Option<SpannedText>,
    pub timeout: Option<SpannedText>,
    #[serde(default)]
    pub headers: IndexMap<String, Spanned<String>>,
    pub bearer_token: Option<SpannedText>,
    pub user: Option<String>,
    pub password: Option<SpannedText>,
    pub api_key: Option<SpannedText>,
    #[serde(default)]
    pub tls: TlsShape,
    pub proxy: Option<SpannedText>,
}

/// What alerts mean that others raise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsShape {
    pub severities: IndexMap<String, Spanned<SeverityShape>>,
    pub heartbeats: Vec<SpannedText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverityShape {
    Pass,
    Warn,
    Fail,
}

/// Where rollbacks are counted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackShape {
    pub prefix: Option<String>,
    pub textfile: Option<String>,
    pub pushgateway: Option<SpannedText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Slack,
    Pagerduty,
    Webhook,
    Email,
}

impl ChannelKind {
    /// As files write it.
    pub fn word(self) -> &'static str {
        match self {
            ChannelKind::Slack => "slack",
            ChannelKind::Pagerduty => "pagerduty",
            ChannelKind::Webhook => "webhook",
            ChannelKind::Email => "email",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyShape {
    pub kind: ChannelKind,
    /// slack
    pub webhook: Option<SpannedText>,
    /// pagerduty
    pub key: Option<SpannedText>,
    /// webhook; pagerduty, where an account lives elsewhere
    pub url: Option<SpannedText>,
    /// webhook: sent as a bearer token
    pub secret: Option<SpannedText>,
    /// email
    pub smtp: Option<SpannedText>,
    pub from: Option<SpannedText>,
    #[serde(default)]
    pub to: Vec<SpannedText>,
    pub user: Option<String>,
    pub password: Option<SpannedText>,
    /// What every run tells it; without any, only those that name it.
    #[serde(default)]
    pub events: Vec<Occasion>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolesShape {
    pub viewer: Vec<SpannedText>,
    pub operator: Vec<SpannedText>,
    pub commander: Vec<SpannedText>,
    pub may: IndexMap<String, Spanned<IndexMap<String, Danger>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditShape {
    /// The database source that records are mirrored to; `none` for none.
    pub database: Option<SpannedText>,
}

macro_rules! overlay {
    ($($shape:ident: $($field:ident),+;)+) => {$(
        impl $shape {
            /// What this one leaves open is taken from the one below.
            pub fn over(mut self, below: $shape) -> $shape {
                $(self.$field = self.$field.or(below.$field);)+
                self
            }
        }
    )+};
}

overlay! {
    UiShape: theme, keymap, window, mouse, color, glyphs, time;
    SignalShape: title, source, or, query, unit, warn, fail, baseline, at_least, samples, interval, timeout, shape, health, fact, collection,
        alerts, path, pointer, method, status, body, within, command, field;
    RuleShape: signal, when, hold, level, no_data, summary, runbook;
    SloShape: objective, window, source, or, good, total, no_data;
}
