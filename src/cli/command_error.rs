//! The one edge at which a command that was not done becomes words and an exit code.

use serde_json::json;

use crate::backend::OperationError;
use crate::base::exit;

/// What sort of failure it is; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A mistake in what was asked for.
    Usage,
    /// A mistake in a file.
    BadFile,
    /// A permission, a lease, a guard.
    Refused,
    /// Nobody is there to do it.
    Unavailable,
    /// It was tried, and failed.
    Failed,
}

impl ErrorKind {
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Usage => exit::USAGE,
            ErrorKind::BadFile => exit::BAD_FILE,
            ErrorKind::Refused => exit::REFUSED,
            ErrorKind::Unavailable => exit::UNAVAILABLE,
            ErrorKind::Failed => exit::FAILED,
        }
    }

    fn word(self) -> &'static str {
        match self {
            ErrorKind::Usage => "usage",
            ErrorKind::BadFile => "bad-file",
            ErrorKind::Refused => "refused",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Failed => "failed",
        }
    }
}

/// Why a command was not done, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    pub kind: ErrorKind,
    pub message: String,
    pub hints: Vec<String>,
}

/// What a command comes to: its exit code, or why it was not done.
pub type CommandResult = Result<u8, CommandError>;

impl CommandError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> CommandError {
        CommandError { kind, message: message.into(), hints: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorKind::Usage, message)
    }

    pub fn bad_file(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorKind::BadFile, message)
    }

    pub fn refused(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorKind::Refused, message)
    }

    pub fn unavailable(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorKind::Unavailable, message)
    }

    pub fn failed(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorKind::Failed, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> CommandError {
        self.hints.push(hint.into());
        self
    }

    /// Says it: words on standard error; for programs a document on standard output as well. Gives the exit code.
    pub fn report(&self, json: bool) -> u8 {
        eprintln!("{}", self.message.trim_end());
        for hint in &self.hints {
            eprintln!("  {hint}");
        }
        if json {
            let error = json!({"kind": self.kind.word(), "message": self.message, "hints": self.hints});
            say!("{}", serde_json::to_string_pretty(&json!({"error": error})).unwrap_or_default());
        }
        self.kind.exit_code()
    }
}

impl From<OperationError> for CommandError {
    fn from(error: OperationError) -> CommandError {
        match error {
            OperationError::Usage(words) => CommandError::usage(words),
            OperationError::BadFile(words) => CommandError::bad_file(words),
            OperationError::Refused(words) => CommandError::refused(words),
            OperationError::Unavailable(words) => CommandError::unavailable(words),
        }
    }
}
