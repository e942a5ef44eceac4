//! Whether a step is already so: its probe is asked, and nobody is asked twice for what may still be under way.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::{Driver, Gone};
use crate::act::effect::{Settled, acting};
use crate::base::clock::Stamp;
use crate::base::units::short;
use crate::plan::runbook::{Event, Planned, ProbeAnswer, StepState};

/// How long a probe may take.
const PROBING: Duration = Duration::from_secs(30);
/// How soon something that is under way is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
/// The same for a server's own word.
const SETTLES: Duration = Duration::from_millis(250);

impl Driver {
    /// What a runner before this one has asked for may still be at work where it was asked: it is waited for, and ended when
    /// that takes longer than its step may. `None`: something else was asked for meanwhile.
    pub(super) async fn settle(&mut self, key: &str, planned: &Planned) -> Result<Option<Settled>, Gone> {
        let unknown = self.run.steps.get(key).is_some_and(|s| s.state == StepState::Unknown);
        if !unknown || !planned.kind.mutates() {
            return Ok(Some(Settled::Over));
        }
        let deadline = Instant::now() + planned.timeout.unwrap_or(PROBING);
        let mut said = false;
        loop {
            let end = Instant::now() >= deadline;
            let (context, kind, run, step) = (self.context.clone(), planned.kind.clone(), self.id.clone(), key.to_string());
            let asking = async move {
                match acting(&kind) {
                    Some(act) => act.settle(&context, &run, &step, end).await,
                    None => Settled::Over,
                }
            };
            match self.listen(asking).await? {
                Some(Settled::UnderWay(words)) if !end => {
                    if !said {
                        said = true;
                        self.append(Event::Noted {
                            text: format!("{} is under way, and is waited for: {words}", planned.name),
                            loud: false,
                        })
                        .await?;
                    }
                    if self.listen(tokio::time::sleep(SETTLES)).await?.is_none() {
                        return Ok(None);
                    }
                }
                settled => return Ok(settled),
            }
        }
    }

    /// Asks a step's probe, and puts on record what it says. What is under way is waited for, for as long as the step may
    /// take.
    pub(super) async fn probe(&mut self, key: &str) -> Result<(), Gone> {
        let Some(planned) = self.plan.step(key).map(Cow::into_owned) else { return Ok(()) };
        if planned.probe.is_none() {
            return Ok(());
        }
        let Some(settled) = self.settle(key, &planned).await? else { return Ok(()) };
        let until = Instant::now() + planned.timeout.unwrap_or(PROBING);
        let mut said = String::new();
        loop {
            let asked = match &settled {
                Settled::Unknown(why) => Some((ProbeAnswer::Unknown, format!("whether the server is still at it cannot be told: {why}"))),
                _ => self.ask_probe(key, &planned).await?,
            };
            let Some((mut answer, mut message)) = asked else { return Ok(()) };
            let lingers = matches!(settled, Settled::Lingers).then(|| self.may_be_at_it_until(key, &planned)).flatten();
            if let (ProbeAnswer::No, Some(at)) = (answer, lingers) {
                answer = ProbeAnswer::UnderWay;
                message = format!("{message}; what was asked before may still be at it until {}", at.hms());
            }
            let waits = answer == ProbeAnswer::UnderWay && (lingers.is_some() || Instant::now() < until);
            if waits && message != said {
                said.clone_from(&message);
                self.append(Event::StepProbed { step: key.into(), answer, message: message.clone() }).await?;
            }
            if !waits {
                if answer == ProbeAnswer::UnderWay {
                    answer = ProbeAnswer::Unknown;
                    message = format!("still under way after {}: {message}", short(planned.timeout.unwrap_or(PROBING)));
                }
                return self.append(Event::StepProbed { step: key.into(), answer, message }).await;
            }
            if self.listen(tokio::time::sleep(AGAIN)).await?.is_none() || self.run.pause_wanted || self.is_leaving() {
                return Ok(());
            }
        }
    }

    /// One answer of the probe; `None`: something else was asked for meanwhile.
    async fn ask_probe(&mut self, key: &str, planned: &Planned) -> Result<Option<(ProbeAnswer, String)>, Gone> {
        let Some(probe) = &planned.probe else { return Ok(None) };
        let started = self.run.steps.get(key).and_then(|s| s.started);
        let probe = match self.rendered(planned, probe) {
            Ok(probe) => probe,
            Err(e) => return Ok(Some((ProbeAnswer::Unknown, e))),
        };
        let aborts = self.run.aborts;
        let timeout = probe.default_timeout().unwrap_or(PROBING).min(PROBING);
        let outcome = self.perform(key, planned, &probe, Some(timeout), started).await?;
        Ok((self.run.aborts == aborts).then(|| (outcome.answer(), outcome.message)))
    }

    /// Until when a request that a runner before this one has sent may still be at the server, where that is not over.
    fn may_be_at_it_until(&self, key: &str, planned: &Planned) -> Option<Stamp> {
        let step = self.run.steps.get(key).filter(|s| s.state == StepState::Unknown && !s.unsettled)?;
        let at = step.started?.plus(planned.timeout?);
        (at > self.clock.now()).then_some(at)
    }
}
