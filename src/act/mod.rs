//! What is done: the things outside that are turned, the acting half of step kinds, and the runner that drives a run.

pub mod effect;
pub mod infra;
pub mod runner;
