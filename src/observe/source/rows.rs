//! Rows as both databases give them.

/// The most rows a signal's answer may have.
pub(super) const MOST_ROWS: usize = 1000;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::observe::reading::{Fault, FaultKind};

/// A row as its columns come, also those of one name.
pub(super) struct Columns(pub Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Columns;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut all = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    all.push(pair);
                }
                Ok(Columns(all))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Rows {
    /// Two columns of one name could not be told apart.
    ///
    /// # Errors
    /// When there are.
    pub fn told_apart(self) -> Result<Rows, Fault> {
        let twice = self.columns.iter().enumerate().find(|(at, name)| self.columns[..*at].contains(name));
        match twice {
            None => Ok(self),
            Some((_, name)) => {
                let (name, n) = (crate::base::secret::sanitize(name), self.columns.len());
                let words = format!("the query gives {n} columns, of which two are called `{name}`: give each a name (AS …)");
                Err(Fault::new(FaultKind::Query, words))
            }
        }
    }
}

/// A row as JSON values in the order of its columns: what both servers are read as.
pub(super) struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<serde_json::Value>>,
}
