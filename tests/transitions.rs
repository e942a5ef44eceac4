//! The table of what can follow what in a run: every kind of record in every phase, and whether it can stand there. A pair that
//! is not in the table fails the test, so that no new event and no new phase is forgotten.

use std::collections::BTreeMap;

use lastgreen::base::clock::Stamp;
use lastgreen::base::tier::Tier;
use lastgreen::plan::runbook::{
    Choice, Danger, Event, Operator, OperatorQuestion, Output, Plan, PlanningContext, ProbeAnswer, QuestionKind, Record, Run, RunResult,
    Runner, StepResult, load, plan,
};

fn a_plan() -> Plan {
    let text = "title: x\nsteps:\n  - {name: a, type: script, script: x, undo: {type: script, script: y}}\n  - {name: b, type: manual, text: sure}\n";
    let loaded = load(std::path::Path::new("runbooks/t.yaml"), text, Stamp(0));
    let context = PlanningContext::default();
    let content = plan(&loaded.runbook.expect("sound"), &context, &Default::default(), &|_| Err("no files".into())).expect("a plan");
    Plan::new(content, Operator::default(), Stamp(0), std::time::Duration::from_secs(60))
}

fn started(plan: &Plan) -> Event {
    Event::Started {
        runbook: "t".into(),
        title: "x".into(),
        fingerprint: plan.fingerprint.clone(),
        environment: String::new(),
        tier: Tier::Staging,
        danger: Danger::Caution,
        drill: false,
        reason: None,
        by: Operator::default(),
        runner: Runner::default(),
    }
}

fn finished(step: &str, outcome: StepResult) -> Event {
    Event::StepFinished { step: step.into(), outcome, message: "m".into(), touched: true, took_ms: 0, output: Output::default() }
}

fn question(step: &str) -> OperatorQuestion {
    OperatorQuestion { step: step.into(), kind: QuestionKind::Manual, text: "t".into(), check: vec![], choices: vec![Choice::Done] }
}

/// Every kind of record, about step `a`.
fn events(plan: &Plan) -> Vec<(&'static str, Event)> {
    let by = Operator::default;
    let all = vec![
        ("started", started(plan)),
        ("resumed", Event::Resumed { by: by(), runner: Runner::default(), cut: 0 }),
        ("step_started", Event::StepStarted { step: "a".into(), attempt: 1, what: "w".into() }),
        ("step_probed", Event::StepProbed { step: "a".into(), answer: ProbeAnswer::UnderWay, message: "m".into() }),
        ("step_finished", finished("a", StepResult::Done)),
        ("asked", Event::Asked { question: question("a") }),
        ("answered", Event::Answered { step: "a".into(), choice: Choice::Done, note: String::new(), by: by() }),
        ("pause_wanted", Event::PauseWanted { by: by() }),
        ("supersede_wanted", Event::SupersedeWanted { by: by(), run: "E".into() }),
        ("paused", Event::Paused { why: "w".into() }),
        ("continued", Event::Continued { by: by() }),
        ("abort_wanted", Event::AbortWanted { by: by(), undo: true, reason: String::new() }),
        ("rollback_started", Event::RollbackStarted { why: "w".into(), steps: vec!["undo/a".into()] }),
        ("noted", Event::Noted { text: "t".into(), loud: false }),
        ("ended", Event::Ended { result: RunResult::Done, message: "m".into() }),
    ];
    for (name, event) in &all {
        let written = serde_json::to_value(event).expect("JSON");
        assert_eq!(written["type"], *name, "the name it has in a journal");
        assert_eq!(serde_json::from_value::<Event>(written).expect("it reads back"), *event);
    }
    all
}

/// A run in each phase, with a step in each state that matters.
fn phases(plan: &Plan) -> Vec<(&'static str, Vec<Event>)> {
    let by = Operator::default;
    let begun = |more: Vec<Event>| [vec![started(plan)], more].concat();
    let running = Event::StepStarted { step: "a".into(), attempt: 1, what: "w".into() };
    vec![
        ("new", vec![]),
        ("running", begun(vec![])),
        ("in a step", begun(vec![running.clone()])),
        ("after a step", begun(vec![running.clone(), finished("a", StepResult::Done)])),
        ("failed", begun(vec![running.clone(), finished("a", StepResult::Failed)])),
        ("unsettled", begun(vec![running.clone(), finished("a", StepResult::Unsettled)])),
        ("waiting", begun(vec![running.clone(), Event::Asked { question: question("a") }])),
        ("paused", begun(vec![Event::PauseWanted { by: by() }, Event::Paused { why: "w".into() }])),
        ("superseded", begun(vec![running, Event::SupersedeWanted { by: by(), run: "E".into() }])),
        ("ended", begun(vec![Event::Ended { result: RunResult::Done, message: "m".into() }])),
    ]
}

/// Which records can stand where: one column an event, in the order of `events`; `+` it can, `.` it cannot.
const TABLE: [(&str, &str); 10] = [
    //              started resumed step_started step_probed step_finished asked answered pause supersede paused continued abort rollback noted ended
    ("new", "+.............."),
    ("running", ".+++++.++++++++"),
    ("in a step", ".+.+++.++++++++"),
    ("after a step", ".+...+.++++++++"),
    ("failed", ".+++++.++++++++"),
    ("unsettled", ".+++++.++++++++"),
    ("waiting", ".+.++++++++++++"),
    ("paused", ".+...+.++++++++"),
    ("superseded", ".+.+++.++++++++"),
    ("ended", "..............."),
];

#[test]
fn every_record_in_every_phase() {
    let plan = a_plan();
    let table: BTreeMap<&str, &str> = TABLE.into_iter().collect();
    let mut wrong = Vec::new();
    for (phase, before) in phases(&plan) {
        let row = table.get(phase).expect("a row for each phase");
        let all = events(&plan);
        assert_eq!(row.len(), all.len(), "a column for each event in the row of {phase}");
        let mut found = String::new();
        for (_, event) in all {
            let records = before.iter().cloned().chain([event]).enumerate();
            let records: Vec<Record> =
                records.map(|(i, event)| Record { seq: i as u64 + 1, at: Stamp(i as i64), run: "R".into(), event }).collect();
            let (last, rest) = records.split_last().expect("one at least");
            let mut run = Run::fold(&plan, rest).expect("the phase can be come to");
            let was = run.clone();
            let taken = run.apply(&plan, last).is_ok();
            found.push(if taken { '+' } else { '.' });
            if !taken {
                assert_eq!(run, was, "what cannot stand in {phase} changes nothing");
            }
        }
        if found != *row {
            wrong.push(format!("(\"{phase}\", \"{found}\"),   wanted {row}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
