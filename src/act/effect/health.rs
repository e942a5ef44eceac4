//! Health checks: every target is asked, one after the other named in the answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Act, Context, Invocation, Outcome, OutputLog};
use crate::base::units::short;
use crate::observe::source::{Boxed, Web};
use crate::plan::runbook::{HealthCheck, HealthTarget};

impl Act for HealthCheck {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(check(context, &self.targets, invocation.limit(), log))
    }
}

async fn check(context: &Context, targets: &[HealthTarget], limit: Duration, log: &mut OutputLog) -> Outcome {
    let answers = join_all(targets.iter().map(|target| ask(context, target, limit))).await;
    let (mut failed, mut certain) = (Vec::new(), true);
    for (target, answer) in targets.iter().zip(answers) {
        match answer {
            Ok(words) => log.say(&format!("{}: {words}", target.address.path)),
            Err((words, known)) => {
                certain &= known;
                log.say(&format!("{}: {words}", target.address.path));
                failed.push(format!("{}: {words}", target.address.service.as_deref().unwrap_or(&target.address.path)));
            }
        }
    }
    match failed.as_slice() {
        [] => Outcome::done(format!("{} of {} healthy", targets.len(), targets.len()), false),
        some => Outcome::failed_or_otherwise(some.join("; "), false, certain),
    }
}

/// The words of an answer; of a failure, and whether it is known that the target is not well.
async fn ask(context: &Context, target: &HealthTarget, limit: Duration) -> Result<String, (String, bool)> {
    let timeout = target.within.unwrap_or(limit).min(limit);
    let unknown = |words: String| (words, false);
    let web = Web::new(context.endpoint(&target.address, timeout).map_err(unknown)?);
    let begun = Instant::now();
    let request = web.get("").map_err(|f| unknown(f.message))?;
    let answer = web.send(request).await.map_err(|f| unknown(f.message))?;
    let took = begun.elapsed();
    if answer.status.as_u16() != target.status {
        let known = super::http::is_an_answer(answer.status.as_u16());
        return Err((format!("answered {}, wanted {}", answer.status.as_u16(), target.status), known));
    }
    match target.within {
        Some(within) if took > within => Err((format!("took {}, wanted within {}", short(took), short(within)), true)),
        _ => Ok(format!("{} in {}", answer.status.as_u16(), short(took))),
    }
}
