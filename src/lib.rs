//! lastgreen: a terminal operations cockpit. Observe, judge, act, record.
//!
//! The rooms, from the ground up, and what each may import stand in ARCHITECTURE.md; `tests/architecture.rs` holds
//! them to it.

pub mod base;
pub mod engine;
pub mod reading;
pub mod signal;
pub mod source;
