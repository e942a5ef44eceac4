//! Pictures of the boards Deploy and Rollback, and of the dialog of a rollback: on small screens and large, and without Unicode.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::screen::{picture, theme};
use crossterm::event::{KeyCode, KeyEvent};
use lastgreen::base::clock::Stamp;
use lastgreen::config::{load_text, planning_context, runbooks};
use lastgreen::judge::Verdict;
use lastgreen::plan::deploy::{Readiness, ReadinessItem, Scope};
use lastgreen::plan::runbook::{Asked, Observation, Operator, Plan, Seen, plan};
use lastgreen::show::cockpit::{Command, Message, State, update};
use lastgreen::show::keymap;
use lastgreen::show::theme::Glyphs;
use lastgreen::status::{Ledger, Request, Update};

const NOW: Stamp = Stamp(1_795_186_800_000); // 2026-11-20 15:00:00Z

const CONFIG: &str = r#"
state_dir = "state"
[environment]
name = "rag-production"
tier = "production"
[sources.prometheus]
kind = "prometheus"
url = "http://prometheus:9090"
[sources.database]
kind = "database"
url = "postgres://rag@db/ragdb"
[services.router]
url = "http://router:8080"
[signals.canary_errors]
source = "prometheus"
query = "sum(errors{track=\"canary\"})"
[signals.stable_errors]
source = "prometheus"
query = "sum(errors{track=\"stable\"})"
[traffic]
kind = "http"
service = "router"
path = "/traffic"
pointer = "/canary"
[canary]
steps = [0, 10, 25, 50, 100]
bake = "5m"
at_least = 50
[canary.metrics.errors]
canary = "canary_errors"
stable = "stable_errors"
critical = true
[release]
deploy = ["./deploy", "{{ version }}"]
running = ["./running"]
last_green = ["./last-green"]
[snapshots]
databases = ["database"]
"#;

fn hear(state: &mut State, news: Update) -> Vec<Command> {
    update(state, Message::Heard(Box::new(news), NOW), &mut (120, 40))
}

fn item(what: &str, verdict: Verdict, words: &str, scopes: &[Scope], mend: Option<&str>) -> ReadinessItem {
    ReadinessItem { what: what.into(), verdict, words: words.into(), scopes: scopes.to_vec(), mend: mend.map(str::to_string) }
}

fn state() -> State {
    let config = Arc::new(load_text(Path::new("views.toml"), CONFIG).config.expect("a configuration"));
    let keymap = Arc::new(keymap::load("default", Path::new(".")).expect("a keymap"));
    let mut state = State::new(config.clone(), keymap, NOW);
    let runbooks = Ledger::lines(&runbooks(&config, NOW), &[], "rag-production", NOW);
    hear(&mut state, Update::Ledger(Box::new(Ledger { runbooks, known: true, ..Ledger::default() })));
    let seen = Seen { weight: 10.0, idle: false, failed: false, note: String::new() };
    hear(&mut state, Update::Traffic(Observation { at: NOW, places: vec![("http://router:8080/traffic".into(), Ok(seen))] }));
    let all = Scope::ALL;
    let data = [Scope::Full];
    let items = vec![
        item("traffic switch", Verdict::Pass, "answers: canary 10 %", &all, None),
        item("last green", Verdict::Pass, "v1.4.2, 3d ago", &all[1..], None),
        item("matrix", Verdict::Warn, "v1.4.2 with schema 12 and collection rag_v3: WARN (release/compat)", &[], None),
        item("snapshot", Verdict::Pass, "rag-production-20261120-030000 (golden), 12h ago", &data, None),
        item("its files", Verdict::Fail, "db.dump has 0 bytes, and had 7340032", &data, Some("mark another one golden")),
        item("would lose", Verdict::Pass, "1,284 rag_chunks (newest 18204) written since 2026-11-20T03:00:00Z (12h ago)", &[], None),
        item("last drill", Verdict::Warn, "40d ago, which is long", &[], Some("lastgreen rollback --drill")),
    ];
    let expected = vec![(Scope::Traffic, Duration::from_secs(6)), (Scope::Full, Duration::from_secs(252))];
    hear(&mut state, Update::Readiness(Box::new(Readiness { at: Some(NOW), items, expected })));
    state
}

/// The plan of a scope, as the shipped runbook has it.
fn planned(state: &State, scope: Scope) -> Result<Arc<Plan>, String> {
    let loaded = runbooks(&state.config, NOW);
    let runbook = loaded.iter().find(|one| one.name == scope.runbook()).and_then(|one| one.runbook.clone()).ok_or("not offered")?;
    let mut asked = Asked { reason: Some("gate fail rate: 9.1 % > 7.0 %".into()), ..Asked::default() };
    if scope != Scope::Traffic {
        asked.inputs.insert("version".into(), "v1.4.2".into());
    }
    let content =
        plan(&runbook, &planning_context(&state.config, &loaded), &asked, &|_| Err("no files".into())).map_err(|all| all.join("; "))?;
    let by = Operator { user: "oncall".into(), ..Operator::default() };
    Ok(Arc::new(Plan::new(content, by, NOW, Duration::from_secs(600))))
}

fn pictures(state: &State, what: &str) -> String {
    let unicode = theme(Glyphs::Unicode);
    let mut all: Vec<String> =
        [(80, 24), (120, 40)].iter().map(|(w, h)| format!("── {what}, {w}x{h}\n{}", picture(state, &unicode, *w, *h).0)).collect();
    let (ascii, _) = picture(state, &theme(Glyphs::Ascii), 80, 24);
    assert!(ascii.is_ascii(), "{ascii}");
    all.push(format!("── {what}, 80x24, ASCII\n{ascii}"));
    all.join("\n\n")
}

#[test]
fn the_boards_of_a_deployment() {
    let mut state = state();
    for name in ["Deploy", "Rollback"] {
        state.nav.board = state.config.boards.iter().position(|board| board.name == name).expect("the board");
        insta::assert_snapshot!(name.to_lowercase(), pictures(&state, name));
    }
}

#[test]
fn the_dialog_of_a_rollback() {
    let mut state = state();
    let asked = update(&mut state, Message::Key(KeyEvent::from(KeyCode::Char('R'))), &mut (80, 24));
    for command in asked {
        if let Command::Backend(Request::PlanRollback { serial, scope, .. }) = command {
            let plan =
                if scope == Scope::Full { Err("no snapshot is fit: db.dump has 0 bytes".to_string()) } else { planned(&state, scope) };
            hear(&mut state, Update::PlannedScope(serial, scope, plan));
        }
    }
    insta::assert_snapshot!("rollback_dialog", pictures(&state, "R"));
    update(&mut state, Message::Key(KeyEvent::from(KeyCode::Right)), &mut (80, 24));
    update(&mut state, Message::Key(KeyEvent::from(KeyCode::Right)), &mut (80, 24));
    insta::assert_snapshot!("rollback_dialog_that_cannot", pictures(&state, "R, full"));
}

#[test]
fn what_was_counted_is_counted_again_until_somebody_types() {
    let mut state = state();
    let asked = |commands: Vec<Command>| -> Vec<(u64, Scope, Option<String>)> {
        let of = |command| match command {
            Command::Backend(Request::PlanRollback { serial, scope, reason, .. }) => Some((serial, scope, reason)),
            _ => None,
        };
        commands.into_iter().filter_map(of).collect()
    };
    let answer = |state: &mut State, asked: &[(u64, Scope, Option<String>)], words: &str| {
        for (serial, scope, _) in asked {
            let plan = if *scope == Scope::Traffic { planned(state, *scope) } else { Err(words.to_string()) };
            hear(state, Update::PlannedScope(*serial, *scope, plan));
        }
    };
    let key = |state: &mut State, code| asked(update(state, Message::Key(KeyEvent::from(code)), &mut (80, 24)));
    let tick = |state: &mut State, seconds: i64| asked(update(state, Message::Tick(Stamp(NOW.0 + seconds * 1000)), &mut (80, 24)));
    let shown = |state: &State, words: &str| picture(state, &theme(Glyphs::Unicode), 120, 40).0.contains(words);
    let first = key(&mut state, KeyCode::Char('R'));
    assert_eq!(first.len(), 3);
    assert!(tick(&mut state, 30).is_empty(), "nobody is asked twice at once");
    answer(&mut state, &first, "the first count");
    assert!(shown(&state, "the first count"));
    let second = tick(&mut state, 31);
    assert_eq!(second.len(), 3);
    assert!(shown(&state, "the first count"), "what is shown stays until the new is there");
    // Another reason is asked for behind it: what answers the earlier question is not for this one.
    key(&mut state, KeyCode::Tab);
    key(&mut state, KeyCode::Char('!'));
    let third = key(&mut state, KeyCode::Enter);
    assert!(third.iter().all(|(_, _, reason)| reason.as_ref().is_some_and(|reason| reason.ends_with('!'))));
    answer(&mut state, &second, "the second count");
    assert!(!shown(&state, "the second count"));
    answer(&mut state, &third, "the third count");
    assert!(shown(&state, "the third count"));
    // Under the fingers of somebody who types nothing is exchanged.
    let fourth = tick(&mut state, 60);
    assert_eq!(fourth.len(), 3);
    key(&mut state, KeyCode::Char('r'));
    answer(&mut state, &fourth, "the fourth count");
    assert!(shown(&state, "the third count"));
    assert!(tick(&mut state, 90).is_empty());
}
