//! The read model: what the header says and what `lastgreen status` prints, from the same function.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::shown::shown_of;
use super::store::Store;
use crate::base::clock::Stamp;
use crate::base::tier::Tier;
use crate::base::units::{count_of, short, watch};
use crate::config::{AlertSettings, Config, SourceKind};
use crate::judge::{Judgement, RulePhase, RuleState, Verdict};
use crate::observe::reading::{Alert, AlertState, Ask, Fault, LabelledValue, SourceState, Value};
use crate::plan::deploy::{DeployState, Readiness, wrong_environment};

/// Durations are written in milliseconds.
pub fn duration_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalLine {
    pub name: String,
    pub title: String,
    /// Whether it is judged at all.
    pub judged: bool,
    #[serde(flatten)]
    pub judgement: Judgement,
    /// The newest good value as a person reads it.
    pub value: String,
    /// Its numbers, where it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LabelledValue>,
    pub source: String,
    /// Who answered last: another source when the first was away.
    pub via: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Nobody can tell how it is, also where nobody judges it.
    pub blind: bool,
}

impl SignalLine {
    /// Why its verdict is what it is. What a probe saw says more than how often it failed.
    pub fn why(&self) -> String {
        let note = self.notes.first().filter(|_| self.judgement.verdict == Verdict::Fail);
        self.judgement.reason.clone() + &note.map_or_else(String::new, |note| format!(" ({note})"))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceLine {
    pub name: String,
    pub kind: String,
    pub place: String,
    pub state: SourceState,
    pub since: Option<Stamp>,
    pub fault: Option<Fault>,
    pub next_try: Option<Stamp>,
    pub last_good: Option<Stamp>,
    #[serde(serialize_with = "duration_ms", rename = "took_ms")]
    pub took: Duration,
    pub identity: Vec<(String, String)>,
    pub warning: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleLine {
    pub name: String,
    pub signal: String,
    pub condition: String,
    pub level: &'static str,
    pub summary: String,
    pub verdict: Verdict,
    #[serde(flatten)]
    pub state: RuleState,
    /// The runbook that answers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// What the state means now: `firing for 4m12s`, `2:10 of 3:00`.
    pub words: String,
}

/// The one thing to say first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    pub verdict: Verdict,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub environment: String,
    pub tier: Tier,
    pub at: Stamp,
    pub verdict: Verdict,
    pub reason: String,
    /// What was reached that is not what the configuration expects.
    pub mismatches: Vec<String>,
    pub signals: Vec<SignalLine>,
    pub rules: Vec<RuleLine>,
    /// Alerts that always fire while alerting works, and do not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// How many things fail.
    #[serde(skip)]
    pub failing: usize,
    /// What others raise, with their names: Prometheus, Alertmanager.
    pub alerts: Vec<(String, Alert)>,
    pub sources: Vec<SourceLine>,
    /// How the canary is, where there is a switch of its traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<DeployState>,
    /// Whether a rollback would work, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
}

/// Alerts that say nothing is wrong: one that always fires, and one that only keeps others quiet.
const HELPERS: [&str; 4] = ["Watchdog", "DeadMansSwitch", "DeadMansSnitch", "InfoInhibitor"];

/// How bad an alert of somebody else's is.
pub fn alert_verdict(settings: &AlertSettings, alert: &Alert) -> Verdict {
    match alert.state {
        AlertState::Unknown => return Verdict::Unknown,
        AlertState::Pending | AlertState::Silenced | AlertState::Resolved => return Verdict::Pass,
        AlertState::Firing => {}
    }
    if HELPERS.contains(&alert.name.as_str()) || settings.heartbeats.contains(&alert.name) {
        return Verdict::Pass;
    }
    let word = alert.severity.trim().to_lowercase();
    settings.severities.get(&word).copied().unwrap_or(match word.as_str() {
        "critical" | "crit" | "page" | "error" | "emergency" | "emerg" | "fatal" | "disaster" | "alert" | "severe" | "high" | "p0"
        | "p1" | "sev0" | "sev1" | "s1" => Verdict::Fail,
        "none" | "info" | "informational" | "information" | "notice" | "debug" | "ok" => Verdict::Pass,
        _ => Verdict::Warn,
    })
}

/// What cannot be told of the alerts of others, and heartbeats that are missing; and whether all of them were heard.
fn silent(config: &Config, store: &Store, alerts: &[(String, Alert)]) -> (Vec<Candidate>, bool, Vec<String>) {
    let mut found = Vec::new();
    let mut heard = false;
    for (name, signal) in config.signals.iter().filter(|(_, signal)| signal.question.ask == Ask::Alerts) {
        let Some(latest) = store.signals.get(name).and_then(|track| track.latest.as_ref()) else { continue };
        match &latest.outcome {
            Ok(_) if latest.partial => {
                let note = latest.notes.first().map_or("some of it is missing", String::as_str);
                found.push((Verdict::Unknown, 7, format!("what {} alerts to is known in part: {note}", signal.question.source)));
            }
            Ok(_) => heard = true,
            Err(fault) => found.push((Verdict::Unknown, 7, format!("what {} alerts to cannot be told: {fault}", signal.question.source))),
        }
    }
    let fires = |name: &String| alerts.iter().any(|(_, alert)| alert.name == *name && alert.state == AlertState::Firing);
    heard &= found.is_empty();
    let missing: Vec<String> = config.alerts.heartbeats.iter().filter(|name| heard && !fires(name)).cloned().collect();
    for name in &missing {
        found.push((Verdict::Fail, 6, format!("{name} is silent, which always fires while alerting works")));
    }
    (found, heard, missing)
}

impl Summary {
    pub fn new(config: &Config, store: &Store, now: Stamp) -> Summary {
        let signals = signal_lines(config, store);
        let rules = rule_lines(config, store, now);
        let sources = source_lines(config, store);
        let mismatches = mismatches(config, &sources);
        let alerts = alerts(config, store);
        let judged: Vec<JudgedAlert<'_>> =
            alerts.iter().map(|(whose, alert)| (alert_verdict(&config.alerts, alert), whose.clone(), alert)).collect();
        let (mut candidates, heard, silent) = silent(config, store, &alerts);
        let unsaid = unsaid(config, store, &sources);
        candidates.extend(unsaid.into_iter().map(|words| (Verdict::Unknown, 1, words)));
        let failing = failing(&signals, &rules, &judged);
        let worst = worst((&signals, &rules), (&judged, (candidates, heard)), &sources, &mismatches);
        Summary {
            environment: config.environment.name.clone(),
            tier: config.environment.tier,
            at: now,
            verdict: worst.verdict,
            reason: worst.reason,
            mismatches,
            signals,
            rules,
            silent,
            failing,
            alerts,
            sources,
            deploy: None,
            readiness: None,
        }
    }

    /// With what is known of the deployment: a canary that is worse than everything else is what has to be said, and so are a
    /// rollback that is at work, and a switch that was asked and does not tell.
    #[must_use]
    pub fn with_deployment(mut self, deploy: Option<DeployState>, readiness: Option<Readiness>) -> Summary {
        if let Some(state) = &deploy {
            let (verdict, reason) = state.verdict(self.at);
            let is_blind = state.observed.is_some() && state.weight().is_err();
            if (verdict == Verdict::Fail || is_blind || state.rollback.is_some()) && self.verdict < verdict {
                (self.verdict, self.reason) = (verdict, reason);
            }
        }
        let readiness = readiness.map(|readiness| readiness.in_environment(&self.mismatches));
        (self.deploy, self.readiness) = (deploy, readiness);
        self
    }

    /// The runbook that answers the worst of what fires or is about to.
    pub fn answer(&self) -> Option<&str> {
        let rank = |phase: &RulePhase| match phase {
            RulePhase::Firing { .. } => 2,
            RulePhase::Pending { .. } => 1,
            _ => 0,
        };
        let asking = self.rules.iter().filter(|rule| rank(&rule.state.phase) > 0 && rule.runbook.is_some());
        // Of equals the first one.
        asking.rev().max_by_key(|rule| (rank(&rule.state.phase), rule.verdict))?.runbook.as_deref()
    }

    /// What was reached, by the sources' own account: `ragdb · rag_main`.
    pub fn reached(&self) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for (_, value) in self.sources.iter().flat_map(|s| &s.identity) {
            if !parts.contains(&value.as_str()) && *value != self.environment {
                parts.push(value);
            }
        }
        parts.join(" · ")
    }
}

/// How many things fail: signals, rules on others than those, and the alerts of others.
fn failing(signals: &[SignalLine], rules: &[RuleLine], alerts: &[JudgedAlert<'_>]) -> usize {
    let signals = signals.iter().filter(|line| line.judged && line.judgement.verdict == Verdict::Fail);
    let mut of: BTreeSet<&str> = signals.map(|line| line.name.as_str()).collect();
    of.extend(rules.iter().filter(|rule| rule.verdict == Verdict::Fail).map(|rule| rule.signal.as_str()));
    of.len() + alerts.iter().filter(|(verdict, ..)| *verdict == Verdict::Fail).count()
}

fn signal_lines(config: &Config, store: &Store) -> Vec<SignalLine> {
    let line = |(name, signal): (&std::sync::Arc<str>, &crate::config::SignalConfig)| {
        let track = store.signals.get(name)?;
        let value =
            track.good.as_ref().and_then(|r| r.value()).map_or_else(|| "—".into(), |v| shown_of(&signal.signal, &track.judgement, v));
        Some(SignalLine {
            name: name.to_string(),
            title: signal.signal.title.clone(),
            judged: signal.signal.has_thresholds(),
            judgement: track.judgement.clone(),
            value,
            lines: match track.good.as_ref().and_then(|r| r.value()) {
                Some(Value::Lines(lines)) => lines.clone(),
                _ => Vec::new(),
            },
            source: signal.question.source.to_string(),
            via: track.latest.as_ref().map_or_else(String::new, |r| r.via.to_string()),
            notes: track.latest.as_ref().map_or_else(Vec::new, |r| r.notes.clone()),
            blind: track.is_blind(),
        })
    };
    config.signals.iter().filter_map(line).collect()
}

fn alerts(config: &Config, store: &Store) -> Vec<(String, Alert)> {
    let whose = |name: &Arc<str>| config.signals.get(name).map_or_else(String::new, |signal| signal.question.source.to_string());
    raised(config, store).into_iter().map(|(name, alert)| (whose(name), alert.clone())).collect()
}

/// What others raise, with the signal that asks for it. What an Alertmanager knows is told by that, and once: a Prometheus that raises it
/// does not know whether somebody has silenced it.
pub fn raised<'s>(config: &Config, store: &'s Store) -> Vec<(&'s Arc<str>, &'s Alert)> {
    let (mut all, mut managed): (Vec<(&Arc<str>, &Alert)>, Vec<&Alert>) = (Vec::new(), Vec::new());
    for (name, track) in &store.signals {
        let Some(Value::Alerts(alerts)) = track.good.as_ref().and_then(|reading| reading.value()) else { continue };
        all.extend(alerts.iter().map(|alert| (name, alert)));
        if is_manager(config, name) && track.fault().is_none() {
            managed.extend(alerts);
        }
    }
    // On its way there, an alert is given more labels. A rule that cannot be evaluated raises nothing, and stays.
    let is_same = |alert: &Alert, known: &Alert| {
        alert.state == AlertState::Firing
            && alert.name == known.name
            && alert.labels.iter().all(|(name, value)| name == "alertname" || known.labels.get(name) == Some(value))
    };
    all.retain(|(name, alert)| is_manager(config, name) || !managed.iter().any(|known| is_same(alert, known)));
    all
}

fn is_manager(config: &Config, signal: &str) -> bool {
    let source = config.signals.get(signal).and_then(|signal| config.sources.get(&signal.question.source));
    source.is_some_and(|source| matches!(source.kind, SourceKind::Alertmanager(_)))
}

fn rule_lines(config: &Config, store: &Store, now: Stamp) -> Vec<RuleLine> {
    let line = |(rule, state): (&crate::judge::Rule, &RuleState)| RuleLine {
        name: rule.name.to_string(),
        signal: rule.signal.to_string(),
        condition: rule.condition.to_string(),
        level: rule.level.word(),
        summary: rule.summary.clone(),
        verdict: state.verdict(rule),
        runbook: rule.runbook.clone(),
        words: match state.phase {
            RulePhase::Pending { held, .. } => format!("{} of {}", watch(held), watch(rule.hold)),
            RulePhase::Firing { since } => {
                format!("firing for {}{}", if state.since_before { "over " } else { "" }, short(now.since(since)))
            }
            RulePhase::Resolved { at } => format!("resolved {} ago", short(now.since(at))),
            RulePhase::NoData { since } => format!("no data for {}", short(now.since(since))),
            RulePhase::Inactive => String::new(),
        },
        state: state.clone(),
    };
    config.rules.iter().zip(&store.rules).map(line).collect()
}

fn source_lines(config: &Config, store: &Store) -> Vec<SourceLine> {
    config
        .sources
        .iter()
        .map(|(name, source)| {
            let health = store.sources.get(name);
            SourceLine {
                name: name.to_string(),
                kind: source.kind.word().into(),
                place: source.kind.place(),
                state: health.map_or(SourceState::Starting, |h| h.state),
                since: health.map(|h| h.since),
                fault: health.and_then(|h| h.fault.clone()),
                next_try: health.and_then(|h| h.next_try),
                last_good: health.and_then(|h| h.last_good),
                took: health.map_or(Duration::ZERO, |h| h.took),
                identity: health.map_or_else(Vec::new, |h| h.identity.clone()),
                warning: health.and_then(|h| h.warning.clone()),
            }
        })
        .collect()
}

/// What was reached against what the configuration expects. Not knowing yet is no mismatch.
fn mismatches(config: &Config, sources: &[SourceLine]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, want) in &config.environment.expect {
        let said: Vec<_> =
            sources.iter().flat_map(|s| s.identity.iter().map(move |(k, v)| (s, k, v))).filter(|(_, k, _)| *k == key).collect();
        // A source may go by several names.
        let is_it = |name: &str| said.iter().any(|(source, _, value)| *source.name == *name && *value == want);
        for (source, _, value) in &said {
            if !is_it(&source.name) {
                found.push(format!("{} says {key} {value}, expected {want}", source.name));
            }
        }
    }
    found
}

/// What was expected and nobody says, once everybody has said who they are: whether this is the right environment is not known.
fn unsaid(config: &Config, store: &Store, sources: &[SourceLine]) -> Vec<String> {
    let all = store.all_identified(config);
    let says = |key: &String| sources.iter().flat_map(|source| &source.identity).any(|(known, _)| known == key);
    let missing = config.environment.expect.iter().filter(|(key, _)| all && !says(key));
    missing.map(|(key, want)| format!("which environment this is: nobody says its {key}, expected {want}")).collect()
}

/// How many signals nobody knows because of a source.
pub(super) fn blind(source: &SourceLine, signals: &[SignalLine]) -> usize {
    signals.iter().filter(|line| line.source == source.name && line.judgement.verdict == Verdict::Unknown).count()
}

/// The source of a signal that nobody knows, when it is away: itself, why, and what hangs on it.
fn away(signal: &SignalLine, signals: &[SignalLine], sources: &[SourceLine]) -> Option<String> {
    let source = sources.iter().find(|source| source.name == signal.source && source.state == SourceState::Failing)?;
    let blind = blind(source, signals);
    let fault = source.fault.as_ref().map_or("failing", |fault| &fault.message);
    (signal.judgement.verdict == Verdict::Unknown && blind > 0)
        .then(|| format!("{} is away: {fault} ({} unknown)", source.name, count_of(blind, "signal")))
}

/// Something that may be what is said first: how bad, how telling among equals, and in which words.
type Candidate = (Verdict, u8, String);

/// An alert of somebody else's: how bad, and whose.
type JudgedAlert<'a> = (Verdict, String, &'a Alert);

fn worst(
    (signals, rules): (&[SignalLine], &[RuleLine]),
    (alerts, (silent, heard)): (&[JudgedAlert<'_>], (Vec<Candidate>, bool)),
    sources: &[SourceLine],
    mismatches: &[String],
) -> Worst {
    let mut candidates = silent;
    let nothing_judged = rules.is_empty() && !heard && !signals.iter().any(|s| s.judged);
    for text in mismatches {
        candidates.push((Verdict::Fail, 9, wrong_environment(text)));
    }
    for source in sources.iter().filter(|s| s.state == SourceState::Failing) {
        let blind = blind(source, signals);
        let fault = source.fault.as_ref().map_or("failing", |f| &f.message);
        // A source that is away is never nothing, even when another one speaks for it.
        match blind {
            0 if nothing_judged => candidates.push((Verdict::Unknown, 4, format!("{}: {fault}", source.name))),
            0 => candidates.push((Verdict::Warn, 4, format!("{}: {fault}", source.name))),
            n => candidates.push((Verdict::Unknown, 8, format!("{}: {fault} ({} unknown)", source.name, count_of(n, "signal")))),
        }
    }
    for rule in rules {
        match rule.state.phase {
            RulePhase::Firing { .. } => {
                let of_rule = || format!("{}: {}, {}", rule.name.replace('_', " "), rule.state.reason, rule.words);
                // Where it fires because its source is away, that is what has to be said.
                let away = signals.iter().find(|s| s.name == rule.signal).and_then(|s| away(s, signals, sources));
                // What is known to be bad goes before what is not known.
                candidates.push((rule.verdict, if away.is_some() { 4 } else { 6 }, away.unwrap_or_else(of_rule)));
            }
            RulePhase::Pending { .. } => {
                candidates.push((Verdict::Warn, 3, format!("{}: {}, {}", rule.name.replace('_', " "), rule.state.reason, rule.words)))
            }
            _ if rule.verdict == Verdict::Unknown => {
                candidates.push((Verdict::Unknown, 2, format!("{}: {}", rule.name.replace('_', " "), rule.state.reason)));
            }
            _ => {}
        }
    }
    for (verdict, whose, alert) in alerts.iter().filter(|(verdict, _, _)| *verdict != Verdict::Pass) {
        let does = if alert.state == AlertState::Unknown { "cannot be told" } else { "fires" };
        let why = if alert.text.is_empty() { String::new() } else { format!(": {}", alert.text) };
        candidates.push((*verdict, 4, format!("{whose}: {} {does}{why}", alert.name)));
    }
    for signal in signals.iter().filter(|s| s.judged && s.judgement.verdict != Verdict::Pass) {
        let pending = rules.iter().find(|r| r.signal == signal.name && matches!(r.state.phase, RulePhase::Pending { .. }));
        let pending = pending.map_or_else(String::new, |r| format!(", {}", r.words));
        candidates.push((signal.judgement.verdict, 5, format!("{}: {}{pending}", signal.title, signal.why())));
    }
    for signal in signals.iter().filter(|signal| !signal.judged && signal.blind) {
        candidates.push((Verdict::Unknown, 1, format!("{}: {}", signal.title, signal.judgement.reason)));
    }
    if signals.iter().filter(|s| s.judged).all(|s| s.value == "—") && sources.iter().all(|s| s.state == SourceState::Starting) {
        return Worst { verdict: Verdict::Unknown, reason: "nothing read yet".into() };
    }
    // Of equals the first one stays, so that the header does not jump.
    let mut best: Option<Candidate> = None;
    for candidate in candidates {
        if best.as_ref().is_none_or(|b| (candidate.0, candidate.1) > (b.0, b.1)) {
            best = Some(candidate);
        }
    }
    if best.is_none() && rules.is_empty() && !signals.iter().any(|s| s.judged) {
        // Others judge, and were heard.
        if heard {
            return Worst { verdict: Verdict::Pass, reason: "no alert fires".into() };
        }
        return Worst { verdict: Verdict::Unknown, reason: "nothing is judged: no signal has thresholds, there is no rule".into() };
    }
    match best {
        Some((verdict, _, reason)) => Worst { verdict, reason },
        None => Worst { verdict: Verdict::Pass, reason: all_well(signals, rules) },
    }
}

fn all_well(signals: &[SignalLine], rules: &[RuleLine]) -> String {
    match (signals.iter().filter(|s| s.judged).count(), rules.len()) {
        (0, rules) => format!("none of {rules} rules fires"),
        (judged, _) => format!("all {judged} judged signals pass"),
    }
}
