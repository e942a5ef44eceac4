//! The state folder: `runs/<id>/`, `open/`, `outbox/`, `lock/`. Everything in it is its owner's alone; looser permissions are
//! refused, because whoever can write here can make a runner act.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::disk::{sync_folder, write_private};
use crate::plan::runbook::Plan;

#[derive(Clone, Debug, PartialEq)]
pub struct StateDir {
    root: PathBuf,
    /// Where runs of it are that no disk had room for, if there are any.
    memory: PathBuf,
}

/// Where records stand that no disk has room for, until the machine ends: a folder for each state folder.
const MEMORY: &str = "/dev/shm";

impl StateDir {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When it cannot be made, is somebody else's, or others may get in.
    pub fn open(root: &Path) -> Result<StateDir, String> {
        let state = StateDir { root: root.to_path_buf(), memory: in_memory(root) };
        for folder in [state.root.clone(), state.runs(), state.outbox(), state.locks(), state.open_marks()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
            private(&folder)?;
        }
        state.bring_home();
        Ok(state)
    }

    /// Whether the folder could be opened, or made: nothing is made.
    ///
    /// # Errors
    /// Why not.
    pub fn could_be_opened(root: &Path) -> Result<(), String> {
        if root.exists() {
            private(root)?;
        }
        let there = root.ancestors().find(|folder| folder.exists() || folder.as_os_str().is_empty()).unwrap_or(root);
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        let rights = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(there, rights).map_err(|e| format!("nothing can be written to {}: {e}", there.display()))
    }

    /// Opens the folder in memory that stands for one on a disk without room.
    ///
    /// # Errors
    /// When there is none that is ours alone.
    pub fn open_in_memory(root: &Path) -> Result<StateDir, String> {
        let of_all = of_user();
        DirBuilder::new().recursive(true).mode(0o700).create(&of_all).map_err(|e| format!("cannot make {}: {e}", of_all.display()))?;
        ours_alone()?;
        StateDir::open(&in_memory(root))
    }

    /// The folder in memory, where runs had to be kept there.
    pub fn kept_in_memory(root: &Path) -> Option<StateDir> {
        let memory = in_memory(root);
        (memory.join("runs").is_dir() && ours_alone().is_ok()).then(|| StateDir::open(&memory).ok()).flatten()
    }

    /// Where else runs of it are.
    fn elsewhere(&self, id: &str) -> Option<PathBuf> {
        self.memory().map(|memory| memory.join("runs").join(id)).filter(|folder| folder.is_dir())
    }

    /// The folder in memory, where there is one by now that nobody else can have made.
    fn memory(&self) -> Option<&Path> {
        let is_ours = self.memory.join("runs").is_dir() && ours_alone().is_ok() && private(&self.memory).is_ok();
        is_ours.then_some(&*self.memory)
    }

    /// Whether a run is kept in memory as yet: its own runner tells whom it has to tell.
    pub fn is_in_memory(&self, id: &str) -> bool {
        !self.runs().join(id).exists() && self.elsewhere(id).is_some()
    }

    /// A run in memory that is over goes to where the others are as soon as there is room.
    pub fn bring_home(&self) {
        let Some(memory) = self.memory() else { return };
        for id in names_in(&memory.join("runs")) {
            let (from, to) = (memory.join("runs").join(&id), self.runs().join(&id));
            // Whoever holds the journal's lock drives it, or brings it home.
            let Ok(journal) = std::fs::File::options().write(true).open(from.join("journal.jsonl")) else { continue };
            if journal.try_lock().is_err() || to.exists() || !is_over(&from) {
                continue;
            }
            let draft = self.runs().join(format!(".{id}.{}", std::process::id()));
            // Whole or not at all, and on disk before it is gone from where it was.
            let brought = self
                .bring_outbox(memory, &id)
                .and_then(|()| copy_folder(&from, &draft))
                .and_then(|()| std::fs::rename(&draft, &to))
                .and_then(|()| sync_folder(&self.runs()));
            match brought {
                Ok(()) => drop(std::fs::remove_dir_all(&from)),
                Err(_) => drop(std::fs::remove_dir_all(&draft)),
            }
        }
    }

    /// What was sent of a run there is not sent again from here.
    fn bring_outbox(&self, memory: &Path, id: &str) -> std::io::Result<()> {
        for folder in ["", "sent", "refused"] {
            let (from, to) = (memory.join("outbox").join(folder), self.outbox().join(folder));
            for name in names_in(&from).iter().filter(|name| name.contains(id) && from.join(name).is_file()) {
                DirBuilder::new().recursive(true).mode(0o700).create(&to)?;
                std::fs::copy(from.join(name), to.join(name))?;
            }
        }
        Ok(())
    }

    /// When a run has come or gone last.
    ///
    /// # Errors
    /// When the folder cannot be looked at.
    pub fn changed(&self) -> std::io::Result<std::time::SystemTime> {
        let of = |folder: PathBuf| std::fs::metadata(folder).and_then(|meta| meta.modified());
        let own = of(self.runs())?;
        Ok(self.memory().and_then(|memory| of(memory.join("runs")).ok()).map_or(own, |other| own.max(other)))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub fn run(&self, id: &str) -> PathBuf {
        let own = self.runs().join(id);
        if own.exists() { own } else { self.elsewhere(id).unwrap_or(own) }
    }

    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    pub fn locks(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// A mark for each run that is not over, or has left something at work: what has to be looked at before another begins.
    fn open_marks(&self) -> PathBuf {
        self.root.join("open")
    }

    /// Runs that are not over, or have left something at work. Costs the same however many there were before; marks of
    /// before there were any are made anew.
    pub fn open_runs(&self) -> Vec<String> {
        let folder = self.open_marks();
        if !folder.join(COMPLETE).exists() {
            self.mark_all();
        }
        let in_memory = self.memory().into_iter().flat_map(|memory| names_in(&memory.join("open")));
        let mut ids: Vec<String> = names_in(&folder).into_iter().chain(in_memory).filter(|name| name != COMPLETE).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    }

    fn mark_all(&self) {
        for id in self.ids().iter().filter(|id| !is_over(&self.run(id))) {
            let _ = std::fs::write(self.open_marks().join(id), "");
        }
        let _ = std::fs::write(self.open_marks().join(COMPLETE), "");
    }

    /// Takes a run's mark away: it is over, and nothing of it is at work.
    pub fn close_run(&self, id: &str) {
        for root in std::iter::once(&*self.root).chain(self.memory()) {
            let _ = std::fs::remove_file(root.join("open").join(id));
        }
    }

    /// The newest runs, without a look at the others.
    pub fn newest(&self, count: usize) -> Vec<String> {
        let mut ids = names_in(&self.runs());
        ids.extend(self.memory().into_iter().flat_map(|memory| names_in(&memory.join("runs"))));
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        ids.truncate(count);
        ids
    }

    /// The ids of all runs, the newest first; none where they cannot be read.
    pub fn ids(&self) -> Vec<String> {
        self.list().unwrap_or_default()
    }

    /// The ids of all runs, the newest first: ids sort by time.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(self.runs()).map_err(|e| format!("cannot read {}: {e}", self.runs().display()))?;
        let others = self.memory().and_then(|memory| std::fs::read_dir(memory.join("runs")).ok()).into_iter().flatten();
        let mut ids: Vec<String> = entries
            .chain(others)
            .flatten()
            .filter(|e| !e.file_name().as_encoded_bytes().starts_with(b"."))
            .filter(|e| ["plan.json", "journal.jsonl"].iter().any(|file| e.path().join(file).is_file()))
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        Ok(ids)
    }

    /// The run an operator means: an id, or the end or beginning of one.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, wanted: &str) -> Result<String, String> {
        let ids = self.ids();
        let wanted = wanted.to_ascii_uppercase();
        let found: Vec<&String> = ids.iter().filter(|id| id.starts_with(&wanted) || id.ends_with(&wanted)).collect();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(format!("there is no run `{wanted}`; `lastgreen runs` lists them")),
            many => Err(format!("`{wanted}` could be any of {} runs", many.len())),
        }
    }

    /// Makes a run's folder with its plan.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make_run(&self, id: &str, plan: &Plan) -> Result<PathBuf, String> {
        let folder = self.run(id);
        let failed = |e: std::io::Error| format!("cannot write {}: {e}", folder.display());
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        DirBuilder::new().mode(0o700).create(folder.join("output")).map_err(failed)?;
        // A plan is a tree of texts, numbers and lists: it always has a JSON form.
        let text = serde_json::to_vec_pretty(plan).unwrap_or_default();
        std::fs::write(self.open_marks().join(id), "").map_err(failed)?;
        // Whole or not at all: a plan that was cut off would be a run that nobody can show.
        let draft = folder.join(".plan.json");
        write_private(&draft, &text).and_then(|()| std::fs::rename(&draft, folder.join("plan.json"))).map_err(failed)?;
        sync_folder(&folder).and_then(|()| sync_folder(&self.runs())).map_err(failed)?;
        Ok(folder)
    }

    /// Takes away what there is of a run that could not be made.
    pub fn unmake_run(&self, id: &str) {
        let _ = std::fs::remove_dir_all(self.run(id));
        let _ = std::fs::remove_file(self.open_marks().join(id));
    }

    /// A run's plan.
    ///
    /// # Errors
    /// When it cannot be read or was changed.
    pub fn plan(&self, id: &str) -> Result<Plan, String> {
        let path = self.run(id).join("plan.json");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Plan::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// The mark which says that every run that is open has one.
const COMPLETE: &str = ".complete";

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name == COMPLETE || !name.starts_with('.'))
        .collect()
}

/// Whether a run has ended, with nothing of it at work.
fn is_over(folder: &Path) -> bool {
    let ended = |line: &super::record::JournalLine| matches!(line.record.event, crate::plan::runbook::Event::Ended { .. });
    super::file::read(folder).is_ok_and(|replay| replay.lines.last().is_some_and(ended)) && !folder.join("script.pid").exists()
}

fn of_user() -> PathBuf {
    Path::new(MEMORY).join(format!("lastgreen-{}", rustix::process::getuid().as_raw()))
}

/// Anybody may put anything there under our name: also a way to somewhere else.
fn ours_alone() -> Result<(), String> {
    let folder = of_user();
    match std::fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir()) {
        true => private(&folder),
        false => Err(format!("{} is no folder", folder.display())),
    }
}

/// The folder in memory that stands for a state folder, however that is spelt.
fn in_memory(root: &Path) -> PathBuf {
    use sha2::{Digest, Sha256};
    let path = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    // What is not there yet has no real path: what it will be in has.
    let real = path.ancestors().find_map(|there| Some(there.canonicalize().ok()?.join(path.strip_prefix(there).ok()?)));
    let sum = Sha256::digest(real.unwrap_or(path).as_os_str().as_encoded_bytes());
    of_user().join(&crate::base::text::hex(&sum)[..16])
}

/// Files and folders; what else a run had (pipes, sockets) was for the time it was at work.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &to)?;
            std::fs::File::open(&to)?.sync_all()?;
        }
    }
    sync_folder(to)
}

/// # Errors
/// When the path is another user's, or others may read or write it.
pub fn private(path: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot look at {}: {e}", path.display()))?;
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us {
        return Err(format!("{} belongs to another user", path.display()));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let right = if meta.is_dir() { "700" } else { "600" };
        return Err(format!("{} is open to others (mode {mode:o}): chmod {right} {}", path.display(), path.display()));
    }
    Ok(())
}

/// # Errors
/// When anybody could have written the file, or put another in its place.
pub fn trusted(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let around = std::fs::metadata(folder).map_err(|e| format!("cannot look at {}: {e}", folder.display()))?.permissions().mode();
    // A sticky folder lets nobody replace what is somebody else's.
    if around & 0o002 != 0 && around & 0o1000 == 0 {
        return Err(format!("anybody may put files into {} (mode {:o}): chmod o-w {}", folder.display(), around & 0o777, folder.display()));
    }
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot look at {}: {e}", path.display()))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        return Err(format!("anybody may write {} (mode {mode:o}): chmod o-w {}", path.display(), path.display()));
    }
    // In a folder that is open to all, whose file it is says who wrote it.
    let us = rustix::process::geteuid().as_raw();
    if around & 0o002 != 0 && meta.uid() != us && meta.uid() != 0 {
        return Err(format!("{} belongs to another user, in a folder where anybody may put files", path.display()));
    }
    Ok(())
}
