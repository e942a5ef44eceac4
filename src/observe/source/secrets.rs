//! Secrets as clients need them: fetched off the sources' threads, within a time, and kept for a short while, because a
//! command may be slow and a request must not cost a process.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::base::secret::{Secret, SecretRef};
use crate::observe::reading::{Fault, FaultKind};

/// How long a fetched value is used: a rotated secret is noticed after this.
const KEPT: Duration = Duration::from_secs(30);
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);

static FETCHED: LazyLock<Mutex<HashMap<SecretRef, (Instant, Secret)>>> = LazyLock::new(Default::default);

/// The value behind a reference.
///
/// # Errors
/// Names the reference and what went wrong.
pub async fn fetch(reference: &SecretRef) -> Result<Secret, Fault> {
    let local = |what: String| Fault::new(FaultKind::Local, what);
    if let Some((at, secret)) = FETCHED.lock().unwrap_or_else(|p| p.into_inner()).get(reference)
        && at.elapsed() < KEPT
    {
        return Ok(secret.clone());
    }
    let asked = reference.clone();
    let fetching = tokio::task::spawn_blocking(move || asked.fetch());
    let secret = match tokio::time::timeout(PATIENCE, fetching).await {
        Ok(Ok(fetched)) => fetched.map_err(local)?,
        Ok(Err(_)) => return Err(local(format!("fetching the secret {reference} ended in a panic"))),
        Err(_) => return Err(local(format!("the secret {reference} did not come within {}", crate::base::units::short(PATIENCE)))),
    };
    FETCHED.lock().unwrap_or_else(|p| p.into_inner()).insert(reference.clone(), (Instant::now(), secret.clone()));
    Ok(secret)
}
