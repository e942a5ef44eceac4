//! The rows of every panel that shows rows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::list_view::{Row, TableData};
use super::state::{State, is_list};
use crate::base::text::{shared, telling};
use crate::base::units::{Unit, short};
use crate::config::{Panel, PanelKind};
use crate::judge::{RulePhase, Verdict};
use crate::observe::reading::{Alert, AlertState, EventOutcome, SourceState, Value};
use crate::status::{RunStatus, alert_verdict, raised};

/// The rows of a panel, whatever it shows.
pub fn table_of(state: &State, panel: &Panel) -> TableData {
    match panel.kind {
        PanelKind::Alerts => alerts(state, panel),
        PanelKind::Services => services(state, panel),
        PanelKind::Events => events(state, panel),
        PanelKind::Runbooks => runbooks(state),
        _ => values(state, panel),
    }
}

/// The selected row of the focused list, if it has any.
pub fn selected_row(state: &State) -> Option<Row> {
    let panel = state.panel().filter(|panel| is_list(panel.kind))?;
    let list = state.list(state.focus());
    let rows = list.shown(&table_of(state, panel));
    let last = rows.len().checked_sub(1)?;
    rows.into_iter().nth(list.selected.min(last))
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_string()).collect()
}

/// Tables as they are; other values as rows of signal and value.
fn values(state: &State, panel: &Panel) -> TableData {
    let store = state.store();
    let mut data = TableData::default();
    for name in &panel.signals {
        let (Some(track), Some(signal)) = (store.signals.get(name), state.config.signal(name)) else { continue };
        match track.good.as_ref().and_then(|r| r.value()) {
            Some(Value::Table(table)) => {
                data.columns.clone_from(&table.columns);
                data.rows.extend(table.rows_at(state.shown_at()).map(|cells| Row { cells, verdict: None }));
            }
            Some(value) => {
                if data.columns.is_empty() {
                    data.columns = columns(&["name", "value"]);
                }
                let lines = value.lines();
                if lines.is_empty() {
                    let cells = vec![signal.title.clone(), crate::status::shown(value, signal.unit)];
                    data.rows.push(Row { cells, verdict: Some(track.judgement.verdict) });
                }
                let of_all = shared(lines.iter().map(|line| &*line.label));
                let mut rows: Vec<Row> = lines
                    .iter()
                    .map(|line| {
                        let name = telling(&line.label, &of_all);
                        let verdict = signal.has_thresholds().then(|| signal.verdict_of_line(&track.judgement, &line.label, line.value));
                        let label = if name.is_empty() { signal.title.clone() } else { name };
                        Row { cells: vec![label, signal.shown(line.value)], verdict }
                    })
                    .collect();
                // The culprit first; of equals the order stays.
                rows.sort_by_key(|row| std::cmp::Reverse(row.verdict));
                data.rows.append(&mut rows);
            }
            None => {}
        }
    }
    data
}

fn events(state: &State, panel: &Panel) -> TableData {
    let mut data = TableData { columns: columns(&["when", "what", "why", "ended"]), rows: Vec::new(), dispensable: &[3] };
    for name in &panel.signals {
        let Some(Value::Events(events)) = state.store().signals.get(name).and_then(|t| t.good.as_ref()?.value()) else { continue };
        for event in events {
            let (word, verdict) = match event.outcome {
                EventOutcome::Done => ("done", Some(Verdict::Pass)),
                EventOutcome::Failed => ("failed", Some(Verdict::Fail)),
                EventOutcome::Unknown => ("", None),
            };
            data.rows.push(Row { cells: vec![event.at.when(state.now), event.kind.clone(), event.text.clone(), word.into()], verdict });
        }
    }
    data
}

fn runbooks(state: &State) -> TableData {
    let mut data = TableData {
        columns: columns(&["runbook", "title", "owner", "status", "danger", "last run", "due"]),
        rows: Vec::new(),
        dispensable: &[2, 4, 3, 1],
    };
    for line in &state.ledger.runbooks {
        let Some(runbook) = &line.loaded.runbook else {
            let first = line.loaded.findings.first().map_or_else(String::new, |f| format!("line {}: {}", f.line, f.cause));
            let cells = [line.name.as_str(), &first, "", "mistakes", "", "", ""].map(str::to_string).to_vec();
            data.rows.push(Row { cells, verdict: Some(Verdict::Fail) });
            continue;
        };
        let last = line.last.map_or_else(|| "never".to_string(), |(at, status)| format!("{} {}", at.when(state.now), status.word()));
        let verdict = match line.last {
            Some((_, RunStatus::Failed | RunStatus::Broken)) => Some(Verdict::Fail),
            _ if line.due.is_late() => Some(Verdict::Warn),
            Some((_, RunStatus::Done)) => Some(Verdict::Pass),
            _ => None,
        };
        let front = &runbook.front;
        let cells = vec![
            line.name.clone(),
            front.title.clone(),
            front.owner.clone(),
            front.status.word().into(),
            runbook.danger.word().into(),
            last,
            format!("{} {}", front.frequency.word(), line.due.words()).trim().to_string(),
        ];
        data.rows.push(Row { cells, verdict });
    }
    data
}

fn services(state: &State, panel: &Panel) -> TableData {
    let summary = state.summary();
    let mut data = TableData {
        columns: columns(&["name", "kind", "state", "since", "took", "what it says"]),
        rows: Vec::new(),
        dispensable: &[4, 1, 3],
    };
    for source in &summary.sources {
        let (word, verdict) = match source.state {
            SourceState::Starting => ("starting", Verdict::Unknown),
            SourceState::Up => ("up", Verdict::Pass),
            SourceState::Slow => ("slow", Verdict::Warn),
            SourceState::Failing => ("failing", Verdict::Fail),
        };
        let mut says = source.fault.as_ref().map_or_else(|| source.place.clone(), |f| f.message.clone());
        if let (SourceState::Failing, Some(next)) = (source.state, source.next_try) {
            says = format!("next try in {} · {says}", short(next.since(state.shown_at()).max(std::time::Duration::from_secs(1))));
        }
        if let Some(warning) = &source.warning {
            says = format!("{warning} · {says}");
        }
        let since = source.since.map_or_else(String::new, |s| short(state.shown_at().since(s)));
        let took = if source.took.is_zero() { String::new() } else { Unit::Seconds.format(source.took.as_secs_f64()) };
        data.rows
            .push(Row { cells: vec![source.name.clone(), source.kind.clone(), word.into(), since, took, says], verdict: Some(verdict) });
    }
    for name in &panel.signals {
        let Some(line) = summary.signals.iter().find(|s| s.name == **name) else { continue };
        let Some(track) = state.store().signals.get(name) else { continue };
        let took = track.latest.as_ref().map_or_else(String::new, |r| Unit::Seconds.format(r.took.as_secs_f64()));
        let mut says = line.judgement.reason.clone();
        if let Some(note) = line.notes.first() {
            says = format!("{note} · {says}");
        }
        let verdict = line.judgement.verdict;
        data.rows.push(Row {
            cells: vec![line.title.clone(), "probe".into(), verdict.word().into(), String::new(), took, says],
            verdict: Some(verdict),
        });
    }
    data
}

/// What an alert is called, and why it fires.
type Alike<'a> = (&'a str, &'a str);

/// The labels by which alerts differ that would look the same.
fn differences<'a>(raised: &[(&Arc<str>, &'a Alert)]) -> HashMap<Alike<'a>, BTreeSet<&'a str>> {
    let mut first: HashMap<Alike, &Alert> = HashMap::new();
    let mut found: HashMap<Alike, BTreeSet<&str>> = HashMap::new();
    for (_, alert) in raised {
        let alike = (alert.name.as_str(), alert.text.as_str());
        let one = *first.entry(alike).or_insert(alert);
        let names = one.labels.keys().chain(alert.labels.keys()).filter(|name| one.labels.get(*name) != alert.labels.get(*name));
        found.entry(alike).or_default().extend(names.map(String::as_str));
    }
    found
}

/// Why an alert fires; in front of that what it differs by.
fn told_apart(alert: &Alert, differences: &HashMap<Alike, BTreeSet<&str>>) -> String {
    let names = differences.get(&(alert.name.as_str(), alert.text.as_str())).into_iter().flatten();
    let own = names.filter_map(|name| Some(format!("{name}={}", alert.labels.get(*name)?)));
    own.chain((!alert.text.is_empty()).then(|| alert.text.clone())).collect::<Vec<_>>().join(" · ")
}

fn alerts(state: &State, panel: &Panel) -> TableData {
    let mut data =
        TableData { columns: columns(&["state", "name", "whose", "level", "since", "why"]), rows: Vec::new(), dispensable: &[3, 2, 4] };
    let summary = state.summary();
    let mut rules: Vec<_> = summary.rules.iter().collect();
    let rank = |phase: &RulePhase| match phase {
        RulePhase::Firing { .. } => 0,
        RulePhase::Pending { .. } => 1,
        RulePhase::NoData { .. } => 2,
        RulePhase::Resolved { .. } => 3,
        RulePhase::Inactive => 4,
    };
    rules.sort_by_key(|r| rank(&r.state.phase));
    for rule in rules {
        let word = rule.state.word();
        let (since, verdict) = match rule.state.phase {
            RulePhase::Firing { since } | RulePhase::Pending { since, .. } | RulePhase::NoData { since } => {
                (since.since_when(state.now), Some(rule.verdict))
            }
            RulePhase::Resolved { at } => (at.since_when(state.now), Some(Verdict::Pass)),
            RulePhase::Inactive => (String::new(), None),
        };
        let why = [rule.words.as_str(), rule.state.reason.as_str(), rule.summary.as_str()]
            .iter()
            .filter(|t| !t.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(" · ");
        data.rows.push(Row { cells: vec![word.into(), rule.name.clone(), "lastgreen".into(), rule.level.into(), since, why], verdict });
    }
    let (mut theirs, raised) = (Vec::new(), raised(&state.config, state.store()));
    let differences = differences(&raised);
    for name in &panel.signals {
        let (Some(track), Some(signal)) = (state.store().signals.get(name), state.config.signals.get(name)) else { continue };
        let whose = signal.question.source.to_string();
        if let Some(fault) = track.fault() {
            theirs.push(Row {
                cells: vec!["unknown".into(), "—".into(), whose.clone(), String::new(), String::new(), fault.to_string()],
                verdict: Some(Verdict::Unknown),
            });
        }
        for (_, alert) in raised.iter().filter(|(asked, _)| *asked == name) {
            let (word, verdict) = match alert.state {
                AlertState::Firing => ("firing", Some(alert_verdict(&state.config.alerts, alert))),
                AlertState::Unknown => ("unknown", Some(Verdict::Unknown)),
                AlertState::Pending => ("pending", Some(Verdict::Warn)),
                AlertState::Silenced => ("silenced", None),
                AlertState::Resolved => ("resolved", None),
            };
            let since = alert.since.map_or_else(String::new, |at| at.since_when(state.now));
            theirs.push(Row {
                cells: vec![word.into(), alert.name.clone(), whose.clone(), alert.severity.clone(), since, told_apart(alert, &differences)],
                verdict,
            });
        }
    }
    // The worst of them first; of equals the order stays.
    theirs.sort_by_key(|row| std::cmp::Reverse(row.verdict));
    let never = |name: &String| Row {
        cells: vec![
            "silent".into(),
            name.clone(),
            "heartbeat".into(),
            String::new(),
            String::new(),
            "it always fires while alerting works".into(),
        ],
        verdict: Some(Verdict::Fail),
    };
    data.rows.splice(0..0, summary.silent.iter().map(never));
    // What is firing stands on top, whoever says so.
    let at = data.rows.iter().position(|r| !["silent", "firing", "pending"].contains(&r.cells[0].as_str())).unwrap_or(data.rows.len());
    data.rows.splice(at..at, theirs);
    data
}
