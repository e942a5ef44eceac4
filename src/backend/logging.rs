//! Where log records go: to whoever shows them, or to standard error. Either way they are cleaned and redacted first, and
//! nothing that only tells ever ends anything: what cannot be written is lost.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::base::secret::sanitize;
use crate::status::LOG_TARGETS;

/// Takes records that somebody shows.
pub type Drain = Box<dyn Fn(&Record) + Send + Sync>;

struct Logger {
    /// Standard error without.
    drain: Option<Drain>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // Libraries may speak up when something is wrong; chatter is ours only.
        metadata.level() <= Level::Warn || metadata.target().starts_with("lastgreen") || LOG_TARGETS.contains(&metadata.target())
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = sanitize(&record.args().to_string());
        match &self.drain {
            Some(drain) => drain(
                &Record::builder()
                    .args(format_args!("{text}"))
                    .level(record.level())
                    .target(record.target())
                    .file(record.file())
                    .line(record.line())
                    .build(),
            ),
            // A full disk behind standard error is no reason to panic.
            None => drop(writeln!(std::io::stderr(), "{}: {text}", record.level().as_str().to_lowercase())),
        }
    }

    fn flush(&self) {}
}

/// Starts logging, once.
pub fn start_logging(drain: Option<Drain>, level: LevelFilter) {
    if log::set_boxed_logger(Box::new(Logger { drain })).is_ok() {
        log::set_max_level(level);
    }
}

/// Starts the log of a process without a screen: errors only, on standard error.
pub fn start_plain_logging() {
    start_logging(None, LevelFilter::Error);
}
