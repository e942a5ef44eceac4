//! Where a canary is, by the record and by the switch, and whether it may take its next step.

use std::time::Duration;

use serde::Serialize;

use super::canary::{Hold, Turn, TurnState};
use crate::base::clock::Stamp;
use crate::base::units::{short, watch};
use crate::judge::{CanaryVerdict, Verdict};
use crate::plan::runbook::{ALL, CanarySettings, Observation, Weight, percent};

/// Everything that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeployState {
    pub observed: Option<Observation>,
    /// Who turned the traffic last.
    pub desired: Option<Turn>,
    pub hold: Option<Hold>,
    /// The run of this environment that is not over, and how it is, in words.
    pub open_run: Option<String>,
    /// The rollback that is at work, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// The last rollback, where that has failed and nothing has come after it: in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    pub analysis: Option<CanaryVerdict>,
    /// There are points of everything, and too few of sources that tell nothing of the past: a step judges the canary by what comes
    /// from its beginning on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub judged_from_now_on: bool,
}

/// Whether it may go on: where to, or every reason why not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    To(Weight),
    Refused(Vec<String>),
    /// All of the traffic is where it is to be.
    AtTheEnd,
}

impl Promotion {
    /// The same for a share of one's own: what lies between is not left out without a word.
    pub fn to(self, wanted: Option<Weight>, steps: &[Weight], seen: f64) -> Promotion {
        let Some(wanted) = wanted else { return self };
        let left_out: Vec<String> =
            steps.iter().filter(|step| f64::from(**step) > seen + 0.5 && **step < wanted).map(|step| format!("{step} %")).collect();
        if left_out.is_empty() {
            return self;
        }
        let words = format!("{} would be left out, and nothing judged there", left_out.join(", "));
        match self {
            Promotion::Refused(mut against) => {
                against.push(words);
                Promotion::Refused(against)
            }
            Promotion::To(_) | Promotion::AtTheEnd => Promotion::Refused(vec![words]),
        }
    }
}

impl DeployState {
    /// The observed share.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn weight(&self) -> Result<f64, String> {
        match &self.observed {
            Some(seen) => seen.weight(),
            None => Err("the switch was not looked at yet".into()),
        }
    }

    /// Whether the switch says something else than what was asked for last, in words.
    pub fn difference(&self) -> Option<String> {
        let (turn, seen) = (self.desired.as_ref()?, self.observed.as_ref()?);
        let to = turn.to?;
        if seen.at < turn.at || turn.state == TurnState::Asked || seen.is_at(to) != Ok(false) {
            return None;
        }
        let who = if turn.state == TurnState::Done { "somebody else has changed it" } else { "the switch did not turn" };
        Some(format!("desired {to} % by run {}, observed {}: {who}", turn.run, seen.words()))
    }

    /// How long the canary has had its share, and how long it is to have it before the next.
    pub fn bake(&self, settings: &CanarySettings, now: Stamp) -> Option<(Duration, Duration)> {
        let weight = self.weight().ok().filter(|weight| *weight > 0.0 && *weight < f64::from(ALL))?;
        let turn = self.desired.as_ref().filter(|turn| turn.state == TurnState::Done && turn.to.map(f64::from) == Some(weight.round()))?;
        Some((now.since(turn.at), settings.bake))
    }

    /// Whether the canary may take its next step now.
    pub fn promotion(&self, settings: &CanarySettings, now: Stamp) -> Promotion {
        let weight = match self.weight() {
            Ok(weight) => weight,
            Err(why) => return Promotion::Refused(vec![format!("what the share is cannot be told: {why}")]),
        };
        let Some(next) = settings.after(weight) else { return Promotion::AtTheEnd };
        let mut against = Vec::new();
        against.extend(self.failed.clone());
        against.extend(self.difference());
        against.extend(self.open_run.clone());
        if let Some(hold) = &self.hold {
            let why = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
            against.push(format!("held by {} since {}{why}", hold.by.user, hold.at.iso()));
        }
        if weight > 0.0 {
            match self.bake(settings, now) {
                Some((had, of)) if had < of => against.push(format!("it bakes: {} of {}", watch(had), watch(of))),
                Some(_) => {}
                None => against.push(format!("nobody knows since when it is at {}: no run has set it", percent(weight))),
            }
            match &self.analysis {
                Some(verdict) if verdict.verdict == Verdict::Pass || self.judged_from_now_on => {}
                Some(verdict) => against.push(format!("the analysis says {}: {}", verdict.verdict.word(), verdict.reason)),
                None => against.push("it was not judged yet".into()),
            }
        }
        if against.is_empty() { Promotion::To(next) } else { Promotion::Refused(against) }
    }

    /// How the deployment is, and why: for the header, the panel and the exit code.
    pub fn verdict(&self, now: Stamp) -> (Verdict, String) {
        if let Some(failed) = &self.failed {
            return (Verdict::Fail, failed.clone());
        }
        if let Some(rollback) = &self.rollback {
            return (Verdict::Warn, rollback.clone());
        }
        let weight = match self.weight() {
            Ok(weight) => weight,
            Err(why) => return (Verdict::Unknown, format!("canary: {why}")),
        };
        if let Some(difference) = self.difference() {
            return match self.analysis.as_ref().filter(|analysis| weight > 0.0 && analysis.verdict == Verdict::Fail) {
                Some(analysis) => (Verdict::Fail, format!("canary: {difference}; {}", analysis.reason)),
                None => (Verdict::Warn, format!("canary: {difference}")),
            };
        }
        let since = self.desired.as_ref().map_or_else(String::new, |turn| format!(" for {}", short(now.since(turn.at))));
        match (&self.analysis, weight > 0.0) {
            (_, false) => (Verdict::Pass, "no traffic on the canary".into()),
            (Some(analysis), true) => (analysis.verdict, format!("canary at {}{since}: {}", percent(weight), analysis.reason)),
            (None, true) => (Verdict::Unknown, format!("canary at {}{since}: not judged", percent(weight))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::runbook::AnalysisSettings;
    use crate::plan::runbook::{Operator, Seen};

    fn settings() -> CanarySettings {
        let analysis =
            AnalysisSettings { confidence: 0.98, tolerance: 0.25, pass: 95.0, marginal: 75.0, at_least: 10, metrics: Vec::new() };
        CanarySettings { steps: vec![0, 10, 25, 100], bake: Duration::from_secs(300), warm_up: Duration::ZERO, gates: Vec::new(), analysis }
    }

    fn at(weight: f64, turned: Weight, since: i64, verdict: Option<Verdict>) -> DeployState {
        let turn = Turn {
            at: Stamp(0),
            to: Some(turned),
            state: TurnState::Done,
            run: "R".into(),
            runbook: "canary-step".into(),
            by: Operator::default(),
        };
        let analysis = |verdict| CanaryVerdict { verdict, score: None, reason: "so it is".into(), metrics: Vec::new() };
        DeployState {
            observed: Some(Observation { at: Stamp(since), places: vec![("s".into(), Ok(Seen::of(weight)))] }),
            desired: Some(turn),
            analysis: verdict.map(analysis),
            ..DeployState::default()
        }
    }

    fn against(state: &DeployState, now: i64) -> String {
        match state.promotion(&settings(), Stamp(now)) {
            Promotion::Refused(why) => why.join("; "),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_known_to_be_good_goes_on() {
        let minutes = |n: i64| n * 60_000;
        assert_eq!(at(0.0, 0, 1, None).promotion(&settings(), Stamp(1)), Promotion::To(10), "the first step has nothing to be judged by");
        let good = at(10.0, 10, minutes(6), Some(Verdict::Pass));
        assert_eq!(good.promotion(&settings(), Stamp(minutes(6))), Promotion::To(25));
        assert_eq!(against(&good, minutes(3)), "it bakes: 3:00 of 5:00");
        for verdict in [Verdict::Warn, Verdict::Fail, Verdict::Unknown] {
            assert!(against(&at(10.0, 10, minutes(6), Some(verdict)), minutes(6)).contains("the analysis says"), "{verdict:?}");
        }
        assert_eq!(against(&at(10.0, 10, minutes(6), None), minutes(6)), "it was not judged yet");
        let young = DeployState { judged_from_now_on: true, ..at(10.0, 10, minutes(6), Some(Verdict::Unknown)) };
        assert_eq!(young.promotion(&settings(), Stamp(minutes(6))), Promotion::To(25), "the step judges it before it turns");
        assert_eq!(young.verdict(Stamp(minutes(6))).0, Verdict::Unknown);
        let changed = at(50.0, 10, minutes(6), Some(Verdict::Pass));
        assert!(against(&changed, minutes(6)).contains("desired 10 % by run R, observed 50 %: somebody else has changed it"));
        assert_eq!(changed.verdict(Stamp(minutes(6))).0, Verdict::Warn);
        let (verdict, words) = at(50.0, 10, minutes(6), Some(Verdict::Fail)).verdict(Stamp(minutes(6)));
        assert!(verdict == Verdict::Fail && words.contains("somebody else has changed it; "), "what is bad is not covered: {words}");
        assert_eq!(at(100.0, 100, 1, None).promotion(&settings(), Stamp(1)), Promotion::AtTheEnd);
        let mut blind = good.clone();
        let turned_back = DeployState { rollback: Some("rollback-full is under way".into()), ..good.clone() };
        assert_eq!(turned_back.verdict(Stamp(minutes(6))), (Verdict::Warn, "rollback-full is under way".into()));
        blind.observed = Some(Observation { at: Stamp(1), places: vec![("s".into(), Err("refused".into()))] });
        assert!(against(&blind, minutes(6)).contains("cannot be told: s: refused"));
        let held =
            DeployState { hold: Some(Hold { at: Stamp(0), by: Operator::default(), reason: "friday".into(), run: "H".into() }), ..good };
        assert!(against(&held, minutes(6)).contains("friday"));
    }
}
