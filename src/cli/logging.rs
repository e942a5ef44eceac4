//! Where log records go: into the cockpit's log, or for headless commands to standard error. Either way they are cleaned
//! and redacted first.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::base::secret::outside;

struct Logger {
    /// The cockpit's store of records; standard error without.
    drain: Option<tui_logger::Drain>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // Libraries may speak up when something is wrong; chatter is ours only.
        metadata.level() <= Level::Warn
            || metadata.target().starts_with("lastgreen")
            || crate::cockpit::TARGETS.contains(&metadata.target())
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = outside(&record.args().to_string());
        match &self.drain {
            Some(drain) => drain.log(
                &Record::builder()
                    .args(format_args!("{text}"))
                    .level(record.level())
                    .target(record.target())
                    .file(record.file())
                    .line(record.line())
                    .build(),
            ),
            None => eprintln!("{}: {text}", record.level().as_str().to_lowercase()),
        }
    }

    fn flush(&self) {}
}

/// Starts logging, once. In the cockpit everything down to debug is kept; headless, warnings are printed.
pub fn start_logging(cockpit: bool) {
    start(cockpit, if cockpit { LevelFilter::Debug } else { LevelFilter::Error });
}

/// Starts the log of a runner: what could not be delivered is worth a line there.
pub fn start_runner_logging() {
    start(false, LevelFilter::Warn);
}

fn start(cockpit: bool, level: LevelFilter) {
    let drain = cockpit.then(tui_logger::Drain::new);
    if log::set_boxed_logger(Box::new(Logger { drain })).is_ok() {
        log::set_max_level(level);
        tui_logger::set_default_level(LevelFilter::Debug);
    }
}
