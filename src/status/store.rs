//! What is known: every signal's newest readings, history and judgement, every source's status, every rule's state.
//! A pure function of what was delivered and of the clock.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::base::clock::Stamp;
use crate::config::{Config, SignalConfig};
use crate::judge::{Baseline, Evidence, Judgement, Observed, Rule, RuleInput, RuleState, Verdict, judge, observe};
use crate::observe::reading::{Ask, Delivery, FaultKind, Freshness, History, LEAST_PAST, MOST_LINES, Reading, SourceHealth, Tail};

/// How long readings are kept for windows and rules.
const RECENT: Duration = Duration::from_secs(3 * 3600);

/// One signal over time.
#[derive(Clone, Debug)]
pub struct Track {
    /// The newest answer, good or not.
    pub latest: Option<Reading>,
    /// The newest good one: what stays on the screen.
    pub good: Option<Reading>,
    /// Readings as they came, for windows in conditions.
    pub recent: History,
    /// The chosen window as the source tells it, for charts.
    pub chart: Option<(Duration, History)>,
    pub baseline: Option<f64>,
    pub samples: Option<f64>,
    pub judgement: Judgement,
}

impl Default for Track {
    fn default() -> Self {
        Track {
            latest: None,
            good: None,
            recent: History::default(),
            chart: None,
            baseline: None,
            samples: None,
            judgement: Judgement {
                verdict: Verdict::Unknown,
                reason: "nothing read yet".into(),
                freshness: Freshness::Missing,
                evidence: Evidence::default(),
            },
        }
    }
}

impl Track {
    /// What a chart shows: the source's history where it tells one, else the readings.
    pub fn history(&self) -> &History {
        self.chart.as_ref().map_or(&self.recent, |(_, history)| history)
    }

    pub fn observed(&self, now: Stamp) -> Observed<'_> {
        Observed {
            latest: self.latest.as_ref(),
            good: self.good.as_ref(),
            recent: &self.recent,
            baseline: self.baseline,
            samples: self.samples,
            now,
        }
    }

    /// Whether nobody can tell how it is. A ratio of nothing to nothing, of a track without traffic, is an answer where nobody judges it,
    /// and so is that there is nothing.
    pub fn is_blind(&self) -> bool {
        let answered = self.latest.as_ref().is_some_and(|latest| match &latest.outcome {
            Ok(_) => !latest.partial && self.judgement.freshness == Freshness::Live,
            Err(fault) => fault.kind == FaultKind::Empty,
        });
        self.judgement.verdict == Verdict::Unknown && !answered
    }

    /// The words of the newest answer's fault.
    pub fn fault(&self) -> Option<&str> {
        self.latest.as_ref().and_then(|r| r.outcome.as_ref().err()).map(|f| f.message.as_str())
    }
}

#[derive(Clone, Debug, Default)]
pub struct Store {
    pub signals: IndexMap<Arc<str>, Track>,
    pub sources: IndexMap<Arc<str>, SourceHealth>,
    pub rules: Vec<RuleState>,
    /// Rules that have been run over the past already.
    replayed: Vec<bool>,
}

impl Store {
    pub fn new(config: &Config) -> Store {
        let mut store = Store {
            signals: config.signals.keys().map(|name| (name.clone(), Track::default())).collect(),
            sources: IndexMap::new(),
            rules: vec![RuleState::default(); config.rules.len()],
            replayed: vec![false; config.rules.len()],
        };
        for (name, signal) in &config.signals {
            if let (Some(Baseline::Fixed(value)), Some(track)) = (signal.signal.baseline, store.signals.get_mut(name)) {
                track.baseline = Some(value);
            }
        }
        store
    }

    /// The store of a changed configuration, with what is still known about signals that have not changed.
    #[must_use]
    pub fn carried_over(mut self, old: &Config, new: &Config) -> Store {
        let mut next = Store::new(new);
        for (name, signal) in &new.signals {
            let same =
                old.signals.get(name).is_some_and(|s| s.question.ask == signal.question.ask && s.question.source == signal.question.source);
            if same && let Some(mut track) = self.signals.swap_remove(name) {
                if old.signals[name].signal.baseline != signal.signal.baseline {
                    track.baseline = next.signals.get(name).and_then(|t| t.baseline);
                }
                next.signals.insert(name.clone(), track);
            }
        }
        for (i, rule) in new.rules.iter().enumerate() {
            if let Some(j) = old.rules.iter().position(|r| r == rule) {
                next.rules[i] = self.rules[j].clone();
                next.replayed[i] = self.replayed[j];
            }
        }
        self.sources.retain(|name, _| new.sources.contains_key(name));
        next.sources = self.sources;
        next
    }

    /// The finite points of a signal of one line since a moment.
    ///
    /// # Errors
    /// Why they are not to be trusted: nothing was read, or what was read is too old to say how it is now.
    pub fn points(&self, name: &str, since: Stamp) -> Result<Vec<(Stamp, f64)>, String> {
        let track = self.signals.get(name).ok_or_else(|| format!("there is no signal `{name}`"))?;
        if let Some(fault) = track.fault() {
            return Err(fault.to_string());
        }
        if matches!(track.judgement.freshness, Freshness::Stale | Freshness::Missing) {
            return Err(track.judgement.reason.clone());
        }
        // As they came, and of what came before only what its source tells.
        let first = |history: &History| history.single().and_then(|series| series.iter().next()).map(|(at, _)| at);
        let whole = first(&track.recent).is_some_and(|at| at <= since);
        // A chart of pages that were read only just now has no step yet.
        let charted = track.chart.is_some() && !track.history().lines.is_empty();
        let history = if whole || !charted { &track.recent } else { track.history() };
        let series = history.single().ok_or(if history.lines.is_empty() { "it has no reading yet" } else { "it has several lines" })?;
        Ok(series.since(since).filter(|(_, value)| value.is_finite()).collect())
    }

    /// Whether every signal has an answer, and what its verdict needs besides.
    pub fn all_answered(&self, config: &Config) -> bool {
        config.signals.iter().all(|(name, signal)| {
            let Some(track) = self.signals.get(name) else { return true };
            let answered = track.latest.is_some();
            let failed = track.fault().is_some();
            let companions = signal.signal.at_least.is_none() || track.samples.is_some();
            let baseline = signal.signal.baseline.is_none() || track.baseline.is_some();
            answered && (failed || companions && baseline)
        }) && self.all_identified(config)
    }

    /// Who asks once has seen at most one failure of a probe: that it is fewer than its limit says nothing.
    pub fn asked_once(&mut self, config: &Config) {
        for (name, track) in &mut self.signals {
            let is_probe = config.signals.get(name).is_some_and(|signal| matches!(signal.question.ask, Ask::Probe(_)));
            let failed = track.good.as_ref().and_then(|reading| reading.value()?.number()).is_some_and(|failures| failures >= 1.0);
            if is_probe && failed && track.judgement.verdict < Verdict::Unknown {
                track.judgement.verdict = Verdict::Unknown;
                track.judgement.reason = format!("it failed, and was asked once: {}", track.judgement.reason);
            }
        }
    }

    /// Whether every source was asked who it is.
    pub fn all_identified(&self, config: &Config) -> bool {
        config.sources.keys().all(|name| self.sources.get(name).is_some_and(|source| source.identified))
    }

    /// Takes in what was delivered and judges everything anew.
    pub fn apply(&mut self, config: &Config, delivery: Delivery, now: Stamp) {
        for (name, tail) in delivery.tails {
            if let Some(track) = self.signals.get_mut(&name) {
                track.take_tail(tail, now);
            }
        }
        for (name, reading) in delivery.readings {
            match name.split_once('#') {
                None => {
                    if let (Some(track), Some(signal)) = (self.signals.get_mut(&name), config.signals.get(&name)) {
                        track.take(reading, signal);
                    }
                }
                Some((name, companion)) => {
                    let Some(track) = self.signals.get_mut(name) else { continue };
                    let number = reading.value().and_then(|v| v.number());
                    match companion {
                        "samples" => track.samples = number,
                        // The past does not change: a failed question about it takes nothing away.
                        _ => track.baseline = number.or(track.baseline),
                    }
                }
            }
        }
        self.sources.extend(delivery.sources);
        self.judge(config, now);
    }

    /// Judges everything by what is known now: ages grow without news.
    pub fn judge(&mut self, config: &Config, now: Stamp) {
        for (name, signal) in &config.signals {
            let Some(track) = self.signals.get_mut(name) else { continue };
            if let Some(Baseline::Ago(_) | Baseline::Median(_)) = signal.signal.baseline
                && signal.companions.iter().all(|q| q.past.is_none())
            {
                track.baseline = own_baseline(&signal.signal.baseline, track, now);
            }
            track.judgement = judge(&signal.signal, &track.observed(now));
        }
        for (i, rule) in config.rules.iter().enumerate() {
            self.step_rule(config, i, rule, now);
        }
    }

    fn step_rule(&mut self, config: &Config, i: usize, rule: &Rule, now: Stamp) {
        let (Some(track), Some(signal)) = (self.signals.get(&rule.signal), config.signals.get(&rule.signal)) else { return };
        if track.latest.is_none() {
            return; // not observed yet is not "no data"
        }
        if !self.replayed[i] && replayable(rule, signal, track) {
            self.replayed[i] = true;
            self.rules[i] = replay(rule, signal, track);
        }
        let state = &self.rules[i];
        self.rules[i] = match observe(&signal.signal, &rule.condition, &track.observed(now)) {
            // Time advances with the samples, not with the looking.
            Ok((holds, reason)) => {
                let at = track.latest.as_ref().map_or(now, |r| r.at);
                state.step(rule, at, if holds { RuleInput::Holds(reason) } else { RuleInput::HoldsNot(reason) })
            }
            Err(reason) => state.step(rule, now, RuleInput::Unknown(reason)),
        };
    }
}

/// A baseline from the signal's own readings, where the source cannot tell the past.
fn own_baseline(baseline: &Option<Baseline>, track: &Track, now: Stamp) -> Option<f64> {
    let series = track.recent.single()?;
    match baseline {
        Some(Baseline::Ago(span)) => series.at(now.minus(*span), Duration::from_secs(300)),
        // What was read once or twice is not what is usual.
        Some(Baseline::Median(span)) if series.since(now.minus(*span)).count() >= LEAST_PAST => series.median(now.minus(*span)),
        _ => None,
    }
}

/// Whether a rule's past can be told from the history the source gave: one line, and everything known that it needs.
fn replayable(rule: &Rule, signal: &SignalConfig, track: &Track) -> bool {
    let needs_baseline = rule.condition.needs_baseline();
    track.chart.as_ref().is_some_and(|(_, history)| history.single().is_some())
        && signal.signal.at_least.is_none()
        && rule.condition.window.is_none()
        && (!needs_baseline || track.baseline.is_some())
}

/// Runs a rule over the history, so that a cockpit opened in the middle of an incident knows since when it lasts.
fn replay(rule: &Rule, signal: &SignalConfig, track: &Track) -> RuleState {
    let mut state = RuleState::default();
    let Some(series) = track.history().single() else { return state };
    let nothing = History::default();
    // A chart's points lie further apart than readings do.
    let step = series.iter().zip(series.iter().skip(1)).map(|((a, _), (b, _))| b.since(a)).min().unwrap_or_default();
    let rule = &Rule { gap: rule.gap.max(step * 2), ..rule.clone() };
    for (at, value) in series.iter().filter(|(_, value)| value.is_finite()) {
        let reading = Reading::good(at, "", crate::observe::reading::Value::Number(value));
        let observed =
            Observed { latest: Some(&reading), good: Some(&reading), recent: &nothing, baseline: track.baseline, samples: None, now: at };
        if let Ok((holds, reason)) = observe(&signal.signal, &rule.condition, &observed) {
            state = state.step(rule, at, if holds { RuleInput::Holds(reason) } else { RuleInput::HoldsNot(reason) });
        }
    }
    state
}

impl Track {
    fn take(&mut self, mut reading: Reading, signal: &SignalConfig) {
        if let Some(value) = reading.value() {
            self.recent.push(reading.at, &value.lines());
            self.recent.trim(reading.at.minus(RECENT));
            if self.recent.dropped > 0 {
                let all = MOST_LINES + self.recent.dropped;
                reading.notes.push(format!("of {all} series the past of {MOST_LINES} is kept: aggregate them (sum, max, topk)"));
            }
            // Without a history of the source's own, the chart shows the readings: at most one line fewer than before.
            if !signal.question.history {
                self.chart = None;
            }
            self.good = Some(reading.clone());
        }
        self.latest = Some(reading);
    }

    fn take_tail(&mut self, tail: Tail, now: Stamp) {
        let oldest = now.minus(tail.window + tail.step * 2);
        match &mut self.chart {
            Some((window, history)) if !tail.whole && *window == tail.window => {
                history.extend(&tail.lines);
                history.trim(oldest);
            }
            before => {
                // Another source may know less of the past than what is here already: what is older stays.
                let mut history = match before.take() {
                    Some((window, known)) if window == tail.window => known.before(&tail.lines),
                    _ => History::default(),
                };
                history.extend(&tail.lines);
                history.trim(oldest);
                if self.recent.lines.is_empty() {
                    self.recent = history.clone();
                }
                self.chart = Some((tail.window, history));
            }
        }
    }
}
