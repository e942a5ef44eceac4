//! Switches of a canary's traffic, one a file. Each observes what the share is and sets it; that a switch said yes is not
//! taken for its having turned.

mod command;
mod file;
mod haproxy;
mod http;
mod kubectl;

use std::time::Duration;

use tokio::time::timeout;

use crate::base::clock::Clock;
use crate::base::secret::sanitize;
use crate::base::units::short;
use crate::observe::reading::{Fault, FaultKind};
use crate::plan::runbook::{Observation, Scale, Seen, Switch, SwitchKind, Weight};

/// Why a switch was not turned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSet {
    pub message: String,
    /// Whether it may have turned all the same, or in part.
    pub touched: bool,
}

impl NotSet {
    fn before(message: impl Into<String>) -> NotSet {
        NotSet { message: message.into(), touched: false }
    }

    /// A fault of whoever was asked: what never reached it did nothing.
    fn of(fault: &Fault) -> NotSet {
        let never = matches!(fault.kind, FaultKind::Tls | FaultKind::Local | FaultKind::Query | FaultKind::Auth)
            || fault.message.starts_with("cannot reach");
        NotSet { message: fault.message.clone(), touched: !never }
    }
}

/// Looks what the canary's share is. Comes back within the switch's own time.
pub async fn observe(switch: &Switch, clock: &Clock) -> Observation {
    let places = match &switch.kind {
        SwitchKind::Http { endpoint, read, .. } => vec![(endpoint.shown(), http::observe(switch, endpoint, read).await)],
        SwitchKind::Command { get, pointer, scale, .. } => {
            let place = get.first().cloned().unwrap_or_default();
            vec![(place, command::observe(switch, get, pointer.as_deref(), *scale).await)]
        }
        SwitchKind::Haproxy { addresses, backend } => haproxy::observe(switch, addresses, backend).await,
        SwitchKind::File { path, read: None, template, .. } => vec![(path.display().to_string(), file::observe(switch, path, template))],
        SwitchKind::File { read: Some((endpoint, read)), .. } => {
            vec![(endpoint.shown(), http::observe(switch, endpoint, read).await)]
        }
        SwitchKind::Kubectl(kube) => vec![(format!("{}/{}", kube.resource.word(), kube.name), kubectl::observe(switch, kube).await)],
    };
    let cleaned = places.into_iter().map(|(place, seen)| {
        let seen = seen.and_then(sound).map_err(|fault| sanitize(&fault.message));
        (place, seen.map(|seen| Seen { note: sanitize(&seen.note), ..seen }))
    });
    Observation { at: clock.now(), places: cleaned.collect() }
}

/// A share is a number from 0 to 100, and nothing else is one.
fn sound(seen: Seen) -> Result<Seen, Fault> {
    match (0.0..=100.0).contains(&seen.weight) {
        true => Ok(seen),
        false => Err(Fault::new(FaultKind::Garbage, format!("{} is no share of the traffic in per cent", seen.weight))),
    }
}

/// Asks for a share. That it was asked for is all that is known when this comes back.
///
/// # Errors
/// Why it was not, or not everywhere.
pub async fn set(switch: &Switch, weight: Weight) -> Result<String, NotSet> {
    match &switch.kind {
        SwitchKind::Http { endpoint, method, path, body, .. } => http::set(switch, endpoint, method, (path, body), weight).await,
        SwitchKind::Command { set, .. } => command::set(switch, set, weight).await,
        SwitchKind::Haproxy { addresses, backend } => haproxy::set(switch, addresses, backend, weight).await,
        SwitchKind::File { path, template, check, reload, .. } => file::set(switch, path, template, (check, reload), weight).await,
        SwitchKind::Kubectl(kube) => kubectl::set(switch, kube, weight).await,
    }
}

/// A number in JSON, or in a text, as a share in per cent.
fn share(value: &serde_json::Value, scale: Scale) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().trim_end_matches('%').trim_end().parse().ok())?;
    Some(scale.percent(number))
}

/// Waits so long and no longer.
async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Fault::new(FaultKind::Timeout, format!("{what} did not answer within {}", short(limit)))),
    }
}
