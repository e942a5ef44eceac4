//! The names of one step, looked up where its plan is made: services, databases, channels, files, snapshots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::context::PlanningContext;
use super::kinds::{Address, Names, StepSettings};
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

    fn settings(&self) -> Arc<StepSettings> {
        self.world.settings.clone()
    }

    fn snapshot(&mut self, wanted: &str) -> Option<String> {
        let known = &self.world.snapshots;
        let found = match wanted {
            "latest" => known.iter().find(|known| !known.safety),
            "golden" => known.iter().find(|known| known.golden),
            id => known.iter().find(|known| known.id == id),
        };
        match found {
            Some(known) => Some(known.id.clone()),
            // Which there will be is not known before.
            None if self.only_checks => Some(wanted.to_string()),
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

    fn is_open(&self, name: &str) -> bool {
        self.only_checks && template::is_template(name)
    }

    fn wrong(&mut self, words: String, hint: Option<String>) {
        self.problem(words, hint);
    }
}
