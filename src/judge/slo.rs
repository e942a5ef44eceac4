//! Burn rates: how fast an objective's error budget is being spent, as rules over a long and a short window together
//! (the long one says it matters, the short one says it still goes on).

use std::sync::Arc;
use std::time::Duration;

/// A service level objective over good and total events.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    pub name: Arc<str>,
    /// Between 0 and 1, as in 0.995.
    pub target: f64,
    pub window: Duration,
    /// PromQL with `$window` where the range goes, counting good events.
    pub good: String,
    /// As `good`, counting all events.
    pub total: String,
}

/// One pair of windows with the burn rate at which it speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnRate {
    pub factor: f64,
    pub long: &'static str,
    pub short: &'static str,
    pub critical: bool,
}

impl BurnRate {
    /// The usual three: a page within the hour, a page within the day, a ticket within three days.
    pub const ALL: [BurnRate; 3] = [
        BurnRate { factor: 14.4, long: "1h", short: "5m", critical: true },
        BurnRate { factor: 6.0, long: "6h", short: "30m", critical: true },
        BurnRate { factor: 1.0, long: "3d", short: "2h", critical: false },
    ];
}

impl Objective {
    /// The slower of the two burn rates of a pair, as PromQL: above the factor only when both windows are.
    pub fn query(&self, rate: BurnRate) -> String {
        // A budget is small, and never rounded to nothing.
        let budget = format!("{:.12}", 1.0 - self.target);
        let budget = budget.trim_end_matches('0');
        let burn = |window: &str| {
            let (good, total) = (self.good.replace("$window", window), self.total.replace("$window", window));
            format!("(1 - ({good}) / ({total})) / {budget}")
        };
        let (long, short) = (burn(rate.long), burn(rate.short));
        format!("({long}) < ({short}) or ({short})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_windows_is_one_query() {
        let objective = Objective {
            name: "availability".into(),
            target: 0.995,
            window: Duration::from_secs(30 * 86_400),
            good: "sum(rate(ok[$window]))".into(),
            total: "sum(rate(all[$window]))".into(),
        };
        let query = objective.query(BurnRate::ALL[0]);
        assert!(query.contains("sum(rate(ok[1h]))") && query.contains("sum(rate(all[5m]))") && query.contains("/ 0.005"), "{query}");
        promql_parser::parser::parse(&query).expect("the query is PromQL");
        let strict = Objective { target: 0.999_999_9, ..objective };
        assert!(strict.query(BurnRate::ALL[0]).contains("/ 0.0000001)"), "{}", strict.query(BurnRate::ALL[0]));
    }
}
