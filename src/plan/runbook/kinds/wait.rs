//! `wait`: a time, or until checks hold, with a limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::common::{Check, checks, list};
use super::{Misfit, StepKind};
use crate::base::units::short;
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub time: Option<Duration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<Check>,
}

impl StepKind for Wait {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Wait> {
        let time = f.duration(r, "time");
        let until = checks(r, f, "until");
        match (time, until.is_empty()) {
            (None, true) => {
                let hint = "write time: 30s, or until: [\"queue_length < 10\"] with a timeout";
                r.error(f.at, "nothing says how long to wait", Some(hint.into()));
            }
            (Some(_), false) => {
                r.error(f.at, "this waits for a `time` and `until`", Some("write one of them; `timeout` limits `until`".into()));
            }
            _ => {}
        }
        Some(Wait { time, until })
    }

    fn describe(&self) -> String {
        match self.time {
            Some(time) => format!("wait {}", short(time)),
            None => format!("until {}", list(&self.until)),
        }
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.time.map_or(600, |time| time.as_secs() + 60)))
    }

    fn fill(&mut self, fill: &mut Fill) {
        self.until.iter_mut().for_each(|check| check.fill(fill));
    }

    fn checks(&self) -> &[Check] {
        &self.until
    }

    fn fits(&self, timeout: Duration) -> Result<(), Misfit> {
        match self.time {
            Some(time) if time >= timeout => {
                Err(("this waits for longer than its time-out".into(), Some("leave the time-out away".into())))
            }
            _ => Ok(()),
        }
    }
}
