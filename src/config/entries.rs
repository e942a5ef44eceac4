//! Entries of a file: read one by one, so that one mistake does not hide the next, and laid over those of a profile.

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use crate::base::diag::{Findings, suggestion};

/// Named entries, each with the place of its heading.
pub(super) type Entries<T> = IndexMap<Arc<str>, (T, Range<usize>)>;

/// The keys of an entry, by section and name.
pub(super) type Keys = IndexMap<(&'static str, Arc<str>), Vec<(String, Range<usize>)>>;

pub(super) fn overlaid<T>(mut above: Entries<T>, below: Entries<T>, over: impl Fn(T, T) -> T) -> Entries<T> {
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

pub(super) fn merged(mut keys: Keys, below: Keys) -> Keys {
    for (entry, found) in below {
        // Of what was replaced whole nothing is left; signals and rules are laid over field by field.
        if !keys.contains_key(&entry) || entry.0 == "signals" {
            keys.entry(entry).or_default().extend(found);
        }
    }
    keys
}

/// Reads an entry. What is wrong with one of its values is said and hides nothing: the entry is read again without it.
pub(super) fn entry<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Option<T> {
    entry_at(findings, value, &value.span())
}

/// The same of an entry whose heading is elsewhere.
pub(super) fn entry_at<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>, heading: &Range<usize>) -> Option<T> {
    let mut value = value.clone();
    let mut taken_out: Vec<String> = Vec::new();
    loop {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(found) => {
                taken_out.iter().for_each(|key| findings.taken_out(heading, key));
                return Some(found);
            }
            Err(error) => error,
        };
        // What is missing because it was taken out is said.
        let missing = |key: &String| error.message() == format!("missing field `{key}`");
        if taken_out.iter().any(missing) {
            return None;
        }
        let (message, hint) = explain(error.message());
        let span = error.span().unwrap_or_else(|| value.span());
        // What is written almost so was meant.
        let meant = hint.as_deref().and_then(|hint| hint.strip_prefix("did you mean `")?.strip_suffix("`?")).map(str::to_string);
        findings.error(span.clone(), message, hint);
        taken_out.push(without(&mut value, &span)?);
        taken_out.extend(meant);
    }
}

/// Takes out what stands at a place: a key, or a value with its key. Its name, if there was one.
fn without(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<String> {
    match value.get_mut() {
        DeValue::Table(table) => {
            let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span).map(|(key, _)| key.clone());
            match found {
                Some(key) => table.remove(key.get_ref().as_ref()).map(|_| key.get_ref().to_string()),
                None => table.iter_mut().find_map(|(_, inner)| without(inner, span)),
            }
        }
        DeValue::Array(items) => items.iter_mut().find_map(|item| without(item, span)),
        _ => None,
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
        let hint = match (found, wanted) {
            ("a number", "a text") => Some("put it in quotes: \"5s\", \"> 0.5\"".to_string()),
            ("a text", "a table") => Some("write its fields in braces, as { url = \"http://host:9100/metrics\" }".into()),
            _ => None,
        };
        return (format!("this is {found}, and has to be {wanted}"), hint);
    }
    // Where one of a few words is wanted.
    if message == "wanted string or table" {
        return ("this has to be a word".into(), Some("put it in quotes, as unit = \"seconds\"".into()));
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return (format!("{name} is missing"), None);
    }
    (message.to_string(), None)
}

pub(super) fn entries<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Entries<T> {
    let DeValue::Table(table) = value.get_ref() else {
        findings.error(value.span(), "this must be a table of named entries", None);
        return Entries::new();
    };
    let mut out = Entries::new();
    for (key, value) in table.iter() {
        if key.get_ref().trim().is_empty() {
            findings.error(key.span(), "this has no name", Some("write one between the quotes, of letters, digits and _".into()));
        }
        match entry_at(findings, value, &key.span()) {
            Some(found) => drop(out.insert(key.get_ref().as_ref().into(), (found, key.span()))),
            None => findings.lost(key.get_ref()),
        }
    }
    out
}

/// The keys of each entry of a section.
pub(super) fn keys_of(section: &'static str, value: &Spanned<DeValue<'_>>, keys: &mut Keys) {
    let DeValue::Table(table) = value.get_ref() else { return };
    for (name, entry) in table.iter() {
        if let DeValue::Table(entry) = entry.get_ref() {
            let found = entry.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
            keys.insert((section, name.get_ref().as_ref().into()), found);
        }
    }
}

pub(super) fn list<T: DeserializeOwned>(findings: &mut Findings, value: &Spanned<DeValue<'_>>) -> Vec<T> {
    let DeValue::Array(array) = value.get_ref() else {
        findings.error(value.span(), "this must be a list: write [[boards]]", None);
        return Vec::new();
    };
    array.iter().filter_map(|value| entry(findings, value)).collect()
}
