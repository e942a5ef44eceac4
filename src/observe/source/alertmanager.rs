//! Alertmanager: the alerts as it holds them, with those that a silence or an inhibition keeps quiet marked so.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::prometheus::{clean, describe};
use super::web::{Web, another_service, json, status_fault};
use super::{Answer, Boxed, Client, not_understood};
use crate::base::clock::Stamp;
use crate::base::secret::sanitize;
use crate::observe::reading::{Alert, AlertState, Ask, Fault, Value};

pub struct Alertmanager {
    web: Web,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raised {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: String,
    status: AlertStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertStatus {
    state: String,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    id: String,
    created_by: String,
    comment: String,
    ends_at: String,
}

impl Alertmanager {
    pub fn new(web: Web) -> Alertmanager {
        Alertmanager { web }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let response = self.web.send(self.web.get(path)?).await?;
        match json(&response.body) {
            Ok(answer) if response.status.is_success() => Ok(answer),
            _ if response.status.is_success() || response.status == 404 => Err(another_service("an Alertmanager", &response)),
            _ => Err(status_fault(response.status, &response.text())),
        }
    }

    async fn alerts(&self) -> Result<Answer, Fault> {
        let raised: Vec<Raised> = self.get("api/v2/alerts").await?;
        let silences: Vec<Silence> =
            if raised.iter().any(|a| !a.status.silenced_by.is_empty()) { self.get("api/v2/silences").await? } else { Vec::new() };
        let mut alerts: Vec<Alert> = raised.iter().map(|one| self.alert(one, &silences)).collect();
        alerts.sort_by(|a, b| (a.state, &a.name, &a.text).cmp(&(b.state, &b.name, &b.text)));
        Ok(Answer::now(Value::Alerts(alerts)))
    }

    fn alert(&self, one: &Raised, silences: &[Silence]) -> Alert {
        let mut text = describe(&one.labels, &one.annotations);
        if let Some(silence) = silences.iter().find(|s| one.status.silenced_by.contains(&s.id)) {
            let until = Stamp::parse(&silence.ends_at).map_or_else(|| "?".into(), Stamp::hm);
            text = sanitize(&format!("silenced by {} until {until}: {} · {text}", silence.created_by, silence.comment));
        } else if !one.status.inhibited_by.is_empty() {
            text = format!("inhibited by another alert · {text}");
        }
        Alert {
            name: sanitize(one.labels.get("alertname").map_or("?", String::as_str)),
            labels: clean(&one.labels),
            state: if one.status.state == "suppressed" { AlertState::Silenced } else { AlertState::Firing },
            severity: sanitize(one.labels.get("severity").map_or("", String::as_str)),
            since: Stamp::parse(&one.starts_at).map(|at| Stamp(at.0 - self.web.skew())),
            text,
        }
    }
}

impl Client for Alertmanager {
    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            match ask {
                Ask::Alerts => self.alerts().await,
                other => Err(not_understood(other)),
            }
        })
    }

    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move { self.alerts().await.map(drop) })
    }

    fn skew(&self) -> i64 {
        self.web.skew()
    }
}
