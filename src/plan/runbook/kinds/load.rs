//! `load`: a bounded number of requests, and what their times come to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::common::{Address, address};
use super::{Names, StepKind, Uses, services};
use crate::base::units::{Unit, short, thousands};
use crate::base::yaml::{Fields, Reader};
use crate::plan::runbook::millis;
use crate::plan::runbook::template::Fill;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadTest {
    pub address: Address,
    pub method: String,
    pub requests: u32,
    pub concurrency: u32,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::maybe")]
    pub p95: Option<Duration>,
    /// The share of failed requests that is still accepted.
    pub errors: f64,
}

impl StepKind for LoadTest {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<LoadTest> {
        let place = address(r, f);
        let method = f.choice(r, "method", &[("GET", "GET"), ("POST", "POST"), ("HEAD", "HEAD")]).unwrap_or("GET");
        let errors = f
            .text(r, "errors")
            .and_then(|text| Unit::Ratio.parse(&text.text).map_err(|e| r.error(text.at, e, Some("write errors: 1%".into()))).ok());
        Some(LoadTest {
            address: place?,
            method: method.into(),
            requests: f.integer(r, "requests", 1..=100_000).unwrap_or(500) as u32,
            concurrency: f.integer(r, "concurrency", 1..=256).unwrap_or(10) as u32,
            p95: f.duration(r, "p95"),
            errors: errors.unwrap_or(0.0),
        })
    }

    fn describe(&self) -> String {
        let p95 = self.p95.map_or_else(String::new, |p| format!(", p95 <= {}", short(p)));
        format!(
            "{} {} {} times, {} at once{p95}, errors <= {:.1} %",
            self.method,
            self.address.path,
            thousands(f64::from(self.requests)),
            self.concurrency,
            self.errors * 100.0
        )
    }

    fn mutates(&self) -> bool {
        self.method == "POST"
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(300))
    }

    fn fill(&mut self, fill: &mut Fill) {
        self.address.fill(fill);
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        names.address(&mut self.address);
    }

    fn uses(&self) -> Uses {
        services([&self.address])
    }
}
