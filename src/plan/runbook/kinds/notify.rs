//! `notify`: a message into the outbox, for the channels it names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Misfit, Names, StepKind, Uses};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    pub channels: Vec<String>,
    pub message: String,
}

impl StepKind for Notify {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Notify> {
        let message = f.required(r, "message", "\"Deploying {{ inputs.version }}\"");
        let channels = f.strings(r, "channels");
        message.map(|message| Notify { channels, message: message.text })
    }

    fn describe(&self) -> String {
        format!("notify {}: {}", self.channels.join(", "), self.message.lines().next().unwrap_or(""))
    }

    fn in_full(&self) -> Vec<String> {
        self.message.lines().skip(1).map(str::to_string).collect()
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.texts(&mut self.channels);
        fill.text(&mut self.message);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        names.channels(&mut self.channels);
    }

    fn uses(&self) -> Uses {
        Uses { channels: self.channels.iter().cloned().collect(), ..Uses::default() }
    }

    fn as_undo(&self) -> Result<(), Misfit> {
        Err(("an undo is a step that does something".into(), Some("write a script, http or sql".into())))
    }

    fn fits(&self, _timeout: Duration) -> Result<(), Misfit> {
        Err(("a notify has no time-out: it waits for nobody but whom it asks, or for nothing".into(), None))
    }
}
