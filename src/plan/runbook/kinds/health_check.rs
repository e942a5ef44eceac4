//! `health_check`: every target answers with the status it should.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::common::{Address, address};
use super::{Misfit, Names, StepKind, Uses, services};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthTarget {
    pub address: Address,
    pub status: u16,
    /// Slower answers count as failures.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub within: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub targets: Vec<HealthTarget>,
}

impl StepKind for HealthCheck {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<HealthCheck> {
        let nodes = f.list(r, "targets");
        if nodes.is_empty() {
            r.error(f.at, "a health check has `targets`", Some("write targets: and below it - url: http://…/health".into()));
        }
        let mut targets = Vec::new();
        for node in nodes {
            let Some(mut inner) = r.fields(node, "a target") else { continue };
            let place = address(r, &mut inner);
            let status = inner.integer(r, "expected_status", 100..=599).unwrap_or(200) as u16;
            let within = inner.duration(r, "within");
            inner.finish(r);
            targets.extend(place.map(|address| HealthTarget { address, status, within }));
        }
        Some(HealthCheck { targets })
    }

    fn describe(&self) -> String {
        self.targets.iter().map(|t| format!("GET {} wants {}", t.address.path, t.status)).collect::<Vec<_>>().join(", ")
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }

    fn fill(&mut self, fill: &mut Fill) {
        self.targets.iter_mut().for_each(|t| t.address.fill(fill));
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        self.targets.iter_mut().for_each(|t| names.address(&mut t.address));
    }

    fn uses(&self) -> Uses {
        services(self.targets.iter().map(|t| &t.address))
    }

    fn validates(&self) -> bool {
        true
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }
}
