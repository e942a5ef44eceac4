//! The names of one step, looked up where its plan is made: services, databases, channels, files, and what a configuration
//! has of the rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::context::PlanningContext;
use super::kinds::{Address, Names};
use super::switch::Weight;
use super::template;
use crate::base::diag::suggestion;
use crate::base::text::hex;

/// The names of one step, looked up where its plan is made.
pub struct StepNames<'p> {
    pub world: &'p PlanningContext,
    /// Gives the bytes of a script file.
    pub read: &'p dyn Fn(&Path) -> Result<Vec<u8>, String>,
    /// Nothing is to be run: what depends on an input may be open.
    pub only_checks: bool,
    pub problems: &'p mut Vec<String>,
    /// The file and line of the step.
    pub here: &'p str,
    pub step: &'p str,
    /// Where the runbook is.
    pub folder: PathBuf,
}

impl StepNames<'_> {
    fn problem(&mut self, text: String, hint: Option<String>) {
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        self.problems.push(format!("{}: step `{}`: {text}{hint}", self.here, self.step));
    }

    /// Whether a name depends on an input that is left open.
    fn is_open(&self, name: &str) -> bool {
        self.only_checks && template::is_template(name)
    }
}

impl Names for StepNames<'_> {
    fn address(&mut self, address: &mut Address) {
        let known = &self.world.services;
        if let Some(service) = &address.service {
            match known.get(service) {
                None if self.is_open(service) => return,
                Some(base) => address.path = format!("{}/{}", base.trim_end_matches('/'), address.path.trim_start_matches('/')),
                None => {
                    let hint = suggestion(service, known.keys().map(String::as_str));
                    let hint = hint.or_else(|| Some(format!("add [services.{service}] with url = \"http://…\" to the configuration")));
                    self.problem(format!("there is no service `{service}`"), hint);
                    return;
                }
            }
        }
        // A late template makes its URL only in the run.
        if !template::is_template(&address.path)
            && let Err(e) = url::Url::parse(&address.path)
        {
            self.problem(format!("`{}` is not a URL: {e}", address.path), None);
        }
    }

    fn database(&mut self, name: &str) -> Option<String> {
        let known = &self.world.databases;
        if known.contains_key(name) || self.is_open(name) {
            return known.get(name).cloned();
        }
        let hint = suggestion(name, known.keys().map(String::as_str));
        self.problem(format!("there is no database `{name}`"), hint);
        None
    }

    fn channels(&mut self, channels: &mut Vec<String>) {
        let known = &self.world.channels;
        if channels.is_empty() {
            channels.extend(known.keys().cloned());
        }
        for channel in channels.iter().filter(|name| !known.contains_key(*name)) {
            if !self.is_open(channel) {
                let hint = suggestion(channel, known.keys().map(String::as_str));
                self.problem(format!("there is no channel `{channel}`"), hint);
            }
        }
    }

    fn file(&mut self, file: &str) -> Option<(String, Option<String>)> {
        if self.is_open(file) {
            return None;
        }
        let path = self.folder.join(file);
        let sum = match (self.read)(&path) {
            Ok(bytes) => Some(hex(&Sha256::digest(&bytes))),
            Err(e) => {
                self.problem(format!("{}: {e}", path.display()), None);
                None
            }
        };
        Some((path.display().to_string(), sum))
    }

    fn traffic(&mut self, weight: Option<Weight>) -> Option<String> {
        let Some(switch) = &self.world.switch else {
            let hint = "add [traffic] with kind = \"http\", \"command\", \"haproxy\", \"file\" or \"kubectl\" to the configuration";
            self.problem("there is no switch of the traffic".into(), Some(hint.into()));
            return None;
        };
        weight.map(|weight| switch.call(weight))
    }

    fn analysis(&mut self) -> Option<(Duration, String)> {
        let known = self.world.analysis.clone();
        if known.is_none() {
            let hint = "add [canary] with [canary.metrics.NAME] canary = \"…\" and stable = \"…\" to the configuration";
            self.problem("there is nothing that a canary is judged by".into(), Some(hint.into()));
        }
        known
    }

    fn release(&mut self, version: Option<&str>) -> Option<String> {
        let Some(release) = &self.world.release else {
            let hint = "add [release] with deploy = [\"./deploy\", \"{{ version }}\"] and running = [\"./running\"] to the configuration";
            self.problem("nothing says how a version is brought out".into(), Some(hint.into()));
            return None;
        };
        version.map(|version| release.call(version))
    }

    fn snapshots(&mut self, wanted: Option<&str>) -> Option<(String, String)> {
        let Some(snapshots) = &self.world.snapshots else {
            let hint = "add [snapshots] with databases = [\"NAME\"] and collections = [\"NAME\"] to the configuration";
            self.problem("nothing says what a snapshot is taken of".into(), Some(hint.into()));
            return None;
        };
        let Some(wanted) = wanted else { return Some((snapshots.what.clone(), String::new())) };
        match snapshots.find(wanted) {
            Some(id) => Some((snapshots.how.clone(), id.to_string())),
            // Which there will be is not known before.
            None if self.only_checks => Some((snapshots.how.clone(), wanted.to_string())),
            None => {
                let hint = match wanted {
                    "golden" => "lastgreen snapshot golden ID --why TEXT",
                    _ => "lastgreen snapshot list",
                };
                self.problem(format!("there is no snapshot `{wanted}`"), Some(hint.into()));
                None
            }
        }
    }

    fn gates(&mut self, gates: &mut Vec<String>, of_canary: bool) -> Vec<String> {
        let known = &self.world.gates;
        if of_canary {
            let wanted = self.world.canary_gates.iter().filter(|name| !gates.contains(name)).cloned().collect::<Vec<_>>();
            gates.extend(wanted);
        }
        let checks = gates.iter().filter_map(|name| known.get(name)).flatten().cloned().collect();
        for name in gates.iter().filter(|name| !known.contains_key(*name)) {
            if !self.is_open(name) {
                let hint = suggestion(name, known.keys().map(String::as_str));
                let hint = hint.or_else(|| Some(format!("add [gates.{name}.CHECK] with a kind to the configuration")));
                self.problem(format!("there is no gate `{name}`"), hint);
            }
        }
        checks
    }

    fn wrong(&mut self, words: String) {
        self.problem(words, None);
    }
}
