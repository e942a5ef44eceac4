//! Gates: every check is looked at, also behind one that fails, so that all that is wrong is known at once.

use std::time::Duration;

use serde_json::json;

use super::{Act, Context, Invocation, Outcome, OutputLog, look_once};
use crate::act::infra::gate::look;
use crate::base::secret::sanitize;
use crate::observe::source::Boxed;
use crate::plan::deploy::{GateAnswer, GateVerdict, Judged};
use crate::plan::runbook::{Check, Gate, GateKind, GateStep, Output};

/// How long one check may take.
const CHECKING: Duration = Duration::from_secs(600);

impl Act for GateStep {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let gates: Vec<&Gate> = context.settings.all_gates().iter().filter(|gate| self.gates.contains(&gate.name)).collect();
            if gates.len() < self.gates.len() {
                return Outcome::failed("a gate is not there any more", false);
            }
            let answers = look_at_gates(context, &gates, invocation.limit().min(CHECKING), &mut |answer| {
                log.say(&format!("{:7}  {}  {}", word(answer.verdict), answer.check, answer.words));
            })
            .await;
            concluded(&answers)
        })
    }
}

/// Looks at every check of the gates; each answer is told as it comes.
pub async fn look_at_gates(
    context: &Context,
    gates: &[&Gate],
    limit: Duration,
    told: &mut (dyn FnMut(&GateAnswer) + Send),
) -> Vec<GateAnswer> {
    let mut answers = Vec::new();
    for gate in gates {
        for check in &gate.checks {
            let (verdict, words) = match &check.kind {
                GateKind::Signals(checks) => by_signals(context, checks).await,
                kind => look(kind, limit, context.clock.now()).await.unwrap_or((GateVerdict::Unknown, String::new())),
            };
            let answer = GateAnswer { gate: gate.name.clone(), check: check.name.clone(), verdict, words: sanitize(&words) };
            told(&answer);
            answers.push(answer);
        }
    }
    answers
}

async fn by_signals(context: &Context, checks: &[Check]) -> Judged {
    let outcome = look_once(context, checks).await;
    let verdict = match outcome.ended {
        super::Ended::Done => GateVerdict::Pass,
        super::Ended::Otherwise => GateVerdict::Fail,
        _ => GateVerdict::Unknown,
    };
    (verdict, outcome.message)
}

pub fn word(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Pass => "pass",
        GateVerdict::Warn => "WARN",
        GateVerdict::Unknown => "UNKNOWN",
        GateVerdict::Fail => "FAIL",
    }
}

fn concluded(answers: &[GateAnswer]) -> Outcome {
    let worst = answers.iter().map(|answer| answer.verdict).max().unwrap_or(GateVerdict::Pass);
    let named = |wanted: GateVerdict| {
        let of = answers.iter().filter(|answer| answer.verdict == wanted);
        of.map(|answer| format!("{}: {}", answer.check, answer.words)).collect::<Vec<_>>().join("; ")
    };
    let output = Output { text: word(worst).into(), json: json!(answers) }.bounded();
    match worst {
        GateVerdict::Pass if answers.is_empty() => Outcome::done("no gate is configured", false),
        GateVerdict::Pass => Outcome::done(format!("{} checks pass", answers.len()), false),
        GateVerdict::Warn => Outcome::done(format!("{} checks pass, with a warning: {}", answers.len(), named(GateVerdict::Warn)), false),
        GateVerdict::Unknown => Outcome::failed(format!("not known: {}", named(GateVerdict::Unknown)), false),
        GateVerdict::Fail => Outcome::otherwise(named(GateVerdict::Fail), false),
    }
    .with(output)
}
