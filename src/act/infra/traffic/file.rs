//! A switch that is a file of weights, written whole, and a command that makes it count: nginx' `split_clients`, Traefik's
//! file provider. A file that its own check refuses is put back as it was.

use std::io::{ErrorKind, Write};
use std::path::Path;

use super::NotSet;
use crate::act::infra::command::run;
use crate::observe::reading::{Fault, FaultKind};
use crate::plan::runbook::{ALL, Seen, Switch, Weight};

/// The weight whose file this is.
pub fn observe(switch: &Switch, path: &Path, template: &str) -> Result<Seen, Fault> {
    let local = |e: String| Fault::new(FaultKind::Local, e);
    let text = std::fs::read_to_string(path).map_err(|e| local(format!("cannot be read: {e}")))?;
    for weight in 0..=ALL {
        if switch.render(template, weight).map_err(local)?.trim_end() == text.trim_end() {
            let note = "as written: whether it counts is not observed".into();
            return Ok(Seen { note, ..Seen::of(f64::from(weight)) });
        }
    }
    Err(Fault::new(FaultKind::Garbage, "it holds something else than the template with any weight: somebody has written it by hand"))
}

pub async fn set(
    switch: &Switch,
    path: &Path,
    template: &str,
    (check, reload): (&[String], &[String]),
    weight: Weight,
) -> Result<String, NotSet> {
    let text = switch.render(template, weight).map_err(NotSet::before)?;
    let (check, reload) = switch.argv(check, weight).and_then(|c| Ok((c, switch.argv(reload, weight)?))).map_err(NotSet::before)?;
    let told = |what: &str, e: std::io::Error| NotSet::before(format!("{}: {what}: {e}", path.display()));
    let before = match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(told("cannot be read", e)),
    };
    replace(path, Some(text.as_bytes())).map_err(|e| told("cannot be written", e))?;
    for command in [check, reload].into_iter().filter(|command| !command.is_empty()) {
        let Err(fault) = run(command, switch.within).await else { continue };
        return Err(match replace(path, before.as_deref()) {
            Ok(()) => NotSet { message: format!("{}; the file is as it was before", fault.message), touched: true },
            Err(e) => NotSet { message: format!("{}; and the file could not be put back: {e}", fault.message), touched: true },
        });
    }
    Ok("written, and loaded".into())
}

/// The file has this in it, whole and on disk, or is not there; whoever may read it may go on reading it.
fn replace(path: &Path, text: Option<&[u8]>) -> std::io::Result<()> {
    let Some(text) = text else { return std::fs::remove_file(path) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".lastgreen-").tempfile_in(folder)?;
    draft.write_all(text)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let permissions = std::fs::metadata(path).map_or(readable, |meta| meta.permissions());
    draft.as_file().set_permissions(permissions)?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}
