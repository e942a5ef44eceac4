//! A switch behind programs: one sets the share, one prints it.

use super::{NotSet, share};
use crate::act::infra::command::run;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::web_json;
use crate::plan::runbook::{Scale, Seen, Switch, Weight};

pub async fn observe(switch: &Switch, get: &[String], pointer: Option<&str>, scale: Scale) -> Result<Seen, Fault> {
    let local = |e: String| Fault::new(FaultKind::Local, e);
    let printed = run(switch.argv(get, 0).map_err(local)?, switch.timeout).await?;
    let value = match pointer {
        Some(pointer) => {
            let json: serde_json::Value = web_json(printed.as_bytes())?;
            json.pointer(pointer).cloned().unwrap_or_default()
        }
        None => printed.trim().into(),
    };
    let weight = share(&value, scale).ok_or_else(|| {
        let whose = pointer.map_or_else(|| "it printed".into(), |pointer| format!("at {pointer} it has"));
        Fault::new(FaultKind::Garbage, format!("{whose} {value}, and no share of the traffic"))
    })?;
    Ok(Seen::of(weight))
}

pub async fn set(switch: &Switch, set: &[String], weight: Weight) -> Result<String, NotSet> {
    let argv = switch.argv(set, weight).map_err(NotSet::before)?;
    match run(argv, switch.within).await {
        Ok(printed) => Ok(printed.lines().last().unwrap_or("").trim().to_string()),
        // What it did before it ended nobody knows.
        Err(fault) => Err(NotSet { touched: !fault.message.starts_with("cannot start"), message: fault.message }),
    }
}
