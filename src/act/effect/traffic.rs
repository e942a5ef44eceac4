//! The canary's share of the traffic: what it was is kept, the switch is turned, and the step is done when what is observed
//! agrees. A switch that says yes and does nothing has failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{Act, Context, Invocation, Outcome, OutputLog};
use crate::act::infra::traffic::{observe, set};
use crate::base::units::short;
use crate::observe::source::Boxed;
use crate::plan::runbook::{Observation, Output, Progress, Switch, SwitchKind, Traffic, Weight, percent};

/// How often it is looked whether the switch has turned.
const LOOK: Duration = Duration::from_millis(250);
/// How long taking the canary out of the traffic waits to learn what its share was.
const GLANCE: Duration = Duration::from_millis(300);
/// How much sooner than its step it gives up: what it has to say is worth more than that it took too long.
const SOONER: Duration = Duration::from_millis(500);

impl Act for Traffic {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(switch) = &context.settings.switch else {
                return Outcome::failed("there is no switch of the traffic any more", false);
            };
            let wanted = match self.weight() {
                Ok(Some(weight)) => weight,
                Ok(None) => match kept(invocation) {
                    Some(weight) => weight,
                    None => return Outcome::failed("what the share was before is not known: set it by hand", false),
                },
                Err(e) => return Outcome::failed(e, false),
            };
            let from = match self.begins_at() {
                Ok(from) => from,
                Err(e) => return Outcome::failed(e, false),
            };
            match self.mutates {
                true => turn(context, switch, (from, wanted, self.time.unwrap_or_default()), invocation, log).await,
                false => look(context, switch, wanted).await,
            }
        })
    }
}

async fn look(context: &Context, switch: &Switch, wanted: Weight) -> Outcome {
    let seen = observe(switch, &context.clock).await;
    let words = format!("observed {}", seen.words());
    match seen.is_at(wanted) {
        // A file may be written and not loaded: it is written again.
        Ok(true) if matches!(switch.kind, SwitchKind::File { read: None, .. }) => {
            Outcome::otherwise(format!("{words}: whether it was loaded cannot be seen"), false)
        }
        Ok(true) => Outcome::done(words, false),
        Ok(false) => Outcome::otherwise(format!("{words}, wanted {wanted} %"), false),
        Err(_) => Outcome::failed(words, false),
    }
}

async fn turn(
    context: &Context,
    switch: &Switch,
    (from, wanted, time): (Option<Weight>, Weight, Duration),
    invocation: &Invocation<'_>,
    log: &mut OutputLog,
) -> Outcome {
    let begun = Instant::now();
    // To take the canary out nothing has to be known; everything else would be done blindly.
    let before = match wanted {
        0 => timeout(GLANCE, observe(switch, &context.clock)).await.map_err(|_| "not seen in time".to_string()),
        _ => Ok(observe(switch, &context.clock).await),
    };
    let before = before.and_then(|seen| seen.weight());
    if let (Ok(weight), Some(from)) = (&before, from)
        && wanted > 0
        && kept(invocation).is_none()
        && (weight - f64::from(from)).abs() > 0.5
    {
        let words = "somebody has changed it since this was planned: make a new plan";
        return Outcome::otherwise(format!("{} is observed, and the plan begins at {from} %: {words}", percent(*weight)), false);
    }
    if let Some(left) = left_alone(invocation, before.as_ref().ok().copied(), wanted) {
        return Outcome::done(left, false);
    }
    match &before {
        Ok(weight) => {
            if let Err(e) = keep(invocation, (*weight, wanted))
                && wanted > 0
            {
                return Outcome::no_room(&e);
            }
        }
        Err(why) if wanted > 0 => return Outcome::failed(format!("not turned: what the share is now cannot be told: {why}"), false),
        Err(why) => log.say(&format!("what the share was before is not known: {why}")),
    }
    log.say(&switch.call(wanted));
    let mut refused = None;
    match set(switch, wanted).await {
        Ok(said) => log.say(&said),
        Err(not) if wanted > 0 || !not.touched => return Outcome::failed(not.message, not.touched),
        // In part, or nobody knows: what is observed tells.
        Err(not) => {
            log.say(&not.message);
            refused = Some(not.message);
        }
    }
    let from = before.map_or_else(|_| "?".into(), percent);
    let limit = switch.within.min(invocation.limit().saturating_sub(SOONER + begun.elapsed()));
    let deadline = Instant::now() + limit;
    let mut since: Option<Instant> = None;
    loop {
        let seen = observe(switch, &context.clock).await;
        progress(log, &seen, wanted);
        let at = seen.is_at(wanted);
        if at == Ok(false) && since.take().is_some() {
            // It was there: somebody else's call came in behind ours.
            log.say(&format!("observed {}: set again", seen.words()));
            if let Err(not) = set(switch, wanted).await {
                log.say(&not.message);
            }
        }
        if at == Ok(true) && since.get_or_insert_with(Instant::now).elapsed() >= time {
            let output = Output { text: seen.words(), json: json!({"before": from, "to": wanted, "observed": seen}) };
            return Outcome::done(format!("{from} → {wanted} %, observed {}", seen.words()), true).with(output);
        }
        if at != Ok(true) && Instant::now() >= deadline {
            return Outcome::failed(not_turned(&seen, at, wanted, limit, refused), true);
        }
        sleep(LOOK).await;
    }
}

fn progress(log: &mut OutputLog, seen: &Observation, wanted: Weight) {
    let done = seen.weight().unwrap_or(f64::NAN);
    if done.is_finite() {
        log.progress(Progress { done, of: None, unit: String::new(), words: format!("% observed, wanted {wanted} %") });
    }
}

fn not_turned(seen: &Observation, at: Result<bool, String>, wanted: Weight, limit: Duration, refused: Option<String>) -> String {
    let limit = short(limit);
    match (refused, at) {
        (Some(why), _) => format!("{why}; observed {}", seen.words()),
        (None, Ok(_)) => format!("the switch said yes, and {limit} later {} is observed, not {wanted} %: it did not turn", seen.words()),
        (None, Err(why)) => format!("asked for {wanted} %, and {limit} later it cannot be told what it is: {why}"),
    }
}

/// Where it stands what the share was before a step.
fn place(home: &Path, key: &str) -> PathBuf {
    home.join(format!("before-{}", key.replace('/', "__")))
}

/// Keeps what the share was and what it was to be, once: a second attempt finds what the first has made of it.
fn keep(invocation: &Invocation<'_>, (weight, wanted): (f64, Weight)) -> std::io::Result<()> {
    let path = place(invocation.home, invocation.key);
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    std::fs::write(&draft, format!("{:.0} {wanted}", weight.round()))?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(&draft, &path)
}

/// What the share was before a step, and what it was to be.
fn on_record(invocation: &Invocation<'_>) -> Option<(Weight, Option<Weight>)> {
    let key = invocation.key.strip_prefix("undo/").unwrap_or(invocation.key);
    let text = std::fs::read_to_string(place(invocation.home, key)).ok()?;
    let mut words = text.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next().and_then(Result::ok)))
}

fn kept(invocation: &Invocation<'_>) -> Option<Weight> {
    on_record(invocation).map(|(before, _)| before)
}

/// Taking a step back sends no traffic to a canary that somebody else has taken out since; in words, where that is so.
fn left_alone(invocation: &Invocation<'_>, observed: Option<f64>, wanted: Weight) -> Option<String> {
    let (before, was_to_be) = invocation.key.starts_with("undo/").then(|| on_record(invocation)).flatten()?;
    let (weight, was_to_be) = (observed?, was_to_be?);
    let is = |known: Weight| (weight - f64::from(known)).abs() <= 0.5;
    let raises = f64::from(wanted) > weight + 0.5;
    (raises && !is(was_to_be) && !is(before))
        .then(|| format!("left at {}: somebody has changed it since this run set {was_to_be} %", percent(weight)))
}
