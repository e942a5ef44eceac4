//! A runbook as its file says it, checked: front matter, inputs, triggers, steps, rollback, notifications, checklists.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::kinds::{Check, Kind};
use crate::base::secret::SecretRef;

#[derive(Clone, Debug)]
pub struct Runbook {
    /// The file's name without its ending: what the command line calls it.
    pub name: String,
    pub path: PathBuf,
    pub text: Arc<str>,
    pub front: Front,
    pub danger: Danger,
    /// It takes the environment from whoever has it.
    pub emergency: bool,
    /// Must hold, on live readings, before anything is done.
    pub guard: Vec<Check>,
    pub inputs: Vec<Input>,
    pub triggers: Vec<Trigger>,
    pub steps: Vec<Step>,
    pub rollback: Rollback,
    pub notifications: Vec<NotificationRule>,
    pub checklists: Checklists,
    /// What nobody has filled in yet (`[SERVICE_NAME]`), with its line.
    pub placeholders: Vec<(String, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunbookStatus {
    Draft,
    #[default]
    Ready,
    Deprecated,
}

impl RunbookStatus {
    pub fn word(self) -> &'static str {
        match self {
            RunbookStatus::Draft => "draft",
            RunbookStatus::Ready => "ready",
            RunbookStatus::Deprecated => "deprecated",
        }
    }
}

/// How much a run can break, and so how it has to be confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Danger {
    /// Changes nothing.
    #[default]
    Safe,
    /// Changes something that can be changed back.
    Caution,
    Danger,
}

impl Danger {
    pub fn word(self) -> &'static str {
        match self {
            Danger::Safe => "safe",
            Danger::Caution => "caution",
            Danger::Danger => "danger",
        }
    }
}

/// How often a runbook is meant to be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frequency {
    #[default]
    AdHoc,
    OnDemand,
    Daily,
    Weekly,
    Monthly,
    Quarterly,
    Yearly,
}

impl Frequency {
    pub const WORDS: [(&'static str, Frequency); 7] = [
        ("ad-hoc", Frequency::AdHoc),
        ("on-demand", Frequency::OnDemand),
        ("daily", Frequency::Daily),
        ("weekly", Frequency::Weekly),
        ("monthly", Frequency::Monthly),
        ("quarterly", Frequency::Quarterly),
        ("yearly", Frequency::Yearly),
    ];

    pub fn word(self) -> &'static str {
        Frequency::WORDS.iter().find(|(_, f)| *f == self).map_or("", |(word, _)| word)
    }

    /// The longest time that may pass between two runs, where there is one.
    pub fn period(self) -> Option<Duration> {
        let days = match self {
            Frequency::AdHoc | Frequency::OnDemand => return None,
            Frequency::Daily => 1,
            Frequency::Weekly => 7,
            Frequency::Monthly => 31,
            Frequency::Quarterly => 92,
            Frequency::Yearly => 366,
        };
        Some(Duration::from_secs(days * 86400))
    }
}

/// What stands above the steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Front {
    pub title: String,
    pub description: String,
    pub version: String,
    pub status: RunbookStatus,
    pub owner: String,
    pub frequency: Frequency,
    pub severity: String,
    /// The day on which somebody has to read it again, `YYYY-MM-DD`.
    pub review: Option<chrono::NaiveDate>,
    pub references: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    String,
    Integer,
    Number,
    Boolean,
    Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub kind: InputType,
    pub default: Option<Json>,
    pub allowed: Vec<Json>,
    /// A regular expression that a text must match as a whole.
    pub pattern: Option<String>,
    pub description: String,
}

impl Input {
    /// A value as it was typed, in the input's own type.
    ///
    /// # Errors
    /// Says what is expected.
    pub fn parse(&self, text: &str) -> Result<Json, String> {
        let wrong = |what: &str| format!("input `{}` is {what}, not `{text}`", self.name);
        let value = match self.kind {
            InputType::String => Json::from(text),
            InputType::Integer => Json::from(text.parse::<i64>().map_err(|_| wrong("a whole number"))?),
            InputType::Number => {
                let number: f64 = text.parse().map_err(|_| wrong("a number"))?;
                serde_json::Number::from_f64(number).map(Json::Number).ok_or_else(|| wrong("a number"))?
            }
            InputType::Boolean => Json::from(text.parse::<bool>().map_err(|_| wrong("true or false"))?),
            InputType::Duration => {
                crate::base::units::duration(text).map_err(|_| wrong("a duration (30s, 5m)"))?;
                Json::from(text)
            }
        };
        self.check(value)
    }

    /// The value, if the input allows it.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn check(&self, value: Json) -> Result<Json, String> {
        let shown = |v: &Json| v.as_str().map_or_else(|| v.to_string(), str::to_string);
        if !self.allowed.is_empty() && !self.allowed.contains(&value) {
            let all: Vec<String> = self.allowed.iter().map(shown).collect();
            return Err(format!("input `{}` cannot be `{}`; allowed: {}", self.name, shown(&value), all.join(", ")));
        }
        if let Some(pattern) = &self.pattern
            && !regex::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|r| r.is_match(&shown(&value)))
        {
            return Err(format!("input `{}` must look like `{pattern}`, `{}` does not", self.name, shown(&value)));
        }
        Ok(value)
    }
}

/// What may start a runbook besides a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Trigger {
    Schedule { cron: String },
    Event { source: String, condition: String },
}

/// What follows when a step has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    #[default]
    Stop,
    Continue,
    Ask,
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts after the first one.
    pub count: u32,
    #[serde(with = "super::millis")]
    pub backoff: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub id: String,
    pub name: String,
    pub kind: Kind,
    pub when: Option<String>,
    /// Left out of a plan where something that it names is not configured.
    pub if_configured: bool,
    pub guard: Vec<Check>,
    pub timeout: Option<Duration>,
    pub retry: Option<Retry>,
    /// Doing it twice is the same as doing it once.
    pub idempotent: bool,
    /// "Is it already so?"
    pub probe: Option<Kind>,
    /// Without one: the rollback where it is automatic and its conditions hold, otherwise stop.
    pub on_failure: Option<OnFailure>,
    /// The runbooks that lead on by hand when it has failed, the best first.
    pub by_hand: Vec<String>,
    pub undo: Option<Kind>,
    pub undo_timeout: Option<Duration>,
    /// Byte offset among all that was read, for messages.
    pub at: usize,
}

impl Step {
    /// What takes it back: what it says, or what its kind has for that. A step of a rollback is the way back.
    pub fn way_back(&self) -> Option<Kind> {
        self.undo.clone().or_else(|| self.kind.own_undo().filter(|_| !self.id.starts_with("rollback/")))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollback {
    /// Without asking, when a condition holds.
    pub automatic: bool,
    /// Expressions over `step` (the failed one) and `validation`; any of them is enough. None: any failure.
    pub conditions: Vec<String>,
    pub steps: Vec<Step>,
}

/// Where a notice goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Channel {
    Slack {
        webhook: SecretRef,
    },
    Pagerduty {
        key: SecretRef,
        /// Where events go; PagerDuty's own address unless an account lives elsewhere.
        url: String,
    },
    Webhook {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<SecretRef>,
    },
    Email {
        smtp: String,
        from: String,
        to: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<SecretRef>,
    },
}

impl Channel {
    /// Every secret it refers to.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Channel::Slack { webhook } => vec![webhook],
            Channel::Pagerduty { key, .. } => vec![key],
            Channel::Webhook { secret, .. } => secret.iter().collect(),
            Channel::Email { password, .. } => password.iter().collect(),
        }
    }
}

/// What a notice can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    Start,
    Success,
    Failure,
    /// It waits for an operator.
    Waiting,
    Rollback,
    Abort,
}

impl Occasion {
    pub const WORDS: [(&'static str, Occasion); 6] = [
        ("start", Occasion::Start),
        ("success", Occasion::Success),
        ("failure", Occasion::Failure),
        ("waiting", Occasion::Waiting),
        ("rollback", Occasion::Rollback),
        ("abort", Occasion::Abort),
    ];

    pub fn word(self) -> &'static str {
        Occasion::WORDS.iter().find(|(_, o)| *o == self).map_or("", |(word, _)| word)
    }
}

/// A notification of a runbook: one of the configured channels by name, or one of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct NotificationRule {
    pub name: String,
    pub own: Option<Channel>,
    pub events: Vec<Occasion>,
    pub at: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checklists {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub during: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

impl Checklists {
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.during.is_empty() && self.after.is_empty()
    }
}
