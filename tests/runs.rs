//! Runs by the real binary: planned, refused, leased, killed, paused, answered, aborted.

mod common;

use std::path::Path;

use common::host::{Host, waits_for};
use common::{Postgres, until};

#[test]
fn a_run_is_planned_confirmed_run_and_on_record() {
    let host = Host::plain("");
    host.runbook("two", "title: Two\nowner: me\nsteps:\n  - {name: one, type: script, cwd: .., script: 'echo one > one; echo said'}\n  - {name: two, type: script, mutates: false, env: {SAID: '{{ steps.one.output }}'}, script: 'test \"$SAID\" = said'}\n");
    let (code, first) = host.run(&["run", "two", "--dry-run"]);
    assert_eq!(code, 0, "{first}");
    for part in ["caution", "fingerprint", "echo one > one", "SAID={{ steps.one.output }}", "asks     nothing", "no undo  1 one"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    let fingerprint = |text: &str| text.split("fingerprint ").nth(1).map(|t| t[..12].to_string());
    let (_, second) = host.run(&["run", "two", "--dry-run"]);
    assert_eq!(fingerprint(&first), fingerprint(&second), "the same plan has the same fingerprint");
    assert_eq!(host.run(&["run", "two"]).0, 24, "without anybody to ask nothing begins");
    assert_eq!(host.run(&["run", "two", "--confirm", "elsewhere"]).0, 24);
    assert!(!host.has("one"));
    let (code, said) = host.run(&["run", "two", "--confirm", "here", "--reason", "to see it"]);
    assert_eq!(code, 0, "{said}");
    assert!(host.has("one"));
    let (_, list) = host.run(&["runs"]);
    assert!(list.contains("done") && list.contains("two"), "{list}");
    let (code, shown) = host.run(&["audit", "show"]);
    assert_eq!(code, 0);
    assert!(shown.contains("because: to see it") && shown.contains("two: done"), "{shown}");
    until("the mirror to be complete", || host.run(&["audit", "verify"]).0 == 0);
    assert!(host.run(&["runs", "--state", "faild"]).1.contains("did you mean `failed`"));
    assert_eq!(host.run(&["run", "twoo", "--dry-run"]).0, 64);
    assert_eq!(host.run(&["run", "two", "--set", "nosuch=1", "--dry-run"]).0, 64);
}

#[test]
fn two_operators_on_two_hosts_with_one_database() {
    let mut pg = Postgres::start();
    let (first, second) = (Host::with_database(&pg), Host::with_database(&pg));
    first.runbook("long", &format!("title: Long\nsteps:\n{}", waits_for("go")));
    second.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let id = first.begin("long");
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains(&id) && said.contains("long") && said.contains("is taken"), "it says who: {said}");
    assert!(!second.has("touched"));
    let (_, refused) = second.run(&["runs", "--state", "refused"]);
    assert!(refused.contains("quick"), "the refusal is on record: {refused}");
    // Without the database nobody can know: said out loud, recorded, and no dead end.
    pg.down();
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("NOT LEASED ACROSS HOSTS"), "{said}");
    assert!(second.has("touched"));
    assert!(second.run(&["audit", "show"]).1.contains("WARNING: NOT LEASED ACROSS HOSTS"));
    std::fs::write(first.path().join("go"), "").expect("written");
    first.until(&id, "done");
}

#[test]
fn the_same_host_knows_who_has_it_and_takes_over_from_the_dead() {
    let host = Host::plain("");
    host.runbook("long", &format!("title: Long\nsteps:\n{}", waits_for("go")));
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let id = host.begin("long");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains(&id), "{said}");
    // Its runner dies, its script lives: nobody else may begin yet.
    rustix::process::kill_process(host.runner_pid(&id), rustix::process::Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains("still at work"), "{said}");
    std::fs::write(host.path().join("go"), "").expect("written");
    until("the script to end", || host.run(&["run", "quick", "--confirm", "here"]).0 == 0);
    assert!(host.run(&["audit", "show"]).1.contains("took the lease over"));
    // The one that was cut off is asked about, and goes on from the answer.
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 22, "{said}");
    assert!(said.contains("Look whether it is done"), "{said}");
    assert_eq!(host.run(&["attach", &id, "--answer", "maybe"]).0, 64);
    assert_eq!(host.run(&["attach", &id, "--answer", "done", "--note", "the file is there"]).0, 0);
    host.until(&id, "done");
    assert!(host.run(&["audit", "show", &id]).1.contains("answers done: the file is there"));
}

#[test]
fn a_signal_to_end_pauses_after_the_step_and_a_hangup_is_nothing() {
    let host = Host::plain("");
    host.runbook(
        "long",
        &format!("title: Long\nsteps:\n{}  - {{name: after, type: script, cwd: .., script: echo x >> after}}\n", waits_for("go")),
    );
    let id = host.begin("long");
    let pid = host.runner_pid(&id);
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::INT, rustix::process::Signal::PIPE] {
        rustix::process::kill_process(pid, signal).expect("sent");
    }
    assert_eq!(rustix::process::getsid(Some(pid)).expect("a session"), pid, "the runner leads a session of its own");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("sent");
    until("the wish to be on record", || host.read(&format!("state/runs/{id}/journal.jsonl")).contains("pause_wanted"));
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "paused");
    until("the runner to go", || rustix::process::test_kill_process(pid).is_err());
    assert!(!host.has("after"), "nothing after the step that ran");
    // A runbook that was changed meanwhile is not gone on with.
    let before = host.read("runbooks/long.yaml");
    host.runbook("long", &before.replace("echo x", "echo y"));
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains("-  - {name: after") && said.contains("+  - {name: after"), "the difference is shown: {said}");
    host.runbook("long", &before);
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(host.read("after"), "x\n");
    // A journal of a version to come is left alone.
    let journal = host.read(&format!("state/runs/{id}/journal.jsonl"));
    std::fs::write(host.journal(&id), journal.replacen("\"v\":1", "\"v\":2", 1)).expect("written");
    assert_eq!(host.run(&["audit", "verify", &id, "--offline"]).0, 1);
}

#[test]
fn pause_answer_abort_and_undo() {
    let host = Host::plain("");
    host.runbook(
        "undo",
        "title: Undo\nchecklists: {after: [tell them]}\nsteps:\n  - {name: make, type: script, cwd: .., script: touch made, undo: {type: script, cwd: .., script: rm made}}\n  - {name: sure, type: manual, text: 'Is {{ run.id }} fine?', check: [look]}\n  - {name: never, type: script, cwd: .., script: touch never}\n",
    );
    let (code, said) = host.run(&["run", "undo", "--confirm", "here"]);
    assert_eq!(code, 22, "it waits for an operator: {said}");
    assert!(said.contains("- look") && !said.contains("{{ run.id }}"), "the question is filled in: {said}");
    assert!(host.has("made"));
    let (code, said) = host.run(&["abort", "--undo", "--reason", "not today"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("make is done and can be undone"), "{said}");
    assert!(!said.contains("tell them"), "what was taken back wants nothing afterwards: {said}");
    assert!(!host.has("made") && !host.has("never"));
    let (_, shown) = host.run(&["audit", "show"]);
    assert!(shown.contains("because: not today") && shown.contains("aborted, and undone"), "{shown}");
    assert_eq!(host.run(&["abort", "--undo"]).0, 24, "there is nothing to abort any more");
    assert_eq!(host.run(&["resume"]).0, 24);
}

#[test]
fn a_failure_rolls_back_by_itself_where_the_runbook_says_so() {
    let host = Host::plain("");
    host.runbook(
        "roll",
        "title: Roll\nsteps:\n  - {name: make, type: script, cwd: .., script: touch made}\n  - {name: fail, type: script, script: exit 7}\nrollback:\n  automatic: true\n  conditions: [\"step.status == 'failed'\"]\n  script: rm ../made\n",
    );
    let (code, said) = host.run(&["run", "roll", "--confirm", "here"]);
    assert_eq!(code, 21, "{said}");
    assert!(!host.has("made"));
    host.runbook("stop", "title: Stop\nsteps:\n  - {name: fail, type: script, script: 'echo because; exit 7'}\n");
    let (code, said) = host.run(&["run", "stop", "--confirm", "here"]);
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("because"), "{said}");
    host.runbook("retry", "title: Retry\nsteps:\n  - {name: third, type: script, idempotent: true, retry: {count: 3, backoff: 10ms}, cwd: .., script: 'echo x >> tries; test $(wc -l < tries) -ge 3'}\n");
    assert_eq!(host.run(&["run", "retry", "--confirm", "here"]).0, 0);
    assert_eq!(host.read("tries"), "x\nx\nx\n");
}

#[test]
fn who_may_not_is_refused_and_loose_files_are_too() {
    let roles = "[roles]\nviewer = [\"*\"]\ncommander = [\"nobody-of-this-name\"]\n";
    let host = Host::plain(roles);
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains("viewer"), "{said}");
    let host = Host::plain("");
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    assert_eq!(host.run(&["--read-only", "run", "quick", "--confirm", "here"]).0, 24);
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    open(&host.path().join("runbooks/quick.yaml"), 0o666);
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains("chmod o-w"), "{said}");
    open(&host.path().join("runbooks/quick.yaml"), 0o644);
    assert_eq!(host.run(&["run", "quick", "--confirm", "here"]).0, 0);
    let mode = |path: &str| std::fs::metadata(host.path().join(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("state"), 0o700);
    let run = std::fs::read_dir(host.path().join("state/runs")).expect("runs").flatten().next().expect("a run").path();
    for (file, want) in [("plan.json", 0o600), ("journal.jsonl", 0o600), ("output", 0o700)] {
        assert_eq!(std::fs::metadata(run.join(file)).expect("there").permissions().mode() & 0o777, want, "{file}");
    }
    open(&host.path().join("state"), 0o755);
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 24, "{said}");
    assert!(said.contains("chmod 700"), "{said}");
}

#[test]
fn a_draft_a_placeholder_and_a_broken_file_do_not_run() {
    let host =
        Host::new("[environment]\nname = \"here\"\ntier = \"production\"\n[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n");
    host.runbook("draft", "title: Draft\nstatus: draft\nsteps: [{name: w, type: wait, time: 1ms}]\n");
    let (code, said) = host.run(&["run", "draft", "--confirm", "here"]);
    assert!(code == 24 && said.contains("drafts do not run in production"), "{code}: {said}");
    host.runbook(
        "left",
        "title: Left\nsteps:\n  - {name: w, type: manual, text: \"[FILL_ME_IN]\"}\n  - name: x\n    type: manual\n    text: \"[AND_ME]\"\n",
    );
    let (code, said) = host.run(&["run", "left", "--confirm", "here"]);
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("left.yaml:6") && said.contains("[AND_ME]"), "{said}");
    host.runbook("broken", "title: Broken\nstatsu: ready\nsteps:\n  - {name: a, type: scirpt, script: x}\n  - {name: b, type: http, url: nowhere, timeout: soon}\n  - {name: c, type: script, script: 'echo {{ inputs.x }}'}\n");
    let (code, said) = host.run(&["check", "--offline"]);
    assert_eq!(code, 65, "{said}");
    for part in [
        "broken.yaml:2:1",
        "did you mean `status`",
        "broken.yaml:4",
        "did you mean `script`",
        "`nowhere` is not a URL",
        "soon",
        "where the shell would run it",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
