//! Live readings for runs: the same questions, clients and judgement that the cockpit has, for the signals that are asked
//! for. Nothing is asked before somebody looks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::connect::connect;
use crate::act::effect::{CheckSeen, SignalPoints, Signals};
use crate::base::clock::{Clock, Stamp};
use crate::config::Config;
use crate::judge::{Condition, Verdict, observe};
use crate::observe::reading::Ask;
use crate::observe::source::{Boxed, Mailbox, Poller};
use crate::plan::runbook::Check;
use crate::status::{Store, Track};

/// The shortest past that is asked for.
const SHORTEST: Duration = Duration::from_secs(30);
/// So long pages are waited for that are read from now on: a rate takes two of them, and one may come late.
const PAGES: Duration = Duration::from_secs(45);

pub struct LiveSignals {
    config: Config,
    runtime: Handle,
    clock: Clock,
    watching: Mutex<Option<Watching>>,
}

struct Watching {
    names: BTreeSet<String>,
    /// How far back it was asked for.
    window: Duration,
    config: Config,
    store: Store,
    mailbox: Arc<Mailbox>,
    poller: Poller,
}

impl LiveSignals {
    pub fn new(config: Config, runtime: Handle, clock: Clock) -> LiveSignals {
        LiveSignals { config, runtime, clock, watching: Mutex::new(None) }
    }

    /// Asks nothing any more, and comes back when nothing runs: a runtime that ends under its tasks makes them panic.
    pub async fn end(&self) {
        if let Some(watching) = self.watching.lock().await.take() {
            watching.poller.end().await;
        }
    }

    /// Starts asking for these signals, and waits until each has an answer of some kind.
    async fn watch(&self, names: BTreeSet<String>, window: Duration) -> Result<Watching, String> {
        let mut config = self.config.clone();
        config.signals.retain(|name, _| names.contains(&**name));
        config.rules.clear();
        config.objectives.clear();
        for signal in config.signals.values_mut() {
            // Somebody acts on the answer: a part of it is none.
            if let Ask::Promql { strict, .. } = &mut signal.question.ask {
                *strict = true;
                signal.question.history = !window.is_zero();
            }
        }
        let needed: BTreeSet<Arc<str>> = config
            .signals
            .values()
            .flat_map(|s| std::iter::once(s.question.source.clone()).chain(s.question.or.as_ref().map(|(name, _)| name.clone())))
            .collect();
        config.sources.retain(|name, _| needed.contains(name));
        let mailbox = Arc::new(Mailbox::default());
        let poller = connect(&config, &self.runtime, if window.is_zero() { config.ui.window } else { window }, mailbox.clone())?;
        let mut store = Store::new(&config);
        let longest = config.questions().iter().map(|q| q.timeout).max().unwrap_or_default();
        let deadline = Instant::now() + longest * 2 + Duration::from_millis(500);
        self.hear(&config, &mut store, &mailbox, deadline, |store| store.all_answered(&config)).await;
        let every = config.sources.values().filter(|source| source.kind.reads_from_now_on()).map(|source| source.every).max();
        let deadline = Instant::now() + every.map_or(Duration::ZERO, |every| (every * 3 + Duration::from_millis(500)).min(PAGES));
        self.hear(&config, &mut store, &mailbox, deadline, |store| !awaits_a_page(&config, store)).await;
        Ok(Watching { names, window, config, store, mailbox, poller })
    }

    /// Takes in what comes, until that is enough or it is time.
    async fn hear(&self, config: &Config, store: &mut Store, mailbox: &Mailbox, deadline: Instant, enough: impl Fn(&Store) -> bool) {
        while !enough(store) && timeout_at(deadline, mailbox.rung()).await.is_ok() {
            store.apply(config, mailbox.take(), self.clock.now());
        }
    }

    /// Watches these signals, so far back, and brings what is known of them up to now; then `look` is taken.
    async fn up_to_now<T>(
        &self,
        mut names: BTreeSet<String>,
        window: Duration,
        look: impl FnOnce(&Watching, Stamp) -> T,
    ) -> Result<T, String> {
        let mut watching = self.watching.lock().await;
        let enough = watching.as_ref().is_some_and(|w| names.is_subset(&w.names) && w.window >= window);
        if !enough {
            names.extend(watching.as_ref().iter().flat_map(|w| w.names.iter().cloned()));
            let window = watching.as_ref().map_or(window, |w| w.window.max(window));
            *watching = Some(self.watch(names, window).await?);
        }
        let Some(w) = watching.as_mut() else { return Err("nothing is watched".into()) };
        let now = self.clock.now();
        w.store.apply(&w.config, w.mailbox.take(), now);
        w.store.judge(&w.config, now);
        Ok(look(w, now))
    }

    async fn see(&self, checks: &[Check]) -> Result<Vec<CheckSeen>, String> {
        let names = checks.iter().map(|c| c.signal.clone()).collect();
        self.up_to_now(names, Duration::ZERO, |w, _| checks.iter().map(|check| self.judge(w, check)).collect()).await
    }

    fn judge(&self, w: &Watching, check: &Check) -> CheckSeen {
        let unknown = |why: String| CheckSeen { holds: Err(why.clone()), reason: why, at: None };
        let (Some(signal), Some(track)) = (w.config.signal(&check.signal), w.store.signals.get(check.signal.as_str())) else {
            return unknown(format!("there is no signal `{}`", check.signal));
        };
        let at = track.good.as_ref().map(|r| r.at);
        let Some(condition) = &check.condition else {
            let judged = &track.judgement;
            return match judged.verdict {
                Verdict::Pass if !signal.has_thresholds() => unknown(format!("`{}` has no thresholds to pass", check.signal)),
                Verdict::Unknown => unknown(judged.reason.clone()),
                verdict => CheckSeen { holds: Ok(verdict == Verdict::Pass), reason: judged.reason.clone(), at },
            };
        };
        let condition = match Condition::parse(condition, signal.unit) {
            Ok(condition) => condition,
            Err(e) => return unknown(e),
        };
        // Of several lines all have to meet it: none may meet the opposite.
        match observe(signal, &condition.opposite(), &track.observed(self.clock.now())) {
            Ok((crossed, reason)) => CheckSeen { holds: Ok(!crossed), reason, at },
            Err(why) => unknown(why),
        }
    }
}

/// Whether something is asked of pages that have been read too seldom for an answer so far.
fn awaits_a_page(config: &Config, store: &Store) -> bool {
    config.signals.iter().any(|(name, signal)| {
        let from_now_on = config.sources.get(&signal.question.source).is_some_and(|source| source.kind.reads_from_now_on());
        let says_nothing = |track: &Track| match &track.latest {
            Some(reading) => reading.outcome.as_ref().map_or_else(|fault| !fault.kind.is_of_source(), |value| value.is_empty()),
            None => true,
        };
        from_now_on && store.signals.get(name).is_some_and(says_nothing)
    })
}

impl Signals for LiveSignals {
    fn points<'a>(&'a self, names: &'a [String], window: Duration) -> Boxed<'a, Vec<SignalPoints>> {
        Box::pin(async move {
            let wanted = names.iter().cloned().collect();
            // What is asked of the past comes in steps: a little more of it than is wanted.
            let asked = (window + window / 10).max(SHORTEST);
            let points = |w: &Watching, now: Stamp| names.iter().map(|name| w.store.points(name, now.minus(window))).collect::<Vec<_>>();
            self.up_to_now(wanted, asked, points).await.unwrap_or_else(|why| names.iter().map(|_| Err(why.clone())).collect())
        })
    }

    fn look<'a>(&'a self, checks: &'a [Check]) -> Boxed<'a, Vec<CheckSeen>> {
        Box::pin(async move {
            self.see(checks)
                .await
                .unwrap_or_else(|why| checks.iter().map(|_| CheckSeen { holds: Err(why.clone()), reason: why.clone(), at: None }).collect())
        })
    }
}
