//! A file's entries checked against each other, and what they come to.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::acting::state_dir_of;
use super::file::FileShape;
use super::model::{Acting, AlertSettings, Config, Environment, SignalConfig, SourceConfig, Ui, WINDOWS};
use super::resolver::Resolver;
use super::sections::SectionContext;
use super::shape::{AlertsShape, KindShape, SeverityShape, SignalShape, SpannedText, UiShape};
use crate::base::diag::suggestion;
use crate::base::units::{Unit, short};
use crate::judge::{Baseline, Condition, Signal, Verdict};
use crate::observe::reading::{Ask, Health, Past, Question};

/// How long readings are kept of sources that cannot tell the past.
const KEPT: Duration = Duration::from_secs(3 * 3600);
/// How often the past is asked for baselines.
const BASELINE_EVERY: Duration = Duration::from_secs(300);

impl Resolver<'_> {
    pub(super) fn config(&mut self, path: &Path, file: &FileShape) -> Option<Config> {
        self.kinds = file.sources.iter().map(|(name, (shape, _))| (name.clone(), shape.kind)).collect();
        self.fits_kinds(file);
        let environment = self.environment(file);
        let ui = self.ui(&file.ui);
        let sources: IndexMap<_, _> =
            file.sources.iter().filter_map(|(name, (shape, span))| Some((name.clone(), self.source(shape, span)?))).collect();
        let mut file_signals: Vec<(Arc<str>, SignalShape, Range<usize>)> =
            file.signals.iter().map(|(name, (shape, span))| (name.clone(), shape.clone(), span.clone())).collect();
        let (objectives, mut slo_rules) = self.objectives(file, &mut file_signals);
        for (_, shape, _) in &mut file_signals {
            if shape.source.as_ref().is_some_and(|source| file.is_shipped(source)) {
                self.promote(shape);
            }
        }
        let mut signals = IndexMap::new();
        let mut left_out: Vec<Arc<str>> = Vec::new();
        for (name, shape, span) in file_signals {
            if self.is_without_source(file, &name, &shape) || file.compares_in_vain(&name) {
                left_out.push(name);
            } else if let Some(signal) = self.signal(&name, &shape, &span, file, &sources) {
                signals.insert(name, signal);
            } else {
                self.findings.lost(&name);
            }
        }
        let mut rules = self.rules(file, &signals, &left_out);
        slo_rules.retain(|rule| signals.contains_key(&rule.signal));
        rules.append(&mut slo_rules);
        for rule in &rules {
            if let Some(SignalConfig { question: Question { ask: Ask::Promql { strict, .. }, .. }, .. }) = signals.get_mut(&rule.signal) {
                *strict = true;
            }
            if let Some(signal) = signals.get_mut(&rule.signal) {
                signal.question.numbers |= rule.condition.wants_number();
                signal.question.only_numbers &= rule.condition.wants_number();
            }
        }
        let boards = self.boards(file, &signals, &left_out);
        self.can_be_expected(file);
        self.asks_for_alerts(file);
        let services = self.services(file, &sources);
        let state_dir = state_dir_of(file.state_dir.as_deref(), &self.folder);
        let known = SectionContext {
            services: &services,
            sources: &sources,
            signals: &signals,
            left_out: &left_out,
            state_dir: &state_dir,
            is_target: file.is_target,
            profile_begins: file.profile_begins,
        };
        let settings = self.settings(&file.sections, &known);
        let compared = settings.canary.as_ref().map(|canary| canary.analysis.signals()).unwrap_or_default();
        // The past is asked for where it is shown, or where a rule has to know since when; elsewhere it would only cost.
        for (name, signal) in &mut signals {
            let shown = boards.iter().flat_map(|b| &b.panels).any(|p| p.signals.contains(name));
            let timed = rules.iter().any(|r| r.signal == *name && !r.hold.is_zero());
            let paired = compared.iter().any(|compared| **compared == **name);
            signal.question.history &= shown || timed || paired;
        }
        let hears = signals.values().any(|signal| signal.question.ask == crate::observe::reading::Ask::Alerts);
        self.alerts_make_sense(file, hears);
        if sources.is_empty() && !file.is_target && !self.findings.has_errors() {
            self.findings.error(
                0..0,
                "there is no source to ask",
                Some("add [sources.prometheus] with kind and url, or run `lastgreen init`".into()),
            );
        }
        let acting = Acting { services, settings, state_dir, ..self.acting(file, &sources) };
        Some(Config {
            path: path.to_path_buf(),
            environment: environment?,
            target: None,
            targets: IndexMap::new(),
            ui,
            sources,
            signals,
            rules,
            objectives,
            boards,
            alerts: file.alerts.as_ref().map(alert_settings).unwrap_or_default(),
            acting,
        })
    }

    /// Where only the second source is configured, it is the first.
    fn promote(&self, shape: &mut SignalShape) {
        let there = |text: &Option<SpannedText>| text.as_ref().is_some_and(|t| self.kinds.contains_key(t.get_ref().as_str()));
        if !there(&shape.source) && there(&shape.or) {
            shape.source = shape.or.take();
        }
    }

    /// A profile's signal whose source is not configured is left out; the user's own would be a mistake.
    fn is_without_source(&mut self, file: &FileShape, name: &Arc<str>, shape: &SignalShape) -> bool {
        let Some(source) = &shape.source else { return false };
        let absent = !self.kinds.contains_key(source.get_ref().as_str());
        // A stand-in need not have everything.
        if absent && file.is_target {
            return true;
        }
        let shipped = file.is_shipped(source);
        let url = file.sources.get(source.get_ref().as_str()).and_then(|(s, _)| s.url.as_ref());
        if shipped && shape.health.is_some_and(|h| h != Health::Size) && url.is_some_and(|url| url.get_ref().starts_with("sqlite:")) {
            return true; // nothing to know there
        }
        if absent && shipped {
            self.findings.warn(
                source.span(),
                format!("the profile's signal `{name}` is left out: there is no source `{}`", source.get_ref()),
                Some(format!("add [sources.{}] to see it", source.get_ref())),
            );
        }
        absent && shipped
    }

    fn environment(&mut self, file: &FileShape) -> Option<Environment> {
        let Some((shape, span)) = &file.environment else {
            self.findings.error(
                0..0,
                "there is no [environment]",
                Some("write [environment] with name = \"…\" and tier = \"production\"".into()),
            );
            return None;
        };
        let Some(name) = &shape.name else {
            self.findings.error(span.clone(), "`name` is missing: an environment has one", Some("write name = \"rag-production\"".into()));
            return None;
        };
        // It is what is typed to confirm.
        let words = name.get_ref();
        let wrong = match words {
            _ if words.trim().is_empty() => Some("is empty"),
            _ if words.trim() != words || words.chars().any(char::is_control) => Some("has characters that nobody can type or see"),
            _ if words.chars().count() > 64 => Some("is too long to be typed: 64 letters at most"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let hint = "write name = \"rag-production\": it is typed to confirm";
            self.findings.error(name.span(), format!("the environment's name {wrong}"), Some(hint.into()));
            return None;
        }
        let name = crate::base::text::clean(words).into_owned();
        Some(Environment { name, tier: shape.tier.unwrap_or_default(), expect: shape.expect.clone(), hint: shape.hint.clone() })
    }

    fn ui(&mut self, shape: &UiShape) -> Ui {
        let mut window = WINDOWS[1];
        if let Some(text) = &shape.window
            && let Some(wanted) = self.duration(text)
        {
            if WINDOWS.contains(&wanted) {
                window = wanted;
            } else {
                let known: Vec<String> = WINDOWS.iter().map(|w| short(*w)).collect();
                self.findings.error(
                    text.span(),
                    format!("there is no window of {}", short(wanted)),
                    Some(format!("there is: {}", known.join(", "))),
                );
            }
        }
        Ui {
            theme: shape.theme.clone().unwrap_or_else(|| "auto".into()),
            keymap: shape.keymap.clone().unwrap_or_else(|| "default".into()),
            window,
            mouse: shape.mouse.unwrap_or(false),
            color: shape.color.unwrap_or_default(),
            glyphs: shape.glyphs.unwrap_or_default(),
            time: shape.time.unwrap_or_default(),
        }
    }

    fn signal(
        &mut self,
        name: &Arc<str>,
        shape: &SignalShape,
        here: &Range<usize>,
        file: &FileShape,
        sources: &IndexMap<Arc<str>, SourceConfig>,
    ) -> Option<SignalConfig> {
        let Some(source) = &shape.source else {
            self.findings.error(
                here.clone(),
                format!("signal `{name}` has no source"),
                suggestion("", self.kinds.keys().map(AsRef::as_ref)),
            );
            return None;
        };
        let source_name = self.named_source(source)?;
        let kind = self.kinds[&source_name];
        let own = own_unit(kind, shape);
        if let (Some(own), Some(unit)) = (own, shape.unit.filter(|unit| Some(*unit) != own)) {
            let hint = Some(format!("leave `unit` away: it is {}", own.name()));
            self.findings.error(here.clone(), format!("signal `{name}` is not measured in {}", unit.name()), hint);
        }
        let unit = own.or(shape.unit).unwrap_or_default();
        let (warn, mut fail) = (self.condition(shape.warn.as_ref(), unit), self.condition(shape.fail.as_ref(), unit));
        let collection = file.sources.get(&source_name).and_then(|(s, _)| s.collection.clone());
        let strict = warn.is_some() || fail.is_some();
        let (ask, shown) = self.ask(kind, collection.as_deref(), shape, here.clone(), strict)?;
        if matches!(ask, Ask::Probe(_)) && shape.warn.is_none() && shape.fail.is_none() {
            // A probe that fails is no answer like another.
            fail = Condition::parse(">= 1", Unit::None).ok();
        }
        let settings = sources.get(&source_name)?;
        let every = self.interval(shape.interval.as_ref(), settings.every);
        let timeout = self.interval(shape.timeout.as_ref(), settings.timeout);
        let or = shape.or.as_ref().and_then(|text| self.second(text, file.is_shipped(text), shape, strict));
        let baseline = shape
            .baseline
            .as_ref()
            .and_then(|text| Baseline::parse(text.get_ref(), unit).map_err(|e| self.findings.error(text.span(), e, None)).ok());
        for (condition, text) in [(&warn, &shape.warn), (&fail, &shape.fail)] {
            if let (Some(condition), Some(text)) = (condition, text)
                && condition.needs_baseline()
                && baseline.is_none()
            {
                let hint = Some("write baseline = \"median 24h\", \"1d ago\" or a number".to_string());
                self.findings.error(text.span(), format!("signal `{name}` has no baseline to compare with"), hint);
            }
        }
        let history = matches!(ask, Ask::Promql { .. });
        let compared: Vec<bool> = [&warn, &fail].into_iter().flatten().map(Condition::wants_number).collect();
        let numbers = shape.unit.is_some() || compared.contains(&true);
        let only_numbers = shape.unit.is_some() && !compared.contains(&false);
        let question =
            Question { name: name.clone(), source: source_name, ask, every, timeout, history, or, numbers, only_numbers, past: None };
        let companions = self.companions(name, shape, kind, &question, baseline, here);
        let signal = Signal {
            name: name.clone(),
            title: shape.title.clone().unwrap_or_else(|| name.replace('_', " ")),
            unit,
            warn,
            fail,
            baseline,
            at_least: shape.at_least,
            // Samples are as old as the scraping allows, whatever the polling.
            interval: every.max(settings.sampled),
        };
        self.makes_sense(&settings.kind, shape, &signal, &question);
        Some(SignalConfig { signal, question, companions, shown })
    }

    /// The second source of a signal: its own check, because what one answers another may refuse.
    fn second(&mut self, text: &SpannedText, shipped: bool, shape: &SignalShape, strict: bool) -> Option<(Arc<str>, Ask)> {
        if shipped && !self.kinds.contains_key(text.get_ref().as_str()) {
            // A profile names its fall-back whether or not there is one.
            return None;
        }
        let name = self.named_source(text)?;
        let kind = self.kinds[&name];
        if !matches!(kind, KindShape::Prometheus | KindShape::Scrape) {
            self.findings.error(text.span(), "a second source answers PromQL: a prometheus or scrape source", None);
            return None;
        }
        if shape.source.as_ref().is_some_and(|source| source.get_ref() == text.get_ref()) {
            if shipped {
                // A profile's fall-back that somebody has made the first.
                return None;
            }
            self.findings.error(text.span(), format!("`{name}` is asked already: a second source is another one"), None);
            return None;
        }
        let query = shape.query.as_ref()?;
        match self.promql(kind, query, strict) {
            Ok((ask, _)) => Some((name, ask)),
            Err((span, cause, hint)) => {
                self.findings.error(span, cause, hint);
                None
            }
        }
    }

    /// The questions beside the signal's own: how many samples, and what is usual.
    fn companions(
        &mut self,
        name: &Arc<str>,
        shape: &SignalShape,
        kind: KindShape,
        question: &Question,
        baseline: Option<Baseline>,
        here: &Range<usize>,
    ) -> Vec<Question> {
        let mut companions = Vec::new();
        let metrics = matches!(kind, KindShape::Prometheus | KindShape::Scrape);
        if shape.at_least == Some(0) {
            self.findings.error(here.clone(), format!("signal `{name}` wants at_least 0: that is always so"), Some("leave it out".into()));
        }
        match (&shape.samples, shape.at_least) {
            (Some(query), None) => {
                let hint = Some("write at_least = 30, or leave it out".to_string());
                self.findings.warn(query.span(), format!("signal `{name}` counts its samples, and nothing says how many are enough"), hint);
            }
            (Some(query), Some(_)) => {
                let counted = SignalShape { query: Some(query.clone()), ..SignalShape::default() };
                if let Some((ask, _)) = self.ask(kind, None, &counted, here.clone(), true) {
                    let or = question.or.as_ref().map(|(second, _)| (second.clone(), ask.clone()));
                    companions.push(Question { name: format!("{name}#samples").into(), ask, or, history: false, ..question.clone() });
                }
            }
            (None, Some(_)) => {
                let hint = Some("write samples = \"…\", a query that counts them".to_string());
                self.findings.error(here.clone(), format!("signal `{name}` wants at_least samples, but nothing counts them"), hint);
            }
            (None, None) => {}
        }
        let past = match baseline {
            Some(Baseline::Ago(span)) => Past::Ago(span),
            Some(Baseline::Median(span)) => Past::Median(span),
            Some(Baseline::Fixed(_)) | None => return companions,
        };
        let span = match past {
            Past::Ago(span) | Past::Median(span) => span,
        };
        if !metrics && span > KEPT {
            let what = format!("signal `{name}` keeps {} of its readings, too little for this baseline", short(KEPT));
            let at = shape.baseline.as_ref().map_or_else(|| here.clone(), SpannedText::span);
            self.findings.error(at, what, Some("write a number, or a shorter span".into()));
        }
        if metrics {
            companions.push(Question {
                name: format!("{name}#baseline").into(),
                every: BASELINE_EVERY,
                history: false,
                // What another source has seen of the past is not what is usual.
                or: None,
                past: Some(past),
                ..question.clone()
            });
        }
        companions
    }
}

/// The unit of what has only one: of the failures of a probe, and of what a database says of itself.
fn own_unit(kind: KindShape, shape: &SignalShape) -> Option<Unit> {
    match (kind, shape.health) {
        (KindShape::Http, _) if shape.pointer.is_none() => Some(Unit::Count),
        (KindShape::Database, Some(Health::Connections | Health::CacheHitRatio)) => Some(Unit::Ratio),
        (KindShape::Database, Some(Health::LongestTransaction | Health::ReplicationLag)) => Some(Unit::Seconds),
        (KindShape::Database, Some(Health::LocksWaiting | Health::Deadlocks)) => Some(Unit::Count),
        (KindShape::Database, Some(Health::Size)) => Some(Unit::Bytes),
        _ => None,
    }
}

fn alert_settings(shape: &AlertsShape) -> AlertSettings {
    let meaning = |severity: &SeverityShape| match severity {
        SeverityShape::Pass => Verdict::Pass,
        SeverityShape::Warn => Verdict::Warn,
        SeverityShape::Fail => Verdict::Fail,
    };
    AlertSettings {
        severities: shape.severities.iter().map(|(word, severity)| (word.to_lowercase(), meaning(severity.get_ref()))).collect(),
        heartbeats: shape.heartbeats.iter().map(|name| name.get_ref().clone()).collect(),
    }
}
