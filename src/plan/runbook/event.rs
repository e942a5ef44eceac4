//! What a journal can say. Written once, read for ever: fields are added, never renamed.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::model::Danger;
use crate::base::clock::Stamp;
use crate::base::exit;

/// Who does something: the person behind the account, as far as it can be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The person: who logged in, also behind `sudo`.
    pub user: String,
    /// The account it runs as, when that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acting_as: Option<String>,
    pub host: String,
    /// Where the SSH connection came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)?;
        if let Some(account) = &self.acting_as {
            write!(f, " as {account}")?;
        }
        if let Some(from) = &self.ssh {
            write!(f, " from {from}")?;
        }
        Ok(())
    }
}

/// The process that drives a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    pub host: String,
    pub pid: u32,
    /// Where that number means something: the boot of the machine, and the world of processes on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Done,
    Failed,
    Skipped,
    /// Ended by an abort in the middle.
    Interrupted,
}

impl StepResult {
    pub fn word(self) -> &'static str {
        match self {
            StepResult::Done => "done",
            StepResult::Failed => "failed",
            StepResult::Skipped => "skipped",
            StepResult::Interrupted => "interrupted",
        }
    }
}

/// What a step gave for later ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub json: Json,
}

/// The most that a record carries of a step's output, in bytes.
const MOST: usize = 64 << 10;

impl Output {
    /// Without what is too long for a record.
    pub fn bounded(mut self) -> Output {
        if self.json.to_string().len() > MOST {
            self.json = Json::Null;
        }
        let extra = self.text.len().saturating_sub(MOST);
        self.text.drain(..self.text.ceil_char_boundary(extra));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// A manual step.
    Manual,
    /// Started once, and nobody knows how it ended.
    Unknown,
    /// A step has failed.
    Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    Done,
    Failed,
    Skip,
    Again,
    Rollback,
    Stop,
}

impl Choice {
    pub const ALL: [Choice; 6] = [Choice::Done, Choice::Failed, Choice::Skip, Choice::Again, Choice::Rollback, Choice::Stop];

    pub fn word(self) -> &'static str {
        match self {
            Choice::Done => "done",
            Choice::Failed => "failed",
            Choice::Skip => "skip",
            Choice::Again => "again",
            Choice::Rollback => "rollback",
            Choice::Stop => "stop",
        }
    }

    /// What it means for a question.
    pub fn doc(self) -> &'static str {
        match self {
            Choice::Done => "it is done: go on",
            Choice::Failed => "it has failed",
            Choice::Skip => "leave it out and go on",
            Choice::Again => "do it again",
            Choice::Rollback => "roll back",
            Choice::Stop => "end the run here",
        }
    }

    pub fn parse(word: &str) -> Option<Choice> {
        Choice::ALL.into_iter().find(|choice| choice.word() == word)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorQuestion {
    pub step: String,
    pub kind: QuestionKind,
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<String>,
    pub choices: Vec<Choice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    Done,
    Failed,
    RolledBack,
    Aborted,
    /// Nothing was done: a guard, a lock, a permission.
    Refused,
}

impl RunResult {
    pub fn word(self) -> &'static str {
        match self {
            RunResult::Done => "done",
            RunResult::Failed => "failed",
            RunResult::RolledBack => "rolled back",
            RunResult::Aborted => "aborted",
            RunResult::Refused => "refused",
        }
    }

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            RunResult::Done => exit::DONE,
            RunResult::Failed => exit::RUN_FAILED,
            RunResult::RolledBack => exit::ROLLED_BACK,
            RunResult::Aborted => exit::ABORTED,
            RunResult::Refused => exit::REFUSED,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first record of every journal.
    Started {
        runbook: String,
        title: String,
        fingerprint: String,
        environment: String,
        tier: String,
        danger: Danger,
        #[serde(default)]
        drill: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        by: Operator,
        runner: Runner,
    },
    /// A new runner took the run over.
    Resumed {
        by: Operator,
        runner: Runner,
        /// Bytes of a torn last line that were cut off.
        #[serde(default)]
        cut: u64,
    },
    /// The intent: on disk before anything is done.
    StepStarted {
        step: String,
        attempt: u32,
        what: String,
    },
    StepProbed {
        step: String,
        /// Whether it is already so; `None`: the probe could not tell.
        already: Option<bool>,
        message: String,
    },
    StepFinished {
        step: String,
        outcome: StepResult,
        message: String,
        /// Whether the world may be different now.
        touched: bool,
        #[serde(default)]
        took_ms: u64,
        #[serde(default)]
        output: Output,
    },
    Asked {
        question: OperatorQuestion,
    },
    Answered {
        step: String,
        choice: Choice,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
        by: Operator,
    },
    PauseWanted {
        by: Operator,
    },
    Paused {
        why: String,
    },
    Continued {
        by: Operator,
    },
    AbortWanted {
        by: Operator,
        undo: bool,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    RollbackStarted {
        why: String,
        /// Keys of what is going to be done, in order.
        steps: Vec<String>,
    },
    /// Something to know: a lock taken over, a database that could not be locked.
    Noted {
        text: String,
        #[serde(default)]
        loud: bool,
    },
    Ended {
        result: RunResult,
        message: String,
    },
}

/// An event with its place in a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub seq: u64,
    pub at: Stamp,
    pub run: String,
    pub event: Event,
}
