//! What every command has in common that begins a run: the plan is shown, somebody confirms it, and the run is followed.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::command_error::{CommandError, CommandResult};
use super::follow::{FollowOutput, follow};
use crate::backend::Operations;
use crate::base::exit;
use crate::plan::runbook::{Confirmation, Plan};

#[derive(Debug, Args)]
pub struct BeginArgs {
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
    /// Print JSON: with --dry-run the plan, otherwise how the run ended.
    #[arg(long)]
    pub json: bool,
}

/// Shows a plan, lets it be confirmed, begins it, and follows the run.
pub fn begin(operations: &mut Operations, plan: &Plan, args: &BeginArgs) -> CommandResult {
    if args.dry_run {
        if args.json {
            say!("{}", serde_json::to_string_pretty(plan).unwrap_or_default());
        } else {
            say!("{}", plan.lines().join("\n"));
        }
        return Ok(exit::DONE);
    }
    operations.permit(plan)?;
    confirm(args.confirm.as_deref(), plan)?;
    let id = operations.begin(plan)?;
    if let Some(remark) = operations.take_remark() {
        eprintln!("warning: {remark}");
    }
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
fn confirm(said: Option<&str>, plan: &Plan) -> Result<(), CommandError> {
    let environment = &plan.content.environment.name;
    if let Some(said) = said {
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
    // The plan may be longer than the screen is high.
    for warning in &plan.content.warnings {
        eprintln!("warning: {warning}");
    }
    let what = &plan.content.title;
    eprint!("{what}, on {environment}: type {wanted} to run it; anything else leaves everything as it is: ");
    let _ = std::io::stderr().flush();
    // What was typed before the plan stood here confirms nothing.
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    let mut said = String::new();
    let read = std::io::stdin().lock().read_line(&mut said);
    if read.is_ok() && said.trim() == wanted { Ok(()) } else { Err(CommandError::refused("not confirmed: nothing was done")) }
}
