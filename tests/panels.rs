//! What stands in a panel when there is more than fits: the worst, by name, with its value and its mark.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::screen::{picture, theme};
use crossterm::event::{KeyCode, KeyEvent};
use lastgreen::base::clock::Stamp;
use lastgreen::config::load_text;
use lastgreen::observe::reading::{Alert, AlertState, Delivery, LabelledValue, Reading, Value};
use lastgreen::show::cockpit::{Message, State, update};
use lastgreen::show::keymap;
use lastgreen::show::theme::Glyphs;

const NOW: Stamp = Stamp(1_795_186_800_000); // 2026-11-20 15:00:00Z

const MANY: &str = r#"
[environment]
name = "many"
tier = "staging"
[sources.p]
kind = "prometheus"
url = "http://prometheus:9090"
[sources.am]
kind = "alertmanager"
url = "http://alertmanager:9093"
[signals.pods]
source = "p"
query = "load"
fail = "> 50"
[signals.listed]
source = "p"
query = "load2"
fail = "> 50"
[signals.raised]
source = "am"
alerts = true
[sources.web]
kind = "http"
url = "http://web:8080"
[signals.door]
source = "web"
path = "/health"
[alerts]
heartbeats = ["Watchdog"]
[[boards]]
name = "Own"
columns = 1
[[boards.panels]]
title = "pods"
kind = "series"
signals = ["pods"]
[[boards.panels]]
title = "listed"
kind = "table"
signals = ["listed"]
[[boards]]
name = "Few"
columns = 1
[[boards.panels]]
title = "few"
kind = "stats"
signals = ["pods", "listed"]
[[boards]]
name = "Both"
columns = 1
[[boards.panels]]
title = "both"
kind = "series"
signals = ["pods", "listed"]
[[boards]]
name = "Full"
columns = 1
[[boards.panels]]
title = "all of it"
kind = "stats"
signals = ["listed", "pods", "door"]
[[boards.panels]]
title = "log"
kind = "logs"
"#;

/// A screen of what a few answers come to.
fn seen(answers: &[(&str, i64, Value)], board: usize) -> String {
    picture(&heard(answers, board), &theme(Glyphs::Unicode), 80, 24).0
}

fn heard(answers: &[(&str, i64, Value)], board: usize) -> State {
    let config = Arc::new(load_text(Path::new("many.toml"), MANY).config.expect("a configuration"));
    let mut state = State::new(config.clone(), Arc::new(keymap::load("default", Path::new(".")).expect("a keymap")), NOW);
    for (name, seconds, value) in answers {
        let mut delivery = Delivery::default();
        let at = NOW.plus(Duration::from_secs(*seconds as u64));
        let mut reading = Reading::good(at, &config.signals[*name].question.source, value.clone());
        reading.notes = if *name == "door" { vec!["answered 503".into()] } else { Vec::new() };
        delivery.readings.insert((*name).into(), reading);
        update(&mut state, Message::Delivered(Box::new(delivery), at), &mut (0, 0));
    }
    state.nav.board = board;
    state
}

fn pods(count: usize, bad: Option<usize>) -> Value {
    let one = |i| LabelledValue { label: format!("pod-{i:05}").as_str().into(), value: if bad == Some(i) { 99.0 } else { 1.0 } };
    Value::Lines((0..count).map(one).collect())
}

#[test]
fn who_it_is_of_hides_neither_how_much_nor_how_bad() {
    let of = |label: &str, value| Value::Lines(vec![LabelledValue { label: label.into(), value }]);
    let long = "instance=127.0.0.1:21001 job=svc namespace=production pod=app-7d9f8b6c5-x2x4z";
    let screen = seen(&[("pods", 0, of(long, 99.0)), ("listed", 0, of("app", 99.0))], 1);
    assert!(screen.contains("pods   99 ✗ > 50") && screen.contains("listed app 99 ✗ > 50"), "{screen}");
    let screen = seen(&[("pods", 0, pods(3000, Some(2345)))], 1);
    assert!(screen.lines().any(|line| line.contains("pod-02345 99") && line.contains("… ✗")), "{screen}");
}

#[test]
fn the_bad_one_among_thousands_is_named() {
    let all = seen(&[("pods", 0, pods(3000, Some(2345))), ("listed", 0, pods(3000, Some(2345)))], 0);
    assert!(all.contains("pod-02345 99 ✗ a pod-00000 1 ✓"), "{all}");
    assert!(all.contains("+2996 more"), "{all}");
    let listed = all.lines().skip_while(|line| !line.contains("listed")).find(|line| line.contains("pod-")).expect("a row");
    assert!(listed.contains("pod-02345"), "the culprit first: {all}");
}

#[test]
fn lines_of_two_signals_say_whose_they_are() {
    let of = |labels: [&str; 2]| Value::Lines(labels.map(|label| LabelledValue { label: label.into(), value: 1.0 }).into());
    let screen = seen(&[("pods", 0, of(["one", "two"])), ("listed", 0, of(["one", "three"]))], 2);
    assert!(screen.contains("pods one 1") && screen.contains("listed one 1") && !screen.contains("pods two"), "{screen}");
}

#[test]
fn what_is_gone_is_not_good() {
    let gone = seen(&[("pods", 0, pods(2, Some(1))), ("pods", 5, pods(1, None))], 0);
    assert!(gone.contains("pod-00000 1 ✓ b pod-00001 —") && !gone.contains("— ✓"), "{gone}");
}

#[test]
fn alerts_that_differ_in_a_label_say_which() {
    let of = |pod: &str, text: &str| Alert {
        name: "PodDown".into(),
        labels: [("alertname", "PodDown"), ("pod", pod), ("job", "rag")].map(|(name, value)| (name.into(), value.into())).into(),
        state: AlertState::Firing,
        severity: "critical".into(),
        since: None,
        text: text.into(),
    };
    let on_board = |alerts: Vec<Alert>| {
        let raised = Value::Alerts(alerts);
        let screens = (0..8).map(|board| seen(&[("raised", 0, raised.clone())], board));
        screens.into_iter().find(|text| text.contains("heartbeat")).expect("a board of alerts")
    };
    let two = on_board(vec![of("a", "not ready"), of("b", "not ready")]);
    assert!(two.contains("pod=a · not ready") && two.contains("pod=b · not ready") && !two.contains("job="), "{two}");
    let one = on_board(vec![of("a", "a is not ready"), of("b", "b is not ready")]);
    assert!(!one.contains("pod="), "{one}");
}

#[test]
fn alerts_of_others_stand_where_alerts_stand_and_the_worst_first() {
    let alert = |name: &str, severity: &str| Alert {
        name: name.into(),
        labels: Default::default(),
        state: AlertState::Firing,
        severity: severity.into(),
        since: None,
        text: String::new(),
    };
    let raised = Value::Alerts(vec![alert("Aaa", "info"), alert("Bbb", "warning"), alert("Zzz", "critical")]);
    let board =
        (0..8).map(|board| seen(&[("raised", 0, raised.clone())], board)).find(|text| text.contains("Zzz") && text.contains("heartbeat"));
    let board = board.expect("a board of alerts");
    let at = |word: &str| {
        board.lines().position(|line| line.contains(word) && !line.contains("FAIL")).unwrap_or_else(|| panic!("{word}: {board}"))
    };
    assert!(at("Watchdog") < at("Zzz") && at("Zzz") < at("Bbb") && at("Bbb") < at("Aaa"), "{board}");
}

#[test]
fn what_a_probe_saw_stands_beside_how_often_it_failed() {
    let screen = seen(&[("pods", 0, pods(1, None)), ("listed", 0, pods(1, None)), ("door", 0, Value::Number(3.0))], 3);
    assert!(screen.lines().any(|line| line.contains("3 ✗ answered 503")), "{screen}");
}

#[test]
fn where_there_is_one_line_it_is_the_worst() {
    let answers = [("pods", 0, pods(1, Some(0))), ("listed", 0, pods(1, None)), ("door", 0, Value::Number(0.0))];
    let screen = picture(&heard(&answers, 3), &theme(Glyphs::Unicode), 60, 5).0;
    assert!(screen.lines().any(|line| line.contains("pods") && line.contains("99 ✗") && line.contains("+2 more")), "{screen}");
}

/// Whoever goes down comes to what does not fit.
#[test]
fn values_that_do_not_fit_can_be_gone_to() {
    let answers = [("pods", 0, pods(1, Some(0))), ("listed", 0, pods(1, None)), ("door", 0, Value::Number(0.0))];
    let mut state = heard(&answers, 3);
    state.nav.zoomed = true;
    let shown = |state: &State| picture(state, &theme(Glyphs::Unicode), 60, 6).0;
    let first = shown(&state);
    assert!(first.contains("pods") && first.contains("+2 more") && !first.contains("door"), "{first}");
    for _ in 0..5 {
        update(&mut state, Message::Key(KeyEvent::from(KeyCode::Down)), &mut (60, 6));
    }
    let last = shown(&state);
    assert!(last.contains("door") && last.contains("+2 above"), "{last}");
    update(&mut state, Message::Key(KeyEvent::from(KeyCode::Up)), &mut (60, 6));
    let between = shown(&state);
    assert!(between.contains("listed") && between.contains("+1 above, +1 more"), "{between}");
}

#[test]
fn what_is_judged_stands_on_some_board() {
    let own = MANY.replace("signals = [\"listed\"", "signals = [\"pods\"").replace(", \"listed\"]", "]");
    let config = load_text(Path::new("/x/lastgreen.toml"), &own).config.expect("a configuration");
    let others = config.boards.last().expect("a board");
    assert_eq!((others.name.as_str(), others.panels.len()), ("Others", 1));
    assert_eq!(&*others.panels[0].signals[0], "listed");
}
