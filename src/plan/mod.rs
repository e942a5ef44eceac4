//! What is meant to happen: runbooks, the plans made of them, and runs as folds over their journals; a deployment and its
//! canary. Pure.

pub mod deploy;
pub mod runbook;
