//! lastgreen: a terminal operations cockpit. Observe, judge, plan, act, record; and show each of them.
//!
//! The rooms, from the ground up, and what each may import stand in ARCHITECTURE.md; `tests/architecture.rs` holds
//! them to it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic))]

pub mod base;
pub mod observe;

pub mod judge;

pub mod plan;

pub mod record;

pub mod act;

pub mod config;
pub mod status;

pub mod backend;

pub mod show;

pub mod cli;

pub mod demo;

pub mod app;
mod joined;
