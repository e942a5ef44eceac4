//! `sql`: a query with an expectation, or a statement that is marked as changing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::common::is_condition;
use super::{Misfit, Names, StepKind, Uses};
use crate::base::units::Unit;
use crate::base::yaml::{Fields, Reader};
use crate::judge::Condition;
use crate::plan::runbook::template::{self, Fill};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlCall {
    /// The name of a configured database.
    pub source: String,
    /// Where that is, filled in by the plan.
    #[serde(default)]
    pub place: String,
    pub query: String,
    /// Values for `$1`, `$2` …: never spliced into the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Json>,
    /// Of the one value a query gives, or of the rows a statement changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    pub mutates: bool,
}

impl StepKind for SqlCall {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<SqlCall> {
        let query = f.required(r, "query", "\"SELECT count(*) FROM rag_chunks\"");
        let expect = f.text(r, "expect").map(|text| {
            let condition = if is_condition(&text.text) { text.text.clone() } else { format!("== {}", text.text) };
            if !template::is_template(&condition)
                && let Err(e) = Condition::parse(&condition, Unit::None)
            {
                r.error(text.at, e, Some("write expect: \">= 1\"".into()));
            }
            condition
        });
        let mutates = f.flag(r, "mutates").unwrap_or(false);
        if let Some(query) = &query {
            let said = query.text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("--")).unwrap_or("");
            let said = said.trim_start_matches(['(', ' ']);
            let first = said.split(|c: char| !c.is_alphabetic()).next().unwrap_or("").to_ascii_uppercase();
            if !mutates && !["SELECT", "WITH", "VALUES", "TABLE"].contains(&first.as_str()) {
                let hint = "write mutates: true if it is meant to change something";
                r.error(query.at, format!("`{first}` does not only look"), Some(hint.into()));
            }
            if template::is_template(&query.text) {
                let hint = "write $1 in the query and params: [\"{{ inputs.… }}\"]";
                r.error(query.at, "a value spliced into SQL would be read as SQL", Some(hint.into()));
            }
        }
        let params = match f.json("params") {
            Some(serde_json::Value::Array(items)) => items,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        Some(SqlCall {
            source: f.string(r, "source").unwrap_or_else(|| "database".into()),
            place: String::new(),
            query: query?.text,
            params,
            expect,
            mutates,
        })
    }

    fn describe(&self) -> String {
        let query = self.query.split_whitespace().collect::<Vec<_>>().join(" ");
        let place = if self.place.is_empty() { &self.source } else { &self.place };
        let expect = self.expect.as_ref().map_or_else(String::new, |e| format!(", wants {e}"));
        let params: Vec<String> = self.params.iter().enumerate().map(|(i, v)| format!(", ${} = {v}", i + 1)).collect();
        format!("SQL on {place}: {query}{}{expect}", params.concat())
    }

    fn mutates(&self) -> bool {
        self.mutates
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.text(&mut self.source);
        self.params.iter_mut().for_each(|param| fill.value(param));
        self.expect.iter_mut().for_each(|expect| fill.text(expect));
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        if let Some(place) = names.database(&self.source) {
            self.place = place;
        }
    }

    fn uses(&self) -> Uses {
        Uses { databases: BTreeSet::from([self.source.clone()]), ..Uses::default() }
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        match self.expect {
            Some(_) => Ok(()),
            None => {
                let hint = "write expect: \">= 1\" with a query that counts";
                Err(("an sql probe without `expect` would always say yes".into(), Some(hint.into())))
            }
        }
    }
}
