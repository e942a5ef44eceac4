//! What is written rightly and cannot be meant so: thresholds of what has no number, limits in another unit, orders that
//! make a threshold never matter.

use super::file::FileShape;
use super::model::SourceKind;
use super::resolver::Resolver;
use super::shape::{KindShape, SeverityShape, SignalShape, SpannedText};
use crate::base::units::{Unit, short};
use crate::judge::{Baseline, Condition, Op, Operand, Signal, Span};
use crate::observe::reading::{Ask, Fact, ProbeSpec, Question};

/// What is always a number.
fn is_number(ask: &Ask) -> bool {
    let counts = |fact: &Fact| !matches!(fact, Fact::Status | Fact::Optimizer | Fact::Cluster);
    matches!(ask, Ask::Promql { .. } | Ask::Health(_) | Ask::Probe(_)) || matches!(ask, Ask::Qdrant { fact, .. } if counts(fact))
}

/// What is always a text.
pub(super) fn is_text(ask: &Ask) -> bool {
    matches!(ask, Ask::Qdrant { fact: Fact::Status | Fact::Optimizer | Fact::Cluster, .. })
}

impl Resolver<'_> {
    pub(super) fn makes_sense(&mut self, source: &SourceKind, shape: &SignalShape, signal: &Signal, question: &Question) {
        let (ask, timeout) = (&question.ask, question.timeout);
        let thresholds = [("warn", &shape.warn, &signal.warn), ("fail", &shape.fail, &signal.fail)];
        for (name, text, condition) in thresholds {
            let (Some(text), Some(condition)) = (text, condition) else { continue };
            self.condition_makes_sense(name, text, condition, signal.unit, ask);
        }
        if let (Some(warn), Some(fail), Some(text)) = (&signal.warn, &signal.fail, &shape.fail)
            && is_milder(fail, warn)
        {
            let hint = "warn comes first on the way to fail: turn the two round";
            self.findings.warn(text.span(), format!("it fails ({fail}) before it warns ({warn})"), Some(hint.into()));
        }
        if let (Ask::Probe(ProbeSpec { within: Some(within), .. }), Some(text)) = (ask, &shape.within)
            && *within > timeout
        {
            let cause = format!("no answer is waited for longer than {}", short(timeout));
            self.findings.error(text.span(), cause, Some("make `timeout` longer, or `within` shorter".into()));
        }
        // Between two answers a window that is shorter has none.
        let windows = [(&shape.warn, &signal.warn), (&shape.fail, &signal.fail)];
        for (text, condition) in windows {
            if let (Some(text), Some(Some((_, Span::Time(window))))) = (text, condition.as_ref().map(|condition| condition.window))
                && window < question.every
            {
                let cause = format!("this looks back {}, and is asked every {}", short(window), short(question.every));
                self.findings.error(text.span(), cause, Some("write a longer window, or ask more often (`interval`)".into()));
            }
        }
        // What a source of pages keeps is all there is of the past.
        if let (SourceKind::Scrape { retention, .. }, Some(Baseline::Ago(back) | Baseline::Median(back)), Some(text)) =
            (source, signal.baseline, &shape.baseline)
            && back > *retention
        {
            let cause = format!("this looks back {}, and its source keeps {}", short(back), short(*retention));
            self.findings.error(text.span(), cause, Some("set retention on the source, or ask a Prometheus".into()));
        }
        if let (SourceKind::Scrape { retention, .. }, Ask::Promql { query, .. }, Some(text)) = (source, ask, &shape.query)
            && let Ok(supported) = crate::observe::engine::supported(query)
            && supported.reach > *retention
        {
            let cause = format!("this looks back {}, and its source keeps {}", short(supported.reach), short(*retention));
            self.findings.error(text.span(), cause, Some("set retention on the source, or ask a Prometheus".into()));
        }
    }

    pub(super) fn condition_makes_sense(&mut self, name: &str, text: &SpannedText, condition: &Condition, unit: Unit, ask: &Ask) {
        let text_wanted = matches!(condition.operand, Operand::Text(_));
        if let Some(what) = ask.has_no_number() {
            let hint = "ask for a number beside it, and judge that";
            self.findings.error(text.span(), format!("`{name}` on {what}: there is no number in it"), Some(hint.into()));
        } else if text_wanted && is_number(ask) {
            self.findings.error(text.span(), format!("`{}`: the answer is a number, and never a text", text.get_ref()), None);
        } else if !text_wanted && is_text(ask) {
            self.findings.error(text.span(), format!("`{}`: the answer is a text, and never a number", text.get_ref()), None);
        }
        if let Some(always) = condition.is_settled() {
            let cause = format!("`{}` {} of what is never below 0", text.get_ref(), if always { "always holds" } else { "never holds" });
            self.findings.warn(text.span(), cause, Some("write > 0, or another limit".into()));
        }
        if let (Unit::Ratio | Unit::Score, Operand::Number(limit)) = (unit, &condition.operand)
            && *limit > 1.0
        {
            let written = text.get_ref().trim();
            let hint = if written.ends_with('%') {
                "a share of all is 100% at most; with unit = \"percent\" it may be more".into()
            } else {
                format!("write {written}%, or unit = \"percent\" where the source gives per cent")
            };
            let cause = format!("`{}` of a ratio between 0 and 1 is {}", text.get_ref(), unit.format(*limit));
            self.findings.warn(text.span(), cause, Some(hint));
        }
    }

    /// A query of an objective, which is asked over several windows.
    pub(super) fn windowed(&mut self, text: &SpannedText) -> Option<String> {
        if !text.get_ref().contains("$window") {
            let hint = "write sum(rate(requests_total[$window])): it is asked over six windows, from five minutes to three days";
            self.findings.error(text.span(), "this has no `$window`", Some(hint.into()));
            return None;
        }
        // As it will be asked: what is wrong with it is wrong here, and not with each of the six.
        let whole = self.filled(text).and_then(|query| {
            let asked = SpannedText::new(text.span(), query.replace("$window", "5m"));
            self.promql(KindShape::Prometheus, &asked, true).map(|_| query)
        });
        whole.map_err(|(span, cause, hint)| self.findings.error(span, cause, hint)).ok()
    }

    /// What a source says of itself: a database its name, a Qdrant its collection, a Prometheus its external labels.
    /// Whoever is watched for its alerts has to be asked for them.
    pub(super) fn asks_for_alerts(&mut self, file: &FileShape) {
        for (name, (shape, span)) in &file.sources {
            let asked = |signal: &SignalShape| signal.source.as_ref().is_some_and(|source| **source.get_ref() == **name);
            if shape.kind == KindShape::Alertmanager && !file.signals.values().any(|(signal, _)| asked(signal)) {
                let hint = format!("add [signals.alerts] with source = \"{name}\" and alerts = true");
                self.findings.warn(span.clone(), format!("nobody asks `{name}` for its alerts"), Some(hint));
            }
        }
    }

    /// `hears`: somebody is asked for alerts.
    pub(super) fn alerts_make_sense(&mut self, file: &FileShape, hears: bool) {
        let Some(alerts) = &file.alerts else { return };
        for name in &alerts.heartbeats {
            if name.get_ref().trim().is_empty() {
                self.findings.error(name.span(), "a heartbeat without a name", Some("write heartbeats = [\"Watchdog\"]".into()));
            } else if !hears && !file.is_target {
                let cause = format!("nobody listens for the heartbeat {}: no signal asks for alerts", name.get_ref());
                let hint = "add a signal with alerts = true on a Prometheus, or one on an Alertmanager";
                self.findings.error(name.span(), cause, Some(hint.into()));
            }
        }
        let mut known: Vec<String> = Vec::new();
        for (word, severity) in &alerts.severities {
            if known.contains(&word.to_lowercase()) {
                let cause = format!("the severity `{word}` is there twice: its case makes no difference");
                self.findings.error(severity.span(), cause, None);
            }
            known.push(word.to_lowercase());
        }
        let all_pass = |severity: &toml::Spanned<SeverityShape>| *severity.get_ref() == SeverityShape::Pass;
        let says_all =
            alerts.severities.values().all(all_pass) && (alerts.severities.contains_key("critical") || alerts.severities.len() > 2);
        if let Some((word, severity)) = alerts.severities.first().filter(|_| says_all) {
            let cause = format!("every severity that is named (`{word}` …) passes: what fires with it is never bad");
            self.findings.warn(severity.span(), cause, Some("write \"warn\" or \"fail\" of those that somebody has to see".into()));
        }
    }

    pub(super) fn can_be_expected(&mut self, file: &FileShape) {
        let Some((environment, span)) = &file.environment else { return };
        let has = |kind: KindShape| self.kinds.values().any(|known| *known == kind);
        let labels = has(KindShape::Prometheus);
        let unknown: Vec<String> = environment
            .expect
            .keys()
            .filter(|key| match key.as_str() {
                "database" => !has(KindShape::Database) && !labels,
                "collection" => !has(KindShape::Qdrant) && !labels,
                _ => !labels,
            })
            .cloned()
            .collect();
        for key in unknown {
            let hint = "database, collection, or an external label of a Prometheus";
            self.findings.warn(span.clone(), format!("no source here ever says its `{key}`"), Some(hint.into()));
        }
    }
}

/// Whether a limit is reached before another one.
fn is_milder(fail: &Condition, warn: &Condition) -> bool {
    let (Operand::Number(fail_at), Operand::Number(warn_at)) = (&fail.operand, &warn.operand) else { return false };
    if fail.window != warn.window {
        return false;
    }
    match (fail.op, warn.op) {
        (Op::Greater | Op::AtLeast, Op::Greater | Op::AtLeast) => fail_at < warn_at,
        (Op::Less | Op::AtMost, Op::Less | Op::AtMost) => fail_at > warn_at,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_before_it_warns() {
        let of = |text: &str| Condition::parse(text, Unit::None).expect(text);
        assert!(is_milder(&of("> 5"), &of("> 7")) && is_milder(&of("< 5"), &of("< 3")));
        assert!(!is_milder(&of("> 7"), &of("> 5")) && !is_milder(&of("== 7"), &of("> 5")));
    }
}
