//! One row of a list, whole: every cell in full, and of a rule what it judges, its chart, and the runbook that answers it.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use super::palette::window;
use super::series;
use crate::base::text::{width, wrap};
use crate::config::{Panel, PanelKind};
use crate::show::cockpit::{Row, State, table_of};
use crate::show::keymap::Action;
use crate::show::theme::Role;
use crate::status::RuleLine;

/// Rows that a chart needs to be worth its room, and the most it gets.
const CHART: (u16, u16) = (4, 10);

pub fn draw(state: &State, paint: &mut Paint, area: Rect, row: &Row, scroll: u16) {
    let Some(panel) = state.panel() else { return };
    let data = table_of(state, panel);
    let named_by = match panel.kind {
        PanelKind::Alerts => 1..3,
        PanelKind::Services => 0..1,
        _ => 0..row.cells.len(),
    };
    // As it is now, where it is still there.
    let row = row.as_now(&data.rows, named_by).unwrap_or(row);
    let rule = (panel.kind == PanelKind::Alerts).then(|| state.summary().rules.iter().find(|rule| row.names(&rule.name))).flatten();
    let mut lines: Vec<(String, Role)> = Vec::new();
    let cells = usize::from(area.width.min(100).saturating_sub(6));
    let own = if rule.is_some() { width("signal") } else { 0 };
    let names = data.columns.iter().map(|name| width(name)).max().unwrap_or(0).max(own);
    for (column, cell) in data.columns.iter().zip(&row.cells).filter(|(_, cell)| !cell.is_empty()) {
        let verdict = row.verdict.filter(|_| column == "state").map_or(Role::Text, role);
        labelled(&mut lines, (column, names), cell, cells, verdict);
    }
    if let Some(rule) = rule {
        of_rule(state, &mut lines, rule, names, cells);
    }
    let charted = rule.and_then(|rule| state.config.signals.keys().find(|name| ***name == *rule.signal));
    let room = area.height.saturating_sub(lines.len() as u16 + 2);
    let chart = charted.filter(|_| room > CHART.0).map_or(0, |_| (room - 1).min(CHART.1));
    let high = lines.len() as u16 + 2 + if chart > 0 { chart + 1 } else { 0 };
    let title = row.cells.get(1).or(row.cells.first()).map_or(panel.title.as_str(), String::as_str);
    let inner = window(paint, area, 100, high, title);
    let text = Rect { height: inner.height.saturating_sub(if chart > 0 { chart + 1 } else { 0 }), ..inner };
    let most = (lines.len() as u16).saturating_sub(text.height);
    for (y, (line, role)) in lines.iter().skip(usize::from(scroll.min(most))).take(usize::from(text.height)).enumerate() {
        paint.text(text, 0, y as u16, line, *role);
    }
    if let Some(signal) = charted.filter(|_| chart > 0) {
        let area = Rect { y: text.y + text.height + 1, height: chart, ..inner };
        series::draw(state, paint, area, &Panel { title: String::new(), kind: PanelKind::Series, signals: vec![signal.clone()] });
    }
}

/// What a rule judges, and what answers it.
fn of_rule(state: &State, lines: &mut Vec<(String, Role)>, rule: &RuleLine, names: usize, cells: usize) {
    let mut say = |name: &str, text: &str, role: Role| labelled(lines, (name, names), text, cells, role);
    say("fires", &format!("when {} is {}", rule.signal, rule.condition), Role::Text);
    if let Some(signal) = state.config.signal(&rule.signal) {
        say("signal", &format!("{}, in {}", signal.title, signal.unit.name()), Role::Text);
    }
    if let Some(config) = state.config.signals.get(rule.signal.as_str()) {
        say("asks", &format!("{}: {}", config.question.source, config.shown), Role::Dim);
    }
    let key = state.keymap.keys(Action::Run).into_iter().next().unwrap_or_default();
    match &rule.runbook {
        Some(runbook) => say("answer", &format!("{key} opens the runbook {runbook}"), Role::Accent),
        None => say("answer", "it names no runbook (runbook = \"NAME\" in the rule)", Role::Dim),
    }
}

fn labelled(lines: &mut Vec<(String, Role)>, (name, names): (&str, usize), text: &str, cells: usize, role: Role) {
    for (i, line) in wrap(text, cells.saturating_sub(names + 2).max(10)).into_iter().enumerate() {
        let name = if i == 0 { name } else { "" };
        lines.push((format!("{name:names$}  {line}"), role));
    }
}
