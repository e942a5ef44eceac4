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
}

impl StateDir {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When it cannot be made, is somebody else's, or others may get in.
    pub fn open(root: &Path) -> Result<StateDir, String> {
        let state = StateDir { root: root.to_path_buf() };
        for folder in [state.root.clone(), state.runs(), state.outbox(), state.locks(), state.open_marks()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
            private(&folder)?;
        }
        Ok(state)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub fn run(&self, id: &str) -> PathBuf {
        self.runs().join(id)
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
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut ids: Vec<String> = names.filter(|name| name != COMPLETE).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    }

    fn mark_all(&self) {
        let over = |id: &String| {
            let ended = |line: &super::record::JournalLine| matches!(line.record.event, crate::plan::runbook::Event::Ended { .. });
            super::file::read(&self.run(id)).is_ok_and(|replay| replay.lines.last().is_some_and(ended))
                && !self.run(id).join("script.pid").exists()
        };
        for id in self.ids().iter().filter(|id| !over(id)) {
            let _ = std::fs::write(self.open_marks().join(id), "");
        }
        let _ = std::fs::write(self.open_marks().join(COMPLETE), "");
    }

    /// Takes a run's mark away: it is over, and nothing of it is at work.
    pub fn close_run(&self, id: &str) {
        let _ = std::fs::remove_file(self.open_marks().join(id));
    }

    /// The newest runs, without a look at the others.
    pub fn newest(&self, count: usize) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.runs()) else { return Vec::new() };
        let mut ids: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
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
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|e| ["plan.json", "journal.jsonl"].iter().any(|file| e.path().join(file).is_file()))
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
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
