//! State folders of released versions: listed, looked at, taken up, ended and verified by this one.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::until;
use lastgreen::base::clock::Stamp;
use lastgreen::config::planned_config;
use lastgreen::plan::runbook::Plan;

/// Where 0.1.0 left it: a plan of that version names its files by their whole paths.
const PLACE: &str = "/tmp/lastgreen-state-0.1.0";
const WAITING: [&str; 2] = ["01M8C93PM53R200RJ1TR85FMAC", "01M8C93RG0PKPFQ54KN1Q5H64S"];
const DONE: &str = "01M8C93PCX57E5YEBNWFD2YZWS";
const DRILL: &str = "01M8C93PGHM10V08RP38HSVQC1";

struct Old;

impl Drop for Old {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(PLACE);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).expect("its owner's alone");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).expect("its owner's alone");
        }
    }
}

fn old() -> Old {
    let _ = std::fs::remove_dir_all(PLACE);
    copy(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-0.1.0"), Path::new(PLACE));
    std::fs::write(Path::new(PLACE).join("app.db"), "").expect("an empty database");
    Old
}

fn run(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastgreen"));
    let output = command.args(arguments).current_dir(PLACE).env("HOME", PLACE).env_remove("LASTGREEN_CONFIG").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(PLACE).join(name)).unwrap_or_default()
}

#[test]
fn a_state_folder_of_the_release_before_is_as_good_as_ones_own() {
    let _old = old();
    let (code, list) = run(&["runs"]);
    assert_eq!(code, 0, "{list}");
    assert_eq!(list.lines().count(), 4, "{list}");
    assert_eq!(list.matches("interrupted").count(), 2, "{list}");
    let (code, verified) = run(&["audit", "verify"]);
    assert!(code == 0 && verified.contains("4 of 4 runs are whole"), "{code}: {verified}");
    assert!(run(&["audit", "show", DONE]).1.contains("began Quick"), "its records are read");
    // A drill of that version changed nothing, and is not run for real by this one.
    assert!(run(&["runs", DRILL]).1.contains("an old drill"));
    // One is taken up where it was left, its question answered, and led to its end.
    let (code, said) = run(&["resume", WAITING[0], "--detach"]);
    assert_eq!(code, 0, "{said}");
    until("it to ask again", || run(&["runs", WAITING[0]]).1.contains("waits for you"));
    let (code, said) = run(&["attach", WAITING[0], "--answer", "done"]);
    assert_eq!(code, 0, "{said}");
    until("it to be done", || run(&["runs", WAITING[0]]).1.contains("every step is done"));
    assert_eq!((read("before").lines().count(), read("after").lines().count()), (0, 1), "what was done before is not done again");
    // The other is ended, though the configuration has become nonsense.
    std::fs::write(
        Path::new(PLACE).join("lastgreen.toml"),
        "state_dir = \"state\"\n[environment]\nname = \"here\"\nnonsense = true\n[sources.x]\nkind = \"oracle\"\n",
    )
    .expect("written");
    let (code, said) = run(&["abort", WAITING[1], "--leave"]);
    assert_eq!(code, 0, "{said}");
    let (code, verified) = run(&["audit", "verify", "--offline"]);
    assert!(code == 0 && verified.contains("4 of 4 runs are whole"), "{code}: {verified}");
    assert_eq!(run(&["run", "quick", "--dry-run"]).0, 65, "nothing is planned on nonsense");
}

#[test]
fn a_profile_that_ships_otherwise_now_strands_no_run() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-0.1.0/state/runs").join(DONE).join("plan.json");
    let plan = Plan::parse(&std::fs::read_to_string(path).expect("a plan")).expect("a plan of the first version");
    let (config, remark) = planned_config(&plan).expect("what it was made under");
    assert_eq!((config.environment.name.as_str(), remark), ("here", None));
    // The same with a profile that this program ships in another form.
    let mut content = plan.content.clone();
    content.config.text = format!("profile = \"rag\"\n{}", content.config.text);
    content.config.profile = Some("of another release".into());
    let made = |content| Plan::new(content, plan.by.clone(), Stamp(0), std::time::Duration::from_secs(600));
    let (_, remark) = planned_config(&made(content.clone())).expect("read on what is shipped now");
    assert!(remark.expect("it is said").contains("as this program ships it"));
    // And a text that means nothing any more: the file as it is now, or an error that names both.
    content.config.text = "kind = \"nonsense\"\n".into();
    content.config.path = "/nonexistent/lastgreen.toml".into();
    assert!(planned_config(&made(content)).expect_err("nothing to go by").contains("/nonexistent/lastgreen.toml"));
}
