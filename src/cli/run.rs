//! `lastgreen run`: the plan, the question, the runner; and then the run as it goes, for whoever stays.

use std::io::{BufRead, IsTerminal, Write};

use super::args::RunArgs;
use super::attach::follow;
use super::desk::{Desk, Refusal};
use super::exit;
use super::runs::{list_runbooks, runbooks_json};
use crate::runbook::{Confirmation, Plan};

/// Plans, asks, begins, follows. Gives the exit code.
pub fn run(args: &RunArgs, desk: &mut Desk) -> u8 {
    let Some(name) = &args.runbook else {
        if args.json {
            say!("{}", serde_json::to_string_pretty(&runbooks_json(desk)).unwrap_or_default());
        } else {
            say!("{}", list_runbooks(desk).trim_end());
        }
        return exit::DONE;
    };
    let plan = match desk.plan(name, args.inputs.iter().cloned().collect(), args.reason.clone(), args.drill) {
        Ok(plan) => plan,
        Err(refusal) => return complain(&refusal),
    };
    if args.dry_run {
        if args.json {
            say!("{}", serde_json::to_string_pretty(&plan).unwrap_or_default());
        } else {
            say!("{}", plan.lines().join("\n"));
        }
        return exit::DONE;
    }
    if let Err(refusal) = desk.permit(plan.content.danger).and_then(|()| confirm(args, &plan)) {
        return complain(&refusal);
    }
    let id = match desk.begin(&plan) {
        Ok(id) => id,
        Err(refusal) => return complain(&refusal),
    };
    if args.detach {
        say!("{id}");
        return exit::DONE;
    }
    if !args.json {
        let plan = &plan.fingerprint[..12];
        say!("run {id} has begun, plan {plan}; it goes on without this terminal (lastgreen attach {id})");
    }
    follow(desk, &id, args.json)
}

pub fn complain(refusal: &Refusal) -> u8 {
    eprintln!("{}", refusal.words());
    refusal.exit_code()
}

/// What the operator has to say before anything begins.
fn confirm(args: &RunArgs, plan: &Plan) -> Result<(), Refusal> {
    let environment = &plan.content.environment.name;
    if let Some(said) = &args.confirm {
        if said == environment {
            for warning in &plan.content.warnings {
                eprintln!("warning: {warning}");
            }
            return Ok(());
        }
        return Err(Refusal::Refused(format!("--confirm names `{said}`, and this is `{environment}`: nothing was done")));
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Refusal::Refused(format!("nobody is there to ask: say --confirm {environment} (look first with --dry-run)")));
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
    if read.is_ok() && said.trim() == wanted { Ok(()) } else { Err(Refusal::Refused("not confirmed: nothing was done".into())) }
}
