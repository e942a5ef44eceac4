//! What "usual" means for a signal, so that `> 3x baseline` can be said.

use std::time::Duration;

use crate::base::units::{Unit, duration, short};

#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Baseline {
    Fixed(f64),
    /// The same signal this long ago.
    Ago(Duration),
    /// The median of the same signal over this long.
    Median(Duration),
}

impl Baseline {
    /// Reads `1.2s`, `1d ago`, `median 24h`.
    ///
    /// # Errors
    /// Says which forms there are.
    pub fn parse(text: &str, unit: Unit) -> Result<Baseline, String> {
        let text = text.trim();
        if let Some(span) = text.strip_suffix("ago") {
            return duration(span).map(Baseline::Ago);
        }
        if let Some(span) = text.strip_prefix("median") {
            return duration(span.trim().trim_start_matches("of").trim().trim_start_matches("the last").trim()).map(Baseline::Median);
        }
        unit.parse(text).map(Baseline::Fixed).map_err(|e| format!("{e}; a baseline is a number, \"1d ago\" or \"median 24h\""))
    }

    pub fn words(self, unit: Unit) -> String {
        match self {
            Baseline::Fixed(value) => unit.format(value),
            Baseline::Ago(span) => format!("{} ago", short(span)),
            Baseline::Median(span) => format!("median of {}", short(span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let day = Duration::from_secs(86_400);
        assert_eq!(Baseline::parse("1d ago", Unit::Seconds), Ok(Baseline::Ago(day)));
        assert_eq!(Baseline::parse("median 24h", Unit::Seconds), Ok(Baseline::Median(day)));
        assert_eq!(Baseline::parse("median of the last 24h", Unit::Seconds), Ok(Baseline::Median(day)));
        assert_eq!(Baseline::parse("800ms", Unit::Seconds), Ok(Baseline::Fixed(0.8)));
        assert!(Baseline::parse("usual", Unit::Seconds).is_err());
    }
}
