//! What several kinds share: places on the network, checks, and the readers of their fields.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::base::secret::SecretRef;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::{self, Fill};

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

impl Check {
    pub(super) fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.signal);
        self.condition.iter_mut().for_each(|condition| fill.text(condition));
    }
}

/// Checks in one line.
pub(super) fn list(checks: &[Check]) -> String {
    checks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A place on the network: a path on a configured service, or a whole URL. In a plan `path` is the URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub path: String,
}

impl Address {
    pub(super) fn fill(&mut self, fill: &mut Fill) {
        self.service.iter_mut().for_each(|service| fill.text(service));
        fill.text(&mut self.path);
    }
}

/// A value in a JSON answer (by pointer) and what it must be: a condition as `>= 3`, or the very value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonCheck {
    pub pointer: String,
    pub is: Json,
}

/// A place: `url: http://…`, or `service: api` with `path: /health` (`endpoint:` in automation files).
pub(super) fn address(r: &mut Reader, f: &mut Fields) -> Option<Address> {
    let url = f.text(r, "url");
    let service = f.text(r, "service");
    let path = f.text(r, "path");
    let endpoint = f.text(r, "endpoint");
    match (&url, &path, &endpoint) {
        (_, Some(path), Some(_)) => r.error(path.at, "this names a `path` and an `endpoint`", Some("write one of them".into())),
        (Some(url), Some(path), _) | (Some(url), _, Some(path)) => {
            let hint = format!("write url: {}/{}", url.text.trim_end_matches('/'), path.text.trim_start_matches('/'));
            r.error(path.at, "this is said beside a whole `url`", Some(hint));
        }
        _ => {}
    }
    let path = endpoint.or(path);
    match (url, service) {
        (Some(url), None) => {
            if url::Url::parse(&url.text).is_ok_and(|u| u.password().is_some()) {
                let hint = "take it out, and name a service with a password in the configuration";
                r.error(url.at, "the password stands inline in `url`", Some(hint.into()));
            }
            if !template::is_template(&url.text) && !url.text.starts_with("http://") && !url.text.starts_with("https://") {
                r.error(url.at, format!("`{}` is not a URL", url.text), Some("begin with http:// or https://".into()));
            }
            Some(Address { service: None, path: url.text })
        }
        (None, Some(service)) => Some(Address { service: Some(service.text), path: path.map_or_else(|| "/".into(), |p| p.text) }),
        (Some(url), Some(_)) => {
            r.error(url.at, "this names a `url` and a `service`", Some("write one of them".into()));
            None
        }
        (None, None) => {
            r.error(f.at, "nothing says where", Some("write url: http://… or service: api with path: /health".into()));
            None
        }
    }
}

pub(super) fn secret_pairs(r: &mut Reader, f: &mut Fields, key: &'static str) -> Vec<(String, SecretRef)> {
    let mut pairs = Vec::new();
    for (name, value) in f.pairs(r, key) {
        if template::is_template(&value.text) {
            r.error(value.at, format!("`{}`: a reference to a secret has no templates", name.text), None);
            continue;
        }
        match SecretRef::parse(&value.text) {
            Ok(reference) => pairs.push((name.text, reference)),
            Err(e) => r.error(value.at, format!("`{}`: {e}", name.text), None),
        }
    }
    pairs
}

pub(super) fn plain_pairs(r: &mut Reader, f: &mut Fields, key: &'static str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in f.pairs(r, key) {
        if telling(&name.text) && !template::is_template(&value.text) && value.text.parse::<f64>().is_err() && !value.text.is_empty() {
            let other = if key == "env" { "secrets" } else { "secret_headers" };
            let hint = format!("put it under `{other}:` as \"env:NAME\", \"file:PATH\" or \"cmd:COMMAND\"");
            r.error(value.at, format!("`{}` looks like a secret written inline", name.text), Some(hint));
        }
        pairs.push((name.text, value.text));
    }
    pairs
}

/// Whether a name tells that its value is a secret: `API_TOKEN`, `X-Api-Key`; not `MAX_TOKENS`.
pub fn telling(name: &str) -> bool {
    let words: Vec<String> = name.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_lowercase).collect();
    let secrets = ["authorization", "token", "passwd", "apikey", "cookie", "credential", "credentials"];
    let keys = ["api", "secret", "access", "private", "signing", "encryption"];
    // What the last word says counts: a `token_budget` is a number, a `cookie_domain` a name.
    match words.as_slice() {
        [.., last] if secrets.contains(&last.as_str()) || last.ends_with("password") || last.ends_with("secret") => true,
        [.., before, last] => last == "key" && keys.contains(&before.as_str()),
        _ => false,
    }
}

/// Whether an expected value is a condition rather than the value itself.
pub fn is_condition(text: &str) -> bool {
    text.starts_with(['<', '>', '≤', '≥']) || text.starts_with("==") || text.starts_with("!=")
}

/// Checks as `faithfulness >= 0.85`, `faithfulness` (its own thresholds), or `metric:`, `operator:`, `value:`.
pub fn checks(r: &mut Reader, f: &mut Fields, key: &'static str) -> Vec<Check> {
    let mut checks = Vec::new();
    for node in f.list(r, key) {
        let at = r.at(node);
        let check = if matches!(node.data, saphyr::YamlData::Mapping(_)) {
            let Some(mut inner) = r.fields(node, "a check") else { continue };
            let metric = inner.text(r, "metric");
            let signal = inner.text(r, "signal").or(metric);
            let operator = inner.string(r, "operator");
            let value = inner.string(r, "value");
            let condition = inner.string(r, "condition");
            inner.finish(r);
            let Some(signal) = signal else {
                r.error(at, "a check names a `signal`", Some("write signal: error_rate with condition: \"< 1%\"".into()));
                continue;
            };
            let condition = match (condition, operator, value) {
                (Some(condition), ..) => Some(condition),
                (None, Some(operator), Some(value)) => Some(format!("{operator} {value}")),
                (None, None, None) => None,
                (None, ..) => {
                    r.error(at, "`operator` and `value` belong together", Some("write operator: \"<\" and value: 0.01".into()));
                    None
                }
            };
            Check { signal: signal.text, condition }
        } else {
            let Some(text) = r.text_of(node, key) else { continue };
            match text.text.split_once(char::is_whitespace) {
                Some((signal, condition)) => Check { signal: signal.into(), condition: Some(condition.trim().into()) },
                None => Check { signal: text.text, condition: None },
            }
        };
        checks.push(check);
    }
    checks
}
