//! From files to a checked configuration. A profile's file is read first, the user's over it; entries are read one by one
//! so that one mistake does not hide the next.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::acting::state_dir_of;
use super::file::{FileShape, read};
use super::kinds::one_question;
use super::model::{Acting, Config, Environment, Ui};
use super::profiles::{PROFILES, Profile, profile_names};
use super::resolver::Resolver;
use super::targets::targets;
use crate::base::diag::{Diagnostic, Findings, suggestion};
use crate::base::tier::Tier;

#[derive(Debug)]
pub struct LoadedConfig {
    pub config: Option<Config>,
    pub findings: Vec<Diagnostic>,
    /// The theme and the keymap that are named, also where something else is wrong.
    pub looks: (String, String),
}

/// Reads and checks a file.
///
/// # Errors
/// When the file cannot be read at all.
pub fn load_file(path: &Path) -> std::io::Result<LoadedConfig> {
    // From wherever it is read again, it is the same file, and what it names lies beside it.
    let path = std::path::absolute(path)?;
    Ok(load_text(&path, &std::fs::read_to_string(&path)?))
}

/// Checks a configuration's text; the path is for messages and for files named in it.
pub fn load_text(path: &Path, text: &str) -> LoadedConfig {
    let mut findings = Findings::default();
    let mut file = FileShape::default();
    let user = read(&mut findings, path, text);
    one_question(&mut findings, &user.keys);
    if let Some((name, span)) = user.profile.clone() {
        match PROFILES.iter().find(|known| known.name == name) {
            Some(Profile { text, .. }) => file = read(&mut findings, &PathBuf::from(format!("profile {name}")), text),
            None => findings.error(span, format!("there is no profile `{name}`"), suggestion(&name, profile_names())),
        }
    }
    let file = user.over(file);
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut resolver = Resolver { findings: &mut findings, vars: &file.vars, kinds: IndexMap::new(), folder: folder.clone() };
    let mut config = resolver.config(path, &file);
    if let Some(config) = &mut config {
        config.targets = targets(&mut findings, path, &folder, &file, config);
    }
    let failed = findings.has_errors();
    let ui = Ui::default();
    let looks = (file.ui.theme.clone().unwrap_or(ui.theme), file.ui.keymap.clone().unwrap_or(ui.keymap));
    LoadedConfig { config: config.filter(|_| !failed), findings: findings.found, looks }
}

/// What can be known of a file whose configuration is not sound: where its runs are. Enough to look at runs, to take one up,
/// and to end it.
pub fn load_bare(path: &Path) -> Config {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let (table, _) = toml::de::DeTable::parse_recoverable(&text);
    let word = |value: Option<&toml::de::DeValue<'_>>| value.and_then(|value| value.as_str()).map(str::to_string);
    let state_dir = word(table.get_ref().get("state_dir").map(|value| value.get_ref()));
    let environment = table.get_ref().get("environment").and_then(|value| value.get_ref().as_table());
    let name = word(environment.and_then(|table| table.get("name")).map(|value| value.get_ref()));
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let acting = Acting { state_dir: state_dir_of(state_dir.as_deref(), &folder), runbooks: folder.join("runbooks"), ..Acting::default() };
    let environment = Environment { name: name.unwrap_or_default(), tier: Tier::Production, expect: IndexMap::new(), hint: None };
    Config::bare(&path, environment, acting)
}
