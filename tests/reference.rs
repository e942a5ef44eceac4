//! The reference names what there is: every field of the configuration, every kind of step, role and action, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lastgreen::show::keymap::Action;
use lastgreen::show::theme::Role;

type Names = BTreeSet<String>;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The structs of a file with their fields as users write them.
fn shapes(source: &str) -> BTreeMap<String, Names> {
    let mut all = BTreeMap::new();
    let mut within: Option<(String, Names)> = None;
    let mut renamed = None;
    for line in source.lines() {
        let text = line.trim();
        if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
            within = Some((name.to_string(), Names::new()));
        } else if line == "}" {
            all.extend(within.take());
        } else if let Some(rest) = text.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split('"').next().map(str::to_string);
        } else if let (Some((_, fields)), Some((field, _))) = (&mut within, text.strip_prefix("pub ").and_then(|rest| rest.split_once(':')))
        {
            fields.insert(renamed.take().unwrap_or_else(|| field.trim_start_matches("r#").to_string()));
        }
    }
    all
}

/// What the first column of the tables behind a mark names, by mark, as far as the next heading of the same rank.
fn marked(reference: &str) -> BTreeMap<String, Names> {
    let mut all: BTreeMap<String, Names> = BTreeMap::new();
    let mut mark = None;
    for line in reference.lines() {
        if line.starts_with("## ") {
            mark = None;
        } else if let Some(name) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            mark = Some(name.to_string());
            all.entry(name.to_string()).or_default();
        } else if let (Some(mark), Some(cell)) = (&mark, line.strip_prefix("| `").and_then(|rest| rest.split('`').next())) {
            all.entry(mark.clone()).or_default().insert(cell.to_string());
        }
    }
    all
}

#[test]
fn every_field_stands_in_the_reference_and_no_other() {
    let marked = marked(&read("assets/docs/reference.md"));
    let mut wrong = Vec::new();
    let mut files: Vec<String> = ["shape", "file"].map(|name| format!("src/config/{name}.rs")).into();
    let sections = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/sections");
    for entry in std::fs::read_dir(sections).unwrap() {
        files.push(format!("src/config/sections/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    let mut all = shapes(&files.iter().map(|file| read(file).replace("pub(super) ", "pub ")).collect::<String>());
    // What a whole file is read into holds more than its sections.
    for whole in ["FileShape", "Sections", "SectionContext<'k>"] {
        all.remove(whole);
    }
    let of_target = all.remove("TargetSections").unwrap();
    all.get_mut("TargetFile").unwrap().remove("sections");
    all.get_mut("TargetFile").unwrap().extend(of_target);
    assert!(all.contains_key("TrafficShape") && all.contains_key("SourceShape"), "{:?}", all.keys());
    for (shape, fields) in all {
        let Some(said) = marked.get(&shape) else {
            wrong.push(format!("{shape} is not there"));
            continue;
        };
        wrong.extend(fields.difference(said).map(|field| format!("{shape}: `{field}` is missing")));
        wrong.extend(said.difference(&fields).map(|field| format!("{shape}: there is no `{field}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_kind_of_step_role_and_action_stands_in_the_reference() {
    let reference = read("assets/docs/reference.md");
    let marked = marked(&reference);
    let names = |all: &mut dyn Iterator<Item = &'static str>| all.map(str::to_string).collect::<Names>();
    assert_eq!(marked["roles"], names(&mut Role::ALL.iter().map(|role| role.name())));
    assert_eq!(marked["actions"], names(&mut Action::ALL.iter().map(|action| action.name())));
    // `HealthCheck(HealthCheck) "health_check";`
    let kinds = read("src/plan/runbook/kinds/mod.rs");
    let word = |line: &str| line.trim().strip_suffix("\";")?.split_once(") \"").map(|(_, word)| word.to_string());
    let kinds: Names = kinds.lines().filter_map(word).collect();
    let said: Names = reference.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`').map(str::to_string)).collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    assert_eq!(said, kinds);
}
