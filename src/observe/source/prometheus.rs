//! The Prometheus HTTP API, as Prometheus, Thanos, Mimir and VictoriaMetrics speak it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use super::web::{Web, another_service, json, status_fault};
use super::{Answer, Boxed, Client, Identity, LastSample, not_understood};
use crate::base::clock::{Clock, Stamp};
use crate::base::diag::Findings;
use crate::base::secret::sanitize;
use crate::base::yaml;
use crate::observe::reading::{Alert, AlertState, Ask, Fault, FaultKind, LabelledValue, Lines, Value};

pub struct Prometheus {
    web: Web,
}

#[derive(Deserialize)]
struct PrometheusEnvelope<T> {
    status: String,
    data: Option<T>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
    /// VictoriaMetrics says so when a node of its cluster is away.
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<InstantSeries>),
    Matrix(Vec<RangeSeries>),
    Scalar((f64, String)),
    String((f64, String)),
}

/// How far back a sample is looked for that is not there any more, and how closely: a window of a rate may still rest on it.
const LATELY: &str = "1h:5s";

pub(super) type LabelMap = BTreeMap<String, String>;

#[derive(Deserialize)]
struct InstantSeries {
    metric: LabelMap,
    value: Option<(f64, String)>,
}

#[derive(Deserialize)]
struct RangeSeries {
    metric: LabelMap,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Prometheus {
    pub fn new(web: Web) -> Prometheus {
        Prometheus { web }
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<PrometheusEnvelope<T>, Fault> {
        let response = self.web.send(request).await?;
        let parsed: Result<PrometheusEnvelope<T>, Fault> = json(&response.body);
        match parsed {
            // A success that did not succeed, or in part, is none.
            Ok(envelope) if envelope.status == "success" && response.status == 200 => Ok(envelope),
            Ok(envelope) => {
                let said = envelope.error.unwrap_or_default();
                let kind = envelope.error_type.unwrap_or_default();
                Err(match kind.as_str() {
                    "bad_data" | "execution" => Fault::new(FaultKind::Query, format!("{kind}: {said}")),
                    "timeout" | "canceled" => Fault::new(FaultKind::Timeout, format!("{kind}: {said}")),
                    "unavailable" => Fault::new(FaultKind::Unavailable, format!("{kind}: {said}")),
                    _ => status_fault(response.status, &said),
                })
            }
            // Whatever it is, it is no Prometheus: a sign-in page, something else on that path.
            Err(_) if response.status.is_success() || response.status == 404 => Err(another_service("a Prometheus", &response)),
            Err(_) => Err(status_fault(response.status, &response.text())),
        }
    }

    async fn query(&self, query: &str, strict: bool) -> Result<(Data, Answer), Fault> {
        let mut form = vec![("query", query)];
        if strict {
            form.push(("partial_response", "false"));
        }
        let envelope = self.call::<Data>(self.web.request("POST", "api/v1/query")?.form(&form)).await?;
        notes(envelope)
    }

    /// The newest samples of some selectors, in one query: of what is there, or of what was there lately.
    async fn ages(&self, selectors: &[String], gone: bool) -> Result<Vec<(String, LastSample)>, Fault> {
        let time = |s: &String| if gone { format!("max_over_time(timestamp({s})[{LATELY}])") } else { format!("timestamp({s})") };
        let parts: Vec<_> = selectors.iter().enumerate().map(|(i, s)| format!("count_values(\"s{i}\", max({}))", time(s))).collect();
        let (data, _) = self.query(&parts.join(" or "), false).await?;
        let Data::Vector(series) = data else { return Ok(Vec::new()) };
        let age = |(name, value): (String, String)| {
            let selector = selectors.get(name.strip_prefix('s')?.parse::<usize>().ok()?)?;
            Some((selector.clone(), LastSample { at: self.ours(value.parse().ok()?), gone }))
        };
        Ok(series.into_iter().flat_map(|s| s.metric).filter_map(age).collect())
    }

    /// The same from the samples themselves.
    async fn age_of_samples(&self, selector: &str) -> Result<Option<Stamp>, Fault> {
        let (data, _) = self.query(&format!("{selector}[5m]"), false).await?;
        let Data::Matrix(series) = data else { return Ok(None) };
        let newest = series.iter().filter_map(|one| one.values.last()).map(|(at, _)| *at).fold(f64::NEG_INFINITY, f64::max);
        Ok(newest.is_finite().then(|| self.ours(newest)))
    }

    /// A time of the server's by our clock.
    fn ours(&self, seconds: f64) -> Stamp {
        Stamp(Stamp::from_seconds(seconds).0 - self.web.skew())
    }

    async fn alerts(&self) -> Result<Answer, Fault> {
        let envelope = self.call::<Groups>(self.web.get("api/v1/rules?type=alert")?).await?;
        let notes: Vec<String> = envelope.warnings.iter().map(|n| sanitize(n)).collect();
        let skew = self.web.skew();
        let mut alerts = Vec::new();
        let data = envelope.data.ok_or_else(|| Fault::new(FaultKind::Garbage, "a success without data: this is no list of rules"))?;
        for rule in data.groups.into_iter().flat_map(|g| g.rules) {
            let showing = !rule.alerts.is_empty();
            for one in rule.alerts {
                let state = match one.state.as_str() {
                    "firing" => AlertState::Firing,
                    "pending" => AlertState::Pending,
                    "inactive" => continue,
                    _ => AlertState::Unknown,
                };
                alerts.push(Alert {
                    name: sanitize(&rule.name),
                    labels: clean(&one.labels),
                    state,
                    severity: sanitize(one.labels.get("severity").map_or("", String::as_str)),
                    since: one.active_at.as_deref().and_then(Stamp::parse).map(|at| Stamp(at.0 - skew)),
                    text: describe(&one.labels, &one.annotations),
                });
            }
            let stands = rule.state.as_deref().unwrap_or("inactive");
            // What a rule says of itself without an alert to show for it.
            let odd = match (rule.health.as_deref(), stands) {
                (Some("err"), _) => Some(format!("the rule itself fails: {}", rule.last_error.unwrap_or_default())),
                (Some("unknown"), _) => Some("the rule has not been evaluated yet".to_string()),
                (_, "inactive") => None,
                (_, "firing" | "pending") if showing => None,
                (_, stands) => Some(format!("the rule says `{stands}`, and shows no alert")),
            };
            if let Some(odd) = odd {
                alerts.push(Alert {
                    name: sanitize(&rule.name),
                    labels: clean(&rule.labels),
                    state: AlertState::Unknown,
                    severity: sanitize(rule.labels.get("severity").map_or("", String::as_str)),
                    since: None,
                    text: sanitize(&odd),
                });
            }
        }
        alerts.sort_by(|a, b| (a.state, &a.name, &a.text).cmp(&(b.state, &b.name, &b.text)));
        // Thanos says so when a store is missing.
        Ok(Answer { partial: !notes.is_empty(), notes, ..Answer::now(Value::Alerts(alerts)) })
    }
}

/// Reads the body of an answer to an instant query.
///
/// # Errors
/// What is wrong with it.
pub fn read_answer(body: &[u8]) -> Result<Answer, Fault> {
    let (data, answer) = notes(json::<PrometheusEnvelope<Data>>(body)?)?;
    Ok(Answer { value: value_of_data(data)?, ..answer })
}

fn value_of_data(data: Data) -> Result<Value, Fault> {
    Ok(match data {
        Data::Scalar((_, value)) => Value::Number(number(&value)?),
        Data::String((_, text)) => Value::Text(sanitize(&text)),
        Data::Vector(series) => {
            let names = labels(series.iter().map(|one| &one.metric));
            let mut lines = Vec::new();
            for (one, label) in series.into_iter().zip(names) {
                let missing = || Fault::new(FaultKind::Query, "the answer is a native histogram: take a quantile of it");
                let (_, value) = one.value.ok_or_else(missing)?;
                lines.push(LabelledValue { label, value: number(&value)? });
            }
            value_of(lines)
        }
        Data::Matrix(_) => return Err(Fault::new(FaultKind::Query, "the query gives ranges: a signal needs one value a series")),
    })
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    #[serde(default)]
    rules: Vec<AlertRule>,
}

#[derive(Deserialize)]
struct AlertRule {
    name: String,
    #[serde(default)]
    labels: LabelMap,
    #[serde(default)]
    alerts: Vec<RaisedAlert>,
    health: Option<String>,
    state: Option<String>,
    #[serde(rename = "lastError")]
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct RaisedAlert {
    #[serde(default)]
    labels: LabelMap,
    #[serde(default)]
    annotations: LabelMap,
    state: String,
    #[serde(rename = "activeAt")]
    active_at: Option<String>,
}

/// Labels as they may be shown.
pub(super) fn clean(labels: &LabelMap) -> LabelMap {
    labels.iter().map(|(name, value)| (sanitize(name), sanitize(value))).collect()
}

/// The summary, or the description, or the labels.
pub(super) fn describe(labels: &LabelMap, annotations: &LabelMap) -> String {
    let text = annotations.get("summary").or_else(|| annotations.get("description")).cloned().unwrap_or_else(|| {
        let own: Vec<_> = labels.iter().filter(|(n, _)| *n != "alertname" && *n != "severity").map(|(n, v)| format!("{n}={v}")).collect();
        own.join(" ")
    });
    sanitize(&text)
}

/// Warnings say that data may be missing, except those about the query's own meaning.
fn notes(envelope: PrometheusEnvelope<Data>) -> Result<(Data, Answer), Fault> {
    let data = envelope.data.ok_or_else(|| Fault::new(FaultKind::Garbage, "a success without data"))?;
    let partial = envelope.is_partial || envelope.warnings.iter().any(|w| !w.starts_with("PromQL "));
    let mut notes: Vec<String> = envelope.warnings.iter().chain(&envelope.infos).map(|n| sanitize(n)).collect();
    if envelope.is_partial && notes.is_empty() {
        notes.push("the answer is partial: a part of the cluster is away".into());
    }
    Ok((data, Answer { notes, partial, ..Answer::now(Value::Lines(Vec::new())) }))
}

fn number(text: &str) -> Result<f64, Fault> {
    match text {
        "NaN" => Ok(f64::NAN),
        "+Inf" | "Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        other => other.parse().map_err(|_| Fault::new(FaultKind::Garbage, format!("`{other}` is not a sample value"))),
    }
}

/// What names each series among its fellows: nothing for one without labels, the value of a single label, or all pairs; and
/// with the metric's name where that would be the same for two.
pub(super) fn labels<'a>(metrics: impl Iterator<Item = &'a LabelMap>) -> Vec<Arc<str>> {
    let metrics: Vec<_> = metrics.collect();
    let pairs = |own: &[(&String, &String)]| sanitize(&own.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "));
    let short = |metric: &LabelMap| -> Arc<str> {
        let own: Vec<_> = metric.iter().filter(|(name, _)| *name != "__name__").collect();
        match own.as_slice() {
            [] => "".into(),
            [(_, value)] => sanitize(value).into(),
            many => pairs(many).into(),
        }
    };
    let mut named: Vec<Arc<str>> = metrics.iter().map(|metric| short(metric)).collect();
    let mut times: HashMap<Arc<str>, usize> = HashMap::new();
    named.iter().for_each(|label| *times.entry(label.clone()).or_default() += 1);
    for (label, metric) in named.iter_mut().zip(&metrics).filter(|(label, _)| times[&**label] > 1) {
        let name = metric.get("__name__").map_or("", String::as_str);
        let own: Vec<_> = metric.iter().filter(|(name, _)| *name != "__name__").collect();
        *label = format!("{} {}", sanitize(name), pairs(&own)).trim().into();
    }
    named
}

/// Lines as a value: a single one without a label is a plain number.
pub(super) fn value_of(lines: Vec<LabelledValue>) -> Value {
    match lines.as_slice() {
        [one] if one.label.is_empty() => Value::Number(one.value),
        _ => Value::Lines(lines),
    }
}

impl Client for Prometheus {
    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            let (query, strict) = match ask {
                Ask::Promql { query, strict, .. } => (query, *strict),
                Ask::Alerts => return self.alerts().await,
                other => return Err(not_understood(other)),
            };
            let (data, answer) = self.query(query, strict).await?;
            Ok(Answer { value: value_of_data(data)?, ..answer })
        })
    }

    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move { self.query("1", false).await.map(drop) })
    }

    fn names(&self) -> Boxed<'_, Result<Vec<String>, Fault>> {
        Box::pin(async move {
            let envelope = self.call::<Vec<String>>(self.web.get("api/v1/label/__name__/values")?).await?;
            Ok(envelope.data.unwrap_or_default())
        })
    }

    fn has_range(&self, ask: &Ask) -> bool {
        matches!(ask, Ask::Promql { .. })
    }

    fn range<'a>(&'a self, ask: &'a Ask, start: Stamp, end: Stamp, step: Duration) -> Boxed<'a, Result<(Lines, Answer), Fault>> {
        Box::pin(async move {
            let Ask::Promql { query, strict, .. } = ask else { return Err(not_understood(ask)) };
            let skew = self.web.skew();
            let time = |at: Stamp| format!("{:.3}", Stamp(at.0 + skew).seconds());
            let mut form =
                vec![("query", query.clone()), ("start", time(start)), ("end", time(end)), ("step", format!("{:.3}", step.as_secs_f64()))];
            if *strict {
                form.push(("partial_response", "false".into()));
            }
            let envelope = self.call::<Data>(self.web.request("POST", "api/v1/query_range")?.form(&form)).await?;
            let (data, answer) = notes(envelope)?;
            let Data::Matrix(series) = data else { return Err(Fault::new(FaultKind::Garbage, "the answer to a range is none")) };
            let names = labels(series.iter().map(|one| &one.metric));
            let mut lines = Vec::with_capacity(series.len());
            for (one, label) in series.into_iter().zip(names) {
                let mut points = Vec::with_capacity(one.values.len());
                for (at, value) in one.values {
                    points.push((Stamp(Stamp::from_seconds(at).0 - skew), number(&value)?));
                }
                lines.push((label, points));
            }
            Ok((lines, answer))
        })
    }

    /// One query for all: `count_values` writes each newest time stamp into a label of its own.
    fn newest<'a>(&'a self, selectors: &'a [String]) -> Boxed<'a, Result<HashMap<String, LastSample>, Fault>> {
        Box::pin(async move {
            let mut found = HashMap::new();
            for chunk in selectors.chunks(50) {
                match self.ages(chunk, false).await {
                    Ok(ages) => found.extend(ages),
                    Err(fault) if fault.kind != FaultKind::Query => return Err(fault),
                    // One of them cannot be asked so: without a metric's name, two metrics may have the same labels.
                    Err(_) => {
                        for selector in chunk {
                            match self.ages(std::slice::from_ref(selector), false).await {
                                Ok(ages) => found.extend(ages),
                                Err(fault) if fault.kind != FaultKind::Query => return Err(fault),
                                Err(_) => {
                                    let at = self.age_of_samples(selector).await?;
                                    found.extend(at.map(|at| (selector.clone(), LastSample { at, gone: false })));
                                }
                            }
                        }
                    }
                }
            }
            let absent: Vec<String> = selectors.iter().filter(|selector| !found.contains_key(*selector)).cloned().collect();
            for chunk in absent.chunks(50) {
                match self.ages(chunk, true).await {
                    Ok(ages) => found.extend(ages),
                    Err(fault) if fault.kind != FaultKind::Query => return Err(fault),
                    // Where that cannot be asked, it is not known that there ever was one.
                    Err(_) => {}
                }
            }
            Ok(found)
        })
    }

    fn identity(&self) -> Option<Boxed<'_, Identity>> {
        Some(Box::pin(async move {
            #[derive(Deserialize)]
            struct PrometheusConfig {
                yaml: String,
            }
            // Thanos, Mimir and VictoriaMetrics have no such page: then there is no identity, and no fault.
            match self.call::<PrometheusConfig>(self.web.get("api/v1/status/config")?).await {
                Ok(envelope) => Ok(envelope.data.map(|d| external_labels(&d.yaml)).unwrap_or_default()),
                Err(fault) if fault.kind.is_of_source() => Err(fault),
                Err(_) => Ok(Vec::new()),
            }
        }))
    }

    fn skew(&self) -> i64 {
        self.web.skew()
    }
}

fn external_labels(page: &str) -> Vec<(String, String)> {
    // What cannot be read names no environment; that is no fault of the source's.
    let mut findings = Findings::default();
    let Some(page) = yaml::parse(&mut findings, &yaml::LineIndex::new(0, page), page, "a configuration") else { return Vec::new() };
    let page = yaml::json(&page);
    let Some(labels) = page.pointer("/global/external_labels").and_then(Json::as_object) else { return Vec::new() };
    let mut labels: Vec<_> = labels.iter().filter_map(|(n, v)| Some((sanitize(n), sanitize(v.as_str()?)))).collect();
    labels.sort();
    labels
}

/// The clock all sources share: theirs is the system's.
pub(super) fn now() -> Stamp {
    Clock::System.now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<(Data, Answer), Fault> {
        notes(json::<PrometheusEnvelope<Data>>(body.as_bytes())?)
    }

    #[test]
    fn answers_and_their_notes() {
        let (data, answer) = parse(r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"x"},"value":[1.5,"NaN"]}]},"warnings":["remote read failed"]}"#).expect("parsed");
        assert!(matches!(data, Data::Vector(v) if v.len() == 1));
        assert!(answer.partial);
        let (_, answer) = parse(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]},"warnings":["PromQL warning: x"],"infos":["PromQL info: y"]}"#).expect("parsed");
        assert!(!answer.partial && answer.notes.len() == 2);
        assert!(parse("<html>").is_err());
        assert!(number("0x1").is_err() && number("+Inf").is_ok_and(f64::is_infinite));
    }

    #[test]
    fn series_with_the_same_short_name_stay_apart() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"x":"a"},"value":[1,"1"]},{"metric":{"y":"a"},"value":[1,"100"]},{"metric":{"y":"b"},"value":[1,"2"]}]}}"#;
        let Ok(Answer { value: Value::Lines(lines), .. }) = read_answer(body) else { panic!("lines") };
        let labels: Vec<&str> = lines.iter().map(|line| &*line.label).collect();
        assert_eq!(labels, ["x=a", "y=a", "b"]);
        let mut lines = ["same", "other", "same", "", ""].map(Arc::<str>::from);
        crate::observe::reading::distinct(&mut lines, |label| label);
        assert_eq!(lines.map(|label| label.to_string()), ["same", "other", "same #2", "", "#2"]);
    }

    #[test]
    fn external_labels_from_the_configuration() {
        let yaml = "global:\n  scrape_interval: 15s\n  external_labels:\n    env: production\n    cluster: eu1\nscrape_configs: []\n";
        assert_eq!(external_labels(yaml), [("cluster".into(), "eu1".into()), ("env".into(), "production".into())]);
        assert!(external_labels(": not yaml").is_empty());
    }
}
