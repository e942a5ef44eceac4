//! How much it matters when an environment breaks.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Production,
    Staging,
    #[default]
    Development,
}

impl Tier {
    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Production => "production",
            Tier::Staging => "staging",
            Tier::Development => "development",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Tier::Production => "PRODUCTION",
            Tier::Staging => "STAGING",
            Tier::Development => "development",
        }
    }
}
