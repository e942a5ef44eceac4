//! Verdicts of panels and boards: computed once from what is known, and the same wherever they stand.

use super::store::Store;
use super::summary::{Summary, alert_verdict, blind};
use crate::config::{Config, Panel, PanelKind};
use crate::judge::Verdict;
use crate::observe::reading::{Freshness, SourceState};

/// The verdicts of one board: each panel's, and the worst of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardVerdicts {
    pub panels: Vec<Option<Verdict>>,
    pub worst: Option<Verdict>,
}

/// The verdicts of every board.
pub fn verdicts(config: &Config, store: &Store, summary: &Summary) -> Vec<BoardVerdicts> {
    let board = |panels: &[Panel]| {
        let panels: Vec<Option<Verdict>> = panels.iter().map(|panel| panel_verdict(config, store, summary, panel)).collect();
        BoardVerdicts { worst: panels.iter().copied().max().flatten(), panels }
    };
    config.boards.iter().map(|b| board(&b.panels)).collect()
}

/// A panel's worst verdict: of its judged signals, or unknown when one cannot be read; panels of alerts and sources speak for
/// theirs.
fn panel_verdict(config: &Config, store: &Store, summary: &Summary, panel: &Panel) -> Option<Verdict> {
    let one = |name: &std::sync::Arc<str>| {
        let track = store.signals.get(name)?;
        let verdict = track.judgement.verdict;
        let judged = config.signal(name).is_some_and(|signal| signal.has_thresholds());
        // A ratio of nothing to nothing, of a track without traffic, is an answer where nobody judges it.
        let answered = track.latest.as_ref().is_some_and(|latest| latest.outcome.is_ok() && !latest.partial);
        let blind = verdict == Verdict::Unknown && !(answered && track.judgement.freshness == Freshness::Live);
        (judged || blind).then_some(verdict)
    };
    let own = panel.signals.iter().filter_map(one).max();
    let others = match panel.kind {
        PanelKind::Alerts => {
            let rules = summary.rules.iter().map(|rule| rule.verdict);
            let silent = summary.silent.iter().map(|_| Verdict::Fail);
            rules.chain(silent).chain(summary.alerts.iter().map(|(_, alert)| alert_verdict(&config.alerts, alert))).max()
        }
        PanelKind::Deploy => summary.deploy.as_ref().map(|deploy| deploy.verdict(summary.at).0),
        PanelKind::Rollback => summary.readiness.as_ref().map(|readiness| readiness.state().verdict()),
        // As it is said in the header: a source that is away is not bad, but what hangs on it is not known.
        PanelKind::Services => {
            let away = summary.sources.iter().filter(|source| source.state == SourceState::Failing);
            away.map(|source| if blind(source, &summary.signals) > 0 { Verdict::Unknown } else { Verdict::Warn }).max()
        }
        _ => None,
    };
    own.max(others)
}
