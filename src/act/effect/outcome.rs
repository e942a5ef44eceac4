//! What came of doing something.

use crate::base::secret::sanitize;
use crate::plan::runbook::{Output, ProbeAnswer};

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    Done,
    /// It answered, and the answer is another than was wanted.
    Otherwise,
    /// It went wrong, and nothing is known besides.
    #[default]
    Failed,
    /// Nobody saw it end, and whoever was asked may still be at it.
    UnderWay,
    /// It was ended from here, in the middle.
    Stopped,
    /// What it has to write down found no room: it can be done when there is.
    NoRoom,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub ended: Ended,
    pub message: String,
    /// Whether the world may be different now.
    pub touched: bool,
    pub output: Output,
}

impl Outcome {
    fn new(ended: Ended, message: &str, touched: bool) -> Outcome {
        Outcome { ended, message: sanitize(message), touched, output: Output::default() }
    }

    pub fn done(message: impl AsRef<str>, touched: bool) -> Outcome {
        Outcome::new(Ended::Done, message.as_ref(), touched)
    }

    pub fn otherwise(message: impl AsRef<str>, touched: bool) -> Outcome {
        Outcome::new(Ended::Otherwise, message.as_ref(), touched)
    }

    pub fn failed(message: impl AsRef<str>, touched: bool) -> Outcome {
        Outcome::new(Ended::Failed, message.as_ref(), touched)
    }

    /// A failure; where what was asked has given a clear answer, it is "no".
    pub fn failed_or_otherwise(message: impl AsRef<str>, touched: bool, is_an_answer: bool) -> Outcome {
        Outcome::new(if is_an_answer { Ended::Otherwise } else { Ended::Failed }, message.as_ref(), touched)
    }

    pub fn under_way(message: impl AsRef<str>) -> Outcome {
        Outcome::new(Ended::UnderWay, message.as_ref(), true)
    }

    pub fn stopped(touched: bool) -> Outcome {
        Outcome::new(Ended::Stopped, "stopped", touched)
    }

    pub fn no_room(error: &std::io::Error) -> Outcome {
        Outcome::new(Ended::NoRoom, &error.to_string(), false)
    }

    #[must_use]
    pub fn with(self, output: Output) -> Outcome {
        Outcome { output, ..self }
    }

    pub fn is_done(&self) -> bool {
        self.ended == Ended::Done
    }

    /// What a probe that came to this says.
    pub fn answer(&self) -> ProbeAnswer {
        match self.ended {
            Ended::Done => ProbeAnswer::Yes,
            Ended::Otherwise => ProbeAnswer::No,
            Ended::UnderWay => ProbeAnswer::UnderWay,
            Ended::Failed | Ended::Stopped | Ended::NoRoom => ProbeAnswer::Unknown,
        }
    }
}

/// Whether what was asked for is still at work where it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Over,
    /// There is no way to tell: it may be at it until its time-out is over.
    Lingers,
    UnderWay(String),
    Unknown(String),
}
