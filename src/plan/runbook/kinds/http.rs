//! `http`: a request with what its answer must be.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::common::{Address, JsonCheck, address, is_condition, plain_pairs, secret_pairs};
use super::{Misfit, Names, StepKind, Uses, services};
use crate::base::secret::SecretRef;
use crate::base::units::Unit;
use crate::base::yaml::{self, Fields, Reader};
use crate::judge::Condition;
use crate::plan::runbook::template::{self, Fill};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    pub address: Address,
    pub method: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_headers: Vec<(String, SecretRef)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    pub status: Vec<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<JsonCheck>,
    pub mutates: bool,
}

impl StepKind for HttpCall {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<HttpCall> {
        let place = address(r, f);
        let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"].map(|m| (m, m));
        let method = f.choice(r, "method", &methods).unwrap_or("GET");
        let mut status: Vec<u16> = Vec::new();
        for key in ["status", "expected_status"] {
            for text in f.texts(r, key) {
                match text.text.parse() {
                    Ok(code @ 100..=599) => status.push(code),
                    _ => r.error(text.at, format!("`{}` is not an HTTP status", text.text), None),
                }
            }
        }
        if status.is_empty() {
            status.extend([200, 201, 202, 204]);
        }
        let mut expect = Vec::new();
        if let Some(map) = f.map(r, "expect", "`expect`") {
            for (pointer, at, node) in map.entries() {
                if !pointer.is_empty() && !pointer.starts_with('/') {
                    r.error(at, format!("`{pointer}` is not a JSON pointer"), Some(format!("write /{}", pointer.replace('.', "/"))));
                }
                let is = yaml::json(node);
                if let Some(text) = is.as_str().filter(|t| is_condition(t) && !template::is_template(t))
                    && let Err(e) = Condition::parse(text, Unit::None)
                {
                    r.error(at, e, None);
                }
                expect.push(JsonCheck { pointer, is });
            }
        }
        let looks = ["GET", "HEAD", "OPTIONS"].contains(&method);
        Some(HttpCall {
            address: place?,
            method: method.into(),
            headers: plain_pairs(r, f, "headers"),
            secret_headers: secret_pairs(r, f, "secret_headers"),
            json: f.json("json"),
            body: f.string(r, "body"),
            status,
            expect,
            mutates: f.flag(r, "mutates").unwrap_or(!looks),
        })
    }

    fn describe(&self) -> String {
        let body = match (&self.json, &self.body) {
            (Some(json), _) => format!(" {json}"),
            (None, Some(body)) => format!(" {body}"),
            (None, None) => String::new(),
        };
        let statuses: Vec<String> = self.status.iter().map(u16::to_string).collect();
        let expect: Vec<String> = self
            .expect
            .iter()
            .map(|c| match &c.is {
                Json::String(text) => format!(", {} {text}", c.pointer),
                other => format!(", {} = {other}", c.pointer),
            })
            .collect();
        format!("{} {}{body} wants {}{}", self.method, self.address.path, statuses.join(" or "), expect.concat())
    }

    fn in_full(&self) -> Vec<String> {
        let headers = self.headers.iter().map(|(name, value)| format!("with {name}={value}"));
        headers.chain(self.secret_headers.iter().map(|(name, secret)| format!("with {name} from {secret}"))).collect()
    }

    fn mutates(&self) -> bool {
        self.mutates
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }

    fn fill(&mut self, fill: &mut Fill) {
        self.address.fill(fill);
        fill.pairs(&mut self.headers);
        self.json.iter_mut().for_each(|json| fill.value(json));
        self.body.iter_mut().for_each(|body| fill.text(body));
        for check in &mut self.expect {
            fill.text(&mut check.pointer);
            fill.value(&mut check.is);
        }
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        names.address(&mut self.address);
    }

    fn secrets(&self) -> Vec<&SecretRef> {
        self.secret_headers.iter().map(|(_, reference)| reference).collect()
    }

    fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        self.secret_headers.iter_mut().map(|(_, reference)| reference).collect()
    }

    fn uses(&self) -> Uses {
        services([&self.address])
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }
}
