//! What an evaluation gives: series with their labels and points.

use crate::base::clock::Stamp;

pub(super) type Labels = Vec<(String, String)>;

/// One series of an answer: labels sorted, `__name__` among them when the query keeps it, and its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    pub labels: Vec<(String, String)>,
    pub points: Vec<(Stamp, f64)>,
}

impl Sampled {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}
