//! From files to a checked configuration. A profile's file is read first, the user's over it; entries are read one by one
//! so that one mistake does not hide the next.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::model::{Board, Config, Environment, Panel, PanelKind, SignalConfig, SourceConfig, Ui, WINDOWS};
use super::shape::{BoardShape, EnvironmentShape, KindShape, RuleShape, SignalShape, SloShape, SourceShape, Text, UiShape};
use crate::base::diag::{Diagnostic, Findings, suggestion};
use crate::base::units::{self, Unit, short};
use crate::reading::{Ask, Health, Past, Question};
use crate::signal::{Baseline, BurnRate, Condition, Level, NoData, Objective, Rule, Signal};

/// The shipped profiles.
const PROFILES: [(&str, &str); 1] = [("rag", include_str!("../../assets/profiles/rag/profile.toml"))];

pub fn profile_names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}

/// The outcome of loading: a configuration when nothing is wrong, and everything there is to say.
#[derive(Debug)]
pub struct Loaded {
    pub config: Option<Config>,
    pub findings: Vec<Diagnostic>,
}

/// Reads and checks a file.
///
/// # Errors
/// When the file cannot be read at all.
pub fn load_file(path: &Path) -> std::io::Result<Loaded> {
    Ok(load_text(path, &std::fs::read_to_string(path)?))
}

/// Checks a configuration's text; the path is for messages and for files named in it.
pub fn load_text(path: &Path, text: &str) -> Loaded {
    let mut findings = Findings::default();
    let mut file = FileShape::default();
    let user = read(&mut findings, path, text);
    if let Some((name, span)) = user.profile.clone() {
        match PROFILES.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => file = read(&mut findings, &PathBuf::from(format!("profile {name}")), text),
            None => findings.error(span, format!("there is no profile `{name}`"), suggestion(&name, profile_names())),
        }
    }
    let file = user.over(file);
    let mut resolver = Resolver { findings: &mut findings, vars: &file.vars, kinds: IndexMap::new() };
    let config = resolver.config(path, &file);
    let failed = findings.has_errors();
    Loaded { config: config.filter(|_| !failed), findings: findings.found }
}

type Entries<T> = IndexMap<Arc<str>, (T, Range<usize>)>;

/// A file's contents, entry by entry, each with the place of its heading.
#[derive(Default)]
struct FileShape {
    profile: Option<(String, Range<usize>)>,
    vars: IndexMap<String, String>,
    environment: Option<(EnvironmentShape, Range<usize>)>,
    ui: UiShape,
    sources: Entries<SourceShape>,
    signals: Entries<SignalShape>,
    rules: Entries<RuleShape>,
    slos: Entries<SloShape>,
    boards: Vec<BoardShape>,
    /// Names that come from a profile, whose sources need not all be there.
    from_profile: bool,
    profile_signals: Vec<Arc<str>>,
}

fn overlaid<T>(mut above: Entries<T>, below: Entries<T>, over: impl Fn(T, T) -> T) -> Entries<T> {
    let mut out = Entries::new();
    for (name, (shape, span)) in below {
        match above.shift_remove(&name) {
            Some((own, own_span)) => out.insert(name, (over(own, shape), own_span)),
            None => out.insert(name, (shape, span)),
        };
    }
    out.extend(above);
    out
}

impl FileShape {
    fn over(self, below: FileShape) -> FileShape {
        let profile_signals = below.signals.keys().cloned().collect();
        let mut vars = below.vars;
        vars.extend(self.vars);
        let mut boards: Vec<BoardShape> = Vec::new();
        for board in below.boards {
            match self.boards.iter().find(|own| own.name.get_ref() == board.name.get_ref()) {
                Some(own) => boards.push(own.clone()),
                None => boards.push(board),
            }
        }
        for own in self.boards {
            if !boards.iter().any(|b| b.name.get_ref() == own.name.get_ref()) {
                boards.push(own);
            }
        }
        FileShape {
            profile: self.profile,
            vars,
            environment: self.environment.or(below.environment),
            ui: self.ui.over(below.ui),
            sources: overlaid(self.sources, below.sources, |own, _| own),
            signals: overlaid(self.signals, below.signals, SignalShape::over),
            rules: overlaid(self.rules, below.rules, RuleShape::over),
            slos: overlaid(self.slos, below.slos, SloShape::over),
            boards,
            from_profile: true,
            profile_signals,
        }
    }
}

/// Reads one file into entries; what is wrong goes into the findings, the rest is kept.
fn read(findings: &mut Findings, path: &Path, text: &str) -> FileShape {
    let offset = findings.add_file(path, text);
    // Spans of several files must not overlap: each file is read behind as many line breaks as there is text before it.
    let padded = "\n".repeat(offset) + text;
    let (table, errors) = DeTable::parse_recoverable(&padded);
    for error in errors {
        findings.error(error.span().unwrap_or(offset..offset), error.message().to_string(), None);
    }
    let mut file = FileShape::default();
    for (key, value) in table.get_ref().iter() {
        let span = key.span();
        match key.get_ref().as_ref() {
            "profile" => file.profile = entry::<String>(findings, value).map(|name| (name, value.span())),
            "vars" => file.vars = entry(findings, value).unwrap_or_default(),
            "environment" => file.environment = entry(findings, value).map(|e| (e, span)),
            "ui" => file.ui = entry(findings, value).unwrap_or_default(),
            "sources" => file.sources = entries(findings, value),
            "signals" => file.signals = entries(findings, value),
            "rules" => file.rules = entries(findings, value),
            "slos" => file.slos = entries(findings, value),
            "boards" => file.boards = list(findings, value),
            other => {
                let known = ["profile", "vars", "environment", "ui", "sources", "signals", "rules", "slos", "boards"];
                findings.error(span, format!("unknown section `{other}`"), suggestion(other, known));
            }
        }
    }
    file
}

fn entry<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Option<T> {
    match T::deserialize(ValueDeserializer::from(value.clone())) {
        Ok(found) => Some(found),
        Err(error) => {
            let (message, hint) = explain(error.message());
            findings.error(error.span().unwrap_or_else(|| value.span()), message, hint);
            None
        }
    }
}

/// "unknown field `x`, expected one of `a`, `b`" with the nearest name as a hint.
fn explain(message: &str) -> (String, Option<String>) {
    for what in ["unknown field `", "unknown variant `"] {
        if let Some(rest) = message.strip_prefix(what)
            && let Some((word, expected)) = rest.split_once('`')
        {
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            return (format!("{what}{word}`"), suggestion(word, known));
        }
    }
    (message.to_string(), None)
}

fn entries<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Entries<T> {
    let DeValue::Table(table) = value.get_ref() else {
        findings.error(value.span(), "this must be a table of named entries", None);
        return Entries::new();
    };
    let mut out = Entries::new();
    for (key, value) in table.iter() {
        if let Some(found) = entry(findings, value) {
            out.insert(key.get_ref().as_ref().into(), (found, key.span()));
        }
    }
    out
}

fn list<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Vec<T> {
    let DeValue::Array(array) = value.get_ref() else {
        findings.error(value.span(), "this must be a list: write [[boards]]", None);
        return Vec::new();
    };
    array.iter().filter_map(|value| entry(findings, value)).collect()
}

/// The shortest interval in which a source may be asked.
const SHORTEST: Duration = Duration::from_millis(100);
/// How often the past is asked for baselines.
const BASELINE_EVERY: Duration = Duration::from_secs(300);

pub(super) struct Resolver<'a> {
    pub(super) findings: &'a mut Findings,
    pub(super) vars: &'a IndexMap<String, String>,
    pub(super) kinds: IndexMap<Arc<str>, KindShape>,
}

impl Resolver<'_> {
    fn config(&mut self, path: &Path, file: &FileShape) -> Option<Config> {
        self.kinds = file.sources.iter().map(|(name, (shape, _))| (name.clone(), shape.kind)).collect();
        let environment = self.environment(file);
        let ui = self.ui(&file.ui);
        let sources: IndexMap<_, _> =
            file.sources.iter().filter_map(|(name, (shape, span))| Some((name.clone(), self.source(shape, span)?))).collect();
        let mut file_signals: Vec<(Arc<str>, SignalShape, Range<usize>)> =
            file.signals.iter().map(|(name, (shape, span))| (name.clone(), shape.clone(), span.clone())).collect();
        let (objectives, mut slo_rules) = self.objectives(file, &mut file_signals);
        let mut signals = IndexMap::new();
        let mut left_out: Vec<Arc<str>> = Vec::new();
        for (name, shape, span) in file_signals {
            if self.is_without_source(file, &name, &shape) {
                left_out.push(name);
            } else if let Some(signal) = self.signal(&name, &shape, &span, file, &sources) {
                signals.insert(name, signal);
            }
        }
        let mut rules = self.rules(file, &signals, &left_out);
        slo_rules.retain(|rule| signals.contains_key(&rule.signal));
        rules.append(&mut slo_rules);
        for rule in &rules {
            if let Some(signal) = signals.get_mut(&rule.signal) {
                if let Ask::Promql { strict, .. } = &mut signal.question.ask {
                    *strict = true;
                }
            }
        }
        let boards = self.boards(file, &signals, &left_out);
        if sources.is_empty() && !self.findings.has_errors() {
            self.findings.error(
                0..0,
                "there is no source to ask",
                Some("add [sources.prometheus] with kind and url, or run `lastgreen init`".into()),
            );
        }
        Some(Config { path: path.to_path_buf(), environment: environment?, ui, sources, signals, rules, objectives, boards })
    }

    /// A profile's signal whose source is not configured is left out; the user's own would be a mistake.
    fn is_without_source(&mut self, file: &FileShape, name: &Arc<str>, shape: &SignalShape) -> bool {
        let Some(source) = &shape.source else { return false };
        let absent = !self.kinds.contains_key(source.get_ref().as_str());
        let shipped = file.from_profile && file.profile_signals.contains(name);
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
            self.findings.error(span.clone(), "the environment has no name", Some("write name = \"rag-production\"".into()));
            return None;
        };
        let name = crate::base::text::clean(name.get_ref()).into_owned();
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
            theme: shape.theme.clone().unwrap_or_else(|| "dark".into()),
            keymap: shape.keymap.clone().unwrap_or_else(|| "default".into()),
            window,
            mouse: shape.mouse.unwrap_or(false),
            color: shape.color.unwrap_or_default(),
            glyphs: shape.glyphs.unwrap_or_default(),
        }
    }

    pub(super) fn duration(&mut self, text: &Text) -> Option<Duration> {
        units::duration(text.get_ref()).map_err(|e| self.findings.error(text.span(), e, None)).ok()
    }

    pub(super) fn interval(&mut self, text: Option<&Text>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        match self.duration(text) {
            Some(every) if every < SHORTEST => {
                self.findings.error(text.span(), format!("every {} is too often: at most every {}", short(every), short(SHORTEST)), None);
                default
            }
            Some(every) => every,
            None => default,
        }
    }

    fn condition(&mut self, text: Option<&Text>, unit: Unit) -> Option<Condition> {
        let text = text?;
        Condition::parse(text.get_ref(), unit).map_err(|e| self.findings.error(text.span(), e, None)).ok()
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
        let unit = shape.unit.unwrap_or_default();
        let (warn, fail) = (self.condition(shape.warn.as_ref(), unit), self.condition(shape.fail.as_ref(), unit));
        let collection = file.sources.get(&source_name).and_then(|(s, _)| s.collection.clone());
        let strict = warn.is_some() || fail.is_some();
        let (ask, shown) = self.ask(kind, collection.as_deref(), shape, here.clone(), strict)?;
        let settings = sources.get(&source_name)?;
        let every = self.interval(shape.interval.as_ref(), settings.every);
        let timeout = self.interval(shape.timeout.as_ref(), settings.timeout);
        let or = shape.or.as_ref().and_then(|text| self.second(text, &source_name, shape, strict));
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
        let question = Question { name: name.clone(), source: source_name, ask, every, timeout, history, or, past: None };
        let companions = self.companions(name, shape, kind, &question, baseline, here);
        let signal = Signal {
            name: name.clone(),
            title: shape.title.clone().unwrap_or_else(|| name.replace('_', " ")),
            unit,
            warn,
            fail,
            baseline,
            at_least: shape.at_least,
            // Scraped samples are as old as the scrape interval allows, whatever the polling.
            interval: if question.history { every.max(Duration::from_secs(15)) } else { every },
        };
        Some(SignalConfig { signal, question, companions, shown })
    }

    /// The second source of a signal: its own check, because what one answers another may refuse.
    fn second(&mut self, text: &Text, first: &Arc<str>, shape: &SignalShape, strict: bool) -> Option<(Arc<str>, Ask)> {
        if !self.kinds.contains_key(text.get_ref().as_str()) && self.kinds.contains_key(first) {
            // A profile names its fall-back whether or not there is one.
            return None;
        }
        let name = self.named_source(text)?;
        let kind = self.kinds[&name];
        if !matches!(kind, KindShape::Prometheus | KindShape::Scrape) {
            self.findings.error(text.span(), "a second source answers PromQL: a prometheus or scrape source", None);
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
        match (&shape.samples, shape.at_least) {
            (Some(query), _) => {
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
        if metrics {
            companions.push(Question {
                name: format!("{name}#baseline").into(),
                every: BASELINE_EVERY,
                history: false,
                past: Some(past),
                ..question.clone()
            });
        }
        companions
    }

    fn rules(&mut self, file: &FileShape, signals: &IndexMap<Arc<str>, SignalConfig>, left_out: &[Arc<str>]) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (name, (shape, span)) in &file.rules {
            let Some(on) = &shape.signal else {
                self.findings.error(span.clone(), format!("rule `{name}` has no signal"), None);
                continue;
            };
            if left_out.iter().any(|s| **s == **on.get_ref()) {
                continue;
            }
            let Some(signal) = signals.get(on.get_ref().as_str()) else {
                if !file.signals.contains_key(on.get_ref().as_str()) {
                    let hint = suggestion(on.get_ref(), signals.keys().map(AsRef::as_ref));
                    self.findings.error(on.span(), format!("there is no signal `{}`", on.get_ref()), hint);
                }
                continue;
            };
            if shape.when.is_none() {
                self.findings.error(span.clone(), format!("rule `{name}` has no condition"), Some("write when = \"> 7%\"".into()));
            }
            let Some(condition) = self.condition(shape.when.as_ref(), signal.signal.unit) else { continue };
            if condition.needs_baseline() && signal.signal.baseline.is_none() {
                self.findings.error(span.clone(), format!("signal `{}` has no baseline to compare with", on.get_ref()), None);
            }
            let Some(no_data) = shape.no_data else {
                let hint = Some("write no_data = \"unknown\", \"alert\" or \"keep\"".to_string());
                self.findings.error(span.clone(), format!("rule `{name}` does not say what no data means"), hint);
                continue;
            };
            let hold = shape.hold.as_ref().and_then(|text| self.duration(text)).unwrap_or_default();
            rules.push(Rule {
                name: name.clone(),
                signal: signal.signal.name.clone(),
                condition,
                hold,
                level: shape.level.unwrap_or(Level::Critical),
                no_data,
                summary: shape.summary.clone().unwrap_or_else(|| signal.signal.title.clone()),
                gap: gap(&signal.question),
            });
        }
        rules
    }

    /// Objectives, the signals that measure their burn rates, and the rules on those.
    fn objectives(&mut self, file: &FileShape, signals: &mut Vec<(Arc<str>, SignalShape, Range<usize>)>) -> (Vec<Objective>, Vec<Rule>) {
        let (mut objectives, mut rules) = (Vec::new(), Vec::new());
        for (name, (shape, span)) in &file.slos {
            let (Some(target), Some(good), Some(total), Some(source)) = (&shape.objective, &shape.good, &shape.total, &shape.source) else {
                self.findings.error(span.clone(), format!("objective `{name}` needs objective, source, good and total"), None);
                continue;
            };
            if !self.kinds.contains_key(source.get_ref().as_str()) && file.from_profile {
                continue;
            }
            let ratio = match Unit::Ratio.parse(target.get_ref()) {
                Ok(ratio) if ratio > 0.0 && ratio < 1.0 => ratio,
                _ => {
                    self.findings.error(target.span(), "an objective lies between 0% and 100%", Some("write objective = \"99.5%\"".into()));
                    continue;
                }
            };
            let window = shape.window.as_ref().and_then(|w| self.duration(w)).unwrap_or(Duration::from_secs(30 * 86_400));
            let (Ok(good), Ok(total)) = (self.filled(good), self.filled(total)) else { continue };
            let objective = Objective { name: name.clone(), target: ratio, window, good, total };
            for rate in BurnRate::ALL {
                let signal: Arc<str> = format!("{name}_burn_{}", rate.long).into();
                let query = Text::new(span.clone(), objective.query(rate));
                let shape = SignalShape {
                    title: Some(format!("{name} burn {}/{}", rate.long, rate.short)),
                    source: Some(source.clone()),
                    or: shape.or.clone(),
                    query: Some(query),
                    ..SignalShape::default()
                };
                signals.push((signal.clone(), shape, span.clone()));
                let Ok(condition) = Condition::parse(&format!("> {}", rate.factor), Unit::None) else { continue };
                rules.push(Rule {
                    name: format!("{name}_budget_burns_{}", rate.long).into(),
                    signal,
                    condition,
                    hold: Duration::ZERO,
                    level: if rate.critical { Level::Critical } else { Level::Warning },
                    no_data: file.slos[name].0.no_data.unwrap_or(NoData::Unknown),
                    summary: format!("the error budget of {name} ({:.2} %) burns {}x too fast", ratio * 100.0, rate.factor),
                    gap: Duration::from_secs(120),
                });
            }
            objectives.push(objective);
        }
        (objectives, rules)
    }

    fn boards(&mut self, file: &FileShape, signals: &IndexMap<Arc<str>, SignalConfig>, left_out: &[Arc<str>]) -> Vec<Board> {
        let mut boards = Vec::new();
        for shape in &file.boards {
            let mut panels = Vec::new();
            for panel in &shape.panels {
                let mut found = Vec::new();
                for text in &panel.signals {
                    let name = text.get_ref().as_str();
                    if let Some(signal) = signals.get(name) {
                        found.push(signal.signal.name.clone());
                    } else if !left_out.iter().any(|s| **s == *name) && !file.signals.contains_key(name) {
                        self.findings.error(
                            text.span(),
                            format!("there is no signal `{name}`"),
                            suggestion(name, signals.keys().map(AsRef::as_ref)),
                        );
                    }
                }
                let bare = matches!(panel.kind, PanelKind::Alerts | PanelKind::Services | PanelKind::Logs);
                if panel.signals.is_empty() && !bare {
                    self.findings.error(shape.name.span(), format!("panel `{}` has no signals", panel.title), None);
                }
                panels.push(Panel { title: panel.title.clone(), kind: panel.kind, signals: found });
            }
            if shape.columns == Some(0) {
                self.findings.error(shape.name.span(), "a board has at least one column", None);
            }
            boards.push(Board { name: shape.name.get_ref().clone(), columns: shape.columns, panels });
        }
        if boards.is_empty() {
            boards = plain_boards(signals);
        }
        boards
    }
}

/// The longest silence between two observations that still counts as watching.
fn gap(question: &Question) -> Duration {
    (question.every * 4).max(Duration::from_secs(30))
}

/// Without any board: every signal in one, then the sources, the rules and the log.
fn plain_boards(signals: &IndexMap<Arc<str>, SignalConfig>) -> Vec<Board> {
    let bare = |title: &str, kind| Panel { title: title.into(), kind, signals: Vec::new() };
    let panel = |(name, signal): (&Arc<str>, &SignalConfig)| {
        let kind = if signal.question.history { PanelKind::Series } else { PanelKind::Stats };
        Panel { title: signal.signal.title.clone(), kind, signals: vec![name.clone()] }
    };
    vec![
        Board { name: "Overview".into(), columns: None, panels: signals.iter().take(24).map(panel).collect() },
        Board { name: "Services".into(), columns: Some(1), panels: vec![bare("Sources", PanelKind::Services)] },
        Board { name: "Alerts".into(), columns: Some(1), panels: vec![bare("Rules and alerts", PanelKind::Alerts)] },
        Board { name: "Logs".into(), columns: Some(1), panels: vec![bare("Log", PanelKind::Logs)] },
    ]
}
