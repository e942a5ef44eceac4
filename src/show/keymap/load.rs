//! Keymap files: `"g g" = "first"` under `[keys]` (and `[run]`, for the view of a run), over the keymap named by `extends`.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Action, Chord, KeyTable, Keymap};
use crate::base::diag::{Diagnostic, Findings, suggestion};
use crate::base::layer;

pub const SHIPPED: [(&str, &str); 2] =
    [("default", include_str!("../../../keymaps/default.toml")), ("vim", include_str!("../../../keymaps/vim.toml"))];

pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Loads a shipped keymap by name, or a file; relative paths count from `folder`.
///
/// # Errors
/// Every mistake found, with its place.
pub fn load(name: &str, folder: &Path) -> Result<Keymap, Vec<Diagnostic>> {
    load_deep(name, folder, 0)
}

fn load_deep(name: &str, folder: &Path, depth: usize) -> Result<Keymap, Vec<Diagnostic>> {
    let (path, text) = layer::open("keymap", name, folder, &SHIPPED)?;
    parse(&path, &text, folder, depth)
}

/// Reads a keymap's text; the path is for messages, other files count from `folder`.
///
/// # Errors
/// Every mistake found, with its place.
pub fn parse(path: &Path, text: &str, folder: &Path, depth: usize) -> Result<Keymap, Vec<Diagnostic>> {
    let mut findings = Findings::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        findings.error(error.span().unwrap_or(0..0), error.message().to_string(), None);
    }
    let mut keymap = Keymap::default();
    if let Some((key, base)) = table.get_ref().get_key_value("extends") {
        match base.get_ref().as_str() {
            Some(base) if depth < layer::DEEPEST => keymap = load_deep(base, folder, depth + 1)?,
            _ => findings.error(key.span(), "`extends` names another keymap", suggestion("", shipped_names())),
        }
    }
    for (key, value) in table.get_ref().iter() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("extends", _) => {}
            (name @ ("keys" | "run"), DeValue::Table(keys)) => {
                let table = if name == "run" { KeyTable::Run } else { KeyTable::Keys };
                for (keys, action) in keys.iter() {
                    bind(&mut findings, &mut keymap, table, (keys.get_ref(), keys.span()), (action.get_ref().as_str(), action.span()));
                }
            }
            (other, _) => findings.error(key.span(), format!("unknown section `{other}`"), suggestion(other, ["extends", "keys", "run"])),
        }
    }
    if keymap.keys(Action::Quit).is_empty() {
        findings.error(0..0, "nothing is bound to `quit`", Some("write \"q\" = \"quit\"".into()));
    }
    if findings.has_errors() { Err(findings.found) } else { Ok(keymap) }
}

type At<T> = (T, std::ops::Range<usize>);

fn bind(findings: &mut Findings, keymap: &mut Keymap, table: KeyTable, keys: At<&str>, action: At<Option<&str>>) {
    let chords: Result<Vec<Chord>, String> = keys.0.split_whitespace().map(Chord::parse).collect();
    let chords = match chords {
        Ok(chords) => chords,
        Err(cause) => return findings.error(keys.1, cause, None),
    };
    let bound = match action.0 {
        Some("none") => None,
        Some(name) => match Action::parse(name) {
            Some(action) => Some(action),
            None => {
                return findings.error(
                    action.1,
                    format!("there is no action `{name}`"),
                    suggestion(name, Action::ALL.iter().map(|a| a.name())),
                );
            }
        },
        None => return findings.error(action.1, "an action is written as a text", Some("\"q\" = \"quit\"".into())),
    };
    if let Err(cause) = keymap.bind(table, &chords, bound) {
        findings.error(keys.1, cause, None);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lookup;
    use super::*;

    fn parse_text(text: &str) -> Result<Keymap, Vec<Diagnostic>> {
        parse(Path::new("k.toml"), text, Path::new("."), 0)
    }

    #[test]
    fn shipped_keymaps_load_and_reach_every_action() {
        for name in shipped_names() {
            let keymap = load(name, Path::new(".")).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            for action in Action::ALL {
                assert!(!keymap.keys(*action).is_empty(), "{name} binds nothing to {}", action.name());
            }
        }
    }

    #[test]
    fn a_users_file_overlays() {
        let keymap = parse_text("extends = \"vim\"\n[keys]\n\"g x\" = \"freeze\"\n\"f\" = \"none\"\n").expect("a keymap");
        let chords = |text: &str| text.split(' ').map(|c| Chord::parse(c).expect("a chord")).collect::<Vec<_>>();
        assert_eq!(keymap.lookup(&chords("g x")), Lookup::Act(Action::Freeze));
        assert_eq!(keymap.lookup(&chords("g g")), Lookup::Act(Action::First));
        assert_eq!(keymap.lookup(&chords("g")), Lookup::Prefix);
        assert_eq!(keymap.lookup(&chords("f")), Lookup::Nothing);
    }

    #[test]
    fn every_mistake_at_once() {
        let errors =
            parse_text("extends = \"default\"\n[keys]\n\"hyper+x\" = \"quit\"\n\"x\" = \"qiut\"\n\"y\" = 1\n[oops]\n").expect_err("errors");
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert_eq!(errors[1].hint.as_deref(), Some("did you mean `quit`?"));
        assert_eq!((errors[1].line, errors[1].column), (4, 7));
    }
}
