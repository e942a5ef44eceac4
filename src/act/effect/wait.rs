//! Waiting: a time, or until signals are as they should be.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::validation::hold;
use super::{Act, Context, Invocation, Outcome, OutputLog};
use crate::base::units::short;
use crate::observe::source::Boxed;
use crate::plan::runbook::{Progress, Wait};

/// How often it is said how far it is.
const SAID: Duration = Duration::from_secs(1);

impl Act for Wait {
    fn perform<'a>(&'a self, context: &'a Context, _invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(time) = self.time else { return hold(context, &self.until, Duration::ZERO, 1, log).await };
            let begun = Instant::now();
            while begun.elapsed() < time {
                let passed = begun.elapsed().as_secs_f64();
                log.progress(Progress { done: passed, of: Some(time.as_secs_f64()), unit: "s".into(), words: "waiting".into() });
                sleep_until((Instant::now() + SAID).min(begun + time)).await;
            }
            Outcome::done(format!("waited {}", short(time)), false)
        })
    }
}
