//! `lastgreen attach`: look on, answer, or pause.

use clap::Args;

use super::command_error::{CommandError, CommandResult};
use super::follow::{FollowOutput, follow};
use crate::act::runner::ControlRequest;
use crate::backend::Operations;
use crate::base::exit;
use crate::plan::runbook::{Choice, Phase};

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// An id, its beginning or end, or `last`.
    #[arg(default_value = "last")]
    pub run: String,
    /// Answer what it asks: done, failed, skip, again, rollback, stop.
    #[arg(long, value_name = "ANSWER")]
    pub answer: Option<String>,
    /// A note that stands in the record beside the answer.
    #[arg(long, requires = "answer", default_value = "")]
    pub note: String,
    /// Print its records and how far it is as JSON, a line each, and at the end how it ended.
    #[arg(long, conflicts_with_all = ["answer", "pause"])]
    pub json: bool,
    /// Pause it after the current step.
    #[arg(long, conflicts_with = "answer")]
    pub pause: bool,
}

pub fn attach(args: &AttachArgs, operations: &mut Operations) -> CommandResult {
    let id = operations.find_open(&args.run)?;
    match (&args.answer, args.pause) {
        (Some(word), _) => answer(operations, &id, word, &args.note)?,
        (None, true) => operations.tell(&id, &ControlRequest::Pause)?,
        (None, false) => return follow(operations, &id, if args.json { FollowOutput::JsonLines } else { FollowOutput::Text }),
    }
    Ok(exit::DONE)
}

fn answer(operations: &mut Operations, id: &str, word: &str, note: &str) -> Result<(), CommandError> {
    let line = operations.line(id)?;
    let Phase::Waiting { question } = line.run.phase.clone() else {
        return Err(CommandError::refused(format!("run {id} asks nothing now")));
    };
    let all: Vec<&str> = question.choices.iter().map(|c| c.word()).collect();
    let choice = Choice::parse(word).filter(|c| question.choices.contains(c));
    let choice = choice.ok_or_else(|| CommandError::usage(format!("`{word}` is no answer to this: {}", all.join(", "))))?;
    Ok(operations.tell(id, &ControlRequest::Answer { asked: line.run.asked, step: question.step, choice, note: note.into() })?)
}
