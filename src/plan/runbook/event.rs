//! What a journal can say. Written once, read for ever: fields are added, never renamed.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::model::Danger;
use crate::base::clock::Stamp;
use crate::base::exit;
use crate::base::tier::Tier;
use crate::base::units::{short, thousands};

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
    /// Its state folder: another one of the same host keeps other runs. Empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// When the process began, in ticks since the boot: a number may be given again. 0: not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub began: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Done,
    Failed,
    Skipped,
    /// Ended by an abort in the middle.
    Interrupted,
    /// Nobody saw it end, and whoever was asked may still be at it: its probe has to tell.
    Unsettled,
}

/// What a probe says to "is it already so?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "ProbeFields", from = "ProbeFields")]
pub enum ProbeAnswer {
    Yes,
    No,
    /// Somebody is still at it: wait.
    UnderWay,
    Unknown,
}

/// As records have it: `already` alone before there were four answers.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct ProbeFields {
    already: Option<bool>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    under_way: bool,
}

impl From<ProbeFields> for ProbeAnswer {
    fn from(fields: ProbeFields) -> ProbeAnswer {
        match (fields.already, fields.under_way) {
            (_, true) => ProbeAnswer::UnderWay,
            (Some(true), _) => ProbeAnswer::Yes,
            (Some(false), _) => ProbeAnswer::No,
            (None, _) => ProbeAnswer::Unknown,
        }
    }
}

impl From<ProbeAnswer> for ProbeFields {
    fn from(answer: ProbeAnswer) -> ProbeFields {
        let already = match answer {
            ProbeAnswer::Yes => Some(true),
            ProbeAnswer::No => Some(false),
            ProbeAnswer::UnderWay | ProbeAnswer::Unknown => None,
        };
        ProbeFields { already, under_way: answer == ProbeAnswer::UnderWay }
    }
}

impl ProbeAnswer {
    pub fn words(self) -> &'static str {
        match self {
            ProbeAnswer::Yes => "it is so",
            ProbeAnswer::No => "it is not so",
            ProbeAnswer::UnderWay => "it is under way",
            ProbeAnswer::Unknown => "it cannot be told",
        }
    }
}

impl StepResult {
    pub fn word(self) -> &'static str {
        match self {
            StepResult::Done => "done",
            StepResult::Failed => "failed",
            StepResult::Skipped => "skipped",
            StepResult::Interrupted => "interrupted",
            StepResult::Unsettled => "not seen to end",
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
    /// Nothing was done: a guard, a lease, a permission.
    Refused,
    /// It gave way to an emergency.
    Superseded,
}

impl RunResult {
    pub fn word(self) -> &'static str {
        match self {
            RunResult::Done => "done",
            RunResult::Failed => "failed",
            RunResult::RolledBack => "rolled back",
            RunResult::Aborted => "aborted",
            RunResult::Refused => "refused",
            RunResult::Superseded => "superseded",
        }
    }

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            RunResult::Done => exit::DONE,
            RunResult::Failed => exit::RUN_FAILED,
            RunResult::RolledBack => exit::ROLLED_BACK,
            RunResult::Aborted | RunResult::Superseded => exit::ABORTED,
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
        tier: Tier,
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
        #[serde(flatten)]
        answer: ProbeAnswer,
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
    /// An emergency wants the environment: the run ends, and leaves everything as it is.
    SupersedeWanted {
        by: Operator,
        /// The emergency's run.
        run: String,
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

/// How far the step of a run is that is at work, as whoever looks on reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepProgress {
    pub step: String,
    #[serde(flatten)]
    pub progress: Progress,
}

/// How far a step is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub done: f64,
    /// All there is to do, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<f64>,
    /// `bytes`, `s`, or nothing for plain numbers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

impl Progress {
    /// The part that is done, from 0 to 1, where all is known.
    pub fn share(&self) -> Option<f64> {
        self.of.filter(|of| *of > 0.0).map(|of| (self.done / of).clamp(0.0, 1.0))
    }

    /// As people read it: `61 %  12.4 MiB of 20.3 MiB restored`.
    pub fn text(&self) -> String {
        let amount = |value: f64| match self.unit.as_str() {
            "bytes" => bytesize::ByteSize(value.max(0.0) as u64).display().iec().to_string(),
            "s" => short(std::time::Duration::from_secs_f64(value.clamp(0.0, 1e9).round())),
            _ => thousands(value),
        };
        let share = self.share().map_or_else(String::new, |share| format!("{:.0} %  ", (share * 100.0).floor()));
        let of = self.of.map_or_else(String::new, |of| format!(" of {}", amount(of)));
        format!("{share}{}{of} {}", amount(self.done), self.words).trim_end().to_string()
    }
}
