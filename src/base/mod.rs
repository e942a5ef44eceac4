//! What every room may use: time, text, units, secrets and diagnostics.
//! Nothing here knows what a source, a signal or a screen is.

pub mod clock;
pub mod diag;
pub mod endpoint;
pub mod exit;
pub mod layer;
pub mod process;
pub mod secret;
pub mod text;
pub mod tier;
pub mod units;
pub mod yaml;
