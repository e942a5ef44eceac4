//! Messages of steps on their way: into the outbox, for the channels that the plan knows.

use indexmap::IndexMap;

use crate::act::effect::Outgoing;
use crate::base::clock::Clock;
use crate::base::secret::sanitize;
use crate::plan::runbook::{Channel, Occasion};
use crate::record::notify::{Notification, Outbox};

pub struct StepNotifications {
    pub outbox: Outbox,
    pub channels: IndexMap<String, Channel>,
    pub run: String,
    pub environment: String,
    pub drill: bool,
    pub clock: Clock,
}

impl Outgoing for StepNotifications {
    fn put(&self, step: &str, name: &str, message: &str) -> std::io::Result<()> {
        let Some(channel) = self.channels.get(name) else { return Ok(()) };
        let now = self.clock.now();
        let message = if self.drill { format!("DRILL: {message}") } else { message.to_string() };
        let mut lines = message.lines().map(sanitize);
        self.outbox.put(&Notification {
            // The same at every attempt.
            id: format!("{}-{}", Outbox::id(&self.run, 0, name), step.replace('/', "__")),
            run: self.run.clone(),
            seq: 0,
            occasion: Occasion::Start,
            name: name.to_string(),
            channel: channel.clone(),
            title: lines.next().unwrap_or_default(),
            lines: lines.collect(),
            environment: self.environment.clone(),
            at: now,
            attempts: 0,
            next_try: now,
            error: None,
        })
    }
}
