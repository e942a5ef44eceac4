//! What happened and who is told: journals on disk with their mirror in a database, and notifications.

pub mod journal;
pub mod notify;
