//! HTTP probes: is the service there, right and quick? A probe's answer is the number of its failures in a row, so that
//! "three times running" can be said; why it failed and how long it took stand in the notes. JSON answers can be read too.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::prometheus::now;
use super::web::{Response, Web, json, status_fault};
use super::{Answer, Boxed, Client, from_json, not_understood};
use crate::base::clock::Stamp;
use crate::base::text::fit;
use crate::base::units::short;
use crate::observe::reading::{Ask, Fault, FaultKind, ProbeSpec, Value};

pub struct Probe {
    web: Web,
    failures: Mutex<HashMap<String, u32>>,
    /// The date that each path's answer bore last, and since when it bears that.
    dates: Mutex<HashMap<String, (Stamp, Stamp)>>,
}

/// A date has no parts of a second, and some servers make theirs only every second or two.
const SAME_DATE: Duration = Duration::from_secs(3);

/// Why a probe fails: nobody answers, or the answer is not the right one.
enum ProbeWrong {
    Away(Fault),
    Answer(String),
}

impl Probe {
    pub fn new(web: Web) -> Probe {
        Probe { web, failures: Mutex::default(), dates: Mutex::default() }
    }

    /// When an answer was made. One out of a cache says how old it is, or goes on bearing one date while time goes by.
    fn made(&self, path: &str, response: &Response) -> Option<Stamp> {
        let now = now();
        let mut dates = self.dates.lock().unwrap_or_else(|p| p.into_inner());
        let since = response.date.map(|date| {
            let seen = dates.entry(path.into()).or_insert((date, now));
            if seen.0 != date {
                *seen = (date, now);
            }
            now.since(seen.1)
        });
        let age = response.age.unwrap_or_default().max(since.unwrap_or_default());
        (age > SAME_DATE).then(|| now.minus(age))
    }

    /// How long a right answer took and its status, or what was wrong; and when the answer was made, if not now.
    async fn try_once(&self, spec: &ProbeSpec) -> Result<(String, Option<Stamp>), ProbeWrong> {
        let started = Instant::now();
        let request = self.web.request(&spec.method, &spec.path).map_err(ProbeWrong::Away)?;
        // Others of this source may be waited for longer.
        let longest = spec.timeout.unwrap_or(Duration::MAX);
        let sent = tokio::time::timeout(longest, self.web.send(request)).await;
        let late = |_| Err(Fault::new(FaultKind::Timeout, format!("no answer within {}", short(longest))));
        let response = sent.unwrap_or_else(late).map_err(ProbeWrong::Away)?;
        let took = started.elapsed();
        if response.status.as_u16() != spec.status {
            return Err(ProbeWrong::Answer(format!("status {} instead of {}", response.status.as_u16(), spec.status)));
        }
        if let Some(pattern) = &spec.body {
            let pattern = regex::Regex::new(pattern).map_err(|e| ProbeWrong::Answer(format!("the body pattern is wrong: {e}")))?;
            if !pattern.is_match(&response.text()) {
                return Err(ProbeWrong::Answer(format!("the body does not match `{pattern}`: {}", fit(&response.text(), 60))));
            }
        }
        if let Some(limit) = spec.within.filter(|limit| took > *limit) {
            return Err(ProbeWrong::Answer(format!("answered after {}, allowed are {}", short(took), short(limit))));
        }
        let at = self.made(&spec.path, &response);
        let cached = if at.is_some() { ", out of a cache" } else { "" };
        Ok((format!("{} in {}{cached}", response.status.as_u16(), short(took)), at))
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
                    let result = match self.try_once(spec).await {
                        // Nobody was asked: that says nothing of whoever would have been.
                        Err(ProbeWrong::Away(fault)) if fault.kind == FaultKind::Local => return Err(fault),
                        result => result,
                    };
                    // Two that differ in anything fail each by itself.
                    let key = format!("{spec:?}");
                    let mut failures = self.failures.lock().unwrap_or_else(|p| p.into_inner());
                    let count = failures.entry(key).or_default();
                    *count = if result.is_ok() { 0 } else { count.saturating_add(1) };
                    let (note, at, away) = match result {
                        Ok((words, at)) => (words, at, None),
                        Err(ProbeWrong::Answer(words)) => (words, None, None),
                        Err(ProbeWrong::Away(fault)) => (fault.message.clone(), None, Some(fault)),
                    };
                    let notes = vec![crate::base::secret::sanitize(&note)];
                    Ok(Answer { at, notes, away, ..Answer::now(Value::Number(f64::from(*count))) })
                }
                Ask::Json { path, pointer } => {
                    let response = self.web.send(self.web.get(path)?).await?;
                    if !response.status.is_success() {
                        return Err(status_fault(response.status, &response.text()));
                    }
                    let at = self.made(path, &response);
                    let notes = at.map(|_| "the answer comes out of a cache".to_string()).into_iter().collect();
                    from_json(&json(&response.body)?, pointer).map(|value| Answer { at, notes, ..Answer::now(value) })
                }
                other => Err(not_understood(other)),
            }
        })
    }
}
