//! Which fields a kind of source, signal or channel has: one it does not have is a mistake, and not left aside.

use super::entries::Keys;
use super::file::FileShape;
use super::resolver::Resolver;
use super::shape::{ChannelKind, KindShape};
use crate::base::diag::{Findings, suggestion};

const WEB: [&str; 8] = ["url", "headers", "bearer_token", "user", "password", "tls", "max_body", "proxy"];
const EVERY_SOURCE: [&str; 4] = ["kind", "interval", "timeout", "concurrency"];
const EVERY_SIGNAL: [&str; 11] =
    ["title", "source", "or", "unit", "warn", "fail", "baseline", "at_least", "samples", "interval", "timeout"];

/// The fields of a source besides those that each has.
fn of_source(kind: KindShape) -> Vec<&'static str> {
    let mut fields = EVERY_SOURCE.to_vec();
    fields.extend(match kind {
        KindShape::Database => &["url", "password", "tls", "connections"][..],
        KindShape::Redis => &["url", "password", "tls"],
        KindShape::Command => &["command", "max_body"],
        _ => &WEB,
    });
    fields.extend(match kind {
        KindShape::Prometheus => &["scrape_interval"][..],
        KindShape::Scrape => &["targets", "retention", "max_samples", "max_series"],
        KindShape::Qdrant => &["api_key", "collection"],
        KindShape::Http => &["api_key"],
        _ => &[],
    });
    if kind == KindShape::Scrape {
        fields.retain(|field| *field != "url");
    }
    fields
}

/// The fields of a signal that is asked of such a source.
fn of_signal(kind: KindShape) -> Vec<&'static str> {
    let mut fields = EVERY_SIGNAL.to_vec();
    fields.extend(match kind {
        KindShape::Prometheus => &["query", "alerts"][..],
        KindShape::Scrape => &["query"],
        KindShape::Alertmanager => &["alerts"],
        KindShape::Database => &["query", "shape", "health"],
        KindShape::Qdrant => &["fact", "collection"],
        KindShape::Http => &["path", "pointer", "method", "status", "body", "within"],
        KindShape::Redis => &["command", "field"],
        KindShape::Command => &["pointer"],
    });
    fields
}

fn of_channel(kind: ChannelKind) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        ChannelKind::Slack => &["webhook"],
        ChannelKind::Pagerduty => &["key", "url"],
        ChannelKind::Webhook => &["url", "secret"],
        ChannelKind::Email => &["smtp", "from", "to", "user", "password"],
    };
    [&["kind", "events"], own].concat()
}

/// Reports what stands in a signal beside a field that leaves it no meaning. Of one file: what a profile says may be laid over.
pub(super) fn one_question(findings: &mut Findings, keys: &Keys) {
    const IDLE: [(&str, &[&str]); 3] =
        [("pointer", &["method", "status", "body", "within"]), ("health", &["query", "shape"]), ("alerts", &["query"])];
    for keys in keys.iter().filter(|((section, _), _)| *section == "signals").map(|(_, keys)| keys) {
        for (field, idle) in IDLE.iter().filter(|(field, _)| keys.iter().any(|(key, _)| key == field)) {
            for (key, span) in keys.iter().filter(|(key, _)| idle.contains(&key.as_str())) {
                findings.error(span.clone(), format!("`{key}` means nothing beside `{field}`"), Some("leave one of them away".into()));
            }
        }
    }
}

impl Resolver<'_> {
    /// Reports every field that its kind does not have.
    pub(super) fn fits_kinds(&mut self, file: &FileShape) {
        for ((section, name), keys) in &file.keys {
            let (what, fields) = match *section {
                "sources" => match file.sources.get(name) {
                    Some((shape, _)) => (format!("a {} source", shape.kind.word()), of_source(shape.kind)),
                    None => continue,
                },
                "signals" => {
                    let source = file.signals.get(name).and_then(|(shape, _)| shape.source.as_ref());
                    match source.and_then(|source| file.sources.get(source.get_ref().as_str())) {
                        Some((shape, _)) => (format!("a signal of a {} source", shape.kind.word()), of_signal(shape.kind)),
                        None => continue,
                    }
                }
                _ => match file.notify.get(name) {
                    Some((shape, _)) => (format!("a channel of kind {}", shape.kind.word()), of_channel(shape.kind)),
                    None => continue,
                },
            };
            for (key, span) in keys.iter().filter(|(key, _)| !fields.contains(&key.as_str())) {
                self.findings.error(span.clone(), format!("{what} has no `{key}`"), suggestion(key, fields.iter().copied()));
            }
        }
        self.targets_fit_kinds(file);
    }

    /// A stand-in has no more fields than the source that it stands in for.
    fn targets_fit_kinds(&mut self, file: &FileShape) {
        for (name, target) in &file.target_keys {
            for ((_, source), keys) in target {
                let Some((shape, _)) = file.sources.get(source) else { continue };
                let fields = of_source(shape.kind);
                for (key, span) in keys.iter().filter(|(key, _)| !fields.contains(&key.as_str())) {
                    let words = format!("target `{name}`: a {} source has no `{key}`", shape.kind.word());
                    self.findings.error(span.clone(), words, suggestion(key, fields.iter().copied()));
                }
            }
        }
    }
}
