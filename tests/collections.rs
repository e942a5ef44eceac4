//! Collections on the stand-in of a Qdrant, in the embedded system: brought back beside what is live, and what is not taken for done.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Canned, respond, until};
use rustix::process::Signal;
use serde_json::Value as Json;

/// The embedded system, without a screen.
struct Demo {
    child: Child,
    config: PathBuf,
    said: String,
}

impl Demo {
    fn start(scenario: &str) -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lastgreen"))
            .args(["demo", "--headless", "--scenario", scenario])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo");
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        while !said.contains("Look with") {
            assert!(lines.read_line(&mut said).expect("a line") > 0, "{said}");
        }
        let config = said.lines().find_map(|l| l.strip_prefix("config")).expect("a path").trim().into();
        let demo = Demo { child, config, said };
        until("the first snapshot", || !demo.json(&["snapshot", "list", "--json"])["snapshots"].as_array().is_none_or(Vec::is_empty));
        demo
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lastgreen")).arg("--config").arg(&self.config).args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lastgreen")).arg("--config").arg(&self.config).args(arguments).output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn port(&self, name: &str) -> u16 {
        let line = self.said.lines().find(|line| line.starts_with(name)).expect("a line");
        let port = line.split("http://127.0.0.1:").nth(1).expect("an address").split(|c: char| !c.is_ascii_digit()).next();
        port.and_then(|p| p.parse().ok()).expect("a port")
    }

    fn folder(&self) -> &Path {
        self.config.parent().expect("a folder")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(self.child.id() as i32).expect("a pid"), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A request with a body; gives the answer as it came.
fn answer(port: u16, method: &str, path: &str, body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    bytes
}

/// The same; gives the answer's body.
fn call(port: u16, method: &str, path: &str, body: &str) -> String {
    let text = String::from_utf8_lossy(&answer(port, method, path, body)).into_owned();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default()
}

#[test]
fn damaged_data_comes_back_beside_the_live_one_and_goes_again() {
    let demo = Demo::start("healthy");
    let qdrant = demo.port("qdrant");
    let points = |name: &str| {
        let answer = call(qdrant, "POST", &format!("/collections/{name}/points/count"), "{\"exact\":true}");
        serde_json::from_str::<Json>(&answer).expect("json")["result"]["count"].as_u64()
    };
    let all = points("rag_live");
    assert!(all.is_some_and(|n| n > 1000));
    call(qdrant, "POST", "/collections/rag_live/points/delete?wait=true", "{\"points\":[1,2,3,4,5]}");
    assert_eq!(points("rag_live"), all.map(|n| n - 5));
    let (code, said) = demo.run(&["rollback", "status"]);
    assert!(code == 0 && said.contains("5 points of rag_live come back"), "{said}");
    let (code, said) = demo.run(&["rollback", "--scope", "full", "--reason", "points are gone", "--confirm", "rag-demo"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(points("rag_live"), all);
    assert_eq!(points("rag_main"), all.map(|n| n - 5), "what was live before is kept");
    assert!(demo.run(&["rollback", "status"]).1.contains("rag_main: left by restores, used by nothing"));
    let (code, said) = demo.run(&["rollback", "undo", "--confirm", "rag-demo", "--reason", "it was not that"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(points("rag_live"), all.map(|n| n - 5));
    // And it was right after all: the alias leads to what was recovered, the database is again what was restored.
    let undo = demo.json(&["runs", "--json"])[0]["run"].as_str().expect("a run").to_string();
    // Where somebody else has put the alias since, nothing goes over that.
    call(qdrant, "PUT", "/collections/elsewhere", "{\"vectors\":{\"size\":4,\"distance\":\"Cosine\"}}");
    let put = |to: &str| {
        let create = format!("{{\"create_alias\":{{\"alias_name\":\"rag_live\",\"collection_name\":\"{to}\"}}}}");
        let body = format!("{{\"actions\":[{{\"delete_alias\":{{\"alias_name\":\"rag_live\"}}}},{create}]}}");
        call(qdrant, "POST", "/collections/aliases", &body);
    };
    put("elsewhere");
    let (code, said) = demo.run(&["rollback", "undo", &undo, "--confirm", "rag-demo", "--reason", "it was right"]);
    assert!(code != 0 && said.contains("rag_live leads to elsewhere, where somebody has put it since"), "{code}: {said}");
    assert!(!said.contains("rows in one transaction"), "and no half of it: {said}");
    put("rag_main");
    let (code, said) = demo.run(&["rollback", "undo", &undo, "--confirm", "rag-demo", "--reason", "it was right"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(points("rag_live"), all, "{said}");
    assert!(demo.folder().join("state/snapshots").exists());
}

#[test]
fn a_collection_that_is_no_alias_is_not_ready_and_says_what_to_do() {
    let demo = Demo::start("healthy");
    let text =
        std::fs::read_to_string(&demo.config).expect("the file").replace("collections = [\"rag_live\"]", "collections = [\"rag_main\"]");
    std::fs::write(&demo.config, text).expect("written");
    let (code, said) = demo.run(&["rollback", "status"]);
    assert!(code == 1 && said.contains("rag_main is no alias") && said.contains("in_place"), "{said}");
    let status = demo.json(&["rollback", "status", "--json"]);
    let works: Vec<bool> = status["scopes"].as_array().expect("scopes").iter().filter_map(|scope| scope["works"].as_bool()).collect();
    assert_eq!(works, [true, true, false], "traffic and code still work");
}

/// A server that says yes and does nothing: the alias is where it was.
#[test]
fn an_alias_that_is_not_switched_is_no_restore() {
    let demo = Demo::start("healthy");
    let qdrant = demo.port("qdrant");
    let before = Canned::new(move |request, stream| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let (method, rest) = head.split_once(' ').unwrap_or_default();
        let path = rest.split(' ').next().unwrap_or_default();
        if path.starts_with("/collections/aliases") && body.contains("create_alias") {
            return respond(stream, "200 OK", &["Content-Type: application/json"], r#"{"result":true,"status":"ok","time":0.001}"#);
        }
        let _ = stream.write_all(&answer(qdrant, method, path, body));
    });
    let text = std::fs::read_to_string(&demo.config).expect("the file");
    std::fs::write(&demo.config, text.replace(&format!("http://127.0.0.1:{qdrant}"), &before.url())).expect("written");
    let (code, said) = demo.run(&["snapshot", "restore", "latest", "--confirm", "rag-demo"]);
    assert!(code != 0 && said.contains("the server says that rag_live was switched, and it leads to rag_main"), "{code}: {said}");
}
