//! Rows as both databases give them.

/// The most rows a signal's answer may have.
pub(super) const MOST_ROWS: usize = 1000;

/// A row as JSON values in the order of its columns: what both servers are read as.
pub(super) struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<serde_json::Value>>,
}
