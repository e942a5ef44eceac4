//! What is on record of a run: on a full disk, without its database, with secrets kept out, and in every notice.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::host::{Host, waits_for};
use common::{Canned, Counting, Postgres, install_tls_provider, respond, until};
use lastgreen::act::runner::{Ending, Setup, drive};
use lastgreen::backend::{acting_context, audit_database};
use lastgreen::base::clock::{Clock, Stamp};
use lastgreen::config::{load_text, planning_context, runbooks};
use lastgreen::plan::runbook::{Asked, Operator, Plan, RunResult, Runner, plan};
use lastgreen::record::journal::{StateDir, compare, no_failpoint, read};
use lastgreen::record::notify::{Extent, sync_run};
use tempfile::TempDir;

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
        let said =
            lastgreen::act::runner::ask(&folder, &lastgreen::act::runner::ControlRequest::Status, &by, lastgreen::act::runner::PATIENCE);
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
    // Until its runner has gone it may still bring records to the mirror.
    let pid = host.runner_pid(&id);
    until("the runner to go", || rustix::process::test_kill_process(pid).is_err());
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
    // What a colleague began here stands in a state folder of theirs.
    let path = host.path().join("lastgreen.toml");
    let mine = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, mine.replace("state_dir = \"state\"", "state_dir = \"theirs\"")).expect("written");
    let (code, said) = host.run(&["audit", "verify"]);
    assert!(code == 0 && !said.contains("gone"), "{code}: {said}");
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
    until("the outbox to be empty", || host.run(&["audit", "sync"]).1.contains("0 notifications still wait"));
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
    let content =
        plan(loaded[0].runbook.as_ref().expect("sound"), &planning_context(&config, &loaded), &Asked::default(), &|_| Err("none".into()))
            .expect("a plan");
    let made = Plan::new(content, Operator::default(), clock.now(), Duration::from_secs(600));
    let state = StateDir::open(&config.acting.state_dir).expect("a state folder");
    state.make_run("HOUR", &made).expect("a run");
    let (_leave, leave) = tokio::sync::watch::channel(false);
    let _inside = runtime.enter();
    let setup = Setup {
        context: acting_context(&config, clock.clone()),
        database: audit_database(&config),
        state: state.clone(),
        id: "HOUR".into(),
        plan: made,
        failpoint: no_failpoint(),
        runner: Runner::default(),
        resumed_by: None,
        abort: None,
        shared: None,
        control: None,
        leave,
        patience: Duration::from_secs(1),
        channels: config.acting.notify.clone(),
        remarks: Vec::new(),
        over: None,
    };
    let driving = runtime.spawn(drive(setup, |begun| begun.expect("begun")));
    until("the first step to be done", || here.join("first").exists());
    pg.down();
    std::fs::write(here.join("go"), "").expect("written");
    let ending = runtime.block_on(driving).expect("driven").expect("driven");
    assert!(matches!(ending, Ending::Over(RunResult::Done, _)), "the run never waited: {ending:?}");
    assert!(here.join("last").exists());
    let database = audit_database(&config).expect("a database");
    assert!(runtime.block_on(sync_run(&state, "HOUR", &database, Extent::New)).is_err(), "there is no database yet");
    clock.advance(Duration::from_secs(3600));
    pg.up();
    let done = runtime.block_on(sync_run(&state, "HOUR", &database, Extent::New)).expect("mirrored");
    let replay = read(&state.run("HOUR")).expect("the journal");
    assert_eq!(done.records as usize, replay.lines.len());
    assert_eq!(runtime.block_on(sync_run(&state, "HOUR", &database, Extent::All)).expect("mirrored").written, 0, "nothing twice");
    // A database that was put back to how it was before gets what it lacks.
    pg.sql("DELETE FROM lastgreen.records WHERE seq IN (2, 3)");
    assert_eq!(runtime.block_on(sync_run(&state, "HOUR", &database, Extent::All)).expect("mirrored").written, 2);
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
