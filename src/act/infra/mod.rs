//! The things outside that a rollback turns: observed and set, for steps and for whoever only looks.

pub mod command;
pub mod gate;
pub mod processes;
pub mod release;
pub mod snapshot;
pub mod traffic;
