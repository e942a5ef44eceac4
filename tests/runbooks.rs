//! Runbooks as text: what loads, what is refused and with which words, what a plan comes to; and folds over any sequence
//! of events, which never panic and always come to the same.

use std::path::Path;
use std::sync::Arc;

use lastgreen::base::clock::Stamp;
use lastgreen::base::tier::Tier;
use lastgreen::base::units::Unit;
use lastgreen::plan::runbook::{
    Asked, Choice, Content, Danger, Event, Kind, LoadedRunbook, Next, OnFailure, Operator, OperatorQuestion, Output, Phase, Plan,
    PlanEnvironment, PlanningContext, ProbeAnswer, QuestionKind, Record, Run, RunResult, RunbookStatus, Runner, StepResult, StepState,
    Trigger, load, plan,
};
use proptest::prelude::*;

const NOW: Stamp = Stamp(1_790_000_000_000);

fn read(text: &str) -> LoadedRunbook {
    load(Path::new("runbooks/test.yaml"), text, NOW)
}

/// The shape of the operators' own `automation.yaml`, with its placeholders.
const AUTOMATION: &str = r#"# automation.yaml
name: "[OPERATION_NAME]"
version: "1.0.0"
description: "[OPERATION_DESCRIPTION]"

triggers:
  - type: schedule
    cron: "0 2 * * *"  # Daily at 2 AM
  - type: event
    source: monitoring
    condition: "alert.severity == 'critical'"

steps:
  - name: "Pre-flight checks"
    type: health_check
    targets:
      - service: "[SERVICE_NAME]"
        endpoint: "/health"
        expected_status: 200

  - name: "Execute operation"
    type: script
    script: |
      #!/bin/bash
      [OPERATION_COMMANDS]
    timeout: 3600

  - name: "Validation"
    type: validation
    checks:
      - metric: "error_rate"
        operator: "<"
        value: 0.01
      - metric: "response_time_p95"
        operator: "<"
        value: 500

rollback:
  automatic: true
  conditions:
    - "step.status == 'failed'"
    - "validation.failed == true"
  script: |
    [ROLLBACK_COMMANDS]

notifications:
  - channel: slack
    webhook: "[WEBHOOK_URL]"
    events: [start, success, failure]
  - channel: pagerduty
    integration_key: "[KEY]"
    events: [failure]
"#;

fn planning_context() -> PlanningContext {
    PlanningContext {
        environment: PlanEnvironment { name: "rag".into(), tier: Tier::Production },
        services: [("api".to_string(), "http://api:8000/".to_string())].into_iter().collect(),
        databases: [("database".to_string(), "postgres://db/rag".to_string())].into_iter().collect(),
        signals: [("error_rate".to_string(), Unit::Ratio), ("response_time_p95".to_string(), Unit::Milliseconds)].into_iter().collect(),
        ..PlanningContext::default()
    }
}

fn planned(text: &str, world: &PlanningContext, inputs: &[(&str, &str)]) -> Result<Content, Vec<String>> {
    let loaded = read(text);
    let runbook = loaded.runbook.unwrap_or_else(|| panic!("{:?}", loaded.findings));
    let inputs = inputs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    plan(&runbook, world, &Asked { inputs, ..Asked::default() }, &|_| Err("no such file".into()))
}

#[test]
fn the_operators_automation_loads_as_it_stands() {
    let loaded = read(AUTOMATION);
    let runbook = loaded.runbook.clone().unwrap_or_else(|| panic!("{:?}", loaded.findings));
    assert_eq!(runbook.placeholders.len(), 7, "{:?}", runbook.placeholders);
    assert_eq!(loaded.findings.len(), 7, "each is warned of: {:?}", loaded.findings);
    assert_eq!(runbook.triggers.len(), 2);
    assert!(matches!(&runbook.triggers[0], Trigger::Schedule { cron } if cron == "0 2 * * *"));
    assert_eq!((runbook.front.status, runbook.danger), (RunbookStatus::Ready, Danger::Caution));
    let kinds: Vec<&str> = runbook.steps.iter().map(|s| s.kind.word()).collect();
    assert_eq!(kinds, ["health_check", "script", "validation"]);
    assert_eq!(runbook.steps[1].timeout, Some(std::time::Duration::from_secs(3600)));
    assert!(runbook.rollback.automatic && runbook.rollback.conditions.len() == 2 && runbook.rollback.steps.len() == 1);
    assert_eq!(runbook.notifications.len(), 2);
    // It is read, and it is not run until somebody has filled it in.
    let problems = planned(AUTOMATION, &planning_context(), &[]).expect_err("no plan");
    assert!(problems.iter().any(|p| p.contains("`[SERVICE_NAME]` is still to be filled in")), "{problems:?}");
    let filled = AUTOMATION
        .replace("[OPERATION_NAME]", "Reindex")
        .replace("[OPERATION_DESCRIPTION]", "once a week")
        .replace("[SERVICE_NAME]", "api")
        .replace("[OPERATION_COMMANDS]", "make reindex")
        .replace("[ROLLBACK_COMMANDS]", "make undo")
        .replace("[WEBHOOK_URL]", "env:SLACK_WEBHOOK")
        .replace("[KEY]", "env:PAGERDUTY_KEY");
    let content = planned(&filled, &planning_context(), &[]).expect("a plan");
    assert_eq!(content.steps[0].kind.describe(), "GET http://api:8000/health wants 200");
    assert_eq!(content.steps[2].kind.describe(), "error_rate < 0.01, response_time_p95 < 500");
    assert_eq!(content.notices.len(), 2);
    // A secret stands in no file.
    let inline = filled.replace("env:SLACK_WEBHOOK", "https://hooks.slack.com/services/T0/B0/abcdef");
    let loaded = read(&inline);
    let said = format!("{:?}", loaded.findings);
    assert!(loaded.runbook.is_none() && said.contains("never written inline") && !said.contains("abcdef"), "{said}");
}

#[test]
fn every_mistake_at_once_with_its_line() {
    let cases: &[(&str, &str, &str)] = &[
        ("titel: x\nsteps: [{name: a, type: wait, time: 1s}]\n", "1", "no field `titel`"),
        ("title: x\nstatus: raedy\nsteps: [{name: a, type: wait, time: 1s}]\n", "2", "did you mean `ready`"),
        ("title: x\nfrequency: fortnightly\nsteps: [{name: a, type: wait, time: 1s}]\n", "2", "`frequency` cannot be"),
        ("title: x\nreview: soon\nsteps: [{name: a, type: wait, time: 1s}]\n", "2", "not a day"),
        ("title: x\nsteps: []\n", "1", "has `steps`"),
        ("title: x\nsteps:\n  - {name: a, type: sript, script: x}\n", "3", "did you mean `script`"),
        ("title: x\nsteps:\n  - {name: a, type: script}\n", "3", "a `script` or a `file`"),
        ("title: x\nsteps:\n  - {name: a, type: script, script: }\n", "3", "a `script` or a `file`"),
        ("title: x\nsteps:\n  - {name: a, type: manual, text: }\n", "3", "has no `text`"),
        ("title: x\nsteps:\n  - {name: a, type: script, script: x, retry: {count: 2}}\n", "3", "only what is idempotent"),
        ("title: x\nsteps:\n  - {name: a, type: sql, query: 'DELETE FROM t'}\n", "3", "`DELETE` does not only look"),
        ("title: x\nsteps:\n  - {name: a, type: sql, query: 'SELECT {{ inputs.a }}'}\ninputs: {a: {}}\n", "3", "spliced into SQL"),
        (
            "title: x\nsteps:\n  - {name: a, type: script, script: 'echo {{ inputs.a }}'}\ninputs: {a: {}}\n",
            "3",
            "where the shell would run it",
        ),
        ("title: x\nsteps:\n  - {name: a, type: script, script: x, env: {API_TOKEN: abc}}\n", "3", "looks like a secret"),
        ("title: x\nsteps:\n  - {name: a, type: http, url: 'http://u:p@h/'}\n", "3", "password stands inline"),
        ("title: x\nsteps:\n  - {name: a, type: http, url: 'http://h/{{ inputs.b }}'}\ninputs: {a: {}}\n", "3", "no input `b`"),
        (
            "title: x\nsteps:\n  - {name: a, type: http, url: 'http://h/{{ steps.b.output }}'}\n  - {name: b, type: wait, time: 1s}\n",
            "3",
            "no earlier step `b`",
        ),
        ("title: x\nsteps:\n  - {name: a, type: wait, time: 1s, when: 'inptus.a'}\n", "3", "did you mean `inputs`"),
        ("title: x\nsteps:\n  - {name: a, type: wait, time: 1s, when: '1 +'}\n", "3", "unexpected end of input"),
        ("title: x\nsteps:\n  - {name: a, type: script, script: x, probe: {type: manual, text: x}}\n", "3", "cannot be a probe"),
        ("title: x\nsteps:\n  - {name: a, type: script, script: x, probe: {type: sql, query: SELECT 1}}\n", "3", "always say yes"),
        ("title: x\nsteps:\n  - {name: a, id: undo, type: wait, time: 1s}\n", "3", "a word of ours"),
        ("title: x\nsteps:\n  - {name: a, type: wait, time: soon}\n", "3", "soon"),
        ("title: x\nsteps:\n  - {name: a, type: wait, time: 1s}\ntriggers: [{type: schedule, cron: 'every day'}]\n", "4", "not a schedule"),
        ("title: x\ndanger: safe\nsteps:\n  - {name: a, type: script, script: x}\n", "2", "calls itself safe"),
        (
            "title: x\nsteps:\n  - {name: a, type: wait, time: 1s}\nnotifications: [{channel: slack, events: [begin]}]\n",
            "4",
            "there is no event `begin`",
        ),
        ("title: x\ninputs: {a: {type: integer, default: many}}\nsteps:\n  - {name: a, type: wait, time: 1s}\n", "2", "a whole number"),
        (
            "title: x\nsteps:\n  - {name: a, type: wait, time: 1s}\nrollback: {script: 'run {{- inputs.v }}'}\ninputs: {v: {}}\n",
            "4",
            "where the shell",
        ),
        (
            "title: x\nsteps:\n  - name: a\n    type: script\n    script: x\n    interpreter: [sh, -c, 'echo {{ inputs.v }}']\ninputs: {v: {}}\n",
            "6",
            "read as code",
        ),
        ("title: x\nsteps:\n  - name: a\n    type: http\n    url: http://h\n    path: /deploy\n", "6", "http://h/deploy"),
        (
            "title: x\nsteps:\n  - {name: go, type: script, script: x}\n  - name: a\n    type: http\n    url: 'http://h/{{ steps.go.outpt }}'\n",
            "6",
            "did you mean `output`",
        ),
        (
            "title: x\nsteps:\n  - {name: sub, type: runbook, runbook: other}\n  - {name: a, type: http, url: 'http://h/{{ steps.sub.output }}'}\n",
            "4",
            "no earlier step `sub`",
        ),
        (
            "title: x\ninputs: {a: {}}\nsteps:\n  - {name: a, type: http, url: \"http://h/{{ inputs['b'] ~ run.id }}\"}\n",
            "4",
            "`inputs` alone",
        ),
        (
            "title: x\nsteps:\n  - {name: a, type: script, script: x}\nrollback:\n  automatic: true\n  conditions: [\"step.staus == 'failed'\"]\n  script: y\n",
            "6",
            "did you mean `status`",
        ),
        ("title: x\nsteps:\n  - {name: a, type: script, script: x, on_failure: rollback}\n", "3", "nothing to roll back to"),
        ("title: x\nsteps:\n  - {name: a, type: script, script: x}\nrollback: {automatic: true}\n", "4", "nothing to do"),
        ("title: x\nsteps:\n  - {name: a, type: manual, text: sure, timeout: 5s}\n", "3", "has no time-out"),
        ("title: x\nsteps:\n  - {name: a, type: wait, time: 5m, timeout: 5s}\n", "3", "longer than its time-out"),
        (
            "title: x\nsteps:\n  - {name: a, type: script, script: x, probe: {type: validation, checks: [s], for: 5s}}\n",
            "3",
            "a probe looks once",
        ),
        ("title: x\ninputs:\n  db_password: {}\nsteps:\n  - {name: a, type: wait, time: 1s}\n", "3", "for everybody to read"),
        (
            "title: x\nsteps:\n  - {name: a, type: wait, time: 1s}\nnotifications: [{channel: webhook, webhook: 'env:HOOK'}]\n",
            "4",
            "cannot be described here",
        ),
        ("title: [x\n", "", "not YAML"),
        ("", "1", "empty"),
        ("- a\n", "1", "`key: value`"),
        ("a: 1\n---\nb: 2\n", "1", "more than one document"),
    ];
    for (text, place, words) in cases {
        let loaded = read(text);
        assert!(loaded.runbook.is_none(), "{text}");
        let hit = loaded.findings.iter().find(|f| f.to_string().contains(words));
        let hit = hit.unwrap_or_else(|| panic!("{words}: {text}\n{:#?}", loaded.findings));
        if !place.is_empty() {
            assert_eq!(hit.line.to_string(), *place, "{text}\n{hit}");
        }
    }
    let many = cases[5].0.replace("title: x", "titel: x\nstatus: raedy");
    assert!(read(&many).findings.len() >= 3, "all of them at once");
    let deep = format!("a: {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    let said = read(&deep).findings;
    assert!(said[0].cause.contains("deep") || said[0].cause.contains("not YAML"), "no depth brings it down: {said:?}");
}

#[test]
fn what_is_right_is_not_refused() {
    let sound = [
        "title: x\ninputs: {min: {type: integer, default: 3}}\nsteps:\n  - {name: a, type: http, url: 'http://h/', expect: {/count: '>= {{ inputs.min }}'}}\n",
        "title: x\nsteps:\n  - {name: a, type: script, script: x, env: {MAX_TOKENS: '4096', TOKENIZER: cl100k}}\n",
        "title: x\nsteps:\n  - name: a\n    type: sql\n    query: |\n      -- how many\n      (SELECT count(*) FROM t)\n",
        "title: x\nsteps:\n  - {name: a, type: script, script: \"docker inspect -f '{{.State.Status}} {{ .inputs.x }}' api\"}\n",
    ];
    for text in sound {
        let loaded = read(text);
        assert!(loaded.runbook.is_some(), "{text}\n{:#?}", loaded.findings);
    }
    let ini = read(
        "title: x\nsteps:\n  - name: a\n    type: script\n    script: |\n      cat >x.ini <<E\n      [DEFAULT]\n      a = 1\n      E\n",
    );
    assert!(ini.runbook.is_some_and(|r| r.placeholders.is_empty()));
}

#[test]
fn what_is_open_is_checked_for_everything_else() {
    let text = "title: x\ninputs: {v: {pattern: 'v.+'}, force: {type: boolean}, host: {}}\nsteps:\n  - {name: a, type: http, url: 'http://{{ inputs.host }}/{{ inputs.v }}'}\n  - {name: b, type: http, service: apy, path: '/{{ inputs.v }}'}\n  - {name: c, type: validation, checks: ['eror_rate < 1%']}\n  - {name: d, type: wait, time: 1s, when: inputs.force}\n";
    let runbook = read(text).runbook.expect("sound");
    let asked = Asked { only_checks: true, ..Asked::default() };
    let problems = plan(&runbook, &planning_context(), &asked, &|_| Err("no files".into())).expect_err("two mistakes");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].contains("`apy`") && problems[1].contains("eror_rate"), "{problems:#?}");
}

#[test]
fn what_is_old_is_warned_of() {
    let text = "title: x\nstatus: deprecated\nreview: 2020-01-31\nsteps: [{name: a, type: wait, time: 1s}]\n";
    let loaded = read(text);
    let said: Vec<&str> = loaded.findings.iter().map(|f| f.cause.as_str()).collect();
    assert!(loaded.runbook.is_some());
    assert_eq!(said, ["this runbook is deprecated", "this runbook was to be reviewed by 2020-01-31"]);
}

#[test]
fn a_plan_has_everything_filled_in_or_says_what_is_missing() {
    let text = "title: Deploy\ninputs:\n  version: {type: string, pattern: 'v[0-9.]+'}\n  percent: {type: integer, default: 10, allowed: [10, 25]}\nsteps:\n  - {name: deploy, type: http, service: api, method: POST, path: '/deploy', json: {version: '{{ inputs.version }}', share: '{{ inputs.percent }}', by: '{{ operator.user }}'}}\n  - {name: look, type: http, service: api, path: '/v/{{ steps.deploy.json.id }}'}\n  - {name: ok, type: validation, checks: ['error_rate < 1%'], for: 10s}\n";
    let content = planned(text, &planning_context(), &[("version", "v1.10")]).expect("a plan");
    assert_eq!(
        content.steps[0].kind.describe(),
        "POST http://api:8000/deploy {\"version\":\"v1.10\",\"share\":10,\"by\":\"\"} wants 200 or 201 or 202 or 204"
    );
    assert!(content.steps[1].kind.describe().contains("{{ steps.deploy.json.id }}"), "only the run will know");
    let problem = |text: &str, inputs: &[(&str, &str)]| planned(text, &planning_context(), inputs).expect_err("no plan").join("\n");
    assert!(problem(text, &[]).contains("input `version` is missing"));
    assert!(problem(text, &[("version", "1.4")]).contains("must look like"));
    assert!(problem(text, &[("version", "v1"), ("percent", "50")]).contains("allowed: 10, 25"));
    assert!(problem(text, &[("version", "v1"), ("vresion", "v2")]).contains("did you mean `version`"));
    assert!(
        problem(&text.replace("service: api, path: '/v", "service: apy, path: '/v"), &[("version", "v1")])
            .contains("test.yaml:7: step `look`: there is no service `apy` (did you mean `api`?)")
    );
    assert!(problem(&text.replace("error_rate", "eror_rate"), &[("version", "v1")]).contains("did you mean `error_rate`"));
    // A value is never read as a template.
    let evil = text.replace("pattern: 'v[0-9.]+'", "description: x");
    assert!(problem(&evil, &[("version", "{{ steps.deploy.output }}")]).contains("template signs"));
}

#[test]
fn plans_read_back_as_they_were_written_and_as_nothing_else() {
    let text = "title: x\nsteps:\n  - {name: load, type: load, service: api, path: /, errors: 1.1%, p95: 250ms}\n  - {name: ask, type: manual, text: sure, on_failure: continue}\n";
    let content = planned(text, &planning_context(), &[]).expect("a plan");
    assert_eq!(content.steps[1].on_failure, Some(OnFailure::Continue));
    let made = Plan::new(content, Operator::default(), NOW, std::time::Duration::from_secs(60));
    let written = serde_json::to_string_pretty(&made).expect("json");
    let again = Plan::parse(&written).expect("the same plan");
    assert_eq!(again, made);
    assert!(Plan::parse(&written.replace("250", "251")).expect_err("changed").contains("plan was changed"));
    assert!(Plan::parse(&written.replacen("\"v\": 2", "\"v\": 3", 1)).expect_err("another version").contains("version 3"));
}

#[test]
fn a_runbook_in_a_runbook_brings_its_guards_along() {
    let inner = load(
        Path::new("runbooks/inner.yaml"),
        "title: Inner\nguard: [error_rate]\ninputs: {v: {type: string}}\nsteps:\n  - {name: first, type: script, script: x, env: {V: '{{ inputs.v }}'}}\n  - {name: second, type: http, service: api, path: '/{{ steps.first.output }}'}\n",
        NOW,
    );
    let mut world = planning_context();
    world.runbooks.insert("inner".into(), inner.runbook.expect("sound"));
    let outer = "title: Outer\nsteps:\n  - {name: go, type: wait, time: 1ms}\n  - {name: sub, type: runbook, runbook: inner, inputs: {v: 1.10}, when: \"steps.go.status == 'done'\", guard: ['response_time_p95 < 500']}\n";
    let content = planned(outer, &world, &[]).expect("a plan");
    let keys: Vec<&str> = content.steps.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(keys, ["go", "sub/first", "sub/second"]);
    assert!(content.guard.is_empty(), "that of the inner one is looked at when its first step is to be done");
    assert_eq!(content.danger, Danger::Caution, "as dangerous as what it runs");
    assert_eq!(content.steps.iter().map(|s| s.guard.len()).collect::<Vec<_>>(), [0, 2, 1]);
    assert!(content.steps[1..].iter().all(|s| s.when.len() == 1));
    assert!(matches!(&content.steps[1].kind, Kind::Script(s) if s.env == [("V".to_string(), "1.10".to_string())]), "as it was written");
    let circle = read("title: Circle\nsteps:\n  - {name: sub, type: runbook, runbook: test}\n");
    world.runbooks.insert("test".into(), circle.runbook.expect("sound"));
    let problems = planned("title: x\nsteps:\n  - {name: sub, type: runbook, runbook: test}\n", &world, &[]).expect_err("a circle");
    assert!(problems[0].contains("in a circle"), "{problems:?}");
}

// ---------------------------------------------------------------- folds

fn a_plan() -> Plan {
    let text = "title: x\nsteps:\n  - {name: a, type: script, script: x, undo: {type: script, script: y}}\n  - {name: b, type: manual, text: sure}\n  - {name: c, type: script, script: x, probe: {type: script, mutates: false, script: x}, on_failure: ask}\n  - {name: d, type: script, script: x, idempotent: true, retry: {count: 2}, on_failure: rollback}\nrollback: {script: z}\n";
    let content = planned(text, &planning_context(), &[]).expect("a plan");
    Plan::new(content, Operator::default(), NOW, std::time::Duration::from_secs(60))
}

fn started(plan: &Plan) -> Event {
    Event::Started {
        runbook: "x".into(),
        title: "x".into(),
        fingerprint: plan.fingerprint.clone(),
        environment: "rag".into(),
        tier: Tier::Production,
        danger: Danger::Caution,
        drill: false,
        reason: None,
        by: Operator::default(),
        runner: Runner::default(),
    }
}

fn finished(step: &str, outcome: StepResult) -> Event {
    Event::StepFinished { step: step.into(), outcome, message: "m".into(), touched: true, took_ms: 1, output: Output::default() }
}

fn any_event() -> impl Strategy<Value = Event> {
    let key = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("undo/a"), Just("rollback/rollback_script"), Just("nothing")]
        .prop_map(str::to_string);
    let outcome = prop_oneof![
        Just(StepResult::Done),
        Just(StepResult::Failed),
        Just(StepResult::Skipped),
        Just(StepResult::Interrupted),
        Just(StepResult::Unsettled)
    ];
    let choice = prop::sample::select(Choice::ALL.to_vec());
    let result = prop_oneof![Just(RunResult::Done), Just(RunResult::Failed), Just(RunResult::Aborted), Just(RunResult::Superseded)];
    let by = Operator::default;
    prop_oneof![
        2 => Just(started(&a_plan())),
        6 => (key.clone(), 1..4u32).prop_map(|(step, attempt)| Event::StepStarted { step, attempt, what: "w".into() }),
        6 => (key.clone(), outcome).prop_map(|(step, outcome)| finished(&step, outcome)),
        2 => (key.clone(), prop::sample::select(vec![ProbeAnswer::Yes, ProbeAnswer::No, ProbeAnswer::UnderWay, ProbeAnswer::Unknown])).prop_map(|(step, answer)| Event::StepProbed { step, answer, message: "m".into() }),
        3 => key.clone().prop_map(|step| Event::Asked { question: OperatorQuestion { step, kind: QuestionKind::Failure, text: "t".into(), check: vec![], choices: Choice::ALL.to_vec() } }),
        3 => (key, choice).prop_map(move |(step, choice)| Event::Answered { step, choice, note: String::new(), by: by() }),
        1 => Just(Event::PauseWanted { by: by() }),
        1 => Just(Event::SupersedeWanted { by: by(), run: "E".into() }),
        1 => Just(Event::Paused { why: "w".into() }),
        1 => Just(Event::Continued { by: by() }),
        1 => any::<bool>().prop_map(move |undo| Event::AbortWanted { by: by(), undo, reason: String::new() }),
        1 => Just(Event::Resumed { by: by(), runner: Runner::default(), cut: 0 }),
        1 => Just(Event::RollbackStarted { why: "w".into(), steps: vec!["undo/a".into(), "rollback/rollback_script".into()] }),
        1 => Just(Event::Noted { text: "n".into(), loud: true }),
        1 => result.prop_map(|result| Event::Ended { result, message: "m".into() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever a journal says: taking it in never panics, comes to the same each time, record by record or at once, and
    /// what cannot follow changes nothing.
    #[test]
    fn folds_are_deterministic_and_never_panic(events in prop::collection::vec(any_event(), 0..60)) {
        let plan = a_plan();
        let mut run = Run::default();
        let mut taken: Vec<Record> = Vec::new();
        for (i, event) in std::iter::once(started(&plan)).chain(events).enumerate() {
            let record = Record { seq: run.seq + 1, at: NOW.plus(std::time::Duration::from_secs(i as u64)), run: "R".into(), event };
            let mut next = run.clone();
            match next.apply(&plan, &record) {
                Ok(()) => {
                    run = next;
                    taken.push(record);
                }
                Err(_) => prop_assert!(next.seq == run.seq),
            }
            let (first, second) = (run.next(&plan), run.next(&plan));
            prop_assert_eq!(&first, &second);
            // There is always something to do, somebody to wait for, or an end.
            let over = matches!(run.phase, Phase::Ended { .. } | Phase::New);
            prop_assert_eq!(matches!(first, Next::Over), over);
            let waits = matches!(run.phase, Phase::Waiting { .. } | Phase::Paused { .. });
            prop_assert_eq!(matches!(first, Next::Await), waits);
            prop_assert_eq!(&Run::fold(&plan, &taken).expect("what was taken in folds"), &run);
        }
    }

    /// A run that is led by what comes next always ends, and each step is concluded once.
    #[test]
    fn led_by_what_comes_next_every_run_ends(ways in prop::collection::vec((0..4usize, 0..6usize), 80)) {
        let plan = a_plan();
        let mut run = Run::default();
        let mut ways = ways.into_iter().cycle();
        let put = |run: &mut Run, event: Event| {
            let record = Record { seq: run.seq + 1, at: NOW, run: "R".into(), event };
            run.apply(&plan, &record).expect("what comes next is legal");
        };
        put(&mut run, started(&plan));
        for turn in 0..400 {
            let (way, choice) = ways.next().expect("endless");
            match run.next(&plan) {
                Next::Over => break,
                Next::Step(key) | Next::Retry(key) => {
                    let attempt = run.steps[&key].attempts + 1;
                    put(&mut run, Event::StepStarted { step: key.clone(), attempt, what: String::new() });
                    match way {
                        0 => put(&mut run, Event::Resumed { by: Operator::default(), runner: Runner::default(), cut: 0 }),
                        1 if turn < 300 => put(&mut run, finished(&key, StepResult::Failed)),
                        _ if key != "b" => put(&mut run, finished(&key, StepResult::Done)),
                        _ => {}
                    }
                }
                Next::Probe(key) => put(&mut run, Event::StepProbed { step: key, answer: [ProbeAnswer::Yes, ProbeAnswer::No, ProbeAnswer::UnderWay, ProbeAnswer::Unknown][way % 4], message: String::new() }),
                Next::Conclude { step, outcome, .. } => put(&mut run, finished(&step, outcome)),
                Next::Ask(question) => put(&mut run, Event::Asked { question }),
                Next::Pause => put(&mut run, Event::Paused { why: String::new() }),
                Next::Rollback { why, steps } => put(&mut run, Event::RollbackStarted { why, steps }),
                Next::Finish { result, message } => put(&mut run, Event::Ended { result, message }),
                Next::Await => match run.phase.clone() {
                    Phase::Waiting { question } => {
                        let wanted = question.choices[choice % question.choices.len()];
                        let wanted = if turn > 300 { *question.choices.last().expect("choices") } else { wanted };
                        put(&mut run, Event::Answered { step: question.step, choice: wanted, note: String::new(), by: Operator::default() });
                    }
                    _ => put(&mut run, Event::Continued { by: Operator::default() }),
                },
            }
        }
        prop_assert!(run.is_over(), "{:?}", run.phase);
        prop_assert!(run.steps.values().all(|s| !matches!(s.state, StepState::Running | StepState::Unknown)));
    }
}

#[test]
fn shipped_runbooks_are_sound() {
    let text = "profile = \"rag\"\n[environment]\nname = \"x\"\n[sources.stable]\nkind = \"http\"\nurl = \"http://s\"\n[sources.canary]\nkind = \"http\"\nurl = \"http://c\"\n[sources.database]\nkind = \"database\"\nurl = \"postgres://u@h/d\"\n[sources.qdrant]\nkind = \"qdrant\"\nurl = \"http://q\"\ncollection = \"c\"\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://p\"\n";
    let config = lastgreen::config::load_text(Path::new("/x/lastgreen.toml"), text).config.expect("a configuration");
    let loaded = lastgreen::config::runbooks(&config, NOW);
    assert!(loaded.len() >= 5);
    let world = lastgreen::config::planning_context(&config, &loaded);
    for one in &loaded {
        let runbook: &Arc<_> = one.runbook.as_ref().unwrap_or_else(|| panic!("{:?}", one.findings));
        assert!(one.findings.is_empty(), "{:?}", one.findings);
        let content = plan(runbook, &world, &Asked::default(), &|_| Err("none".into()));
        assert!(content.is_ok(), "{}: {content:?}", one.name);
    }
}
