//! Rules: a condition that must hold for a while. The state machine is a pure step from one observation to the next.
//!
//! ```text
//!            holds                held >= for
//! Inactive ─────────▶ Pending ─────────────────▶ Firing
//!    ▲  ▲    not holds   │                          │ not holds
//!    │  └────────────────┘                          ▼
//!    └───────────────── after a while ────────── Resolved
//! ```
//! Time counts towards `for` only between two valid observations that both hold: a gap neither resets nor advances it.
//! While nothing can be observed the rule is in `NoData`, and its policy says what that means; it never means "fine".

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Condition, Verdict};
use crate::base::clock::Stamp;

/// How bad it is when a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Warning,
    Critical,
}

impl Level {
    pub fn verdict(self) -> Verdict {
        match self {
            Level::Warning => Verdict::Warn,
            Level::Critical => Verdict::Fail,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}

/// What it means when a rule cannot be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    /// It is unknown: shown as such, nothing fires.
    Unknown,
    /// It is an alert of its own: fires after the rule's `for`.
    Alert,
    /// A firing rule goes on firing; otherwise unknown.
    Keep,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: Arc<str>,
    pub signal: Arc<str>,
    pub condition: Condition,
    pub hold: Duration,
    pub level: Level,
    pub no_data: NoData,
    pub summary: String,
    /// Longer gaps between observations do not count towards `for`.
    pub gap: Duration,
    /// The runbook that answers it.
    pub runbook: Option<String>,
}

/// What was seen of a rule's condition at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleInput {
    Holds(String),
    HoldsNot(String),
    /// Why it cannot be known.
    Unknown(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum RulePhase {
    Inactive,
    /// `held` of the rule's `for` have been seen.
    Pending {
        since: Stamp,
        #[serde(skip)]
        held: Duration,
    },
    Firing {
        since: Stamp,
    },
    Resolved {
        at: Stamp,
    },
    NoData {
        since: Stamp,
    },
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleState {
    #[serde(flatten)]
    pub phase: RulePhase,
    /// It held already when it was first seen: since when, is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub since_before: bool,
    /// The newest observation in words.
    pub reason: String,
    /// The last valid observation: when, and whether the condition held.
    #[serde(skip)]
    last: Option<(Stamp, bool)>,
    /// What fired before the data went away.
    #[serde(skip)]
    fired: Option<Stamp>,
    /// For how long the condition had held before the data went away.
    #[serde(skip)]
    held: Option<Duration>,
}

impl Default for RuleState {
    fn default() -> Self {
        RuleState {
            phase: RulePhase::Inactive,
            since_before: false,
            reason: "not observed yet".into(),
            last: None,
            fired: None,
            held: None,
        }
    }
}

/// How long a resolved rule is shown as such.
const SHOWN_RESOLVED: Duration = Duration::from_secs(15 * 60);

impl RuleState {
    /// The state after one more observation. Observations that are not newer than the last one change nothing.
    pub fn step(&self, rule: &Rule, at: Stamp, seen: RuleInput) -> RuleState {
        // An older sample says nothing new; not knowing is news at any time.
        if !matches!(seen, RuleInput::Unknown(_)) && self.last.is_some_and(|(last, _)| at <= last) {
            return self.clone();
        }
        match seen {
            RuleInput::Unknown(reason) => self.unobserved(rule, at, reason),
            RuleInput::Holds(reason) => {
                let (phase, fired) = self.holding(rule, at);
                let since_before = self.last.is_none() || self.since_before;
                RuleState { phase, since_before, reason, last: Some((at, true)), fired, held: None }
            }
            RuleInput::HoldsNot(reason) => {
                let phase = match self.phase {
                    RulePhase::Firing { .. } => RulePhase::Resolved { at },
                    RulePhase::NoData { .. } if self.fired.is_some() => RulePhase::Resolved { at },
                    RulePhase::Resolved { at: then } if at.since(then) < SHOWN_RESOLVED => self.phase,
                    _ => RulePhase::Inactive,
                };
                RuleState { phase, since_before: false, reason, last: Some((at, false)), fired: None, held: None }
            }
        }
    }

    fn holding(&self, rule: &Rule, at: Stamp) -> (RulePhase, Option<Stamp>) {
        // What fires goes on firing, for silence too: it has not been well in between.
        if let RulePhase::Firing { since } = self.phase {
            return (self.phase, self.fired.or(Some(since)));
        }
        if let (RulePhase::NoData { .. }, Some(since)) = (self.phase, self.fired) {
            return (RulePhase::Firing { since }, Some(since));
        }
        let (since, held) = match (self.phase, self.last) {
            // It goes on from what had been seen before the silence, which is no time in which it held.
            (RulePhase::NoData { .. }, _) if self.held.is_some() => {
                let held = self.held.unwrap_or_default();
                (at.minus(held), held)
            }
            (RulePhase::Pending { since, held }, Some((last, true))) => match at.since(last) {
                step if step <= rule.gap => (since, held + step),
                _ => (at.minus(held), held),
            },
            _ => (at, Duration::ZERO),
        };
        // Since when is since it holds, and does not begin anew when it fires.
        if held >= rule.hold { (RulePhase::Firing { since }, Some(since)) } else { (RulePhase::Pending { since, held }, None) }
    }

    fn unobserved(&self, rule: &Rule, at: Stamp, reason: String) -> RuleState {
        let phase = match (self.phase, rule.no_data) {
            // A pending rule waits out a short gap; its time simply does not advance.
            (RulePhase::Pending { .. }, _) if self.last.is_some_and(|(last, _)| at.since(last) <= rule.gap) => self.phase,
            (RulePhase::Firing { .. }, NoData::Keep) => self.phase,
            (RulePhase::NoData { since }, NoData::Alert) if at.since(since) >= rule.hold => RulePhase::Firing { since },
            (RulePhase::Firing { .. }, NoData::Alert) => self.phase,
            (RulePhase::NoData { .. }, _) => self.phase,
            _ => RulePhase::NoData { since: at },
        };
        // What a pending rule has held is kept over the silence.
        let held = match self.phase {
            RulePhase::Pending { held, .. } => Some(held),
            _ => self.held,
        };
        RuleState { phase, reason, last: self.last, fired: self.fired, held, since_before: self.since_before }
    }

    /// What the rule says about the system.
    pub fn verdict(&self, rule: &Rule) -> Verdict {
        match self.phase {
            RulePhase::Firing { .. } => rule.level.verdict(),
            RulePhase::NoData { .. } => Verdict::Unknown,
            RulePhase::Pending { .. } => Verdict::Warn,
            RulePhase::Inactive if self.last.is_none() => Verdict::Unknown,
            RulePhase::Inactive | RulePhase::Resolved { .. } => Verdict::Pass,
        }
    }

    pub fn word(&self) -> &'static str {
        match self.phase {
            RulePhase::Inactive if self.last.is_none() => "unknown",
            RulePhase::Inactive => "ok",
            RulePhase::Pending { .. } => "pending",
            RulePhase::Firing { .. } => "firing",
            RulePhase::Resolved { .. } => "resolved",
            RulePhase::NoData { .. } => "no data",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Unit;

    #[test]
    fn since_when_it_holds_does_not_begin_anew_when_it_fires() {
        let rule = Rule {
            name: "r".into(),
            signal: "s".into(),
            condition: Condition::parse("> 1", Unit::None).expect("a condition"),
            hold: Duration::from_secs(10),
            level: Level::Critical,
            no_data: NoData::Unknown,
            summary: String::new(),
            gap: Duration::from_secs(60),
            runbook: None,
        };
        let mut state = RuleState::default();
        for second in 0..30 {
            state = state.step(&rule, Stamp(second * 1000), RuleInput::Holds("2 > 1".into()));
        }
        assert_eq!(state.phase, RulePhase::Firing { since: Stamp(0) });
        // Nor when nothing was known for a while.
        state = state.step(&rule, Stamp(40_000), RuleInput::Unknown("away".into()));
        state = state.step(&rule, Stamp(50_000), RuleInput::Holds("2 > 1".into()));
        assert_eq!(state.phase, RulePhase::Firing { since: Stamp(0) });
        // A silence before it fires is no time in which it held.
        for no_data in [NoData::Unknown, NoData::Alert] {
            let rule = Rule { no_data, gap: Duration::from_secs(2), ..rule.clone() };
            let mut state = RuleState::default().step(&rule, Stamp(0), RuleInput::HoldsNot("1 <= 1".into()));
            let seen =
                |second| if (7..27).contains(&second) { RuleInput::Unknown("away".into()) } else { RuleInput::Holds("2 > 1".into()) };
            for second in 1..=30 {
                state = state.step(&rule, Stamp(second * 1000), seen(second));
            }
            if no_data == NoData::Alert {
                assert_eq!(state.phase, RulePhase::Firing { since: Stamp(9_000) }, "it fires for silence, and has not been well since");
                continue;
            }
            assert_eq!(state.phase, RulePhase::Pending { since: Stamp(22_000), held: Duration::from_secs(8) }, "{no_data:?}");
            state = state.step(&rule, Stamp(32_000), RuleInput::Holds("2 > 1".into()));
            assert_eq!(state.phase, RulePhase::Firing { since: Stamp(22_000) }, "{no_data:?}");
        }
        // It held when it was first seen: who knows for how long before. One that was seen to begin has begun then.
        assert!(state.since_before);
        state = state.step(&rule, Stamp(60_000), RuleInput::HoldsNot("1 <= 1".into()));
        state = state.step(&rule, Stamp(61_000), RuleInput::Holds("2 > 1".into()));
        assert!(!state.since_before);
    }
}
