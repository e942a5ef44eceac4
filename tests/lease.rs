//! Who may act on an environment: one at a time on a host and across hosts, and an emergency before everybody, whoever has
//! it, whether they answer or not.

mod common;

use std::net::TcpListener;

use common::host::{Host, waits_for};
use common::{Postgres, until};
use rustix::process::{Signal, kill_process};

const EMERGENCY: &str = "title: Emergency\nemergency: true\nsteps:\n  - {name: first, type: script, cwd: .., script: touch first}\n  - {name: second, type: script, cwd: .., script: touch second}\n";
const QUICK: &str = "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n";

/// A run that waits, and then does one thing more.
fn long() -> String {
    format!("title: Long\nsteps:\n{}  - {{name: after, type: script, cwd: .., script: touch after}}\n", waits_for("go"))
}

fn host() -> Host {
    let host = Host::plain("");
    host.runbook("long", &long()).runbook("emergency", EMERGENCY).runbook("quick", QUICK);
    host
}

fn two_hosts(pg: &Postgres) -> (Host, Host) {
    let hosts = (Host::with_database(pg), Host::with_database(pg));
    for host in [&hosts.0, &hosts.1] {
        host.runbook("long", &long()).runbook("emergency", EMERGENCY).runbook("quick", QUICK);
    }
    hosts
}

#[test]
fn an_emergency_takes_the_environment_and_both_journals_say_so() {
    let host = host();
    let id = host.begin("long");
    let (_, plan) = host.run(&["run", "emergency", "--dry-run"]);
    assert!(plan.contains("EMERGENCY: whoever has the environment is told to stop"), "{plan}");
    let (code, said) = host.run(&["run", "emergency", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(host.has("first") && host.has("second"), "{said}");
    host.until(&id, "superseded");
    let (_, theirs) = host.run(&["audit", "show", &id]);
    assert!(theirs.contains("takes the environment") && theirs.contains("gave way to the emergency"), "{theirs}");
    let (_, ours) = host.run(&["audit", "show"]);
    assert!(ours.contains("who let go") && ours.contains(&id), "{ours}");
    std::fs::write(host.path().join("go"), "").expect("written");
    assert!(!host.has("after"), "what gave way does nothing more");
    // What is over is over: it is not taken up again.
    assert_eq!(host.run(&["resume", &id]).0, 24);
    assert_eq!(host.run(&["run", "quick", "--confirm", "here"]).0, 0);
}

#[test]
fn one_that_cannot_hear_is_fenced_off_and_does_nothing_when_it_wakes() {
    let host = host();
    let id = host.begin("long");
    let pid = host.runner_pid(&id);
    kill_process(pid, Signal::STOP).expect("stopped");
    // Its lease is refused to others, and they are told why.
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains("stopped") && said.contains(&id), "{code}: {said}");
    let mut emergency = host.command(&["run", "emergency", "--confirm", "here"]).spawn().expect("started");
    until("the first step, which waits for nobody", || host.has("first"));
    assert!(emergency.wait().expect("ended").success());
    assert!(host.has("second"));
    let (_, ours) = host.run(&["audit", "show"]);
    assert!(ours.contains("TAKEN OVER BY FORCE") && ours.contains(&id), "{ours}");
    std::fs::write(host.path().join("go"), "").expect("written");
    kill_process(pid, Signal::CONT).expect("woken");
    // The emergency is over, and its number stays: whoever was fenced off by it acts no more.
    until("it to find out", || ["superseded", "paused"].contains(&host.status(&id).as_str()));
    assert!(!host.has("after"), "it acted though it was fenced off");
}

#[test]
fn of_two_emergencies_the_first_has_it() {
    let host = Host::plain("");
    let slow = format!(
        "title: Slow\nemergency: true\nsteps:\n  - {{name: first, type: script, cwd: .., script: touch first}}\n{}",
        waits_for("go")
    );
    host.runbook("slow", &slow).runbook("emergency", EMERGENCY);
    let id = host.begin("slow");
    until("it to have begun", || host.has("first"));
    until("it to have the lease", || host.read("state/lock/here").contains(&id));
    let (code, said) = host.run(&["run", "emergency", "--confirm", "here"]);
    assert_eq!(code, 23, "{said}");
    assert!(said.contains("an emergency has it already") && said.contains(&id), "{said}");
    assert!(!host.has("second"), "only the first step waits for nobody");
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "done");
}

/// An emergency that does its first step, and then waits for somebody.
const ASKING: &str = "title: Asking\nemergency: true\nsteps:\n  - {name: first, type: script, cwd: .., script: touch first}\n  - {name: look, type: manual, text: Look.}\n  - {name: after, type: script, cwd: .., script: touch after}\n";

#[test]
fn an_emergency_that_waits_for_an_answer_gives_way_to_a_later_one() {
    let host = host();
    host.runbook("asking", ASKING);
    let id = host.begin("asking");
    host.until(&id, "waiting");
    let (code, said) = host.run(&["run", "emergency", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(host.has("second") && said.contains("who let go"), "{said}");
    host.until(&id, "superseded");
    assert!(!host.has("after"));
}

/// A rollback of a scope, by an operator's own runbooks: each does its first step; the code's takes long.
fn scopes(host: &Host) {
    let slow = format!(
        "title: Code\nemergency: true\nsteps:\n  - {{name: first, type: script, cwd: .., script: touch code}}\n{}",
        waits_for("go")
    );
    host.runbook("rollback-code", &(slow + "  - {name: after, type: script, cwd: .., script: touch after}\n"));
    for scope in ["traffic", "full"] {
        let text = EMERGENCY.replace("touch first", &format!("touch {scope}")).replace("touch second", &format!("touch {scope}-2"));
        host.runbook(&format!("rollback-{scope}"), &text);
    }
}

#[test]
fn an_emergency_gives_way_to_one_that_takes_back_more_and_to_no_other() {
    let pg = Postgres::start();
    let (here, there) = two_hosts(&pg);
    scopes(&here);
    scopes(&there);
    assert_eq!(here.run(&["run", "quick", "--confirm", "here"]).0, 0, "which makes the table");
    // On this host by its socket, and across hosts by the row: each time the narrower and the equal one are refused.
    for other in [&here, &there] {
        let id = here.begin("rollback-code");
        until("it to have begun", || here.has("code"));
        until("it to have the lease", || pg.sql("SELECT count(*) FROM lastgreen.locks WHERE holder LIKE '%rollback-code%'") == "1");
        let (code, said) = other.run(&["run", "rollback-traffic", "--confirm", "here"]);
        assert!(code == 23 && said.contains("an emergency has it already") && !other.has("traffic-2"), "{said}");
        assert_eq!(here.status(&id), "running");
        let (code, said) = other.run(&["run", "rollback-full", "--confirm", "here"]);
        assert!(code == 0 && other.has("full-2") && said.contains("let go"), "{said}");
        here.until(&id, "superseded");
        assert!(!here.has("after"), "it went on beside the wider one");
        std::fs::remove_file(here.path().join("code")).expect("removed");
    }
}

#[test]
fn the_same_across_hosts() {
    let pg = Postgres::start();
    let (first, second) = two_hosts(&pg);
    first.runbook("asking", ASKING);
    let id = first.begin("asking");
    first.until(&id, "waiting");
    // Its heart says that it waits.
    until("the row to say so", || pg.sql("SELECT holder LIKE '%\"idle\":true%' FROM lastgreen.locks") == "t");
    let (code, said) = second.run(&["run", "emergency", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert!(second.has("second") && said.contains("it let go"), "{said}");
    first.until(&id, "superseded");
}

#[test]
fn an_emergency_on_another_host_is_heard_through_the_database() {
    let pg = Postgres::start();
    let (first, second) = two_hosts(&pg);
    let id = first.begin("long");
    let (code, said) = second.run(&["run", "emergency", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    first.until(&id, "superseded");
    let (_, theirs) = first.run(&["audit", "show", &id]);
    assert!(theirs.contains("takes the environment"), "{theirs}");
    let (_, ours) = second.run(&["audit", "show"]);
    assert!(ours.contains("the lease across hosts was somebody else's; it let go"), "{ours}");
    assert!(!first.has("after"));
}

#[test]
fn a_role_that_may_make_no_schema_makes_do_with_one_it_was_given() {
    let pg = Postgres::start();
    pg.sql("CREATE ROLE guest LOGIN");
    let url = pg.url().replace("postgres://postgres@", "postgres://guest@");
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"{url}\"\ntimeout = \"2s\"\n"
    ));
    host.runbook("quick", QUICK);
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 0 && said.contains("permission denied"), "nothing was given yet, and that is said: {code}: {said}");
    pg.sql("CREATE SCHEMA lastgreen AUTHORIZATION guest");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 0 && !said.contains("permission denied") && !said.contains("NOT LEASED"), "{code}: {said}");
    assert_eq!(pg.sql("SELECT holder = '' FROM lastgreen.locks"), "t", "it was held there, and given back");
    let mirrored = || {
        pg.sql("SELECT to_regclass('lastgreen.records') IS NOT NULL") == "t" && pg.sql("SELECT count(*) > 0 FROM lastgreen.records") == "t"
    };
    until("the records to be there", mirrored);
}

#[test]
fn an_emergency_waits_for_no_database_that_hangs() {
    // It takes connections, and says nothing.
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = hangs.local_addr().expect("bound").port();
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"postgres://x@127.0.0.1:{port}/x\"\ntimeout = \"2s\"\n"
    ));
    host.runbook("emergency", EMERGENCY);
    let mut emergency = host.command(&["run", "emergency", "--confirm", "here"]).spawn().expect("started");
    until("the first step", || host.has("first"));
    assert!(!host.has("second"), "the second one waits until it is known who has the environment");
    assert!(emergency.wait().expect("ended").success());
    assert!(host.has("second"), "what is not known is no dead end");
    assert!(host.run(&["audit", "show"]).1.contains("NOT LEASED ACROSS HOSTS"));
}

#[test]
fn a_database_that_was_started_anew_gives_nobodys_lease_away() {
    let mut pg = Postgres::start();
    let (first, second) = two_hosts(&pg);
    let id = first.begin("long");
    pg.down();
    pg.up();
    // The server has forgotten the session; the row has not forgotten the holder.
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains(&id), "{code}: {said}");
    std::fs::write(first.path().join("go"), "").expect("written");
    first.until(&id, "done");
    until("the lease to be let go of", || second.run(&["run", "quick", "--confirm", "here"]).0 == 0);
}

#[test]
fn one_that_was_stopped_for_long_lives_and_is_not_taken_over_from() {
    let pg = Postgres::start();
    let (first, second) = two_hosts(&pg);
    let id = first.begin("long");
    let pid = first.runner_pid(&id);
    kill_process(pid, Signal::STOP).expect("stopped");
    pg.sql("UPDATE lastgreen.locks SET beat = now() - interval '2 minutes'");
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains(&id), "{code}: {said}");
    // As if it were of a host that nobody can look at: after such a silence it is taken for dead, and fenced off.
    pg.sql("UPDATE lastgreen.locks SET beat = now() - interval '2 minutes', holder = regexp_replace(holder, '\"place\":\"[^\"]*\"', '\"place\":\"elsewhere\"')");
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    std::fs::write(first.path().join("go"), "").expect("written");
    kill_process(pid, Signal::CONT).expect("woken");
    // The other one is through, and what this one was planned on may not be so any more: it asks before it goes on.
    first.until(&id, "paused");
    let (_, theirs) = first.run(&["audit", "show", &id]);
    assert!(theirs.contains("TAKEN FOR DEAD") && !first.has("after"), "{theirs}");
    // An operator has looked, and lets it go on: nobody else is there any more.
    assert_eq!(first.run(&["resume", &id, "--detach"]).0, 0);
    first.until(&id, "done");
    assert!(first.has("after"));
}

/// The database is away while an ordinary run and an emergency begin beside each other: when it is back, the emergency has it.
#[test]
fn an_emergency_that_began_without_the_database_has_it_when_that_is_back() {
    let mut pg = Postgres::start();
    let (first, second) = two_hosts(&pg);
    second.runbook("emergency", &format!("emergency: true\n{}", long()));
    let ordinary = first.begin("long");
    until("the script to be at work", || first.has("waits-for-go"));
    pg.down();
    let emergency = second.begin("emergency");
    until("the emergency to be at work", || second.has("waits-for-go"));
    pg.up();
    first.until(&ordinary, "superseded");
    std::fs::write(second.path().join("go"), "").expect("written");
    second.until(&emergency, "done");
    std::fs::write(first.path().join("go"), "").expect("written");
    assert!(!first.has("after"), "what gave way does nothing more");
}

#[test]
fn a_script_of_a_dead_runner_keeps_other_state_folders_out_too() {
    let pg = Postgres::start();
    let (first, second) = two_hosts(&pg);
    let id = first.begin("long");
    until("the script to be at work", || first.has("waits-for-go"));
    kill_process(first.runner_pid(&id), Signal::KILL).expect("killed");
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains("still at work") && said.contains(&id), "{code}: {said}");
    // Also the next time: being refused takes nothing away from it.
    let (code, said) = second.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains("still at work"), "{code}: {said}");
    std::fs::write(first.path().join("go"), "").expect("written");
    until("the script to end", || second.run(&["run", "quick", "--confirm", "here"]).0 == 0);
}

#[test]
fn two_users_of_one_configuration_keep_each_other_out_whatever_becomes_of_the_file() {
    let host = host();
    let other = tempfile::TempDir::new().expect("a folder");
    // Another user: the same configuration, a state folder of their own.
    let config = |dir: &str| host.read("lastgreen.toml").replace("state_dir = \"state\"", &format!("state_dir = \"{dir}\""));
    let mine = config("state");
    let theirs = config(&other.path().join("state").display().to_string());
    let id = host.begin("long");
    // `sed -i` puts another file in its place.
    let path = host.path().join("lastgreen.toml");
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, &theirs).expect("written");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && said.contains(&id), "{code}: {said}");
    // Whoever only has the file locked keeps nobody out.
    std::fs::write(&path, &mine).expect("written");
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "done");
    let reader = std::fs::File::open(&path).expect("readable");
    reader.try_lock().expect("locked");
    let (code, said) = host.run(&["run", "quick", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
}

/// After a reboot, or in a container made anew with the old one's state folder, nobody can look at the process.
#[test]
fn a_holder_of_a_place_that_is_no_more_is_taken_over_from() {
    let host = host();
    let id = host.begin("long");
    until("the script to be at work", || host.has("waits-for-go"));
    let lease = std::fs::read_dir(host.path().join("state/lock")).expect("a folder").flatten().next().expect("a lease").path();
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&lease).expect("readable")).expect("JSON");
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "done");
    record["holder"]["run"] = "01OTHER".into();
    record["holder"]["runner"]["place"] = "another boot".into();
    for (beat, code) in [(lastgreen::base::clock::Clock::System.now(), 24), (lastgreen::base::clock::Stamp(0), 0)] {
        record["holder"]["beat"] = serde_json::to_value(beat).expect("JSON");
        std::fs::write(&lease, record.to_string()).expect("written");
        let (given, said) = host.run(&["run", "quick", "--confirm", "here"]);
        assert!(given == code && said.contains("01OTHER"), "{given}: {said}");
    }
}
