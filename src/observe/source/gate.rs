//! The gate of a source: its bound, its time-outs, its back-off, and the one place where its standing is kept. A source that
//! is down is tried by one question at a time; the others are told so at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::mailbox::Mailbox;
use super::prometheus::now;
use super::secrets::AwaitedSecret;
use super::{Answer, Client, LastSample};
use crate::base::units::short;
use crate::observe::reading::{Fault, FaultKind, SourceHealth, SourceState};

/// A source with its client.
pub struct Source {
    pub name: Arc<str>,
    pub kind: &'static str,
    pub client: Arc<dyn Client>,
    /// How many questions may be under way at once.
    pub concurrency: usize,
    pub timeout: Duration,
}

/// The wait after a first failure, and the longest one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often a source that nobody asks is looked at.
const STAND_BY: Duration = Duration::from_secs(5);

/// How much longer than a client may take the gate waits.
const BACKSTOP: Duration = Duration::from_millis(500);

/// What stands between questions and their source.
pub(super) struct SourceGate {
    pub(super) source: Source,
    selectors: Vec<String>,
    permits: Semaphore,
    standing: Mutex<SourceRecord>,
    /// Counts recoveries: who waits for one is woken.
    pub(super) revived: watch::Sender<u64>,
    newest: tokio::sync::Mutex<Newest>,
    mailbox: Arc<Mailbox>,
}

struct SourceRecord {
    health: SourceHealth,
    waits: Option<ExponentialBackoff>,
    /// When the next try is due, while failing.
    due: Instant,
    trying: bool,
    good: Option<Instant>,
}

#[derive(Default)]
struct Newest {
    fetched: Option<Instant>,
    times: HashMap<String, LastSample>,
}

impl SourceGate {
    pub(super) fn new(source: Source, selectors: Vec<String>, mailbox: Arc<Mailbox>) -> SourceGate {
        let health = SourceHealth {
            kind: source.kind,
            state: SourceState::Starting,
            since: now(),
            fault: None,
            next_try: None,
            last_good: None,
            took: Duration::ZERO,
            identity: Vec::new(),
            identified: false,
            warning: None,
        };
        SourceGate {
            permits: Semaphore::new(source.concurrency.max(1)),
            standing: Mutex::new(SourceRecord { health, waits: None, due: Instant::now(), trying: false, good: None }),
            revived: watch::channel(0).0,
            newest: tokio::sync::Mutex::default(),
            source,
            selectors,
            mailbox,
        }
    }

    /// Why a question may not go out now, if so. Of those that wait for a source that is down, one is let through: then
    /// `Ok(true)`.
    fn admit(&self) -> Result<bool, Fault> {
        let mut s = self.standing.lock().unwrap_or_else(|p| p.into_inner());
        match &s.health.fault {
            Some(fault) if s.health.state == SourceState::Failing => {
                if s.trying || Instant::now() < s.due {
                    return Err(fault.clone());
                }
                s.trying = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// When the next try is due, while the source is failing and nobody is at it.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let s = self.standing.lock().unwrap_or_else(|p| p.into_inner());
        (s.health.state == SourceState::Failing && !s.trying).then_some(s.due)
    }

    /// Asks through the gate, within the limits, and keeps the source's standing.
    pub(super) async fn through<T>(&self, timeout: Duration, ask: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let trier = self.admit()?;
        let Ok(_permit) = self.permits.acquire().await else { return Err(Fault::new(FaultKind::Local, "shutting down")) };
        // The source may have gone down while this one waited for its turn.
        let started = Instant::now();
        if !trier {
            let s = self.standing.lock().unwrap_or_else(|p| p.into_inner());
            if let (SourceState::Failing, Some(fault)) = (s.health.state, &s.health.fault) {
                return Err(fault.clone());
            }
        }
        let result = within(timeout, ask).await;
        self.note(started, result.as_ref().err(), trier);
        result
    }

    /// A probe asks whether the source is there, and so it asks while that is down as well; what it finds says how the source
    /// is.
    pub(super) async fn probe(&self, timeout: Duration, ask: impl Future<Output = Result<Answer, Fault>>) -> Result<Answer, Fault> {
        let Ok(_permit) = self.permits.acquire().await else { return Err(Fault::new(FaultKind::Local, "shutting down")) };
        let started = Instant::now();
        let result = within(timeout, ask).await;
        let fault = result.as_ref().map_or_else(Some, |answer| answer.away.as_ref());
        self.note(started, fault, false);
        result
    }

    fn note(&self, started: Instant, fault: Option<&Fault>, trier: bool) {
        let mut s = self.standing.lock().unwrap_or_else(|p| p.into_inner());
        let at = now();
        let before = s.health.state;
        let took = started.elapsed();
        match fault {
            // Questions that were under way when the source went down say nothing new.
            Some(fault) if fault.kind.is_of_source() && before == SourceState::Failing && !trier => {}
            // Somebody else was answered meanwhile: it is this question that takes too long, not the source.
            Some(fault) if fault.kind.is_of_source() && s.good.is_none_or(|good| good < started) => {
                let seed = started.elapsed().subsec_nanos() as u64 ^ at.0 as u64;
                let waits = s.waits.get_or_insert_with(|| {
                    ExponentialBuilder::default()
                        .with_min_delay(FIRST_WAIT)
                        .with_max_delay(LONGEST_WAIT)
                        .without_max_times()
                        .with_jitter()
                        .with_jitter_seed(seed)
                        .build()
                });
                let wait = waits.next().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
                if before != SourceState::Failing {
                    log::warn!(target: "source", "{} is failing: {fault}", self.source.name);
                }
                s.due = Instant::now() + wait;
                s.health.next_try = Some(at.plus(wait));
                s.health.fault = Some(fault.clone());
                s.health.state = SourceState::Failing;
            }
            Some(fault) if fault.kind.is_of_source() => {}
            _ => {
                if before == SourceState::Failing {
                    log::info!(target: "source", "{} answers again", self.source.name);
                    self.revived.send_modify(|n| *n += 1);
                }
                s.good = Some(Instant::now());
                s.waits = None;
                let slow = took > Duration::from_secs(1).max(self.source.timeout / 2);
                s.health.state = if slow { SourceState::Slow } else { SourceState::Up };
                s.health.took = took;
                s.health.last_good = Some(at);
                s.health.fault = None;
                s.health.next_try = None;
            }
        }
        if trier {
            s.trying = false;
        }
        if before != s.health.state
            && !matches!((before, s.health.state), (SourceState::Up, SourceState::Slow) | (SourceState::Slow, SourceState::Up))
        {
            s.health.since = at;
        }
        let skew = self.source.client.skew();
        let clock = (skew != 0).then(|| {
            let side = if skew > 0 { "ahead of" } else { "behind" };
            format!("its clock is {} {side} ours; times are corrected", short(Duration::from_millis(skew.unsigned_abs())))
        });
        s.health.warning = self.source.client.trouble().or(clock);
        self.mailbox.put_source(&self.source.name, s.health.clone());
    }

    /// The newest sample times of all selectors of this source, at most `every` old; asked once for all who wait.
    pub(super) async fn newest(&self, every: Duration) -> Result<HashMap<String, LastSample>, Fault> {
        let mut newest = self.newest.lock().await;
        if newest.fetched.is_none_or(|at| at.elapsed() >= every.mul_f32(0.8)) {
            let result = self.through(self.source.timeout, self.source.client.newest(&self.selectors)).await;
            newest.times = result?;
            newest.fetched = Some(Instant::now());
        }
        Ok(newest.times.clone())
    }

    /// A source that is only asked when another one is away must be known to be there before that.
    pub(super) async fn stand_by(self: Arc<Self>) {
        loop {
            let _ = self.through(self.source.timeout, self.source.client.there()).await;
            tokio::time::sleep(STAND_BY).await;
        }
    }

    /// Finds out what was reached, again from time to time: a name may start to point elsewhere.
    pub(super) async fn identify(self: Arc<Self>) {
        loop {
            // Outside the gate: what a source says of itself, or refuses to say, is no sign of its health.
            let said = match self.source.client.identity() {
                Some(asked) => tokio::time::timeout(self.source.timeout, asked).await.ok().and_then(Result::ok),
                None => Some(Vec::new()),
            };
            let pause = Duration::from_secs(if said.is_some() { 60 } else { 5 });
            {
                let mut s = self.standing.lock().unwrap_or_else(|p| p.into_inner());
                s.health.identified = true;
                s.health.identity = said.unwrap_or(std::mem::take(&mut s.health.identity));
                self.mailbox.put_source(&self.source.name, s.health.clone());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The clients keep the time themselves and know better what to say; this is the backstop.
async fn within<T>(timeout: Duration, ask: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let awaited = AwaitedSecret::default();
    match tokio::time::timeout(timeout + BACKSTOP, awaited.of(ask)).await {
        Ok(result) => result,
        Err(_) => Err(Fault::new(
            FaultKind::Timeout,
            match awaited.secret() {
                Some(secret) => format!("the secret {secret} has not come within {}", short(timeout)),
                None => format!("no answer within {}", short(timeout)),
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::secrets::fetch;
    use super::*;
    use crate::base::secret::SecretRef;

    /// Whoever asks is told that it is the secret that does not come; it is fetched once, and is there for whoever asks then.
    #[tokio::test]
    async fn a_secret_that_takes_long_is_named_and_fetched_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().display();
        let command = format!("cmd:echo once >> {place}/times; until [ -e {place}/go ]; do sleep 0.02; done; echo s3cr3t-late");
        let secret = SecretRef::parse(&command).expect("a reference");
        let asked = || within(Duration::from_millis(10), fetch(&secret));
        let (one, other) = tokio::join!(asked(), asked());
        for fault in [one, other].map(|told| told.expect_err("a fault")) {
            assert_eq!((fault.kind, fault.message), (FaultKind::Timeout, format!("the secret {secret} has not come within 10ms")));
        }
        std::fs::write(folder.path().join("go"), "").expect("written");
        assert_eq!(fetch(&secret).await.expect("a secret").expose(), "s3cr3t-late");
        assert_eq!(std::fs::read_to_string(folder.path().join("times")).expect("times"), "once\n");
        assert_eq!(
            within(Duration::from_millis(10), std::future::pending::<Result<(), Fault>>()).await.expect_err("a fault").message,
            "no answer within 10ms"
        );
    }
}
