//! `lastgreen run`: the plan, the question, the runner; and then the run as it goes, for whoever stays.

use clap::Args;

use super::command_error::CommandResult;
use super::confirm::{BeginArgs, begin};
use super::runs::{list_runbooks, runbooks_json};
use crate::backend::{Operations, PlanRequest};
use crate::base::exit;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The runbook's name; without one, the list of all.
    pub runbook: Option<String>,
    /// A value for an input. Repeatable.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub inputs: Vec<(String, String)>,
    #[command(flatten)]
    pub begin: BeginArgs,
    /// Act on a stand-in of the environment: a [targets.NAME] of the configuration.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Try it out: for real, on a target that is not production (the only one there is, or --target).
    #[arg(long)]
    pub drill: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, value)| (name.to_string(), value.to_string())).ok_or_else(|| "write NAME=VALUE".to_string())
}

/// Plans, asks, begins, follows.
pub fn run(args: &RunArgs, operations: &mut Operations) -> CommandResult {
    let Some(name) = &args.runbook else {
        if args.begin.json {
            say!("{}", serde_json::to_string_pretty(&runbooks_json(operations)).unwrap_or_default());
        } else {
            say!("{}", list_runbooks(operations).trim_end());
        }
        return Ok(exit::DONE);
    };
    let plan = operations.plan_runbook(PlanRequest {
        runbook: name.clone(),
        inputs: args.inputs.iter().cloned().collect(),
        reason: args.begin.reason.clone(),
        target: args.target.clone(),
        drill: args.drill,
        ..PlanRequest::default()
    })?;
    begin(operations, &plan, &args.begin)
}
