//! Which notifications a record makes. They follow from the journal alone, so that none is lost with a runner.

use super::outbox::{Notification, Outbox};
use crate::base::clock::Stamp;
use crate::base::units::count_of;
use crate::plan::runbook::{Event, Notice, Occasion, Plan, Record, Run, RunResult};
use crate::record::journal::Replay;

/// What a record is an occasion for.
fn occasion(event: &Event) -> Option<Occasion> {
    Some(match event {
        Event::Started { .. } => Occasion::Start,
        Event::Asked { .. } => Occasion::Waiting,
        Event::RollbackStarted { .. } => Occasion::Rollback,
        Event::Ended { result, .. } => match result {
            RunResult::Done => Occasion::Success,
            RunResult::Failed | RunResult::RolledBack | RunResult::Refused => Occasion::Failure,
            RunResult::Aborted | RunResult::Superseded => Occasion::Abort,
        },
        _ => return None,
    })
}

/// The notifications about a record; `run` is the run with that record taken in.
pub fn notifications(plan: &Plan, run: &Run, record: &Record, now: Stamp) -> Vec<Notification> {
    let Some(occasion) = occasion(&record.event) else { return Vec::new() };
    let wanted = |notice: &&Notice| notice.events.contains(&occasion);
    plan.content.notices.iter().filter(wanted).map(|notice| notification_of(plan, run, record, notice, occasion, now)).collect()
}

/// Puts every notification of a journal into the outbox that was never there: a runner may have ended before it came to it.
/// Whether all of them are there now.
pub fn remember_notifications(plan: &Plan, outbox: &Outbox, replay: &Replay, now: Stamp) -> bool {
    let (mut run, mut all) = (Run::default(), true);
    for line in &replay.lines {
        if run.apply(plan, &line.record).is_ok() {
            for notification in notifications(plan, &run, &line.record, now) {
                all &= outbox.put(&notification).is_ok();
            }
        }
    }
    all
}

fn notification_of(plan: &Plan, run: &Run, record: &Record, notice: &Notice, occasion: Occasion, now: Stamp) -> Notification {
    let c = &plan.content;
    let what = match &record.event {
        Event::Started { .. } => "started".to_string(),
        Event::Asked { .. } => "waits for an operator".into(),
        Event::RollbackStarted { .. } => "rolls back".into(),
        Event::Ended { result, .. } => result.word().into(),
        _ => String::new(),
    };
    let drill = if c.drill { " (drill)" } else { "" };
    let title = format!("{}: {} {what}{drill}", c.environment.name, c.title);
    let mut lines = Vec::new();
    match &record.event {
        Event::Started { .. } => {
            lines.extend(c.reason.as_ref().map(|reason| format!("reason: {reason}")));
            lines.push(format!("{}, {}", count_of(c.steps.len(), "step"), c.danger.word()));
        }
        Event::Asked { question } => lines.push(question.text.clone()),
        Event::RollbackStarted { why, steps } => lines.push(format!("{why} ({} steps back)", steps.len())),
        Event::Ended { message, .. } => {
            lines.push(message.clone());
            for (key, step) in run.steps.iter().filter(|(_, s)| s.state == crate::plan::runbook::StepState::Failed) {
                lines.push(format!("{key}: {}", step.message));
            }
        }
        _ => {}
    }
    lines.push(format!("by {}", plan.by));
    lines.push(format!("look: lastgreen attach {} (on {})", record.run, run.runner.host));
    let lines = lines.iter().map(|line| crate::base::secret::sanitize(line)).collect();
    Notification {
        id: Outbox::id(&record.run, record.seq, &notice.name),
        run: record.run.clone(),
        seq: record.seq,
        occasion,
        name: notice.name.clone(),
        channel: notice.channel.clone(),
        title: crate::base::secret::sanitize(&title),
        lines,
        environment: c.environment.name.clone(),
        at: record.at,
        attempts: 0,
        next_try: now,
        error: None,
    }
}
