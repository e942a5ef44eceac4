//! A file's contents, entry by entry: read so that one mistake does not hide the next, and laid over a profile's.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::shape::{
    AlertsShape, AuditShape, BoardShape, CanaryShape, EnvironmentShape, GateCheckShape, NotifyShape, ProgramShape, ReleaseShape,
    RolesShape, RollbackShape, RuleShape, ServiceShape, SignalShape, SloShape, SnapshotsShape, SourceShape, SpannedText, TargetSourceShape,
    TrafficShape, UiShape,
};
use crate::base::diag::{Findings, suggestion};
use crate::base::tier::Tier;

pub(super) type Entries<T> = IndexMap<Arc<str>, (T, Range<usize>)>;

/// A file's contents, entry by entry, each with the place of its heading.
#[derive(Default)]
pub(super) struct FileShape {
    pub(super) profile: Option<(String, Range<usize>)>,
    pub(super) vars: IndexMap<String, String>,
    pub(super) environment: Option<(EnvironmentShape, Range<usize>)>,
    pub(super) ui: UiShape,
    pub(super) sources: Entries<SourceShape>,
    pub(super) signals: Entries<SignalShape>,
    pub(super) rules: Entries<RuleShape>,
    pub(super) slos: Entries<SloShape>,
    pub(super) boards: Vec<BoardShape>,
    pub(super) services: Entries<ServiceShape>,
    pub(super) traffic: Option<(TrafficShape, Range<usize>)>,
    pub(super) canary: Option<(CanaryShape, Range<usize>)>,
    pub(super) release: Option<(ReleaseShape, Range<usize>)>,
    pub(super) snapshots: Option<(SnapshotsShape, Range<usize>)>,
    pub(super) rollback: Option<(RollbackShape, Range<usize>)>,
    pub(super) alerts: Option<AlertsShape>,
    pub(super) gates: Entries<IndexMap<String, Spanned<GateCheckShape>>>,
    pub(super) targets: Entries<TargetFile>,
    /// This is what a target comes to: what it does not name is not there.
    pub(super) is_target: bool,
    /// The keys that each entry has, with their places: which of them fit is known when its kind is.
    pub(super) keys: Keys,
    /// Those of the sources of each target.
    pub(super) target_keys: IndexMap<Arc<str>, Keys>,
    pub(super) notify: Entries<NotifyShape>,
    pub(super) roles: Option<RolesShape>,
    pub(super) audit: AuditShape,
    pub(super) state_dir: Option<String>,
    /// The folder of runbooks, beside the file.
    pub(super) runbooks: Option<String>,
    /// Where the file's text begins among those read; what lies behind it is a profile's.
    pub(super) begins: usize,
    pub(super) profile_begins: Option<usize>,
}

/// The keys of an entry, by section and name.
pub(super) type Keys = IndexMap<(&'static str, Arc<str>), Vec<(String, Range<usize>)>>;

/// A target as a file describes it.
#[derive(Clone, Default)]
pub(super) struct TargetFile {
    pub(super) name: Option<SpannedText>,
    pub(super) tier: Option<Tier>,
    pub(super) vars: IndexMap<String, String>,
    pub(super) sources: Entries<TargetSourceShape>,
    pub(super) services: Entries<ServiceShape>,
    pub(super) traffic: Option<(TrafficShape, Range<usize>)>,
    pub(super) release: Option<(ReleaseShape, Range<usize>)>,
    pub(super) programs: IndexMap<String, ProgramShape>,
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
    /// Whether a text stands in a shipped profile rather than in the user's file: a profile may name what is not there.
    pub(super) fn is_shipped(&self, text: &SpannedText) -> bool {
        self.profile_begins.is_some_and(|begins| text.span().start >= begins)
    }

    /// Whether a profile's signal is only there to compare a canary with, and there is none.
    pub(super) fn compares_in_vain(&self, name: &str) -> bool {
        let shipped = self.signals.get(name).and_then(|(shape, _)| shape.source.as_ref()).is_some_and(|source| self.is_shipped(source));
        let compared = |(canary, _): &(CanaryShape, Range<usize>)| {
            canary.metrics.values().any(|pair| [&pair.get_ref().canary, &pair.get_ref().stable].iter().any(|text| *text.get_ref() == *name))
        };
        shipped && self.traffic.is_none() && self.canary.as_ref().is_some_and(compared)
    }

    pub(super) fn over(self, below: FileShape) -> FileShape {
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
            services: overlaid(self.services, below.services, |own, _| own),
            traffic: self.traffic.or(below.traffic),
            canary: self.canary.or(below.canary),
            release: self.release.or(below.release),
            snapshots: self.snapshots.or(below.snapshots),
            rollback: self.rollback.or(below.rollback),
            alerts: self.alerts.or(below.alerts),
            gates: overlaid(self.gates, below.gates, |own, _| own),
            targets: overlaid(self.targets, below.targets, |own, _| own),
            is_target: false,
            keys: merged(self.keys, below.keys),
            target_keys: self.target_keys,
            notify: overlaid(self.notify, below.notify, |own, _| own),
            roles: self.roles.or(below.roles),
            audit: AuditShape { database: self.audit.database.or(below.audit.database) },
            state_dir: self.state_dir,
            runbooks: self.runbooks,
            begins: self.begins,
            profile_begins: (below.begins > self.begins).then_some(below.begins),
        }
    }
}

fn merged(mut keys: Keys, below: Keys) -> Keys {
    for (entry, found) in below {
        // Of what was replaced whole nothing is left; signals and rules are laid over field by field.
        if !keys.contains_key(&entry) || entry.0 == "signals" {
            keys.entry(entry).or_default().extend(found);
        }
    }
    keys
}

/// Reads one file into entries; what is wrong goes into the findings, the rest is kept.
pub(super) fn read(findings: &mut Findings, path: &Path, text: &str) -> FileShape {
    let offset = findings.add_file(path, text);
    // Spans of several files must not overlap: each file is read behind as many line breaks as there is text before it.
    let padded = "\n".repeat(offset) + text;
    let (table, errors) = DeTable::parse_recoverable(&padded);
    for error in errors {
        findings.error(error.span().unwrap_or(offset..offset), error.message().to_string(), None);
    }
    let mut file = FileShape { begins: offset, ..FileShape::default() };
    for (key, value) in table.get_ref().iter() {
        let span = key.span();
        match key.get_ref().as_ref() {
            "profile" => file.profile = entry::<String>(findings, value).map(|name| (name, value.span())),
            "vars" => file.vars = entry(findings, value).unwrap_or_default(),
            "environment" => file.environment = entry(findings, value).map(|e| (e, span)),
            "ui" => file.ui = entry(findings, value).unwrap_or_default(),
            "sources" => {
                file.sources = entries(findings, value);
                keys_of("sources", value, &mut file.keys);
            }
            "signals" => {
                file.signals = entries(findings, value);
                keys_of("signals", value, &mut file.keys);
            }
            "rules" => file.rules = entries(findings, value),
            "slos" => file.slos = entries(findings, value),
            "boards" => {
                file.boards = list(findings, value);
                told_apart(findings, &file.boards);
            }
            "services" => file.services = entries(findings, value),
            "notify" => {
                file.notify = entries(findings, value);
                keys_of("notify", value, &mut file.keys);
            }
            "traffic" => file.traffic = entry(findings, value).map(|t| (t, span)),
            "canary" => file.canary = entry(findings, value).map(|c| (c, span)),
            "release" => file.release = entry(findings, value).map(|r| (r, span)),
            "snapshots" => file.snapshots = entry(findings, value).map(|s| (s, span)),
            "rollback" => file.rollback = entry(findings, value).map(|r| (r, span)),
            "alerts" => file.alerts = entry(findings, value),
            "gates" => file.gates = entries(findings, value),
            "targets" => file.targets = targets(findings, value, &mut file.target_keys),
            "roles" => file.roles = entry(findings, value),
            "audit" => file.audit = entry(findings, value).unwrap_or_default(),
            "state_dir" => file.state_dir = entry(findings, value),
            "runbooks" => file.runbooks = entry(findings, value),
            other => {
                findings.error(span, format!("unknown section `{other}`"), suggestion(other, SECTIONS));
            }
        }
    }
    file
}

/// What a file may have at its top.
const SECTIONS: [&str; 23] = [
    "profile",
    "vars",
    "environment",
    "ui",
    "sources",
    "signals",
    "rules",
    "slos",
    "boards",
    "services",
    "traffic",
    "canary",
    "release",
    "snapshots",
    "alerts",
    "gates",
    "rollback",
    "targets",
    "notify",
    "roles",
    "audit",
    "state_dir",
    "runbooks",
];

/// Reads an entry. A key that nobody knows is said and hides nothing: the entry is read again without it.
fn entry<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Option<T> {
    let mut value = value.clone();
    loop {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        let (message, hint) = explain(error.message());
        let span = error.span().unwrap_or_else(|| value.span());
        findings.error(span.clone(), message, hint);
        if !error.message().starts_with("unknown field") || !without(&mut value, &span) {
            return None;
        }
    }
}

/// Takes the key out that stands at a place. Whether there was one.
fn without(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            let found = table.keys().find(|key| key.span() == *span).cloned();
            match found {
                Some(key) => table.remove(key.get_ref().as_ref()).is_some(),
                None => table.iter_mut().any(|(_, inner)| without(inner, span)),
            }
        }
        DeValue::Array(items) => items.iter_mut().any(|item| without(item, span)),
        _ => false,
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
    // The value itself is not repeated: it may be a secret of the wrong kind.
    if let Some((found, wanted)) = message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected ")) {
        let found = match found.split([' ', '"']).next().unwrap_or_default() {
            "sequence" => "a list",
            "map" => "a table",
            "string" => "a text",
            "integer" | "floating" => "a number",
            "boolean" => "true or false",
            _ => "something else",
        };
        let wanted = match wanted {
            "a string" => "a text",
            "a sequence" => "a list",
            "a boolean" => "true or false",
            "f32" | "f64" => "a number",
            "a map" => "a table",
            number if number.starts_with(['u', 'i']) && number[1..].parse::<u8>().is_ok() || number == "usize" => "a whole number",
            shape if shape.starts_with("struct ") => "a table",
            other => other,
        };
        return (format!("this is {found}, and has to be {wanted}"), None);
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return (format!("{name} is missing"), None);
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

/// The keys of each entry of a section.
fn keys_of(section: &'static str, value: &Spanned<DeValue<'_>>, keys: &mut Keys) {
    let DeValue::Table(table) = value.get_ref() else { return };
    for (name, entry) in table.iter() {
        if let DeValue::Table(entry) = entry.get_ref() {
            let found = entry.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
            keys.insert((section, name.get_ref().as_ref().into()), found);
        }
    }
}

fn targets(findings: &mut Findings, value: &Spanned<DeValue<'_>>, keys: &mut IndexMap<Arc<str>, Keys>) -> Entries<TargetFile> {
    let DeValue::Table(table) = value.get_ref() else {
        findings.error(value.span(), "this must be a table of targets: write [targets.staging]", None);
        return Entries::new();
    };
    let mut out = Entries::new();
    for (key, value) in table.iter() {
        let DeValue::Table(fields) = value.get_ref() else {
            findings.error(value.span(), "a target is a table", Some("write tier, and below it [targets.NAME.sources.…]".into()));
            continue;
        };
        let mut target = TargetFile::default();
        for (field, value) in fields.iter() {
            match field.get_ref().as_ref() {
                "name" => target.name = entry(findings, value),
                "tier" => target.tier = entry(findings, value),
                "vars" => target.vars = entry(findings, value).unwrap_or_default(),
                "sources" => {
                    target.sources = entries(findings, value);
                    keys_of("sources", value, keys.entry(key.get_ref().as_ref().into()).or_default());
                }
                "services" => target.services = entries(findings, value),
                "traffic" => target.traffic = entry(findings, value).map(|t| (t, field.span())),
                "release" => target.release = entry(findings, value).map(|r| (r, field.span())),
                "programs" => target.programs = entry(findings, value).unwrap_or_default(),
                other => {
                    let known = ["name", "tier", "vars", "sources", "services", "traffic", "release", "programs"];
                    findings.error(field.span(), format!("a target has no `{other}`"), suggestion(other, known));
                }
            }
        }
        out.insert(key.get_ref().as_ref().into(), (target, key.span()));
    }
    out
}

/// Boards are gone to by their names.
fn told_apart(findings: &mut Findings, boards: &[BoardShape]) {
    for (at, board) in boards.iter().enumerate() {
        if boards[..at].iter().any(|other| other.name.get_ref() == board.name.get_ref()) {
            findings.error(board.name.span(), format!("there is another board `{}`", board.name.get_ref()), None);
        }
    }
}

fn list<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Vec<T> {
    let DeValue::Array(array) = value.get_ref() else {
        findings.error(value.span(), "this must be a list: write [[boards]]", None);
        return Vec::new();
    };
    array.iter().filter_map(|value| entry(findings, value)).collect()
}
