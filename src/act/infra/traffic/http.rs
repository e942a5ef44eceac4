//! A switch behind a request: the body is a template, the share is read back by a JSON pointer.

use super::{NotSet, share};
use crate::base::endpoint::Endpoint;
use crate::base::text::fit;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Web, status_fault, web_json};
use crate::plan::runbook::{ReadBack, Seen, Switch, Weight};

fn web(switch: &Switch, endpoint: &Endpoint) -> Web {
    Web::new(Endpoint { timeout: switch.timeout, ..endpoint.clone() })
}

pub async fn observe(switch: &Switch, endpoint: &Endpoint, read: &ReadBack) -> Result<Seen, Fault> {
    let web = web(switch, endpoint);
    let answer = web.send(web.get(&read.path)?).await?;
    if !answer.status.is_success() {
        return Err(status_fault(answer.status, &answer.text()));
    }
    let json: serde_json::Value = web_json(&answer.body)?;
    let found = json.pointer(&read.pointer);
    let weight = found.and_then(|value| share(value, read.scale)).ok_or_else(|| {
        let found = found.map_or_else(|| "nothing".into(), ToString::to_string);
        Fault::new(FaultKind::Garbage, format!("{} has {found} at {}, and no share", read.path, read.pointer))
    })?;
    Ok(Seen::of(weight))
}

pub async fn set(switch: &Switch, endpoint: &Endpoint, method: &str, (path, body): (&str, &str), weight: Weight) -> Result<String, NotSet> {
    let (path, body) = switch.render(path, weight).and_then(|path| Ok((path, switch.render(body, weight)?))).map_err(NotSet::before)?;
    let web = web(switch, endpoint);
    let request = web.request(method, &path).map_err(|fault| NotSet::of(&fault))?;
    let request = if body.trim().is_empty() { request } else { request.header("Content-Type", "application/json").body(body) };
    let answer = web.send(request).await.map_err(|fault| NotSet::of(&fault))?;
    let status = answer.status.as_u16();
    if answer.status.is_success() {
        return Ok(format!("answered {status}"));
    }
    // An answer that refuses did nothing; one that broke may have.
    let said = answer.text();
    Err(NotSet { message: format!("answered {status}: {}", fit(said.trim(), 200)), touched: answer.status.is_server_error() })
}
