//! What `lastgreen status` says of sources that answer nonsense rather than fail: nothing of it passes, and no number is made
//! of what is none.

mod common;

use common::host::{Host, checked};
use common::{Canned, Postgres, free_port, respond};
use serde_json::Value as Json;

/// The exit code of `status`, and what it says.
fn status(config: &str) -> (i32, Json) {
    let host = Host::new(&format!("[environment]\nname = \"here\"\n[audit]\ndatabase = \"none\"\n{config}"));
    let (code, said) = host.run(&["status", "--json"]);
    (code, serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}")))
}

fn signal<'s>(status: &'s Json, name: &str) -> &'s Json {
    status["signals"].as_array().expect("signals").iter().find(|signal| signal["name"] == name).expect("the signal")
}

fn page(content_type: &'static str, body: String) -> Canned {
    Canned::new(move |_, stream| respond(stream, "200 OK", &[&format!("Content-Type: {content_type}")], &body))
}

fn scraped(targets: &str, query: &str) -> (i32, Json) {
    status(&format!(
        "[sources.pages]\nkind = \"scrape\"\ninterval = \"1s\"\ntargets = [{targets}]\n[signals.one]\nsource = \"pages\"\nquery = '{query}'\nfail = \"> 100\"\n"
    ))
}

fn target(server: &Canned, path: &str) -> String {
    format!("{{url = \"{}{path}\"}}", server.url())
}

const TEXT: &str = "text/plain; version=0.0.4";
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[test]
fn a_page_that_is_not_wholly_understood_is_none() {
    for (kind, body) in [
        (TEXT, "errors_total{path=\"/a\"} 1\nerrors_total{path=\"/b \"x\"\"} 900\n"),
        (OPEN, "errors_total{path=\"/a\"} 1\n"),
        (TEXT, "<html>sign in</html>"),
    ] {
        let server = page(kind, body.into());
        let (code, said) = scraped(&target(&server, "/metrics"), "sum(errors_total)");
        assert_eq!((code, signal(&said, "one")["verdict"].as_str()), (3, Some("unknown")), "{body}: {said}");
    }
    let server = page(OPEN, "errors_total{path=\"/a\"} 1\n# EOF\n".into());
    assert_eq!(scraped(&target(&server, "/metrics"), "sum(errors_total)").0, 0);
}

#[test]
fn every_line_has_its_number() {
    let server = page(TEXT, "queue{a=\"x\"} 3\nqueue{a=\"y\"} 5\n".into());
    let (_, said) = scraped(&target(&server, "/metrics"), "max by (a) (queue)");
    assert_eq!(signal(&said, "one")["lines"], serde_json::json!([{"label": "x", "value": 3.0}, {"label": "y", "value": 5.0}]), "{said}");
}

#[test]
fn a_sample_is_as_old_as_its_page_says() {
    let now = lastgreen::base::clock::Clock::System.now().0;
    let server = page(TEXT, format!("queue 3 {}\nahead 3 {}\n", now - 240_000, now + 1_200_000));
    let (code, said) = scraped(&target(&server, "/metrics"), "queue");
    assert_eq!(code, 3, "{said}");
    let one = signal(&said, "one");
    assert!(one["reason"].as_str().is_some_and(|reason| reason.contains("stale")), "{one}");
    let (code, said) = scraped(&target(&server, "/metrics"), "ahead");
    assert_eq!(code, 3, "what is twenty minutes ahead is refused: {said}");
    let server = page(OPEN, format!("queue{{a=\"y\"}} 500 {}\n# EOF\n", now / 1000));
    let (code, said) = scraped(&target(&server, "/metrics"), "queue");
    assert_eq!(code, 2, "seconds in OpenMetrics: {said}");
}

#[test]
fn two_pages_of_one_host_are_two() {
    let server = page(TEXT, "h_count 40\n".into());
    let both = format!("{}, {}", target(&server, "/a"), target(&server, "/b"));
    let (_, said) = scraped(&both, "sum(h_count)");
    assert_eq!(signal(&said, "one")["evidence"]["value"], 80.0, "{said}");
    let (_, said) = scraped(&both, "count(up)");
    assert_eq!(signal(&said, "one")["evidence"]["value"], 2.0, "{said}");
}

#[test]
fn whoever_cannot_say_what_fires_makes_nothing_green() {
    let answers: [(&'static str, &str); 5] = [
        ("500 Internal Server Error", "oops"),
        ("404 Not Found", ""),
        ("302 Found", ""),
        ("200 OK", ""),
        ("200 OK", "<html>sign in</html>"),
    ];
    for (line, body) in answers {
        let server = Canned::text(line, body);
        for source in ["kind = \"alertmanager\"", "kind = \"prometheus\""] {
            let asks = if source.contains("prometheus") { "alerts = true\n" } else { "" };
            let (code, said) = status(&format!(
                "[sources.am]\n{source}\nurl = \"{}\"\n[signals.alerts]\nsource = \"am\"\n{asks}[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n[signals.good]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\nfail = \"> 5\"\n",
                server.url()
            ));
            assert_eq!(code, 3, "{source} with {line} {body}: {said}");
        }
    }
}

fn rules(groups: &str) -> (i32, Json) {
    let server = Canned::text("200 OK", format!("{{\"status\":\"success\"{groups}}}"));
    status(&format!(
        "[alerts]\nseverities = {{ house = \"fail\" }}\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"{}\"\n[signals.alerts]\nsource = \"prometheus\"\nalerts = true\n\
         [sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n[signals.good]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\nfail = \"> 5\"\n",
        server.url()
    ))
}

#[test]
fn alerts_of_others_are_as_bad_as_they_say() {
    let firing = |name: &str, severity: &str| {
        format!(
            ",\"data\":{{\"groups\":[{{\"rules\":[{{\"name\":\"{name}\",\"health\":\"ok\",\"alerts\":[{{\"labels\":{{\"severity\":\"{severity}\"}},\"state\":\"firing\"}}]}}]}}]}}"
        )
    };
    for (name, severity, wanted) in [
        ("A", "critical", 2),
        ("A", "Critical", 2),
        ("A", "P1", 2),
        ("A", "emergency", 2),
        ("A", "house", 2),
        ("A", "warning", 1),
        ("A", "info", 0),
        ("Watchdog", "none", 0),
        ("Watchdog", "critical", 0),
        ("InfoInhibitor", "none", 0),
    ] {
        let (code, said) = rules(&firing(name, severity));
        assert_eq!(code, wanted, "{name} {severity}: {said}");
    }
    let (code, said) = rules("");
    assert_eq!(code, 3, "a success without data is no list of rules: {said}");
    let broken = ",\"data\":{\"groups\":[{\"rules\":[{\"name\":\"A\",\"health\":\"err\",\"lastError\":\"no such series\",\"labels\":{\"severity\":\"critical\"},\"alerts\":[]}]}]}";
    let (code, said) = rules(broken);
    assert_eq!(code, 3, "whether a broken rule would fire nobody knows: {said}");
    assert_eq!(rules(",\"data\":{\"groups\":[]}").0, 0);
}

#[test]
fn what_an_alertmanager_knows_is_told_once_and_by_that() {
    let raised = r#"{"status":"success","data":{"groups":[{"rules":[{"name":"Down","health":"ok","alerts":[{"labels":{"alertname":"Down","severity":"critical","job":"rag"},"state":"firing"}]}]}]}}"#;
    let prometheus = Canned::text("200 OK", raised);
    let known = |state: &str, job: &str, status: &'static str| {
        let labels = format!("{{\"alertname\":\"Down\",\"severity\":\"critical\",\"job\":\"{job}\",\"cluster\":\"eu\"}}");
        let text = format!(
            "[{{\"labels\":{labels},\"annotations\":{{}},\"startsAt\":\"2026-01-01T00:00:00Z\",\"status\":{{\"state\":\"{state}\",\"silencedBy\":[],\"inhibitedBy\":[]}}}}]"
        );
        let manager = Canned::new(move |request, stream| {
            let body = if request.contains("/silences") { "[]" } else { &text };
            respond(stream, status, &[], body);
        });
        let (code, said) = status_of_both(&prometheus, &manager);
        (code, said["alerts"].as_array().expect("alerts").len())
    };
    assert_eq!(known("active", "rag", "200 OK"), (2, 1));
    assert_eq!(known("suppressed", "rag", "200 OK"), (0, 1), "somebody has silenced it there");
    assert_eq!(known("suppressed", "other", "200 OK"), (2, 2), "another one of that name");
    assert_eq!(known("suppressed", "rag", "500 Internal Server Error").0, 2, "whoever does not answer silences nothing");
}

fn status_of_both(prometheus: &Canned, manager: &Canned) -> (i32, Json) {
    status(&format!(
        "[sources.prom]\nkind = \"prometheus\"\nurl = \"{}\"\n[sources.am]\nkind = \"alertmanager\"\nurl = \"{}\"\n\
         [signals.raised]\nsource = \"prom\"\nalerts = true\n[signals.known]\nsource = \"am\"\n",
        prometheus.url(),
        manager.url()
    ))
}

#[test]
fn of_an_object_no_member_is_left_aside() {
    for (body, wanted) in [("{\"a\": 1, \"b\": 2}", 0), ("{\"a\": 1, \"b\": \"down\"}", 3), ("{\"a\": 1, \"b\": {\"c\": 5000}}", 3)] {
        let server = Canned::text("200 OK", body);
        let (code, said) = status(&format!(
            "[sources.web]\nkind = \"http\"\nurl = \"{}\"\n[signals.one]\nsource = \"web\"\npath = \"/\"\npointer = \"\"\nfail = \"> 1000\"\n",
            server.url()
        ));
        assert_eq!(code, wanted, "{body}: {said}");
    }
}

#[test]
fn a_heartbeat_that_is_missing_is_the_fault() {
    let server = Canned::text("200 OK", "[]");
    let (code, said) = status(&format!(
        "[alerts]\nheartbeats = [\"Watchdog\"]\n[sources.am]\nkind = \"alertmanager\"\nurl = \"{}\"\n[signals.alerts]\nsource = \"am\"\n",
        server.url()
    ));
    assert!(code == 2 && said["reason"].as_str().is_some_and(|reason| reason.contains("Watchdog is silent")), "{said}");
    // Where nobody asks for alerts, nobody would hear that it is silent.
    let (code, said) = checked("[alerts]\nheartbeats = [\"Watchdog\"]\n");
    assert!(code == 65 && said.contains("nobody listens for the heartbeat Watchdog"), "{said}");
}

#[test]
fn a_source_that_no_signal_asks_is_not_up_unseen() {
    let server = Canned::text("404 Not Found", "");
    let (_, said) = status(&format!(
        "[sources.away]\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{}\"\n[sources.redis]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:{}\"\n\
         [sources.web]\nkind = \"http\"\nurl = \"{}\"\n\
         [sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n[signals.good]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\nfail = \"> 5\"\n",
        free_port(),
        free_port(),
        server.url()
    ));
    for source in said["sources"].as_array().expect("sources").iter().filter(|source| source["name"] != "lite") {
        assert_eq!(source["state"], "failing", "{source}");
    }
}

#[test]
fn sql_is_read_as_it_is_meant() {
    let pg = Postgres::start();
    let ask = |query: &str, more: &str| {
        let (_, said) = status(&format!(
            "[sources.db]\nkind = \"database\"\nurl = \"{}\"\n[signals.one]\nsource = \"db\"\nquery = \"{query}\"\n{more}\n",
            pg.url()
        ));
        signal(&said, "one").clone()
    };
    let two = ask("select 1, 2", "fail = \\\"> 5\\\"".replace('\\', "").as_str());
    assert!(two["verdict"] == "unknown" && two["reason"].as_str().is_some_and(|why| why.contains("2 columns")), "{two}");
    for text in ["15.10", "2026.11", "0012", "7e10234"] {
        assert_eq!(ask(&format!("SELECT '{text}' AS version"), "")["value"], text);
    }
    assert_eq!(ask("SELECT '7.5' AS v", "fail = \"> 7\"")["verdict"], "fail", "a threshold says that it is a number");
    let close = ask("SELECT 0.0701 AS v", "unit = \"ratio\"\nfail = \"> 7%\"");
    assert_eq!(close["reason"], "7.01 % > 7.0 %", "{close}");
    // Nobody replicates: there is no lag. A slot that nobody reads is one that is missed.
    let lag = "[sources.db]\nkind = \"database\"\nurl = \"URL\"\n[signals.lag]\nsource = \"db\"\nhealth = \"replication_lag\"\nfail = \"> 10s\"\n";
    let lag = lag.replace("URL", &pg.url());
    assert_eq!(status(&lag).0, 0);
    pg.sql("SELECT pg_create_physical_replication_slot('standby')");
    let (code, said) = status(&lag);
    assert_eq!(code, 3, "{said}");
}

#[test]
fn two_probes_on_one_path_fail_each_by_itself() {
    let server = Canned::text("200 OK", "fine");
    let (_, said) = status(&format!(
        "[sources.web]\nkind = \"http\"\nurl = \"{}\"\n[signals.plain]\nsource = \"web\"\npath = \"/\"\nfail = \"> 0\"\n[signals.body]\nsource = \"web\"\npath = \"/\"\nbody = \"other\"\nfail = \"> 0\"\n",
        server.url()
    ));
    assert_eq!(
        (signal(&said, "plain")["verdict"].as_str(), signal(&said, "body")["verdict"].as_str()),
        (Some("pass"), Some("fail")),
        "{said}"
    );
}

#[test]
fn a_probe_that_failed_once_is_neither_well_nor_as_bad_as_it_may_be() {
    let web = |server: &Canned, more: &str| {
        let (code, said) = status(&format!(
            "[sources.web]\nkind = \"http\"\nurl = \"{}\"\n{more}[signals.probe]\nsource = \"web\"\npath = \"/\"\nfail = \">= 3\"\n",
            server.url()
        ));
        (code, signal(&said, "probe").clone())
    };
    let (code, probe) = web(&Canned::text("500 Internal Server Error", ""), "");
    assert!(code == 3 && probe["reason"].as_str().is_some_and(|why| why.starts_with("it failed, and was asked once")), "{probe}");
    assert_eq!(web(&Canned::text("200 OK", ""), "").0, 0);
    // What is missing here is no failure of theirs.
    for (secret, why) in [("env:NOBODY_HAS_SET_THIS", "NOBODY_HAS_SET_THIS"), ("cmd:exit 3", "exit")] {
        let (code, probe) = web(&Canned::text("200 OK", ""), &format!("bearer_token = \"{secret}\"\n"));
        assert!(code == 3 && probe["value"] == "—" && probe["reason"].as_str().is_some_and(|said| said.contains(why)), "{secret}: {probe}");
    }
}

#[test]
fn a_line_that_has_no_number_hides_no_other() {
    let lines = |rows: &str| {
        let (code, said) = status(&format!(
            "[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n[signals.one]\nsource = \"lite\"\nshape = \"lines\"\nquery = \"{rows}\"\nfail = \"> 50\"\n"
        ));
        (code, signal(&said, "one")["verdict"].as_str().expect("a verdict").to_string())
    };
    assert_eq!(lines("SELECT 'a' AS name, 1 AS v UNION ALL SELECT 'b', 2"), (0, "pass".into()));
    assert_eq!(lines("SELECT 'a' AS name, 1 AS v UNION ALL SELECT 'b', NULL"), (3, "unknown".into()));
    assert_eq!(lines("SELECT 'a' AS name, 99 AS v UNION ALL SELECT 'b', NULL"), (2, "fail".into()));
}

#[test]
fn this_very_host_needs_no_proxy_and_the_proxy_is_named() {
    let server = page(TEXT, "up_to 7\n".into());
    let text = |url: &str| {
        format!(
            "[environment]\nname = \"here\"\n[audit]\ndatabase = \"none\"\n[sources.pages]\nkind = \"scrape\"\ntimeout = \"2s\"\ntargets = [{{url = \"{url}\"}}]\n[signals.one]\nsource = \"pages\"\nquery = \"max(up_to)\"\nfail = \"> 100\"\n"
        )
    };
    let proxy = format!("http://user:pass-of-it@127.0.0.1:{}", free_port());
    let run = |url: &str| {
        let mut host = Host::new(&text(url));
        host.environment = vec![("http_proxy".into(), proxy.clone())];
        host.run(&["status"])
    };
    let (code, said) = run(&format!("{}/metrics", server.url()));
    assert_eq!(code, 0, "{said}");
    let (_, said) = run("http://far.example/metrics");
    assert!(said.contains("by the proxy http://127.0.0.1:") && !said.contains("pass-of-it"), "{said}");
}

#[test]
fn what_a_url_says_that_nobody_understands_is_refused_by_name() {
    for (kind, url, wanted) in [
        ("redis", "redis://h/?db=3", "`db` in this URL is not supported"),
        ("database", "postgres://a@h/d?sslmod=require", "`sslmod` in this URL is not supported"),
        ("database", "postgres://a@h/d?target_session_attrs=read-write", "`target_session_attrs` in this URL is not supported"),
        ("database", "postgres://a@h1,h2/d", "several hosts in one URL are not supported"),
        ("database", "postgres://a@h/d?sslmode=maybe", "`maybe` is no sslmode"),
    ] {
        let host = Host::new(&format!("[environment]\nname = \"here\"\n[sources.one]\nkind = \"{kind}\"\nurl = \"{url}\"\n"));
        let (code, said) = host.run(&["check", "--offline"]);
        assert!(code == 65 && said.contains(wanted), "{url}: {said}");
    }
}

#[test]
fn something_else_on_that_port_is_not_the_source() {
    let elsewhere = Canned::new(|_, stream| respond(stream, "301 Moved Permanently", &["Location: https://login.example/"], ""));
    let nothing = Canned::text("404 Not Found", "no such page");
    let login = Canned::text("200 OK", "<html>sign in</html>");
    for (server, wanted) in [(&elsewhere, "https://login.example/"), (&nothing, "does not answer as a"), (&login, "does not answer as a")] {
        for (kind, asks) in
            [("prometheus", "query = \"up\""), ("alertmanager", ""), ("qdrant", "fact = \"collections\"\ncollection = \"c\"")]
        {
            let host = Host::new(&format!(
                "[environment]\nname = \"here\"\n[audit]\ndatabase = \"none\"\n[sources.one]\nkind = \"{kind}\"\nurl = \"{}\"\n[signals.one]\nsource = \"one\"\n{asks}\n",
                server.url()
            ));
            let (code, said) = host.run(&["check"]);
            assert!(code == 69 && said.contains("FAILING") && said.contains(wanted), "{kind}: {code} {said}");
        }
    }
}

#[test]
fn what_a_signal_names_and_is_not_there_is_said_with_what_is() {
    let pages = page("text/plain", "errors_total{path=\"/a\"} 1\n".into());
    let prometheus = Canned::new(|head, stream| {
        let data =
            if head.contains("/label/__name__/values") { "[\"http_requests_total\"]" } else { "{\"resultType\":\"vector\",\"result\":[]}" };
        respond(stream, "200 OK", &[], &format!("{{\"status\":\"success\",\"data\":{data}}}"));
    });
    let qdrant = Canned::new(|head, stream| {
        let result = match head.split(' ').nth(1).unwrap_or_default() {
            "/collections" => "{\"collections\":[{\"name\":\"docs_v1\"}]}",
            "/aliases" => "{\"aliases\":[{\"alias_name\":\"docs\",\"collection_name\":\"docs_v1\"}]}",
            _ => {
                return respond(
                    stream,
                    "404 Not Found",
                    &[],
                    "{\"status\":{\"error\":\"Not found: Collection `dox` doesn't exist!\"},\"time\":0}",
                );
            }
        };
        respond(stream, "200 OK", &[], &format!("{{\"result\":{result},\"status\":\"ok\",\"time\":0}}"));
    });
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\n[audit]\ndatabase = \"none\"\n[sources.pages]\nkind = \"scrape\"\ntargets = [{{url = \"{}\"}}]\n\
         [sources.prom]\nkind = \"prometheus\"\nurl = \"{}\"\n[sources.q]\nkind = \"qdrant\"\nurl = \"{}\"\n\
         [signals.a]\nsource = \"pages\"\nquery = \"sum(errors_totl)\"\n[signals.b]\nsource = \"prom\"\nquery = \"sum(rate(http_request_total[1m]))\"\n\
         [signals.c]\nsource = \"q\"\nfact = \"status\"\ncollection = \"dox\"\n",
        pages.url(),
        prometheus.url(),
        qdrant.url()
    ));
    let (code, said) = host.run(&["check"]);
    assert_ne!(code, 0, "{said}");
    for wanted in [
        "no metric `errors_totl`: did you mean `errors_total`?",
        "no metric `http_request_total`: did you mean `http_requests_total`?",
        "no collection `dox`; there is: docs_v1, docs",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn two_pages_that_differ_in_their_query_are_two() {
    let server = page(TEXT, "probe_success 1\n".into());
    let both = ["a", "b"].map(|name| format!("{{url = \"{}/probe?target={name}\", name = \"{name}\"}}", server.url())).join(", ");
    let (code, said) = scraped(&both, "sum(probe_success)");
    assert_eq!((code, signal(&said, "one")["evidence"]["value"].as_f64()), (0, Some(2.0)), "{said}");
}

#[test]
fn alerts_alone_are_enough_to_judge_by() {
    for (body, more, wanted) in [
        ("[]", "", 0),
        (
            "[{\"labels\":{\"alertname\":\"Watchdog\"},\"annotations\":{},\"startsAt\":\"2026-01-01T00:00:00Z\",\"status\":{\"state\":\"active\"}}]",
            "[alerts]\nheartbeats = [\"Watchdog\"]\n",
            0,
        ),
    ] {
        let server = Canned::text("200 OK", body);
        let (code, said) = status(&format!(
            "{more}[sources.am]\nkind = \"alertmanager\"\nurl = \"{}\"\n[signals.alerts]\nsource = \"am\"\n",
            server.url()
        ));
        assert_eq!(code, wanted, "{said}");
    }
}

#[test]
fn rules_that_nobody_evaluated_say_nothing() {
    let rule = |more: &str| format!(",\"data\":{{\"groups\":[{{\"rules\":[{{\"name\":\"A\",{more}}}]}}]}}");
    for (more, wanted) in [
        ("\"health\":\"ok\",\"state\":\"inactive\",\"alerts\":[]", 0),
        ("\"health\":\"unknown\",\"state\":\"inactive\",\"alerts\":[]", 3),
        ("\"health\":\"ok\",\"state\":\"firing\",\"alerts\":[]", 3),
        ("\"health\":\"ok\",\"state\":\"firing\",\"alerts\":[{\"labels\":{\"severity\":\"critical\"},\"state\":\"weird\"}]", 3),
    ] {
        let (code, said) = rules(&rule(more));
        assert_eq!(code, wanted, "{more}: {said}");
    }
    assert_eq!(rules(",\"warnings\":[\"store down\"],\"data\":{\"groups\":[]}").0, 3, "what is known in part");
}

#[test]
fn yes_and_no_and_texts_that_look_like_numbers() {
    let of = |query: &str, fail: &str| {
        status(&format!("[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n[signals.one]\nsource = \"lite\"\nquery = \"{query}\"\nfail = \"{fail}\"\n")).0
    };
    assert_eq!((of("SELECT 1 AS v", "!= true"), of("SELECT 0 AS v", "!= true"), of("SELECT 0 AS v", "== false")), (0, 2, 2));
    // In quotes it is a text: another version is another one.
    assert_eq!((of("SELECT '1.1' AS v", "!= '1.10'"), of("SELECT '1.10' AS v", "!= '1.10'")), (2, 0));
    let (code, said) = checked("[signals.one]\nsource = \"lite\"\nquery = \"SELECT 1\"\nunit = \"timestamp\"\nfail = \"> 1h\"\n");
    assert!(code == 65 && said.contains("this is a point in time"), "{said}");
    let pg = Postgres::start();
    pg.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    pg.sql("SELECT pg_reload_conf()");
    common::until("the setting", || pg.sql("SHOW synchronous_standby_names") == "*");
    let lag = format!(
        "[sources.db]\nkind = \"database\"\nurl = \"{}\"\n[signals.lag]\nsource = \"db\"\nhealth = \"replication_lag\"\nfail = \"> 10s\"\n",
        pg.url()
    );
    let (code, said) = status(&lag);
    assert!(code == 3 && said["reason"].as_str().is_some_and(|why| why.contains("no lag can be told")), "{said}");
}
#[test]
fn a_step_holds_a_text_to_a_number() {
    let host = Host::plain("[signals.version]\nsource = \"lite\"\nquery = \"SELECT '7' AS v\"\n");
    host.runbook("w", "title: W\nsteps:\n  - {name: one, type: validation, checks: [\"version > 5\"], timeout: 5s}\n");
    let (code, said) = host.run(&["run", "w", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_probe_that_is_answered_too_late_has_failed_however_long_others_are_waited_for() {
    use std::io::Read;
    let server = Canned::new(|head, stream| match head.contains("/hang") {
        // It says nothing until whoever asked has gone.
        true => drop(stream.read_to_end(&mut Vec::new())),
        false => respond(stream, "200 OK", &[], "ok"),
    });
    let (code, said) = status(&format!(
        "[sources.h]\nkind = \"http\"\nurl = \"{}\"\n[signals.web]\nsource = \"h\"\npath = \"/hang\"\ntimeout = \"300ms\"\nfail = \">= 1\"\n\
         [signals.other]\nsource = \"h\"\npath = \"/ok\"\ntimeout = \"5s\"\n",
        server.url()
    ));
    assert_eq!((code, signal(&said, "web")["verdict"].as_str()), (2, Some("fail")), "{said}");
}
