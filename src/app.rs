//! Where the rooms are joined: only `main` calls this. It finds the configuration, starts the sources, and opens the
//! cockpit or runs a headless command.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use color_eyre::eyre::{Result, WrapErr, eyre};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::{Clients, Operations, Worker, connect_again, describe_nowhere, first_snapshot, start_logging, start_plain_logging};
use crate::base::clock::{Clock, show_local};
use crate::base::exit;
use crate::cli::{self, Cli, Sub};
use crate::config::{self, Config, Discovered, TimeChoice};
use crate::demo;
use crate::joined::{Joined, Wishes, read_files, words};
use crate::judge::Verdict;
use crate::observe::source::Mailbox;
use crate::show::cockpit::State;
use crate::show::terminal::{CockpitSession, KeyScript, Screen, can_be_asked, give_back_raw_mode, restore, said_light};
use crate::show::theme::{self, Depth};
use crate::show::view;

/// Whoever has read enough has closed the pipe, and that is no fault.
fn unless_nobody_reads(printed: std::io::Result<()>) -> Result<u8> {
    match printed {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(exit::DONE),
    }
}

/// Runs the program; the result is the exit code.
///
/// # Errors
/// What could not be done at all.
pub fn main() -> Result<u8> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return Ok(if e.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    // One provider for every TLS client of the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match &cli.command {
        Some(Sub::Completions { shell }) => {
            return unless_nobody_reads(cli::print_completions(*shell, &mut std::io::stdout()));
        }
        Some(Sub::Man) => {
            return unless_nobody_reads(cli::print_man(&mut std::io::stdout()));
        }
        Some(Sub::Show(args)) => {
            return Ok(cli::show(args).unwrap_or_else(|error| error.report(false)));
        }
        Some(Sub::Demo(args)) => return run_demo(&cli, args),
        Some(Sub::Init(args)) => {
            start_plain_logging();
            let runtime = sources_runtime()?;
            // Whoever names the configuration means where to write it.
            let output = cli.config.as_ref().filter(|_| args.output == Path::new("lastgreen.toml")).unwrap_or(&args.output);
            return Ok(match cli::init(output, &args.endpoints, &args.name, &runtime) {
                Ok(text) => say(&text, exit::DONE),
                Err((text, code)) => complain(&text, code),
            });
        }
        Some(Sub::Canary(args)) if args.judges() => return Ok(cli::judge_points(args).unwrap_or_else(|e| e.report(args.json()))),
        Some(Sub::Runner(args)) => {
            return Ok(cli::runner(args));
        }
        _ => {}
    }
    let variable = std::env::var("LASTGREEN_CONFIG").ok();
    let path = match config::discover(cli.config.as_deref(), variable.as_deref()) {
        Discovered::File(path) => path,
        Discovered::Missing(path, by) => {
            let what = if path.is_dir() { "which is a folder: name the file in it" } else { "which is not there" };
            return Ok(unfit(&cli, &format!("{by} names {}, {what}\n", path.display())));
        }
        Discovered::Nowhere(places) => return Ok(unfit(&cli, &describe_nowhere(&places))),
    };
    match &cli.command {
        Some(Sub::Check(args)) => {
            start_plain_logging();
            if args.export_rules {
                return export_rules(&path);
            }
            let named = cli::NamedLooks { theme: cli.theme.as_deref(), keymap: cli.keymap.as_deref() };
            let runtime = sources_runtime()?;
            let (text, code) = cli::check(args, named, &path, &runtime);
            runtime.shutdown_background();
            Ok(say(&text, code))
        }
        Some(Sub::Status(args)) => {
            start_plain_logging();
            let config = match load(&path) {
                Ok(config) => config,
                Err(words) => return Ok(unfit(&cli, &words)),
            };
            let runtime = sources_runtime()?;
            let told = cli::status(&Arc::new(config), &runtime, args.json);
            // A secret's command that hangs is waited for by nobody.
            runtime.shutdown_background();
            match told {
                Ok((text, code)) => Ok(say(&text, code)),
                Err(words) => Ok(unfit(&cli, &format!("{words}\n"))),
            }
        }
        None => open(&cli, &path, None, &Endings::take()?),
        Some(command) => act(&cli, command, &path),
    }
}

/// Plans, runs, and what is on record: everything that is an operation on runs.
fn act(cli: &Cli, command: &Sub, path: &Path) -> Result<u8> {
    start_plain_logging();
    let config = match load(path) {
        Ok(config) => config,
        // Only what is planned anew needs a sound configuration: runs carry their own, and an abort is never refused.
        Err(words) if matches!(command, Sub::Run(_) | Sub::Canary(_) | Sub::Rollback(_) | Sub::Snapshot(_) | Sub::Gate(_)) => {
            return Ok(unfit(cli, &words));
        }
        Err(words) => {
            complain(&format!("{words}the configuration is not sound; runs are looked for where it says, and carry what they need\n"), 0);
            config::load_bare(path)
        }
    };
    let mut operations = Operations::new(Arc::new(config), cli.read_only);
    let (done, json) = match command {
        Sub::Run(args) => (cli::run(args, &mut operations), args.begin.json),
        Sub::Canary(args) => (cli::canary(args, &mut operations, &sources_runtime()?), args.json()),
        Sub::Rollback(args) => (cli::rollback(args, &mut operations, &sources_runtime()?), args.json()),
        Sub::Snapshot(args) => (cli::snapshot(args, &mut operations, &sources_runtime()?), args.json()),
        Sub::Gate(args) => (cli::gate(args, &operations, &sources_runtime()?), args.json),
        Sub::Runs(args) => (cli::runs(args, &mut operations), args.json),
        Sub::Attach(args) => (cli::attach(args, &mut operations), args.json),
        Sub::Resume(args) => (cli::resume(args, &mut operations), false),
        Sub::Abort(args) => (cli::abort(args, &mut operations), false),
        Sub::Audit(args) => (cli::audit(args, &mut operations, &sources_runtime()?), args.json()),
        // The others were done before.
        _ => (Ok(exit::USAGE), false),
    };
    Ok(done.unwrap_or_else(|error| error.report(json)))
}

/// There is no configuration to go by: said as whoever asked reads it.
fn unfit(cli: &Cli, words: &str) -> u8 {
    let json = match &cli.command {
        // A monitoring plugin knows four answers.
        Some(Sub::Status(args)) => return say(&cli::blind(words, args.json), complain(words, Verdict::Unknown.exit_code())),
        Some(Sub::Run(args)) => args.begin.json,
        Some(Sub::Canary(args)) => args.json(),
        Some(Sub::Rollback(args)) => args.json(),
        Some(Sub::Snapshot(args)) => args.json(),
        Some(Sub::Gate(args)) => args.json,
        Some(Sub::Runs(args)) => args.json,
        _ => false,
    };
    cli::CommandError::bad_file(words).report(json)
}

fn say(text: &str, code: u8) -> u8 {
    // A reader that has gone (`| head`) is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

fn complain(text: &str, code: u8) -> u8 {
    let _ = std::io::stderr().write_all(text.as_bytes());
    code
}

/// Starts the log that the cockpit shows: everything down to debug is kept.
fn start_shown_logging() {
    let drain = tui_logger::Drain::new();
    start_logging(Some(Box::new(move |record| drain.log(record))), log::LevelFilter::Debug);
    tui_logger::set_default_level(log::LevelFilter::Debug);
}

fn export_rules(path: &Path) -> Result<u8> {
    let config = match load(path) {
        Ok(config) => config,
        Err(words) => return Ok(complain(&words, exit::BAD_FILE)),
    };
    let (text, left) = cli::export(&config);
    for (name, why) in &left {
        complain(&format!("not expressible: {name}: {why}\n"), exit::DONE);
    }
    Ok(say(&text, exit::DONE))
}

/// A configuration, or what is wrong with it.
fn load(path: &Path) -> Result<Config, String> {
    let loaded = config::load_file(path).map_err(|e| format!("{}: cannot be read: {e}\n", path.display()))?;
    let config = loaded.config.ok_or_else(|| words(&loaded.findings))?;
    show_local(config.ui.time == TimeChoice::Local);
    Ok(config)
}

fn sources_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sources")
        .enable_all()
        .build()
        .wrap_err("cannot start the sources' threads")
}

/// The stories that the demo plays by itself.
const STORIES: [(&str, &str); 2] =
    [("rollback", include_str!("../assets/scripts/rollback.keys")), ("canary", include_str!("../assets/scripts/canary.keys"))];

/// The keys in a file, or of a story.
fn read_script(path: &Path) -> Result<KeyScript, String> {
    let told = |cause: &dyn std::fmt::Display| format!("{}: {cause}\n", path.display());
    let shipped = STORIES.iter().find(|(name, _)| path == Path::new(name));
    let text = match shipped {
        Some((_, text)) => (*text).to_string(),
        None => std::fs::read_to_string(path).map_err(|e| told(&e))?,
    };
    KeyScript::parse(&text).map_err(|e| told(&e))
}

fn run_demo(cli: &Cli, args: &cli::DemoArgs) -> Result<u8> {
    let Some(scenario) = demo::Scenario::parse(&args.scenario) else {
        let hint = crate::base::diag::suggestion(&args.scenario, demo::Scenario::NAMES);
        return Ok(complain(&format!("there is no scenario `{}`: {}\n", args.scenario, hint.unwrap_or_default()), exit::USAGE));
    };
    let script = match args.script.as_deref().map(read_script).transpose() {
        Ok(script) => script,
        Err(words) => return Ok(complain(&words, exit::BAD_FILE)),
    };
    if args.headless {
        start_plain_logging()
    } else {
        start_shown_logging()
    };
    let runtime = sources_runtime()?;
    let endings = Endings::take()?;
    let starting = async {
        tokio::select! {
            system = demo::start(scenario, args.seed) => Some(system),
            () = endings.come() => None,
        }
    };
    let Some(system) = runtime.block_on(starting) else { return Ok(exit::DONE) };
    let system = system.wrap_err("cannot start the embedded system")?;
    *endings.folder.lock().unwrap_or_else(|p| p.into_inner()) = system.config_path().parent().map(Path::to_path_buf);
    // There is something to go back to from the start.
    if let Ok(config) = load(&system.config_path()) {
        runtime.spawn(async move {
            if let Err(why) = first_snapshot(&config, "as it was when the demo began").await {
                log::warn!(target: "demo", "there is no first snapshot: {why}");
            }
        });
    }
    if args.headless {
        say(&system.describe(), exit::DONE);
        runtime.block_on(endings.come());
        return Ok(exit::DONE);
    }
    let ended = open(cli, &system.config_path(), script, &endings);
    drop(system);
    // Whatever is still being computed is of no use to anybody.
    runtime.shutdown_background();
    ended
}

/// The signals that end the program. They are waited for in a thread of their own, so that nothing which is stuck (a
/// source, a secret's command, a write to a dead terminal) keeps the program from ending.
struct Endings {
    come: tokio::sync::watch::Receiver<bool>,
    /// A folder that must not be left behind, whatever happens.
    folder: Arc<Mutex<Option<PathBuf>>>,
}

/// How long an orderly end may take.
const GRACE: Duration = Duration::from_secs(6);

impl Endings {
    /// Takes the signals over, from now on.
    fn take() -> Result<Endings> {
        let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().wrap_err("cannot wait for signals")?;
        let mut streams = Vec::new();
        {
            let _inside = waiting.enter();
            for kind in [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()] {
                streams.push(signal(kind).wrap_err("cannot take over the signals")?);
            }
        }
        let (tell, come) = tokio::sync::watch::channel(false);
        let folder: Arc<Mutex<Option<PathBuf>>> = Arc::default();
        let left = folder.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let waits = streams.iter_mut().map(|stream| Box::pin(stream.recv()));
            waiting.block_on(futures_util::future::select_all(waits));
            tell.send_replace(true);
            std::thread::sleep(GRACE);
            // Whoever should have ended is stuck: nothing is written any more, because that may be what it is stuck in.
            give_back_raw_mode();
            if let Some(folder) = left.lock().unwrap_or_else(|p| p.into_inner()).take() {
                let _ = std::fs::remove_dir_all(folder);
            }
            std::process::exit(i32::from(exit::FAILED));
        })?;
        Ok(Endings { come, folder })
    }

    /// Comes back when somebody wants the program to end.
    async fn come(&self) {
        let mut come = self.come.clone();
        // The sender's thread lives as long as the program.
        let _ = come.wait_for(|come| *come).await;
    }
}

/// Opens the cockpit on a configuration.
fn open(cli: &Cli, path: &Path, script: Option<KeyScript>, endings: &Endings) -> Result<u8> {
    if cli.command.is_none() {
        start_shown_logging();
    }
    let wishes = Wishes {
        theme: cli.theme.clone(),
        keymap: cli.keymap.clone(),
        color: cli.color.map(Into::into),
        glyphs: cli.glyphs.map(Into::into),
        light: said_light(|name| std::env::var(name).ok()),
    };
    let files = match read_files(path, &wishes) {
        Ok(files) => files,
        Err(words) => return Ok(complain(&words, exit::BAD_FILE)),
    };
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Ok(complain("the cockpit needs a terminal; without one there is `lastgreen status`\n", exit::USAGE));
    }
    install_panic_hook()?;
    let runtime = sources_runtime()?;
    let mut screen = Screen::enter(files.config.ui.mouse).wrap_err("cannot take the terminal")?;
    screen.in_sixteen_colours(files.theme.depth == Depth::Ansi);
    let mailbox = Arc::new(Mailbox::default());
    let window = files.config.ui.window;
    let mut clients = Clients::default();
    let poller = connect_again(&files.config, runtime.handle(), (window, mailbox.clone()), &mut clients).map_err(|e| eyre!(e))?;
    let mut state = State::new(files.config.clone(), files.keymap.clone(), Clock::System.now());
    state.read_only = cli.read_only;
    let (config, read_only) = (files.config.clone(), cli.read_only);
    let clerk = Worker::start(move || Operations::new(config, read_only));
    let joined = Joined {
        path: path.to_path_buf(),
        wishes,
        runtime: &runtime,
        mailbox,
        poller: Some(poller),
        clients,
        seen: Vec::new(),
        theme: files.theme.name.clone(),
        config: files.config,
        clerk,
    };
    let asks =
        joined.config.ui.theme == theme::AUTO && files.theme.depth >= Depth::Indexed && can_be_asked(|name| std::env::var(name).ok());
    let mut session = CockpitSession::new(screen, state, files.theme, joined);
    if asks {
        session.ask_for_background().wrap_err("cannot write to the terminal")?;
    }
    let looks = tokio::runtime::Builder::new_current_thread().enable_all().build().wrap_err("cannot start the loop")?;
    let ended = looks.block_on(session.run(endings.come(), script));
    restore();
    runtime.shutdown_background();
    match ended {
        // A script of keys that was not answered: the terminal is sound.
        Err(e) if e.kind() == std::io::ErrorKind::TimedOut => Ok(complain(&e.to_string(), exit::FAILED)),
        Ok(goes_on) => {
            // The demo takes its runs along.
            for words in goes_on.iter().filter(|_| cli.command.is_none()) {
                eprintln!("{words}");
            }
            Ok(exit::DONE)
        }
        Err(e) => Err(e).wrap_err("the terminal is gone"),
    }
}

/// A panic gives the terminal back before it speaks; one in a panel is the panel's own affair.
fn install_panic_hook() -> Result<()> {
    let (panic_hook, eyre_hook) = color_eyre::config::HookBuilder::default().display_env_section(false).into_hooks();
    eyre_hook.install()?;
    let loops = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        // A panel says it itself; other threads' panics are caught where they happen, and end nothing.
        if view::is_drawing_panel() || std::thread::current().id() != loops {
            log::error!(target: "cockpit", "{info}");
            return;
        }
        restore();
        eprintln!("{}", panic_hook.panic_report(info));
    }));
    Ok(())
}
