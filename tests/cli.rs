//! The command line without a terminal: checking, status with its exit codes, init, exporting rules, completions.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Canned, Postgres, free_port, redis, respond, start_prometheus};
use tempfile::TempDir;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastgreen"))
        .args(arguments)
        .env_remove("LASTGREEN_CONFIG")
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join("xdg"))
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("written");
    path
}

#[test]
fn without_a_configuration_it_says_where_it_looked() {
    let folder = TempDir::new().expect("a folder");
    for arguments in [&["status"][..], &["check"], &[]] {
        let output = run(folder.path(), arguments);
        // `status` has four answers, as monitoring plugins have.
        assert_eq!(output.status.code(), Some(if arguments == ["status"] { 3 } else { 65 }), "{arguments:?}");
        let said = text(&output);
        for part in ["lastgreen.toml", "$LASTGREEN_CONFIG", "lastgreen demo", "lastgreen init"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert!(text(&run(folder.path(), &["--config", ".", "check"])).contains("which is a folder"));
    let refused = run(folder.path(), &["run", "x", "--json"]);
    let refused: serde_json::Value = serde_json::from_slice(&refused.stdout).expect("JSON, also when it is refused");
    assert_eq!(refused["error"]["kind"], "bad-file");
    let output = run(folder.path(), &["--config", "nowhere.toml", "status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("--config names nowhere.toml"));
}

#[test]
fn every_mistake_at_once_with_its_place() {
    let folder = TempDir::new().expect("a folder");
    let path = file(
        &folder,
        "lastgreen.toml",
        r#"[environment]
name = "x"
[sources.prom]
kind = "prometheus"
url = "http://user:secret-value@localhost:9090"
[sources.db]
kind = "databse"
url = "postgres://localhost/x"
[signals.a]
source = "promm"
query = "up"
[signals.b]
source = "prom"
query = "sum(rat(x[5m]))"
warn = "0.85"
[signals.c]
source = "prom"
query = "sum(x"
thing = 1
[rules.r]
signal = "bb"
when = "> 1"
for = "soon"
no_data = "unknown"
[boardz]
"#,
    );
    let output = run(folder.path(), &["check", "--offline"]);
    assert_eq!(output.status.code(), Some(65));
    let said = text(&output);
    for part in [
        "lastgreen.toml:5:7: error: the password stands inline in `url`",
        "lastgreen.toml:7:8: error: unknown variant `databse`",
        "did you mean `database`?",
        "lastgreen.toml:10:10: error: there is no source `promm`",
        "did you mean `prom`?",
        "lastgreen.toml:19:1: error: unknown field `thing`",
        "error: unknown section `boardz`",
        "did you mean `boards`?",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert!(!said.contains("secret-value"), "the secret is not repeated");
    let json: serde_json::Value = serde_json::from_slice(&run(folder.path(), &["check", "--offline", "--json"]).stdout).expect("JSON");
    assert!(json["findings"].as_array().is_some_and(|f| f.len() >= 6 && f[0]["line"].is_number()));
    let blind = run(folder.path(), &["status"]);
    let said = String::from_utf8_lossy(&blind.stdout).into_owned();
    assert_eq!(blind.status.code(), Some(3), "a monitoring plugin wants one line and 3");
    assert!(said.starts_with("UNKNOWN  ") && said.lines().count() == 1, "{said}");
    std::fs::write(&path, [0xff, 0xfe, 0x00]).expect("written");
    assert_eq!(run(folder.path(), &["status"]).status.code(), Some(3));
}

#[test]
fn what_would_be_left_aside_without_a_word_is_a_mistake() {
    let folder = TempDir::new().expect("a folder");
    file(
        &folder,
        "lastgreen.toml",
        r#"[environment]
name = "x"
tier = "staging"
[sources.web]
kind = "http"
url = "http://127.0.0.1:1"
user = "me"
[sources.both]
kind = "qdrant"
url = "http://127.0.0.1:1"
bearer_token = "env:A"
api_key = "env:B"
[sources.db]
kind = "database"
url = "sqlite:x.db"
[signals.version]
source = "web"
path = "/version"
pointer = "/n"
status = 204
[signals.alerts]
source = "prom"
alerts = true
query = "up"
[sources.prom]
kind = "prometheus"
url = "http://127.0.0.1:1"
[signals.connections]
source = "db"
health = "connections"
query = "SELECT 1"
[services.router]
url = "http://127.0.0.1:2"
[release]
deploy = ["./deploy", "{{ version }}"]
running = ["./running"]
method = "PUT"
[targets.stage.sources.db]
url = "sqlite:y.db"
collection = "c"
"#,
    );
    let said = text(&run(folder.path(), &["check", "--offline", "--theme", "drak"]));
    assert!(said.contains("drak") && said.contains("did you mean `dark`"), "beside all other mistakes: {said}");
    for part in [
        ":4:10: error: a user without a password",
        ":8:10: error: `bearer_token` and `api_key` are two ways to get in",
        ":20:1: error: `status` means nothing beside `pointer`",
        ":24:1: error: `query` means nothing beside `alerts`",
        ":31:1: error: `query` means nothing beside `health`",
        ":37:10: error: a release by programs has no `method`",
        "error: target `stage`: a database source has no `collection`",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn a_wrong_kind_of_value_is_said_in_words() {
    let folder = TempDir::new().expect("a folder");
    file(
        &folder,
        "lastgreen.toml",
        "[environment]\nname = 5\n[sources.p]\nkind = \"prometheus\"\nurl = \"nonsense\"\n[sources.q]\nurl = \"http://127.0.0.1:1\"\n\
         [signals.a]\nsource = \"p\"\nquery = [\"up\"]\n",
    );
    let said = text(&run(folder.path(), &["check", "--offline"]));
    for part in [
        ":2:8: error: this is a number, and has to be a text",
        ":5:7: error: this is not a URL: it does not say how it is spoken to",
        "begin with http://, as http://HOST:PORT",
        "error: `kind` is missing",
        ":10:9: error: this is a list, and has to be a text",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    // A program that is not there is seen before the night in which it is needed.
    file(
        &folder,
        "lastgreen.toml",
        "[environment]\nname = \"x\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"sqlite:x.db\"\n",
    );
    std::fs::create_dir(folder.path().join("runbooks")).expect("a folder");
    let runbook = "title: X\nsteps:\n  - name: flush\n    type: script\n    script: |\n      echo now\n      ./flush.sh --all\n";
    file(&folder, "runbooks/x.yaml", runbook);
    let said = text(&run(folder.path(), &["check", "--offline"]));
    assert!(said.contains("x.yaml:7") && said.contains("calls ./flush.sh, which is not in"), "{said}");
    file(&folder, "runbooks/flush.sh", "");
    let said = text(&run(folder.path(), &["check", "--offline"]));
    assert!(!said.contains("flush.sh"), "{said}");
}

#[test]
fn promql_mistakes_point_into_the_query() {
    let folder = TempDir::new().expect("a folder");
    file(
        &folder,
        "lastgreen.toml",
        "[environment]\nname = \"x\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://localhost:9\"\n[sources.s]\nkind = \"scrape\"\ntargets = [{ url = \"http://localhost:9/metrics\" }]\n\
         [signals.a]\nsource = \"p\"\nquery = \"1 + rat(x[5m])\"\n[signals.b]\nsource = \"s\"\nquery = \"max_over_time(rate(x[5m])[1h:5m])\"\n[signals.c]\nsource = \"p\"\nquery = \"x[5m]\"\n",
    );
    let said = text(&run(folder.path(), &["check", "--offline"]));
    assert!(said.contains("lastgreen.toml:11:14: error: in this query: unknown function"), "{said}");
    assert!(said.contains("does not answer sub-queries"), "{said}");
    assert!(said.contains("a signal needs one value a series"), "{said}");
}

fn status_of(value: &str) -> (Option<i32>, String) {
    let folder = TempDir::new().expect("a folder");
    let server = Canned::text("200 OK", format!("{{\"n\": {value}}}"));
    file(
        &folder,
        "lastgreen.toml",
        &format!(
            "[environment]\nname = \"x\"\n[sources.s]\nkind = \"http\"\nurl = \"{}\"\n[signals.n]\nsource = \"s\"\npath = \"/\"\npointer = \"/n\"\nwarn = \"> 1\"\nfail = \"> 2\"\n",
            server.url()
        ),
    );
    let output = run(folder.path(), &["status"]);
    (output.status.code(), text(&output))
}

#[test]
fn status_speaks_the_monitoring_convention() {
    for (value, code, word) in [("1", 0, "PASS"), ("2", 1, "WARN"), ("3", 2, "FAIL"), ("null", 3, "UNKNOWN")] {
        let (got, said) = status_of(value);
        assert_eq!(got, Some(code), "{value}: {said}");
        assert!(said.starts_with(word), "{said}");
    }
}

#[test]
fn status_as_json_and_a_wrong_environment() {
    let folder = TempDir::new().expect("a folder");
    let pg = Postgres::start();
    let config = |expected: &str| {
        format!(
            "[environment]\nname = \"x\"\n[environment.expect]\ndatabase = \"{expected}\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\n[signals.n]\nsource = \"db\"\nquery = \"SELECT 1\"\nfail = \"> 2\"\n",
            pg.url()
        )
    };
    file(&folder, "lastgreen.toml", &config("postgres"));
    let output = run(folder.path(), &["status", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((json["verdict"].as_str(), json["signals"][0]["value"].as_str()), (Some("pass"), Some("1")));
    file(&folder, "lastgreen.toml", &config("ragdb"));
    let output = run(folder.path(), &["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("WRONG ENVIRONMENT: db says database postgres, expected ragdb"), "{}", text(&output));
}

#[test]
fn a_source_that_is_away_is_never_a_pass() {
    let folder = TempDir::new().expect("a folder");
    let gone = free_port();
    file(
        &folder,
        "lastgreen.toml",
        &format!(
            "[environment]\nname = \"x\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:{gone}\"\n[signals.shown]\nsource = \"p\"\nquery = \"up\"\n[rules.r]\nsignal = \"shown\"\nwhen = \"> 1\"\nno_data = \"unknown\"\n"
        ),
    );
    let output = run(folder.path(), &["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let output = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
}

#[test]
fn a_probe_judges_itself() {
    let folder = TempDir::new().expect("a folder");
    let server = Canned::new(|head, stream| {
        let status = if head.starts_with("GET /broken") { "500 Internal Server Error" } else { "200 OK" };
        respond(stream, status, &[], "x");
    });
    for (path, code) in [("/well", 0), ("/broken", 2)] {
        let config = format!(
            "[environment]\nname = \"x\"\n[sources.w]\nkind = \"http\"\nurl = \"{}\"\n[signals.probe]\nsource = \"w\"\npath = \"{path}\"\n",
            server.url()
        );
        file(&folder, "lastgreen.toml", &config);
        let output = run(folder.path(), &["status"]);
        assert_eq!(output.status.code(), Some(code), "{path}: {}", text(&output));
    }
    // A wrong environment is no good configuration either, and what nobody says is not known.
    let expects = format!(
        "[environment]\nname = \"x\"\n[environment.expect]\ncluster = \"eu\"\n[sources.w]\nkind = \"http\"\nurl = \"{}\"\n[signals.probe]\nsource = \"w\"\npath = \"/well\"\n",
        server.url()
    );
    file(&folder, "lastgreen.toml", &expects);
    let output = run(folder.path(), &["status"]);
    assert!(output.status.code() == Some(3) && text(&output).contains("nobody says its cluster"), "{}", text(&output));
}

#[test]
fn init_writes_what_it_finds_and_check_accepts_it() {
    let folder = TempDir::new().expect("a folder");
    let exporter = Canned::new(|head, stream| {
        let body = if head.starts_with("GET /metrics ") {
            "http_requests_total{code=\"200\"} 1\nprocess_resident_memory_bytes 5\n"
        } else {
            "hello"
        };
        respond(stream, "200 OK", &[], body);
    });
    let prometheus = start_prometheus(TempDir::new().expect("a folder"), free_port(), &[format!("127.0.0.1:{}", exporter.port)], "");
    let pg = Postgres::start();
    let redis = redis(None);
    common::until("the metrics to be known", || {
        common::http_get(prometheus.port, "/api/v1/label/__name__/values").is_some_and(|(_, b)| b.contains("http_requests_total"))
    });
    let endpoints = [
        format!("http://127.0.0.1:{}", prometheus.port),
        exporter.url(),
        pg.url().replace("postgres@", "postgres:topsecret@"),
        format!("redis://127.0.0.1:{}", redis.port),
        format!("http://127.0.0.1:{}", free_port()),
    ];
    let mut arguments = vec!["init", "--name", "mine"];
    arguments.extend(endpoints.iter().map(String::as_str));
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("Prometheus with") && said.contains("a page of 2 metrics") && said.contains("connection refused"), "{said}");
    let written = std::fs::read_to_string(folder.path().join("lastgreen.toml")).expect("written");
    assert!(written.contains("[signals.requests]") && written.contains("password = \"env:DATABASE_PASSWORD\""), "{written}");
    assert!(!written.contains("topsecret") && !said.contains("topsecret"));
    let check = run(folder.path(), &["check", "--offline"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    // What it offers for runbooks is right, too.
    let (before, offered) = written.split_once("#\n# [services").expect("what runbooks need");
    let offered: Vec<&str> = offered.lines().map(|line| line.trim_start_matches("# ")).collect();
    std::fs::write(folder.path().join("acting.toml"), format!("{before}[services{}\n", offered.join("\n"))).expect("written");
    let check = run(folder.path(), &["check", "--offline", "--config", "acting.toml"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    let again = run(folder.path(), &arguments);
    assert_eq!(again.status.code(), Some(1), "nothing is overwritten");
    assert_eq!(std::fs::read_to_string(folder.path().join("lastgreen.toml")).expect("there"), written);
    // One that is none shows nothing of its password either.
    let broken = run(folder.path(), &["init", "--output", "other.toml", "redis://me:se#cret@127.0.0.1:1"]);
    let said = format!("{}{}", String::from_utf8_lossy(&broken.stdout), String::from_utf8_lossy(&broken.stderr));
    assert!(said.contains("redis://me@127.0.0.1:1") && !said.contains("cret"), "{said}");
    let nothing = run(folder.path(), &["init", "--output", "other.toml", &format!("http://127.0.0.1:{}", free_port())]);
    assert_eq!(nothing.status.code(), Some(69), "{}", text(&nothing));
}

#[test]
fn a_qdrant_that_is_empty_or_wants_a_key_is_written_down() {
    let answer = |keyed: bool| {
        common::Canned::new(move |head, stream| match head.split(' ').nth(1).unwrap_or_default() {
            "/" => common::respond(stream, "200 OK", &[], r#"{"title":"qdrant - vector search engine","version":"1.18.3"}"#),
            "/collections" if keyed => common::respond(stream, "401 Unauthorized", &[], "Must provide an API key"),
            "/collections" => common::respond(stream, "200 OK", &[], r#"{"result":{"collections":[]},"status":"ok","time":0.1}"#),
            _ => common::respond(stream, "404 Not Found", &[], ""),
        })
    };
    for keyed in [false, true] {
        let (folder, server) = (TempDir::new().expect("a folder"), answer(keyed));
        let output = run(folder.path(), &["init", "-c", "own.toml", &server.url()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let written = std::fs::read_to_string(folder.path().join("own.toml")).expect("written where -c says");
        assert_eq!(written.lines().any(|line| line.starts_with("api_key = ")), keyed, "{written}");
        let checked = run(folder.path(), &["check", "--offline", "-c", "own.toml"]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    }
}

#[test]
fn exported_rules_are_accepted_by_prometheus() {
    let folder = TempDir::new().expect("a folder");
    file(
        &folder,
        "lastgreen.toml",
        "profile = \"rag\"\n[environment]\nname = \"x\"\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://localhost:9\"\n[sources.qdrant]\nkind = \"qdrant\"\nurl = \"http://localhost:9\"\ncollection = \"rag_main\"\n",
    );
    let output = run(folder.path(), &["check", "--export-rules"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let rules = String::from_utf8(output.stdout).expect("text");
    assert!(rules.contains("not expressible: collection_unwell"), "{rules}");
    let path = file(&folder, "rules.yml", &rules);
    let promtool = Command::new("promtool").args(["check", "rules"]).arg(path).output().expect("promtool comes with prometheus");
    assert!(promtool.status.success(), "{}\n{rules}", text(&promtool));
    assert!(text(&promtool).contains("18 rules found"), "{}", text(&promtool));
}

#[test]
fn one_mistake_makes_no_others() {
    let folder = TempDir::new().expect("a folder");
    let config = "[environment]\nname = \"x\"\ntier = \"prod\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:1\"\ninterval = 5\n\
                  [signals.mem]\nsource = \"p\"\nquery = \"up\"\nfail = 2\n[rules.r]\nsignal = \"mem\"\nwhen = \"> 1\"\nfor = \"5M\"\nno_data = \"keep\"\n\
                  [signals.mem]\nsource = \"p\"\nquery = \"up\"\n";
    file(&folder, "lastgreen.toml", config);
    let said = text(&run(folder.path(), &["check", "--offline"]));
    for part in [
        "unknown variant `prod`",
        ":7:12: error: this is a number",
        ":11:8: error: this is a number",
        "put it in quotes",
        "minutes are a small m",
        "`mem` is there twice",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert!(said.contains(": 5 errors"), "and no others: {said}");
    // Nor does one in what has to be there.
    for (wrong, said) in [
        ("[environment]\nname = 5\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:1\"\n", ":2:8: error: this is a number"),
        ("[environment]\nname = \"x\"\n[sources.p]\nkind = \"prometheus\"\nurl = 5\n", ":5:7: error: this is a number"),
        ("[environment]\nname = \"x\"\n[sources.p]\nkind = \"promethius\"\nurl = \"http://127.0.0.1:1\"\n", "did you mean `prometheus`?"),
    ] {
        file(&folder, "lastgreen.toml", &format!("{wrong}[signals.a]\nsource = \"p\"\nquery = \"up\"\nfail = \"> 3\"\n"));
        let output = text(&run(folder.path(), &["check", "--offline"]));
        assert!(output.contains(said) && output.contains(": 1 error\n"), "{output}");
    }
    let signals = "[environment]\nname = \"x\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:1\"\n[signals.a]\nsource = \"p\"\nquery = \"up\"\nfail = \"> 3\"\n";
    for (wrong, said) in [("unit = 7\n", "this has to be a word"), ("interval = \"999999999999d\"\n", "more than ten years")] {
        file(&folder, "lastgreen.toml", &format!("{signals}{wrong}"));
        let output = text(&run(folder.path(), &["check", "--offline"]));
        assert!(output.contains(said) && output.contains(": 1 error\n"), "{output}");
    }
    // Nor one in what others name.
    let traffic =
        "[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/t\"\npointer = \"/canary\"\n[services.router]\nurl = \"nonsense\"\n";
    for (more, said) in [(traffic, ": 1 error\n"), ("[signals.b]\nsource = \"p\"\nqeury = \"up\"\n", "did you mean `query`?")] {
        file(&folder, "lastgreen.toml", &format!("{signals}{more}"));
        let output = text(&run(folder.path(), &["check", "--offline"]));
        assert!(output.contains(said) && output.contains(": 1 error\n"), "{output}");
    }
    // It is what is typed to confirm.
    for name in ["", " ", "a\\nb", "\\u001b[2J"] {
        file(
            &folder,
            "lastgreen.toml",
            &format!("[environment]\nname = \"{name}\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:1\"\n"),
        );
        let output = run(folder.path(), &["check", "--offline"]);
        assert!(output.status.code() == Some(65) && text(&output).contains("the environment's name"), "{name}: {}", text(&output));
    }
}

#[test]
fn completions_man_and_usage() {
    let folder = TempDir::new().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        let output = run(folder.path(), &["completions", shell]);
        assert!(output.status.success() && text(&output).contains("lastgreen"));
    }
    assert!(text(&run(folder.path(), &["man"])).contains(".TH"));
    assert_eq!(run(folder.path(), &["no-such-command"]).status.code(), Some(64));
    assert_eq!(run(folder.path(), &["demo", "--scenario", "bad-canry"]).status.code(), Some(64));
    assert!(text(&run(folder.path(), &["demo", "--scenario", "bad-canry"])).contains("did you mean `bad-canary`?"));
}

#[test]
fn the_shipped_profile_has_what_the_operators_ask_for() {
    let text = "profile = \"rag\"\n[environment]\nname = \"x\"\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://localhost:9\"\n[sources.qdrant]\nkind = \"qdrant\"\nurl = \"http://localhost:9\"\ncollection = \"c\"\n[sources.database]\nkind = \"database\"\nurl = \"postgres://localhost/x\"\n";
    let config = lastgreen::config::load_text(Path::new("x.toml"), text).config.expect("the profile");
    let own = config.rules.iter().filter(|r| !r.name.contains("budget_burns") && !r.name.contains("good_exceeds")).count();
    assert_eq!((own, config.boards[0].panels.len()), (16, 9));
    let rule = |name: &str| config.rules.iter().find(|r| *r.name == *name).expect(name);
    // More good ones than there are at all: a query is wrong, and nothing burns less than nothing.
    let objective = config.objectives.first().expect("an objective");
    assert_eq!(rule(&format!("{}_good_exceeds_total", objective.name)).condition.to_string(), "< -1");
    for (name, condition, seconds) in [
        ("gate_fail_rate", "> 7.0 %", 180),
        ("faithfulness_drop", "< 0.75", 0),
        ("latency_spike", "> 3x baseline", 300),
        ("http_5xx", "> 2.0 %", 300),
        ("latency_p95_high", "> 2.50 s", 300),
        ("latency_p99_high", "> 4.00 s", 300),
        ("latency_mean_high", "> 1.20 s", 600),
        ("faithfulness_low", "< 0.85", 600),
        ("answer_relevancy_low", "< 0.78", 600),
        ("context_recall_low", "< 0.70", 600),
    ] {
        assert_eq!((rule(name).condition.to_string().as_str(), rule(name).hold.as_secs()), (condition, seconds), "{name}");
    }
    assert_eq!(config.signal("faithfulness").and_then(|s| s.at_least), Some(50));
}

#[test]
fn what_is_named_on_the_command_line_is_checked_too() {
    let folder = TempDir::new().expect("a folder");
    file(&folder, "lastgreen.toml", "[environment]\nname = \"x\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:9\"\n");
    for arguments in [&["check", "--offline", "--theme", "drak"][..], &["check", "--offline", "--keymap", "vmi"]] {
        let output = run(folder.path(), arguments);
        assert!(output.status.code() == Some(65) && text(&output).contains(arguments[3]), "{}", text(&output));
    }
    let script = file(&folder, "keys", "until\nwait soon\n");
    for path in ["/nope", script.to_str().expect("a path")] {
        let output = run(folder.path(), &["demo", "--script", path]);
        let said = text(&output);
        assert!(output.status.code() == Some(65) && said.contains(path) && !said.contains("src/"), "{said}");
    }
}

#[test]
fn a_secret_that_a_runbook_needs_is_missed_by_check() {
    let folder = TempDir::new().expect("a folder");
    file(&folder, "lastgreen.toml", "[environment]\nname = \"x\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:9\"\n");
    std::fs::create_dir(folder.path().join("runbooks")).expect("a folder");
    file(
        &folder,
        "runbooks/call.yaml",
        "title: Call\nsteps:\n  - {name: call, type: http, method: GET, url: 'http://127.0.0.1:9/', secret_headers: {X-Key: 'env:NOBODY_SET_THIS'}}\n",
    );
    let output = run(folder.path(), &["check", "--offline"]);
    let said = text(&output);
    assert!(output.status.code() == Some(0) && said.contains("warning") && said.contains("env:NOBODY_SET_THIS"), "{said}");
}

#[test]
fn what_is_shipped_can_be_read_and_laid_over() {
    let host = common::host::Host::plain("");
    for (what, name, wanted) in [
        ("profile", "rag", "[signals.faithfulness]"),
        ("theme", "dark", "[roles]"),
        ("keymap", "default", "[keys]"),
        ("runbook", "rollback-full", "emergency: true"),
        ("runbook", "rag/rollback-traffic", "task_events"),
    ] {
        let (code, names) = host.run(&["show", what]);
        assert!(code == 0 && names.lines().any(|line| line == name), "{names}");
        let (code, text) = host.run(&["show", what, name]);
        assert!(code == 0 && text.contains(wanted), "{text}");
    }
    let (code, said) = host.run(&["show", "theme", "drak"]);
    assert!(code == 64 && said.contains("did you mean `dark`?"), "{said}");
}

#[test]
fn an_unknown_key_hides_nothing_else() {
    let host = common::host::Host::new(
        "[environment]\nname = \"here\"\ntiers = \"staging\"\n[sources.db]\nkind = \"database\"\nurll = \"sqlite:app.db\"\nurl = \"sqlite:app.db\"\ntimeout = \"5 parsecs\"\n\
         [[boards]]\nname = \"B\"\n[[boards.panels]]\ntitle = \"P\"\nkind = \"alerts\"\ncolour = \"red\"\n",
    );
    let (code, said) = host.run(&["check", "--offline"]);
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("error:")).collect();
    assert_eq!(code, 65, "{said}");
    for wanted in ["unknown field `tiers`", "unknown field `urll`", "parsecs", "unknown field `colour`"] {
        assert_eq!(errors.iter().filter(|line| line.contains(wanted)).count(), 1, "{wanted}: {said}");
    }
    assert_eq!(errors.len(), 4, "nothing follows from them: {said}");
}
