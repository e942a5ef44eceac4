//! What is done: the acting half of step kinds, and the runner that drives a run.

pub mod effect;
pub mod runner;
