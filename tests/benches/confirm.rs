//! From the confirming key to the first effect on the wire: what the operations does when somebody confirms, with its parts. The
//! runner is the real program; the effect is a request that a server on loopback waits for.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use lastgreen::act::runner::start;
use lastgreen::base::clock::Clock;
use lastgreen::config::{load_text, planning_context, runbooks};
use lastgreen::plan::runbook::{Asked, Event, Operator, Plan, plan};
use lastgreen::record::journal::{StateDir, read};

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

fn main() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let here = folder.path();
    std::fs::create_dir(here.join("runbooks")).expect("a folder");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let runbook = "title: One\nsteps:\n  - {name: put, type: http, service: world, method: PUT, path: /traffic, json: {canary: 0}}\n";
    std::fs::write(here.join("runbooks/one.yaml"), runbook).expect("written");
    let text = format!(
        "state_dir = \"state\"\nprofile = \"rag\"\n[environment]\nname = \"bench\"\n[sources.stable]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}\"\n[services.world]\nurl = \"http://127.0.0.1:{port}\"\n"
    );
    std::fs::write(here.join("lastgreen.toml"), &text).expect("written");
    let config = load_text(&here.join("lastgreen.toml"), &text).config.expect("a configuration");
    let state = StateDir::open(&config.acting.state_dir).expect("a state folder");
    let loaded = runbooks(&config, Clock::System.now());
    let one = loaded.iter().find(|l| l.name == "one").and_then(|l| l.runbook.clone()).expect("the runbook");
    let content = plan(&one, &planning_context(&config, &loaded), &Asked::default(), &|_| Err("none".into())).expect("a plan");
    let program = Path::new(env!("CARGO_BIN_EXE_lastgreen"));
    let mut parts = Parts::default();
    let mut buffer = [0; 4096];
    for round in 0..ROUNDS {
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
    println!("from the confirming key to the first effect on the wire, {ROUNDS} rounds:");
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
