//! Pictures of the dialog before a run and of a run's view, on small screens and large, also without Unicode; and what
//! must not decide anything.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::screen::{picture, theme};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lastgreen::base::clock::Stamp;
use lastgreen::config::{load_text, planning_context, runbooks};
use lastgreen::plan::runbook::{Asked, Event, Operator, Output, Plan, Record, Run, RunResult, Runner, StepResult, load, plan};
use lastgreen::show::cockpit::{Command, Message, Overlay, Stage, State, update};
use lastgreen::show::keymap;
use lastgreen::show::theme::{Glyphs, Role};
use lastgreen::status::{Ledger, OutputTail, Request, RunLine, Update};

const NOW: Stamp = Stamp(1_795_186_800_000);

const CONFIG: &str = "profile = \"rag\"\n[environment]\nname = \"rag-production\"\ntier = \"production\"\n[sources.database]\nkind = \"database\"\nurl = \"postgres://rag@db/ragdb\"\n[sources.stable]\nkind = \"http\"\nurl = \"http://rag:8000\"\n";

const RUNBOOK: &str = r#"
title: Back to the golden snapshot, with everything that hangs on it
danger: danger
checklists: {before: [somebody else knows], during: [watch gate fail rate], after: [write it into the log]}
steps:
  - name: Traffic to zero
    id: traffic
    type: http
    service: stable
    method: PUT
    path: /traffic/which-is-a-rather-long-path-so-that-the-line-does-not-fit-on-a-small-screen?wait=true
    json: {canary: 0}
    undo: {type: http, service: stable, method: PUT, path: /traffic, json: {canary: 10}}
  - {name: Restore, id: restore, type: script, script: "echo restoring\nbin/restore --into side\n", on_failure: ask}
  - {name: Users' view, id: look, type: manual, text: "Ask two questions in the application, and look whether their answers name sources that are still there. Then look at the board for a minute.", check: [answers name sources, no errors in the browser]}
rollback:
  steps:
    - {name: Traffic as before, type: http, service: stable, method: PUT, path: /traffic, json: {canary: 10}}
"#;

/// All that a full rollback needs.
const WITH_A_SWITCH: &str = "[services.router]\nurl = \"http://localhost:1\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/t\"\n\
pointer = \"/canary\"\n[release]\ndeploy = [\"true\"]\nrunning = [\"true\"]\n[snapshots]\ndatabases = [\"database\"]\n";

fn state() -> State {
    of(CONFIG)
}

fn of(config: &str) -> State {
    let config = Arc::new(load_text(Path::new("views.toml"), config).config.expect("a configuration"));
    let keymap = Arc::new(keymap::load("default", Path::new(".")).expect("a keymap"));
    let mut state = State::new(config.clone(), keymap, NOW);
    let mut loaded = runbooks(&config, NOW);
    loaded.push(load(Path::new("runbooks/golden.yaml"), RUNBOOK, NOW));
    let runbooks = Ledger::lines(&loaded, &[], "rag-production", NOW);
    hear(&mut state, Update::Ledger(Box::new(Ledger { runbooks, known: true, ..Ledger::default() })), NOW);
    state
}

fn hear(state: &mut State, news: Update, now: Stamp) -> Vec<Command> {
    update(state, Message::Heard(Box::new(news), now), &mut (120, 40))
}

fn a_plan(state: &State, name: &str, text: &str) -> Arc<Plan> {
    let runbook = load(Path::new(name), text, NOW).runbook.expect("sound");
    let content = plan(&runbook, &planning_context(&state.config, &[]), &Asked::default(), &|_| Err("no files".into())).expect("a plan");
    let by = Operator { user: "oncall".into(), ..Operator::default() };
    Arc::new(Plan::new(content, by, NOW, Duration::from_secs(600)))
}

fn at(seconds: f64) -> Stamp {
    NOW.plus(Duration::from_secs_f64(seconds))
}

/// A run as its journal tells it.
fn a_run(plan: &Arc<Plan>, events: Vec<(f64, Event)>, driven: bool) -> Arc<RunLine> {
    let c = &plan.content;
    let started = Event::Started {
        runbook: c.runbook.clone(),
        title: c.title.clone(),
        fingerprint: plan.fingerprint.clone(),
        environment: c.environment.name.clone(),
        tier: c.environment.tier,
        danger: c.danger,
        drill: false,
        reason: None,
        by: plan.by.clone(),
        runner: Runner::default(),
    };
    let mut run = Run::default();
    for (i, (seconds, event)) in std::iter::once((0.0, started)).chain(events).enumerate() {
        run.apply(plan, &Record { seq: i as u64 + 1, at: at(seconds), run: "01M7ZRUN".into(), event }).expect("it can follow");
    }
    Arc::new(RunLine { id: "01M7ZRUN".into(), plan: plan.clone(), run, driven, broken: None, progress: None })
}

fn begun(step: &str) -> Event {
    Event::StepStarted { step: step.into(), attempt: 1, what: "w".into() }
}

fn ended(step: &str, outcome: StepResult, message: &str) -> Event {
    Event::StepFinished { step: step.into(), outcome, message: message.into(), touched: true, took_ms: 1, output: Output::default() }
}

/// A cockpit that looks at the run.
fn looking(line: Arc<RunLine>, seconds: f64) -> State {
    let mut state = state();
    let ledger = Ledger { runs: vec![line], runbooks: state.ledger.runbooks.clone(), known: true, ..Ledger::default() };
    hear(&mut state, Update::Ledger(Box::new(ledger)), at(seconds));
    if state.overlay.is_none() {
        update(&mut state, Message::Key(KeyEvent::from(KeyCode::Char('o'))), &mut (120, 40));
    }
    state
}

fn press(state: &mut State, code: KeyCode, now: Stamp) -> Vec<Command> {
    state.now = now;
    update(state, Message::Key(KeyEvent::from(code)), &mut (120, 40))
}

/// As fingers type it, from then on.
fn fingers(state: &mut State, text: &str, from: f64) -> Vec<Command> {
    let keys = text.chars().map(KeyCode::Char).chain([KeyCode::Enter]).enumerate();
    keys.flat_map(|(i, code)| press(state, code, at(from + i as f64 * 0.1))).collect()
}

fn failed_at_the_restore() -> Vec<(f64, Event)> {
    let why = "exit status: 1: pg_restore: error: could not open file \"rag-20261120-031322.dump\" for reading: No such file or directory";
    vec![
        (0.1, begun("traffic")),
        (0.4, ended("traffic", StepResult::Done, "answered 200")),
        (0.5, begun("restore")),
        (31.0, ended("restore", StepResult::Failed, why)),
    ]
}

#[test]
fn a_run_on_small_screens_and_large() {
    let plan = a_plan(&state(), "runbooks/golden.yaml", RUNBOOK);
    let failed = failed_at_the_restore();
    let question = |run: &[(f64, Event)]| match a_run(&plan, run.to_vec(), true).run.next(&plan) {
        lastgreen::plan::runbook::Next::Ask(question) => Event::Asked { question },
        other => panic!("{other:?}"),
    };
    let mut asks = failed.clone();
    asks.push((31.1, question(&failed)));
    let mut manual = failed[..3].to_vec();
    manual.extend([(20.0, ended("restore", StepResult::Done, "restored")), (20.1, begun("look"))]);
    manual.push((20.2, question(&manual)));
    let mut over = asks.clone();
    let stop = lastgreen::plan::runbook::Choice::Stop;
    over.push((40.0, Event::Answered { step: "restore".into(), choice: stop, note: String::new(), by: Operator::default() }));
    over.push((40.1, Event::Ended { result: RunResult::Failed, message: "Restore failed: exit status: 1".into() }));
    let cases: Vec<(&str, Arc<RunLine>, &[KeyCode])> = vec![
        ("running", a_run(&plan, failed[..3].to_vec(), true), &[]),
        ("left in the middle", a_run(&plan, failed[..3].to_vec(), false), &[]),
        ("asks after a failure", a_run(&plan, asks.clone(), true), &[]),
        ("asks whether users see it", a_run(&plan, manual, true), &[KeyCode::Enter]),
        ("is to be aborted", a_run(&plan, asks, true), &[KeyCode::Char('a')]),
        ("failed", a_run(&plan, over, false), &[]),
        ("its keys", a_run(&plan, failed[..3].to_vec(), true), &[KeyCode::Char('?')]),
    ];
    for (what, line, keys) in cases {
        let mut state = looking(line, 60.0);
        let lines = (1..=9).map(|i| format!("line {i} of the restore")).collect();
        let tail = OutputTail { run: "01M7ZRUN".into(), step: "restore".into(), lines, cut: false };
        hear(&mut state, Update::Output(tail), at(60.0));
        for key in keys {
            press(&mut state, *key, at(60.0));
        }
        let small = picture(&state, &theme(Glyphs::Ascii), 80, 24).0;
        let large = picture(&state, &theme(Glyphs::Unicode), 120, 34).0;
        // Of the board behind it nothing shines through.
        state.nav.board = state.config.boards.iter().position(|b| b.name == "Runbooks").expect("the board");
        let (_, buffer) = picture(&state, &theme(Glyphs::Unicode), 120, 34);
        let selected = theme(Glyphs::Unicode).style(Role::Selection).bg;
        assert!(selected.is_some() && buffer.content.iter().all(|cell| Some(cell.bg) != selected), "{what}");
        for text in [&small, &large] {
            assert!(text.contains("PRODUCTION rag-production"), "it says where it acts:\n{text}");
        }
        insta::assert_snapshot!(
            format!("run_{}", what.replace(' ', "_")),
            format!("── {what}, 80x24\n{small}\n\n── {what}, 120x34\n{large}")
        );
        // However small: no panic, and what decides is still there.
        for (width, height) in [(20, 5), (1, 1), (40, 10), (300, 4)] {
            picture(&state, &theme(Glyphs::Unicode), width, height);
        }
    }
}

#[test]
fn a_run_that_is_left_stands_beside_the_board_where_there_is_room() {
    let plan = a_plan(&state(), "runbooks/golden.yaml", RUNBOOK);
    let mut state = looking(a_run(&plan, failed_at_the_restore()[..3].to_vec(), true), 60.0);
    press(&mut state, KeyCode::Char('d'), at(61.0));
    press(&mut state, KeyCode::Char('1'), at(62.0));
    assert!(state.overlay.is_none());
    let (wide, _) = picture(&state, &theme(Glyphs::Unicode), 200, 60);
    for part in ["What has happened", "begun by oncall", "step 2 of", "▶  2 "] {
        assert!(wide.contains(part), "{part} is not in:\n{wide}");
    }
    assert!(!picture(&state, &theme(Glyphs::Unicode), 120, 40).0.contains("step 2 of"));
}

/// A state in which the dialog of a runbook shows its plan.
fn at_its_plan(name: &str, text: &str) -> (State, Arc<Plan>) {
    let mut state = state();
    let plan = a_plan(&state, name, text);
    state.nav.board = state.config.boards.iter().position(|b| b.name == "Runbooks").expect("the board");
    let row = state.ledger.runbooks.iter().position(|l| l.name == "golden").expect("a row");
    for _ in 0..row {
        press(&mut state, KeyCode::Down, NOW);
    }
    press(&mut state, KeyCode::Char('r'), NOW);
    let commands = press(&mut state, KeyCode::Enter, NOW);
    let [Command::Backend(Request::Plan { serial, .. })] = commands.as_slice() else { panic!("{commands:?}") };
    hear(&mut state, Update::Planned(*serial, Ok(plan.clone())), NOW);
    (state, plan)
}

#[test]
fn the_dialog_says_everything_before_it_asks() {
    let (mut state, _) = at_its_plan("runbooks/golden.yaml", RUNBOOK);
    let small = picture(&state, &theme(Glyphs::Ascii), 80, 24).0;
    let large = picture(&state, &theme(Glyphs::Unicode), 120, 60).0;
    insta::assert_snapshot!("dialog", format!("── dialog, 80x24\n{small}\n\n── dialog, 120x60\n{large}"));
    // On a small screen all of it can be read, the long address to its end.
    let mut all = String::new();
    for page in 0..8 {
        all += &picture(&state, &theme(Glyphs::Ascii), 80, 24).0;
        press(&mut state, KeyCode::PageDown, at(1.0 + f64::from(page)));
    }
    for part in ["wait=true", "bin/restore --into side", "undo: PUT", "no undo", "before   somebody else knows", "after    write it"] {
        assert!(all.contains(part), "{part}:\n{all}");
    }
}

#[test]
fn a_window_too_small_to_read_in_confirms_nothing() {
    let (mut state, _) = at_its_plan("runbooks/golden.yaml", RUNBOOK);
    for mut size in [(80, 9), (22, 40)] {
        let mut commands = Vec::new();
        for (i, c) in "rag-production\r".chars().enumerate() {
            state.now = at(1.0 + i as f64 * 0.1);
            let code = if c == '\r' { KeyCode::Enter } else { KeyCode::Char(c) };
            commands.extend(update(&mut state, Message::Key(KeyEvent::from(code)), &mut size));
        }
        assert_eq!(commands, []);
    }
    assert!(matches!(fingers(&mut state, "rag-production", 5.0).as_slice(), [Command::Backend(Request::Begin(_))]));
}

#[test]
fn a_plan_that_was_made_for_another_dialog_is_not_shown() {
    let (mut state, plan) = at_its_plan("runbooks/golden.yaml", RUNBOOK);
    press(&mut state, KeyCode::Esc, at(1.0));
    press(&mut state, KeyCode::Char('r'), at(1.1));
    let commands = press(&mut state, KeyCode::Enter, at(1.2));
    let [Command::Backend(Request::Plan { serial, .. })] = commands.as_slice() else { panic!("{commands:?}") };
    hear(&mut state, Update::Planned(serial - 1, Ok(plan)), at(1.3));
    assert!(picture(&state, &theme(Glyphs::Unicode), 120, 40).0.contains("planning …"));
}

#[test]
fn whoever_leaves_while_the_runner_starts_is_told_how_it_went() {
    let (mut state, plan) = at_its_plan("runbooks/golden.yaml", RUNBOOK);
    assert_eq!(fingers(&mut state, "rag-production", 1.0).len(), 1);
    press(&mut state, KeyCode::Esc, at(4.0));
    press(&mut state, KeyCode::Char('?'), at(4.1));
    hear(&mut state, Update::Begun(plan, Err("rag-production is taken".into())), at(5.0));
    assert!(picture(&state, &theme(Glyphs::Unicode), 120, 40).0.contains("not begun: rag-production is taken"));
}

#[test]
fn no_key_that_runs_into_another_decides() {
    let text = "title: Look\nsteps:\n  - {name: wait, type: wait, time: 1s}\n";
    let (mut state, plan) = at_its_plan("runbooks/look.yaml", text);
    let alt = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::ALT);
    state.now = at(1.0);
    assert_eq!(update(&mut state, Message::Key(alt), &mut (120, 40)), [], "Esc and y in one");
    assert_eq!(press(&mut state, KeyCode::Char('y'), at(1.1)), [Command::Backend(Request::Begin(plan))]);
}

#[test]
fn the_keys_of_boards_answer_nothing_in_a_view_that_opened_by_itself() {
    let text = "title: Ask\nsteps:\n  - {name: sure, id: sure, type: manual, text: Sure?}\n";
    let plan = a_plan(&state(), "runbooks/ask.yaml", text);
    let mut events = vec![(0.1, begun("sure"))];
    let next = a_run(&plan, events.clone(), true).run.next(&plan);
    let lastgreen::plan::runbook::Next::Ask(question) = next else { panic!("{next:?}") };
    events.push((0.2, Event::Asked { question }));
    let mut state = looking(a_run(&plan, events, true), 10.0);
    let mut orders = Vec::new();
    for key in ['1', '\r', '\r', 'y', '2', '\r', 'a', 'U', 'L', '\r', 'p'] {
        let code = if key == '\r' { KeyCode::Enter } else { KeyCode::Char(key) };
        orders.extend(press(&mut state, code, at(10.5)));
    }
    // It is left by that, and what comes behind is looked at and planned, and decides nothing.
    orders.retain(|request| !matches!(request, Command::Backend(Request::Look(_) | Request::Plan { .. })));
    assert_eq!(orders, [], "a slip of the finger");
    for _ in 0..3 {
        press(&mut state, KeyCode::Esc, at(11.0));
    }
    press(&mut state, KeyCode::Char('o'), at(12.0));
    press(&mut state, KeyCode::Enter, at(12.1));
    orders = fingers(&mut state, "done as they see it", 13.0);
    orders.retain(|request| !matches!(request, Command::Backend(Request::Look(_))));
    assert!(matches!(orders.as_slice(), [Command::Backend(Request::Answer { note, .. })] if note == "as they see it"), "{orders:?}");
}

#[test]
fn output_is_scrolled_no_further_than_there_is_any_and_searched() {
    let plan = a_plan(&state(), "runbooks/golden.yaml", RUNBOOK);
    let mut state = looking(a_run(&plan, failed_at_the_restore()[..3].to_vec(), true), 5.0);
    let lines = |n: usize| (1..=n).map(|i| format!("row {i} {}", if i % 40 == 0 { "ERROR" } else { "ok" })).collect::<Vec<_>>();
    let tail = |n| Update::Output(OutputTail { run: "01M7ZRUN".into(), step: "restore".into(), lines: lines(n), cut: false });
    hear(&mut state, tail(100), at(5.0));
    let text = |state: &State| picture(state, &theme(Glyphs::Unicode), 120, 34).0;
    assert!(text(&state).contains("row 100 "));
    press(&mut state, KeyCode::Home, at(5.0));
    assert!(text(&state).contains("row 1 ok"));
    press(&mut state, KeyCode::PageDown, at(5.0));
    press(&mut state, KeyCode::PageDown, at(5.0));
    press(&mut state, KeyCode::PageDown, at(5.0));
    assert!(!text(&state).contains("row 1 ok"), "from the very first page down it moves");
    let before = text(&state);
    hear(&mut state, tail(160), at(6.0));
    assert_eq!(text(&state).replace("135 lines", "").contains("row 30 "), before.contains("row 30 "), "it stays where it was");
    press(&mut state, KeyCode::End, at(6.0));
    press(&mut state, KeyCode::Char('/'), at(6.0));
    for c in "error".chars() {
        press(&mut state, KeyCode::Char(c), at(6.0));
    }
    press(&mut state, KeyCode::Enter, at(6.0));
    assert!(text(&state).contains("row 160 ERROR"));
    press(&mut state, KeyCode::Char('N'), at(6.0));
    assert!(text(&state).contains("row 120 ERROR") && !text(&state).contains("row 160 "));
    press(&mut state, KeyCode::Char('n'), at(6.0));
    assert!(text(&state).contains("row 160 ERROR"));
}

#[test]
fn from_a_step_that_failed_one_key_leads_on_by_hand() {
    let config = format!("{CONFIG}{WITH_A_SWITCH}");
    let text = "title: Look\nsteps:\n  - {name: look, id: look, type: script, script: exit 1, on_failure: ask, if_configured: true, by_hand: [NEXT]}\n";
    for (next, wanted) in [("rollback-full", "rollback full"), ("rollback-undo", "dialog"), ("verify-data", "dialog")] {
        let mut state = of(&config);
        let loaded = runbooks(&state.config, NOW);
        let runbook = load(Path::new("runbooks/look.yaml"), &text.replace("NEXT", next), NOW).runbook.expect("sound");
        let content =
            plan(&runbook, &planning_context(&state.config, &loaded), &Asked::default(), &|_| Err("no files".into())).expect("a plan");
        let plan = Arc::new(Plan::new(content, Operator::default(), NOW, Duration::from_secs(600)));
        let mut events = vec![(0.1, begun("look")), (0.2, ended("look", StepResult::Failed, "exit status: 1"))];
        let asked = a_run(&plan, events.clone(), true).run.next(&plan);
        let lastgreen::plan::runbook::Next::Ask(question) = asked else { panic!("{asked:?}") };
        events.push((0.3, Event::Asked { question }));
        let lines = Ledger::lines(&loaded, &[], "rag-production", NOW);
        let ledger = Ledger { runs: vec![a_run(&plan, events, true)], runbooks: lines, known: true, ..Ledger::default() };
        hear(&mut state, Update::Ledger(Box::new(ledger)), at(10.0));
        let shown = picture(&state, &theme(Glyphs::Unicode), 80, 24).0;
        assert!(shown.contains(&format!("on by hand: {next}")), "{shown}");
        press(&mut state, KeyCode::Char('r'), at(11.0));
        let found = match &state.overlay {
            Some(Overlay::Rollback(dialog)) => format!("rollback {}", dialog.scope.word()),
            // It is planned at once, with why it is done.
            Some(Overlay::Dialog(dialog)) if matches!(dialog.stage, Stage::Planning) => {
                let reason = dialog.fields.last().expect("a reason").input.value();
                assert!(reason.starts_with("look: Step `look` failed: exit status: 1"), "{reason}");
                "dialog".into()
            }
            _ => "something else".into(),
        };
        assert_eq!(found, wanted);
    }
}
