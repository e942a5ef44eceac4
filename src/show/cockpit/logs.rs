//! How the log is looked at: level, target, search. The records themselves are kept by the logger.

use log::LevelFilter;

use crate::status::LOG_TARGETS;

#[derive(Clone, Debug, PartialEq)]
pub struct LogView {
    pub level: LevelFilter,
    /// Only this target; all without.
    pub target: Option<String>,
    pub search: String,
    /// Pages scrolled back from the newest line; the logger keeps the lines.
    pub back: u16,
}

impl Default for LogView {
    fn default() -> Self {
        LogView { level: LevelFilter::Info, target: None, search: String::new(), back: 0 }
    }
}

const LEVELS: [LevelFilter; 5] = [LevelFilter::Error, LevelFilter::Warn, LevelFilter::Info, LevelFilter::Debug, LevelFilter::Trace];

impl LogView {
    pub fn finer(&mut self, by: isize) {
        let here = LEVELS.iter().position(|l| *l == self.level).unwrap_or(2);
        self.level = LEVELS[here.saturating_add_signed(by).min(LEVELS.len() - 1)];
    }

    pub fn next_target(&mut self) {
        let here = self.target.as_ref().and_then(|t| LOG_TARGETS.iter().position(|known| known == t));
        self.target = match here {
            None => Some(LOG_TARGETS[0].into()),
            Some(i) => LOG_TARGETS.get(i + 1).map(|t| (*t).to_string()),
        };
    }
}
