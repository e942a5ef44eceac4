//! Two actors at one moment, from outside, with the real binary: a run that begins while somebody takes it up or ends it, and
//! two who take up what was never begun. Nothing is done twice, nothing that was said to be aborted goes on, no journal is
//! broken. `LASTGREEN_TRIES` says how often (500 for the figure in README).

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::host::Host;
use common::until;
use lastgreen::record::journal;

const RUNBOOK: &str = "title: Add\nsteps:\n  - {name: add, type: script, cwd: .., script: 'echo x >> \"added-$LASTGREEN_RUN\"'}\n";

fn tries() -> u32 {
    std::env::var("LASTGREEN_TRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(45)
}

#[derive(Debug, Default, PartialEq)]
struct Figures {
    tries: u32,
    twice: u32,
    /// Said to be aborted with nothing changed, and something was done all the same.
    went_on: u32,
    broken: u32,
    never_over: u32,
}

fn begin(host: &Host, arguments: &[&str]) -> Child {
    let mut command = host.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

/// Runs there are, by their folders.
fn runs(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.path().join("state/runs")).map(|e| e.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.into_iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// The run whose plan appears next.
fn appears(host: &Host, known: &[String]) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let new = runs(host).into_iter().find(|id| !known.contains(id) && host.has(&format!("state/runs/{id}/plan.json")));
        match new {
            Some(id) => return id,
            None => assert!(Instant::now() < deadline, "no plan appeared"),
        }
    }
}

fn judge(host: &Host, id: &str, aborted: bool, figures: &mut Figures) {
    figures.tries += 1;
    let folder = host.path().join("state/runs").join(id);
    let over = || matches!(host.status(id).as_str(), "done" | "aborted" | "failed" | "refused" | "broken");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !over() && Instant::now() < deadline {
        // One that nobody drives is taken up.
        if host.status(id) == "interrupted" {
            host.run(&["resume", id, "--detach"]);
        }
    }
    figures.never_over += u32::from(!over());
    let done = host.read(&format!("added-{id}")).lines().count();
    figures.twice += u32::from(done > 1);
    figures.went_on += u32::from(aborted && done > 0);
    figures.broken += u32::from(journal::read(Path::new(&folder)).is_err());
}

#[test]
fn two_actors_at_the_beginning_of_a_run() {
    let host = Host::plain("");
    host.runbook("add", RUNBOOK);
    let mut figures = Figures::default();
    for i in 0..tries() {
        let known = runs(&host);
        // A little later each time: every moment of a beginning is met.
        let pause = Duration::from_micros(u64::from(i / 3) * 1500 % 45_000);
        let aborted = match i % 3 {
            0 | 1 => {
                let first = begin(&host, &["run", "add", "--confirm", "here", "--detach"]);
                let id = appears(&host, &known);
                std::thread::sleep(pause);
                let other: &[&str] = if i % 3 == 0 { &["resume", &id, "--detach"] } else { &["abort", &id, "--leave"] };
                let second = begin(&host, other).wait_with_output().expect("ended");
                first.wait_with_output().expect("ended");
                let said = String::from_utf8_lossy(&second.stdout).into_owned();
                let aborted = i % 3 == 1 && second.status.success() && said.contains("nothing was changed");
                judge(&host, &id, aborted, &mut figures);
                continue;
            }
            _ => false,
        };
        // One whose runner died before its first record: a folder with a plan and nothing else.
        let (code, plan) = host.run(&["run", "add", "--dry-run", "--json"]);
        assert_eq!(code, 0, "{plan}");
        let id = format!("01ZZZZZZZZZZZZZZZZZZZZ{i:04}");
        never_begun(&host, &id, &plan);
        let first = begin(&host, &["resume", &id, "--detach"]);
        std::thread::sleep(pause / 3);
        let second = begin(&host, &["resume", &id, "--detach"]);
        first.wait_with_output().expect("ended");
        second.wait_with_output().expect("ended");
        judge(&host, &id, aborted, &mut figures);
    }
    println!("two actors at the beginning: {figures:?}");
    assert_eq!(figures, Figures { tries: tries(), ..Figures::default() });
}

fn never_begun(host: &Host, id: &str, plan: &str) {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let folder = host.path().join("state/runs").join(id);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join("output")).expect("a folder");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join("plan.json")).expect("a plan");
    std::io::Write::write_all(&mut file, plan.as_bytes()).expect("written");
    until("the plan to be there", || host.has(&format!("state/runs/{id}/plan.json")));
}
