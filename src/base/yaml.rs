//! Reading YAML with places: a document's fields are taken one by one, every mistake is kept with its line, and what
//! nobody asked for is reported with the nearest name that exists.

use std::time::Duration;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::Event;
use serde_json::Value as Json;

use crate::base::diag::{Findings, suggestion};
use crate::base::units;

/// A text and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub text: String,
    pub at: usize,
}

/// The deepest nesting taken: a runbook needs six.
const DEEPEST: usize = 32;

/// Where the lines of a file begin, among all that is read.
pub struct LineIndex {
    begins: usize,
    text: String,
    starts: Vec<usize>,
}

impl LineIndex {
    pub fn new(begins: usize, text: &str) -> LineIndex {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        LineIndex { begins, text: text.to_string(), starts }
    }

    /// The byte offset of a line (from 1) and a column (in characters, from 0).
    fn offset(&self, line: usize, column: usize) -> usize {
        let Some(start) = self.starts.get(line.saturating_sub(1)) else { return self.begins + self.text.len() };
        let rest = &self.text[*start..];
        let inside = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        self.begins + start + inside
    }

    /// Where a text stands that was read behind `from`: its first line is looked for, quotes and folding apart.
    pub fn find(&self, from: usize, text: &str) -> usize {
        let first = text.trim().lines().next().unwrap_or("").trim();
        let behind = self.text.get(from.saturating_sub(self.begins)..).unwrap_or("");
        if first.is_empty() { from } else { behind.find(first).map_or(from, |at| from + at) }
    }

    /// Where a line begins.
    pub fn line(&self, line: usize) -> usize {
        self.offset(line, 0)
    }

    fn of(&self, node: &MarkedYaml<'_>) -> usize {
        self.offset(node.span.start.line(), node.span.start.col())
    }

    /// A scalar as it was written: a version `1.10` is no number.
    fn scalar(&self, node: &MarkedYaml<'_>) -> Option<String> {
        if let YamlData::Value(Scalar::Integer(_) | Scalar::FloatingPoint(_)) = &node.data {
            let (start, end) = (self.of(node) - self.begins, self.offset(node.span.end.line(), node.span.end.col()) - self.begins);
            let raw = self.text.get(start..end).map(str::trim).filter(|raw| !raw.is_empty() && !raw.contains(char::is_whitespace));
            if let Some(raw) = raw {
                return Some(raw.to_string());
            }
        }
        scalar_text(node)
    }
}

/// Parses a text into its one document; what is wrong goes into the findings. `wanted` is what an empty file lacks.
pub fn parse<'t>(findings: &mut Findings, lines: &LineIndex, text: &'t str, wanted: &str) -> Option<MarkedYaml<'t>> {
    // What walks the tree does it by recursion.
    if let Some(at) = too_deep(lines, text) {
        findings.error(at..at, format!("nested more than {DEEPEST} deep"), None);
        return None;
    }
    match MarkedYaml::load_from_str(text) {
        Ok(documents) => {
            let mut documents = documents.into_iter();
            let first = documents.next();
            if documents.next().is_some() {
                findings.error(lines.begins..lines.begins, "this file holds more than one document", Some("one document a file".into()));
                return None;
            }
            if first.is_none() {
                findings.error(lines.begins..lines.begins, "this file is empty", Some(format!("write {wanted}")));
            }
            first
        }
        Err(e) => {
            let at = lines.offset(e.marker().line(), e.marker().col());
            findings.error(at..at, format!("this is not YAML: {}", e.info()), None);
            None
        }
    }
}

/// Where it goes deeper than anything sensible.
fn too_deep(lines: &LineIndex, text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for event in saphyr_parser::Parser::new_from_str(text) {
        // What is no YAML is said by the loader.
        let (event, span) = event.ok()?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Some(lines.offset(span.start.line(), span.start.col()));
        }
    }
    None
}

/// The fields of a mapping, to be taken one by one; [`Fields::finish`] reports the rest.
pub struct Fields<'y> {
    what: &'static str,
    pub at: usize,
    entries: Vec<(String, usize, &'y MarkedYaml<'y>)>,
    known: Vec<&'static str>,
}

/// What reads a document: its findings and its lines.
pub struct Reader<'f> {
    pub findings: &'f mut Findings,
    pub lines: LineIndex,
}

impl Reader<'_> {
    pub fn error(&mut self, at: usize, cause: impl Into<String>, hint: Option<String>) {
        self.findings.error(at..at, cause, hint);
    }

    pub fn warn(&mut self, at: usize, cause: impl Into<String>, hint: Option<String>) {
        self.findings.warn(at..at, cause, hint);
    }

    pub fn at(&self, node: &MarkedYaml<'_>) -> usize {
        self.lines.of(node)
    }

    /// The node as a mapping.
    pub fn fields<'y>(&mut self, node: &'y MarkedYaml<'y>, what: &'static str) -> Option<Fields<'y>> {
        let at = self.at(node);
        let YamlData::Mapping(map) = &node.data else {
            self.error(at, format!("{what} is written as `key: value` lines"), None);
            return None;
        };
        let mut entries = Vec::new();
        for (key, value) in map {
            match scalar_text(key) {
                Some(name) => entries.push((name, self.at(key), value)),
                None => self.error(self.at(key), "a key is a plain word", None),
            }
        }
        Some(Fields { what, at, entries, known: Vec::new() })
    }

    pub fn text_of(&mut self, node: &MarkedYaml<'_>, what: &str) -> Option<Text> {
        let at = self.at(node);
        match self.lines.scalar(node) {
            Some(text) => Some(Text { text, at }),
            None => {
                self.error(at, format!("`{what}` is a text"), None);
                None
            }
        }
    }

    /// The items of a list; a single value counts as a list of one.
    pub fn items<'y>(&mut self, node: &'y MarkedYaml<'y>) -> Vec<&'y MarkedYaml<'y>> {
        match &node.data {
            YamlData::Sequence(items) => items.iter().collect(),
            YamlData::Value(Scalar::Null) => Vec::new(),
            _ => vec![node],
        }
    }

    pub fn duration_of(&mut self, text: &Text) -> Option<Duration> {
        // A plain number is seconds, as other runbook tools have it.
        if let Ok(seconds) = text.text.parse::<f64>()
            && (0.0..=31_536_000.0).contains(&seconds)
        {
            return Some(Duration::from_secs_f64(seconds));
        }
        match units::duration(&text.text) {
            Ok(duration) => Some(duration),
            Err(e) => {
                self.error(text.at, e, Some("write 30s, 5m or a number of seconds".into()));
                None
            }
        }
    }
}

impl<'y> Fields<'y> {
    /// The node of a key; null counts as absent.
    pub fn node(&mut self, key: &'static str) -> Option<(&'y MarkedYaml<'y>, usize)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (_, at, node) = self.entries.iter().find(|(name, ..)| name == key)?;
        (!matches!(node.data, YamlData::Value(Scalar::Null))).then_some((*node, *at))
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| name == key)
    }

    pub fn text(&mut self, r: &mut Reader, key: &'static str) -> Option<Text> {
        let (node, _) = self.node(key)?;
        r.text_of(node, key)
    }

    /// A text, or an error that it is missing.
    pub fn required(&mut self, r: &mut Reader, key: &'static str, example: &str) -> Option<Text> {
        if self.node(key).is_none() {
            r.error(self.at, format!("{} has no `{key}`", self.what), Some(format!("write {key}: {example}")));
            return None;
        }
        self.text(r, key)
    }

    pub fn string(&mut self, r: &mut Reader, key: &'static str) -> Option<String> {
        self.text(r, key).map(|t| t.text)
    }

    pub fn texts(&mut self, r: &mut Reader, key: &'static str) -> Vec<Text> {
        let Some((node, _)) = self.node(key) else { return Vec::new() };
        r.items(node).into_iter().filter_map(|item| r.text_of(item, key)).collect()
    }

    pub fn strings(&mut self, r: &mut Reader, key: &'static str) -> Vec<String> {
        self.texts(r, key).into_iter().map(|t| t.text).collect()
    }

    pub fn flag(&mut self, r: &mut Reader, key: &'static str) -> Option<bool> {
        let (node, _) = self.node(key)?;
        match &node.data {
            YamlData::Value(Scalar::Boolean(flag)) => Some(*flag),
            _ => {
                let at = r.at(node);
                r.error(at, format!("`{key}` is true or false"), None);
                None
            }
        }
    }

    pub fn integer(&mut self, r: &mut Reader, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (node, _) = self.node(key)?;
        match &node.data {
            YamlData::Value(Scalar::Integer(n)) if range.contains(n) => Some(*n),
            _ => {
                let at = r.at(node);
                r.error(at, format!("`{key}` is a whole number from {} to {}", range.start(), range.end()), None);
                None
            }
        }
    }

    pub fn duration(&mut self, r: &mut Reader, key: &'static str) -> Option<Duration> {
        let text = self.text(r, key)?;
        r.duration_of(&text)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, r: &mut Reader, key: &'static str, all: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(r, key)?;
        let found = all.iter().find(|(word, _)| *word == text.text).map(|(_, value)| *value);
        if found.is_none() {
            let hint = suggestion(&text.text, all.iter().map(|(word, _)| *word));
            r.error(text.at, format!("`{key}` cannot be `{}`", text.text), hint);
        }
        found
    }

    pub fn json(&mut self, key: &'static str) -> Option<Json> {
        self.node(key).map(|(node, _)| json(node))
    }

    pub fn map(&mut self, r: &mut Reader, key: &'static str, what: &'static str) -> Option<Fields<'y>> {
        let (node, _) = self.node(key)?;
        r.fields(node, what)
    }

    pub fn list(&mut self, r: &mut Reader, key: &'static str) -> Vec<&'y MarkedYaml<'y>> {
        match self.node(key) {
            Some((node, _)) => r.items(node),
            None => Vec::new(),
        }
    }

    /// Every entry, for mappings whose keys are names.
    pub fn entries(self) -> Vec<(String, usize, &'y MarkedYaml<'y>)> {
        self.entries
    }

    /// Names of texts, as `env:` has them.
    pub fn pairs(&mut self, r: &mut Reader, key: &'static str) -> Vec<(Text, Text)> {
        let Some(map) = self.map(r, key, "this") else { return Vec::new() };
        let pair = |(name, at, node): (String, usize, &MarkedYaml<'_>)| Some((Text { text: name, at }, r.text_of(node, "value")?));
        map.entries.into_iter().filter_map(pair).collect()
    }

    /// Reports what nobody asked for.
    pub fn finish(self, r: &mut Reader) {
        for (name, at, _) in &self.entries {
            if !self.known.contains(&name.as_str()) {
                r.error(*at, format!("{} has no field `{name}`", self.what), suggestion(name, self.known.iter().copied()));
            }
        }
    }
}

/// A scalar as it reads: numbers and booleans count as texts.
fn scalar_text(node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(n)) => Some(n.to_string()),
        YamlData::Value(Scalar::FloatingPoint(x)) => Some(x.to_string()),
        YamlData::Value(Scalar::Boolean(flag)) => Some(flag.to_string()),
        _ => None,
    }
}

/// A text of one document as JSON, where nobody has to know the places.
///
/// # Errors
/// What is wrong with it.
pub fn to_json(text: &str) -> Result<Json, String> {
    let mut findings = Findings::default();
    let lines = LineIndex::new(0, text);
    let document = parse(&mut findings, &lines, text, "a mapping or a list").map(|node| json(&node));
    document.ok_or_else(|| findings.found.first().map_or_else(|| "it is empty".into(), |finding| finding.cause.clone()))
}

/// The node as JSON.
pub fn json(node: &MarkedYaml<'_>) -> Json {
    match &node.data {
        YamlData::Value(Scalar::Null) => Json::Null,
        YamlData::Value(Scalar::Boolean(flag)) => Json::Bool(*flag),
        YamlData::Value(Scalar::Integer(n)) => Json::from(*n),
        YamlData::Value(Scalar::FloatingPoint(x)) => Json::from(x.into_inner()),
        YamlData::Value(Scalar::String(text)) => Json::from(text.as_ref()),
        YamlData::Sequence(items) => items.iter().map(json).collect(),
        YamlData::Mapping(map) => Json::Object(map.iter().filter_map(|(key, value)| Some((scalar_text(key)?, json(value)))).collect()),
        _ => Json::Null,
    }
}
