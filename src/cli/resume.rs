//! `lastgreen resume`: a paused or interrupted run goes on.

use clap::Args;

use super::command_error::CommandResult;
use super::follow::{FollowOutput, follow};
use crate::backend::Operations;
use crate::base::exit;

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// An id, its beginning or end, or `last`.
    #[arg(default_value = "last")]
    pub run: String,
    /// Do not stay to look.
    #[arg(long)]
    pub detach: bool,
}

pub fn resume(args: &ResumeArgs, operations: &mut Operations) -> CommandResult {
    let id = operations.find_open(&args.run)?;
    operations.resume(&id)?;
    if args.detach {
        say!("{id}");
        return Ok(exit::DONE);
    }
    follow(operations, &id, FollowOutput::Text)
}
