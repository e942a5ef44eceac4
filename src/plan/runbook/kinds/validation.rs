//! `validation`: checks on live signals hold, for so long without a break, on so many fresh readings each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::common::{Check, checks, list};
use super::{Misfit, StepKind};
use crate::base::units::short;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    pub checks: Vec<Check>,
    #[serde(rename = "for", with = "millis")]
    pub hold: Duration,
    pub samples: u32,
}

impl StepKind for Validation {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Validation> {
        let checks = checks(r, f, "checks");
        if checks.is_empty() {
            r.error(f.at, "a validation has `checks`", Some("write checks: [\"faithfulness >= 0.85\"]".into()));
        }
        let hold = f.duration(r, "for").unwrap_or_default();
        let samples = f.integer(r, "samples", 1..=10_000).unwrap_or(1) as u32;
        Some(Validation { checks, hold, samples })
    }

    fn describe(&self) -> String {
        let held = if self.hold.is_zero() { String::new() } else { format!(" for {}", short(self.hold)) };
        let fresh = if self.samples > 1 { format!(", {} fresh samples each", self.samples) } else { String::new() };
        format!("{}{held}{fresh}", list(&self.checks))
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.hold.as_secs() * 2 + u64::from(self.samples) * 30 + 30))
    }

    fn fill(&mut self, fill: &mut Fill) {
        self.checks.iter_mut().for_each(|check| check.fill(fill));
    }

    fn checks(&self) -> &[Check] {
        &self.checks
    }

    fn validates(&self) -> bool {
        true
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        match self.hold.is_zero() && self.samples <= 1 {
            true => Ok(()),
            false => Err(("a probe looks once: it has no `for` and no `samples`".into(), None)),
        }
    }

    fn fits(&self, timeout: Duration) -> Result<(), Misfit> {
        match self.hold >= timeout {
            true => {
                Err(("this has to hold for longer than its time-out".into(), Some("leave the time-out away, or make it longer".into())))
            }
            false => Ok(()),
        }
    }
}
