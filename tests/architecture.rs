//! The import table of ARCHITECTURE.md, enforced: a room may use only the rooms its row names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room and what it may import; every room may import `base`.
const TABLE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("reading", &[]),
    ("engine", &[]),
    ("signal", &["reading"]),
    ("runbook", &["signal", "reading"]),
    ("source", &["reading", "engine"]),
    ("journal", &["runbook", "source"]),
    ("effect", &["runbook", "signal", "source", "reading", "journal"]),
    ("runner", &["effect", "journal", "runbook", "source"]),
    ("keymap", &[]),
    ("theme", &[]),
    ("config", &["reading", "signal", "engine", "runbook"]),
    ("cockpit", &["reading", "signal", "runbook", "config", "keymap", "theme"]),
    ("view", &["reading", "signal", "runbook", "config", "keymap", "theme", "cockpit"]),
    ("terminal", &["reading", "config", "keymap", "theme", "cockpit", "view"]),
    ("cli", &["reading", "signal", "runbook", "engine", "source", "journal", "effect", "runner", "config", "keymap", "theme", "cockpit"]),
    ("demo", &["engine"]),
];

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The rooms named in a file's `crate::` paths, nested ones (`crate::{a, b::c}`) too, with their lines.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let line = text[..at].matches('\n').count() + 1;
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(inside) => {
                let mut depth = 0;
                let mut names = vec![inside];
                for (i, c) in inside.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(&inside[i + 1..]),
                        _ => {}
                    }
                }
                names
            }
            None => vec![rest],
        };
        for name in names {
            let word: String = name.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((line, word));
        }
    }
    found
}

#[test]
fn rooms_import_only_what_their_row_names() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut broken = Vec::new();
    for file in all {
        let inside = file.strip_prefix(&src).expect("below src");
        let Some(room) = inside.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned()) else { continue };
        // lib, main and app join the rooms.
        if room.ends_with(".rs") {
            continue;
        }
        let may = table.get(room.as_str()).unwrap_or_else(|| panic!("{room} has no row in the table"));
        let text = std::fs::read_to_string(&file).expect("readable");
        for (line, name) in imports(&text) {
            if table.contains_key(name.as_str()) && name != room && name != "base" && !may.contains(&name.as_str()) {
                broken.push(format!("{}:{line}: {room} may not import {name}", inside.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_check_sees_what_it_has_to() {
    let text = "use crate::view::draw;\nuse crate::{keymap, source::{a, b}, view};\n";
    let names: Vec<String> = imports(text).into_iter().map(|(_, n)| n).collect();
    assert_eq!(names, ["view", "keymap", "source", "view"]);
}

#[test]
fn files_stay_short() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let long: Vec<String> = all
        .iter()
        .filter_map(|f| {
            let lines = std::fs::read_to_string(f).expect("readable").lines().count();
            (lines > 560).then(|| format!("{}: {lines} lines", f.display()))
        })
        .collect();
    assert!(long.is_empty(), "a file this long is a design question:\n{}", long.join("\n"));
}
