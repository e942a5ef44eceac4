//! What the command line prints, whole: what changes in words or columns is seen in review, not by whoever reads it at
//! 3 AM. Names of runs, times and fingerprints are masked.

mod common;

use std::sync::LazyLock;

use common::host::Host;
use common::until;
use regex::Regex;

const RELEASE: &str = r#"title: Release the index
description: Moves the index to a new release.
owner: search
emergency: false
danger: danger
inputs:
  version: {default: "1.4.2", description: What to bring out}
steps:
  - name: build
    type: script
    cwd: ..
    env: {VERSION: "{{ inputs.version }}"}
    script: 'echo "built $VERSION"'
    mutates: false
  - name: switch
    type: script
    cwd: ..
    env: {VERSION: "{{ inputs.version }}"}
    script: 'echo "$VERSION" > live'
    undo: {type: script, cwd: .., script: 'rm live'}
  - name: look
    type: manual
    text: Does the search page answer?
  - name: mail
    type: script
    cwd: ..
    script: 'exit 3'
    on_failure: continue
"#;

static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[time]"),
        (r"\b\d\d:\d\d:\d\d\b", "[clock]"),
        (r"\b01[0-9A-HJKMNP-TV-Z]{24}\b", "[run]"),
        (r"\b[0-9a-f]{64}\b", "[sha256]"),
        (r"\b[0-9a-f]{12}\b", "[fingerprint]"),
        (r"/[^ ]*/\.tmp[A-Za-z0-9]+", "[folder]"),
        (r"process \d+ on [^\s)]+", "process [pid] on [host]"),
        (r"runner \d+ on [^\s)]+", "runner [pid] on [host]"),
        (r#""(pid|began|elapsed_ms)": \d+"#, "\"$1\": [$1]"),
        (r#""(host|place|user|operator|account)": "[^"]*""#, "\"$1\": \"[$1]\""),
        (r"\b\w+@[\w.-]+", "[operator]"),
        (r"\b\d+(\.\d+)?(ms|s)\b", "[span]"),
        // Columns are as wide as what stands in them.
        (r"(\S) {3,}", "$1  "),
        (r"\[span\]  \S+  Does", "[span]  [user]  Does"),
    ]
    .map(|(pattern, mask)| (Regex::new(pattern).expect("a pattern"), mask))
    .into()
});

fn masked(code: i32, text: &str) -> String {
    let text = MASKS.iter().fold(text.to_string(), |text, (pattern, mask)| pattern.replace_all(&text, *mask).into_owned());
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("exit code {code}\n{}\n", lines.join("\n"))
}

fn host() -> Host {
    let host = Host::plain("");
    host.runbook("release", RELEASE);
    host
}

macro_rules! whole {
    ($host:expr, $name:expr, $($argument:expr),+) => {{
        let (code, text) = $host.run(&[$($argument),+]);
        insta::assert_snapshot!($name, masked(code, &text));
    }};
}

#[test]
fn a_plan_in_words_and_for_programs() {
    let host = host();
    whole!(host, "plan_text", "run", "release", "--dry-run", "--set", "version=1.5.0");
    whole!(host, "plan_json", "run", "release", "--dry-run", "--json");
}

#[test]
fn a_run_from_its_beginning_to_its_end() {
    let host = host();
    let id = host.begin("release");
    host.until(&id, "waiting");
    whole!(host, "runs_while_it_asks", "runs");
    whole!(host, "run_while_it_asks", "runs", &id);
    host.run(&["attach", &id, "--answer", "done"]);
    until("it to end", || !["waiting", "running"].contains(&host.status(&id).as_str()));
    until("the mirror to be complete", || host.run(&["audit", "verify"]).0 == 0);
    whole!(host, "run_when_done", "runs", &id);
    whole!(host, "run_when_done_json", "runs", &id, "--json");
    whole!(host, "audit_show", "audit", "show", &id);
    whole!(host, "audit_verify", "audit", "verify");
}

#[test]
fn what_is_refused_and_why() {
    let host = host();
    whole!(host, "refused_no_such_runbook", "run", "relaese");
    whole!(host, "refused_no_such_input", "run", "release", "--set", "verson=1", "--dry-run");
    whole!(host, "refused_nobody_to_ask", "run", "release");
    whole!(host, "refused_other_name", "run", "release", "--confirm", "there");
    whole!(host, "refused_no_such_run", "runs", "01ABC");
}

#[test]
fn every_mistake_of_a_runbook_with_its_line() {
    let host = host();
    host.runbook(
        "broken",
        "title: Broken\nsteps:\n  - {name: a, type: scrpt}\n  - {name: b, type: script}\n  - name: c\n    type: wait\n    for: soon\n",
    );
    whole!(host, "check_broken_runbook", "check", "--offline");
    whole!(host, "refused_broken_runbook_json", "run", "broken", "--json");
}
