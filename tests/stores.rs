//! What writes is held while a snapshot is taken, and stores of somebody's own are asked by programs.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::data::create;
use common::host::Host;
use common::until;
use rustix::process::{Signal, kill_process};

#[test]
fn what_writes_is_held_while_a_snapshot_is_taken_and_goes_on_whatever_comes_of_it() {
    let host = Host::new(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.own]\nkind = \"command\"\ncommand = [\"true\"]\n[snapshots]\nfolder = \"snaps\"\nhold = \"quiet\"\n\
         [snapshots.programs.own]\ncreate = [\"./create\"]\nverify = [\"true\"]\nrestore = [\"./restore\"]\n",
    );
    let quiet = "title: Quiet\nowner: \"@data\"\nsteps:\n  - name: Hold\n    id: mark\n    type: script\n    script: \"touch held; echo hold >> said\"\n    \
                 undo:\n      type: script\n      script: \"rm held; echo go >> said\"\n";
    let at = |name: &str| host.path().join(name);
    let program = |name: &str, text: &str| {
        std::fs::write(at(name), format!("#!/bin/sh\ncd {}\n{text}\n", host.path().display())).expect("written");
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).expect("executable");
    };
    let (code, said) = host.run(&["check", "--offline"]);
    assert!(code == 65 && said.contains(":10:1: error") && said.contains("hold names the runbook `quiet`, which there is not"), "{said}");
    std::fs::create_dir_all(at("runbooks")).expect("a folder");
    std::fs::write(
        at("runbooks/quiet.yaml"),
        quiet
            .replace("touch held", &format!("cd {}; touch held", host.path().display()))
            .replace("rm held", &format!("cd {}; rm held", host.path().display())),
    )
    .expect("written");
    program("create", "test -e held || exit 3; echo taken >> said; echo '{\"name\": \"one\", \"size\": 1}'");
    program("restore", "test -e held || exit 3; echo restored >> said");
    let id = create(&host, false);
    let said = |wanted: &str| {
        let all = std::fs::read_to_string(at("said")).expect("what was said").replace('\n', " ");
        assert_eq!(all.trim(), wanted);
        std::fs::remove_file(at("said")).expect("forgotten");
        assert!(!at("held").exists(), "it is held no more");
    };
    said("hold taken go");
    let (code, words) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{words}");
    said("hold restored go");
    // One that cannot be taken holds nothing up.
    program("create", "echo tried >> said; exit 3");
    let (code, words) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert_eq!(code, 21, "{words}");
    said("hold tried go");
    // What was held before, by somebody else, stays held: this run did nothing that it could take back.
    let probed = std::fs::read_to_string(at("runbooks/quiet.yaml")).expect("the runbook")
        + &format!("    probe:\n      type: script\n      script: \"test -e {}\"\n      mutates: false\n", at("held").display());
    std::fs::write(at("runbooks/quiet.yaml"), probed).expect("written");
    std::fs::write(at("held"), "").expect("written");
    program("create", "test -e held || exit 3; echo taken >> said; echo '{\"name\": \"one\", \"size\": 1}'");
    create(&host, false);
    assert!(at("held").exists() && std::fs::read_to_string(at("said")).is_ok_and(|all| all == "taken\n"), "still held");
    let wrong = "title: W\nsteps:\n  - {name: go, type: runbook, back: nothing}\n";
    std::fs::write(at("runbooks/wrong.yaml"), wrong).expect("written");
    let (code, words) = host.run(&["check", "--offline"]);
    assert!(code == 65 && words.contains("wrong.yaml:3") && words.contains("no earlier step `nothing` runs another runbook"), "{words}");
}

#[test]
fn a_store_s_own_program_is_not_begun_a_second_time_beside_the_first() {
    never_two_at_once("");
}

/// As behind `sudo`: nobody can read there what the program carries.
#[test]
fn a_program_that_shows_nothing_of_its_step_is_found_all_the_same() {
    never_two_at_once("[ \"$HOME\" ] && exec env -i PATH=\"$PATH\" \"$0\"\n");
}

fn never_two_at_once(first: &str) {
    let host = Host::new(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.own]\nkind = \"command\"\ncommand = [\"true\"]\n[snapshots]\nfolder = \"snaps\"\n\
         [snapshots.programs.own]\ncreate = [\"./create\"]\nverify = [\"true\"]\nrestore = [\"./restore\"]\n",
    );
    let at = |name: &str| host.path().join(name);
    let program = |name: &str, text: &str| {
        std::fs::write(at(name), format!("#!/bin/sh\ncd {}\n{text}\n", host.path().display())).expect("written");
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).expect("executable");
    };
    program("create", "echo '{\"name\": \"one\", \"size\": 1}'");
    // What it begins for good, in a session of its own, is nothing that anybody waits for.
    program(
        "restore",
        &format!(
            "{first}setsid sleep 600 >/dev/null 2>&1 & until [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do :; done; echo $! >> stays; echo begin >> said; until [ -e go ]; do sleep 0.05; done; echo end >> said"
        ),
    );
    let id = create(&host, false);
    let (code, run) = host.run(&["snapshot", "restore", &id, "--no-safety", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{run}");
    let run = run.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    let said = || std::fs::read_to_string(at("said")).unwrap_or_default().replace('\n', " ").trim().to_string();
    until("the restore to begin", || said() == "begin");
    kill_process(host.runner_pid(&run), Signal::KILL).expect("killed");
    host.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let (code, words) = host.run(&["run", "quick", "--confirm", "here"]);
    assert!(code == 24 && words.contains("still at work") && words.contains(&run), "{code}: {words}");
    let (code, words) = host.run(&["resume", &run, "--detach"]);
    assert_eq!(code, 0, "{words}");
    until("the second runner to wait", || std::fs::read_to_string(host.journal(&run)).is_ok_and(|text| text.contains("is waited for")));
    assert_eq!(said(), "begin");
    std::fs::write(at("go"), "").expect("it may end");
    host.until(&run, "done");
    assert_eq!(said(), "begin end begin end");
    let stays = std::fs::read_to_string(at("stays")).expect("a number");
    for number in stays.lines() {
        let pid = rustix::process::Pid::from_raw(number.parse().expect("a number")).expect("a process");
        kill_process(pid, Signal::KILL).expect("what means to stay, stays");
    }
}

#[test]
fn a_target_has_stores_of_its_own() {
    let config = "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.own]\nkind = \"command\"\ncommand = [\"true\"]\n\
                  [snapshots]\nfolder = \"snaps\"\n[snapshots.programs.own]\ncreate = [\"a\"]\nverify = [\"a\"]\nrestore = [\"a\"]\n\
                  [targets.next]\ntier = \"staging\"\n[targets.next.sources.own]\ncommand = [\"true\"]\n[targets.next.programs.own]\ncreate = [\"b\"]\nverify = [\"b\"]\nrestore = [\"b\"]\n";
    let (code, said) = Host::new(config).run(&["check", "--offline"]);
    assert_eq!(code, 0, "{said}");
    // What it has is not the environment's: a drill would act there.
    let (code, said) = Host::new(&config.replace("\"b\"", "\"a\"")).run(&["check", "--offline"]);
    assert_eq!(code, 65, "{said}");
}
