//! The switch of a canary's traffic, on real load balancers and on ones that lie: what is counted at the backends, what is
//! believed, what is taken back.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::balancers::{Tracks, haproxy, nginx, program};
use common::host::{Host, waits_for};
use common::{Canned, free_port, respond, until};
use rustix::process::{Signal, kill_process};

const TO: &str = "title: To\ninputs:\n  to: {type: string}\nsteps:\n  - {name: turn, type: traffic, to: \"{{ inputs.to }}\"}\n";

/// A host with a switch and the runbook that turns it.
fn host(traffic: &str) -> Host {
    let host = Host::plain(&format!("[traffic]\n{traffic}"));
    host.runbook("to", TO);
    host
}

fn turn(host: &Host, to: &str) -> (i32, String) {
    host.run(&["run", "to", "--set", &format!("to={to}"), "--confirm", "here"])
}

#[test]
fn haproxy_sends_the_share_that_was_set() {
    let tracks = Tracks::start();
    let proxy = haproxy(&tracks, "admin");
    for address in [format!("127.0.0.1:{}", proxy.api), proxy.socket.display().to_string()] {
        let host = host(&format!("kind = \"haproxy\"\nbackend = \"app\"\naddresses = [\"{address}\"]\n"));
        for (to, canary) in [("10", 20), ("25", 50), ("stable", 0)] {
            let (code, said) = turn(&host, to);
            assert_eq!(code, 0, "{said}");
            assert_eq!(tracks.count(proxy.server.port, 200), (200 - canary, canary), "{to} by {address}");
        }
        let (_, said) = host.run(&["runs", "last"]);
        assert!(said.contains("25 % → 0 %, observed 0 %"), "{said}");
    }
}

#[test]
fn of_two_load_balancers_one_is_dead() {
    let tracks = Tracks::start();
    let proxy = haproxy(&tracks, "admin");
    let (living, dead) = (format!("127.0.0.1:{}", proxy.api), format!("127.0.0.1:{}", free_port()));
    let alone = host(&format!("kind = \"haproxy\"\nbackend = \"app\"\naddresses = [\"{living}\"]\n"));
    assert_eq!(turn(&alone, "50").0, 0);
    let both = host(&format!("kind = \"haproxy\"\nbackend = \"app\"\nwithin = \"1s\"\naddresses = [\"{dead}\", \"{living}\"]\n"));
    // More for the canary: nothing is done where it cannot be told how it is.
    let (code, said) = turn(&both, "75");
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("cannot be told") && said.contains(&dead) && said.contains(&format!("{living} says 50 %")), "{said}");
    assert_eq!(tracks.count(proxy.server.port, 40).1, 20);
    // None for the canary: whoever can be told is told, and the rest is said.
    let (code, said) = turn(&both, "stable");
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("set on 1 of 2") && said.contains(&format!("{living} says 0 %")), "{said}");
    assert_eq!(tracks.count(proxy.server.port, 40), (40, 0));
}

#[test]
fn a_socket_that_allows_nothing_says_what_it_needs() {
    let tracks = Tracks::start();
    let proxy = haproxy(&tracks, "operator");
    let host = host(&format!("kind = \"haproxy\"\nbackend = \"app\"\naddresses = [\"127.0.0.1:{}\"]\n", proxy.api));
    let (code, said) = turn(&host, "10");
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("level admin"), "{said}");
    let (code, said) = host.run(&["check", "--offline"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn nginx_splits_its_clients_by_the_written_file() {
    let tracks = Tracks::start();
    let server = nginx(&tracks);
    let nginx_words = |more: &str| format!("[\"{}\", \"-c\", \"{}\", {more}]", program(), server.config.display());
    let host = host(&format!(
        "kind = \"file\"\nfile = \"{}\"\ncheck = {}\nreload = {}\n\
         template = '''\nsplit_clients \"$request_id\" $track {{\n{{% if weight > 0 %}}  {{{{ weight }}}}% canary;\n{{% endif %}}{{% if rest > 0 %}}  * stable;\n{{% endif %}}}}\n'''\n",
        server.weights.display(),
        nginx_words("\"-t\", \"-q\""),
        nginx_words("\"-s\", \"reload\""),
    ));
    for (to, least, most) in [("30", 40, 140), ("stable", 0, 0), ("canary", 300, 300)] {
        // What stands there at first was not written by the switch: only zero needs not know what it was.
        if to == "30" {
            let (code, said) = turn(&host, to);
            assert!(code == 20 && said.contains("somebody has written it by hand"), "{said}");
            assert_eq!(turn(&host, "0").0, 0);
        }
        let (code, said) = turn(&host, to);
        assert_eq!(code, 0, "{said}");
        // A worker that is on its way out may take a last request of the old share.
        let want = if to == "stable" { "stable" } else { "canary" };
        until("the new share to count", || common::http_get(server.server.port, "/").is_some_and(|(_, body)| body == want));
        let share = || tracks.count(server.server.port, 300).1;
        if to == "30" {
            let canary = share();
            assert!((least..=most).contains(&canary), "{canary} of 300 at {to}");
        } else {
            until("the old workers to be gone", || (least..=most).contains(&share()));
        }
    }
    // A file that nginx refuses is put back.
    let good = std::fs::read_to_string(&server.weights).expect("the file");
    let text = host.read("lastgreen.toml").replace("split_clients", "{% if weight == 20 %}split_cilents{% else %}split_clients{% endif %}");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let before = std::fs::read(&server.weights).expect("the file");
    let (code, said) = turn(&host, "0");
    assert_eq!(code, 0, "{said}");
    let (code, said) = turn(&host, "20");
    assert!(code == 20 && said.contains("the file is as it was before"), "{said}");
    assert_ne!(before, std::fs::read(&server.weights).expect("the file"), "zero was written");
    assert!(!good.is_empty());
    until("the old workers to be gone", || tracks.count(server.server.port, 50).1 == 0);
}

/// A router that keeps a share and answers as told.
struct Router {
    server: Canned,
    share: Arc<Mutex<f64>>,
    puts: Arc<AtomicUsize>,
}

impl Router {
    fn start(obeys: bool, slow: Duration) -> Router {
        let (share, puts) = (Arc::new(Mutex::new(10.0)), Arc::new(AtomicUsize::new(0)));
        let (kept, counted) = (share.clone(), puts.clone());
        let server = Canned::new(move |request, stream| {
            if request.starts_with("PUT") {
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(slow);
                let (_, body) = request.split_once("\r\n\r\n").unwrap_or_default();
                let wanted: serde_json::Value = serde_json::from_str(body).expect("json");
                if obeys {
                    *kept.lock().expect("a lock") = wanted["canary"].as_f64().expect("a share");
                }
            }
            let body = format!("{{\"canary\": {}}}", kept.lock().expect("a lock"));
            respond(stream, "200 OK", &[], &body);
        });
        Router { server, share, puts }
    }

    fn host(&self) -> Host {
        host(&format!(
            "kind = \"http\"\nservice = \"router\"\npath = \"/traffic\"\npointer = \"/canary\"\nwithin = \"1s\"\n[services.router]\nurl = \"{}\"\n",
            self.server.url()
        ))
    }

    fn share(&self) -> f64 {
        *self.share.lock().expect("a lock")
    }
}

#[test]
fn a_switch_that_says_yes_and_does_nothing_has_failed() {
    let router = Router::start(false, Duration::ZERO);
    let host = router.host();
    for to in ["25", "stable"] {
        let (code, said) = turn(&host, to);
        assert_eq!(code, 20, "{said}");
        assert!(said.contains("the switch said yes") && said.contains("10 % is observed") && said.contains("it did not turn"), "{said}");
    }
    let (code, said) = turn(&host, "101");
    assert!(code == 64 && said.contains("`101` is no share of the traffic"), "{said}");
}

#[test]
fn what_was_turned_goes_back_to_what_it_was() {
    let router = Router::start(true, Duration::ZERO);
    let host = router.host();
    host.runbook(
        "back",
        &format!(
            "title: Back\nrollback: {{automatic: true}}\nsteps:\n  - {{name: up, type: traffic, to: 50}}\n{}  - {{name: fails, type: script, script: exit 3}}\n",
            waits_for("go")
        ),
    );
    let id = host.begin("back");
    until("the step behind it", || host.has("waits-for-go"));
    assert_eq!(router.share(), 50.0);
    std::fs::write(host.path().join("go"), "").expect("written");
    host.until(&id, "rolled-back");
    assert_eq!(router.share(), 10.0);
    // A step that only looks.
    host.runbook("looks", "title: Looks\nsteps:\n  - {name: is, type: traffic, to: 25, mutates: false}\n");
    let (code, said) = host.run(&["run", "looks", "--confirm", "here"]);
    assert!(code == 20 && said.contains("observed 10 %, wanted 25 %"), "{said}");
}

#[test]
fn a_runner_killed_while_the_switch_turns_is_taken_up_without_a_question() {
    let router = Router::start(true, Duration::from_secs(1));
    let host = router.host();
    host.runbook("to25", "title: To\nsteps:\n  - {name: turn, type: traffic, to: 25, retry: {count: 1, backoff: 10ms}}\n");
    let id = host.begin("to25");
    until("the request to be there", || router.puts.load(Ordering::SeqCst) == 1);
    kill_process(host.runner_pid(&id), Signal::KILL).expect("killed");
    host.until(&id, "interrupted");
    let (code, said) = host.run(&["resume", &id]);
    assert_eq!(code, 0, "{said}");
    host.until(&id, "done");
    assert_eq!(router.share(), 25.0);
}

/// A `kubectl` that keeps a rollout in a file and notes what it was told.
fn kubectl(host: &Host, object: &str) {
    std::fs::create_dir_all(host.path().join("bin")).expect("a folder");
    let script = format!(
        "#!/bin/sh\ncd {0}\necho \"$*\" >> told\ncase \"$1 $2\" in\n  'get '*) cat object.json ;;\n  'argo rollouts') cp \"after-$3.json\" object.json ;;\nesac\n",
        host.path().display()
    );
    let path = host.path().join("bin/kubectl");
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    std::fs::write(host.path().join("object.json"), object).expect("written");
}

fn rollout(current: &str, index: u64, weight: u64, abort: bool) -> String {
    serde_json::json!({
        "spec": {"strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]}}},
        "status": {"phase": "Paused", "currentPodHash": current, "stableRS": "a", "currentStepIndex": index, "abort": abort,
            "canary": {"weights": {"canary": {"weight": weight}}}},
    })
    .to_string()
}

#[test]
fn argo_rollouts_is_stepped_promoted_and_aborted() {
    let mut host = host("kind = \"kubectl\"\nresource = \"rollout/rag\"\nnamespace = \"prod\"\nwithin = \"2s\"\n");
    let path = std::env::var("PATH").unwrap_or_default();
    host.environment = vec![("PATH".into(), format!("{}:{path}", host.path().join("bin").display()))];
    // Nothing on its way: an abort would take down what is stable.
    kubectl(&host, &rollout("a", 0, 0, false));
    let (code, said) = turn(&host, "stable");
    assert_eq!(code, 0, "{said}");
    assert!(!host.read("told").contains("abort"), "{}", host.read("told"));
    let (code, said) = turn(&host, "25");
    assert!(code == 20 && said.contains("no release on its way"), "{said}");
    // One at 10 %: its next step is 25.
    kubectl(&host, &rollout("b", 1, 10, false));
    for (name, object) in [("promote", rollout("b", 3, 25, false)), ("abort", rollout("b", 0, 0, true))] {
        std::fs::write(host.path().join(format!("after-{name}.json")), object).expect("written");
    }
    let (code, said) = turn(&host, "50");
    assert!(code == 20 && said.contains("the rollout's next step is 25 %"), "{said}");
    assert_eq!(turn(&host, "25").0, 0);
    assert!(host.read("told").contains("argo rollouts promote rag --namespace prod"), "{}", host.read("told"));
    assert_eq!(turn(&host, "stable").0, 0);
    assert!(host.read("told").contains("argo rollouts abort rag --namespace prod"));
    // All of it: what is promoted whole is no canary any more.
    kubectl(&host, &rollout("b", 3, 25, false));
    std::fs::write(host.path().join("after-promote.json"), rollout("a", 0, 0, false)).expect("written");
    let (code, said) = turn(&host, "canary");
    assert_eq!(code, 0, "{said}");
    assert!(host.read("told").contains("argo rollouts promote rag --full --namespace prod"));
}

#[test]
fn a_command_is_a_switch_and_mistakes_in_one_are_said() {
    let host = host(
        "kind = \"command\"\nset = [\"sh\", \"-c\", \"echo 0.{{ rest }} > share\"]\nget = [\"sh\", \"-c\", \"echo 7\"]\npointre = \"/x\"\n",
    );
    let (code, said) = host.run(&["check", "--offline"]);
    assert!(code == 65 && said.contains("pointre"), "{said}");
    let mistakes = [
        ("kind = \"haproxy\"\nbackend = \"app\"\naddresses = [\"nowhere\"]\n", "`nowhere` is no address of a runtime API"),
        ("kind = \"haproxy\"\nbackend = \"app; shutdown\"\naddresses = [\"lb:1\"]\n", "cannot be a name in HAProxy"),
        ("kind = \"haproxy\"\nbackend = \"app\"\naddresses = [\"lb:1\"]\npath = \"/x\"\n", "a switch of kind haproxy has no `path`"),
        ("kind = \"command\"\nset = [\"x\", \"{{ wieght }}\"]\nget = [\"y\"]\n", "a template knows weight, rest, stable and canary"),
        ("kind = \"http\"\nservice = \"router\"\npath = \"/t\"\npointer = \"/c\"\n", "there is no service `router`"),
        ("kind = \"kubectl\"\nresource = \"canary/rag\"\n", "a canary of Flagger needs `abort`"),
        ("kind = \"command\"\nset = [\"x\"]\nget = [\"y\"]\ncanary = \"stable\"\n", "both tracks are called `stable`"),
    ];
    for (traffic, wanted) in mistakes {
        let host = Host::plain(&format!("[traffic]\n{traffic}"));
        let (code, said) = host.run(&["check", "--offline"]);
        assert!(code == 65 && said.contains(wanted) && said.contains("lastgreen.toml:"), "{traffic}\n{said}");
    }
    // Without a switch a step cannot be planned, and `check` says so.
    let bare = Host::plain("");
    bare.runbook("to", TO);
    let (code, said) = bare.run(&["check", "--offline"]);
    assert!(code == 65 && said.contains("there is no switch of the traffic"), "{said}");
}

#[test]
fn a_target_has_a_switch_of_its_own() {
    let (main, stage) = (Router::start(true, Duration::ZERO), Router::start(true, Duration::ZERO));
    let switch = "kind = \"http\"\nservice = \"router\"\npath = \"/traffic\"\npointer = \"/canary\"\n";
    let target = |url: &str, more: &str| {
        format!(
            "[targets.stage]\ntier = \"development\"\n[targets.stage.sources.lite]\nurl = \"sqlite:stage.db\"\n[targets.stage.services.router]\nurl = \"{url}\"\n{more}"
        )
    };
    let with = |more: &str| Host::plain(&format!("[services.router]\nurl = \"{}\"\n[traffic]\n{switch}{more}", main.server.url()));
    let host = with(&target(&stage.server.url(), &format!("[targets.stage.traffic]\n{switch}")));
    host.runbook("to", TO);
    std::fs::write(host.path().join("stage.db"), "").expect("written");
    let (code, said) = host.run(&["run", "to", "--set", "to=50", "--drill", "--confirm", "here-stage"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!((main.share(), stage.share()), (10.0, 50.0));
    let id = said.split_whitespace().find(|word| word.len() == 26).expect("the run's id");
    let (_, evidence) = host.run(&["runs", id]);
    assert!(evidence.contains("what to improve: nothing was seen"), "{evidence}");
    // Without one of its own there is none, and never that of the environment itself.
    let host = with(&target(&stage.server.url(), ""));
    host.runbook("to", TO);
    let (code, said) = host.run(&["run", "to", "--set", "to=50", "--drill", "--confirm", "here-stage"]);
    assert!(code != 0 && said.contains("there is no switch of the traffic"), "{said}");
    assert_eq!(main.share(), 10.0);
}
