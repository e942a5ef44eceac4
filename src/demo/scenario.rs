//! The stories the demo can tell: what goes wrong, and when.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Healthy,
    BadCanary,
    LatencySpike,
    CorruptIndex,
    ProviderOutage,
    PrometheusDown,
    DatabaseDown,
}

/// What is different from a good day at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    /// How bad the canary's release is, 0 to 1.
    pub canary_fault: f64,
    /// Retrieval takes this many times longer, beyond once.
    pub retrieval_slower: f64,
    /// The share of the provider's calls that fail.
    pub provider_failing: f64,
    pub corrupt_data: bool,
    pub prometheus_down: bool,
    pub database_down: bool,
}

/// When trouble begins: long enough after the start to have seen the good state.
const BEGINS: Duration = Duration::from_secs(10);

impl Scenario {
    pub const NAMES: [&str; 7] =
        ["healthy", "bad-canary", "latency-spike", "corrupt-index", "provider-outage", "prometheus-down", "database-down"];
    const ALL: [Scenario; 7] = [
        Scenario::Healthy,
        Scenario::BadCanary,
        Scenario::LatencySpike,
        Scenario::CorruptIndex,
        Scenario::ProviderOutage,
        Scenario::PrometheusDown,
        Scenario::DatabaseDown,
    ];

    pub fn parse(name: &str) -> Option<Scenario> {
        Self::NAMES.iter().position(|n| *n == name).map(|i| Self::ALL[i])
    }

    /// What is different so long after the start.
    pub fn effect(self, since: Duration) -> Effect {
        let mut effect = Effect::default();
        let Some(in_trouble) = since.checked_sub(BEGINS) else { return effect };
        // Trouble comes on within two seconds, not at a stroke.
        let grown = (in_trouble.as_secs_f64() / 2.0).min(1.0);
        match self {
            Scenario::Healthy => {}
            Scenario::BadCanary => effect.canary_fault = grown,
            Scenario::LatencySpike => effect.retrieval_slower = 45.0 * grown,
            Scenario::CorruptIndex => effect.corrupt_data = true,
            Scenario::ProviderOutage => effect.provider_failing = 0.45 * grown,
            Scenario::PrometheusDown => effect.prometheus_down = true,
            Scenario::DatabaseDown => effect.database_down = true,
        }
        effect
    }

    /// The line that leads a newcomer through the story.
    pub fn hint(self) -> &'static str {
        match self {
            Scenario::Healthy => {
                "DEMO  all is well. tab, enter: look closer; w: look back further; e: the query behind a panel; ?: keys; q: leave"
            }
            Scenario::BadCanary => {
                "DEMO  after 10 s the canary turns bad (2: judged beside stable). R: roll back, type rag-demo; then c walks a mended release up. ?: keys"
            }
            Scenario::LatencySpike => {
                "DEMO  after 10 s retrieval slows down: Latency by component says which part it is. tab, enter: look closer; ?: keys; q: leave"
            }
            Scenario::CorruptIndex => {
                "DEMO  after 10 s the data is damaged: Quality and Retrieval scores sink while everything is up. ?: keys; q: leave"
            }
            Scenario::ProviderOutage => {
                "DEMO  after 10 s the model's provider fails: internal against provider latency tells. tab, enter: look closer; ?: keys; q: leave"
            }
            Scenario::PrometheusDown => {
                "DEMO  after 10 s Prometheus goes away: panels go on by reading the pages directly, and say so. 6: sources; ?: keys; q: leave"
            }
            Scenario::DatabaseDown => {
                "DEMO  after 10 s the database goes away: its last values stay, dimmed, with their age. 6: sources; ?: keys; q: leave"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_begins_well() {
        for name in Scenario::NAMES {
            let scenario = Scenario::parse(name).expect(name);
            assert_eq!(scenario.effect(Duration::from_secs(9)), Effect::default());
            let later = scenario.effect(Duration::from_secs(40));
            assert_eq!(later == Effect::default(), scenario == Scenario::Healthy, "{name}");
        }
        assert_eq!(Scenario::parse("no-such"), None);
    }
}
