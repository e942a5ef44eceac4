//! Messages of a step: done when they are on their way, on disk. Whether they arrive keeps no run waiting.

use super::{Act, Context, Invocation, Outcome, OutputLog};
use crate::observe::source::Boxed;
use crate::plan::runbook::Notify;

impl Act for Notify {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            for channel in &self.channels {
                if let Err(e) = context.outgoing.put(invocation.key, channel, &self.message) {
                    return Outcome::no_room(&e);
                }
                log.say(&format!("in the outbox for {channel}"));
            }
            let words = match self.channels.as_slice() {
                [] => "nobody is to be told: no channel is configured".to_string(),
                channels => format!("in the outbox for {}", channels.join(", ")),
            };
            Outcome::done(words, false)
        })
    }
}
