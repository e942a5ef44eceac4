//! The worker behind a cockpit: a thread that plans, begins and answers, and tells what journals say. The cockpit never
//! waits for it.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::lookout::Lookout;
use super::operations::{OperationError, Operations};
use super::planning::PlanRequest;
use super::reach::audit_database;
use super::remote_lease::{Busy, RemoteHolder};
use super::rollback::RollbackRequest;
use crate::act::runner::ControlRequest;
use crate::base::clock::Clock;
use crate::config::{Config, planned_config};
use crate::plan::runbook::{LoadedRunbook, Observation};
use crate::record::journal::no_failpoint;
use crate::record::notify::{Extent, deliver_waiting, sweep_notifications, sync_run};
use crate::status::{Elsewhere, Ledger, OutputTail, Request, Update};

/// How often journals are looked at while a run is open.
const LOOK: Duration = Duration::from_millis(250);
/// And while none is.
const IDLE: Duration = Duration::from_secs(1);
/// How often runbook files are.
const REREAD: Duration = Duration::from_secs(5);
/// How often what was left undelivered is tried again.
const DELIVER: Duration = Duration::from_secs(30);
/// How often it is looked whether a rollback would work.
const READIED: Duration = Duration::from_secs(10);
/// The most of an output that is shown, in bytes.
const TAIL: u64 = 128 << 10;

/// What the cockpit's side holds.
pub struct Worker {
    orders: Sender<WorkerRequest>,
    updates: Arc<Mutex<Vec<Update>>>,
    rung: Arc<Notify>,
}

enum WorkerRequest {
    Request(Request),
    Config(Arc<Config>),
    /// The cockpit is closed: everything before this was done.
    Last(Sender<()>),
}

/// How long a cockpit that is closed waits for what was ordered last.
const LAST: Duration = Duration::from_secs(3);

impl Drop for Worker {
    fn drop(&mut self) {
        let (done, waits) = channel();
        // Without the thread there is nothing to wait for.
        if self.orders.send(WorkerRequest::Last(done)).is_ok() {
            let _ = waits.recv_timeout(LAST);
        }
    }
}

impl Worker {
    /// Starts the thread, which makes its operations itself: nothing is drawn later because of it.
    pub fn start(operations: impl FnOnce() -> Operations + Send + 'static) -> Worker {
        let (orders, received) = channel();
        let (updates, rung) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (told, rings) = (updates.clone(), rung.clone());
        let work = move || Work {
            operations: operations(),
            received,
            updates: told,
            rung: rings,
            loaded: Vec::new(),
            files: Vec::new(),
            read_at: None,
            delivered_at: Instant::now(),
            delivering: Arc::default(),
            delivered: Arc::default(),
            remote: RemoteHolder::default(),
            lookout: Lookout::default(),
            readied: None,
            observed: None,
            is_busy: false,
            looked_at: None,
            shown: String::new(),
            tail: OutputTail::default(),
        };
        // Without it the cockpit watches on.
        let _ = std::thread::Builder::new().name("desk".into()).spawn(move || work().serve());
        Worker { orders, updates, rung }
    }

    pub fn request(&self, request: Request) {
        if self.orders.send(WorkerRequest::Request(request)).is_err() {
            let mut updates = self.updates.lock().unwrap_or_else(|p| p.into_inner());
            updates
                .push(Update::Said(Err("what works on runs has ended in a fault of ours: use the command line (lastgreen runs)".into())));
            drop(updates);
            self.rung.notify_one();
        }
    }

    pub fn reload(&self, config: Arc<Config>) {
        let _ = self.orders.send(WorkerRequest::Config(config));
    }

    pub fn take(&self) -> Vec<Update> {
        std::mem::take(&mut *self.updates.lock().unwrap_or_else(|p| p.into_inner()))
    }

    pub async fn rung(&self) {
        self.rung.notified().await;
    }
}

struct Work {
    operations: Operations,
    received: Receiver<WorkerRequest>,
    updates: Arc<Mutex<Vec<Update>>>,
    rung: Arc<Notify>,
    loaded: Vec<LoadedRunbook>,
    /// What the files of the runbooks looked like when they were read.
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
    read_at: Option<Instant>,
    delivered_at: Instant,
    delivering: Arc<AtomicBool>,
    /// Runs that are over and whose records are where they belong.
    delivered: Arc<Mutex<HashSet<String>>>,
    remote: RemoteHolder,
    lookout: Lookout,
    /// When it was looked whether a rollback would work, and what had been looked at by then.
    readied: Option<(Instant, (bool, bool))>,
    /// What was told last of the switch.
    observed: Option<Observation>,
    /// Some run is open, or looked at.
    is_busy: bool,
    looked_at: Option<(String, String)>,
    /// What the ledger looked like when it was last told.
    shown: String,
    tail: OutputTail,
}

impl Work {
    fn serve(mut self) {
        self.lookout = Lookout::start(&self.operations.config);
        loop {
            self.look();
            // An request is taken at once in any case.
            match self.received.recv_timeout(if self.is_busy { LOOK } else { IDLE }) {
                Ok(WorkerRequest::Request(request)) => self.does(request),
                Ok(WorkerRequest::Config(config)) => {
                    self.operations = self.operations.on(config);
                    self.remote = RemoteHolder::default();
                    (self.lookout, self.readied) = (Lookout::start(&self.operations.config), None);
                    (self.read_at, self.files) = (None, Vec::new());
                }
                Ok(WorkerRequest::Last(done)) => {
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&self, updates: Update) {
        let mut waiting = self.updates.lock().unwrap_or_else(|p| p.into_inner());
        // Of ledgers and outputs the newest is enough.
        waiting.retain(|old| !matches!((old, &updates), (Update::Ledger(_), Update::Ledger(_)) | (Update::Output(_), Update::Output(_))));
        waiting.push(updates);
        drop(waiting);
        self.rung.notify_one();
    }

    fn look(&mut self) {
        if self.read_at.is_none_or(|at| at.elapsed() > REREAD) {
            let files = files(&self.operations.config.acting.runbooks);
            if self.read_at.is_none() || files != self.files {
                self.loaded = self.operations.runbooks();
                self.files = files;
            }
            self.read_at = Some(Instant::now());
        }
        let mut ledger = self.operations.ledger(&self.loaded);
        self.is_busy = self.looked_at.is_some() || ledger.runs.iter().any(|run| run.status().is_open());
        let (holder, elsewhere) = self.remote.look(&self.operations.config);
        // Runs of ours speak for themselves.
        let holder = holder.filter(|holder| ledger.run(&holder.run).is_none()).map(|holder| holder.to_string());
        ledger.elsewhere = Elsewhere { holder, ..elsewhere };
        let seen = fingerprint(&ledger);
        if seen != self.shown {
            self.shown = seen;
            self.tell(Update::Ledger(Box::new(ledger)));
        }
        self.look_out();
        self.read_output();
        if self.delivered_at.elapsed() > DELIVER {
            self.delivered_at = Instant::now();
            self.deliver();
        }
    }

    /// Tells what was seen outside, and, now and then, whether a rollback would work.
    fn look_out(&mut self) {
        if self.operations.config.acting.settings.switch.is_none() {
            return;
        }
        let looked = self.lookout.looked().fresh(self.operations.now());
        if let Some(seen) = looked.observed.clone().filter(|seen| self.observed.as_ref() != Some(seen)) {
            self.observed = Some(seen.clone());
            self.tell(Update::Traffic(seen));
        }
        // What becomes known is said at once: whoever has just begun to look is in a hurry.
        let known = looked.known();
        if self.readied.is_none_or(|(at, of)| at.elapsed() > READIED || of != known) && looked.observed.is_some() {
            self.readied = Some((Instant::now(), known));
            let readiness = self.operations.readiness(&looked);
            self.tell(Update::Readiness(Box::new(readiness)));
        }
    }

    /// Brings what runners have left: theirs is over, and this cockpit is here.
    fn deliver(&mut self) {
        let delivered = self.delivered.clone();
        let done = delivered.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let over: Vec<_> = self.operations.runs().into_iter().filter(|r| !r.driven && !done.contains(&r.id)).collect();
        let Ok(state) = self.operations.state() else { return };
        let over: Vec<_> = over.into_iter().filter(|run| !state.is_in_memory(&run.id)).collect();
        if self.operations.read_only || self.delivering.load(Ordering::SeqCst) {
            return;
        }
        let (state, busy) = (state.clone(), self.delivering.clone());
        busy.store(true, Ordering::SeqCst);
        // A thread of its own: a database that hangs must not keep an abort waiting.
        let work = move || {
            let _busy = Busy(busy);
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(async {
                    for run in &over {
                        sweep_notifications(&state, &run.id, &Clock::System);
                    }
                    deliver_waiting(&state, &Clock::System, &no_failpoint()).await;
                    for run in &over {
                        // Where a run's records go was frozen with its plan.
                        let synced = match planned_config(&run.plan).ok().and_then(|(config, _)| audit_database(&config)) {
                            Some(database) => sync_run(&state, &run.id, &database, Extent::New).await.map(drop),
                            None => Ok(()),
                        };
                        match synced {
                            Ok(()) if run.run.is_over() => drop(delivered.lock().unwrap_or_else(|p| p.into_inner()).insert(run.id.clone())),
                            Ok(()) => {}
                            Err(e) => log::debug!(target: "mirror", "{}: {e}", run.id),
                        }
                    }
                });
            }
        };
        // Without a thread it is tried again the next time.
        let _ = std::thread::Builder::new().name("deliver".into()).spawn(work);
    }

    fn does(&mut self, request: Request) {
        let said = |done: Result<(), OperationError>, words: &str| {
            Update::Said(done.map(|()| words.to_string()).map_err(|r| r.words().to_string()))
        };
        let updates = match request {
            Request::Plan { serial, runbook, inputs, reason } => {
                // Whoever may not run it is told before anything is typed.
                let planned = self.operations.plan_runbook(PlanRequest { runbook, inputs, reason, ..PlanRequest::default() });
                let permitted = planned.and_then(|plan| self.operations.permit(&plan).map(|()| plan));
                Update::Planned(serial, permitted.map(Arc::new).map_err(|r| r.words().to_string()))
            }
            Request::PlanRollback { serial, scope, reason, mismatches } => {
                let looked = self.lookout.looked().fresh(self.operations.now());
                let snapshot = looked.snapshot(self.operations.now());
                let running = looked.running.and_then(Result::ok);
                let request = RollbackRequest {
                    reason,
                    green: looked.green,
                    running,
                    snapshot,
                    matrices: looked.matrices,
                    mismatches,
                    ..RollbackRequest::default()
                };
                let planned = self.operations.plan_rollback(scope, request);
                let permitted = planned.and_then(|plan| self.operations.permit(&plan).map(|()| plan));
                Update::PlannedScope(serial, scope, permitted.map(Arc::new).map_err(|r| r.words().to_string()))
            }
            Request::Begin(plan) => {
                let begun = self.operations.begin(&plan).map_err(|r| r.words().to_string());
                if let Some(remark) = self.operations.take_remark() {
                    log::warn!(target: "runs", "{remark}");
                }
                Update::Begun(plan, begun)
            }
            Request::Answer { run, asked, step, choice, note } => {
                let words = format!("answered: {}", choice.word());
                said(self.operations.tell(&run, &ControlRequest::Answer { asked, step, choice, note }), &words)
            }
            Request::Pause(run) => said(self.operations.tell(&run, &ControlRequest::Pause), "it pauses after the current step"),
            Request::Resume(run) => said(self.operations.resume(&run), "it goes on"),
            Request::Abort { run, undo, seen } => {
                let words = if undo { "aborting, and undoing what was done" } else { "aborting" };
                said(self.operations.abort(&run, undo, "from the cockpit", seen), words)
            }
            Request::Look(looked_at) => {
                if self.looked_at != looked_at {
                    self.looked_at = looked_at;
                    self.tail = OutputTail::default();
                }
                return;
            }
        };
        self.tell(updates);
    }

    fn read_output(&mut self) {
        let Some((run, step)) = &self.looked_at else { return };
        let tail = self.operations.output(run, step).and_then(|path| tail(&path)).unwrap_or_default();
        let tail = OutputTail { run: run.clone(), step: step.clone(), ..tail };
        if tail != self.tail {
            self.tail = tail.clone();
            self.tell(Update::Output(tail));
        }
    }
}

/// What the files of a folder look like: the same means that none was changed.
fn files(folder: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mark = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().ok();
        (entry.path(), meta.as_ref().map_or(0, std::fs::Metadata::len), meta.and_then(|m| m.modified().ok()))
    };
    let mut files: Vec<_> = entries.flatten().map(mark).collect();
    files.sort();
    files
}

/// The end of a file, in lines.
fn tail(path: &std::path::Path) -> Option<OutputTail> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().skip(usize::from(from > 0)).map(str::to_string).collect();
    Some(OutputTail { lines, cut: from > 0, ..OutputTail::default() })
}

/// What can be seen of a ledger: the same means that nothing has to be told.
fn fingerprint(ledger: &Ledger) -> String {
    let mut out = String::new();
    for run in &ledger.runs {
        out += &format!("{} {} {} {:?};", run.id, run.run.seq, run.status().word(), run.progress);
    }
    for line in &ledger.runbooks {
        let text = line.loaded.runbook.as_ref().map_or(0, |runbook| hash(&runbook.text));
        out += &format!("{} {} {text} {:?} {:?};", line.name, line.due.words(), line.loaded.findings, line.last);
    }
    format!("{out}{:?}{:?}{:?}{:?}", ledger.stuck, ledger.fault, ledger.unreadable, ledger.elsewhere)
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
