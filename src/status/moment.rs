//! Something that happened, as a timeline shows it. Pure.

use std::sync::Arc;

use crate::base::clock::Stamp;
use crate::judge::Verdict;

/// What something that happened is of: what there is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MomentOf {
    Signal(Arc<str>),
    Rule(Arc<str>),
    Source(Arc<str>),
    /// Here, or by the records of all somewhere else: the ledger tells.
    Run(String),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    pub at: Stamp,
    /// How bad it is; `None`: neither good nor bad.
    pub verdict: Option<Verdict>,
    pub words: String,
    pub of: MomentOf,
}
