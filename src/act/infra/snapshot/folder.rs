//! The folder of snapshots: one folder each, with its manifest and files; made aside and renamed when it is whole.

use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::base::clock::Stamp;
use crate::base::text::hex;
use crate::plan::deploy::{Golden, Manifest, Part, of_environment, too_old};
use crate::plan::runbook::SnapshotSettings;

const MANIFEST: &str = "manifest.json";

/// Every snapshot that is whole, the newest first; and what is there that cannot be read.
pub fn list(folder: &Path) -> (Vec<Manifest>, Vec<String>) {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return (all, wrong),
        Err(e) => return (all, vec![format!("{}: {e}", folder.display())]),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is being made, or was left by somebody who was killed.
        if name.starts_with('.') || !entry.path().is_dir() {
            continue;
        }
        let read = std::fs::read_to_string(entry.path().join(MANIFEST)).map_err(|e| e.to_string());
        match read.and_then(|text| Manifest::parse(&text)) {
            Ok(manifest) if manifest.id == name => all.push(manifest),
            Ok(manifest) => wrong.push(format!("{name}: its manifest is that of {}", manifest.id)),
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.id.cmp(&a.id)));
    wrong.sort();
    (all, wrong)
}

/// A name that there is not yet.
pub fn id_for(settings: &SnapshotSettings, environment: &str, at: Stamp) -> std::io::Result<String> {
    let plain: String = environment.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let iso = at.iso();
    let time: String = iso.chars().take(19).filter(char::is_ascii_digit).collect();
    let stem = format!("{plain}-{}-{}", &time[..8], &time[8..]);
    for n in 0..100 {
        let id = if n == 0 { stem.clone() } else { format!("{stem}-{n}") };
        if !settings.folder.join(&id).exists() && !settings.folder.join(format!(".{id}")).exists() {
            return Ok(id);
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("a hundred snapshots {stem}")))
}

/// A snapshot that is being made. Without its end it goes.
pub struct Draft {
    path: PathBuf,
    whole: PathBuf,
    /// Held as long as it is being made.
    _held: std::fs::File,
}

impl Draft {
    pub fn begin(folder: &Path, id: &str) -> std::io::Result<Draft> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (path, whole) = (folder.join(format!(".{id}")), folder.join(id));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let held = std::fs::File::open(&path)?;
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Draft { path, whole, _held: held })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the manifest last, and gives it its name.
    pub fn finish(self, manifest: &Manifest) -> std::io::Result<()> {
        write_into(&self.path, manifest)?;
        for part in manifest.parts.iter().filter(|part| part.local) {
            std::fs::File::open(self.path.join(&part.file))?.sync_all()?;
        }
        std::fs::rename(&self.path, &self.whole)?;
        let parent = self.whole.parent().unwrap_or(Path::new("."));
        std::fs::File::open(parent)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What was renamed is not there any more.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn write_into(folder: &Path, manifest: &Manifest) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(manifest).map_err(Error::other)?;
    let draft = folder.join(".manifest");
    let mut file = std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(MANIFEST))?;
    std::fs::File::open(folder)?.sync_all()
}

/// Writes a changed manifest, whole.
pub fn write(settings: &SnapshotSettings, manifest: &Manifest) -> std::io::Result<()> {
    write_into(&settings.folder.join(&manifest.id), manifest)
}

/// Says that a snapshot is known to be good.
///
/// # Errors
/// When it cannot be written.
pub fn mark_golden(settings: &SnapshotSettings, manifest: &Manifest, golden: Option<Golden>) -> std::io::Result<Manifest> {
    let marked = Manifest { golden, ..manifest.clone() };
    write(settings, &marked)?;
    Ok(marked)
}

/// Removes what is kept no longer, and what somebody who was killed has left half made. Gives those that are gone.
pub fn prune(settings: &SnapshotSettings, environment: &str, now: Stamp) -> Vec<Manifest> {
    let all = of_environment(list(&settings.folder).0, environment);
    let mut gone = Vec::new();
    remove_left_drafts(&settings.folder);
    for manifest in too_old(&all, settings, now) {
        // Hidden first: what is half removed is never listed.
        let hidden = settings.folder.join(format!(".{}", manifest.id));
        if std::fs::rename(settings.folder.join(&manifest.id), &hidden).is_ok() {
            let _ = std::fs::remove_dir_all(&hidden);
            gone.push(manifest.clone());
        }
    }
    gone
}

/// After this long nobody is making it any more.
const LEFT: std::time::Duration = std::time::Duration::from_secs(86_400);

/// `.ENVIRONMENT-20261126-193943`, with a number behind it where there were several in a second.
fn is_draft(name: &str) -> bool {
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts: Vec<&str> = name.rsplit('-').collect();
    if parts.first().is_some_and(|last| last.len() <= 2) {
        parts.remove(0);
    }
    name.starts_with('.') && parts.len() > 2 && digits(parts[0], 6) && digits(parts[1], 8)
}

/// Removes what was being made by somebody who is gone: whoever makes one holds it.
fn remove_left_drafts(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_draft(&entry.file_name().to_string_lossy()) && entry.path().is_dir()) {
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        let is_free = std::fs::File::open(entry.path())
            .is_ok_and(|open| rustix::fs::flock(&open, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok());
        // A lock of another host is not seen here.
        if is_free && age.is_some_and(|age| age > LEFT) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The sum of a file, and its size.
pub fn sha256_of(file: &Path) -> std::io::Result<(String, u64)> {
    let mut read = std::fs::File::open(file)?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = read.read(&mut buffer)?;
        if n == 0 {
            return Ok((hex(&hasher.finalize()), size));
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
    }
}

/// What tells a file from another one of its name.
type FileState = (PathBuf, u64, u64, SystemTime);

/// A file's sum and size, read once for as long as the file is untouched: a rollback looks at it before its first step and again
/// before it is brought back.
fn summed(file: &Path) -> std::io::Result<(String, u64)> {
    static KNOWN: Mutex<Vec<(FileState, (String, u64))>> = Mutex::new(Vec::new());
    let state = |file: &Path| -> std::io::Result<FileState> {
        let meta = std::fs::metadata(file)?;
        Ok((file.to_path_buf(), meta.ino(), meta.len(), meta.modified()?))
    };
    let before = state(file)?;
    let found = KNOWN.lock().unwrap_or_else(|p| p.into_inner()).iter().find(|(known, _)| *known == before).map(|(_, sum)| sum.clone());
    if let Some(known) = found {
        return Ok(known);
    }
    let sum = sha256_of(file)?;
    // One that changed meanwhile, or only just, is not known.
    if state(file)? == before && before.3.elapsed().is_ok_and(|age| age > SETTLED) {
        let mut known = KNOWN.lock().unwrap_or_else(|p| p.into_inner());
        known.retain(|(state, _)| state.0 != before.0);
        known.push((before, sum.clone()));
    }
    Ok(sum)
}

/// After this long without a change a file's time tells whether it has changed again.
const SETTLED: Duration = Duration::from_secs(2);

/// Whether a file is the one that was written.
///
/// # Errors
/// What is wrong with it.
pub fn check_files(file: &Path, part: &Part) -> Result<(), String> {
    let (sum, size) = summed(file).map_err(|e| format!("{}: {e}", file.display()))?;
    if size != part.size {
        return Err(has_other_size(file, size, part));
    }
    if sum != part.sha256 {
        return Err(format!("{} has the sum {sum}, and had {}", file.display(), part.sha256));
    }
    Ok(())
}

/// The same without reading it: whether it is there, as large as it was written.
///
/// # Errors
/// What is wrong with it.
pub fn check_size(settings: &SnapshotSettings, manifest: &Manifest, part: &Part) -> Result<(), String> {
    let file = settings.folder.join(&manifest.id).join(&part.file);
    match std::fs::metadata(&file) {
        Ok(meta) if meta.len() == part.size => Ok(()),
        Ok(meta) => Err(has_other_size(&file, meta.len(), part)),
        Err(e) => Err(format!("{}: {e}", file.display())),
    }
}

fn has_other_size(file: &Path, size: u64, part: &Part) -> String {
    format!("{} has {size} bytes, and had {}", file.display(), part.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drafts_of_ours_are_ours() {
        for ours in [".rag-demo-20261126-193943", ".here-20261126-193943-1"] {
            assert!(is_draft(ours), "{ours}");
        }
        for other in [".git", ".stfolder", "rag-demo-20261126-193943", ".x-2026-11", ".20261126-193943", "."] {
            assert!(!is_draft(other), "{other}");
        }
    }
}
