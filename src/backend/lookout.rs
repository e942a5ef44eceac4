//! What a rollback depends on outside, looked at again and again by a thread of its own: the switch of the traffic, the
//! version that runs, the one that was green last. Nobody waits for it, and nothing is touched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::look::{COUNTING, FilesSeen, LookAt, Looked, NotFound, chosen, look_at_data, look_at_matrices, look_at_release};
use crate::act::infra::traffic::observe;
use crate::base::clock::Clock;
use crate::config::Config;
use crate::plan::deploy::Manifest;
use crate::plan::runbook::{SnapshotSettings, SwitchKind};

/// How often the switch is looked at.
const OFTEN: Duration = Duration::from_secs(2);
/// The same where that starts a program, and for versions.
const SELDOM: Duration = Duration::from_secs(10);
/// How often what would be lost is counted, and how often files are read whole.
const COUNTED: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(86_400);
/// What is looked at is left alone for so many times as long as looking took.
const REST: u32 = 20;
/// The longest rest.
const MOST: Duration = Duration::from_secs(600);
/// How soon the thread notices that it is not wanted any more.
const NOTICES: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Lookout {
    looked: Arc<Mutex<Looked>>,
    over: Arc<AtomicBool>,
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Lookout {
    /// Begins to look; without a switch there is never anything to see.
    pub fn start(config: &Arc<Config>) -> Lookout {
        let lookout = Lookout::default();
        if config.acting.settings.switch.is_some() {
            for look in [look_at_switch, look_at_versions, look_at_snapshots] {
                let (config, looked, over) = (config.clone(), lookout.looked.clone(), lookout.over.clone());
                // Without a thread nothing is seen, and that is said where it is shown.
                let _ = std::thread::Builder::new().name("lookout".into()).spawn(move || look(&config, &looked, &over));
            }
        }
        lookout
    }

    /// What was seen last.
    pub fn looked(&self) -> Looked {
        self.looked.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }
}

fn look_at_switch(config: &Config, looked: &Mutex<Looked>, over: &AtomicBool) {
    let Some(switch) = &config.acting.settings.switch else { return };
    let every = match switch.kind {
        SwitchKind::Command { .. } | SwitchKind::Kubectl(_) => SELDOM,
        SwitchKind::Http { .. } | SwitchKind::Haproxy { .. } | SwitchKind::File { .. } => OFTEN,
    };
    again_and_again((every, 1), over, async || {
        let seen = observe(switch, &Clock::System).await;
        looked.lock().unwrap_or_else(|p| p.into_inner()).observed = Some(seen);
    });
}

fn look_at_versions(config: &Config, looked: &Mutex<Looked>, over: &AtomicBool) {
    let Some(release) = &config.acting.settings.release else { return };
    again_and_again((SELDOM, 1), over, async || {
        let ((green, running), matrices) =
            tokio::join!(look_at_release(config, Some(release), COUNTING), look_at_matrices(config, COUNTING));
        let mut looked = looked.lock().unwrap_or_else(|p| p.into_inner());
        (looked.green, looked.running, looked.matrices) = (green, running, matrices);
        looked.versions_at = Some(Clock::System.now());
    });
}

/// What came of reading a snapshot's files whole.
#[derive(Clone)]
struct FilesRead {
    of: String,
    at: Instant,
    checked: Result<FilesSeen, NotFound>,
}

fn look_at_snapshots(config: &Config, looked: &Mutex<Looked>, over: &AtomicBool) {
    let Some(settings) = &config.acting.settings.snapshots else { return };
    // Files are read whole when another snapshot is the one to go back to, and then now and then.
    let read: Mutex<Option<FilesRead>> = Mutex::default();
    let environment = &config.environment.name;
    again_and_again((COUNTED, REST), over, async || {
        let id = chosen(settings, environment).map(|manifest| files_of(settings, &manifest)).unwrap_or_default();
        let known = read.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let fresh = known.filter(|read| read.of == id && read.at.elapsed() < READ);
        let at = if fresh.is_none() { LookAt::Files } else { LookAt::Data };
        let mut data = look_at_data(settings, environment, at, COUNTING).await;
        match fresh {
            Some(read) => data.files = read.checked,
            None => {
                let now = FilesRead { of: id, at: Instant::now(), checked: data.files.clone() };
                *read.lock().unwrap_or_else(|p| p.into_inner()) = Some(now);
            }
        }
        let mut looked = looked.lock().unwrap_or_else(|p| p.into_inner());
        (looked.data, looked.data_at) = (Some(data), Some(Clock::System.now()));
    });
}

/// The files of a snapshot as the folder has them: what has another size or time is read again.
fn files_of(settings: &SnapshotSettings, manifest: &Manifest) -> String {
    let of = |file: &str| {
        let meta = std::fs::metadata(settings.folder.join(&manifest.id).join(file)).ok()?;
        Some(format!("{} {:?}", meta.len(), meta.modified().ok()?))
    };
    let files: Vec<String> = manifest.parts.iter().map(|part| format!("{} {:?}", part.file, of(&part.file))).collect();
    format!("{} {}", manifest.id, files.join(" "))
}

fn again_and_again((every, rest): (Duration, u32), over: &AtomicBool, look: impl AsyncFn()) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    while !over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        runtime.block_on(look());
        let every = every.max(begun.elapsed().saturating_mul(rest).min(MOST));
        while begun.elapsed() < every && !over.load(Ordering::SeqCst) {
            std::thread::sleep(NOTICES);
        }
    }
}
