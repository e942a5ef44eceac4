//! What has happened since the cockpit looks: verdicts that changed and rules that fired, beside the runs that were begun and ended.
//! Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::ledger::Ledger;
use super::moment::{Moment, MomentOf};
use super::store::Store;
use crate::base::clock::Stamp;
use crate::config::Config;
use crate::judge::{RulePhase, Verdict};
use crate::observe::reading::SourceState;
use crate::plan::runbook::RunResult;

/// So many changes are kept.
const KEPT: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct Timeline {
    seen: HashMap<Arc<str>, Verdict>,
    /// Those of which anything was ever known.
    known: HashSet<Arc<str>>,
    /// The rules that fire.
    firing: HashSet<Arc<str>>,
    /// The sources that are away.
    away: HashSet<Arc<str>>,
    /// The newest first.
    moments: VecDeque<Moment>,
}

impl Timeline {
    /// Notes which verdicts are others than they were, and gives what is new. What is seen for the first time has not changed.
    pub fn note(&mut self, config: &Config, store: &Store, at: Stamp) -> Vec<Moment> {
        let mut new = Vec::new();
        for (name, track) in &store.signals {
            let Some(signal) = config.signal(name).filter(|signal| signal.has_thresholds()) else { continue };
            let verdict = track.judgement.verdict;
            // That its source is away is said once, and not of each that hangs on it.
            let source = config.signals.get(name).map(|signal| &signal.question.source);
            let health = source.and_then(|source| store.sources.get(source));
            if verdict == Verdict::Unknown && health.is_some_and(|health| health.state == SourceState::Failing) {
                continue;
            }
            let before = self.seen.insert(name.clone(), verdict);
            let is_new = match before {
                Some(before) => before != verdict,
                None => verdict == Verdict::Fail,
            };
            // From nobody knows to well is how everything begins.
            let known = self.known.contains(name);
            if verdict != Verdict::Unknown {
                self.known.insert(name.clone());
            }
            if is_new && (known || verdict == Verdict::Fail || before.is_some_and(|before| before != Verdict::Unknown)) {
                let words = format!("{} {}: {}", signal.title, verdict.word(), track.judgement.reason);
                new.push(Moment { at, verdict: Some(verdict), words, of: MomentOf::Signal(name.clone()) });
            }
        }
        new.extend(self.note_rules(config, store, at));
        new.extend(self.note_sources(store));
        for moment in &new {
            self.moments.push_front(moment.clone());
        }
        self.moments.truncate(KEPT);
        new
    }

    /// The sources that have gone away, or answer again.
    fn note_sources(&mut self, store: &Store) -> Vec<Moment> {
        let mut new = Vec::new();
        for (name, health) in &store.sources {
            let (changed, verdict, words) = match (health.state, &health.fault) {
                (SourceState::Failing, fault) => {
                    let why = fault.as_ref().map_or_else(String::new, |fault| format!(": {fault}"));
                    (self.away.insert(name.clone()), Verdict::Unknown, format!("{name} is away{why}"))
                }
                (SourceState::Up, _) => (self.away.remove(name), Verdict::Pass, format!("{name} answers again")),
                _ => continue,
            };
            if changed {
                new.push(Moment { at: health.since, verdict: Some(verdict), words, of: MomentOf::Source(name.clone()) });
            }
        }
        new
    }

    /// The rules that have begun to fire, or do so no more.
    fn note_rules(&mut self, config: &Config, store: &Store, at: Stamp) -> Vec<Moment> {
        let mut new = Vec::new();
        for (rule, state) in config.rules.iter().zip(&store.rules) {
            let fires = matches!(state.phase, RulePhase::Firing { .. });
            let changed = if fires { self.firing.insert(rule.name.clone()) } else { self.firing.remove(&rule.name) };
            if changed {
                let does = if fires { "fires" } else { "fires no more" };
                let words = format!("rule {} {does}: {}", rule.name, state.reason);
                new.push(Moment { at, verdict: Some(state.verdict(rule)), words, of: MomentOf::Rule(rule.name.clone()) });
            }
        }
        new
    }

    /// Everything, the newest first, with the runs of an environment.
    pub fn with_runs(&self, ledger: &Ledger, environment: &str) -> Vec<Moment> {
        let mut all: Vec<Moment> = self.moments.iter().cloned().collect();
        for run in ledger.runs.iter().filter(|run| run.plan.content.environment.name == environment).take(KEPT) {
            let title = &run.plan.content.title;
            let of = MomentOf::Run(run.id.clone());
            let begun = |at| Moment { at, verdict: None, words: format!("begun by {}: {title}", run.run.by.user), of: of.clone() };
            all.extend(run.run.started.map(begun));
            if let (Some(at), crate::plan::runbook::Phase::Ended { result, .. }) = (run.run.ended, &run.run.phase) {
                let verdict = if *result == RunResult::Done { Verdict::Pass } else { Verdict::Warn };
                all.push(Moment { at, verdict: Some(verdict), words: format!("{}: {title}", run.status().word()), of });
            }
        }
        let is_here = |moment: &&Moment| matches!(&moment.of, MomentOf::Run(id) if ledger.run(id).is_some());
        all.extend(ledger.elsewhere.moments.iter().filter(|moment| !is_here(moment)).cloned());
        all.sort_by_key(|moment| std::cmp::Reverse(moment.at));
        all
    }
}
