//! Exposition pages read directly: the way to see when there is no Prometheus, or it is down. The pages go into an
//! embedded engine that answers the same PromQL, or refuses.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

// Evaluation is work: other tasks of the thread go on elsewhere meanwhile.
use tokio::task::block_in_place;

use super::web::{Web, status_fault};
use super::{Answer, Boxed, Client, LastSample, not_understood, prometheus};
use crate::base::clock::Stamp;
use crate::observe::engine::{Engine, EngineError, Format, Limits, Page, Sample, Sampled, parse, supported};
use crate::observe::reading::{Ask, Fault, FaultKind, LabelledValue, Lines, Value};

/// Samples whose own time is further ahead are refused, as Prometheus does.
const AHEAD: Duration = Duration::from_secs(600);

/// One page: where it is and the labels its series get.
pub struct PageTarget {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub web: Web,
    /// What it goes by here: no two have the same.
    pub key: String,
}

impl PageTarget {
    pub fn new(name: String, labels: Vec<(String, String)>, web: Web) -> PageTarget {
        let key = web.shown_url();
        PageTarget { name, labels, web, key }
    }
}

#[derive(Clone, Debug)]
pub struct ScrapeOptions {
    pub every: Duration,
    pub timeout: Duration,
    pub limits: Limits,
}

pub struct Scrape {
    targets: Vec<PageTarget>,
    options: ScrapeOptions,
    engine: Engine,
    /// The newest result of each target.
    /// What the pages hold, also of what nobody asks.
    names: Mutex<BTreeSet<String>>,
    seen: Mutex<HashMap<String, PageSeen>>,
    /// Whether every target has been tried once.
    tried: tokio::sync::watch::Sender<bool>,
}

#[derive(Clone)]
struct PageSeen {
    last_good: Option<Stamp>,
    fault: Option<Fault>,
    note: Option<String>,
}

impl Scrape {
    /// # Errors
    /// When the embedded engine cannot be made.
    pub fn new(targets: Vec<PageTarget>, options: ScrapeOptions, queries: &[String]) -> Result<Scrape, EngineError> {
        let mut targets = targets;
        for at in 0..targets.len() {
            // Two may share a name, and differ in the query of their addresses, which may hold a secret.
            let shown = targets[at].web.shown_url();
            let same = targets[..at].iter().filter(|other| other.web.shown_url() == shown).count();
            targets[at].key = if same == 0 { shown } else { format!("{shown} ({})", same + 1) };
        }
        let engine = Engine::new(options.limits)?.keeping(queries.iter().map(String::as_str));
        Ok(Scrape {
            targets,
            options,
            engine,
            seen: Mutex::default(),
            names: Mutex::default(),
            tried: tokio::sync::watch::channel(false).0,
        })
    }

    async fn read(self: &Arc<Self>, target: &PageTarget) {
        let fetched = async {
            let response = target.web.send(target.web.get("")?).await?;
            if !response.status.is_success() {
                return Err(status_fault(response.status, &response.text()));
            }
            let format = Format::of(response.content_type.as_deref());
            // Two names that differ only in what cannot be read would become one.
            if std::str::from_utf8(&response.body).is_err() {
                return Err(Fault::new(FaultKind::Garbage, "the page is not UTF-8"));
            }
            Ok((response.text(), format))
        };
        let fetched = match tokio::time::timeout(self.options.timeout, fetched).await {
            Ok(fetched) => fetched,
            Err(_) => Err(Fault::new(FaultKind::Timeout, format!("{} did not answer in time", target.web.shown_url()))),
        };
        let at = prometheus::now();
        let (this, name, labels) = (Arc::clone(self), target.key.clone(), target.labels.clone());
        // A page may have 100,000 lines: parsing is work for another thread.
        let stored = tokio::task::spawn_blocking(move || this.store(&name, &labels, fetched, at)).await;
        if stored.is_err() {
            log::error!(target: "source", "reading the page of {} ended in a panic", target.name);
        }
        let tried = self.seen.lock().unwrap_or_else(|p| p.into_inner()).len();
        if tried == self.targets.len() {
            self.tried.send_replace(true);
        }
    }

    fn store(&self, name: &str, labels: &[(String, String)], fetched: Result<(String, Format), Fault>, at: Stamp) {
        let (page, fault) = match fetched.map(|(text, format)| parse(&text, format)) {
            // As with Prometheus: of a page that is not wholly understood nothing is taken.
            Ok(Page { lost, errors, .. }) if lost > 0 => {
                let first = errors.first().map_or_else(String::new, ToString::to_string);
                let words = format!("{lost} of the page's lines cannot be read, the first is {first}");
                (Page::default(), Some(Fault::new(FaultKind::Garbage, words)))
            }
            Ok(page) => (page, None),
            Err(fault) => (Page::default(), Some(fault)),
        };
        let up = Sample { name: "up".into(), labels: Vec::new(), value: f64::from(u8::from(fault.is_none())), at: None };
        let ahead = page.samples.iter().filter(|sample| sample.at.is_some_and(|own| own.since(at) > AHEAD)).count();
        let note = (ahead > 0).then(|| format!("{name}: {ahead} samples are from the future and left out: the clocks differ"));
        {
            let mut names = self.names.lock().unwrap_or_else(|p| p.into_inner());
            for sample in &page.samples {
                if !names.contains(&sample.name) {
                    names.insert(sample.name.clone());
                }
            }
        }
        let mut samples = page.samples;
        samples.retain(|sample| sample.at.is_none_or(|own| own.since(at) <= AHEAD));
        samples.push(up);
        let fault = fault.or_else(|| {
            let error = self.engine.ingest(name, labels, &samples, at).err()?;
            Some(Fault::new(FaultKind::TooLarge, error.to_string()))
        });
        let mut seen = self.seen.lock().unwrap_or_else(|p| p.into_inner());
        let before = seen.get(name).and_then(|s| s.last_good);
        let last_good = if fault.is_none() { Some(at) } else { before };
        seen.insert(name.to_string(), PageSeen { last_good, fault, note });
    }

    /// What every answer has to carry: faults when no target answers, notes when some do not.
    async fn standing(&self) -> Result<TargetRecord, Fault> {
        // The sender lives as long as this does, so the wait can only end well.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
        let seen = self.seen.lock().unwrap_or_else(|p| p.into_inner());
        if seen.is_empty() {
            return Err(Fault::new(FaultKind::Empty, "no page has been read yet"));
        }
        if let Some(fault) = seen.values().all(|s| s.fault.is_some()).then(|| seen.values().find_map(|s| s.fault.clone())).flatten() {
            // Whatever the page said, without it the source is away.
            let kind = if fault.kind.is_of_source() { fault.kind } else { FaultKind::Unavailable };
            return Err(Fault { kind, ..fault });
        }
        let mut notes: Vec<String> = seen.values().filter_map(|s| s.note.clone()).collect();
        notes.extend(seen.iter().filter_map(|(name, s)| s.fault.as_ref().map(|f| format!("{name}: {f}"))));
        let oldest = seen.values().filter(|s| s.fault.is_none()).filter_map(|s| s.last_good).min();
        // A sum over targets of which one is away is not the sum.
        let partial = seen.values().any(|s| s.fault.is_some());
        Ok(TargetRecord { oldest, notes, partial })
    }
}

/// How it is said that pages have not been read for long enough.
pub const SO_FAR: &str = "read directly so far";

/// How the targets are, together.
struct TargetRecord {
    /// The oldest of their newest pages.
    oldest: Option<Stamp>,
    notes: Vec<String>,
    /// Some target is away.
    partial: bool,
}

impl Scrape {
    /// Whether the pages have been read for less than half of what the query looks back on: a rate over an hour of which
    /// a minute was seen says nothing about the hour.
    fn too_short(&self, query: &crate::observe::engine::Supported, notes: &mut Vec<String>) -> bool {
        let covers = self.engine.covers(prometheus::now());
        let short = covers < query.reach / 2;
        if short {
            let (seen, wanted) = (crate::base::units::short(covers), crate::base::units::short(query.reach));
            notes.insert(0, format!("only {seen} of {wanted} {SO_FAR}"));
        }
        short
    }

    fn newest_times(&self, selectors: &[String]) -> Result<HashMap<String, LastSample>, Fault> {
        let now = prometheus::now();
        let mut found = HashMap::new();
        for selector in selectors {
            let Ok(query) = supported(&format!("max(timestamp({selector}))")) else { continue };
            let series = self.engine.instant(&query, now).map_err(evaluation)?;
            if let Some((_, seconds)) = series.first().and_then(|s| s.points.first()) {
                found.insert(selector.clone(), LastSample { at: Stamp::from_seconds(*seconds), gone: false });
            }
        }
        Ok(found)
    }
}

/// A query for the engine, or the refusal.
fn admitted(ask: &Ask) -> Result<crate::observe::engine::Supported, Fault> {
    let Ask::Promql { query, .. } = ask else { return Err(not_understood(ask)) };
    supported(query).map_err(|e| Fault::new(FaultKind::Query, e.to_string()))
}

fn labels(series: &[Sampled]) -> Vec<Arc<str>> {
    let maps: Vec<prometheus::LabelMap> = series.iter().map(|one| one.labels.iter().cloned().collect()).collect();
    prometheus::labels(maps.iter())
}

fn evaluation(error: EngineError) -> Fault {
    Fault::new(FaultKind::Query, error.to_string())
}

impl Client for Scrape {
    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            let query = admitted(ask)?;
            let TargetRecord { oldest: at, mut notes, partial } = self.standing().await?;
            let partial = self.too_short(&query, &mut notes) || partial;
            let series = block_in_place(|| self.engine.instant(&query, prometheus::now())).map_err(evaluation)?;
            let named = series.iter().zip(labels(&series));
            let lines = named.filter_map(|(s, label)| Some(LabelledValue { label, value: s.points.last()?.1 })).collect();
            Ok(Answer { at, notes, partial, ..Answer::now(prometheus::value_of(lines)) })
        })
    }

    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move { self.standing().await.map(drop) })
    }

    fn names(&self) -> Boxed<'_, Result<Vec<String>, Fault>> {
        Box::pin(async move {
            self.standing().await?;
            Ok(self.names.lock().unwrap_or_else(|p| p.into_inner()).iter().cloned().collect())
        })
    }

    fn has_range(&self, ask: &Ask) -> bool {
        matches!(ask, Ask::Promql { .. })
    }

    fn range<'a>(&'a self, ask: &'a Ask, start: Stamp, end: Stamp, step: Duration) -> Boxed<'a, Result<(Lines, Answer), Fault>> {
        Box::pin(async move {
            let query = admitted(ask)?;
            let TargetRecord { oldest: at, mut notes, partial } = self.standing().await?;
            let partial = self.too_short(&query, &mut notes) || partial;
            let series = block_in_place(|| self.engine.range(&query, start, end, step)).map_err(evaluation)?;
            let lines = labels(&series).into_iter().zip(series.into_iter().map(|s| s.points)).collect();
            Ok((lines, Answer { at, notes, partial, ..Answer::now(Value::Lines(Vec::new())) }))
        })
    }

    fn newest<'a>(&'a self, selectors: &'a [String]) -> Boxed<'a, Result<HashMap<String, LastSample>, Fault>> {
        Box::pin(async move {
            self.standing().await?;
            block_in_place(|| self.newest_times(selectors))
        })
    }

    fn background(self: Arc<Self>) -> Option<Boxed<'static, ()>> {
        Some(Box::pin(async move {
            // Each target on its own: one that hangs keeps no other waiting.
            let rounds = self.targets.iter().map(|target| async {
                let mut tick = tokio::time::interval(self.options.every);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tick.tick().await;
                    self.read(target).await;
                }
            });
            futures_util::future::join_all::<_>(rounds).await;
        }))
    }

    fn trouble(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(|p| p.into_inner());
        let faults = seen.iter().filter_map(|(name, s)| s.fault.as_ref().map(|f| format!("{name}: {f}")));
        faults.chain(seen.values().filter_map(|s| s.note.clone())).next()
    }
}
