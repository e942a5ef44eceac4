//! The things outside that a rollback turns: observed and set, for steps and for whoever only looks.

pub mod traffic;
