//! The crash matrix of a full rollback: its runner is killed at every moment between which it can be, and at many moments in
//! the middle of its steps, on a real PostgreSQL and on a Qdrant that takes its time. Taken up again: one recovery at a time,
//! no share for the canary after the first step, the data wholly old or wholly restored, and it can be taken back.

mod common;

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Canned, Postgres, install_tls_provider, respond};
use lastgreen::act::runner::{Ending, Setup, drive};
use lastgreen::backend::{Operations, RollbackRequest, acting_context, audit_database, this_runner};
use lastgreen::base::clock::Clock;
use lastgreen::config::{Config, load_text};
use lastgreen::demo::qdrant::serve;
use lastgreen::demo::vectors::{Collection, Storage, StoredPoint};
use lastgreen::plan::deploy::Scope;
use lastgreen::plan::runbook::{Operator, RunResult};
use lastgreen::record::journal::{Failpoint, StateDir};
use serde_json::Value as Json;
use tokio::sync::watch;

/// How long the stand-in's recovery takes.
const RECOVERY: Duration = Duration::from_secs(3);
/// How far apart the kills in the middle of steps are.
const APART: Duration = Duration::from_millis(130);
/// How many there are of those.
const IN_THE_MIDDLE: usize = 40;
const RUN: &str = "01MATRIX";

/// The shares that were sent, by environment.
type Sent = Arc<Mutex<HashMap<String, Vec<f64>>>>;

fn router(sent: &Sent) -> Canned {
    let sent = sent.clone();
    Canned::new(move |request, stream| {
        let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_string();
        let mut sent = sent.lock().expect("a lock");
        let of = sent.entry(name).or_insert_with(|| vec![10.0]);
        if request.starts_with("PUT") {
            let body: Json = serde_json::from_str(request.split_once("\r\n\r\n").unwrap_or_default().1).expect("json");
            of.push(body["canary"].as_f64().expect("a share"));
        }
        respond(stream, "200 OK", &[], &format!("{{\"canary\": {}}}", of.last().copied().unwrap_or(0.0)));
    })
}

/// One environment of its own: a database, a Qdrant, a share of the traffic, a folder.
struct World<'a> {
    name: String,
    folder: PathBuf,
    pg: &'a Postgres,
    storage: Arc<Mutex<Storage>>,
}

fn points(n: u64) -> Collection {
    let one = |id: u64| (id, StoredPoint { vector: (0..8).map(|i| ((id * 7 + i * 3) % 11) as f32 + 1.0).collect(), payload: Json::Null });
    Collection { size: 8, distance: "Cosine".into(), points: (1..=n).map(one).collect() }
}

impl<'a> World<'a> {
    fn new(within: &Path, name: &str, pg: &'a Postgres, router: &Canned, runtime: &tokio::runtime::Runtime) -> World<'a> {
        let folder = within.join(name);
        std::fs::create_dir_all(folder.join("runbooks")).expect("a folder");
        let mut storage = Storage::new(folder.join("qdrant")).expect("a folder");
        storage.collections.insert("docs".into(), points(100));
        storage.aliases.insert("docs_live".into(), "docs".into());
        let storage = Arc::new(Mutex::new(storage));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("set");
        let qdrant = listener.local_addr().expect("an address").port();
        let shared = storage.clone();
        runtime.spawn(async move { serve(tokio::net::TcpListener::from_std(listener).expect("a listener"), shared, None).await });
        pg.sql(&format!("CREATE DATABASE {name}"));
        pg.sql_in(name, "CREATE TABLE rows (id int); INSERT INTO rows SELECT generate_series(1, 1000)");
        let text = format!(
            "state_dir = \"state\"\n[environment]\nname = \"{name}\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\ntimeout = \"5s\"\n\
             [sources.q]\nkind = \"qdrant\"\nurl = \"http://127.0.0.1:{qdrant}\"\n\
             [services.router]\nurl = \"{}\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/{name}\"\npointer = \"/canary\"\nwithin = \"3s\"\n\
             [release]\ndeploy = [\"sh\", \"-c\", \"echo {{{{ version }}}} >> deployed; echo {{{{ version }}}} > version\"]\nrunning = [\"cat\", \"version\"]\n\
             last_green = [\"echo\", '{{\"version\": \"v1\", \"at\": \"2026-01-01T00:00:00Z\", \"verdict\": \"green\"}}']\n\
             [snapshots]\ndatabases = [\"db\"]\nqdrant = [\"q\"]\ncollections = [\"docs_live\"]\nfolder = \"snaps\"\nserver_folder = \"{}\"\ntimeout = \"20s\"\n",
            pg.url_of(name),
            router.url(),
            folder.join("qdrant").display(),
        );
        std::fs::write(folder.join("lastgreen.toml"), text).expect("written");
        std::fs::write(folder.join("version"), "v2\n").expect("written");
        let shipped = include_str!("../assets/runbooks/rollback-full.yaml").replace("for: 5s", "for: 100ms");
        std::fs::write(folder.join("runbooks/rollback-full.yaml"), shipped).expect("written");
        let world = World { name: name.into(), folder, pg, storage };
        let (code, said) = world.run(&["snapshot", "create", "--golden", "good", "--confirm", name]);
        assert_eq!(code, 0, "{said}");
        pg.sql_in(name, "DELETE FROM rows WHERE id > 10");
        {
            let mut storage = world.storage.lock().expect("a lock");
            storage.collections.insert("docs".into(), points(7));
            storage.troubles.recovery = RECOVERY;
        }
        world.make();
        world
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastgreen"));
        let output = command
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env_remove("LASTGREEN_CONFIG")
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// The plan of the shipped rollback, as the commands make it.
    fn make(&self) {
        let config = Arc::new(config(&self.folder));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut operations = Operations::new(config, false);
        let looked = operations.look(&runtime, lastgreen::backend::LookAt::Versions);
        let wanted = RollbackRequest { reason: Some("matrix".into()), green: looked.green.clone(), ..RollbackRequest::default() };
        let plan = operations.plan_rollback(Scope::Full, wanted).unwrap_or_else(|e| panic!("{e:?}"));
        state(&self.folder).make_run(RUN, &plan).expect("a run");
    }

    /// Runs the child; whether it came to its end.
    fn child(&self, at: Option<Kill>) -> bool {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["matrix_child", "--exact", "--nocapture"]).env("MATRIX_FOLDER", &self.folder).current_dir(&self.folder);
        match at {
            Some(Kill::Point(at)) => drop(command.env("MATRIX_AT", at.to_string())),
            Some(Kill::After(time)) => drop(command.env("MATRIX_AFTER", time.as_millis().to_string())),
            None => {}
        }
        let output = command.output().expect("the child runs");
        use std::os::unix::process::ExitStatusExt;
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{} at {at:?}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        !killed
    }

    /// The rows of the live database; `None` in the moment between its two names.
    fn rows(&self) -> Option<String> {
        let there = self.pg.sql(&format!("SELECT datallowconn FROM pg_database WHERE datname = '{}'", self.name));
        (there == "t").then(|| self.pg.sql_in(&self.name, "SELECT count(*) FROM rows"))
    }

    fn live_points(&self) -> usize {
        let storage = self.storage.lock().expect("a lock");
        let name = storage.name("docs_live").expect("the alias leads somewhere");
        storage.collections[name].points.len()
    }
}

#[derive(Clone, Copy, Debug)]
enum Kill {
    /// At the nth moment between what it does.
    Point(usize),
    /// So long after it began, wherever it is.
    After(Duration),
}

fn config(folder: &Path) -> Config {
    let path = folder.join("lastgreen.toml");
    let loaded = load_text(&path, &std::fs::read_to_string(&path).expect("the file"));
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

fn state(folder: &Path) -> StateDir {
    StateDir::open(&folder.join("state")).expect("a state folder")
}

async fn run(folder: &Path, failpoint: Failpoint) -> Ending {
    let (config, state) = (config(folder), state(folder));
    let plan = state.plan(RUN).expect("the plan");
    let (_leave, leave) = watch::channel(false);
    let resumed = state.run(RUN).join("journal.jsonl").exists();
    let setup = Setup {
        context: acting_context(&config, Clock::System),
        database: audit_database(&config),
        state,
        id: RUN.into(),
        plan,
        failpoint,
        runner: this_runner(),
        resumed_by: resumed.then(Operator::default),
        abort: None,
        shared: None,
        control: None,
        leave,
        patience: Duration::from_secs(10),
        channels: config.acting.notify.clone(),
        remarks: Vec::new(),
        over: None,
    };
    drive(setup, |begun| begun.expect("begun")).await.expect("driven")
}

fn kill_me() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Not a test of its own: the process that is killed.
#[test]
fn matrix_child() {
    let Some(folder) = std::env::var("MATRIX_FOLDER").ok().map(PathBuf::from) else { return };
    install_tls_provider();
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<usize>().ok());
    let at = number("MATRIX_AT");
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let failpoint: Failpoint = Arc::new(move |_| {
        if Some(counted.fetch_add(1, Ordering::SeqCst)) == at {
            kill_me();
        }
    });
    if let Some(after) = number("MATRIX_AFTER") {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(after as u64));
            kill_me();
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let ending = runtime.block_on(run(&folder, failpoint));
    assert!(matches!(ending, Ending::Over(RunResult::Done, _)), "{ending:?}");
    std::fs::write(folder.join("points"), seen.load(Ordering::SeqCst).to_string()).expect("written");
}

/// What is wrong after a kill, a look, and a second life.
fn judge(world: &World<'_>, kill: Option<Kill>, sent: &Sent, undo: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let ended = world.child(kill);
    if !ended {
        // As it lies there: old or restored, and nothing else.
        let (rows, points) = (world.rows(), world.live_points());
        if !matches!(rows.as_deref(), None | Some("10" | "1000")) || !matches!(points, 7 | 100) {
            wrong.push(format!("left with {rows:?} rows and {points} points"));
        }
    }
    // Also when it was over: it comes to the same end.
    if !world.child(None) {
        wrong.push("taken up again it does not come to its end".into());
    }
    if (world.rows().as_deref(), world.live_points()) != (Some("1000"), 100) {
        wrong.push(format!("ended with {:?} rows and {} points", world.rows(), world.live_points()));
    }
    let busiest = world.storage.lock().expect("a lock").busiest;
    if busiest > 1 {
        wrong.push(format!("{busiest} recoveries at once"));
    }
    let shares = sent.lock().expect("a lock").get(&world.name).cloned().unwrap_or_default();
    if shares.len() < 2 || shares[1..].iter().any(|share| *share != 0.0) {
        wrong.push(format!("shares {shares:?}"));
    }
    let running = std::fs::read_to_string(world.folder.join("version")).unwrap_or_default();
    if running.trim() != "v1" {
        wrong.push(format!("{running} runs"));
    }
    let left = world.pg.sql(&format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{}_restore_%'", world.name));
    if left != "0" {
        wrong.push(format!("{left} half-made databases are left"));
    }
    if undo {
        world.storage.lock().expect("a lock").troubles.recovery = Duration::ZERO;
        let (code, said) = world.run(&["rollback", "undo", "--confirm", &world.name]);
        if code != 0 || (world.rows().as_deref(), world.live_points()) != (Some("10"), 7) {
            wrong.push(format!("taken back with {code}: {:?} rows, {} points: {said}", world.rows(), world.live_points()));
        }
    }
    wrong.into_iter().map(|what| format!("{kill:?}: {what}")).collect()
}

#[test]
fn a_collection_with_a_damaged_shard_is_said_and_comes_back() {
    install_tls_provider();
    let folder = tempfile::TempDir::new().expect("a folder");
    let (pg, sent) = (Postgres::start(), Sent::default());
    let router = router(&sent);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let world = World::new(folder.path(), "dirty", &pg, &router, &runtime);
    world.storage.lock().expect("a lock").troubles.dirty.insert("docs".into());
    let (_, said) = world.run(&["rollback", "status"]);
    assert!(said.contains("a shard is damaged"), "{said}");
    let (code, said) = world.run(&["snapshot", "create", "--confirm", "dirty"]);
    assert!(code == 20 && said.contains("a shard is damaged"), "nothing is taken of it: {said}");
    let (code, said) = world.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "dirty"]);
    assert_eq!((code, world.live_points()), (0, 100), "{said}");
    // One whose sum is another one than its file's is not believed, and nothing is switched.
    world.storage.lock().expect("a lock").aliases.insert("docs_live".into(), "docs".into());
    let files = std::fs::read_dir(world.folder.join("qdrant/docs")).expect("snapshots");
    for file in files.flatten() {
        let bytes = std::fs::read(file.path()).expect("a snapshot");
        std::fs::write(file.path(), bytes.iter().rev().copied().collect::<Vec<u8>>()).expect("written");
    }
    let (code, said) = world.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "dirty"]);
    assert!(code == 20 && said.contains("is another one than was taken"), "{said}");
    assert_eq!(world.storage.lock().expect("a lock").aliases["docs_live"], "docs");
}

#[test]
fn a_full_rollback_killed_anywhere_comes_to_the_same_end() {
    install_tls_provider();
    let folder = tempfile::TempDir::new().expect("a folder");
    let (pg, sent) = (Postgres::start(), Sent::default());
    let router = router(&sent);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let whole = World::new(folder.path(), "whole", &pg, &router, &runtime);
    assert!(whole.child(None));
    let points: usize = std::fs::read_to_string(whole.folder.join("points")).expect("points").parse().expect("a number");
    let kills: Vec<Kill> = (0..points).map(Kill::Point).chain((1..=IN_THE_MIDDLE).map(|n| Kill::After(APART * n as u32))).collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    let Some(kill) = kills.get(n) else { return };
                    let world = World::new(folder.path(), &format!("at{n:03}"), &pg, &router, &runtime);
                    let found = judge(&world, Some(*kill), &sent, n % 4 == 0);
                    wrong.lock().expect("a lock").extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("what is wrong");
    println!("full rollback: {points} points, {} kills, {} findings", kills.len(), wrong.len());
    assert!(points >= 40, "only {points} points");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
