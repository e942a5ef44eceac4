//! Verdicts of panels and boards: computed once from what is known, and the same wherever they stand.

use std::time::Duration;

use super::store::Store;
use super::summary::{RuleLine, Summary, alert_verdict, blind};
use crate::base::clock::Stamp;
use crate::config::{Board, Config, Panel, PanelKind};
use crate::judge::{RulePhase, Verdict};
use crate::observe::reading::{Ask, SourceState};

/// The verdicts of one board: each panel's, and the worst of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardVerdicts {
    pub panels: Vec<Option<Verdict>>,
    /// The worst that each has been lately, and when: where it stands goes by that, so that what flips does not jump.
    pub lately: Vec<(Option<Verdict>, Stamp)>,
    pub worst: Option<Verdict>,
}

/// So long it has to be better before it stands elsewhere.
const SETTLES: Duration = Duration::from_secs(20);

/// The verdicts of every board, after those `before`.
pub fn verdicts(config: &Config, store: &Store, summary: &Summary, before: &[BoardVerdicts]) -> Vec<BoardVerdicts> {
    let board = |(at, board): (usize, &Board)| {
        let panels: Vec<Option<Verdict>> = board.panels.iter().map(|panel| panel_verdict(config, store, summary, panel)).collect();
        let was = |panel: usize| before.get(at).and_then(|board| board.lately.get(panel)).copied();
        let lately = panels.iter().enumerate().map(|(panel, now)| match was(panel) {
            Some((Some(Verdict::Fail), since)) if *now < Some(Verdict::Fail) && summary.at.since(since) < SETTLES => {
                (Some(Verdict::Fail), since)
            }
            _ => (*now, summary.at),
        });
        BoardVerdicts { worst: panels.iter().copied().max().flatten(), lately: lately.collect(), panels }
    };
    config.boards.iter().enumerate().map(board).collect()
}

/// A panel's worst verdict: of its judged signals, or unknown when one cannot be read; panels of alerts and sources speak for
/// theirs.
fn panel_verdict(config: &Config, store: &Store, summary: &Summary, panel: &Panel) -> Option<Verdict> {
    let one = |name: &std::sync::Arc<str>| {
        let track = store.signals.get(name)?;
        let judged = config.signal(name).is_some_and(|signal| signal.has_thresholds());
        (judged || track.is_blind()).then_some(track.judgement.verdict)
    };
    let own = panel.signals.iter().filter_map(one).max();
    // What fires for a signal is bad where that is shown, too.
    let fires = |rule: &&RuleLine| matches!(rule.state.phase, RulePhase::Firing { .. });
    let ruled = summary.rules.iter().filter(fires).filter(|rule| panel.signals.iter().any(|name| **name == *rule.signal));
    let own = own.max(ruled.map(|rule| rule.verdict).max());
    let shows_alerts = panel.signals.iter().any(|name| config.signals.get(name).is_some_and(|signal| signal.question.ask == Ask::Alerts));
    let raised = || summary.alerts.iter().map(|(_, alert)| alert_verdict(&config.alerts, alert)).max();
    let others = match panel.kind {
        PanelKind::Alerts => {
            let rules = summary.rules.iter().map(|rule| rule.verdict);
            let silent = summary.silent.iter().map(|_| Verdict::Fail);
            rules.chain(silent).chain(raised()).max()
        }
        PanelKind::Deploy => summary.deploy.as_ref().map(|deploy| deploy.verdict(summary.at).0),
        PanelKind::Rollback => summary.readiness.as_ref().map(|readiness| readiness.state().verdict()),
        // As it is said in the header: a source that is away is not bad, but what hangs on it is not known.
        PanelKind::Services => {
            let away = summary.sources.iter().filter(|source| source.state == SourceState::Failing);
            away.map(|source| if blind(source, &summary.signals) > 0 { Verdict::Unknown } else { Verdict::Warn }).max()
        }
        _ if shows_alerts => raised(),
        _ => None,
    };
    own.max(others)
}
