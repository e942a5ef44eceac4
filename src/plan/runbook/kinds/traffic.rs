//! `traffic`: the canary's share, set through the environment's switch and believed when it is observed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, Misfit, Names, Section, SectionSettings, StepKind, Uses};
use crate::base::secret::SecretRef;
use crate::base::units::short;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::switch::{ALL, Switch, SwitchKind, Weight};
use crate::plan::runbook::template::{self, Fill};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// In per cent; `stable` is none of it, `canary` all of it, `before` what there was when the step began.
    pub to: String,
    /// What has to be observed before it is turned: whoever planned it has seen that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How long it has to stay there: who turns it away meanwhile is answered by turning it back.
    #[serde(default, with = "millis::maybe", rename = "for", skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// The exact call, once that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call: String,
    /// Without it, it only looks.
    pub mutates: bool,
}

/// What an undo goes back to.
const BEFORE: &str = "before";

impl Traffic {
    /// The weight that is wanted; `None`: what there was before.
    ///
    /// # Errors
    /// What to write instead.
    pub fn weight(&self) -> Result<Option<Weight>, String> {
        if self.to.trim() == BEFORE { Ok(None) } else { share(&self.to).map(Some) }
    }

    /// The weight that it has to begin at, where one is said.
    ///
    /// # Errors
    /// What to write instead.
    pub fn begins_at(&self) -> Result<Option<Weight>, String> {
        self.from.as_deref().map(share).transpose()
    }

    fn wanted(&self) -> String {
        match self.weight() {
            Ok(Some(weight)) => format!("{weight} %"),
            Ok(None) => "what it was before".into(),
            Err(_) => self.to.clone(),
        }
    }
}

fn share(text: &str) -> Result<Weight, String> {
    match text.trim().trim_end_matches('%').trim_end() {
        "stable" => Ok(0),
        "canary" => Ok(ALL),
        number => match number.parse::<Weight>() {
            Ok(weight) if weight <= ALL => Ok(weight),
            _ => Err(format!("`{text}` is no share of the traffic: write a whole number from 0 to 100, stable or canary")),
        },
    }
}

impl SectionSettings for Switch {
    fn secrets(&self) -> Vec<&SecretRef> {
        match &self.kind {
            SwitchKind::Http { endpoint, .. } | SwitchKind::File { read: Some((endpoint, _)), .. } => endpoint.secrets(),
            _ => Vec::new(),
        }
    }
}

impl StepKind for Traffic {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Traffic> {
        let to = f.required(r, "to", "10, or to: stable")?;
        let from = f.text(r, "from");
        let (mutates, time) = (f.flag(r, "mutates").unwrap_or(true), f.duration(r, "for"));
        let traffic = Traffic { to: to.text, from: from.as_ref().map(|from| from.text.clone()), time, call: String::new(), mutates };
        if !template::is_template(&traffic.to)
            && let Err(e) = traffic.weight()
        {
            r.error(to.at, e, None);
        }
        if let Some(from) = from.filter(|from| !template::is_template(&from.text))
            && let Err(e) = traffic.begins_at()
        {
            r.error(from.at, e, None);
        }
        Some(traffic)
    }

    fn describe(&self) -> String {
        match (self.mutates, self.call.is_empty()) {
            (false, _) => format!("observed traffic of the canary is {}", self.wanted()),
            (true, true) => format!("traffic of the canary to {}", self.wanted()),
            (true, false) => {
                let from = self.from.as_ref().map_or_else(String::new, |from| format!("{from} % → {}: ", self.wanted()));
                let time = self.time.map_or_else(String::new, |time| format!(" for {}", short(time)));
                format!("{from}{}, until observed {}{time}", self.call, self.wanted())
            }
        }
    }

    fn mutates(&self) -> bool {
        self.mutates
    }

    /// To set the same share twice is to set it.
    fn is_idempotent(&self) -> bool {
        true
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.to);
        self.from.iter_mut().for_each(|from| fill.text(from));
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        let settings = names.settings();
        let Some(switch) = &settings.switch else {
            let hint = "add [traffic] with kind = \"http\", \"command\", \"haproxy\", \"file\" or \"kubectl\" to the configuration";
            return names.wrong("there is no switch of the traffic".into(), Some(hint.into()));
        };
        if template::is_template(&self.to) {
            return;
        }
        match self.weight() {
            Ok(weight) => self.call = weight.map(|weight| switch.call(weight)).unwrap_or_default(),
            Err(e) => names.wrong(e, None),
        }
        if self.from.as_ref().is_some_and(|from| !template::is_template(from))
            && let Err(e) = self.begins_at()
        {
            names.wrong(e, None);
        }
    }

    fn uses(&self) -> Uses {
        Uses::section(Section::Traffic)
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }

    fn own_probe(&self) -> Option<Kind> {
        // That it is there now does not say that it has stayed there.
        (self.mutates && self.time.is_none())
            .then(|| Kind::Traffic(Traffic { from: None, time: None, call: String::new(), mutates: false, ..self.clone() }))
    }

    fn own_undo(&self) -> Option<Kind> {
        self.mutates.then(|| Kind::Traffic(Traffic { to: BEFORE.into(), from: None, time: None, call: String::new(), mutates: true }))
    }
}
