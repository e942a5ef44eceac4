//! lastgreen: a terminal operations cockpit. Observe, judge, act, record.
//!
//! The rooms, from the ground up, and what each may import stand in ARCHITECTURE.md; `tests/architecture.rs` holds
//! them to it.

pub mod app;
pub mod base;
pub mod cli;
pub mod cockpit;
pub mod config;
pub mod demo;
pub mod effect;
pub mod engine;
pub mod journal;
pub mod keymap;
pub mod reading;
pub mod runbook;
pub mod runner;
pub mod signal;
pub mod source;
pub mod terminal;
pub mod theme;
pub mod view;
