//! A file's contents, entry by entry: read so that one mistake does not hide the next, and laid over a profile's.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entries::{Entries, Keys, entries, entry, entry_at, keys_of, list, merged, overlaid};
use super::sections::{Sections, TargetSections};
use super::shape::{
    AlertsShape, AuditShape, BoardShape, EnvironmentShape, NotifyShape, RolesShape, RollbackShape, RuleShape, ServiceShape, SignalShape,
    SloShape, SourceShape, SpannedText, TargetSourceShape, UiShape,
};
use crate::base::diag::{Findings, suggestion};
use crate::base::tier::Tier;

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
    pub(super) sections: Sections,
    pub(super) rollback: Option<(RollbackShape, Range<usize>)>,
    pub(super) alerts: Option<AlertsShape>,
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

/// A target as a file describes it.
#[derive(Clone, Default)]
pub(super) struct TargetFile {
    pub(super) name: Option<SpannedText>,
    pub(super) tier: Option<Tier>,
    pub(super) vars: IndexMap<String, String>,
    pub(super) sources: Entries<TargetSourceShape>,
    pub(super) services: Entries<ServiceShape>,
    pub(super) sections: TargetSections,
}

impl FileShape {
    /// Whether a text stands in a shipped profile rather than in the user's file: a profile may name what is not there.
    pub(super) fn is_shipped(&self, text: &SpannedText) -> bool {
        self.profile_begins.is_some_and(|begins| text.span().start >= begins)
    }

    /// Whether a profile's signal is only there to compare a canary with, and there is none.
    pub(super) fn compares_in_vain(&self, name: &str) -> bool {
        let shipped = self.signals.get(name).and_then(|(shape, _)| shape.source.as_ref()).is_some_and(|source| self.is_shipped(source));
        let compared = self.sections.canary.as_ref().is_some_and(|(canary, _)| canary.compares(name));
        shipped && self.sections.traffic.is_none() && compared
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
            sections: self.sections.over(below.sections),
            rollback: self.rollback.or(below.rollback),
            alerts: self.alerts.or(below.alerts),
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

/// Reads one file into entries; what is wrong goes into the findings, the rest is kept.
pub(super) fn read(findings: &mut Findings, path: &Path, text: &str) -> FileShape {
    let offset = findings.add_file(path, text);
    // Spans of several files must not overlap: each file is read behind as many line breaks as there is text before it.
    let padded = "\n".repeat(offset) + text;
    let (table, errors) = DeTable::parse_recoverable(&padded);
    let mut doubled = None;
    for error in errors {
        let span = error.span().unwrap_or(offset..offset);
        if error.message() != "duplicate key" {
            findings.error(span, error.message().to_string(), None);
            continue;
        }
        // Of a section that is there twice its fields are, too: that is said once.
        let before = padded.get(..span.start).unwrap_or_default();
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        let heading = if padded[line..].starts_with('[') { Some(line) } else { before.rfind("\n[").map(|at| at + 1) };
        if heading != Some(line) && heading.is_some() && heading == doubled {
            continue;
        }
        if heading == Some(line) {
            doubled = heading;
        }
        let key = padded.get(span.clone()).unwrap_or_default().trim();
        findings.error(span, format!("`{key}` is there twice"), None);
    }
    let mut file = FileShape { begins: offset, ..FileShape::default() };
    for (key, value) in table.get_ref().iter() {
        let span = key.span();
        match key.get_ref().as_ref() {
            "profile" => file.profile = entry::<String>(findings, value).map(|name| (name, value.span())),
            "vars" => file.vars = entry(findings, value).unwrap_or_default(),
            "environment" => file.environment = entry_at(findings, value, &span).map(|e| (e, span)),
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
            "rollback" => file.rollback = entry(findings, value).map(|r| (r, span)),
            "alerts" => file.alerts = entry(findings, value),
            "targets" => file.targets = targets(findings, value, &mut file.target_keys),
            "roles" => file.roles = entry(findings, value),
            "audit" => file.audit = entry(findings, value).unwrap_or_default(),
            "state_dir" => file.state_dir = entry(findings, value),
            "runbooks" => file.runbooks = entry(findings, value),
            other => {
                if !file.sections.read(other, span.clone(), value, findings) {
                    let hint = suggestion(other, SECTIONS.into_iter().chain(Sections::WORDS));
                    findings.error(span, format!("unknown section `{other}`"), hint);
                }
            }
        }
    }
    file
}

/// What a file may have at its top besides the sections for steps.
const SECTIONS: [&str; 18] = [
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
    "alerts",
    "rollback",
    "targets",
    "notify",
    "roles",
    "audit",
    "state_dir",
    "runbooks",
];

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
                other => {
                    if !target.sections.read(other, field.span(), value, findings) {
                        let known = ["name", "tier", "vars", "sources", "services"].into_iter().chain(TargetSections::WORDS);
                        findings.error(field.span(), format!("a target has no `{other}`"), suggestion(other, known));
                    }
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
