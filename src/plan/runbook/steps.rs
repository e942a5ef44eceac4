//! Reading one step: what every kind has in common, and the fields of each kind.

use std::collections::BTreeSet;
use std::time::Duration;

use saphyr::MarkedYaml;

use super::kinds::{self, Kind, Script};
use super::model::{OnFailure, Retry, Step};
use crate::base::yaml::{Fields, Reader, Text};

/// The ids given so far: each step has one of its own.
#[derive(Default)]
pub struct Ids(BTreeSet<String>);

impl Ids {
    fn take(&mut self, wanted: &str) -> String {
        let mut id = slug(wanted);
        if RESERVED.contains(&id.as_str()) {
            id = format!("{id}_step");
        }
        let mut n = 2;
        while !self.0.insert(id.clone()) {
            id = format!("{}_{n}", slug(wanted));
            n += 1;
        }
        id
    }

    /// Says what is wrong with an id somebody chose.
    fn check(&self, r: &mut Reader, id: &Text) {
        if slug(&id.text) != id.text {
            r.error(id.at, format!("`{}` cannot be used in templates", id.text), Some(format!("write id: {}", slug(&id.text))));
        }
        if RESERVED.contains(&id.text.as_str()) {
            r.error(id.at, format!("`{}` is a word of ours", id.text), Some(format!("write id: {}_step", id.text)));
        }
        if self.0.contains(&id.text) {
            r.error(id.at, format!("there are two steps `{}`", id.text), None);
        }
    }
}

/// Ids that keys of steps begin with.
const RESERVED: [&str; 2] = ["undo", "rollback"];

/// A name that templates can use: letters, digits and `_`.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ if slug.ends_with('_') || slug.is_empty() => {}
            _ => slug.push('_'),
        }
    }
    let slug = slug.trim_end_matches('_');
    match slug.chars().next() {
        None => "step".into(),
        Some(c) if c.is_ascii_digit() => format!("step_{slug}"),
        Some(_) => slug.to_string(),
    }
}

/// The script of `rollback:` as a step.
pub fn rollback_script(r: &mut Reader, text: Text, timeout: Option<Duration>, at: usize, ids: &mut Ids) -> Step {
    kinds::spliced(r, &text);
    let script = Script { inline: Some(text.text), mutates: true, ..Script::default() };
    Step {
        id: format!("rollback/{}", ids.take("rollback script")),
        name: "roll back".into(),
        kind: Kind::Script(script),
        when: None,
        if_configured: false,
        guard: Vec::new(),
        timeout,
        retry: None,
        idempotent: false,
        probe: None,
        on_failure: Some(OnFailure::Ask),
        by_hand: Vec::new(),
        undo: None,
        undo_timeout: None,
        at,
    }
}

/// Reads a step.
pub fn step(r: &mut Reader, node: &MarkedYaml<'_>, ids: &mut Ids) -> Option<Step> {
    let mut f = r.fields(node, "a step")?;
    let at = f.at;
    let name = f.text(r, "name");
    let own_id = f.text(r, "id");
    if name.is_none() && own_id.is_none() {
        r.error(at, "a step has a `name`", Some("write - name: Pre-flight checks".into()));
    }
    let shown = name.as_ref().or(own_id.as_ref()).map_or_else(|| "step".to_string(), |t| t.text.clone());
    if let Some(id) = &own_id {
        ids.check(r, id);
    }
    let id = ids.take(&own_id.map_or_else(|| shown.clone(), |t| t.text));
    let kind = Kind::read(r, &mut f);
    let when = f.string(r, "when");
    let if_configured = f.flag(r, "if_configured").unwrap_or(false);
    let guard = kinds::checks(r, &mut f, "guard");
    let timeout = f.duration(r, "timeout");
    if let (Some(kind), Some(_)) = (&kind, timeout) {
        let misfit = timeout.and_then(|timeout| kind.fits(timeout).err());
        if let Some((cause, hint)) = misfit {
            r.error(r.lines.find(at, "timeout"), cause, hint);
        }
    }
    let declared = f.flag(r, "idempotent");
    let mutates = kind.as_ref().is_some_and(Kind::mutates);
    let idempotent = declared.unwrap_or(!mutates || kind.as_ref().is_some_and(Kind::is_idempotent));
    let retry = retry(r, &mut f, idempotent);
    let probe = probe(r, &mut f);
    let (undo, undo_timeout) = undo(r, &mut f);
    let words = [("stop", OnFailure::Stop), ("continue", OnFailure::Continue), ("ask", OnFailure::Ask), ("rollback", OnFailure::Rollback)];
    let on_failure = f.choice(r, "on_failure", &words);
    let by_hand = f.strings(r, "by_hand");
    f.finish(r);
    let name = crate::base::text::clean(&shown).into_owned();
    Some(Step {
        id,
        name,
        kind: kind?,
        when,
        if_configured,
        guard,
        timeout,
        retry,
        idempotent,
        probe,
        on_failure,
        by_hand,
        undo,
        undo_timeout,
        at,
    })
}

fn probe(r: &mut Reader, f: &mut Fields) -> Option<Kind> {
    let mut inner = f.map(r, "probe", "a probe")?;
    let probe = Kind::read(r, &mut inner);
    if let Some(Err((cause, hint))) = probe.as_ref().map(Kind::as_probe) {
        r.error(inner.at, cause.replace("{kind}", probe.as_ref().map_or("step", Kind::word)), hint);
    }
    inner.finish(r);
    probe
}

/// An undo, and how long it may take.
fn undo(r: &mut Reader, f: &mut Fields) -> (Option<Kind>, Option<Duration>) {
    let Some(mut inner) = f.map(r, "undo", "an undo") else { return (None, None) };
    let undo = Kind::read(r, &mut inner);
    let timeout = inner.duration(r, "timeout");
    if let Some(Err((cause, hint))) = undo.as_ref().map(Kind::as_undo) {
        r.error(inner.at, cause, hint);
    }
    inner.finish(r);
    (undo, timeout)
}

fn retry(r: &mut Reader, f: &mut Fields, idempotent: bool) -> Option<Retry> {
    let (node, at) = f.node("retry")?;
    let retry = match r.fields(node, "`retry`") {
        Some(mut inner) => {
            let count = inner.integer(r, "count", 1..=20).unwrap_or(1);
            let backoff = inner.duration(r, "backoff").unwrap_or(Duration::from_secs(1));
            inner.finish(r);
            Retry { count: count as u32, backoff }
        }
        None => return None,
    };
    if !idempotent {
        let hint = "write idempotent: true if doing it twice is the same as doing it once; otherwise give it a probe";
        r.error(at, "only what is idempotent may be tried again", Some(hint.into()));
    }
    Some(retry)
}
