//! The import table of ARCHITECTURE.md, enforced: a room uses only the rooms its row names, no room uses one that stands
//! after it, and no two files use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms in the order of the house, and what each may import; every room may import `base`.
const TABLE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("observe/reading", &[]),
    ("observe/engine", &[]),
    ("observe/source", &["observe/reading", "observe/engine"]),
    ("judge", &["observe/reading"]),
    ("plan/runbook", &["judge", "observe/reading"]),
    ("plan/deploy", &["plan/runbook", "judge", "observe/reading"]),
    ("record/journal", &["plan/runbook", "observe/source"]),
    ("record/notify", &["plan/runbook", "record/journal", "observe/source"]),
    ("act/infra", &["plan/runbook", "plan/deploy", "observe/source", "observe/reading"]),
    ("act/effect", &["plan/runbook", "plan/deploy", "judge", "observe/source", "observe/reading", "act/infra"]),
    ("act/runner", &["act/effect", "record/journal", "record/notify", "plan/runbook", "observe/source"]),
    ("config", &["observe/reading", "judge", "observe/engine", "plan/runbook", "plan/deploy"]),
    ("status", &["observe/reading", "judge", "plan/runbook", "plan/deploy", "config"]),
    (
        "backend",
        &[
            "observe/reading",
            "observe/engine",
            "observe/source",
            "judge",
            "plan/runbook",
            "plan/deploy",
            "record/journal",
            "record/notify",
            "act/infra",
            "act/effect",
            "act/runner",
            "config",
            "status",
        ],
    ),
    ("show/keymap", &[]),
    ("show/theme", &[]),
    ("show/cockpit", &["observe/reading", "judge", "plan/runbook", "plan/deploy", "config", "status", "show/keymap", "show/theme"]),
    (
        "show/view",
        &["observe/reading", "judge", "plan/runbook", "plan/deploy", "config", "status", "show/keymap", "show/theme", "show/cockpit"],
    ),
    ("show/terminal", &["observe/reading", "config", "status", "show/keymap", "show/theme", "show/cockpit", "show/view"]),
    (
        "cli",
        &[
            "observe/reading",
            "observe/engine",
            "observe/source",
            "judge",
            "plan/runbook",
            "plan/deploy",
            "record/journal",
            "record/notify",
            "act/infra",
            "act/effect",
            "act/runner",
            "config",
            "status",
            "backend",
            "show/keymap",
            "show/theme",
        ],
    ),
    ("demo", &["observe/engine"]),
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

/// Every path that begins with `root::`, nested ones (`crate::{a, b::{c, d}}`) laid out, with its line.
fn paths(text: &str, root: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(root) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let mut out = Vec::new();
        lay_out(&text[at + root.len()..], &mut Vec::new(), &mut out);
        found.extend(out.into_iter().map(|path| (line, path)));
    }
    found
}

/// One branch of a `use` tree; gives what is left behind it.
fn lay_out<'t>(text: &'t str, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = lay_out(rest, prefix, out).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if more.trim_start().starts_with('}') => return &more.trim_start()[1..],
                Some(more) => rest = more,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = &text[word.len()..];
    if word.is_empty() {
        return rest;
    }
    prefix.push(word);
    let rest = match rest.strip_prefix("::") {
        Some(more) if more.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') => lay_out(more, prefix, out),
        _ => {
            out.push(prefix.clone());
            // A name under another name.
            match rest.trim_start().strip_prefix("as ") {
                Some(more) => more.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
                None => rest,
            }
        }
    };
    prefix.pop();
    rest
}

/// The room of a file below `src/`.
fn room_of(inside: &Path) -> Option<&'static str> {
    let path = inside.to_string_lossy();
    TABLE.iter().map(|(room, _)| *room).find(|room| path.starts_with(&format!("{room}/")))
}

/// The room that a path leads into.
fn room_at(path: &[String]) -> Option<&'static str> {
    let two = path.iter().take(2).map(String::as_str).collect::<Vec<_>>().join("/");
    TABLE.iter().map(|(room, _)| *room).find(|room| *room == two || Some(*room) == path.first().map(String::as_str))
}

#[test]
fn rooms_import_only_what_their_row_names() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let (mut broken, mut entered) = (Vec::new(), BTreeSet::new());
    for file in all {
        let inside = file.strip_prefix(&src).expect("below src");
        // lib, main and app join the rooms; a folder's own mod.rs only lists them.
        let Some(room) = room_of(inside) else {
            let joins = inside.components().count() == 1 || inside.ends_with("mod.rs") && inside.components().count() == 2;
            assert!(joins, "{} stands in no room of the table", inside.display());
            continue;
        };
        entered.insert(room);
        let place = |name: &str| TABLE.iter().position(|(room, _)| *room == name);
        let may = TABLE[place(room).expect("a row")].1;
        for name in may {
            assert!(place(name) < place(room), "{room} may not look up to {name}");
        }
        let text = std::fs::read_to_string(&file).expect("readable");
        for (line, path) in paths(&text, "crate::") {
            let Some(other) = room_at(&path) else { continue };
            if other != room && other != "base" && !may.contains(&other) {
                broken.push(format!("{}:{line}: {room} may not import {other}", inside.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    let empty: Vec<_> = TABLE.iter().filter(|(room, _)| !entered.contains(room)).collect();
    assert!(empty.is_empty(), "rooms with nobody in them: {empty:?}");
}

/// Where each public name of a room is defined, by its `mod.rs`: `pub use file::{Name, …}`, `pub use folder::*`.
fn exports(module: &Path) -> BTreeMap<String, PathBuf> {
    let text = std::fs::read_to_string(module).unwrap_or_default();
    let folder = module.parent().expect("a folder");
    let mut found = BTreeMap::new();
    for (at, _) in text.match_indices("pub use ") {
        let mut out = Vec::new();
        lay_out(&text[at + "pub use ".len()..], &mut Vec::new(), &mut out);
        for path in out {
            let Some(file) = path.first() else { continue };
            let inner = folder.join(file).join("mod.rs");
            match (inner.is_file(), &path[1..]) {
                (false, [.., name]) => drop(found.insert(name.clone(), folder.join(format!("{file}.rs")))),
                (true, [.., name]) => found.extend(exports(&inner).remove_entry(name)),
                // A glob.
                (true, []) => found.extend(exports(&inner)),
                (false, []) => {}
            }
        }
    }
    found
}

/// The file that a path leads to, from the folder it is counted from.
fn file_at(folder: &Path, path: &[String]) -> Option<PathBuf> {
    let mut folder = folder.to_path_buf();
    for (i, word) in path.iter().enumerate() {
        if folder.join(word).is_dir() {
            folder.push(word);
            continue;
        }
        let file = folder.join(format!("{word}.rs"));
        if file.is_file() {
            return Some(file);
        }
        let module = folder.join("mod.rs");
        let elsewhere = exports(&module).get(&path[i]).cloned().filter(|file| file.is_file());
        return elsewhere.or_else(|| defines(&module, word).then_some(module));
    }
    None
}

/// Whether a file defines a name itself.
fn defines(file: &Path, name: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    let is_it = |rest: &str| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    text.lines().any(|line| {
        let line = line.trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let line = line.trim_start_matches("const fn ").trim_start_matches("async ");
        kinds.iter().any(|kind| line.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' ')).is_some_and(is_it))
            || is_it(line) && line.contains('(')
    })
}

fn imports_of(src: &Path, file: &Path) -> BTreeSet<PathBuf> {
    let whole = std::fs::read_to_string(file).expect("readable");
    // Tests may look anywhere.
    let text = whole.split("\n#[cfg(test)]").next().unwrap_or(&whole);
    let mut own = file.parent().expect("a folder");
    if file.ends_with("mod.rs") {
        own = own.parent().expect("a folder above");
    }
    let mut found = BTreeSet::new();
    let roots = [("crate::", src.to_path_buf()), ("super::", own.to_path_buf())];
    for (root, folder) in roots {
        found.extend(paths(text, root).into_iter().filter_map(|(_, path)| file_at(&folder, &path)));
    }
    found.remove(file);
    found
}

#[test]
fn no_two_files_import_each_other_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut graph: BTreeMap<PathBuf, BTreeSet<PathBuf>> = all.iter().map(|file| (file.clone(), imports_of(&src, file))).collect();
    let arrows: usize = graph.values().map(BTreeSet::len).sum();
    assert!(arrows > 300, "the check follows too few imports to mean anything: {arrows}");
    // Whoever imports nobody that is left is in no circle.
    loop {
        let known: BTreeSet<PathBuf> = graph.keys().cloned().collect();
        let before = graph.len();
        graph.retain(|_, to| to.iter().any(|file| known.contains(file)));
        if graph.len() == before {
            break;
        }
    }
    // And whom nobody imports of those that are left only leads into one.
    loop {
        let reached: BTreeSet<PathBuf> = graph.values().flatten().cloned().collect();
        let before = graph.len();
        graph.retain(|file, _| reached.contains(file));
        if graph.len() == before {
            break;
        }
    }
    let show = |file: &Path| file.strip_prefix(&src).unwrap_or(file).display().to_string();
    let knot: Vec<String> = graph
        .iter()
        .map(|(file, to)| {
            let to: Vec<String> = to.iter().filter(|f| graph.contains_key(*f)).map(|f| show(f)).collect();
            format!("{} -> {}", show(file), to.join(", "))
        })
        .collect();
    assert!(knot.is_empty(), "files that import each other in a circle:\n{}", knot.join("\n"));
}

#[test]
fn the_check_sees_what_it_has_to() {
    let text = "use crate::show::view::draw;\nuse crate::{observe, plan::runbook::{a, b as c, d}, cli};\n";
    let names: Vec<String> = paths(text, "crate::").into_iter().map(|(_, p)| p.join("::")).collect();
    let wanted = ["show::view::draw", "observe", "plan::runbook::a", "plan::runbook::b", "plan::runbook::d", "cli"];
    assert_eq!(names, wanted);
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

#[test]
fn a_type_name_means_one_thing() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut at: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &all {
        let text = std::fs::read_to_string(file).expect("readable");
        // What is indented belongs to a trait, a test or a macro.
        for line in text.lines() {
            let rest = line.strip_prefix("pub ").or_else(|| line.split_once(") ").filter(|(a, _)| a.starts_with("pub(")).map(|(_, b)| b));
            let Some((word, name)) = rest.unwrap_or(line).split_once(' ') else { continue };
            if ["struct", "enum", "trait", "type"].contains(&word) {
                let name = name.chars().take_while(|c| c.is_alphanumeric()).collect();
                at.entry(name).or_default().push(file.strip_prefix(&src).unwrap_or(file).display().to_string());
            }
        }
    }
    assert!(at.len() > 300, "the check sees too few types to mean anything: {}", at.len());
    at.retain(|_, files| files.len() > 1);
    assert!(at.is_empty(), "one name, several types: {at:#?}");
}
