//! What is meant to happen: runbooks, the plans made of them, and runs as folds over their journals. Pure.

pub mod runbook;
