//! What is watched: readings (pure), the embedded engine, and one client per kind of source.

pub mod engine;
pub mod reading;
pub mod source;
