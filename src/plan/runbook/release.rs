//! The release of an application: how a version is brought out, how the version that runs is read, and which was green last.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::millis;
use super::template::render;
use crate::base::clock::Stamp;
use crate::base::endpoint::Endpoint;

/// How versions are brought out and read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub deploy: Deploy,
    /// How long until the version that runs has to be the one that was asked for.
    #[serde(with = "millis")]
    pub within: Duration,
    /// How long one answer may take.
    #[serde(with = "millis")]
    pub timeout: Duration,
    pub last_green: LastGreenFrom,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deploy {
    /// A request whose body is a template, and a JSON pointer to the version that runs.
    Http { endpoint: Box<Endpoint>, method: String, path: String, body: String, read: String, pointer: String },
    /// Programs with their arguments: one brings a version out, one prints the version that runs.
    Command { deploy: Vec<String>, running: Vec<String> },
}

/// Who knows which version was green last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastGreenFrom {
    /// The newest run that brought a version out and is done.
    Journal,
    /// A program that prints JSON with `version`, `at` and `verdict`.
    Command(Vec<String>),
    /// A row with the columns `version`, `at` and `verdict`, of a database source.
    Query { source: String, query: String },
}

/// A version that has passed what it had to pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGreen {
    pub version: String,
    /// When it was found to be green, where that is known.
    pub at: Option<Stamp>,
}

/// The verdicts that mean that a release is good.
const GREEN: [&str; 6] = ["green", "pass", "passed", "ok", "success", "done"];

impl LastGreen {
    /// Of a document with `version`, `at` and `verdict`.
    ///
    /// # Errors
    /// What is missing, or not green.
    pub fn read(document: &serde_json::Value) -> Result<LastGreen, String> {
        let text = |name: &str| document.get(name).and_then(|value| value.as_str()).map(str::trim).filter(|text| !text.is_empty());
        let version = text("version").ok_or("it says no `version`")?;
        let verdict = text("verdict").ok_or("it says no `verdict`")?;
        if !GREEN.contains(&verdict.to_lowercase().as_str()) {
            return Err(format!("{version} is `{verdict}`, and not green"));
        }
        if !is_version(version) {
            return Err(format!("`{version}` is no version"));
        }
        Ok(LastGreen { version: version.into(), at: text("at").and_then(Stamp::parse) })
    }
}

/// Whether a text may stand where a version is asked for: it becomes an argument of a program.
pub fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+:/@".contains(c))
}

impl Release {
    /// A template with a version in it.
    ///
    /// # Errors
    /// What the template says that there is not.
    pub fn render(template: &str, version: &str) -> Result<String, String> {
        render(template, &json!({"version": version}))
    }

    /// # Errors
    /// As for a template.
    pub fn argv(templates: &[String], version: &str) -> Result<Vec<String>, String> {
        templates.iter().map(|word| Release::render(word, version)).collect()
    }

    /// The exact call for a version, in one line.
    pub fn call(&self, version: &str) -> String {
        let shown = |template: &str| Release::render(template, version).unwrap_or_else(|e| format!("({e})"));
        match &self.deploy {
            Deploy::Http { endpoint, method, path, body, .. } => {
                let base = endpoint.shown();
                format!("{method} {}/{} {}", base.trim_end_matches('/'), shown(path).trim_start_matches('/'), shown(body))
            }
            Deploy::Command { deploy, .. } => deploy.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" "),
        }
    }

    /// What it brings versions out to, as people read it.
    pub fn place(&self) -> String {
        match &self.deploy {
            Deploy::Http { endpoint, .. } => endpoint.shown(),
            Deploy::Command { deploy, .. } => deploy.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_to_be_green_is() {
        let read = |document: serde_json::Value| LastGreen::read(&document).map(|green| green.version);
        assert_eq!(read(json!({"version": "v1.4.2", "at": "2026-11-12T02:40:00Z", "verdict": "green"})), Ok("v1.4.2".into()));
        assert_eq!(read(json!({"version": "v1.5.0", "verdict": "red"})), Err("v1.5.0 is `red`, and not green".into()));
        assert!(read(json!({"version": "v1.5.0"})).is_err(), "what nobody judged is not green");
        assert!(read(json!({"verdict": "green"})).is_err());
        assert!(read(json!({"version": "--force", "verdict": "green"})).is_err(), "it becomes an argument");
        assert!(!is_version("v1; rm -rf /") && is_version("registry/app:1.2.3@sha256:ab"));
    }
}
