//! Runs by the real binary: refused, locked, killed, paused, on a full disk, without a database, and always on record.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Canned, Counting, Postgres, install_tls_provider, respond, until};
use lastgreen::base::clock::{Clock, Stamp};
use lastgreen::cli::{audit_database, reach};
use lastgreen::config::{load_text, runbooks, world};
use lastgreen::journal::{StateDir, compare, read, unwatched};
use lastgreen::runbook::{Asked, Operator, Plan, RunResult, Runner, plan};
use lastgreen::runner::{Ending, Setup, drive, sync_run};
use tempfile::TempDir;

/// A host: a folder with a configuration, runbooks, and a state folder.
struct Host {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Host {
    fn new(config: &str) -> Host {
        let folder = TempDir::new().expect("a folder");
        let text = format!("state_dir = \"state\"\n{config}\n");
        std::fs::write(folder.path().join("lastgreen.toml"), text).expect("written");
        std::fs::create_dir(folder.path().join("runbooks")).expect("a folder");
        // An empty file is an empty database.
        std::fs::write(folder.path().join("app.db"), "").expect("written");
        Host { folder, environment: Vec::new() }
    }

    /// One with a source that nobody asks, where only runs matter.
    fn plain(more: &str) -> Host {
        Host::new(&format!(
            "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n{more}"
        ))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn runbook(&self, name: &str, text: &str) -> &Host {
        std::fs::write(self.path().join(format!("runbooks/{name}.yaml")), text).expect("written");
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastgreen"));
        command.args(arguments).current_dir(self.path()).env("HOME", self.path()).env_remove("LASTGREEN_CONFIG");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output: Output = self.command(arguments).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    fn begin(&self, runbook: &str) -> String {
        let (code, text) = self.run(&["run", runbook, "--confirm", "here", "--detach"]);
        assert_eq!(code, 0, "{text}");
        text.trim().to_string()
    }

    fn standing(&self, id: &str) -> String {
        let (_, text) = self.run(&["runs", id, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value["standing"].as_str().unwrap_or("").to_string()
    }

    fn until(&self, id: &str, standing: &str) {
        until(&format!("{id} to be {standing}"), || self.standing(id) == standing);
    }

    fn journal(&self, id: &str) -> PathBuf {
        self.path().join("state/runs").join(id).join("journal.jsonl")
    }

    fn runner_pid(&self, id: &str) -> rustix::process::Pid {
        let (_, text) = self.run(&["runs", id, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        rustix::process::Pid::from_raw(value["runner"]["pid"].as_i64().expect("a pid") as i32).expect("a pid")
    }

    fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }
}

/// A step that waits until a file is there.
fn waits_for(file: &str) -> String {
    format!("  - {{name: wait for {file}, type: script, cwd: .., script: 'while [ ! -e {file} ]; do sleep 0.02; done'}}\n")
}

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
    assert_eq!(host.run(&["run", "twoo", "--dry-run"]).0, 65);
}

#[test]
fn two_operators_on_two_hosts_with_one_database() {
    let mut pg = Postgres::start();
    let config = format!(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\ntimeout = \"2s\"\n",
        pg.url()
    );
    let (first, second) = (Host::new(&config), Host::new(&config));
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
    assert!(said.contains("NOT LOCKED ACROSS HOSTS"), "{said}");
    assert!(second.has("touched"));
    assert!(second.run(&["audit", "show"]).1.contains("WARNING: NOT LOCKED ACROSS HOSTS"));
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
    assert!(host.run(&["audit", "show"]).1.contains("took the lock over"));
    // The one that was cut off is asked about, and goes on from the answer.
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 22, "{said}");
    assert!(said.contains("Look whether it is done"), "{said}");
    assert_eq!(host.run(&["attach", &id, "--answer", "maybe"]).0, 65);
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
    until("the wish to be on record", || host.read(&format!("state/runs/{id}/journal.jsonl")).contains("step_started"));
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
        "title: Undo\nsteps:\n  - {name: make, type: script, cwd: .., script: touch made, undo: {type: script, cwd: .., script: rm made}}\n  - {name: sure, type: manual, text: 'Is {{ run.id }} fine?', check: [look]}\n  - {name: never, type: script, cwd: .., script: touch never}\n",
    );
    let (code, said) = host.run(&["run", "undo", "--confirm", "here"]);
    assert_eq!(code, 22, "it waits for an operator: {said}");
    assert!(said.contains("- look") && !said.contains("{{ run.id }}"), "the question is filled in: {said}");
    assert!(host.has("made"));
    let (code, said) = host.run(&["abort", "--undo", "--reason", "not today"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("make is done and can be undone"), "{said}");
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
    assert!(host.run(&["run", "draft", "--confirm", "here"]).1.contains("drafts do not run in production"));
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

#[test]
fn on_a_full_disk_the_run_stops_before_the_next_effect_and_says_so() {
    let host = Host::plain("");
    host.runbook(
        "fill",
        "title: Fill\nsteps:\n  - {name: big, type: script, script: 'yes a-line-of-text | head -n 3000'}\n  - {name: after, type: script, cwd: .., script: echo x >> after}\n",
    );
    // No file may grow over 24 KiB: what is written beyond fails as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -S -f 24; exec {} run fill --confirm here --detach", env!("CARGO_BIN_EXE_lastgreen"));
    let output = Command::new("bash").args(["-c", &script]).current_dir(host.path()).env("HOME", host.path()).output().expect("bash runs");
    let id = String::from_utf8_lossy(&output.stdout).trim().to_string();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = host.path().join("state/runs").join(&id);
    let by = Operator::default();
    until("the runner to say what keeps it", || {
        let said = lastgreen::runner::ask(&folder, &lastgreen::runner::Request::Status, &by);
        said.is_ok_and(|reply| reply.message.is_some_and(|m| m.contains("nothing can be written down")))
    });
    assert!(!host.has("after"), "no effect without its record");
    let pid = host.runner_pid(&id).as_raw_nonzero().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status().expect("prlimit runs");
    assert!(raised.success());
    host.until(&id, "done");
    assert_eq!(host.read("after"), "x\n");
    until("the mirror to be complete", || host.run(&["audit", "verify", &id]).0 == 0);
}

/// Every file below a folder.
fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
}

#[test]
fn a_secret_gets_nowhere_also_when_a_script_tells_it() {
    const SECRET: &str = "hunter2-very-\"secret\"";
    let counting = Counting::start();
    let echo = Canned::new(|_, stream| respond(stream, "500 Oh no", &[], &format!("your token was {SECRET}")));
    let mut host = Host::plain(&format!(
        "[notify.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook\"\nevents = [\"start\", \"failure\"]\n[services.echo]\nurl = \"{}\"\nbearer_token = \"env:OTHER\"\n",
        counting.port,
        echo.url()
    ));
    host.environment = vec![("TOKEN".into(), SECRET.into()), ("OTHER".into(), "another-s3cret-value".into())];
    host.runbook(
        "tell",
        "title: Tell\nsteps:\n  - name: env\n    type: script\n    script: env; echo \"[${OTHER:-none}]\"\n  - name: tell\n    type: script\n    secrets: {TOKEN: 'env:TOKEN'}\n    script: |\n      half=$(printf %s \"$TOKEN\" | head -c 9); rest=$(printf %s \"$TOKEN\" | tail -c +10)\n      printf 'it is %s' \"$half\"; sleep 0.2; printf '%s and\\n' \"$rest\"; echo \"$TOKEN\" >&2; echo \"{\\\"t\\\": \\\"$TOKEN\\\"}\"\n  - {name: http, type: http, service: echo, path: /, on_failure: continue}\n  - {name: fail, type: script, secrets: {TOKEN: 'env:TOKEN'}, script: 'echo \"$TOKEN\"; exit 3'}\n",
    );
    let (code, said) = host.run(&["run", "tell", "--confirm", "here"]);
    assert_eq!(code, 20, "{said}");
    until("the letters to arrive", || counting.bodies().len() == 2);
    until("the mirror to be complete", || host.run(&["audit", "verify"]).0 == 0);
    let mut all = Vec::new();
    files(host.path(), &mut all);
    let mut seen = 0;
    for path in all {
        let bytes = std::fs::read(&path).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["hunter2", "very-", "another-s3cret"] {
            assert!(!text.contains(secret), "{} holds {secret}", path.display());
        }
        seen += usize::from(text.contains("[redacted]"));
    }
    assert!(seen >= 3, "the places where it stood are there: {seen}");
    let outside = said + &counting.bodies().join("\n") + &host.run(&["audit", "show", "--json"]).1;
    assert!(!outside.contains("hunter2") && !outside.contains("another-s3cret") && outside.contains("[redacted]"), "{outside}");
    assert!(host.read("state/runs").is_empty() && outside.contains("it is [redacted] and"), "split writes are one: {outside}");
}

#[test]
fn what_was_changed_on_record_is_found() {
    let host = Host::plain("");
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let id = host.begin("quick");
    until("all to be well", || host.run(&["audit", "verify"]).0 == 0);
    let whole = std::fs::read(host.journal(&id)).expect("the journal");
    for at in (0..whole.len()).step_by(97) {
        let mut bad = whole.clone();
        bad[at] ^= 0x04;
        std::fs::write(host.journal(&id), &bad).expect("written");
        let (code, said) = host.run(&["audit", "verify", "--offline"]);
        assert_eq!(code, 1, "byte {at}: {said}");
        assert!(said.contains("BAD") && said.contains("line"), "{said}");
    }
    // A record taken away whole is missed by comparing with the database.
    let end = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').expect("lines") + 1;
    std::fs::write(host.journal(&id), &whole[..end]).expect("written");
    let (code, said) = host.run(&["audit", "verify"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is in the database and not in the journal"), "{said}");
    std::fs::write(host.journal(&id), &whole).expect("written");
    assert_eq!(host.run(&["audit", "verify"]).0, 0);
    // A plan that was changed is no plan.
    let plan = host.path().join(format!("state/runs/{id}/plan.json"));
    let text = std::fs::read_to_string(&plan).expect("the plan");
    std::fs::write(&plan, text.replace("touch touched", "touch others")).expect("written");
    assert!(host.run(&["audit", "verify", "--offline"]).1.contains("plan was changed"));
    std::fs::remove_dir_all(host.path().join("state/runs").join(&id)).expect("removed");
    let (code, said) = host.run(&["audit", "verify"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("its folder is gone"), "{said}");
}

/// A server that takes mail, as far as a client needs it.
fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = mails.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut out = stream.try_clone().expect("a stream");
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            let _ = write!(out, "220 here\r\n");
            while let Some(line) = lines.next() {
                let word = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
                let _ = match word.as_str() {
                    "DATA" => {
                        let _ = write!(out, "354 go on\r\n");
                        let text: Vec<String> = lines.by_ref().take_while(|l| l != ".").collect();
                        kept.lock().expect("a lock").push(text.join("\n"));
                        write!(out, "250 ok\r\n")
                    }
                    "QUIT" => write!(out, "221 bye\r\n"),
                    _ => write!(out, "250 ok\r\n"),
                };
            }
        }
    });
    (port, mails)
}

#[test]
fn notices_reach_slack_pagerduty_webhooks_and_mail_and_are_tried_again() {
    let requests: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let kept = requests.clone();
    let server = Canned::new(move |request, stream| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let path = head.split(' ').nth(1).unwrap_or("").to_string();
        let mut all = kept.lock().expect("a lock");
        let first = !all.iter().any(|(p, _)| *p == path);
        all.push((path.clone(), body.to_string()));
        // Slack is busy the first time.
        match path.as_str() {
            "/slack-hook-path-secret" if first => respond(stream, "429 Slow down", &[], "slow down"),
            "/slack-hook-path-secret" => respond(stream, "200 OK", &[], "ok"),
            _ => respond(stream, "202 Accepted", &[], "{}"),
        }
    });
    let (port, mails) = mail_server();
    let url = server.url();
    let mut host = Host::plain(&format!(
        "[notify.chat]\nkind = \"slack\"\nwebhook = \"env:SLACK\"\nevents = [\"failure\"]\n[notify.page]\nkind = \"pagerduty\"\nkey = \"env:PAGE\"\nurl = \"{url}/v2/enqueue\"\nevents = [\"failure\"]\n[notify.any]\nkind = \"webhook\"\nurl = \"{url}/any\"\nevents = [\"start\", \"failure\"]\n[notify.mail]\nkind = \"email\"\nsmtp = \"smtp://127.0.0.1:{port}\"\nfrom = \"lastgreen@example.org\"\nto = [\"oncall@example.org\"]\nevents = [\"failure\"]\n"
    ));
    host.environment = vec![("SLACK".into(), format!("{url}/slack-hook-path-secret")), ("PAGE".into(), "a-routing-key".into())];
    host.runbook("fail", "title: Fail <!channel>\nsteps:\n  - {name: say, type: notify, channels: [any], message: half way}\n  - {name: fail, type: script, script: 'echo so it is; exit 9'}\n");
    let (code, _) = host.run(&["run", "fail", "--confirm", "here"]);
    assert_eq!(code, 20);
    // Its runner tries again while it may; whoever comes later goes on from there.
    let count = |path: &str| requests.lock().expect("a lock").iter().filter(|(p, _)| p == path).count();
    until("everybody to be told", || {
        count("/slack-hook-path-secret") == 2
            && count("/v2/enqueue") == 1
            && count("/any") == 3
            && !mails.lock().expect("a lock").is_empty()
    });
    until("the outbox to be empty", || host.run(&["audit", "sync"]).1.contains("0 letters still wait"));
    let all = requests.lock().expect("a lock").clone();
    let body = |path: &str| all.iter().rfind(|(p, _)| p == path).map(|(_, b)| b.clone()).expect("a request");
    assert!(
        body("/slack-hook-path-secret").contains("Fail &lt;!channel&gt; failed")
            && body("/slack-hook-path-secret").contains("lastgreen attach")
    );
    let page: serde_json::Value = serde_json::from_str(&body("/v2/enqueue")).expect("json");
    assert_eq!((page["event_action"].as_str(), page["payload"]["severity"].as_str()), (Some("trigger"), Some("critical")));
    assert!(page["dedup_key"].as_str().is_some_and(|k| k.starts_with("lastgreen/here/")));
    assert!(mails.lock().expect("a lock")[0].contains("Subject: here: Fail"));
    assert_eq!((count("/slack-hook-path-secret"), count("/any")), (2, 3), "nothing twice");
}

/// The database goes away in the middle of a run and is back an hour later.
#[test]
fn the_run_does_not_wait_for_its_database_and_the_mirror_is_complete_later() {
    install_tls_provider();
    let mut pg = Postgres::start();
    let folder = TempDir::new().expect("a folder");
    let here = folder.path();
    std::fs::create_dir(here.join("runbooks")).expect("a folder");
    let steps = format!(
        "title: Long\nsteps:\n  - {{name: first, type: script, cwd: .., script: touch first}}\n{}  - {{name: last, type: script, cwd: .., script: touch last}}\n",
        waits_for("go")
    );
    std::fs::write(here.join("runbooks/long.yaml"), steps).expect("written");
    let text = format!(
        "state_dir = \"state\"\n[environment]\nname = \"here\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\ntimeout = \"1s\"\n",
        pg.url()
    );
    let config = load_text(&here.join("lastgreen.toml"), &text).config.expect("a configuration");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let sql = |text: &'static str| {
        let url = pg.url();
        runtime.block_on(async move {
            use sqlx::Connection;
            let mut connection = sqlx::PgConnection::connect(&url).await.expect("connected");
            sqlx::raw_sql(text).execute(&mut connection).await.expect("executed");
        });
    };
    sql("CREATE TABLE task_events (id serial, task_id text, event_type text, metadata text, created_at timestamptz DEFAULT now())");
    let clock = Clock::fake(Stamp(1_790_000_000_000));
    let loaded = runbooks(&config, clock.now());
    let content = plan(loaded[0].runbook.as_ref().expect("sound"), &world(&config, &loaded), &Asked::default(), &|_| Err("none".into()))
        .expect("a plan");
    let made = Plan::new(content, Operator::default(), clock.now(), Duration::from_secs(600));
    let state = StateDir::open(&config.acting.state_dir).expect("a state folder");
    state.make_run("HOUR", &made).expect("a run");
    let (_leave, leave) = tokio::sync::watch::channel(false);
    let _inside = runtime.enter();
    let setup = Setup {
        reach: reach(&config, clock.clone()),
        database: audit_database(&config),
        state: state.clone(),
        id: "HOUR".into(),
        plan: made,
        watchpoint: unwatched(),
        runner: Runner::default(),
        resumed_by: None,
        abort: None,
        shared: None,
        control: None,
        leave,
        patience: Duration::from_secs(1),
    };
    let driving = runtime.spawn(drive(setup, |begun| begun.expect("begun")));
    until("the first step to be done", || here.join("first").exists());
    pg.down();
    std::fs::write(here.join("go"), "").expect("written");
    let ending = runtime.block_on(driving).expect("driven").expect("driven");
    assert!(matches!(ending, Ending::Over(RunResult::Done, _)), "the run never waited: {ending:?}");
    assert!(here.join("last").exists());
    let database = audit_database(&config).expect("a database");
    assert!(runtime.block_on(sync_run(&state, "HOUR", &database)).is_err(), "there is no database yet");
    clock.advance(Duration::from_secs(3600));
    pg.up();
    let done = runtime.block_on(sync_run(&state, "HOUR", &database)).expect("mirrored");
    let replay = read(&state.run("HOUR")).expect("the journal");
    assert_eq!(done.records as usize, replay.lines.len());
    std::fs::remove_file(state.run("HOUR").join("mirrored")).expect("the note");
    assert_eq!(runtime.block_on(sync_run(&state, "HOUR", &database)).expect("mirrored").written, 0, "nothing twice");
    runtime.block_on(async {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&pg.url()).await.expect("connected");
        let there: Vec<(i64, String)> = sqlx::query_as("SELECT seq, line FROM lastgreen.records WHERE run = 'HOUR' ORDER BY seq")
            .fetch_all(&mut connection)
            .await
            .expect("rows");
        let there: Vec<(u64, String)> = there.into_iter().map(|(seq, line)| (seq as u64, line)).collect();
        assert_eq!(compare(&replay.lines, &there), None);
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM task_events").fetch_one(&mut connection).await.expect("counted");
        assert_eq!(events, 2);
    });
}
