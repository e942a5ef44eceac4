//! The hidden `runner` subcommand: the process that drives one run. It works by what its plan froze, in a session of its
//! own, and speaks to whoever started it once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::identity;
use super::live_signals::LiveSignals;
use super::operations::{audit_database, database_options};
use crate::act::effect::Context;
use crate::act::runner::{Ending, Setup, Started, drive, place as guard_place, take_leave};
use crate::base::clock::Clock;
use crate::base::exit;
use crate::base::secret::SecretRef;
use crate::config::{Config, SourceKind, load_text};
use crate::plan::runbook::{Kind, Operator, Plan, RunResult, Runner};
use crate::record::journal::{StateDir, no_failpoint, private};

/// How long notifications and the mirror are tried for when the run is over.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a runner is told when it is started.
#[derive(Debug)]
pub struct RunnerOptions {
    /// The run's folder.
    pub folder: PathBuf,
    /// Who takes it up again, as JSON.
    pub by: Option<String>,
    /// Take it up only to end it: `undo` or `leave`.
    pub abort: Option<String>,
    /// Why it is ended.
    pub reason: String,
}

/// Drives a run. Gives the exit code.
pub fn run_runner(args: &RunnerOptions) -> u8 {
    // What could not be delivered is worth a line.
    super::logging::start_logging(None, log::LevelFilter::Warn);
    let refuse = |message: String| {
        log::error!(target: "runner", "{message}");
        Started { ok: false, message: Some(message) }.say();
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

async fn lead(args: &RunnerOptions) -> Result<u8, String> {
    // Registered before anything is said: from here on a hang-up is nothing, and an end is asked for politely.
    let leave = endings()?;
    let (state, id) = place(&args.folder)?;
    let plan = state.plan(&id)?;
    let frozen = &plan.content.config;
    let config = load_text(&frozen.path, &frozen.text).config.ok_or("the configuration in the plan is not one this program knows")?;
    let references = secrets(&config, &plan);
    know(&references);
    let hidden = references.iter().filter_map(|r| if let SecretRef::Env(name) = r { Some(name.clone()) } else { None }).collect();
    let context = Context { hidden, ..acting_context(&config, Clock::System) };
    let by: Option<Operator> = match &args.by {
        Some(text) => Some(serde_json::from_str(text).map_err(|e| format!("--by: {e}"))?),
        None => None,
    };
    let runner =
        Runner { host: identity::host(), pid: std::process::id(), place: guard_place(), version: env!("CARGO_PKG_VERSION").into() };
    let setup = Setup {
        state,
        id,
        context,
        database: audit_database(&config),
        plan,
        failpoint: no_failpoint(),
        runner,
        resumed_by: by,
        abort: args.abort.as_ref().map(|how| (how == "undo", args.reason.clone())),
        shared: Some(config.path.clone()),
        control: None,
        leave,
        patience: PATIENCE,
    };
    let said = Arc::new(Mutex::new(false));
    let saying = said.clone();
    let begun = move |outcome: Result<(), String>| {
        *saying.lock().unwrap_or_else(|p| p.into_inner()) = true;
        Started { ok: outcome.is_ok(), message: outcome.err() }.say();
    };
    match drive(setup, begun).await {
        Ok(Ending::Over(RunResult::Done, _)) => Ok(exit::DONE),
        Ok(Ending::Over(result, _)) => Ok(result.exit_code()),
        Ok(Ending::Left) => Ok(exit::WAITS),
        Err(e) if *said.lock().unwrap_or_else(|p| p.into_inner()) => {
            log::error!(target: "runner", "{e}");
            Ok(exit::FAILED)
        }
        Err(e) => Err(e),
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
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangs.recv() => {}
                _ = interrupts.recv() => {}
                _ = pipes.recv() => {}
                _ = ends.recv() => drop(tell.send(true)),
            }
        }
    });
    Ok(leave)
}

/// Every secret that the configuration or the plan refers to.
fn secrets(config: &Config, plan: &Plan) -> Vec<SecretRef> {
    let mut all: Vec<SecretRef> = Vec::new();
    for source in config.sources.values() {
        match &source.kind {
            SourceKind::Database { password, .. } | SourceKind::Redis { password, .. } => all.extend(password.clone()),
            SourceKind::Prometheus(e) | SourceKind::Alertmanager(e) | SourceKind::Http(e) | SourceKind::Qdrant { endpoint: e, .. } => {
                all.extend(e.secrets().into_iter().cloned());
            }
            SourceKind::Scrape { targets, .. } => all.extend(targets.iter().flat_map(|t| t.endpoint.secrets()).cloned()),
            SourceKind::Command { .. } => {}
        }
    }
    let channels = config.acting.notify.values().chain(plan.content.notices.iter().map(|n| &n.channel));
    all.extend(channels.flat_map(|channel| channel.secrets()).cloned());
    all.extend(config.acting.services.values().flat_map(|endpoint| endpoint.secrets()).cloned());
    for step in plan.all() {
        for kind in [Some(&step.kind), step.probe.as_ref(), step.undo.as_ref()].into_iter().flatten() {
            match kind {
                Kind::Script(script) => all.extend(script.secrets.iter().map(|(_, reference)| reference.clone())),
                Kind::Http(call) => all.extend(call.secret_headers.iter().map(|(_, reference)| reference.clone())),
                _ => {}
            }
        }
    }
    all
}

/// Makes the redactor know what a script could print although its step was not given it.
fn know(references: &[SecretRef]) {
    for reference in references {
        // A command may take long or ask; it is fetched when it is needed, and known from then on.
        if !matches!(reference, SecretRef::Cmd(_)) {
            let _ = reference.fetch();
        }
    }
}

/// Everything that steps reach for, by a configuration.
pub fn acting_context(config: &Config, clock: Clock) -> Context {
    let databases = config.sources.iter().filter_map(|(name, s)| Some((name.to_string(), database_options(&s.kind, s.timeout)?)));
    Context {
        services: config.acting.services.iter().map(|(name, endpoint)| (name.clone(), endpoint.clone())).collect(),
        databases: databases.collect(),
        channels: config.acting.notify.clone(),
        hidden: Vec::new(),
        signals: Arc::new(LiveSignals::new(config.clone(), tokio::runtime::Handle::current(), clock.clone())),
        clock,
    }
}
