//! From a runbook's text to a [`Runbook`], with every mistake at once.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::kinds;
use super::kinds::{Kind, RunbookCall};
use super::model::{
    Channel, Checklists, Danger, Frequency, Front, Input, InputType, NotificationRule, Occasion, OnFailure, Rollback, Runbook,
    RunbookStatus, Step, Trigger,
};
use super::steps::{self, Ids};
use super::template::{self, Fill};
use crate::base::clock::Stamp;
use crate::base::diag::{Diagnostic, Findings, suggestion};
use crate::base::secret::SecretRef;
use crate::base::yaml::{self, Fields, LineIndex, Reader, Text};

/// What came of reading a runbook: itself when nothing is wrong, and everything there is to say.
#[derive(Clone, Debug)]
pub struct LoadedRunbook {
    /// What the command line calls it, whether it is sound or not.
    pub name: String,
    pub runbook: Option<Arc<Runbook>>,
    pub findings: Vec<Diagnostic>,
}

/// Reads a runbook's text. `now` is for review dates.
pub fn load(path: &Path, text: &str, now: Stamp) -> LoadedRunbook {
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut findings = Findings::default();
    let begins = findings.add_file(path, text);
    let lines = LineIndex::new(begins, text);
    let mut runbook = None;
    if let Some(document) = yaml::parse(&mut findings, &lines, text, "name, title and steps") {
        let mut reader = Reader { findings: &mut findings, lines };
        if let Some(fields) = reader.fields(&document, "a runbook") {
            runbook = read(&mut reader, fields, &name, path, text, now);
        }
    }
    let failed = findings.has_errors();
    LoadedRunbook { name, runbook: runbook.filter(|_| !failed).map(Arc::new), findings: findings.found }
}

fn read(r: &mut Reader, mut f: Fields, name: &str, path: &Path, text: &str, now: Stamp) -> Option<Runbook> {
    let front = front(r, &mut f, name, now);
    let danger = f.choice(r, "danger", &[("safe", Danger::Safe), ("caution", Danger::Caution), ("danger", Danger::Danger)]);
    let emergency = f.flag(r, "emergency").unwrap_or(false);
    let danger_at = f.text(r, "danger").map(|t| t.at);
    let guard = kinds::checks(r, &mut f, "guard");
    let inputs = inputs(r, &mut f);
    let triggers = triggers(r, &mut f);
    let mut ids = Ids::default();
    let step_list = f.list(r, "steps");
    if step_list.is_empty() {
        r.error(f.at, "a runbook has `steps`", Some("write steps: and below it - name: … with type: script".into()));
    }
    let steps: Vec<Step> = step_list.into_iter().filter_map(|node| steps::step(r, node, &mut ids)).collect();
    let rollback = rollback(r, &mut f, &mut ids, &inputs);
    let notifications = notifications(r, &mut f);
    let checklists = checklists(r, &mut f);
    f.finish(r);
    check_uses(r, &inputs, &steps, &rollback);
    let mutates = steps.iter().chain(&rollback.steps).any(|s| s.kind.mutates() || s.way_back().is_some());
    if let (Some(Danger::Safe), true, Some(at)) = (danger, mutates, danger_at) {
        let hint = "write danger: caution, or mutates: false on the steps that only look";
        r.error(at, "this runbook calls itself safe, but has steps that change something", Some(hint.into()));
    }
    let least = if mutates { Danger::Caution } else { Danger::Safe };
    let placeholders = placeholders(text);
    for (word, line) in &placeholders {
        let at = r.lines.line(*line);
        r.warn(at, format!("`{word}` is still to be filled in"), Some("it can be read, but not run, until then".into()));
    }
    Some(Runbook {
        name: name.to_string(),
        path: path.to_path_buf(),
        text: text.into(),
        front,
        danger: danger.unwrap_or(least).max(least),
        emergency,
        guard,
        inputs,
        triggers,
        steps,
        rollback,
        notifications,
        checklists,
        placeholders,
    })
}

fn front(r: &mut Reader, f: &mut Fields, name: &str, now: Stamp) -> Front {
    // `name` is what automation files call their title.
    let named = f.string(r, "name");
    let title = f.string(r, "title").or(named).unwrap_or_else(|| name.replace(['-', '_'], " "));
    let statuses = [("draft", RunbookStatus::Draft), ("ready", RunbookStatus::Ready), ("deprecated", RunbookStatus::Deprecated)];
    let status_at = f.text(r, "status").map_or(f.at, |t| t.at);
    let status = f.choice(r, "status", &statuses).unwrap_or_default();
    if status == RunbookStatus::Deprecated {
        r.warn(status_at, "this runbook is deprecated", Some("see its references for what replaces it".into()));
    }
    let review = f.text(r, "review").and_then(|text| review(r, &text, now));
    Front {
        title: crate::base::text::clean(&title).into_owned(),
        description: f.string(r, "description").unwrap_or_default(),
        version: f.string(r, "version").unwrap_or_default(),
        status,
        owner: f.string(r, "owner").unwrap_or_default(),
        frequency: f.choice(r, "frequency", &Frequency::WORDS).unwrap_or_default(),
        severity: f.string(r, "severity").unwrap_or_default(),
        review,
        references: [f.strings(r, "references"), f.strings(r, "schemaRefs")].concat(),
    }
}

fn review(r: &mut Reader, text: &Text, now: Stamp) -> Option<chrono::NaiveDate> {
    let Ok(day) = text.text.parse::<chrono::NaiveDate>() else {
        r.error(text.at, format!("`{}` is not a day", text.text), Some("write review: 2027-01-31".into()));
        return None;
    };
    if day < now.day() {
        r.warn(text.at, format!("this runbook was to be reviewed by {day}"), Some("read it again and set a new date".into()));
    }
    Some(day)
}

fn inputs(r: &mut Reader, f: &mut Fields) -> Vec<Input> {
    let Some(map) = f.map(r, "inputs", "`inputs`") else { return Vec::new() };
    let mut inputs = Vec::new();
    for (name, at, node) in map.entries() {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.is_empty() {
            r.error(at, format!("`{name}` cannot be used in templates"), Some("use letters, digits and _".into()));
        }
        if kinds::telling(&name) {
            let hint = "name it under `secrets:` or `secret_headers:` of the step that needs it, as env:NAME or file:PATH";
            r.error(at, format!("`{name}` would stand in the plan and in the journal, for everybody to read"), Some(hint.into()));
        }
        let Some(mut f) = r.fields(node, "an input") else { continue };
        let types = [
            ("string", InputType::String),
            ("integer", InputType::Integer),
            ("number", InputType::Number),
            ("boolean", InputType::Boolean),
            ("duration", InputType::Duration),
        ];
        let kind = f.choice(r, "type", &types).unwrap_or(InputType::String);
        let pattern = f.text(r, "pattern");
        if let Some(pattern) = &pattern
            && let Err(e) = regex::Regex::new(&pattern.text)
        {
            r.error(pattern.at, format!("this is not a regular expression: {e}"), None);
        }
        let mut input = Input {
            name,
            kind,
            default: None,
            allowed: Vec::new(),
            pattern: pattern.map(|p| p.text),
            description: f.string(r, "description").unwrap_or_default(),
        };
        let plain = Input { pattern: None, ..input.clone() };
        for text in f.texts(r, "allowed") {
            match plain.parse(&text.text) {
                Ok(value) => input.allowed.push(value),
                Err(e) => r.error(text.at, e, None),
            }
        }
        if let Some(text) = f.text(r, "default") {
            match input.parse(&text.text) {
                Ok(value) => input.default = Some(value),
                Err(e) => r.error(text.at, e, None),
            }
        }
        f.finish(r);
        inputs.push(input);
    }
    inputs
}

fn triggers(r: &mut Reader, f: &mut Fields) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    for node in f.list(r, "triggers") {
        let Some(mut f) = r.fields(node, "a trigger") else { continue };
        let trigger = match f.choice(r, "type", &[("schedule", true), ("event", false)]) {
            Some(true) => f.required(r, "cron", "\"0 2 * * *\"").map(|text| {
                if let Err(e) = text.text.parse::<croner::Cron>() {
                    r.error(text.at, format!("this is not a schedule: {e}"), Some("minute hour day month weekday, as 0 2 * * *".into()));
                }
                Trigger::Schedule { cron: text.text }
            }),
            Some(false) => {
                let source = f.string(r, "source").unwrap_or_else(|| "monitoring".into());
                f.required(r, "condition", "\"alert.severity == 'critical'\"").map(|text| {
                    expression(r, &text, &["alert", "rule", "environment"]);
                    Trigger::Event { source, condition: text.text }
                })
            }
            None => {
                if !f.has("type") {
                    r.error(f.at, "a trigger has a `type`", Some("write type: schedule or type: event".into()));
                }
                continue;
            }
        };
        f.finish(r);
        triggers.extend(trigger);
    }
    triggers
}

/// Checks an expression's text and the names it begins with.
fn expression(r: &mut Reader, text: &Text, roots: &[&str]) {
    match template::uses_of_expression(&text.text) {
        Err(e) => r.error(text.at, format!("this is not an expression: {e}"), None),
        Ok(uses) => {
            for name in uses.0 {
                let root = name.split('.').next().unwrap_or("");
                if !roots.contains(&root) {
                    let hint = crate::base::diag::suggestion(root, roots.iter().copied());
                    r.error(text.at, format!("`{root}` is not known here"), hint);
                }
            }
        }
    }
}

fn rollback(r: &mut Reader, f: &mut Fields, ids: &mut Ids, inputs: &[Input]) -> Rollback {
    let Some(mut f) = f.map(r, "rollback", "`rollback`") else { return Rollback::default() };
    let automatic = f.flag(r, "automatic").unwrap_or(false);
    let mut conditions = Vec::new();
    for text in f.texts(r, "conditions") {
        known(r, "rollback", text.at, template::uses_of_expression(&text.text), &LoadScope::of_failure(inputs));
        conditions.push(text.text);
    }
    let mut steps: Vec<Step> = Vec::new();
    let timeout = f.duration(r, "timeout");
    if let Some((node, at)) = f.node("script")
        && let Some(text) = r.text_of(node, "script")
    {
        steps.push(steps::rollback_script(r, text, timeout, at, ids));
    }
    for node in f.list(r, "steps") {
        let Some(step) = steps::step(r, node, ids) else { continue };
        if step.undo.is_some() {
            r.error(step.at, "a step of a rollback has no undo of its own", None);
        }
        // A way back that ends half-way without a question would leave everybody in the middle.
        let on_failure = match step.on_failure {
            None | Some(OnFailure::Rollback) => OnFailure::Ask,
            Some(other) => other,
        };
        steps.push(Step { id: format!("rollback/{}", step.id), on_failure: Some(on_failure), ..step });
    }
    f.finish(r);
    Rollback { automatic, conditions, steps }
}

fn notifications(r: &mut Reader, f: &mut Fields) -> Vec<NotificationRule> {
    let mut all = Vec::new();
    for node in f.list(r, "notifications") {
        let Some(mut f) = r.fields(node, "a notification") else { continue };
        let at = f.at;
        let Some(name) = f.required(r, "channel", "slack") else { continue };
        let own = channel(r, &mut f, &name.text);
        let mut events = Vec::new();
        for text in f.texts(r, "events") {
            match Occasion::WORDS.iter().find(|(word, _)| *word == text.text) {
                Some((_, occasion)) => events.push(*occasion),
                None => {
                    let hint = crate::base::diag::suggestion(&text.text, Occasion::WORDS.iter().map(|(word, _)| *word));
                    r.error(text.at, format!("there is no event `{}`", text.text), hint);
                }
            }
        }
        if events.is_empty() {
            events = Occasion::WORDS.iter().map(|(_, o)| *o).collect();
        }
        f.finish(r);
        all.push(NotificationRule { name: name.text, own, events, at });
    }
    all
}

/// The channel a notification describes itself, if it does.
fn channel(r: &mut Reader, f: &mut Fields, kind: &str) -> Option<Channel> {
    let mut secret = |f: &mut Fields, key: &'static str| {
        let text = f.text(r, key)?;
        // What is still to be filled in is warned of elsewhere.
        if is_placeholder(&text.text) {
            return SecretRef::parse("env:PLACEHOLDER").ok();
        }
        SecretRef::parse(&text.text).map_err(|e| r.error(text.at, format!("`{key}`: {e}"), None)).ok()
    };
    let (webhook, key) = (secret(f, "webhook"), secret(f, "integration_key"));
    match (kind, webhook, key) {
        ("slack", Some(webhook), None) => Some(Channel::Slack { webhook }),
        ("pagerduty", None, Some(key)) => Some(Channel::Pagerduty { key, url: PAGERDUTY.into() }),
        (_, None, None) => None,
        _ => {
            let hint = "slack has a webhook, pagerduty an integration_key; others are set up as [notify.NAME] in the configuration";
            r.error(f.at, format!("a channel `{kind}` cannot be described here like this"), Some(hint.into()));
            None
        }
    }
}

pub const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

fn checklists(r: &mut Reader, f: &mut Fields) -> Checklists {
    let Some(mut f) = f.map(r, "checklists", "`checklists`") else { return Checklists::default() };
    let lists = Checklists { before: f.strings(r, "before"), during: f.strings(r, "during"), after: f.strings(r, "after") };
    f.finish(r);
    lists
}

/// `[SERVICE_NAME]`: what a template leaves to be filled in.
fn is_placeholder(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .is_some_and(|inside| inside.len() > 2 && inside.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
}

/// Values, and whole scripts, that are nothing but a placeholder; `echo "[ERROR] …"` is none, nor is `[DEFAULT]` among
/// other lines.
fn placeholders(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let says = |line: &&&str| !line.trim().is_empty() && !line.trim().starts_with('#');
    let depth = |line: &str| line.len() - line.trim_start().len();
    let alone = |i: usize| {
        let above = lines[..i].iter().rfind(says).map_or("", |l| l.trim_end());
        let below = lines[i + 1..].iter().find(says).map_or(0, |l| depth(l));
        above.trim_end_matches(['-', '+']).ends_with(['|', '>']) && below < depth(lines[i])
    };
    for (i, line) in lines.iter().enumerate() {
        let value = line.split(" #").next().unwrap_or(line).trim().trim_start_matches("- ");
        let is_key = |key: &str| key.chars().all(|c| c.is_alphanumeric() || c == '_');
        let (keyed, value) = match value.split_once(": ") {
            Some((key, rest)) if is_key(key) => (true, rest.trim()),
            _ => (line.trim().starts_with("- "), value.trim()),
        };
        let bare = value.trim_matches(['"', '\'']);
        // Without quotes behind a key it is a list.
        if keyed && bare == value {
            continue;
        }
        if is_placeholder(bare) && (keyed || alone(i)) {
            found.push((bare.to_string(), i + 1));
        }
    }
    found
}

/// Every template and expression uses only what will be there: inputs that are declared, steps that come before.
fn check_uses(r: &mut Reader, inputs: &[Input], steps: &[Step], rollback: &Rollback) {
    let mut scope = LoadScope { inputs: inputs.iter().map(|i| i.name.as_str()).collect(), ..LoadScope::default() };
    for (i, step) in steps.iter().enumerate() {
        if let Kind::Runbook(RunbookCall::Back { back }) = &step.kind
            && !steps[..i].iter().any(|before| before.id == *back && before.kind.nested().is_some())
        {
            let at = r.lines.find(step.at, "back");
            let hint = suggestion(back, steps[..i].iter().filter(|before| before.kind.nested().is_some()).map(|before| before.id.as_str()));
            r.error(at, format!("step `{}`: no earlier step `{back}` runs another runbook", step.name), hint);
        }
    }
    for step in steps.iter().chain(&rollback.steps) {
        check_texts(r, step, &[Some(&step.kind), step.probe.as_ref()], &scope);
        if let Some(when) = &step.when {
            let at = r.lines.find(step.at, when);
            known(r, &format!("step `{}`: when", step.name), at, template::uses_of_expression(when), &scope);
        }
        // What undoes a step may use what the step gave; of another runbook nothing comes out.
        if step.kind.nested().is_none() {
            scope.before.push(step.id.strip_prefix("rollback/").unwrap_or(&step.id));
        }
        check_texts(r, step, &[step.undo.as_ref()], &scope);
    }
    if rollback.automatic && !steps.iter().any(|s| s.way_back().is_some()) && rollback.steps.is_empty() {
        let at = r.lines.find(0, "automatic:");
        r.error(at, "a rollback that is automatic has nothing to do", Some("write rollback: steps:, or give steps an undo".into()));
    }
    // Of another runbook's steps some may have a way back.
    if rollback.steps.is_empty() && !steps.iter().any(|s| s.way_back().is_some() || s.kind.nested().is_some()) {
        for step in steps.iter().filter(|s| s.on_failure == Some(OnFailure::Rollback)) {
            let at = r.lines.find(step.at, "on_failure");
            r.error(at, "there is nothing to roll back to", Some("write rollback: steps:, or give steps an undo".into()));
        }
    }
}

fn check_texts(r: &mut Reader, step: &Step, kinds: &[Option<&Kind>], scope: &LoadScope) {
    for kind in kinds.iter().flatten() {
        let mut texts: Vec<String> = Vec::new();
        let mut collect = |text: &str, _| {
            texts.push(text.to_string());
            Ok(Json::from(text))
        };
        Kind::clone(kind).fill(&mut Fill::new(&mut collect));
        for text in texts {
            let at = r.lines.find(step.at, &text);
            known(r, &format!("step `{}`", step.name), at, template::uses(&text), scope);
        }
    }
}

/// What a template or an expression can speak of.
#[derive(Default)]
struct LoadScope<'a> {
    inputs: Vec<&'a str>,
    /// Steps that come before.
    before: Vec<&'a str>,
    /// It is about a step that has failed, and not part of a step.
    failed: bool,
}

impl<'a> LoadScope<'a> {
    fn of_failure(inputs: &'a [Input]) -> LoadScope<'a> {
        LoadScope { inputs: inputs.iter().map(|i| i.name.as_str()).collect(), before: Vec::new(), failed: true }
    }

    /// What is wrong with a name like `steps.check.output`, if anything is, and what might be meant.
    fn wrong(&self, name: &str) -> Option<(String, Option<String>)> {
        let suggest = |word: &str, among: &[&str]| crate::base::diag::suggestion(word, among.iter().copied());
        let mut parts = name.split('.');
        let (root, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        let (all, what): (&[&str], &str) = match (root, self.failed) {
            ("inputs", _) => (&self.inputs, "input"),
            ("environment", _) => (&["name", "tier"], "fact of the environment"),
            ("steps", false) => (&self.before, "earlier step"),
            ("run", false) => (&["id", "reason"], "fact of the run"),
            ("operator", false) => (&["user", "host", "automatic"], "fact of the operator"),
            ("step", true) => (&["id", "name", "status", "type", "message"], "fact of a failed step"),
            ("validation", true) => (&["failed"], "fact of a validation"),
            // Which there are is known to the configuration.
            ("vars", _) => return None,
            (_, true) => {
                return Some((
                    format!("nothing is called `{root}` here"),
                    suggest(root, &["step", "validation", "inputs", "environment", "vars"]),
                ));
            }
            _ => return Some((format!("nothing is called `{root}`"), suggest(root, &template::ROOTS))),
        };
        let Some(second) = second else {
            return Some((format!("`{root}` alone says nothing"), Some(format!("write {root}.NAME"))));
        };
        if !all.contains(&second) {
            return Some((format!("there is no {what} `{second}`"), suggest(second, all)));
        }
        const GIVES: [&str; 4] = ["output", "json", "status", "message"];
        match (root, third) {
            ("steps", None) => Some((format!("`{name}` alone says nothing"), Some(format!("write {name}.output")))),
            ("steps", Some(third)) if !GIVES.contains(&third) => Some((format!("a step gives no `{third}`"), suggest(third, &GIVES))),
            _ => None,
        }
    }
}

/// Reports what a text uses that will not be there.
fn known(r: &mut Reader, whose: &str, at: usize, uses: Result<template::TemplateNames, String>, scope: &LoadScope) {
    match uses {
        Err(e) => r.error(at, format!("in {whose}: {e}"), None),
        Ok(uses) => {
            for (cause, hint) in uses.0.iter().filter_map(|name| scope.wrong(name)) {
                r.error(at, format!("in {whose}: {cause}"), hint);
            }
        }
    }
}
