//! `lastgreen gate`: named sets of checks, for CI and by hand. Exit code 0 only if every check passes.

use clap::Args;
use serde_json::json;
use tokio::runtime::Runtime;

use super::command_error::{CommandError, CommandResult};
use crate::act::effect::{gate_word, look_at_gates};
use crate::backend::{Operations, acting_context};
use crate::base::clock::Clock;
use crate::base::diag::suggestion;
use crate::base::exit;
use crate::plan::deploy::GateVerdict;
use crate::plan::runbook::Gate;

#[derive(Debug, Args)]
pub struct GateArgs {
    /// The gates; without one, the list of all.
    pub gates: Vec<String>,
    #[arg(long)]
    pub json: bool,
}

/// How long one check may take.
const CHECKING: std::time::Duration = std::time::Duration::from_secs(600);

/// # Errors
/// When there is no such gate.
pub fn gate(args: &GateArgs, operations: &Operations, runtime: &Runtime) -> CommandResult {
    let config = operations.config.clone();
    let all = config.acting.settings.all_gates();
    if args.gates.is_empty() {
        for gate in all {
            say!("{}  {}", gate.name, gate.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", "));
        }
        return Ok(exit::DONE);
    }
    let mut chosen: Vec<&Gate> = Vec::new();
    for name in &args.gates {
        let Some(gate) = all.iter().find(|gate| gate.name == *name) else {
            let hint = suggestion(name, all.iter().map(|gate| gate.name.as_str()));
            return Err(
                CommandError::usage(format!("there is no gate `{name}`")).hint(hint.unwrap_or_else(|| "add [gates.NAME.CHECK]".into()))
            );
        };
        chosen.push(gate);
    }
    let text = !args.json;
    let answers = runtime.block_on(async {
        let context = acting_context(&config, Clock::System);
        look_at_gates(&context, &chosen, CHECKING, &mut |answer| {
            if text {
                say!("{:7}  {}  {}  {}", gate_word(answer.verdict), answer.gate, answer.check, answer.words);
            }
        })
        .await
    });
    let worst = answers.iter().map(|answer| answer.verdict).max().unwrap_or(GateVerdict::Unknown);
    if args.json {
        let document = json!({"passes": worst <= GateVerdict::Warn, "verdict": worst, "answers": answers});
        say!("{}", serde_json::to_string_pretty(&document).unwrap_or_default());
    }
    Ok(if worst <= GateVerdict::Warn { exit::DONE } else { exit::FAILED })
}
