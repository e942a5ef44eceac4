//! What a step can be. The same shapes stand in a runbook (with templates in their texts), in a plan (resolved) and in
//! what the runner hands to an effect.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::base::secret::SecretRef;
use crate::base::units::{short, thousands};

/// Durations as milliseconds.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_millis() as u64)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }

    /// The same where there may be none.
    pub mod maybe {
        use super::{Deserialize, Deserializer, Duration, Serializer};

        pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => serializer.serialize_some(&(duration.as_millis() as u64)),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
        }
    }
}

/// A signal and what must be true of it: a condition, or its verdict being `pass`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub signal: String,
    /// As `>= 0.85`; without one the signal's own thresholds decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.condition {
            Some(condition) => write!(f, "{} {condition}", self.signal),
            None => write!(f, "{} passes", self.signal),
        }
    }
}

/// A place on the network: a path on a configured service, or a whole URL. In a plan `path` is the URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthTarget {
    pub address: Address,
    pub status: u16,
    /// Slower answers count as failures.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub within: Option<Duration>,
}

/// A value in a JSON answer (by pointer) and what it must be: a condition as `>= 3`, or the very value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonCheck {
    pub pointer: String,
    pub is: Json,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The text itself; never templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// Or a file, beside the runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Of the file, at planning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Without one the shebang line decides, or `sh -eu`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreter: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<(String, SecretRef)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    pub mutates: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    pub address: Address,
    pub method: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_headers: Vec<(String, SecretRef)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    pub status: Vec<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<JsonCheck>,
    pub mutates: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlCall {
    /// The name of a configured database.
    pub source: String,
    /// Where that is, filled in by the plan.
    #[serde(default)]
    pub place: String,
    pub query: String,
    /// Values for `$1`, `$2` …: never spliced into the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Json>,
    /// Of the one value a query gives, or of the rows a statement changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    pub mutates: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub address: Address,
    pub method: String,
    pub requests: u32,
    pub concurrency: u32,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub p95: Option<Duration>,
    /// The share of failed requests that is still accepted.
    pub errors: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    HealthCheck {
        targets: Vec<HealthTarget>,
    },
    Script(Script),
    Http(HttpCall),
    Sql(SqlCall),
    /// All checks hold, for so long without a break, on so many fresh readings each.
    Validation {
        checks: Vec<Check>,
        #[serde(rename = "for", with = "millis")]
        hold: Duration,
        samples: u32,
    },
    /// A time, or until checks hold, with a limit.
    Wait {
        #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
        time: Option<Duration>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        until: Vec<Check>,
    },
    Manual {
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        check: Vec<String>,
    },
    Notify {
        channels: Vec<String>,
        message: String,
    },
    Runbook {
        name: String,
        #[serde(default)]
        inputs: serde_json::Map<String, Json>,
    },
    Load(Load),
}

/// Words of `type:` in a runbook.
pub const WORDS: [&str; 10] = ["health_check", "script", "http", "sql", "validation", "wait", "manual", "notify", "runbook", "load"];

impl Kind {
    pub fn word(&self) -> &'static str {
        match self {
            Kind::HealthCheck { .. } => "health_check",
            Kind::Script(_) => "script",
            Kind::Http(_) => "http",
            Kind::Sql(_) => "sql",
            Kind::Validation { .. } => "validation",
            Kind::Wait { .. } => "wait",
            Kind::Manual { .. } => "manual",
            Kind::Notify { .. } => "notify",
            Kind::Runbook { .. } => "runbook",
            Kind::Load(_) => "load",
        }
    }

    /// Whether it may change the world.
    pub fn mutates(&self) -> bool {
        match self {
            Kind::Script(script) => script.mutates,
            Kind::Http(call) => call.mutates,
            Kind::Sql(call) => call.mutates,
            Kind::Load(load) => load.method == "POST",
            _ => false,
        }
    }

    /// How long it may take unless the step says otherwise; a question waits for ever.
    pub fn default_timeout(&self) -> Option<Duration> {
        let seconds = match self {
            Kind::HealthCheck { .. } | Kind::Http(_) | Kind::Notify { .. } => 30,
            Kind::Sql(_) => 60,
            Kind::Script(_) | Kind::Load(_) => 300,
            Kind::Validation { hold, samples, .. } => hold.as_secs() * 2 + u64::from(*samples) * 30 + 30,
            Kind::Wait { time: Some(time), .. } => time.as_secs() + 60,
            Kind::Wait { time: None, .. } => 600,
            Kind::Manual { .. } | Kind::Runbook { .. } => return None,
        };
        Some(Duration::from_secs(seconds))
    }

    /// The exact call in one line.
    pub fn describe(&self) -> String {
        let list = |checks: &[Check]| checks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Kind::HealthCheck { targets } => {
                targets.iter().map(|t| format!("GET {} wants {}", t.address.path, t.status)).collect::<Vec<_>>().join(", ")
            }
            Kind::Script(script) => script.describe(),
            Kind::Http(call) => call.describe(),
            Kind::Sql(call) => {
                let query = call.query.split_whitespace().collect::<Vec<_>>().join(" ");
                let place = if call.place.is_empty() { &call.source } else { &call.place };
                let expect = call.expect.as_ref().map_or_else(String::new, |e| format!(", wants {e}"));
                let params: Vec<String> = call.params.iter().enumerate().map(|(i, v)| format!(", ${} = {v}", i + 1)).collect();
                format!("SQL on {place}: {query}{}{expect}", params.concat())
            }
            Kind::Validation { checks, hold, samples } => {
                let held = if hold.is_zero() { String::new() } else { format!(" for {}", short(*hold)) };
                let fresh = if *samples > 1 { format!(", {samples} fresh samples each") } else { String::new() };
                format!("{}{held}{fresh}", list(checks))
            }
            Kind::Wait { time: Some(time), .. } => format!("wait {}", short(*time)),
            Kind::Wait { until, .. } => format!("until {}", list(until)),
            Kind::Manual { text, .. } => format!("ask: {}", text.lines().next().unwrap_or("")),
            Kind::Notify { channels, message } => format!("notify {}: {}", channels.join(", "), message.lines().next().unwrap_or("")),
            Kind::Runbook { name, .. } => format!("runbook {name}"),
            Kind::Load(load) => {
                let p95 = load.p95.map_or_else(String::new, |p| format!(", p95 <= {}", short(p)));
                format!(
                    "{} {} {} times, {} at once{p95}, errors <= {:.1} %",
                    load.method,
                    load.address.path,
                    thousands(f64::from(load.requests)),
                    load.concurrency,
                    load.errors * 100.0
                )
            }
        }
    }

    pub fn script(&self) -> Option<&Script> {
        match self {
            Kind::Script(script) => Some(script),
            _ => None,
        }
    }

    /// The places on the network that it reaches for.
    pub fn addresses_mut(&mut self) -> Vec<&mut Address> {
        match self {
            Kind::HealthCheck { targets } => targets.iter_mut().map(|t| &mut t.address).collect(),
            Kind::Http(call) => vec![&mut call.address],
            Kind::Load(load) => vec![&mut load.address],
            _ => Vec::new(),
        }
    }

    /// The signals that it reads.
    pub fn checks(&self) -> &[Check] {
        match self {
            Kind::Validation { checks, .. } => checks,
            Kind::Wait { until, .. } => until,
            _ => &[],
        }
    }
}

impl Script {
    fn describe(&self) -> String {
        let with = if self.interpreter.is_empty() { String::new() } else { format!("{} ", self.interpreter.join(" ")) };
        let args = if self.args.is_empty() { String::new() } else { format!(" {}", self.args.join(" ")) };
        match (&self.file, &self.inline) {
            (Some(file), _) => format!("script {with}{file}{args}"),
            (None, Some(text)) => {
                let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
                match lines.as_slice() {
                    [] => "script (empty)".into(),
                    [one] => format!("script {with}{one}{args}"),
                    [first, rest @ ..] => format!("script {with}{first} … ({} more lines){args}", rest.len()),
                }
            }
            (None, None) => "script".into(),
        }
    }
}

impl HttpCall {
    fn describe(&self) -> String {
        let body = match (&self.json, &self.body) {
            (Some(json), _) => format!(" {json}"),
            (None, Some(body)) => format!(" {body}"),
            (None, None) => String::new(),
        };
        let statuses: Vec<String> = self.status.iter().map(u16::to_string).collect();
        let expect: Vec<String> = self
            .expect
            .iter()
            .map(|c| match &c.is {
                Json::String(text) => format!(", {} {text}", c.pointer),
                other => format!(", {} = {other}", c.pointer),
            })
            .collect();
        format!("{} {}{body} wants {}{}", self.method, self.address.path, statuses.join(" or "), expect.concat())
    }
}
