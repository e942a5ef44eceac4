//! The store behind the gate: two generations of tsink storages. In memory tsink never frees what it holds, so a
//! generation is filled for as long as the retention (or until its share of samples is reached) and dropped whole when
//! its successor is full: memory is bounded, and the retention is always covered unless the sample limit cut it short.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tsink::promql::{Engine as Evaluator, PromqlValue};
use tsink::{DataPoint, Label, MetricSeries, QueryOptions, Row, SeriesSelection, Storage, StorageBuilder, TimestampPrecision};

use super::exposition::Sample;
use super::keywords::{inside, outside};
use super::promql::{Supported, check, metric_names};
use super::sampled::{Labels, Sampled};
use crate::base::clock::Stamp;

/// What the engine may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub retention: Duration,
    pub samples: usize,
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { retention: Duration::from_secs(2 * 3600), samples: 4_000_000, series: 200_000 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("more than {0} series: name the metrics to keep, or raise max_series")]
    TooManySeries(usize),
    #[error("the embedded engine cannot answer: {0}")]
    Evaluation(String),
    #[error("the embedded engine cannot store: {0}")]
    Storage(String),
}

/// Samples whose own time stamp is older than this are as good as gone, as with Prometheus' look-back.
const OLD: Duration = Duration::from_secs(300);

/// The NaN by which Prometheus marks the end of a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A series, and the time of its newest sample where the page gives times of its own: such a one is not marked as gone, as
/// with Prometheus.
struct Shown {
    name: String,
    labels: Labels,
    own_time: Option<Stamp>,
}

/// In-memory series from scraped pages, answering PromQL.
pub struct Engine {
    generations: Arc<Generations>,
    evaluator: Evaluator,
    limits: Limits,
    /// Metric names worth keeping; `None` keeps all.
    keep: Option<HashSet<String>>,
    /// What each target showed last, to mark what has gone.
    shown: Mutex<HashMap<String, HashMap<u64, Shown>>>,
    /// Whether any number that is none was ever stored.
    has_nan: AtomicBool,
}

impl Engine {
    /// # Errors
    /// When the storage cannot be made.
    pub fn new(limits: Limits) -> Result<Engine, EngineError> {
        let generations = Arc::new(Generations {
            inner: RwLock::new(Pair { current: fresh()?, previous: None, samples: 0, series: HashSet::new(), since: None, oldest: None }),
        });
        let storage: Arc<dyn Storage> = generations.clone();
        Ok(Engine {
            evaluator: Evaluator::with_precision(storage, TimestampPrecision::Milliseconds),
            generations,
            limits,
            keep: None,
            shown: Mutex::default(),
            has_nan: AtomicBool::new(false),
        })
    }

    /// Keeps only the metrics that these queries read. A query that names no metric makes it keep all.
    #[must_use]
    pub fn keeping<'a>(mut self, queries: impl IntoIterator<Item = &'a str>) -> Engine {
        let mut keep = HashSet::from(["up".to_string()]);
        for query in queries {
            match check(query).ok().and_then(|expr| metric_names(&expr)) {
                Some(names) => keep.extend(names),
                None => return self,
            }
        }
        self.keep = Some(keep);
        self
    }

    /// Stores a page read from a target at a time, and marks series that the target no longer shows. An empty page
    /// (the target is away) ends all of its series.
    ///
    /// # Errors
    /// When there are too many series, or the storage refuses.
    pub fn ingest(&self, target: &str, extra: &[(String, String)], page: &[Sample], at: Stamp) -> Result<(), EngineError> {
        let mut shown = self.shown.lock().unwrap_or_else(|p| p.into_inner());
        let mut now: HashMap<u64, Shown> = HashMap::new();
        let before = shown.remove(target).unwrap_or_default();
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for sample in page.iter().filter(|s| self.keep.as_ref().is_none_or(|keep| keep.contains(&s.name))) {
            // A sample that was old when the page was read is no news.
            if sample.at.is_some_and(|then| at.since(then) > OLD) {
                continue;
            }
            let labels = merged(&sample.labels, extra);
            let id = identity(&sample.name, &labels);
            if now.contains_key(&id) {
                continue; // the same series twice on a page: the first one counts
            }
            let newest = before.get(&id).and_then(|one| one.own_time);
            // The same sample again is no second one.
            if sample.at.is_none_or(|own| newest.is_none_or(|newest| own > newest)) {
                if sample.value.is_nan() {
                    self.has_nan.store(true, Ordering::Relaxed);
                }
                rows.push(row(&sample.name, &labels, sample.at.unwrap_or(at), sample.value));
                ids.push(id);
            }
            now.insert(id, Shown { name: sample.name.clone(), labels, own_time: sample.at.max(newest) });
        }
        let others: usize = shown.iter().filter(|(name, _)| *name != target).map(|(_, s)| s.len()).sum();
        if others + now.len() > self.limits.series {
            shown.insert(target.to_string(), before);
            return Err(EngineError::TooManySeries(self.limits.series));
        }
        for (id, gone) in before.iter().filter(|(id, gone)| !now.contains_key(id) && gone.own_time.is_none()) {
            rows.push(row(&gone.name, &gone.labels, at, f64::from_bits(STALE)));
            ids.push(*id);
        }
        shown.insert(target.to_string(), now);
        drop(shown);
        self.generations.insert(&rows, &ids, at, self.limits)
    }

    /// The value of a query at a time: one series with one point each.
    ///
    /// # Errors
    /// When the evaluator fails; never for "no data", which is an empty answer.
    pub fn instant(&self, query: &Supported, at: Stamp) -> Result<Vec<Sampled>, EngineError> {
        let value = self.evaluate(query, |evaluator, text| evaluator.instant_query(text, at.0))?;
        let series = match value {
            PromqlValue::Scalar(value, _) => vec![Sampled { labels: Vec::new(), points: vec![(at, value)] }],
            PromqlValue::InstantVector(samples) => samples
                .into_iter()
                .map(|s| Sampled { labels: labels_of(s.metric, s.labels, query.keeps_name), points: vec![(at, s.value)] })
                .collect(),
            PromqlValue::RangeVector(_) | PromqlValue::String(..) => {
                return Err(EngineError::Evaluation("the query is neither a number nor an instant vector".into()));
            }
        };
        Ok(finish(series, query))
    }

    /// The values of a query over a range, at `start`, `start + step`, … up to `end`.
    ///
    /// # Errors
    /// As [`Engine::instant`].
    pub fn range(&self, query: &Supported, start: Stamp, end: Stamp, step: Duration) -> Result<Vec<Sampled>, EngineError> {
        let step = (step.as_millis() as i64).max(1);
        let value = self.evaluate(query, |evaluator, text| evaluator.range_query(text, start.0, end.0, step))?;
        let PromqlValue::RangeVector(series) = value else {
            return Err(EngineError::Evaluation("the query is neither a number nor an instant vector".into()));
        };
        let series = series
            .into_iter()
            .map(|s| Sampled {
                labels: labels_of(s.metric, s.labels, query.keeps_name),
                points: s.samples.into_iter().map(|(at, value)| (Stamp(at), value)).collect(),
            })
            .collect();
        Ok(finish(series, query))
    }

    /// How far back the samples go.
    pub fn covers(&self, now: Stamp) -> Duration {
        let pair = self.generations.inner.read().unwrap_or_else(|p| p.into_inner());
        pair.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))
    }

    /// The names of all metrics held, sorted.
    pub fn metric_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.generations.list_metrics().unwrap_or_default().into_iter().map(|m| m.name).collect();
        names.sort();
        names.dedup();
        names
    }

    fn evaluate(
        &self,
        query: &Supported,
        ask: impl FnOnce(&Evaluator, &str) -> tsink::promql::Result<PromqlValue>,
    ) -> Result<PromqlValue, EngineError> {
        // The evaluator has a few places that panic on odd numbers: a query must never take the program with it.
        let text = query.text_with_nan.as_ref().filter(|_| self.has_nan.load(Ordering::Relaxed)).unwrap_or(&query.text);
        match catch_unwind(AssertUnwindSafe(|| ask(&self.evaluator, text))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(EngineError::Evaluation(crate::base::text::fit(&error.to_string(), 200).into_owned())),
            Err(_) => Err(EngineError::Evaluation("the evaluator gave up on these numbers".into())),
        }
    }
}

/// Sorts by labels and takes the quantile, where one was asked for.
fn finish(series: Vec<Sampled>, query: &Supported) -> Vec<Sampled> {
    let mut series = match query.quantile {
        None => series,
        Some(phi) => super::quantile::quantiles(series, phi),
    };
    series.retain(|s| !s.points.is_empty());
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

fn labels_of(metric: String, labels: Vec<Label>, keep_name: bool) -> Vec<(String, String)> {
    let mut out: Vec<_> = labels.into_iter().filter(|l| !l.value.is_empty()).map(|l| (outside(l.name), l.value)).collect();
    if keep_name && !metric.is_empty() {
        out.push(("__name__".into(), metric));
    }
    out.sort();
    out
}

/// The page's labels under the target's own: a page label of the same name is kept as `exported_…`, as Prometheus does.
fn merged(labels: &[(String, String)], extra: &[(String, String)]) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::with_capacity(labels.len() + extra.len());
    for (name, value) in labels.iter().filter(|(_, v)| !v.is_empty()) {
        let taken = extra.iter().any(|(n, _)| n == name);
        out.push((if taken { format!("exported_{name}") } else { name.clone() }, value.clone()));
    }
    out.extend(extra.iter().cloned());
    out.sort();
    out
}

fn identity(name: &str, labels: &[(String, String)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, labels).hash(&mut hasher);
    hasher.finish()
}

fn row(name: &str, labels: &[(String, String)], at: Stamp, value: f64) -> Row {
    Row::with_labels(name, labels.iter().map(|(n, v)| Label::new(inside(n), v)).collect(), DataPoint::new(at.0, value))
}

fn fresh() -> Result<Arc<dyn Storage>, EngineError> {
    StorageBuilder::new()
        .with_timestamp_precision(TimestampPrecision::Milliseconds)
        .with_wal_enabled(false)
        .with_chunk_points(240)
        .with_max_active_partition_heads_per_series(4)
        .build()
        .map_err(|e| EngineError::Storage(e.to_string()))
}

struct Pair {
    current: Arc<dyn Storage>,
    previous: Option<Arc<dyn Storage>>,
    /// Samples in `current`.
    samples: usize,
    /// The series in `current`.
    series: HashSet<u64>,
    /// The first sample's time in `current`.
    since: Option<Stamp>,
    /// The first sample's time in both.
    oldest: Option<Stamp>,
}

fn key(labels: &[Label]) -> Vec<(&str, &str)> {
    labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect()
}

/// Two storages that read as one.
struct Generations {
    inner: RwLock<Pair>,
}

impl Generations {
    /// `ids` are the identities of the rows' series: labels that churn would fill a generation with series long before
    /// it is full of samples.
    fn insert(&self, rows: &[Row], ids: &[u64], at: Stamp, limits: Limits) -> Result<(), EngineError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut pair = self.inner.write().unwrap_or_else(|p| p.into_inner());
        let old = pair.since.is_some_and(|since| at.since(since) > limits.retention);
        let full = pair.samples + rows.len() > limits.samples / 2 || pair.series.len() > limits.series;
        if old || full && pair.samples > 0 {
            pair.previous = Some(std::mem::replace(&mut pair.current, fresh()?));
            pair.samples = 0;
            pair.series.clear();
            pair.oldest = pair.since.take();
        }
        pair.current.insert_rows(rows).map_err(|e| EngineError::Storage(e.to_string()))?;
        pair.samples += rows.len();
        pair.series.extend(ids);
        pair.since.get_or_insert(at);
        pair.oldest.get_or_insert(at);
        Ok(())
    }

    /// Oldest first.
    fn parts(&self) -> Vec<Arc<dyn Storage>> {
        let pair = self.inner.read().unwrap_or_else(|p| p.into_inner());
        pair.previous.iter().chain([&pair.current]).cloned().collect()
    }
}

impl Storage for Generations {
    fn insert_rows(&self, rows: &[Row]) -> tsink::Result<()> {
        self.inner.read().unwrap_or_else(|p| p.into_inner()).current.insert_rows(rows)
    }

    fn select(&self, metric: &str, labels: &[Label], start: i64, end: i64) -> tsink::Result<Vec<DataPoint>> {
        let mut points = Vec::new();
        for part in self.parts() {
            points.extend(part.select(metric, labels, start, end)?);
        }
        Ok(points)
    }

    fn select_with_options(&self, metric: &str, opts: QueryOptions) -> tsink::Result<Vec<DataPoint>> {
        let mut points = Vec::new();
        for part in self.parts() {
            points.extend(part.select_with_options(metric, opts.clone())?);
        }
        Ok(points)
    }

    fn select_all(&self, metric: &str, start: i64, end: i64) -> tsink::Result<Vec<(Vec<Label>, Vec<DataPoint>)>> {
        let mut all: HashMap<Vec<Label>, Vec<DataPoint>> = HashMap::new();
        for part in self.parts() {
            for (labels, points) in part.select_all(metric, start, end)? {
                all.entry(labels).or_default().extend(points);
            }
        }
        // In one order at every call: sums of the same numbers are equal, and of two that tie the same one is taken.
        let mut all: Vec<(Vec<Label>, Vec<DataPoint>)> = all.into_iter().collect();
        all.sort_by(|a, b| key(&a.0).cmp(&key(&b.0)));
        Ok(all)
    }

    fn list_metrics(&self) -> tsink::Result<Vec<MetricSeries>> {
        let mut all = Vec::new();
        for part in self.parts() {
            all.extend(part.list_metrics()?);
        }
        all.sort_by(|a, b| (&a.name, key(&a.labels)).cmp(&(&b.name, key(&b.labels))));
        Ok(all)
    }

    /// Asked only for a short cut which takes a series whose labels equal the matchers for the only match. Nothing
    /// found makes the evaluator match properly.
    fn select_series(&self, _: &SeriesSelection) -> tsink::Result<Vec<MetricSeries>> {
        Ok(Vec::new())
    }

    fn close(&self) -> tsink::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, parse, supported};
    use super::*;

    fn engine(limits: Limits) -> Engine {
        Engine::new(limits).expect("an engine")
    }

    fn feed(engine: &Engine, target: &str, text: &str, at: i64) {
        engine.ingest(target, &[("job".into(), "t".into())], &parse(text, Format::Text).samples, Stamp(at)).expect("stored");
    }

    fn ask(engine: &Engine, query: &str, at: i64) -> Vec<Sampled> {
        engine.instant(&supported(query).expect(query), Stamp(at)).expect(query)
    }

    #[test]
    fn a_vanished_series_ends_at_once() {
        let engine = engine(Limits::default());
        feed(&engine, "t", "a{x=\"1\"} 1\na{x=\"2\"} 2\n", 1_000);
        assert_eq!(ask(&engine, "a", 2_000).len(), 2);
        feed(&engine, "t", "a{x=\"1\"} 1\n", 6_000);
        let left = ask(&engine, "a", 7_000);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].label("__name__"), Some("a"));
        feed(&engine, "t", "", 11_000);
        assert!(ask(&engine, "a", 12_000).is_empty(), "a target that is away shows nothing");
    }

    #[test]
    fn a_sample_has_the_time_its_page_gives_it() {
        let engine = engine(Limits::default());
        feed(&engine, "t", "queue 3 60000\n", 300_000);
        feed(&engine, "t", "queue 3 60000\n", 301_000);
        assert_eq!(ask(&engine, "time() - timestamp(queue)", 302_000)[0].points[0].1, 242.0);
        assert_eq!(ask(&engine, "count_over_time(queue[10m])", 302_000)[0].points[0].1, 1.0, "the same one twice is one");
        assert!(ask(&engine, "queue", 361_000).is_empty(), "five minutes on it is gone");
    }

    #[test]
    fn windows_without_a_number_have_none() {
        let engine = engine(Limits::default());
        feed(&engine, "t", "idle NaN\nbusy{a=\"1\"} 2\nmixed NaN\n", 1_000);
        feed(&engine, "t", "idle NaN\nbusy{a=\"1\"} 4\nmixed 7\n", 2_000);
        for query in ["max_over_time(idle[5s])", "min_over_time(idle[5s])", "max_over_time(idle[5s]) < bool 5"] {
            let got = ask(&engine, query, 3_000)[0].points[0].1;
            assert!(got.is_nan() || query.contains("bool") && got == 0.0, "{query}: {got}");
        }
        let one = |query: &str| ask(&engine, query, 3_000)[0].points[0].1;
        assert_eq!((one("max_over_time(busy[5s])"), one("min_over_time(busy[5s])"), one("max_over_time(mixed[5s])")), (4.0, 2.0, 7.0));
        assert_eq!(ask(&engine, "max_over_time(busy[5s])", 3_000)[0].label("a"), Some("1"));
    }

    #[test]
    fn of_those_that_tie_the_same_one_is_taken() {
        let engine = engine(Limits::default());
        let page: String = (0..40).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
        feed(&engine, "t", &page, 1_000);
        let first = ask(&engine, "topk(3, m)", 1_500);
        for _ in 0..20 {
            assert_eq!(ask(&engine, "topk(3, m)", 1_500), first);
        }
    }

    #[test]
    fn a_selector_with_one_label_finds_every_series_that_has_it() {
        let engine = engine(Limits::default());
        feed(&engine, "t", "m 1\nm{instance=\"b\"} 2\n", 1_000);
        assert_eq!(ask(&engine, "m{job=\"t\"}", 1_500).len(), 2);
    }

    #[test]
    fn generations_cover_the_retention_and_bound_the_rest() {
        let limits = Limits { retention: Duration::from_secs(100), samples: 1_000_000, series: 100 };
        let engine = engine(limits);
        for i in 0..100 {
            feed(&engine, "t", &format!("c {i}\n"), i * 10_000);
        }
        let now = 990_000;
        let count = ask(&engine, "count_over_time(c[100s])", now);
        assert_eq!(count[0].points[0].1, 10.0);
        let all = ask(&engine, "count_over_time(c[1h])", now)[0].points[0].1;
        assert!(all <= 24.0, "old generations are gone: {all}");
        let small = Engine::new(Limits { samples: 20, ..limits }).expect("an engine");
        for i in 0..100 {
            feed(&small, "t", &format!("c {i}\n"), i * 1_000);
        }
        assert!(ask(&small, "count_over_time(c[1h])", 99_000)[0].points[0].1 <= 20.0);
    }

    #[test]
    fn labels_that_churn_do_not_fill_the_memory() {
        let engine = engine(Limits { series: 10, ..Limits::default() });
        for i in 0..200 {
            feed(&engine, "t", &format!("c{{trace=\"{i}\"}} 1\n"), i * 1_000);
        }
        let all = ask(&engine, "count(count_over_time(c[1h]))", 199_000)[0].points[0].1;
        assert!(all <= 24.0, "only two generations of ten series or so are kept: {all}");
    }

    #[test]
    fn too_many_series_are_refused() {
        let engine = engine(Limits { series: 2, ..Limits::default() });
        let page = parse("a 1\nb 1\nc 1\n", Format::Text).samples;
        assert_eq!(engine.ingest("t", &[], &page, Stamp(1)), Err(EngineError::TooManySeries(2)));
        let engine = Engine::new(Limits { series: 2, ..Limits::default() }).expect("an engine").keeping(["sum(a)"]);
        assert_eq!(engine.ingest("t", &[], &page, Stamp(1)), Ok(()), "only what the queries read is kept");
    }
}
