//! The hidden `runner` subcommand: the process that drives one run. It works by what its plan froze, in a session of its
//! own, and speaks to whoever started it once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::identity;
use super::operations::Operations;
use super::plan_secrets::{know, missing, referenced};
use super::reach::{acting_context, audit_database};
use super::rollback_metrics::count_rollback;
use crate::act::effect::{AskedBefore, Context};
use crate::act::runner::{AbortRequest, DriveError, Ending, Setup, Started, drive, take_leave};
use crate::base::clock::Clock;
use crate::base::exit;
use crate::base::secret::SecretRef;
use crate::config::{Config, bare, planned_config};
use crate::plan::deploy::STEP;
use crate::plan::runbook::{Operator, Plan, RunResult, Runner};
use crate::record::journal::{StateDir, began, no_failpoint, place as place_of_processes, private};

/// How long notifications and the mirror are tried for when the run is over: a receiver may be down just then, and nobody
/// else may come by for hours.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// What a runner is told when it is started.
#[derive(Debug)]
pub struct RunnerOptions {
    /// The run's folder.
    pub folder: PathBuf,
    /// Who takes it up again, as JSON.
    pub by: Option<String>,
    /// Take it up only to end it, as JSON.
    pub abort: Option<String>,
}

/// Drives a run. Gives the exit code.
pub fn run_runner(args: &RunnerOptions) -> u8 {
    // What could not be delivered is worth a line.
    super::logging::start_logging(None, log::LevelFilter::Warn);
    let refuse = |message: String| {
        log::error!(target: "runner", "{message}");
        Started { ok: false, driven: false, message: Some(message) }.say();
        exit::REFUSED
    };
    if let Err(e) = take_leave() {
        return refuse(format!("cannot leave the terminal: {e}"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return refuse(format!("cannot start: {e}")),
    };
    let code = match runtime.block_on(lead(args)) {
        Ok(code) => code,
        Err(message) => refuse(message),
    };
    runtime.shutdown_background();
    code
}

/// Somebody may have taken hold of the canary since the run began.
fn asks_who_holds(config: &Config, state: &StateDir, plan: &Plan) -> AskedBefore {
    let (config, state, content) = (Arc::new(config.clone()), state.clone(), plan.content.clone());
    Arc::new(move || {
        let permitted = Operations::beside(config.clone(), state.clone()).permit_held(&content);
        permitted.map_err(|why| why.words().to_string())
    })
}

async fn lead(args: &RunnerOptions) -> Result<u8, String> {
    // Registered before anything is said: from here on a hang-up is nothing, and an end is asked for politely.
    let leave = endings()?;
    let (state, id) = place(&args.folder)?;
    let plan = state.plan(&id)?;
    let abort: Option<AbortRequest> = args.abort.as_deref().map(serde_json::from_str).transpose().map_err(|e| format!("--abort: {e}"))?;
    let only_leaves = abort.as_ref().is_some_and(|wanted| !wanted.undo);
    let (config, remark) = match planned_config(&plan) {
        Ok(known) => known,
        // To end a run and leave everything as it is nothing has to be known.
        Err(why) if only_leaves => (bare(&plan, &plan.content.config.path), Some(why)),
        Err(why) => return Err(why),
    };
    let references = referenced(&config, &plan.content);
    know(&references);
    let mut remarks: Vec<String> = remark.into_iter().collect();
    let missing = missing(&config, &plan.content);
    if !missing.is_empty() && !only_leaves {
        let words = format!("secrets are missing: {}", missing.join("; "));
        // An emergency begins with what works, and an abort is never refused.
        if !plan.content.emergency && abort.is_none() {
            return Err(format!("{words} (nothing was begun: set them where the run is started)"));
        }
        remarks.push(words);
    }
    let hidden = references.iter().filter_map(|r| if let SecretRef::Env(name) = r { Some(name.clone()) } else { None }).collect();
    let held = (plan.content.runbook == STEP).then(|| asks_who_holds(&config, &state, &plan));
    let context = Context { hidden, held, ..acting_context(&config, Clock::System) };
    let by: Option<Operator> = match &args.by {
        Some(text) => Some(serde_json::from_str(text).map_err(|e| format!("--by: {e}"))?),
        None => None,
    };
    let counting: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>> = Arc::default();
    let (counts, of, under) = (counting.clone(), plan.clone(), config.clone());
    let over = Box::new(move |result: RunResult, took: Duration| {
        if result != RunResult::Refused {
            let counted = tokio::spawn(async move { count_rollback(&under, &of, took).await });
            *counts.lock().unwrap_or_else(|p| p.into_inner()) = Some(counted);
        }
    });
    let runner = Runner { state: state.root().display().to_string(), ..this_runner() };
    let setup = Setup {
        state,
        id,
        context,
        channels: config.acting.notify.clone(),
        database: audit_database(&config),
        plan,
        failpoint: no_failpoint(),
        runner,
        resumed_by: by,
        abort,
        shared: Some(config.path.clone()),
        control: None,
        leave,
        patience: PATIENCE,
        remarks,
        over: Some(over),
    };
    let said = Arc::new(Mutex::new(false));
    let saying = said.clone();
    let begun = move |outcome: Result<(), String>| {
        *saying.lock().unwrap_or_else(|p| p.into_inner()) = true;
        Started { ok: outcome.is_ok(), driven: false, message: outcome.err() }.say();
    };
    let ended = drive(setup, begun).await;
    let counted = counting.lock().unwrap_or_else(|p| p.into_inner()).take();
    if let Some(counted) = counted {
        // It has a limit of its own.
        let _ = counted.await;
    }
    match ended {
        Ok(Ending::Over(result, _)) => Ok(result.exit_code()),
        Ok(Ending::Left) => Ok(exit::WAITS),
        Err(e) if *said.lock().unwrap_or_else(|p| p.into_inner()) => {
            log::error!(target: "runner", "{e}");
            Ok(exit::FAILED)
        }
        Err(e) => {
            Started { ok: false, driven: e == DriveError::Driven, message: Some(e.to_string()) }.say();
            Ok(exit::REFUSED)
        }
    }
}

/// This process, as a runner.
pub fn this_runner() -> Runner {
    let pid = std::process::id();
    Runner {
        host: identity::host(),
        pid,
        place: place_of_processes(),
        version: env!("CARGO_PKG_VERSION").into(),
        state: String::new(),
        began: began(pid).unwrap_or(0),
    }
}

/// The state folder and the id that a run's folder names.
fn place(folder: &Path) -> Result<(StateDir, String), String> {
    let wrong = || format!("{} is no folder of a run", folder.display());
    let id = folder.file_name().ok_or_else(wrong)?.to_string_lossy().into_owned();
    let root = folder.parent().and_then(Path::parent).ok_or_else(wrong)?;
    let state = StateDir::open(root)?;
    private(folder)?;
    private(&folder.join("plan.json"))?;
    Ok((state, id))
}

/// Becomes true when the process is asked to end; a terminal that goes away asks for nothing.
fn endings() -> Result<watch::Receiver<bool>, String> {
    let failed = |e: std::io::Error| format!("cannot take over the signals: {e}");
    let (tell, leave) = watch::channel(false);
    let mut hangs = signal(SignalKind::hangup()).map_err(failed)?;
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut pipes = signal(SignalKind::pipe()).map_err(failed)?;
    let mut ends = signal(SignalKind::terminate()).map_err(failed)?;
    // A file that may grow no more is a write that fails, and no reason to die.
    let mut too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangs.recv() => {}
                _ = interrupts.recv() => {}
                _ = pipes.recv() => {}
                _ = too_large.recv() => {}
                _ = ends.recv() => drop(tell.send(true)),
            }
        }
    });
    Ok(leave)
}
