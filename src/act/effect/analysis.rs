//! A canary beside what it would replace: the same signals of both, over the same while. A critical metric that is
//! decidedly worse ends it at once; nothing that is not known passes.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Act, Context, Invocation, Outcome, OutputLog, SignalPoints};
use crate::act::infra::traffic::observe;
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::judge::{CanaryVerdict, Classification, Verdict};
use crate::observe::source::Boxed;
use crate::plan::deploy::compare;
use crate::plan::runbook::{Analysis, CanarySettings, Output, Progress, percent};

/// How often the canary is judged while it bakes.
const LOOK: Duration = Duration::from_secs(1);
/// So long it may be unknown what the share is: a load balancer that is begun anew is back by then.
const BLIND: Duration = Duration::from_secs(10);
/// So many times its own time a bake goes on while there are too few points.
const LONGEST: u32 = 2;

impl Act for Analysis {
    fn perform<'a>(&'a self, context: &'a Context, _invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(canary) = &context.settings.canary else {
                return Outcome::failed("there is nothing that a canary is judged by any more", false);
            };
            let time = self.time.unwrap_or(canary.bake);
            if self.past {
                let now = context.clock.now();
                let verdict = look(context, canary, now.minus(time.saturating_sub(canary.warm_up)), time).await;
                if !verdict.wants_points() {
                    return concluded(&verdict, &format!("by the last {}", short(time)), log);
                }
                // Sources that tell no past are looked at for as long as they are to be judged by.
                log.say("its sources tell too little of the past: looked at from now on");
            }
            bake(context, canary, time, log).await
        })
    }
}

async fn bake(context: &Context, canary: &CanarySettings, time: Duration, log: &mut OutputLog) -> Outcome {
    let (begun, since) = (Instant::now(), context.clock.now().plus(canary.warm_up));
    let mut said = String::new();
    let mut share = Share::default();
    loop {
        if let Some(words) = share.look(context).await {
            return Outcome::otherwise(words, false);
        }
        let verdict = look(context, canary, since, time * LONGEST).await;
        let passed = begun.elapsed();
        if verdict.reason != said {
            log.say(&format!("{}: {}", verdict.verdict.word(), verdict.reason));
            said.clone_from(&verdict.reason);
        }
        log.progress(Progress {
            done: passed.min(time).as_secs_f64(),
            of: Some(time.as_secs_f64()),
            unit: "s".into(),
            words: format!("baked; {}: {}", verdict.verdict.word(), verdict.reason),
        });
        if is_decided(&verdict) {
            return concluded(&verdict, &format!("after {}", short(passed)), log);
        }
        // What cannot be told yet is looked at for as long again: a source that is slow gives few points.
        if let Some(words) = share.is_lost(Duration::ZERO).filter(|_| passed >= time) {
            return Outcome::otherwise(words, false);
        }
        if passed >= time && (verdict.verdict != Verdict::Unknown || passed >= time * LONGEST) {
            return concluded(&verdict, &format!("after {}", short(passed)), log);
        }
        let left = if passed < time { time - passed } else { LOOK };
        tokio::time::sleep(LOOK.min(left).max(Duration::from_millis(50))).await;
    }
}

/// The share that a bake is about.
#[derive(Default)]
struct Share {
    /// As it was when it began.
    first: Option<f64>,
    /// Since when nobody can tell it, and why: load balancers disagree, or are silent.
    blind: Option<(Instant, String)>,
}

impl Share {
    /// Looks, and says what is no more as it was: what is seen then is seen of something else.
    async fn look(&mut self, context: &Context) -> Option<String> {
        match observe(context.settings.switch.as_ref()?, &context.clock).await.weight() {
            Ok(weight) => {
                self.blind = None;
                let before = *self.first.get_or_insert(weight);
                ((weight - before).abs() > 0.5)
                    .then(|| format!("{} is observed, and {} when it began: somebody has changed it", percent(weight), percent(before)))
            }
            Err(why) => {
                let since = self.blind.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                self.blind = Some((since, why));
                self.is_lost(BLIND)
            }
        }
    }

    /// Why nobody can tell it, where that has been so for longer.
    fn is_lost(&self, longer: Duration) -> Option<String> {
        let (since, why) = self.blind.as_ref().filter(|(since, _)| since.elapsed() >= longer)?;
        let was = self.first.map_or_else(String::new, |first| format!(", {} when it began", percent(first)));
        Some(format!("what the share is nobody can tell for {}{was}: {why}", short(since.elapsed())))
    }
}

/// Whether more points would only cost more users.
fn is_decided(verdict: &CanaryVerdict) -> bool {
    let worse = |classification| matches!(classification, Classification::High | Classification::Low);
    verdict.metrics.iter().any(|metric| metric.critical && worse(metric.classification))
}

async fn look(context: &Context, canary: &CanarySettings, since: Stamp, window: Duration) -> CanaryVerdict {
    let names = canary.analysis.signals();
    let points = context.signals.points(&names, window).await;
    let by_name: HashMap<&str, &SignalPoints> = names.iter().map(String::as_str).zip(&points).collect();
    let of = |signal: &str| by_name.get(signal).map_or_else(|| Err("not asked".into()), |points| (*points).clone());
    compare(&canary.analysis, (since, context.clock.now()), &of)
}

fn concluded(verdict: &CanaryVerdict, when: &str, log: &mut OutputLog) -> Outcome {
    for metric in &verdict.metrics {
        let counts = format!("{}/{} points", metric.points.canary, metric.points.baseline);
        log.say(&format!("{:6}  {}  {counts}  {}", metric.classification.word(), metric.name, metric.reason));
    }
    let words = format!("{} {when}: {}", verdict.verdict.word(), verdict.reason);
    let output = Output { text: words.clone(), json: json!(verdict) }.bounded();
    match verdict.verdict {
        Verdict::Pass => Outcome::done(words, false),
        Verdict::Warn | Verdict::Fail => Outcome::otherwise(words, false),
        Verdict::Unknown => Outcome::failed(words, false),
    }
    .with(output)
}
