//! Health checks: every target is asked, one after the other named in the answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Came, Reach, Tap};
use crate::base::units::short;
use crate::runbook::Target;
use crate::source::Web;

pub async fn perform(reach: &Reach, targets: &[Target], limit: Duration, tap: &mut Tap) -> Came {
    let answers = join_all(targets.iter().map(|target| ask(reach, target, limit))).await;
    let mut failed = Vec::new();
    for (target, answer) in targets.iter().zip(answers) {
        match answer {
            Ok(words) => tap.say(&format!("{}: {words}", target.address.path)),
            Err(words) => {
                tap.say(&format!("{}: {words}", target.address.path));
                failed.push(format!("{}: {words}", target.address.service.as_deref().unwrap_or(&target.address.path)));
            }
        }
    }
    match failed.as_slice() {
        [] => Came::well(format!("{} of {} healthy", targets.len(), targets.len()), false),
        some => Came::otherwise(some.join("; "), false),
    }
}

async fn ask(reach: &Reach, target: &Target, limit: Duration) -> Result<String, String> {
    let timeout = target.within.unwrap_or(limit).min(limit);
    let web = Web::new(reach.endpoint(&target.address, timeout)?);
    let begun = Instant::now();
    let request = web.get("").map_err(|f| f.message)?;
    let answer = web.send(request).await.map_err(|f| f.message)?;
    let took = begun.elapsed();
    if answer.status.as_u16() != target.status {
        return Err(format!("answered {}, wanted {}", answer.status.as_u16(), target.status));
    }
    match target.within {
        Some(within) if took > within => Err(format!("took {}, wanted within {}", short(took), short(within))),
        _ => Ok(format!("{} in {}", answer.status.as_u16(), short(took))),
    }
}
