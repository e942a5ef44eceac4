//! From the confirming key to the first effect on the wire: what is done when somebody confirms, with its parts. The runner is
//! the real program; the effect is a request that a server on loopback waits for. Three times: a plain run with 10 and with
//! 10,000 earlier runs in the state folder, and an emergency with 5,000 and a PostgreSQL that takes connections and says nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use lastgreen::act::runner::{AbortRequest, ControlRequest, ask, start};
use lastgreen::base::clock::Clock;
use lastgreen::config::{freeze, load_text, planning_context, runbooks};
use lastgreen::plan::runbook::{Asked, Event, Operator, Plan, RunResult, Runner, plan};
use lastgreen::record::journal::{Journal, StateDir, no_failpoint, read};

const ROUNDS: usize = 60;

#[derive(Default)]
struct Parts {
    plan: Vec<Duration>,
    started: Vec<Duration>,
    wire: Vec<Duration>,
    lead: Vec<Duration>,
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What is measured.
struct Case {
    name: &'static str,
    earlier: usize,
    emergency: bool,
}

fn main() {
    let cases = [
        Case { name: "with 10 earlier runs", earlier: 10, emergency: false },
        Case { name: "with 10,000 earlier runs", earlier: 10_000, emergency: false },
        Case { name: "an emergency, with 5,000 earlier runs and a database that hangs", earlier: 5_000, emergency: true },
    ];
    cases.iter().for_each(measure);
    measure_rollback();
}

/// A switch that answers at once, and says when it was told a share.
fn switch(listener: TcpListener, told: &Sender<Instant>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        while !head.windows(4).any(|w| w == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => head.extend_from_slice(&buffer[..n]),
            }
        }
        if head.starts_with(b"PUT") && told.send(Instant::now()).is_err() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"canary\": 0}");
    }
}

/// A rollback of the traffic as it is shipped, with 5,000 earlier runs, and PostgreSQL, Prometheus and Qdrant that take
/// connections and say nothing.
fn measure_rollback() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let here = folder.path();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let silent: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a port")).collect();
    let place = |i: usize| silent[i].local_addr().expect("an address").port();
    let text = format!(
        "state_dir = \"state\"\nprofile = \"rag\"\n[environment]\nname = \"bench\"\n\
         [sources.database]\nkind = \"database\"\nurl = \"postgres://x@127.0.0.1:{}/x\"\n\
         [sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:{}\"\n\
         [sources.qdrant]\nkind = \"qdrant\"\nurl = \"http://127.0.0.1:{}\"\ncollection = \"c\"\n\
         [services.router]\nurl = \"http://127.0.0.1:{port}\"\n\
         [traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/traffic\"\npointer = \"/canary\"\n",
        place(0),
        place(1),
        place(2)
    );
    std::fs::write(here.join("lastgreen.toml"), &text).expect("written");
    let config = load_text(&here.join("lastgreen.toml"), &text).config.expect("a configuration");
    let state = StateDir::open(&config.acting.state_dir).expect("a state folder");
    let loaded = runbooks(&config, Clock::System.now());
    let one = loaded.iter().find(|l| l.name == "rollback-traffic").and_then(|l| l.runbook.clone()).expect("the runbook");
    let mut content = plan(&one, &planning_context(&config, &loaded), &Asked::default(), &|_| Err("none".into())).expect("a plan");
    content.config.values = freeze(&config, &content);
    earlier(&state, &Plan::new(content.clone(), Operator::default(), Clock::System.now(), Duration::from_secs(60)), 5_000);
    let (told, hears) = channel();
    std::thread::spawn(move || switch(listener, &told));
    let program = Path::new(env!("CARGO_BIN_EXE_lastgreen"));
    let mut wire = Vec::new();
    for round in 0..20 {
        let made = Plan::new(content.clone(), Operator::default(), Clock::System.now(), Duration::from_secs(60));
        let id = format!("ROLLBACK{round:03}");
        let begun = Instant::now();
        let run = state.make_run(&id, &made).expect("a run");
        start(program, &run, &[]).expect("started");
        wire.push(hears.recv().expect("the share").saturating_duration_since(begun));
        // The next one begins when nobody has the environment.
        let abort = ControlRequest::Abort(AbortRequest { undo: false, reason: String::new(), course: None });
        let _ = ask(&run, &abort, &Operator::default(), Duration::from_secs(30));
        let is_over = || read(&run).is_ok_and(|replay| replay.lines.iter().any(|l| matches!(l.record.event, Event::Ended { .. })));
        while !is_over() {
            std::thread::sleep(Duration::from_millis(20));
        }
        while hears.try_recv().is_ok() {}
    }
    wire.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("from the confirming key to the traffic on the wire, 5,000 earlier runs, PostgreSQL, Prometheus and Qdrant hang, 20 rounds:");
    println!("  median {:.1} ms, p95 {:.1} ms, worst {:.1} ms", ms(wire[10]), ms(wire[19 * 95 / 100]), ms(wire[19]));
}

/// Runs that are over: as many folders, each with a plan and a journal.
fn earlier(state: &StateDir, made: &Plan, count: usize) {
    for i in 0..count {
        let id = format!("0A{i:08}");
        let folder = state.make_run(&id, made).expect("a run");
        let (mut journal, _) = Journal::open(&folder, &id, no_failpoint()).expect("a journal");
        let at = Clock::System.now();
        let c = &made.content;
        let started = Event::Started {
            runbook: c.runbook.clone(),
            title: c.title.clone(),
            fingerprint: made.fingerprint.clone(),
            environment: c.environment.name.clone(),
            tier: c.environment.tier,
            danger: c.danger,
            drill: false,
            reason: None,
            by: Operator::default(),
            runner: Runner::default(),
        };
        journal.append(at, started).expect("written");
        journal.append(at, Event::Ended { result: RunResult::Done, message: "every step is done".into() }).expect("written");
        state.close_run(&id);
    }
}

fn measure(case: &Case) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let here = folder.path();
    std::fs::create_dir(here.join("runbooks")).expect("a folder");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let emergency = case.emergency;
    let runbook = format!(
        "title: One\nemergency: {emergency}\nsteps:\n  - {{name: put, type: http, service: world, method: PUT, path: /traffic, json: {{canary: 0}}}}\n"
    );
    std::fs::write(here.join("runbooks/one.yaml"), &runbook).expect("written");
    let text = format!(
        "state_dir = \"state\"\nprofile = \"rag\"\n[environment]\nname = \"bench\"\n[sources.stable]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}\"\n[services.world]\nurl = \"http://127.0.0.1:{port}\"\n"
    );
    // It takes connections, and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let database = silent.local_addr().expect("an address").port();
    let hangs = format!("[sources.db]\nkind = \"database\"\nurl = \"postgres://x@127.0.0.1:{database}/x\"\n");
    let text = if case.emergency { text + &hangs } else { text };
    std::fs::write(here.join("lastgreen.toml"), &text).expect("written");
    let config = load_text(&here.join("lastgreen.toml"), &text).config.expect("a configuration");
    let state = StateDir::open(&config.acting.state_dir).expect("a state folder");
    let loaded = runbooks(&config, Clock::System.now());
    let one = loaded.iter().find(|l| l.name == "one").and_then(|l| l.runbook.clone()).expect("the runbook");
    let content = plan(&one, &planning_context(&config, &loaded), &Asked::default(), &|_| Err("none".into())).expect("a plan");
    let mut content = content;
    content.config.values = freeze(&config, &content);
    earlier(&state, &Plan::new(content.clone(), Operator::default(), Clock::System.now(), Duration::from_secs(60)), case.earlier);
    let rounds = if case.emergency { 20 } else { ROUNDS };
    let program = Path::new(env!("CARGO_BIN_EXE_lastgreen"));
    let mut parts = Parts::default();
    let mut buffer = [0; 4096];
    for round in 0..rounds {
        let made = Plan::new(content.clone(), Operator::default(), Clock::System.now(), Duration::from_secs(60));
        let id = format!("BENCH{round:03}");
        let begun = Instant::now();
        let run = state.make_run(&id, &made).expect("a run");
        let written = begun.elapsed();
        let starting = std::thread::spawn({
            let (program, run) = (program.to_path_buf(), run.clone());
            move || {
                start(&program, &run, &[]).expect("started");
                begun.elapsed()
            }
        });
        let (mut stream, _) = listener.accept().expect("the effect");
        let mut head = Vec::new();
        while !head.windows(4).any(|w| w == b"\r\n\r\n") {
            let n = stream.read(&mut buffer).expect("read");
            head.extend_from_slice(&buffer[..n]);
        }
        let wire = begun.elapsed();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").expect("answered");
        drop(stream);
        let started = starting.join().expect("joined");
        let deadline = Instant::now() + Duration::from_secs(10);
        let replay = loop {
            let replay = read(&run).expect("the journal");
            if replay.lines.iter().any(|l| matches!(l.record.event, Event::Ended { .. })) || Instant::now() > deadline {
                break replay;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let at = |wanted: fn(&Event) -> bool| replay.lines.iter().find(|l| wanted(&l.record.event)).map(|l| l.record.at);
        let (first, intent) = (at(|e| matches!(e, Event::Started { .. })), at(|e| matches!(e, Event::StepStarted { .. })));
        parts.plan.push(written);
        parts.started.push(started);
        parts.wire.push(wire);
        parts.lead.push(intent.expect("an intent").since(first.expect("a beginning")));
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let mut all = parts.wire.clone();
    all.sort_unstable();
    let (plan, started, lead) = (median(&mut parts.plan), median(&mut parts.started), median(&mut parts.lead));
    println!("from the confirming key to the first effect on the wire, {}, {rounds} rounds:", case.name);
    println!(
        "  median {:.1} ms, p95 {:.1} ms, worst {:.1} ms",
        ms(all[all.len() / 2]),
        ms(all[all.len() * 95 / 100]),
        ms(all[all.len() - 1])
    );
    println!("  of which: plan on disk (2 files, 2 folders synced) {:.1} ms", ms(plan));
    println!("            runner started, environment taken, first record synced {:.1} ms", ms(started.saturating_sub(plan)));
    println!("            first record to the intent of the step, synced {:.1} ms", ms(lead));
    println!("            client made, connection, request {:.1} ms", ms(all[all.len() / 2].saturating_sub(started).saturating_sub(lead)));
}
