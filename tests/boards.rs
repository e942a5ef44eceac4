//! Pictures of every board as text, at three sizes and in four states; and hostile text, which draws in its cell only.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::screen::{picture, theme};
use lastgreen::base::clock::Stamp;
use lastgreen::config::{Config, load_text, runbooks};
use lastgreen::observe::reading::{
    Alert, AlertState, Ask, Delivery, EventOutcome, Fact, Fault, FaultKind, LabelledValue, Reading, Shape, SourceEvent, SourceHealth,
    SourceState, Table, Tail, Value,
};
use lastgreen::show::cockpit::{Message, Overlay, State, update};
use lastgreen::show::keymap;
use lastgreen::show::theme::Glyphs;
use lastgreen::status::{Ledger, Moment, MomentOf};

const NOW: Stamp = Stamp(1_795_186_800_000); // 2026-11-20 15:00:00Z

const CONFIG: &str = r#"
profile = "rag"
[environment]
name = "rag-production"
tier = "production"
[sources.prometheus]
kind = "prometheus"
url = "http://prometheus:9090"
[sources.qdrant]
kind = "qdrant"
url = "http://qdrant:6333"
collection = "rag_main"
[sources.database]
kind = "database"
url = "postgres://rag@db/ragdb"
[sources.stable]
kind = "http"
url = "http://rag:8000"
[sources.canary]
kind = "http"
url = "http://rag-canary:8000"
[sources.alertmanager]
kind = "alertmanager"
url = "http://alertmanager:9093"
"#;

fn config() -> Arc<Config> {
    Arc::new(load_text(Path::new("boards.toml"), CONFIG).config.expect("a configuration"))
}

/// A value between 0 and 1 that depends on nothing but its place.
fn wave(name: &str, i: i64) -> f64 {
    let seed: u32 = name.bytes().map(u32::from).sum();
    0.5 + 0.5 * ((i as f64 / 17.0) + f64::from(seed)).sin()
}

fn level(name: &str) -> f64 {
    match name {
        "faithfulness" => 0.81,
        "answer_relevancy" => 0.84,
        "context_recall" => 0.78,
        "gate_fail_rate" => 0.081,
        "http_5xx" => 0.024,
        "provider_errors" => 0.002,
        "retrieval_score_median" => 0.72,
        "governance_unowned" | "governance_overdue" => 0.0,
        "governance_sources" => 24.0,
        "canary_share" => 0.1,
        n if n.starts_with("latency") => 1.1,
        n if n.contains("burn") => 0.4,
        _ => 5.0,
    }
}

fn labels(name: &str) -> Vec<&'static str> {
    match name {
        "latency_by_component" => vec!["embed", "generate", "rerank", "retrieve"],
        "http_5xx_by_track" | "requests" => vec!["canary", "stable"],
        "retrieval_scores" => vec!["0.2", "0.4", "0.6", "0.8", "1", "+Inf"],
        _ => vec![""],
    }
}

fn point(name: &str, index: usize, i: i64) -> f64 {
    let base = level(name) * (0.9 + 0.1 * wave(name, i));
    if name == "retrieval_scores" { [2.0, 8.0, 30.0, 80.0, 100.0, 100.0][index] } else { base * (1.0 - 0.2 * index as f64) }
}

fn value(name: &str, ask: &Ask) -> Value {
    let table = |columns: &[&str], rows: &[&[&str]]| {
        let text = |row: &&[&str]| row.iter().map(|c| (*c).to_string()).collect();
        Value::Table(Table {
            columns: columns.iter().map(|c| (*c).to_string()).collect(),
            rows: rows.iter().map(text).collect(),
            ..Table::default()
        })
    };
    match ask {
        Ask::Promql { .. } => {
            let lines: Vec<LabelledValue> =
                labels(name).iter().enumerate().map(|(i, l)| LabelledValue { label: (*l).into(), value: point(name, i, 180) }).collect();
            if lines.len() == 1 { Value::Number(lines[0].value) } else { Value::Lines(lines) }
        }
        Ask::Qdrant { fact: Fact::Status, .. } => Value::Text("green".into()),
        Ask::Qdrant { fact: Fact::Optimizer, .. } => Value::Text("ok".into()),
        Ask::Qdrant { fact: Fact::SnapshotAge, .. } => Value::Number(21_600.0),
        Ask::Qdrant { fact: Fact::Collections, .. } => table(
            &["collection", "status", "points", "newest snapshot"],
            &[&["rag_main", "green", "18,204", "6h ago"], &["rag_old", "grey: optimizations pending", "17,900", "3d ago"]],
        ),
        Ask::Qdrant { fact: Fact::Aliases, .. } => table(&["alias", "collection"], &[&["rag_live", "rag_main"]]),
        Ask::Qdrant { fact: Fact::Snapshots, .. } => {
            table(&["snapshot", "made", "size"], &[&["rag_main-1-2026-11-20.snapshot", "6h ago", "412 MiB"]])
        }
        Ask::Sql { shape: Shape::Table, .. } => {
            table(&["model", "chunks", "documents"], &[&["embed-large-3", "16000", "900"], &["embed-small-2", "2204", "120"]])
        }
        Ask::Sql { shape: Shape::Events, .. } => Value::Events(vec![
            SourceEvent {
                at: Stamp(NOW.0 - 691_200_000),
                kind: "rollback_auto".into(),
                text: "gate_fail_rate".into(),
                outcome: EventOutcome::Done,
            },
            SourceEvent {
                at: Stamp(NOW.0 - 1_814_400_000),
                kind: "rollback_manual".into(),
                text: "latency_spike".into(),
                outcome: EventOutcome::Failed,
            },
        ]),
        Ask::Alerts => Value::Alerts(vec![Alert {
            name: "DiskFull".into(),
            labels: Default::default(),
            state: AlertState::Silenced,
            severity: "warning".into(),
            since: Some(Stamp(NOW.0 - 3_600_000)),
            text: "silenced by oncall until 18:00: known · disk of db1".into(),
        }]),
        Ask::Probe(_) => Value::Number(0.0),
        _ => Value::Number(18_204.0),
    }
}

fn health(kind: &'static str, state: SourceState) -> SourceHealth {
    let failing = state == SourceState::Failing;
    SourceHealth {
        kind,
        state,
        since: Stamp(NOW.0 - 600_000),
        fault: failing.then(|| Fault::new(FaultKind::Unreachable, "cannot reach prometheus:9090: connection refused")),
        next_try: failing.then_some(Stamp(NOW.0 + 4_000)),
        last_good: Some(NOW),
        took: Duration::from_millis(12),
        identity: match kind {
            "database" => vec![("database".into(), "ragdb".into())],
            "qdrant" => vec![("collection".into(), "rag_main".into())],
            _ => Vec::new(),
        },
        identified: true,
        warning: None,
    }
}

fn full(config: &Config) -> Delivery {
    let mut delivery = Delivery::default();
    for question in config.questions() {
        let reading = match question.name.split_once('#') {
            None => Reading::good(NOW, &question.source, value(&question.name, &question.ask)),
            Some((_, "samples")) => Reading::good(NOW, &question.source, Value::Number(420.0)),
            Some(_) => Reading::good(NOW, &question.source, Value::Number(1.0)),
        };
        delivery.readings.insert(question.name.clone(), Reading { took: Duration::from_millis(8), notes: Vec::new(), ..reading });
        if question.history {
            let lines = labels(&question.name)
                .iter()
                .enumerate()
                .map(|(index, label)| {
                    ((*label).into(), (0..=180).map(|i| (Stamp(NOW.0 - (180 - i) * 5_000), point(&question.name, index, i))).collect())
                })
                .collect();
            delivery
                .tails
                .insert(question.name.clone(), Tail { window: Duration::from_secs(900), step: Duration::from_secs(5), whole: true, lines });
        }
    }
    for (name, source) in &config.sources {
        delivery.sources.insert(name.clone(), health(source.kind.word(), SourceState::Up));
    }
    delivery
}

fn state(what: &str) -> State {
    let config = config();
    let keymap = Arc::new(keymap::load("default", Path::new(".")).expect("a keymap"));
    let mut state = State::new(config.clone(), keymap, NOW);
    let mut size = (0, 0);
    if what == "empty" {
        return state;
    }
    let runbooks = Ledger::lines(&runbooks(&config, NOW), &[], "rag-production", NOW);
    state.ledger = Ledger { runbooks, known: true, ..Ledger::default() };
    update(&mut state, Message::Delivered(Box::new(full(&config)), NOW), &mut size);
    match what {
        "stale" => drop(update(&mut state, Message::Tick(Stamp(NOW.0 + 600_000)), &mut size)),
        "error" => {
            let mut delivery = Delivery::default();
            for question in config.questions().iter().filter(|q| &*q.source == "prometheus") {
                let fault = Fault::new(FaultKind::Unreachable, "cannot reach prometheus:9090: connection refused");
                delivery.readings.insert(question.name.clone(), Reading::failed(NOW.plus(Duration::from_secs(7)), "prometheus", fault));
            }
            delivery.sources.insert("prometheus".into(), health("prometheus", SourceState::Failing));
            update(&mut state, Message::Delivered(Box::new(delivery), NOW.plus(Duration::from_secs(7))), &mut size);
        }
        _ => {}
    }
    state
}

#[test]
fn every_board_in_every_state_at_three_sizes() {
    let theme = theme(Glyphs::Unicode);
    for what in ["live", "stale", "error", "empty"] {
        let mut state = state(what);
        for board in 0..state.config.boards.len() {
            state.nav.board = board;
            let name = state.config.boards[board].name.to_lowercase();
            let pictures: Vec<String> = [(80, 24), (120, 40), (200, 60)]
                .iter()
                .map(|(w, h)| format!("── {name}, {what}, {w}x{h}\n{}", picture(&state, &theme, *w, *h).0))
                .collect();
            insta::assert_snapshot!(format!("{name}_{what}"), pictures.join("\n\n"));
        }
    }
}

#[test]
fn nothing_is_green_but_what_passes() {
    let theme = theme(Glyphs::Unicode);
    for what in ["stale", "error", "empty"] {
        let mut state = state(what);
        state.nav.board = 0;
        let (text, _) = picture(&state, &theme, 120, 40);
        for panel in ["Quality", "Gate fail rate", "Errors", "Governance"] {
            assert!(!text.contains(&format!("✓ {panel}")), "{what}: {text}");
        }
        assert!(!text.lines().next().is_some_and(|l| l.contains("PASS")), "{what}: {text}");
    }
}

const HOSTILE: &str = "\u{1b}[2J\u{1b}[31mred\u{7}\t\u{202e}evil\u{200b}\u{feff}👩‍👩‍👧日本\u{9b}1m";

#[test]
fn hostile_text_draws_in_its_cell_and_nowhere_else() {
    let config = config();
    let theme = theme(Glyphs::Unicode);
    let hostile = lastgreen::base::secret::sanitize(&(HOSTILE.to_string() + &"x".repeat(100_000)));
    let mut size = (0, 0);
    let mut delivery = full(&config);
    for reading in delivery.readings.values_mut() {
        reading.notes = vec![hostile.clone()];
        reading.outcome = match &reading.outcome {
            Ok(Value::Table(t)) => Ok(Value::Table(Table {
                columns: vec![hostile.clone(); t.columns.len()],
                rows: vec![vec![hostile.clone(); t.columns.len()]; 3],
                ..Table::default()
            })),
            Ok(Value::Text(_)) => Ok(Value::Text(hostile.clone())),
            Ok(Value::Lines(lines)) => {
                Ok(Value::Lines(lines.iter().map(|l| LabelledValue { label: hostile.as_str().into(), value: l.value }).collect()))
            }
            Ok(Value::Events(events)) => Ok(Value::Events(
                events.iter().map(|e| SourceEvent { kind: hostile.clone(), text: hostile.clone(), ..e.clone() }).collect(),
            )),
            Ok(Value::Alerts(alerts)) => {
                Ok(Value::Alerts(alerts.iter().map(|a| Alert { name: hostile.clone(), text: hostile.clone(), ..a.clone() }).collect()))
            }
            _ => Err(Fault::new(FaultKind::Garbage, hostile.clone())),
        };
    }
    for health in delivery.sources.values_mut() {
        health.identity = vec![("database".into(), hostile.clone())];
        health.fault = Some(Fault::new(FaultKind::Timeout, HOSTILE));
        health.state = SourceState::Failing;
    }
    let mut attacked = state("empty");
    update(&mut attacked, Message::Delivered(Box::new(delivery), NOW), &mut size);
    for board in 0..4 {
        for zoomed in [false, true] {
            for (width, height) in [(80, 24), (200, 60), (1, 1), (7, 3), (30, 2)] {
                attacked.nav.board = board;
                attacked.nav.zoomed = zoomed;
                let (_, buffer) = picture(&attacked, &theme, width, height);
                for cell in &buffer.content {
                    let symbol = cell.symbol();
                    assert!(symbol.chars().all(|c| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c)), "{symbol:?}");
                }
            }
        }
    }
    // The lines between the panels stand where their panels end.
    attacked.nav.board = 0;
    attacked.nav.zoomed = false;
    let (_, hostile_board) = picture(&attacked, &theme, 120, 40);
    let areas = lastgreen::show::view::panel_areas(&attacked, ratatui::layout::Rect::new(0, 0, 120, 40));
    let inner: Vec<_> = areas.iter().map(|(_, area)| *area).filter(|area| area.right() < 120).collect();
    assert_eq!(inner.len(), 6, "two lines in each of three rows: {areas:?}");
    for area in inner {
        for y in area.top()..area.bottom() {
            assert_eq!(hostile_board[(area.right() - 2, y)].symbol(), "│", "{area:?} {y}");
        }
    }
}

#[test]
fn what_fails_is_there_on_every_screen_and_has_more_room() {
    let mut state = state("live");
    state.nav.board = 0;
    let panels = state.config.boards[0].panels.clone();
    let failing: Vec<usize> = (0..panels.len()).filter(|i| state.panel_verdict(*i) == Some(lastgreen::judge::Verdict::Fail)).collect();
    assert!(!failing.is_empty(), "the picture has something that fails");
    for (width, height) in [(40, 10), (60, 16), (80, 24), (120, 40), (200, 60)] {
        let area = ratatui::layout::Rect::new(0, 0, width, height);
        let areas = lastgreen::show::view::panel_areas(&state, area);
        let shown: Vec<usize> = areas.iter().map(|(panel, _)| *panel).collect();
        let room = shown.len();
        assert!(failing.iter().take(room).all(|panel| shown.contains(panel)), "{width}x{height}: {shown:?} without {failing:?}");
        assert!(areas.iter().all(|(_, rect)| rect.right() <= width && rect.bottom() <= height), "{width}x{height}: {areas:?}");
    }
    // The one that is looked at stays, wherever it would be by its verdict.
    let calm = (0..panels.len()).rev().find(|i| !failing.contains(i)).expect("one that is well");
    state.nav.panels.insert(0, calm);
    let areas = lastgreen::show::view::panel_areas(&state, ratatui::layout::Rect::new(0, 0, 60, 16));
    assert!(areas.iter().any(|(panel, _)| *panel == calm), "{areas:?}");
}

#[test]
fn what_flips_does_not_jump() {
    use lastgreen::judge::{Op, Verdict};
    let mut state = state("live");
    state.nav.board = 0;
    let area = ratatui::layout::Rect::new(0, 0, 120, 40);
    let before = lastgreen::show::view::panel_areas(&state, area);
    // Everything that fails is well again.
    let at = NOW.plus(Duration::from_secs(5));
    let mut delivery = Delivery::default();
    for (name, signal) in &state.config.signals {
        if let Some(fail) = &signal.signal.fail {
            let well = if matches!(fail.op, Op::Greater | Op::AtLeast) { 0.0 } else { 1.0 };
            delivery.readings.insert(name.clone(), Reading::good(at, &signal.question.source, Value::Number(well)));
        }
    }
    update(&mut state, Message::Delivered(Box::new(delivery), at), &mut (120, 40));
    let fails = |state: &State| (0..before.len()).any(|panel| state.panel_verdict(panel) == Some(Verdict::Fail));
    assert!(!fails(&state));
    assert_eq!(lastgreen::show::view::panel_areas(&state, area), before, "it stands where it stood");
    update(&mut state, Message::Tick(NOW.plus(Duration::from_secs(26))), &mut (120, 40));
    assert_ne!(lastgreen::show::view::panel_areas(&state, area), before, "it stays well");
}

#[test]
fn a_wide_screen_says_what_has_happened() {
    let mut state = state("live");
    let theme = theme(Glyphs::Unicode);
    state.nav.board = 0;
    let (text, _) = picture(&state, &theme, 200, 60);
    assert!(text.contains("What has happened") && text.contains("fail: "), "{text}");
    assert!(!picture(&state, &theme, 120, 40).0.contains("What has happened"));
}

#[test]
fn what_has_happened_is_gone_through_and_opened_on_every_screen() {
    use crossterm::event::{KeyCode, KeyEvent};
    let mut state = state("live");
    state.nav.board = state.config.boards.iter().position(|board| board.name == "Services").expect("a board");
    let press = |state: &mut State, code| drop(update(state, Message::Key(KeyEvent::from(code)), &mut (80, 24)));
    let theme = theme(Glyphs::Ascii);
    press(&mut state, KeyCode::Char('H'));
    let (text, _) = picture(&state, &theme, 80, 24);
    assert!(text.is_ascii() && text.contains("What has happened") && text.contains("enter opens it"), "{text}");
    // The selection is on what it is on, and opens that: the panel of a signal, on its board.
    let all = state.moments();
    let of_signal = all.iter().position(|moment| matches!(&moment.of, MomentOf::Signal(_))).expect("a verdict");
    let MomentOf::Signal(signal) = all[of_signal].of.clone() else { unreachable!() };
    (0..of_signal).for_each(|_| press(&mut state, KeyCode::Down));
    press(&mut state, KeyCode::Enter);
    let panel = &state.config.boards[state.nav.board].panels[state.focus()];
    assert!(state.overlay.is_none() && state.nav.zoomed && panel.signals.contains(&signal), "{signal} is not in {panel:?}");
    // A rule opens its alert; whoever comes back is where he was.
    press(&mut state, KeyCode::Char('H'));
    assert!(matches!(&state.overlay, Some(Overlay::Timeline) if state.happened.index(&state.moments()) == of_signal));
    press(&mut state, KeyCode::Home);
    let of_rule = all.iter().position(|moment| matches!(&moment.of, MomentOf::Rule(_))).expect("a rule");
    let MomentOf::Rule(rule) = all[of_rule].of.clone() else { unreachable!() };
    (0..of_rule).for_each(|_| press(&mut state, KeyCode::Char('j')));
    press(&mut state, KeyCode::Enter);
    let (text, _) = picture(&state, &theme, 80, 24);
    assert!(text.contains(&*rule) && text.contains("fires"), "{text}");
    // What others have run stands there, too, and is told where it was begun.
    let at = all[0].at;
    let of = MomentOf::Run("01ELSEWHERE".into());
    state.ledger.elsewhere.moments = vec![Moment { at, verdict: None, words: "begun by anna on other: rollback-code".into(), of }];
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('H'));
    press(&mut state, KeyCode::Home);
    let (text, _) = picture(&state, &theme, 80, 24);
    assert!(text.contains("begun by anna on other: rollback-code"), "{text}");
    let at =
        state.moments().iter().position(|moment| matches!(&moment.of, MomentOf::Run(id) if id == "01ELSEWHERE")).expect("it stands there");
    (0..at).for_each(|_| press(&mut state, KeyCode::Down));
    press(&mut state, KeyCode::Enter);
    let (text, _) = picture(&state, &theme, 80, 24);
    assert!(text.contains("that run is kept where"), "{text}");
}

#[test]
fn overlays_fit_any_size() {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    let theme = theme(Glyphs::Unicode);
    for key in ['?', 'e', ':', '/', 'H'] {
        let mut state = state("live");
        update(&mut state, Message::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)), &mut (120, 40));
        for (width, height) in [(1, 1), (2, 5), (10, 4), (79, 23), (200, 60)] {
            picture(&state, &theme, width, height);
        }
    }
}

#[test]
fn a_source_that_goes_away_stands_in_what_has_happened() {
    use crossterm::event::{KeyCode, KeyEvent};
    let mut state = state("error");
    let press = |state: &mut State, code| drop(update(state, Message::Key(KeyEvent::from(code)), &mut (80, 24)));
    press(&mut state, KeyCode::Char('H'));
    let all = state.moments();
    let at = all.iter().position(|moment| matches!(&moment.of, MomentOf::Source(_))).expect("it stands there");
    assert!(all[at].words.contains("prometheus is away: cannot reach"), "{}", all[at].words);
    let of_signals =
        all.iter().filter(|moment| matches!(moment.of, MomentOf::Signal(_)) && moment.verdict == Some(lastgreen::judge::Verdict::Unknown));
    assert_eq!(of_signals.count(), 0, "once, and not of each that hangs on it");
    press(&mut state, KeyCode::Home);
    (0..at).for_each(|_| press(&mut state, KeyCode::Down));
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.config.boards[state.nav.board].name, "Services");
}
