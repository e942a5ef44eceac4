//! `traffic`: the canary's share, set through the environment's switch and believed when it is observed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, Misfit, Names, StepKind, Uses};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::switch::{ALL, Weight};
use crate::plan::runbook::template::{self, Fill};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// In per cent; `stable` is none of it, `canary` all of it, `before` what there was when the step began.
    pub to: String,
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
        match self.to.trim().trim_end_matches('%').trim_end() {
            "stable" => Ok(Some(0)),
            "canary" => Ok(Some(ALL)),
            BEFORE => Ok(None),
            text => match text.parse::<Weight>() {
                Ok(weight) if weight <= ALL => Ok(Some(weight)),
                _ => Err(format!("`{}` is no share of the traffic: write a whole number from 0 to 100, stable or canary", self.to)),
            },
        }
    }

    fn wanted(&self) -> String {
        match self.weight() {
            Ok(Some(weight)) => format!("{weight} %"),
            _ => self.to.clone(),
        }
    }
}

impl StepKind for Traffic {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Traffic> {
        let to = f.required(r, "to", "10, or to: stable")?;
        let traffic = Traffic { to: to.text, call: String::new(), mutates: f.flag(r, "mutates").unwrap_or(true) };
        if !template::is_template(&traffic.to)
            && let Err(e) = traffic.weight()
        {
            r.error(to.at, e, None);
        }
        Some(traffic)
    }

    fn describe(&self) -> String {
        match (self.mutates, self.call.is_empty()) {
            (false, _) => format!("observed traffic of the canary is {}", self.wanted()),
            (true, true) => format!("traffic of the canary to {}", self.wanted()),
            (true, false) => format!("{}, until observed {}", self.call, self.wanted()),
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
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        if template::is_template(&self.to) {
            names.traffic(None);
            return;
        }
        match self.weight() {
            Ok(weight) => self.call = names.traffic(weight).unwrap_or_default(),
            Err(e) => names.wrong(e),
        }
    }

    fn uses(&self) -> Uses {
        Uses { traffic: true, ..Uses::default() }
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }

    fn own_probe(&self) -> Option<Kind> {
        self.mutates.then(|| Kind::Traffic(Traffic { call: String::new(), mutates: false, ..self.clone() }))
    }

    fn own_undo(&self) -> Option<Kind> {
        self.mutates.then(|| Kind::Traffic(Traffic { to: BEFORE.into(), call: String::new(), mutates: true }))
    }
}
