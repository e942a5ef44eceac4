//! The shapes an answer can have. Text inside was cleaned where it entered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::base::clock::Stamp;
use crate::base::units::short;

/// One labelled number: a series of a vector, a bucket of a histogram, a row of `label, value`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelledValue {
    pub label: Arc<str>,
    pub value: f64,
}

/// Names that are the same for two get a number: each line is told apart from its fellows.
pub fn distinct<T>(lines: &mut [T], label: impl Fn(&mut T) -> &mut Arc<str>) {
    let mut seen: std::collections::HashMap<Arc<str>, usize> = std::collections::HashMap::new();
    for line in lines {
        let label = label(line);
        let n = seen.entry(label.clone()).or_default();
        *n += 1;
        if *n > 1 {
            *label = format!("{label} #{n}").trim_start().into();
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Columns with moments, shown as ages that go on while nothing new is read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<usize>,
}

impl Table {
    /// The rows as they are shown at a moment.
    pub fn rows_at(&self, now: Stamp) -> impl Iterator<Item = Vec<String>> {
        self.rows.iter().map(move |row| {
            let mut cells = row.clone();
            for column in &self.moments {
                if let Some(cell) = cells.get_mut(*column)
                    && let Some(at) = Stamp::parse(cell)
                {
                    *cell = format!("{} ago", short(now.since(at)));
                }
            }
            cells
        })
    }
}

/// How something that happened ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventOutcome {
    Done,
    Failed,
    Unknown,
}

/// Something that happened: a rollback, a deploy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceEvent {
    pub at: Stamp,
    pub kind: String,
    pub text: String,
    pub outcome: EventOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Firing,
    /// The rule itself fails: whether it would fire nobody knows.
    Unknown,
    Pending,
    Silenced,
    Resolved,
}

/// An alert somebody else raised (Prometheus, Alertmanager).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    pub name: String,
    /// What tells it from others of its name.
    pub labels: BTreeMap<String, String>,
    pub state: AlertState,
    /// As the alert's own `severity` label says; empty without one.
    pub severity: String,
    pub since: Option<Stamp>,
    /// Summary annotation, or the labels.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Number(f64),
    Text(String),
    Lines(Vec<LabelledValue>),
    Table(Table),
    Events(Vec<SourceEvent>),
    Alerts(Vec<Alert>),
}

/// The number or the time (in seconds) that a text is; a number too large to be one is none.
pub fn number_in(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Some(number),
        Ok(_) => None,
        Err(_) => Stamp::parse(text).map(Stamp::seconds),
    }
}

impl Value {
    /// A text as the number it is, where a signal says that it is meant as one.
    #[must_use]
    pub fn meant_as_number(self) -> Value {
        match &self {
            Value::Text(text) => number_in(text).map_or(self, Value::Number),
            _ => self,
        }
    }

    /// The numbers inside, with their labels; a single number has the empty label.
    pub fn lines(&self) -> Vec<LabelledValue> {
        match self {
            Value::Number(value) => vec![LabelledValue { label: "".into(), value: *value }],
            Value::Lines(lines) => lines.clone(),
            Value::Text(_) | Value::Table(_) | Value::Events(_) | Value::Alerts(_) => Vec::new(),
        }
    }

    /// The number, when there is exactly one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(value) => Some(*value),
            Value::Lines(lines) if lines.len() == 1 => Some(lines[0].value),
            _ => None,
        }
    }

    /// Whether the answer says nothing at all. An empty list of alerts or events says "none".
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Number(_) | Value::Events(_) | Value::Alerts(_) => false,
            Value::Text(text) => text.is_empty(),
            Value::Lines(lines) => lines.is_empty(),
            // No rows are an answer; no columns are none.
            Value::Table(table) => table.columns.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_a_table_go_on_while_nothing_is_read() {
        let rows = vec![vec!["a".to_string(), "1970-01-01T00:00:10Z".into()], vec!["b".into(), "none".into()]];
        let table = Table { columns: Vec::new(), rows, moments: vec![1] };
        let at = |now| table.rows_at(Stamp(now)).map(|row| row[1].clone()).collect::<Vec<_>>();
        assert_eq!((at(15_000), at(70_000)), (vec!["5s ago".to_string(), "none".into()], vec!["1m ago".to_string(), "none".into()]));
    }
}
