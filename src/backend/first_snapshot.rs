//! A first golden snapshot, for a system that is known to be good when it starts.

use crate::act::infra::snapshot::{Taken, mark_golden, take};
use crate::base::clock::Clock;
use crate::config::Config;
use crate::plan::deploy::Golden;

/// Takes one and marks it golden. Without anything to take it of, nothing is done.
///
/// # Errors
/// Why it could not be taken.
pub async fn first_snapshot(config: &Config, why: &str) -> Result<(), String> {
    let Some(settings) = &config.acting.settings.snapshots else { return Ok(()) };
    let (by, clock) = (super::identity::operator().user, Clock::System);
    let taken = Taken { run: "first", key: "take", by: &by, reason: why, environment: &config.environment.name, safety: false };
    let manifest = take(settings, &taken, &clock, &mut |_| {}).await.map_err(|fault| fault.message)?;
    let golden = Golden { by: by.clone(), at: clock.now(), why: why.into() };
    mark_golden(settings, &manifest, Some(golden)).map(drop).map_err(|e| e.to_string())
}
