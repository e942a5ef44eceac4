//! `lastgreen run`: the plan, the question, the runner; and then the run as it goes, for whoever stays.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::command_error::{CommandError, CommandResult};
use super::follow::{FollowOutput, follow};
use super::runs::{list_runbooks, runbooks_json};
use crate::backend::{Operations, PlanRequest};
use crate::base::exit;
use crate::plan::runbook::{Confirmation, Plan};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The runbook's name; without one, the list of all.
    pub runbook: Option<String>,
    /// A value for an input. Repeatable.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub inputs: Vec<(String, String)>,
    /// Why: stands in the record and in every notice.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print the plan and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Confirm without being asked: the environment's name.
    #[arg(long, value_name = "ENVIRONMENT")]
    pub confirm: Option<String>,
    /// Do not stay to look; the run goes on by itself either way.
    #[arg(long)]
    pub detach: bool,
    /// Act on a stand-in of the environment: a [targets.NAME] of the configuration.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Try it out: for real, on a target that is not production (the only one there is, or --target).
    #[arg(long)]
    pub drill: bool,
    /// Print JSON: with --dry-run the plan, otherwise how the run ended.
    #[arg(long)]
    pub json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, value)| (name.to_string(), value.to_string())).ok_or_else(|| "write NAME=VALUE".to_string())
}

/// Plans, asks, begins, follows.
pub fn run(args: &RunArgs, operations: &mut Operations) -> CommandResult {
    let Some(name) = &args.runbook else {
        if args.json {
            say!("{}", serde_json::to_string_pretty(&runbooks_json(operations)).unwrap_or_default());
        } else {
            say!("{}", list_runbooks(operations).trim_end());
        }
        return Ok(exit::DONE);
    };
    let plan = operations.plan(PlanRequest {
        runbook: name.clone(),
        inputs: args.inputs.iter().cloned().collect(),
        reason: args.reason.clone(),
        target: args.target.clone(),
        drill: args.drill,
    })?;
    if args.dry_run {
        if args.json {
            say!("{}", serde_json::to_string_pretty(&plan).unwrap_or_default());
        } else {
            say!("{}", plan.lines().join("\n"));
        }
        return Ok(exit::DONE);
    }
    operations.permit(&plan)?;
    confirm(args, &plan)?;
    let id = operations.begin(&plan)?;
    if args.detach {
        say!("{id}");
        return Ok(exit::DONE);
    }
    if !args.json {
        let plan = &plan.fingerprint[..12];
        say!("run {id} has begun, plan {plan}; it goes on without this terminal (lastgreen attach {id})");
    }
    follow(operations, &id, if args.json { FollowOutput::LastJson } else { FollowOutput::Text })
}

/// What the operator has to say before anything begins.
fn confirm(args: &RunArgs, plan: &Plan) -> Result<(), CommandError> {
    let environment = &plan.content.environment.name;
    if let Some(said) = &args.confirm {
        if said == environment {
            for warning in &plan.content.warnings {
                eprintln!("warning: {warning}");
            }
            return Ok(());
        }
        return Err(CommandError::refused(format!("--confirm names `{said}`, and this is `{environment}`: nothing was done")));
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(CommandError::refused(format!("nobody is there to ask: say --confirm {environment} (look first with --dry-run)")));
    }
    eprintln!("{}\n", plan.lines().join("\n"));
    let wanted = match plan.confirmation() {
        Confirmation::Key => "y".to_string(),
        Confirmation::Type(text) => text,
    };
    eprint!("Type {wanted} to run it on {environment}; anything else leaves everything as it is: ");
    let _ = std::io::stderr().flush();
    // What was typed before the plan stood here confirms nothing.
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    let mut said = String::new();
    let read = std::io::stdin().lock().read_line(&mut said);
    if read.is_ok() && said.trim() == wanted { Ok(()) } else { Err(CommandError::refused("not confirmed: nothing was done")) }
}
