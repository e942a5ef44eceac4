//! `lastgreen abort`: a run is ended; what was done is left as it is, or undone.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::command_error::{CommandError, CommandResult};
use super::follow::{FollowOutput, follow};
use crate::backend::Operations;
use crate::base::exit;
use crate::plan::runbook::RunResult;

#[derive(Debug, Args)]
pub struct AbortArgs {
    /// An id, its beginning or end, or `last`.
    #[arg(default_value = "last")]
    pub run: String,
    /// Undo what can be undone, the newest first.
    #[arg(long, conflicts_with = "leave")]
    pub undo: bool,
    /// Leave everything as it is.
    #[arg(long)]
    pub leave: bool,
    /// Why: stands in the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

pub fn abort(args: &AbortArgs, operations: &mut Operations) -> CommandResult {
    let id = &operations.find_open(&args.run)?;
    let line = operations.line(id)?;
    if !line.status().is_open() {
        return Err(CommandError::refused(format!("run {id} is {}: there is nothing to abort", line.status().word())));
    }
    let left = line.run.left_behind(&line.plan);
    eprintln!("aborting {} ({id}) would leave:\n  {}", line.plan.content.title, left.join("\n  "));
    if line.run.is_going_back() {
        eprintln!("it is being undone just now: --leave cuts that off");
    }
    let undo = match (args.undo, args.leave) {
        (true, _) => true,
        (_, true) => false,
        _ if std::io::stdin().is_terminal() => {
            eprint!("Type undo, or leave; anything else lets the run go on: ");
            let _ = std::io::stderr().flush();
            let mut said = String::new();
            let _ = std::io::stdin().lock().read_line(&mut said);
            match said.trim() {
                "undo" => true,
                "leave" => false,
                _ => return Err(CommandError::refused("not aborted")),
            }
        }
        _ => return Err(CommandError::refused("say --undo or --leave")),
    };
    operations.abort(id, undo, &args.reason, line.run.course())?;
    let code = follow(operations, id, FollowOutput::Text)?;
    if code != RunResult::Aborted.exit_code() {
        return Ok(code);
    }
    // In the same moment somebody else may have wanted it otherwise.
    let after = operations.line(id)?;
    let could = !line.run.way_back(&line.plan).is_empty();
    match (undo, after.run.is_undone()) {
        (true, false) if could => Err(CommandError::refused(format!("not everything was undone: {}", after.words()))),
        (false, true) => Err(CommandError::refused("somebody else has aborted it as well: it was undone, and NOT left as it is")),
        _ => Ok(exit::DONE),
    }
}
