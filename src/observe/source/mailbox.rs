//! Where sources leave what they said and the loop picks it up. Latest wins: a reading that nobody picked up is replaced
//! by the next one, the tails of charts are joined, and a reader that stalls for a minute finds one minute's news, not a
//! queue.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::observe::reading::{Delivery, Reading, SourceHealth, Tail};

#[derive(Default)]
pub struct Mailbox {
    inner: Mutex<Delivery>,
    bell: Notify,
}

impl Mailbox {
    pub fn put_reading(&self, question: &Arc<str>, reading: Reading) {
        self.with(|d| drop(d.readings.insert(question.clone(), reading)));
    }

    pub fn put_tail(&self, question: &Arc<str>, tail: Tail) {
        self.with(|d| match d.tails.get_mut(question) {
            Some(known) => known.join(tail),
            None => drop(d.tails.insert(question.clone(), tail)),
        });
    }

    pub fn put_source(&self, source: &Arc<str>, health: SourceHealth) {
        self.with(|d| drop(d.sources.insert(source.clone(), health)));
    }

    fn with(&self, change: impl FnOnce(&mut Delivery)) {
        change(&mut self.inner.lock().unwrap_or_else(|p| p.into_inner()));
        self.bell.notify_one();
    }

    /// Takes what is there, without waiting.
    pub fn take(&self) -> Delivery {
        std::mem::take(&mut *self.inner.lock().unwrap_or_else(|p| p.into_inner()))
    }

    /// Waits until something was put since the last time.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Stamp;
    use crate::observe::reading::Value;

    fn tail(whole: bool, from: i64, to: i64) -> Tail {
        let points = (from..to).map(|i| (Stamp(i * 1000), i as f64)).collect();
        Tail { window: Duration::from_secs(60), step: Duration::from_secs(1), whole, lines: vec![("a".into(), points)] }
    }

    #[test]
    fn the_latest_reading_wins_and_tails_join() {
        let mailbox = Mailbox::default();
        let name: Arc<str> = "q".into();
        for i in 0..100 {
            mailbox.put_reading(&name, Reading::good(Stamp(i), "s", Value::Number(i as f64)));
            mailbox.put_tail(&name, tail(i == 0, i * 10, i * 10 + 10));
        }
        let delivery = mailbox.take();
        assert_eq!(delivery.readings[&name].value(), Some(&Value::Number(99.0)));
        let joined = &delivery.tails[&name];
        assert!(joined.whole, "the whole window was among it");
        assert!(joined.lines[0].1.len() <= 61, "bounded by the window: {}", joined.lines[0].1.len());
        assert!(mailbox.take().is_empty());
    }
}
