//! Boards and their panels.

use std::sync::Arc;

use indexmap::IndexMap;

use super::file::FileShape;
use super::model::{Board, Panel, PanelKind, SignalConfig};
use super::resolver::Resolver;
use super::sense::is_text;
use super::shape::{PanelShape, SpannedText};
use crate::base::diag::suggestion;
use crate::observe::reading::{Ask, Shape};

impl Resolver<'_> {
    pub(super) fn boards(&mut self, file: &FileShape, signals: &IndexMap<Arc<str>, SignalConfig>, left_out: &[Arc<str>]) -> Vec<Board> {
        let mut boards = Vec::new();
        for shape in &file.boards {
            let mut panels = Vec::new();
            for panel in &shape.panels {
                let mut found = Vec::new();
                for text in &panel.signals {
                    let name = text.get_ref().as_str();
                    if let Some(signal) = signals.get(name) {
                        found.push(signal.signal.name.clone());
                        if let Some(why) = does_not_fit(panel.kind, &signal.question.ask) {
                            self.findings.warn(text.span(), format!("`{name}` in the panel `{}`: {why}", panel.title), None);
                        }
                    } else if !left_out.iter().any(|s| **s == *name) && !file.signals.contains_key(name) {
                        self.findings.error(
                            text.span(),
                            format!("there is no signal `{name}`"),
                            suggestion(name, signals.keys().map(AsRef::as_ref)),
                        );
                    }
                }
                if panel.kind == PanelKind::Stack {
                    self.stacks_one_unit(panel, signals);
                }
                let bare = is_bare(panel.kind);
                if panel.signals.is_empty() && !bare {
                    self.findings.error(shape.name.span(), format!("panel `{}` has no signals", panel.title), None);
                }
                panels.push(Panel { title: panel.title.clone(), kind: panel.kind, signals: found });
            }
            if shape.name.get_ref().trim().is_empty() {
                self.findings.error(shape.name.span(), "a board's name is empty", Some("write what stands in its tab".into()));
            }
            if shape.panels.is_empty() {
                let hint = "add panels = [{title = \"…\", kind = \"series\", signals = [\"…\"]}]";
                self.findings.error(shape.name.span(), format!("board `{}` has no panels", shape.name.get_ref()), Some(hint.into()));
            }
            if shape.columns == Some(0) {
                self.findings.error(shape.name.span(), "a board has at least one column", None);
            }
            boards.push(Board { name: shape.name.get_ref().clone(), columns: shape.columns, panels });
        }
        if boards.is_empty() {
            boards = plain_boards(signals);
        }
        self.boards_of_deployment(file, &mut boards);
        // What can always be reached, whatever boards somebody likes.
        let always = [
            ("Runbooks", "Runbooks", PanelKind::Runbooks),
            ("Services", "Sources", PanelKind::Services),
            ("Alerts", "Rules and alerts", PanelKind::Alerts),
            ("Logs", "Log", PanelKind::Logs),
        ];
        // Alerts of others stand where alerts stand, whoever raises them.
        let raised: Vec<Arc<str>> =
            signals.iter().filter(|(_, signal)| signal.question.ask == Ask::Alerts).map(|(name, _)| name.clone()).collect();
        for (name, title, kind) in always {
            if !boards.iter().flat_map(|b| &b.panels).any(|p| p.kind == kind) {
                let panel = Panel { title: title.into(), kind, signals: Vec::new() };
                boards.push(Board { name: name.into(), columns: Some(1), panels: vec![panel] });
            }
        }
        let of_alerts = boards.iter_mut().flat_map(|board| &mut board.panels).filter(|panel| panel.kind == PanelKind::Alerts);
        for panel in of_alerts.filter(|panel| panel.signals.is_empty()) {
            panel.signals.clone_from(&raised);
        }
        // What is judged is seen somewhere: it would otherwise be in the header alone.
        let is_shown = |name: &Arc<str>| boards.iter().flat_map(|board| &board.panels).any(|panel| panel.signals.contains(name));
        let others = signals.iter().filter(|(name, signal)| signal.signal.has_thresholds() && !is_shown(name)).map(panel_of).collect();
        boards.extend(boards_of("Others", others));
        boards
    }

    /// What is stacked is added up.
    fn stacks_one_unit(&mut self, panel: &PanelShape, signals: &IndexMap<Arc<str>, SignalConfig>) {
        let unit = |text: &SpannedText| signals.get(text.get_ref().as_str()).map(|signal| signal.signal.unit);
        let first = panel.signals.iter().find_map(unit);
        if let Some(other) = panel.signals.iter().find(|text| unit(text).is_some() && unit(text) != first) {
            let cause = format!("`{}` in the panel `{}` has another unit than those it is stacked on", other.get_ref(), panel.title);
            self.findings.warn(other.span(), cause, Some("put it into a panel of its own, or kind = \"series\"".into()));
        }
    }

    /// With a switch of the traffic there is a board of the canary and one of the rollback; without one there is neither.
    fn boards_of_deployment(&self, file: &FileShape, boards: &mut Vec<Board>) {
        let of_deployment = |panel: &Panel| matches!(panel.kind, PanelKind::Deploy | PanelKind::Rollback);
        if file.sections.traffic.is_none() {
            boards.retain(|board| board.panels.is_empty() || !board.panels.iter().all(of_deployment));
            return;
        }
        for (at, (name, title, kind)) in
            [("Deploy", "Canary", PanelKind::Deploy), ("Rollback", "Readiness", PanelKind::Rollback)].into_iter().enumerate()
        {
            if !boards.iter().flat_map(|board| &board.panels).any(|panel| panel.kind == kind) {
                let panel = Panel { title: title.into(), kind, signals: Vec::new() };
                let at = (at + 1).min(boards.len());
                boards.insert(at, Board { name: name.into(), columns: Some(1), panels: vec![panel] });
            }
        }
    }
}

/// Why a kind of panel shows nothing of what is asked.
fn does_not_fit(kind: PanelKind, ask: &Ask) -> Option<String> {
    let rows = ask.has_no_number();
    match kind {
        PanelKind::Events if !matches!(ask, Ask::Sql { shape: Shape::Events, .. }) => {
            Some("its kind shows lists of events (shape = \"events\")".into())
        }
        PanelKind::Series | PanelKind::Stack | PanelKind::Distribution => {
            let what = rows.or(is_text(ask).then_some("a text"))?;
            Some(format!("its kind shows numbers, and this gives {what}"))
        }
        PanelKind::Alerts if *ask != Ask::Alerts => Some("its kind shows alerts (alerts = true)".into()),
        kind if is_bare(kind) && kind != PanelKind::Alerts => Some("its kind shows no signals".into()),
        _ => None,
    }
}

/// Whether a kind of panel needs no signals.
fn is_bare(kind: PanelKind) -> bool {
    use PanelKind::{Alerts, Deploy, Logs, Rollback, Runbooks, Services};
    matches!(kind, Alerts | Services | Runbooks | Logs | Deploy | Rollback)
}

/// So many panels can still be told apart.
const ON_A_BOARD: usize = 24;

/// A signal in a panel of its own.
fn panel_of((name, signal): (&Arc<str>, &SignalConfig)) -> Panel {
    let kind = if signal.question.history { PanelKind::Series } else { PanelKind::Stats };
    Panel { title: signal.signal.title.clone(), kind, signals: vec![name.clone()] }
}

/// Panels on as many boards as they need.
fn boards_of(name: &str, panels: Vec<Panel>) -> Vec<Board> {
    let called = |i: usize| if i == 0 { name.to_string() } else { format!("{name} {}", i + 1) };
    let chunks = panels.chunks(ON_A_BOARD).enumerate();
    chunks.map(|(i, panels)| Board { name: called(i), columns: None, panels: panels.to_vec() }).collect()
}

/// Without any board: every signal in one, then the sources, the rules and the log.
fn plain_boards(signals: &IndexMap<Arc<str>, SignalConfig>) -> Vec<Board> {
    let bare = |title: &str, kind| Panel { title: title.into(), kind, signals: Vec::new() };
    // Alerts have a board of their own.
    let shown = signals.iter().filter(|(_, signal)| signal.question.ask != Ask::Alerts).map(panel_of).collect();
    let mut boards = boards_of("Overview", shown);
    if boards.is_empty() {
        boards.push(Board { name: "Overview".into(), columns: None, panels: Vec::new() });
    }
    boards.extend([
        Board { name: "Services".into(), columns: Some(1), panels: vec![bare("Sources", PanelKind::Services)] },
        Board { name: "Alerts".into(), columns: Some(1), panels: vec![bare("Rules and alerts", PanelKind::Alerts)] },
        Board { name: "Logs".into(), columns: Some(1), panels: vec![bare("Log", PanelKind::Logs)] },
    ]);
    boards
}
