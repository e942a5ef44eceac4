//! An emergency takes a lease of this host: whoever has it is asked to stop, waited for, and then fenced off.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::control::{ControlRequest, ask};
use crate::base::units::short;
use crate::plan::runbook::is_wider;
use crate::record::journal::{Holder, HostLease, Tried};

/// How long a holder may take to let go for an emergency.
pub(super) const LETS_GO: Duration = Duration::from_secs(10);
/// How often an emergency looks whether it has.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// How long a holder may take to hear that it is to stop.
const HEARS: Duration = Duration::from_secs(2);

/// What came of it.
pub(super) enum Preempted {
    Taken(Box<HostLease>, Vec<(String, bool)>),
    /// Another emergency has it.
    Refused(Box<Holder>),
}

/// Takes a lease of this host from whoever has it.
pub(super) async fn preempt_on_host(
    file: &Path,
    holder: &Holder,
    deadline: Instant,
    ends: &watch::Receiver<bool>,
) -> Result<Preempted, String> {
    let mut asked: Option<(Holder, Result<(), String>)> = None;
    loop {
        let other = match HostLease::take(file, holder.clone())? {
            Tried::Taken(lease, dead) => {
                let mut notes: Vec<(String, bool)> = lease.remark.iter().map(|remark| (remark.clone(), true)).collect();
                notes.extend(asked.map(|(other, _)| (format!("the environment was somebody else's, who let go: {other}"), false)));
                notes.extend(dead.map(|dead| (format!("took the lease over from a run that ended without letting go: {dead}"), false)));
                return Ok(Preempted::Taken(lease, notes));
            }
            Tried::Held(other) => other,
        };
        if let Some(other) = &other
            && asked.as_ref().is_none_or(|(had, _)| had.run != other.run)
        {
            asked = Some((other.clone(), ask_to_stop(other, holder).await));
        }
        // Another emergency says itself whether it gives way, and is not taken from by force; one that has said so to a wider
        // scope is on its way out, and nobody would roll back if that took too long.
        if let Some(emergency) = other.as_ref().filter(|other| other.emergency)
            && (Instant::now() >= deadline && !is_wider(&holder.runbook, &emergency.runbook)
                || asked.as_ref().is_none_or(|(_, answer)| answer.is_err()))
        {
            return Ok(Preempted::Refused(Box::new(emergency.clone())));
        }
        let over = *ends.borrow();
        if Instant::now() >= deadline || over {
            let lease = HostLease::take_over(file, holder.clone())?;
            let heard = match &asked {
                Some((_, Err(e))) => format!(", and could not be told to stop ({e})"),
                _ => String::new(),
            };
            let who = other.map_or_else(|| "a run that names nobody".to_string(), |other| other.to_string());
            let text = format!("TAKEN OVER BY FORCE: it did not let go within {}{heard}: {who}", short(LETS_GO));
            return Ok(Preempted::Taken(Box::new(lease), vec![(text, true)]));
        }
        sleep(LOOK).await;
    }
}

/// Tells the runner that has an environment to stop, where it can be told from here.
async fn ask_to_stop(other: &Holder, ours: &Holder) -> Result<(), String> {
    let folder = other.folder.clone().ok_or("it does not say where its run is")?;
    let request = ControlRequest::Supersede { run: ours.run.clone(), runbook: ours.runbook.clone() };
    let by = ours.by.clone();
    let asking = tokio::task::spawn_blocking(move || ask(&folder, &request, &by, HEARS));
    match asking.await {
        Ok(Ok(reply)) if reply.ok => Ok(()),
        Ok(Ok(reply)) => Err(reply.message.unwrap_or_else(|| "refused".into())),
        Ok(Err(e)) => Err(e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}
