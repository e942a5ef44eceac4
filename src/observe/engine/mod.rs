//! The embedded metrics engine: exposition pages in, PromQL out. It keeps the pages a `scrape` source reads (and those
//! the demo's Prometheus scrapes) in a bounded in-memory store and answers the same PromQL a Prometheus would.
//! The law here: right or refused. What the evaluator is not known to answer rightly is refused by name.

mod exposition;
mod extremes;
mod keywords;
mod promql;
mod quantile;
mod sampled;
mod store;
mod walk;

pub use exposition::{ExpositionError, Format, Page, Sample, parse};
pub use promql::{PromqlError, Supported, check, impossible_quantiles, selectors, supported, without_comments};
pub use sampled::Sampled;
pub use store::{Engine, EngineError, Limits};
