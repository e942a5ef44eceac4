//! HTTP probes: is the service there, right and quick? A probe's answer is the number of its failures in a row, so that
//! "three times running" can be said; why it failed and how long it took stand in the notes. JSON answers can be read too.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use super::web::{Web, json, status_fault};
use super::{Answer, Boxed, Client, from_json, not_understood};
use crate::base::text::fit;
use crate::base::units::short;
use crate::observe::reading::{Ask, Fault, FaultKind, ProbeSpec, Value};

pub struct Probe {
    web: Web,
    failures: Mutex<HashMap<String, u32>>,
}

/// Why a probe fails: nobody answers, or the answer is not the right one.
enum Wrong {
    Away(Fault),
    Answer(String),
}

impl Probe {
    pub fn new(web: Web) -> Probe {
        Probe { web, failures: Mutex::default() }
    }

    /// How long a right answer took and its status, or what was wrong.
    async fn try_once(&self, spec: &ProbeSpec) -> Result<String, Wrong> {
        let started = Instant::now();
        let request = self.web.request(&spec.method, &spec.path).map_err(Wrong::Away)?;
        let response = self.web.send(request).await.map_err(Wrong::Away)?;
        let took = started.elapsed();
        if response.status.as_u16() != spec.status {
            return Err(Wrong::Answer(format!("status {} instead of {}", response.status.as_u16(), spec.status)));
        }
        if let Some(pattern) = &spec.body {
            let pattern = regex::Regex::new(pattern).map_err(|e| Wrong::Answer(format!("the body pattern is wrong: {e}")))?;
            if !pattern.is_match(&response.text()) {
                return Err(Wrong::Answer(format!("the body does not match `{pattern}`: {}", fit(&response.text(), 60))));
            }
        }
        if let Some(limit) = spec.within.filter(|limit| took > *limit) {
            return Err(Wrong::Answer(format!("answered after {}, allowed are {}", short(took), short(limit))));
        }
        Ok(format!("{} in {}", response.status.as_u16(), short(took)))
    }
}

impl Client for Probe {
    /// Whatever it says, as long as it is no fault of the server's.
    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move {
            let response = self.web.send(self.web.get("")?).await?;
            if response.status.is_success() {
                Ok(())
            } else {
                Err(Fault::new(FaultKind::Unavailable, status_fault(response.status, "").message))
            }
        })
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            match ask {
                Ask::Probe(spec) => {
                    let result = self.try_once(spec).await;
                    // Two that differ in anything fail each by itself.
                    let key = format!("{spec:?}");
                    let mut failures = self.failures.lock().unwrap_or_else(|p| p.into_inner());
                    let count = failures.entry(key).or_default();
                    *count = if result.is_ok() { 0 } else { count.saturating_add(1) };
                    let (note, away) = match result {
                        Ok(words) | Err(Wrong::Answer(words)) => (words, None),
                        Err(Wrong::Away(fault)) => (fault.message.clone(), Some(fault)),
                    };
                    let notes = vec![crate::base::secret::sanitize(&note)];
                    Ok(Answer { notes, away, ..Answer::now(Value::Number(f64::from(*count))) })
                }
                Ask::Json { path, pointer } => {
                    let response = self.web.send(self.web.get(path)?).await?;
                    if !response.status.is_success() {
                        return Err(status_fault(response.status, &response.text()));
                    }
                    from_json(&json(&response.body)?, pointer).map(Answer::now)
                }
                other => Err(not_understood(other)),
            }
        })
    }
}
