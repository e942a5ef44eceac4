//! Waiting for signals: all checks hold, for so long without a break, on so many fresh readings each. What cannot be
//! known does not hold.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Act, CheckSeen, Context, Invocation, Outcome, OutputLog};
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::observe::source::Boxed;
use crate::plan::runbook::{Check, Output, Progress, Validation};

/// How often the readings are looked at.
const LOOK: Duration = Duration::from_millis(250);

impl Act for Validation {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            match invocation.newer_than {
                Some(since) => look_fresh(context, &self.checks, since, invocation.limit()).await,
                None => hold(context, &self.checks, self.hold, self.samples, log).await,
            }
        })
    }
}

/// Comes back when everything holds; whoever calls sets the limit.
pub(super) async fn hold(context: &Context, checks: &[Check], time: Duration, samples: u32, log: &mut OutputLog) -> Outcome {
    let mut since: Option<Instant> = None;
    let mut seen_at: Vec<BTreeSet<Stamp>> = vec![BTreeSet::new(); checks.len()];
    let mut said = String::new();
    loop {
        let seen = context.signals.look(checks).await;
        let words = describe(checks, &seen);
        if words != said {
            log.say(&words);
            said.clone_from(&words);
        }
        if seen.iter().all(|s| s.holds == Ok(true)) {
            let begun = *since.get_or_insert_with(Instant::now);
            for (at, seen) in seen_at.iter_mut().zip(&seen) {
                at.extend(seen.at);
            }
            let fewest = seen_at.iter().map(BTreeSet::len).min().unwrap_or(0);
            if !time.is_zero() {
                let (done, of) = (begun.elapsed().min(time).as_secs_f64(), time.as_secs_f64());
                log.progress(Progress { done, of: Some(of), unit: "s".into(), words: "held without a break".into() });
            }
            if begun.elapsed() >= time && fewest >= samples as usize {
                let held = if time.is_zero() { String::new() } else { format!(" for {}", short(time)) };
                return Outcome::done(format!("{words}{held}"), false).with(Output { text: words.clone(), json: serde_json::Value::Null });
            }
        } else {
            since = None;
            seen_at.iter_mut().for_each(BTreeSet::clear);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the checks say on readings that are newer than `since`, waited for as long as that takes: for probes, which must
/// not take how it was before for how it is.
async fn look_fresh(context: &Context, checks: &[Check], since: Stamp, patience: Duration) -> Outcome {
    let deadline = Instant::now() + patience;
    loop {
        let seen = context.signals.look(checks).await;
        if seen.iter().all(|s| s.at.is_some_and(|at| at > since)) {
            return judge(checks, &seen);
        }
        if Instant::now() >= deadline {
            return Outcome::failed(format!("no reading since {}: {}", since.hms(), describe(checks, &seen)), false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the checks say now: for guards, which do not wait.
pub async fn look_once(context: &Context, checks: &[Check]) -> Outcome {
    judge(checks, &context.signals.look(checks).await)
}

fn judge(checks: &[Check], seen: &[CheckSeen]) -> Outcome {
    let words = describe(checks, seen);
    if seen.iter().all(|s| s.holds == Ok(true)) {
        Outcome::done(words, false)
    } else if seen.iter().all(|s| s.holds.is_ok()) {
        Outcome::otherwise(words, false)
    } else {
        Outcome::failed(words, false)
    }
}

fn describe(checks: &[Check], seen: &[CheckSeen]) -> String {
    let one = |(check, seen): (&Check, &CheckSeen)| match &seen.holds {
        Ok(true) => format!("{}: {}", check.signal, seen.reason),
        Ok(false) => format!("{}: {}, wanted {}", check.signal, seen.reason, check.condition.as_deref().unwrap_or("pass")),
        Err(why) => format!("{}: not known: {why}", check.signal),
    };
    checks.iter().zip(seen).map(one).collect::<Vec<_>>().join("; ")
}
