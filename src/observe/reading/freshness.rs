//! Freshness: the age of the newest good reading against the interval in which it should arrive.

use std::time::Duration;

use serde::Serialize;

use crate::base::clock::Stamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// As new as it should be.
    Live,
    /// Overdue, still usable.
    Late,
    /// Too old to judge by.
    Stale,
    /// There never was one.
    Missing,
}

/// How far in the future a reading may lie before the clocks are said to differ.
const AHEAD: Duration = Duration::from_secs(30);

impl Freshness {
    /// Live up to 2.5 intervals, late up to 5, stale beyond, and stale when it claims to come from the future.
    pub fn of(newest: Option<Stamp>, interval: Duration, now: Stamp) -> Freshness {
        let Some(at) = newest else { return Freshness::Missing };
        if at.since(now) > AHEAD {
            return Freshness::Stale;
        }
        let age = now.since(at);
        if age <= interval.mul_f32(2.5) {
            Freshness::Live
        } else if age <= interval * 5 {
            Freshness::Late
        } else {
            Freshness::Stale
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Freshness::Live => "live",
            Freshness::Late => "late",
            Freshness::Stale => "stale",
            Freshness::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_against_interval() {
        let now = Stamp(1_000_000);
        let of = |age_ms: i64| Freshness::of(Some(Stamp(now.0 - age_ms)), Duration::from_secs(10), now);
        assert_eq!(of(0), Freshness::Live);
        assert_eq!(of(25_000), Freshness::Live);
        assert_eq!(of(25_001), Freshness::Late);
        assert_eq!(of(50_001), Freshness::Stale);
        assert_eq!(of(-20_000), Freshness::Live, "small differences between clocks are normal");
        assert_eq!(of(-7_200_000), Freshness::Stale, "two hours ahead is a wrong clock");
        assert_eq!(Freshness::of(None, Duration::from_secs(10), now), Freshness::Missing);
    }
}
