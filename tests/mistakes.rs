//! What can be read and cannot be meant so: each is said by `check`, with its place and what to write instead.

mod common;

use common::Canned;
use common::host::{Host, checked};

#[test]
fn a_condition_that_is_filled_in_when_it_is_planned_is_no_mistake() {
    let host = Host::plain("[signals.points]\nsource = \"lite\"\nquery = \"SELECT 5 AS v\"\n");
    host.runbook("w", "title: W\ninputs: {points: {type: integer}}\nsteps:\n  - {name: wait, type: wait, until: [\"points == {{ inputs.points }}\"], timeout: 5s}\n");
    let (code, said) = host.run(&["check", "--offline"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = host.run(&["run", "w", "--set", "points=5", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    host.runbook("w", "title: W\nsteps:\n  - {name: wait, type: wait, until: [\"points == five\"], timeout: 5s}\n  - {name: two, type: wait, until: [\"points > soon\"], timeout: 5s}\n");
    assert_eq!(host.run(&["check", "--offline"]).0, 65);
}

#[test]
fn a_rule_names_the_runbook_that_answers_it() {
    let rule = |runbook: &str| {
        format!(
            "[signals.one]\nsource = \"pages\"\nquery = 'max(up)'\n[rules.r]\nsignal = \"one\"\nwhen = \"> 5\"\nno_data = \"unknown\"\nrunbook = \"{runbook}\"\n"
        )
    };
    let (code, said) = checked(&rule("nowhere"));
    assert!(code == 0 && said.contains("names the runbook `nowhere`, which there is not"), "{said}");
}

#[test]
fn what_cannot_be_meant_so_of_a_canary_is_said() {
    let canary = |traffic: &str, canary: &str, metric: &str| {
        format!(
            "[signals.one]\nsource = \"lite\"\nquery = \"SELECT 1\"\n[signals.two]\nsource = \"lite\"\nquery = \"SELECT 2\"\n\
             [traffic]\nkind = \"command\"\nset = [\"a\", \"{{{{ weight }}}}\"]\nget = [\"b\"]\n{traffic}\n[canary]\n{canary}\n\
             [canary.metrics.m]\ncanary = \"one\"\nstable = \"two\"\n{metric}\n"
        )
    };
    for (more, code, wanted) in [
        (canary("", "steps = [0]", ""), 65, "no step gives the canary any traffic"),
        (canary("", "bake = \"2s\"\nat_least = 5000", ""), 0, "at_least = 5000: a bake of 2s has 0 points at most, asked every 5s"),
        (canary("", "", "weight = 0"), 0, "`m` weighs nothing and is not critical"),
        (canary("within = \"2s\"\ntimeout = \"5s\"", "", ""), 0, "has to be there within 2s, and one answer may take 5s"),
        (canary("", "", "[roles]\nviewer = [\"*\"]"), 0, "nobody may roll back in development"),
    ] {
        let (told, said) = checked(&more);
        assert!(told == code && said.contains(wanted), "{more}: {said}");
    }
    // One that has nothing to turn is looked at all the same.
    let alone = |steps: &str| checked(&format!("[canary]\nsteps = {steps}\n[canary.metrics.m]\ncanary = \"up\"\nstable = \"gone\"\n"));
    let (code, said) = alone("[50, 10]");
    assert!(code == 65 && said.contains("the steps of a canary rise") && said.contains("there is no signal `gone`"), "{said}");
    assert!(said.contains("warning: a canary walks nowhere without a switch of the traffic"), "{said}");
    let (code, said) = checked(&canary("", "", "[roles]\nviewer = [\"*\"]\ncommander = [\"eva\"]"));
    assert!(code == 0 && !said.contains("warning: nobody"), "{said}");
}

#[test]
fn what_cannot_be_meant_so_is_said() {
    let promql = |query: &str, more: &str| format!("[signals.one]\nsource = \"pages\"\nquery = '{query}'\n{more}\n");
    let sql = |query: &str, more: &str| format!("[signals.one]\nsource = \"lite\"\nquery = '{query}'\n{more}\n");
    let http = |more: &str| {
        format!("[sources.web]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\n[signals.one]\nsource = \"web\"\npath = \"/\"\n{more}\n")
    };
    for (more, wanted) in [
        (sql("SELECT 1", "shape = \"table\"\nfail = \"> 5\""), "`fail` on a table: there is no number in it"),
        (promql("max(up)", "fail = \"== green\""), "the answer is a number, and never a text"),
        (promql("max_over_time(up[30d])", ""), "looks back 30d, and its source keeps 2h"),
        (sql("SELECT count(*) FROM t WHERE d = $db", ""), "`$db` is not filled in"),
        (
            "[slos.a]\nobjective = \"99%\"\nsource = \"pages\"\ngood = \"sum(up)\"\ntotal = \"sum(rate(up[$window]))\"\n".into(),
            "this has no `$window`",
        ),
        ("[slos.a]\nobjective = \"99%\"\nsource = \"lite\"\ngood = \"a[$window]\"\ntotal = \"a[$window]\"\n".into(), "an objective is asked in PromQL"),
        (
            "[slos.a]\nobjective = \"99%\"\nsource = \"pages\"\ngood = \"sum(rate(up[$window])\"\ntotal = \"sum(rate(up[$window]))\"\n".into(),
            "lastgreen.toml:17:12: error: in this query: `(` is never closed",
        ),
        (promql("max(up)", "or = \"pages\""), "`pages` is asked already"),
        (sql("SELECT 1", "shape = \"table\"\n[rules.r]\nsignal = \"one\"\nwhen = \"> 5\"\nno_data = \"unknown\""), "`when` on a table: there is no number in it"),
        (http("pointer = \"a.b\""), "write pointer = \"/a/b\""),
        (promql("max(up)", "[rules.r]\nsignal = \"one\"\nwhen = \"== red\"\nno_data = \"unknown\""), "the answer is a number, and never a text"),
        (promql("max(up)", "[gates.g.c]\nkind = \"signals\"\nchecks = [\"one == red\"]"), "the answer is a number, and never a text"),
        (http("unit = \"seconds\"\nfail = \"> 2s\""), "signal `one` is not measured in seconds"),
        (http("fail = \"> 0.5s\""), "does not fit a signal measured in"),
        ("[signals.one]\nsource = \"lite\"\nhealth = \"connections\"\nunit = \"count\"\nfail = \"> 80\"\n".into(), "signal `one` is not measured in"),
        ("[sources.q]\nkind = \"qdrant\"\nurl = \"http://127.0.0.1:1\"\ncollection = \"c\"\n[signals.one]\nsource = \"q\"\nfact = \"points\"\nfail = \"== red\"\n".into(), "the answer is a number, and never a text"),
        (promql("max(up)", "baseline = \"5m ago\"\nfail = \"> 0x baseline\""), "`0` is not a factor"),
        (promql("max(up)", "baseline = \"1d ago\"\nfail = \"> 3x baseline\""), "looks back 1d, and its source keeps 2h"),
        (promql("max(up)", "fail = \"mean > 1 over 1s\""), "looks back 1s, and is asked every"),
        (promql("histogram_quantile(95, sum by (le) (rate(d_bucket[5m])))", ""), "write 0.95 for the 95 % quantile"),
        (promql("quantile(-1, up)", ""), "a quantile lies between 0 and 1, and this is -1"),
        (promql("max(up)", "at_least = 0\nsamples = \"count(up)\""), "that is always so"),
        ("[[boards]]\nname = \"B\"\n".into(), "board `B` has no panels"),
        (promql("max(up)", "fail = \"> 1,000\""), "thousands are written without a comma"),
        (promql("max(up)", "[signals.\"\"]\nsource = \"pages\"\nquery = \"up\""), "this has no name"),
        (promql("max(up)", "[alerts]\nheartbeats = [\"\"]"), "error: a heartbeat without a name"),
        (promql("max(up)", "[alerts]\nseverities = {P1 = \"fail\", p1 = \"warn\"}"), "the severity `p1` is there twice"),
        (
            promql("max(up)", "[signals.two]\nsource = \"pages\"\nquery = \"up\"\n[traffic]\nkind = \"command\"\nset = [\"a\", \"{{ weight }}\"]\nget = [\"b\"]\n\
                [canary.metrics.m]\ncanary = \"one\"\nstable = \"two\"\neffect = {measure = \"cles\", allowed_increase = 1.4}"),
            "`m` has 1.4 as a limit of its effect",
        ),
        (http("status = 999"), "no server answers with the status 999"),
        (http("method = \"HEAD\"\nbody = \"x\""), "an answer to HEAD has no body"),
        (http("within = \"1h\""), "no answer is waited for longer than"),
        ("[sources.two]\nkind = \"database\"\nurl = \"sqlite:b.db\"\nconnections = 0\n".into(), "from 1 to 20"),
        ("[sources.two]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\nheaders = {\"a b\" = \"c\"}\n".into(), "`a b` is no name of a header"),
        ("[[boards]]\nname = \"\"\npanels = [{title = \"x\", kind = \"logs\"}]\n".into(), "a board's name is empty"),
        ("[[boards]]\nname = \"A\"\npanels = [{title = \"x\", kind = \"logs\"}]\n[[boards]]\nname = \"A\"\npanels = [{title = \"x\", kind = \"logs\"}]\n".into(), "there is another board `A`"),
    ] {
        let (code, said) = checked(&more);
        assert!(code == 65 && said.contains(wanted), "{more}: {said}");
    }
    for (more, wanted) in [
        (promql("max(up)", "unit = \"ratio\"\nfail = \"> 7\""), "is 700 %"),
        (
            sql(
                "SELECT 1",
                "shape = \"table\"\n[[boards]]\nname = \"B\"\npanels = [{title = \"P\", kind = \"events\", signals = [\"one\"]}]",
            ),
            "`one` in the panel `P`: its kind shows lists of events",
        ),
        (
            sql(
                "SELECT 1",
                "shape = \"table\"\n[[boards]]\nname = \"B\"\npanels = [{title = \"P\", kind = \"stack\", signals = [\"one\"]}]",
            ),
            "shows numbers, and this gives a table",
        ),
        (promql("max(up)", "warn = \"> 7\"\nfail = \"> 5\""), "before it warns"),
        (promql("max(up)", "samples = \"count(up)\""), "nothing says how many are enough"),
        (
            promql("max(up)", "[[boards]]\nname = \"B\"\npanels = [{title = \"P\", kind = \"alerts\", signals = [\"one\"]}]"),
            "its kind shows alerts",
        ),
        (
            promql("max(up)", "[[boards]]\nname = \"B\"\npanels = [{title = \"P\", kind = \"logs\", signals = [\"one\"]}]"),
            "its kind shows no signals",
        ),
        (
            promql(
                "max(up)",
                "unit = \"bytes\"\n[signals.two]\nsource = \"pages\"\nquery = \"up\"\nunit = \"seconds\"\n[[boards]]\nname = \"B\"\npanels = [{title = \"P\", kind = \"stack\", signals = [\"one\", \"two\"]}]",
            ),
            "`two` in the panel `P` has another unit than those it is stacked on",
        ),
        (promql("max(up)", "unit = \"ratio\"\nfail = \"< 0%\""), "`< 0%` never holds"),
        (http("fail = \">= 0\""), "`>= 0` always holds"),
        (
            "[sources.two]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\ninterval = \"1s\"\ntimeout = \"1h\"\n".into(),
            "an answer is waited for 1h long",
        ),
        (promql("max(up)", "[alerts]\nseverities = {critical = \"pass\", warning = \"pass\"}"), "what fires with it is never bad"),
        (promql("max(up)", "unit = \"ratio\"\n[rules.r]\nsignal = \"one\"\nwhen = \"> 7\"\nno_data = \"unknown\""), "is 700 %"),
        // A stand-in of services alone is one.
        ("[services.app]\nurl = \"http://127.0.0.1:1\"\n[targets.st.services.app]\nurl = \"http://127.0.0.1:2\"\n".into(), "good:"),
        (promql("max(up)", ""), "no source here ever says its `cluster`"),
    ] {
        let (code, said) = checked(&more);
        assert!(code == 0 && said.contains(wanted), "{more}: {said}");
    }
    // Comments are comments, also where rules are written out.
    let commented = "[signals.one]\nsource = \"pages\"\nquery = \"sum(up) # don't (x\"\nfail = \"> 5\"\n".to_string()
        + "[rules.r]\nsignal = \"one\"\nwhen = \"> 5\"\nno_data = \"unknown\"\n";
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\n[sources.pages]\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:1/\"\n{commented}"
    ));
    let (code, said) = host.run(&["check", "--export-rules"]);
    assert!(code == 0 && said.contains("(sum(up)) > 5"), "{said}");
}

/// A rate takes two pages, and a check reads one: that is no fault, and a name that is not there is.
#[test]
fn a_rate_that_is_not_known_yet_is_no_missing_answer() {
    let page = Canned::text("200 OK", "n_total 5\n");
    let host = |query: &str| {
        Host::plain(&format!(
            "[sources.pages]\nkind = \"scrape\"\ntargets = [{{ url = \"{}/metrics\" }}]\n[signals.one]\nsource = \"pages\"\nquery = \"{query}\"\n",
            page.url()
        ))
    };
    let (code, said) = host("rate(n_total[1m])").run(&["check"]);
    assert!(code == 0 && said.contains("not known before pages are read for longer: one"), "{code}: {said}");
    let (code, said) = host("rate(m_total[1m])").run(&["check"]);
    assert!(code == 1 && said.contains("there is no metric `m_total`"), "{code}: {said}");
}

/// A unit says that it is a number; what is none, or not there, is no answer in any place.
#[test]
fn a_text_in_the_place_of_a_number_and_a_pointer_to_nothing_are_faults() {
    let web = Canned::text("200 OK", "{\"there\": 5}");
    for (more, wanted) in [
        (
            "[sources.out]\nkind = \"command\"\ncommand = [\"echo\", \"many\"]\n[signals.one]\nsource = \"out\"\nunit = \"count\"\n"
                .to_string(),
            "the answer is `many`, where its unit wants a number",
        ),
        (
            format!(
                "[sources.web]\nkind = \"http\"\nurl = \"{}\"\n[signals.one]\nsource = \"web\"\npath = \"/\"\npointer = \"/nowhere\"\n",
                web.url()
            ),
            "the answer has nothing at `/nowhere`",
        ),
    ] {
        let host = Host::plain(&more);
        let (code, said) = host.run(&["status"]);
        assert!(code == 3 && said.contains(wanted), "{code}: {said}");
        let (code, said) = host.run(&["check"]);
        assert!(code == 1 && said.contains(wanted), "{code}: {said}");
    }
    let host = Host::plain(
        "[sources.out]\nkind = \"command\"\ncommand = [\"echo\", \"down\"]\n[signals.one]\nsource = \"out\"\nunit = \"count\"\nfail = \"== down\"\n",
    );
    let (code, said) = host.run(&["status"]);
    assert!(code == 2 && said.contains("down (== down)"), "a text that it is compared with is one: {code}: {said}");
}
