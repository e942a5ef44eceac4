//! Polling: each question on its interval, through the gate of its source. While that is down, a question takes its second
//! source, if it has one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::gate::{Source, SourceGate};
use super::mailbox::Mailbox;
use super::prometheus::now;
use super::{Answer, Client};
use crate::base::clock::Stamp;
use crate::base::text::fit;
use crate::base::units::short;
use crate::observe::reading::{
    Ask, Fault, FaultKind, LEAST_PAST, LabelledValue, Lines, Past, Question, Reading, Series, Tail, Value, distinct,
};

/// The tasks that ask. They end when this is dropped.
pub struct Poller {
    tasks: JoinSet<()>,
    gates: HashMap<Arc<str>, Arc<SourceGate>>,
    window: watch::Sender<Duration>,
    refresh: watch::Sender<u64>,
}

impl Poller {
    pub fn start(runtime: &Handle, sources: Vec<Source>, questions: Vec<Question>, window: Duration, mailbox: Arc<Mailbox>) -> Poller {
        let (window, _) = watch::channel(window);
        let (refresh, _) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let mut gates: HashMap<Arc<str>, Arc<SourceGate>> = HashMap::new();
        for source in sources {
            if let Some(work) = source.client.clone().background() {
                tasks.spawn_on(work, runtime);
            }
            let selectors = all_selectors(&questions, &source.name);
            let gate = Arc::new(SourceGate::new(source, selectors, mailbox.clone()));
            tasks.spawn_on(gate.clone().identify(), runtime);
            if !questions.iter().any(|q| q.source == gate.source.name) {
                tasks.spawn_on(gate.clone().stand_by(), runtime);
            }
            gates.insert(gate.source.name.clone(), gate);
        }
        for mut question in questions {
            if let Ask::Probe(spec) = &mut question.ask {
                // Two that ask the same count their failures each by itself.
                spec.signal = question.name.to_string();
                spec.timeout = Some(question.timeout);
            }
            let Some(gate) = gates.get(&question.source).cloned() else { continue };
            let second = question.or.as_ref().and_then(|(name, _)| gates.get(name).cloned());
            let asker = Asker { question, gate, second, mailbox: mailbox.clone(), chart: Chart::default() };
            tasks.spawn_on(asker.run(window.subscribe(), refresh.subscribe()), runtime);
        }
        Poller { tasks, gates, window, refresh }
    }

    /// Ends, and comes back when nothing runs any more.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    /// What there is at a source that a question can name; nothing where that cannot be told.
    pub async fn names(&self, source: &str) -> Vec<String> {
        let Some(gate) = self.gates.get(source) else { return Vec::new() };
        tokio::time::timeout(NAMES, gate.source.client.names()).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Changes the window that charts show; their histories are fetched anew.
    pub fn set_window(&self, window: Duration) {
        self.window.send_if_modified(|current| std::mem::replace(current, window) != window);
    }

    /// Asks everything again now.
    pub fn refresh(&self) {
        self.refresh.send_modify(|n| *n += 1);
    }
}

fn all_selectors(questions: &[Question], source: &str) -> Vec<String> {
    let mut all = Vec::new();
    for question in questions {
        let second = question.or.as_ref().map(|(name, ask)| (name, ask));
        for (name, ask) in std::iter::once((&question.source, &question.ask)).chain(second) {
            if let Ask::Promql { selectors, .. } = ask
                && **name == *source
            {
                all.extend(selectors.iter().cloned());
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// How long a source is asked for what there is.
const NAMES: Duration = Duration::from_secs(3);

/// What the chart of a question has so far.
#[derive(Default)]
struct Chart {
    window: Duration,
    via: Option<Arc<str>>,
    last: Option<Stamp>,
}

/// The distance of a chart's points: fine enough for the widest panel, never finer than the polling.
fn chart_step(window: Duration, every: Duration) -> Duration {
    const NICE: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 90, 120, 300, 360, 600, 900, 1800];
    let wanted = (window / 240).max(every);
    NICE.into_iter().map(Duration::from_secs).find(|step| *step >= wanted).unwrap_or(Duration::from_secs(3600))
}

struct Asker {
    question: Question,
    gate: Arc<SourceGate>,
    second: Option<Arc<SourceGate>>,
    mailbox: Arc<Mailbox>,
    chart: Chart,
}

impl Asker {
    async fn run(mut self, mut window: watch::Receiver<Duration>, mut refresh: watch::Receiver<u64>) {
        let (mut revived, mut waits) = (self.gate.revived.subscribe(), false);
        loop {
            let span = *window.borrow_and_update();
            let started = Instant::now();
            revived.borrow_and_update();
            let reading = self.round(span).await;
            if let Some(reading) = reading {
                // Whoever was answered by the source itself does not ask again because that answers somebody else again.
                waits = reading.outcome.is_err() || reading.via != self.gate.source.name;
                self.mailbox.put_reading(&self.question.name, reading);
            }
            // Early wakes must not add up: the next round is one interval after this one's beginning.
            let next = started + self.question.every;
            let due = self.gate.next_try().filter(|_| waits).map_or(next, |due| due.min(next));
            tokio::select! {
                () = tokio::time::sleep_until(due.max(Instant::now() + Duration::from_millis(50))) => {}
                changed = window.changed(), if self.question.history => if changed.is_err() { return },
                changed = refresh.changed() => if changed.is_err() { return },
                changed = revived.changed(), if waits => if changed.is_err() { return },
            }
        }
    }

    /// Asks the first source, then the second one when the first is away.
    async fn round(&mut self, window: Duration) -> Option<Reading> {
        let started = Instant::now();
        let (gate, ask) = (self.gate.clone(), self.question.ask.clone());
        let first = self.one(&gate, &ask, window).await;
        let fault = match first {
            Ok(answer) => return answer.map(|answer| self.reading(&gate, started, Ok(answer))),
            Err(fault) => fault,
        };
        if fault.kind.is_of_source()
            && let (Some(second), Some((_, ask))) = (self.second.clone(), self.question.or.clone())
        {
            match self.one(&second, &ask, window).await {
                Ok(None) => return None,
                Ok(Some(mut answer)) => {
                    answer.notes.insert(0, format!("{} is away: {fault}", gate.source.name));
                    return Some(self.reading(&second, started, Ok(answer)));
                }
                Err(second_fault) => {
                    let both = Fault::new(fault.kind, format!("{fault}; and {}: {second_fault}", second.source.name));
                    return Some(self.reading(&gate, started, Err(both)));
                }
            }
        }
        Some(self.reading(&gate, started, Err(fault)))
    }

    fn reading(&self, gate: &SourceGate, started: Instant, outcome: Result<Answer, Fault>) -> Reading {
        let received = now();
        let (at, notes, partial) = match &outcome {
            Ok(answer) => (answer.at.unwrap_or(received), answer.notes.clone(), answer.partial),
            Err(_) => (received, Vec::new(), false),
        };
        let (numbers, only_numbers) = (self.question.numbers, self.question.only_numbers);
        let outcome = outcome.and_then(|answer| match answer.value {
            Value::Lines(mut lines) => {
                distinct(&mut lines, |line| &mut line.label);
                Ok(Value::Lines(lines))
            }
            value if numbers => match value.meant_as_number() {
                Value::Text(text) if only_numbers => Err(no_number(&text)),
                value => Ok(value),
            },
            value => Ok(value),
        });
        Reading { at, received, took: started.elapsed(), via: gate.source.name.clone(), outcome, notes, partial }
    }

    /// One question to one source: the value, and the chart's tail. `Ok(None)` means that nothing is new yet.
    async fn one(&mut self, gate: &Arc<SourceGate>, ask: &Ask, window: Duration) -> Result<Option<Answer>, Fault> {
        let (timeout, client) = (self.question.timeout, gate.source.client.clone());
        if let Some(past) = self.question.past {
            return gate.through(timeout, past_value(&*client, ask, past)).await.map(Some);
        }
        let step = chart_step(window, self.question.every);
        let charted = self.question.history && client.has_range(ask);
        let mut chart_fault = None;
        let mut answer = None;
        if charted {
            match self.tail(gate, ask, window, step).await {
                Ok(tail) => answer = tail,
                // A range that is too much for the source takes the chart away, not the value.
                Err(fault) if !fault.kind.is_of_source() => chart_fault = Some(fault),
                Err(fault) => return Err(fault),
            }
        }
        // With points as dense as the polling the newest point is the value; otherwise the value is asked apart.
        let mut answer = match answer {
            Some(answer) if step <= self.question.every && !answer.value.is_empty() => answer,
            None if charted && step <= self.question.every && chart_fault.is_none() => return Ok(None),
            _ if matches!(ask, Ask::Probe(_)) => gate.probe(timeout, client.ask(ask)).await?,
            _ => gate.through(timeout, client.ask(ask)).await?,
        };
        answer.notes.extend(chart_fault.map(|fault| format!("no chart: {fault}")));
        if let Ask::Promql { selectors, .. } = ask
            && !selectors.is_empty()
        {
            match gate.newest(self.question.every).await {
                Ok(times) => {
                    let (mut here, mut gone) = (None::<Stamp>, None);
                    for (selector, sample) in selectors.iter().filter_map(|s| Some((s, times.get(s)?))) {
                        match sample.gone {
                            true => gone = gone.or(Some((selector, sample.at))),
                            false => here = Some(here.map_or(sample.at, |at| at.min(sample.at))),
                        }
                    }
                    match (here, gone) {
                        _ if answer.value.is_empty() => answer.at = here.or(answer.at),
                        // A window may still rest on what is not there any more: that is no answer of now, whatever else is in it.
                        (_, Some((selector, at))) => {
                            let ago = short(now().since(at));
                            return Err(Fault::new(FaultKind::Empty, format!("no sample of {selector} for {ago}")));
                        }
                        // What never had one may have nothing to tell yet: errors before the first.
                        (Some(at), None) => answer.at = Some(at),
                        (None, None) => return Err(Fault::new(FaultKind::Empty, format!("no sample of {}", selectors.join(", ")))),
                    }
                }
                Err(fault) if fault.kind.is_of_source() => return Err(fault),
                // What may be of any age is no basis for a verdict.
                Err(fault) => {
                    answer.partial = true;
                    answer.notes.insert(0, format!("the age of the samples is not known: {fault}"));
                }
            }
        }
        Ok(Some(answer))
    }

    /// The part of the window that is not here yet. `None` when the next point is not due.
    async fn tail(&mut self, gate: &Arc<SourceGate>, ask: &Ask, window: Duration, step: Duration) -> Result<Option<Answer>, Fault> {
        let skew = gate.source.client.skew();
        let end = now().align(step);
        let same = self.chart.window == window && self.chart.via.as_ref() == Some(&gate.source.name);
        // After a gap longer than the window, or for another window or source, the whole of it.
        let last = self.chart.last.filter(|last| same && *last <= end && end.since(*last) <= window);
        let start = match last {
            Some(last) if last == end => return Ok(None),
            Some(last) => last.plus(step),
            None => end.minus(window).align(step),
        };
        let (mut lines, answer): (Lines, Answer) =
            gate.through(self.question.timeout, gate.source.client.range(ask, start, end, step)).await?;
        // The first answer tells how far the clocks are apart: what was asked by the wrong time is asked again.
        if (gate.source.client.skew() - skew).abs() > 2_000 {
            self.chart = Chart::default();
            return Err(Fault::new(FaultKind::Empty, "its clock differs from ours; asking again by its own"));
        }
        distinct(&mut lines, |(label, _)| label);
        let newest: Vec<LabelledValue> = lines
            .iter()
            .filter_map(|(label, points)| {
                points.last().filter(|(at, _)| *at == end).map(|(_, value)| LabelledValue { label: label.clone(), value: *value })
            })
            .collect();
        self.mailbox.put_tail(&self.question.name, Tail { window, step, whole: last.is_none(), lines });
        self.chart = Chart { window, via: Some(gate.source.name.clone()), last: Some(end) };
        Ok(Some(Answer { value: super::prometheus::value_of(newest), ..answer }))
    }
}

/// So much of a text that is no number is told.
const TOLD: usize = 40;

fn no_number(text: &str) -> Fault {
    let text = text.trim();
    // As databases write what has a number of its own.
    let as_number = if text.trim_start_matches('-').starts_with(['$', '€', '£']) {
        ": of money it is VALUE::numeric"
    } else if text.split_whitespace().next_back().is_some_and(|last| last.split(':').count() == 3 && !last.contains('+'))
        && text.matches('-').count() < 2
    {
        ": of an interval it is extract(epoch FROM VALUE)"
    } else {
        ""
    };
    Fault::new(FaultKind::Query, format!("the answer is `{}`, where its unit wants a number{as_number}", fit(text, TOLD)))
}

/// The value a baseline wants.
async fn past_value(client: &dyn Client, ask: &Ask, past: Past) -> Result<Answer, Fault> {
    let minute = Duration::from_secs(60);
    let end = now().align(minute);
    let (start, end, step) = match past {
        Past::Ago(ago) => (end.minus(ago), end.minus(ago), minute),
        Past::Median(over) => (end.minus(over), end, (over / 288).max(minute)),
    };
    let (lines, answer) = client.range(ask, start, end, step).await?;
    let median = matches!(past, Past::Median(_));
    if answer.partial || median && lines.iter().any(|(_, points)| points.len() < LEAST_PAST) {
        return Err(Fault::new(FaultKind::Empty, "too little history to take the baseline from"));
    }
    let mut medians = lines.into_iter().filter_map(|(_, points)| Series::from_points(points).median(Stamp(i64::MIN)));
    match (medians.next(), medians.next()) {
        (Some(value), None) => Ok(Answer { value: Value::Number(value), ..answer }),
        (None, _) => Err(Fault::new(FaultKind::Empty, "no history to take the baseline from")),
        (Some(_), Some(_)) => Err(Fault::new(FaultKind::Query, "a baseline needs a query with one series")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_says_how_it_becomes_one() {
        for (text, wanted) in [
            ("green", "the answer is `green`, where its unit wants a number"),
            (
                "1 day 00:05:00.5",
                "the answer is `1 day 00:05:00.5`, where its unit wants a number: of an interval it is extract(epoch FROM VALUE)",
            ),
            ("-$1,234.50", "the answer is `-$1,234.50`, where its unit wants a number: of money it is VALUE::numeric"),
            ("2026-11-28 03:00:00.5", "the answer is `2026-11-28 03:00:00.5`, where its unit wants a number"),
        ] {
            assert_eq!(no_number(text).message, wanted);
        }
    }

    #[test]
    fn steps_stay_under_the_limit_of_points() {
        for window in [300, 900, 3600, 21_600, 86_400] {
            for every in [1, 5, 30] {
                let step = chart_step(Duration::from_secs(window), Duration::from_secs(every));
                assert!(step >= Duration::from_secs(every));
                assert!(window / step.as_secs() <= 300, "{window} by {step:?}");
            }
        }
    }
}
