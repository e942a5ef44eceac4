//! Bounded load: so many requests, so many at once, and what the 95th percentile of their times outcome to.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;

use super::{Act, Context, Invocation, Outcome, OutputLog};
use crate::base::units::short;
use crate::observe::source::{Boxed, Web};
use crate::plan::runbook::{LoadTest, Output, Progress};

/// A single request that takes longer counts as failed.
const SLOWEST: Duration = Duration::from_secs(30);

impl Act for LoadTest {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(fire(context, self, invocation.limit(), log))
    }
}

async fn fire(context: &Context, load: &LoadTest, limit: Duration, log: &mut OutputLog) -> Outcome {
    let endpoint = match context.endpoint(&load.address, limit.min(SLOWEST)) {
        Ok(endpoint) => endpoint,
        Err(e) => return Outcome::failed(e, false),
    };
    let web = Web::new(endpoint);
    let begun = Instant::now();
    let one = |_| async {
        let begun = Instant::now();
        let sent = match web.request(&load.method, "") {
            Ok(request) => web.send(request).await,
            Err(fault) => Err(fault),
        };
        match sent {
            Ok(answer) if answer.status.is_success() => Ok(begun.elapsed()),
            Ok(answer) => Err(format!("status {}", answer.status.as_u16())),
            Err(fault) => Err(fault.message),
        }
    };
    let mut answers: Vec<Result<Duration, String>> = Vec::new();
    let mut fired = std::pin::pin!(futures_util::stream::iter(0..load.requests).map(one).buffer_unordered(load.concurrency as usize));
    while let Some(answer) = fired.next().await {
        answers.push(answer);
        let done = answers.len() as f64;
        log.progress(Progress { done, of: Some(f64::from(load.requests)), unit: String::new(), words: "requests".into() });
    }
    let took = begun.elapsed();
    let mut times: Vec<Duration> = answers.iter().filter_map(|a| a.as_ref().ok().copied()).collect();
    times.sort_unstable();
    let failed = answers.len() - times.len();
    let at = |q: f64| times.get(((times.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied();
    let share = failed as f64 / f64::from(load.requests);
    let (p50, p95, p99) = (at(0.5), at(0.95), at(0.99));
    let show = |t: Option<Duration>| t.map_or_else(|| "—".into(), short);
    let rate = f64::from(load.requests) / took.as_secs_f64().max(0.001);
    let words = format!("p50 {}, p95 {}, p99 {}, {failed} of {} failed, {rate:.0}/s", show(p50), show(p95), show(p99), load.requests);
    log.say(&words);
    if let Some(Err(first)) = answers.iter().find(|a| a.is_err()) {
        log.say(&format!("first failure: {first}"));
    }
    let ms = |t: Option<Duration>| t.map(|t| t.as_secs_f64() * 1000.0);
    let output = Output { text: words.clone(), json: json!({"p50_ms": ms(p50), "p95_ms": ms(p95), "p99_ms": ms(p99), "errors": share}) };
    let too_slow = match (load.p95, p95) {
        (Some(limit), Some(p95)) => p95 > limit,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if share > load.errors || too_slow || times.is_empty() {
        let wanted = load.p95.map_or_else(String::new, |p| format!(", wanted p95 <= {}", short(p)));
        return Outcome {
            output,
            ..Outcome::failed(format!("{words}{wanted}, errors <= {:.1} %", load.errors * 100.0), load.method == "POST")
        };
    }
    Outcome::done(words, load.method == "POST").with(output)
}
