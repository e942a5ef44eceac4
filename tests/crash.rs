//! The crash matrix: a runner is killed at every moment between which it can be (before and after each append, sync,
//! effect and notice of a twelve-step runbook), taken up again, and what became of the world is counted.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Counting, Postgres, http_get, install_tls_provider};
use lastgreen::act::runner::{Control, ControlRequest, Ending, Setup, drive};
use lastgreen::backend::{acting_context, audit_database};
use lastgreen::base::clock::Clock;
use lastgreen::config::{Config, load_text, planning_context, runbooks};
use lastgreen::plan::runbook::{Asked, Choice, Operator, Phase, Plan, Run, RunResult, plan};
use lastgreen::record::journal::{Failpoint, StateDir, no_failpoint, read};
use lastgreen::record::notify::{Extent, sync_run};
use tokio::sync::{mpsc, oneshot, watch};

/// Twelve steps: with and without probes, on a database, an HTTP server that counts, and files.
const RUNBOOK: &str = r#"
title: Crash
steps:
  - {name: h, id: h, type: health_check, targets: [{service: world, endpoint: /healthz}]}
  - name: sql with probe
    id: s1
    type: sql
    mutates: true
    query: INSERT INTO effects (run, step) VALUES ($1, 's1')
    params: ["{{ run.id }}"]
    expect: 1
    probe: {type: sql, query: "SELECT count(*) FROM effects WHERE run = $1 AND step = 's1'", params: ["{{ run.id }}"], expect: ">= 1"}
  - name: http with probe
    id: h1
    type: http
    service: world
    method: POST
    path: "/apply/{{ run.id }}/h1"
    timeout: 1s
    probe: {type: http, service: world, path: "/applied/{{ run.id }}/h1", expect: {/n: ">= 1"}}
  - name: file with probe
    id: f1
    type: script
    env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}
    script: echo f1 >> "$HERE/$RUN"
    probe:
      type: script
      mutates: false
      env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}
      script: grep -qx f1 "$HERE/$RUN"
  - name: sql without probe
    id: s2
    type: sql
    mutates: true
    query: INSERT INTO effects (run, step) VALUES ($1, 's2')
    params: ["{{ run.id }}"]
  - {name: http without probe, id: h2, type: http, service: world, method: POST, path: "/apply/{{ run.id }}/h2"}
  - name: file without probe
    id: f2
    type: script
    env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}
    script: echo f2 >> "$HERE/$RUN"
  - {name: idempotent, id: put, type: http, service: world, method: PUT, path: "/set/{{ run.id }}", idempotent: true, retry: {count: 2, backoff: 10ms}}
  - {name: tell, id: tell, type: notify, channels: [hook], message: "half way"}
  - {name: wait, id: wait, type: wait, time: 1ms}
  - {name: rows, id: rows, type: sql, query: "SELECT count(*) FROM effects WHERE run = $1", params: ["{{ run.id }}"], expect: 2}
  - name: last file
    id: f3
    type: script
    env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}", ROWS: "{{ steps.rows.output }}"}
    script: echo "f3 $ROWS" >> "$HERE/$RUN"
    probe:
      type: script
      mutates: false
      env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}
      script: grep -q "^f3 2$" "$HERE/$RUN"
inputs: {files: {type: string}}
notifications: [{channel: hook, events: [start, success, failure, waiting]}]
"#;

/// A step that fails, and the way back from it: undos, and a step of the rollback.
const BACK: &str = r#"
title: Back
steps:
  - name: sql
    id: s1
    type: sql
    mutates: true
    query: INSERT INTO effects (run, step) VALUES ($1, 's1')
    params: ["{{ run.id }}"]
    probe: {type: sql, query: "SELECT count(*) FROM effects WHERE run = $1 AND step = 's1'", params: ["{{ run.id }}"], expect: ">= 1"}
    undo: {type: sql, mutates: true, query: "INSERT INTO effects (run, step) VALUES ($1, 'undo/s1')", params: ["{{ run.id }}"]}
  - name: http
    id: h1
    type: http
    service: world
    method: POST
    path: "/apply/{{ run.id }}/h1"
    undo: {type: http, service: world, method: POST, path: "/apply/{{ run.id }}/undo/h1"}
  - name: file
    id: f1
    type: script
    env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}
    script: echo f1 >> "$HERE/$RUN"
    undo: {type: script, env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}, script: 'echo undo/f1 >> "$HERE/$RUN"'}
  - {name: bad, id: bad, type: script, script: exit 1}
rollback:
  automatic: true
  steps:
    - {name: last, id: f9, type: script, env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}, script: 'echo rollback/f9 >> "$HERE/$RUN"'}
inputs: {files: {type: string}}
notifications: [{channel: hook, events: [start, rollback, failure, waiting]}]
"#;

/// One that takes the environment while its first step is under way already.
const EMERGENCY: &str = r#"
title: Emergency
emergency: true
steps:
  - {name: traffic, id: h1, type: http, service: world, method: POST, path: "/apply/{{ run.id }}/h1", timeout: 1s, probe: {type: http, service: world, path: "/applied/{{ run.id }}/h1", expect: {/n: ">= 1"}}}
  - name: data
    id: s1
    type: sql
    mutates: true
    query: INSERT INTO effects (run, step) VALUES ($1, 's1')
    params: ["{{ run.id }}"]
    probe: {type: sql, query: "SELECT count(*) FROM effects WHERE run = $1 AND step = 's1'", params: ["{{ run.id }}"], expect: ">= 1"}
  - name: code
    id: f1
    type: script
    env: {RUN: "{{ run.id }}", HERE: "{{ inputs.files }}"}
    script: echo f1 >> "$HERE/$RUN"
inputs: {files: {type: string}}
notifications: [{channel: hook, events: [start, success, failure, waiting]}]
"#;

/// One that an emergency ends in its middle.
const SUPERSEDED: &str = r#"
title: Superseded
steps:
  - name: sql
    id: s1
    type: sql
    mutates: true
    query: INSERT INTO effects (run, step) VALUES ($1, 's1')
    params: ["{{ run.id }}"]
    probe: {type: sql, query: "SELECT count(*) FROM effects WHERE run = $1 AND step = 's1'", params: ["{{ run.id }}"], expect: ">= 1"}
  - {name: bake, id: bake, type: wait, time: 10m}
  - {name: never, id: never, type: http, service: world, method: POST, path: "/apply/{{ run.id }}/never"}
inputs: {files: {type: string}}
notifications: [{channel: hook, events: [start, abort, failure, waiting]}]
"#;

/// A runbook to be killed in, and what has to come of it.
struct Book {
    text: &'static str,
    /// The effects that must be there once.
    effects: &'static [&'static str],
    /// Those that must not be there.
    never: &'static [&'static str],
    ends: RunResult,
    /// Letters besides one for each question.
    letters: usize,
}

static BOOKS: [(&str, Book); 4] = [
    (
        "forward",
        Book { text: RUNBOOK, effects: &["s1", "h1", "f1", "s2", "h2", "f2", "f3"], never: &[], ends: RunResult::Done, letters: 3 },
    ),
    (
        "back",
        Book {
            text: BACK,
            effects: &["s1", "h1", "f1", "undo/s1", "undo/h1", "undo/f1", "rollback/f9"],
            never: &[],
            ends: RunResult::RolledBack,
            letters: 3,
        },
    ),
    ("emergency", Book { text: EMERGENCY, effects: &["h1", "s1", "f1"], never: &[], ends: RunResult::Done, letters: 2 }),
    ("superseded", Book { text: SUPERSEDED, effects: &["s1"], never: &["never"], ends: RunResult::Superseded, letters: 2 }),
];

fn book(name: &str) -> &'static Book {
    &BOOKS.iter().find(|(n, _)| *n == name).expect("a book").1
}

struct CrashWorld {
    /// Which runbook is tried.
    book: String,
    /// Whether records go to the database; where only the journal is tried that would only cost time.
    mirrored: bool,
    folder: PathBuf,
    http: u16,
    pg: String,
}

impl CrashWorld {
    /// The same world, in a folder of its own.
    fn of(&self, folder: PathBuf) -> CrashWorld {
        CrashWorld { book: self.book.clone(), mirrored: self.mirrored, folder, http: self.http, pg: self.pg.clone() }
    }

    fn config(&self) -> Config {
        let text = format!(
            "state_dir = \"state\"\n[environment]\nname = \"{}\"\n[sources.database]\nkind = \"database\"\nurl = \"{}\"\n[services.world]\nurl = \"http://127.0.0.1:{}\"\n[notify.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook\"\n{}",
            self.folder.file_name().expect("a name").to_string_lossy(),
            self.pg,
            self.http,
            self.http,
            if self.mirrored { "" } else { "[audit]\ndatabase = \"none\"\n" }
        );
        let loaded = load_text(&self.folder.join("lastgreen.toml"), &text);
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings))
    }

    fn state(&self) -> StateDir {
        StateDir::open(&self.folder.join("state")).expect("a state folder")
    }

    fn make(&self, id: &str) {
        std::fs::create_dir_all(self.folder.join("runbooks")).expect("a folder");
        std::fs::create_dir_all(self.folder.join("files")).expect("a folder");
        std::fs::write(self.folder.join("runbooks/crash.yaml"), book(&self.book).text).expect("written");
        let (config, now) = (self.config(), Clock::System.now());
        let loaded = runbooks(&config, now);
        let runbook = loaded[0].runbook.clone().unwrap_or_else(|| panic!("{:?}", loaded[0].findings));
        let files = self.folder.join("files").display().to_string();
        let asked = Asked { inputs: [("files".to_string(), files)].into_iter().collect(), ..Asked::default() };
        let content = plan(&runbook, &planning_context(&config, &loaded), &asked, &|_| Err("no files".into())).expect("a plan");
        let plan = Plan::new(content, Operator { user: "test".into(), ..Operator::default() }, now, Duration::from_secs(3600));
        self.state().make_run(id, &plan).expect("a run");
    }

    fn applied(&self, id: &str, step: &str) -> usize {
        match step.rsplit('/').next().expect("a name").as_bytes()[0] {
            b'f' => {
                let text = std::fs::read_to_string(self.folder.join("files").join(id)).unwrap_or_default();
                text.lines().filter(|line| line.split(' ').next() == Some(step)).count()
            }
            b'h' => {
                let (_, body) = http_get(self.http, &format!("/applied/{id}/{step}")).expect("the counting server");
                let value: serde_json::Value = serde_json::from_str(&body).expect("json");
                value["n"].as_u64().expect("a number") as usize
            }
            _ => {
                let url = self.pg.clone();
                let (id, step) = (id.to_string(), step.to_string());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    runtime.block_on(async {
                        use sqlx::Connection;
                        let mut pg = sqlx::PgConnection::connect(&url).await.expect("connected");
                        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM effects WHERE run = $1 AND step = $2")
                            .bind(id)
                            .bind(step)
                            .fetch_one(&mut pg)
                            .await
                            .expect("counted");
                        n as usize
                    })
                })
                .join()
                .expect("counted")
            }
        }
    }

    /// Drives a run to its end, as its operator answering by what is true.
    async fn drive(&self, id: &str, failpoint: Failpoint) -> Ending {
        let config = self.config();
        let state = self.state();
        let plan = state.plan(id).expect("the plan");
        let (sender, control) = mpsc::channel(4);
        let (_leave, leave) = watch::channel(false);
        let (folder, answering) = (state.run(id), plan.clone());
        let me = self.of(self.folder.clone());
        let run = id.to_string();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let Ok(replay) = read(&folder) else { continue };
                let Ok(now) = Run::fold(&answering, replay.lines.iter().map(|l| &l.record)) else { continue };
                if me.book == "superseded" && now.superseded_by.is_none() && now.phase == Phase::Running && me.applied(&run, "s1") > 0 {
                    let (reply, _) = oneshot::channel();
                    let request = ControlRequest::Supersede { run: "E".into(), runbook: "e".into() };
                    if sender.send(Control { request, by: Operator::default(), until: None, reply }).await.is_err() {
                        return;
                    }
                }
                let Phase::Waiting { question } = &now.phase else { continue };
                let choice = if me.applied(&run, &question.step) > 0 { Choice::Done } else { Choice::Again };
                let (reply, _) = oneshot::channel();
                let request = ControlRequest::Answer { asked: now.asked, step: question.step.clone(), choice, note: String::new() };
                if sender.send(Control { request, by: Operator::default(), until: None, reply }).await.is_err() {
                    return;
                }
            }
        });
        let resumed = state.run(id).join("journal.jsonl").exists();
        let setup = Setup {
            context: acting_context(&config, Clock::System),
            database: audit_database(&config),
            state,
            id: id.into(),
            plan,
            failpoint,
            runner: lastgreen::backend::this_runner(),
            resumed_by: resumed.then(Operator::default),
            abort: None,
            shared: None,
            control: Some(control),
            leave,
            patience: Duration::from_secs(10),
            channels: config.acting.notify.clone(),
            remarks: Vec::new(),
            over: None,
        };
        drive(setup, |begun| begun.expect("begun")).await.expect("driven")
    }
}

fn world_of_child() -> Option<(CrashWorld, String, Option<usize>)> {
    let var = |name: &str| std::env::var(name).ok();
    let (folder, http) = (var("CRASH_FOLDER")?.into(), var("CRASH_HTTP")?.parse().ok()?);
    let world = CrashWorld { book: var("CRASH_BOOK")?, mirrored: true, folder, http, pg: var("CRASH_PG")? };
    Some((world, var("CRASH_RUN")?, var("CRASH_AT").and_then(|n| n.parse().ok())))
}

/// Not a test of its own: the process that is killed.
#[test]
fn crash_child() {
    let Some((world, run, at)) = world_of_child() else { return };
    install_tls_provider();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let failpoint: Failpoint = Arc::new(move |_| {
        if Some(counted.fetch_add(1, Ordering::SeqCst)) == at {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let ending = runtime.block_on(world.drive(&run, failpoint));
    assert!(matches!(ending, Ending::Over(result, _) if result == book(&world.book).ends), "{ending:?}");
    std::fs::write(world.folder.join(format!("points-{run}")), seen.load(Ordering::SeqCst).to_string()).expect("written");
}

/// Runs the child; whether it came to its end.
fn child(world: &CrashWorld, run: &str, at: Option<usize>) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["crash_child", "--exact", "--nocapture"]);
    command.env("CRASH_FOLDER", &world.folder).env("CRASH_HTTP", world.http.to_string()).env("CRASH_PG", &world.pg).env("CRASH_RUN", run);
    command.env("CRASH_BOOK", &world.book);
    if let Some(at) = at {
        command.env("CRASH_AT", at.to_string());
    }
    let output = command.output().expect("the child runs");
    use std::os::unix::process::ExitStatusExt;
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "run {run} at {at:?}: {}", String::from_utf8_lossy(&output.stderr));
    !killed
}

#[derive(Default)]
struct Figures {
    points: usize,
    killed: usize,
    twice: Vec<String>,
    missing: Vec<String>,
    lost: Vec<String>,
    stuck: Vec<String>,
    copies: usize,
}

fn set_up(folder: &Path, book: &str) -> (CrashWorld, Postgres, Counting) {
    let pg = Postgres::start();
    let counting = Counting::start();
    let world = CrashWorld { book: book.into(), mirrored: true, folder: folder.to_path_buf(), http: counting.port, pg: pg.url() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&pg.url()).await.expect("connected");
        let schema = "CREATE TABLE effects (run text, step text); CREATE TABLE task_events (id serial, task_id text, event_type text, metadata jsonb, created_at timestamptz DEFAULT now())";
        sqlx::raw_sql(schema).execute(&mut connection).await.expect("tables");
    });
    (world, pg, counting)
}

/// What became of a run that was killed and taken up again.
fn judge(world: &CrashWorld, run: &str, at: usize, counting: &Counting, figures: &mut Figures) {
    let book = book(&world.book);
    for step in book.never.iter().filter(|step| world.applied(run, step) > 0) {
        figures.twice.push(format!("{step}, which was to be left, at {at}"));
    }
    for step in book.effects {
        match world.applied(run, step) {
            1 => {}
            0 => figures.missing.push(format!("{step} at {at}")),
            n => figures.twice.push(format!("{step} {n} times at {at}")),
        }
    }
    let state = world.state();
    let plan = state.plan(run).expect("the plan");
    let replay = read(&state.run(run)).expect("a whole journal");
    let fold = Run::fold(&plan, replay.lines.iter().map(|l| &l.record)).expect("a sound journal");
    if !matches!(fold.phase, Phase::Ended { result, .. } if result == book.ends) {
        figures.stuck.push(format!("{:?} at {at}", fold.phase));
    }
    let database = audit_database(&world.config()).expect("a database");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mirrored, events) = runtime.block_on(async {
        sync_run(&state, run, &database, Extent::New).await.expect("mirrored");
        use sqlx::Connection;
        let mut pg = sqlx::PgConnection::connect(&world.pg).await.expect("connected");
        let lines: i64 = sqlx::query_scalar("SELECT count(*) FROM lastgreen.records WHERE run = $1")
            .bind(run)
            .fetch_one(&mut pg)
            .await
            .expect("counted");
        let task = format!("run_{run}");
        let events: i64 =
            sqlx::query_scalar("SELECT count(*) FROM task_events WHERE task_id = $1").bind(task).fetch_one(&mut pg).await.expect("counted");
        (lines as usize, events)
    });
    if mirrored != replay.lines.len() || events != 2 {
        figures.lost.push(format!("{mirrored} of {} records and {events} of 2 rows at {at}", replay.lines.len()));
    }
    // One letter at the start, one by the step (or when it goes back), one at the end; and one for each question.
    let keys = counting.letters(run);
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    let asked = replay.lines.iter().filter(|l| matches!(l.record.event, lastgreen::plan::runbook::Event::Asked { .. })).count();
    if unique.len() != book.letters + asked {
        figures.lost.push(format!("{} of {} letters at {at}", unique.len(), book.letters + asked));
    }
    figures.copies += keys.len() - unique.len();
}

#[test]
fn killed_at_every_point_nothing_is_done_twice_and_nothing_is_lost() {
    let figures = matrix("forward", |_| None);
    assert!(figures.killed >= 100, "only {} kills", figures.killed);
}

/// On the way back, and killed a second time while it is taken up, sooner or later.
#[test]
fn killed_twice_on_the_way_back_it_goes_back_once() {
    let figures = matrix("back", |at| Some(at * 7 % 23));
    assert!(figures.killed >= 60, "only {} kills", figures.killed);
}

/// An emergency that is killed while it takes the environment, and taken up again.
#[test]
fn an_emergency_killed_at_every_point_does_each_thing_once() {
    let figures = matrix("emergency", |_| None);
    assert!(figures.killed >= 35, "only {} kills", figures.killed);
}

/// A run that gives way, killed before, while and after it is told.
#[test]
fn what_gives_way_is_killed_at_every_point_and_goes_on_with_nothing() {
    let figures = matrix("superseded", |at| (at % 3 == 0).then_some(at % 11));
    assert!(figures.killed >= 20, "only {} kills", figures.killed);
}

/// Kills a run at each point, and again at the point after that which `again` says.
fn matrix(book: &str, again: impl Fn(usize) -> Option<usize> + Sync) -> Figures {
    install_tls_provider();
    let folder = tempfile::TempDir::new().expect("a folder");
    let (world, _pg, counting) = set_up(folder.path(), book);
    world.make("WHOLE");
    assert!(child(&world, "WHOLE", None));
    let points: usize = std::fs::read_to_string(folder.path().join("points-WHOLE")).expect("points").parse().expect("a number");
    let next = AtomicUsize::new(0);
    let figures = Mutex::new(Figures { points, ..Figures::default() });
    let (world, counting) = (&world, &counting);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    if at >= points {
                        return;
                    }
                    let run = format!("AT{at:04}");
                    // Each has an environment of its own by its folder: the lock is not what is tried here.
                    let own = world.of(world.folder.join(&run));
                    std::fs::create_dir_all(&own.folder).expect("a folder");
                    own.make(&run);
                    let mut killed = usize::from(!child(&own, &run, Some(at)));
                    let once_more = again(at).filter(|_| killed == 1);
                    killed += once_more.map_or(0, |at| usize::from(!child(&own, &run, Some(at))));
                    // Also when it was over: what was to be told may not have been.
                    assert!(child(&own, &run, None), "taken up again it comes to its end");
                    let mut figures = figures.lock().expect("a lock");
                    figures.killed += killed;
                    judge(&own, &run, at, counting, &mut figures);
                }
            });
        }
    });
    let figures = figures.into_inner().expect("the figures");
    println!(
        "crash matrix, {book}: {} points, {} kills; effects applied twice: {}; effects missing: {}; records or letters lost: {}; stuck: {}; copies of letters (same id): {}",
        figures.points,
        figures.killed,
        figures.twice.len(),
        figures.missing.len(),
        figures.lost.len(),
        figures.stuck.len(),
        figures.copies
    );
    assert!(figures.twice.is_empty(), "{:?}", figures.twice);
    assert!(figures.missing.is_empty(), "{:?}", figures.missing);
    assert!(figures.lost.is_empty(), "{:?}", figures.lost);
    assert!(figures.stuck.is_empty(), "{:?}", figures.stuck);
    figures
}

#[test]
fn a_journal_torn_at_any_byte_of_its_last_record_is_taken_up() {
    install_tls_provider();
    let folder = tempfile::TempDir::new().expect("a folder");
    let (world, _pg, _counting) = set_up(folder.path(), "forward");
    let world = CrashWorld { mirrored: false, ..world };
    world.make("TORN");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    assert!(matches!(runtime.block_on(world.drive("TORN", no_failpoint())), Ending::Over(RunResult::Done, _)));
    let journal = world.state().run("TORN").join("journal.jsonl");
    let whole = std::fs::read(&journal).expect("the journal");
    let begins = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').expect("more than one line") + 1;
    for cut in begins..whole.len() {
        std::fs::write(&journal, &whole[..cut]).expect("cut");
        let ending = runtime.block_on(world.drive("TORN", no_failpoint()));
        assert!(matches!(ending, Ending::Over(RunResult::Done, _)), "cut at {cut}: {ending:?}");
    }
    // And once with the end of an effect torn off: somebody is asked, and nothing is done again.
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    let at = lines.iter().position(|l| String::from_utf8_lossy(l).contains("\"step_finished\",\"step\":\"h2\"")).expect("the step's end");
    let before: usize = lines[..at].iter().map(|l| l.len()).sum();
    for cut in (before..before + lines[at].len()).step_by(37) {
        std::fs::write(&journal, &whole[..cut]).expect("cut");
        std::fs::write(world.folder.join("files/TORN"), "f1\n").expect("as it was then");
        let ending = runtime.block_on(world.drive("TORN", no_failpoint()));
        assert!(matches!(ending, Ending::Over(RunResult::Done, _)), "cut at {cut}: {ending:?}");
        assert_eq!(world.applied("TORN", "h2"), 1, "cut at {cut}");
    }
}
