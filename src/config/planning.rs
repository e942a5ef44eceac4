//! From a configuration to what plans are made against, and the runbooks it has: its folder's, over its profile's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::model::{Config, SourceKind};
use super::profiles::{PROFILES, SHIPPED};
use crate::base::clock::Stamp;
use crate::base::diag::{Diagnostic, Severity};
use crate::base::text::hex;
use crate::plan::runbook::{FrozenConfig, LoadedRunbook, PlanEnvironment, PlanningContext, load};

/// Every runbook, by name; those with mistakes have findings instead.
pub fn runbooks(config: &Config, now: Stamp) -> Vec<LoadedRunbook> {
    let mut found: IndexMap<String, LoadedRunbook> = IndexMap::new();
    let profile = PROFILES.iter().find(|p| config.acting.profile.as_deref() == Some(p.name));
    let of_profile = profile.iter().flat_map(|p| p.runbooks.iter().map(|file| (p.name, file)));
    for (whose, (file, text)) in SHIPPED.iter().map(|file| (SHIPPED_AS, file)).chain(of_profile) {
        if is_offered(config, file.trim_end_matches(".yaml")) {
            let loaded = load(&shipped_path(whose, file), text, now);
            found.insert(loaded.name.clone(), loaded);
        }
    }
    let folder = &config.acting.runbooks;
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        // Without a folder of its own a configuration has none; one that it names has to be there.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && folder.ends_with("runbooks") => Vec::new(),
        Err(e) => {
            found.insert("runbooks".into(), unreadable(folder, &e));
            Vec::new()
        }
    };
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"));
    files.sort();
    for path in files {
        let mut loaded = match std::fs::read_to_string(&path) {
            Ok(text) => load(&path, &text, now),
            Err(e) => unreadable(&path, &e),
        };
        // Of two files of one name nobody could say which is meant.
        if path.extension().is_some_and(|e| e == "yml") && path.with_extension("yaml").exists() {
            loaded.runbook = None;
            loaded.findings.push(finding(&path, format!("there is also {}: keep one of them", path.with_extension("yaml").display())));
        }
        found.insert(loaded.name.clone(), loaded);
    }
    let mut all: Vec<LoadedRunbook> = found.into_values().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn unreadable(path: &Path, error: &std::io::Error) -> LoadedRunbook {
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    LoadedRunbook { name, runbook: None, findings: vec![finding(path, format!("cannot be read: {error}"))] }
}

fn finding(path: &Path, cause: String) -> Diagnostic {
    Diagnostic { severity: Severity::Error, file: path.to_path_buf(), line: 1, column: 1, cause, hint: None }
}

/// Whether a shipped runbook has what it is made for: without that it could not be planned, and is not offered.
fn is_offered(config: &Config, name: &str) -> bool {
    let settings = &config.acting.settings;
    match name {
        "canary-step" | "canary-hold" => settings.switch.is_some() && settings.canary.is_some(),
        "rollback-traffic" => settings.switch.is_some(),
        "rollback-code" => settings.switch.is_some() && settings.release.is_some(),
        "rollback-full" => settings.switch.is_some() && settings.release.is_some() && settings.snapshots.is_some(),
        "snapshot" | "restore" | "rollback-undo" => settings.snapshots.is_some(),
        _ => true,
    }
}

/// What the folder of the runbooks is called that belong to no profile.
const SHIPPED_AS: &str = "";

fn shipped_path(profile: &str, file: &str) -> PathBuf {
    match profile {
        SHIPPED_AS => PathBuf::from("shipped").join(file),
        profile => PathBuf::from(format!("profile {profile}")).join(file),
    }
}

/// The text of a runbook as it is now: of a file, or of a shipped one. `None`: it is gone.
pub fn runbook_text(path: &Path) -> Option<String> {
    for (file, text) in SHIPPED {
        if shipped_path(SHIPPED_AS, file) == *path {
            return Some((*text).to_string());
        }
    }
    for profile in &PROFILES {
        for (file, text) in profile.runbooks {
            if shipped_path(profile.name, file) == *path {
                return Some((*text).to_string());
            }
        }
    }
    std::fs::read_to_string(path).ok()
}

/// sha256 of the shipped profile that a configuration builds on: another program may ship another one.
pub(super) fn profile_sum(config: &Config) -> Option<String> {
    let profile = PROFILES.iter().find(|p| config.acting.profile.as_deref() == Some(p.name))?;
    Some(hex(&Sha256::digest(profile.text)))
}

/// What a plan is made against.
pub fn planning_context(config: &Config, runbooks: &[LoadedRunbook]) -> PlanningContext {
    let databases = config.sources.iter().filter(|(_, s)| matches!(s.kind, SourceKind::Database { .. }));
    PlanningContext {
        target: config.target.clone(),
        environment: PlanEnvironment { name: config.environment.name.clone(), tier: config.environment.tier },
        vars: config.acting.vars.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect(),
        services: config.acting.services.iter().map(|(name, endpoint)| (name.clone(), endpoint.shown())).collect(),
        databases: databases.map(|(name, source)| (name.to_string(), source.kind.place())).collect(),
        signals: config.signals.iter().map(|(name, s)| (name.to_string(), s.signal.unit)).collect(),
        channels: config.acting.notify.clone(),
        settings: Arc::new(config.acting.settings.clone()),
        snapshots: Vec::new(),
        always: config.acting.always.clone(),
        runbooks: runbooks.iter().filter_map(|l| Some((l.name.clone(), l.runbook.clone()?))).collect(),
        config: FrozenConfig { path: config.path.clone(), ..FrozenConfig::default() },
    }
}
