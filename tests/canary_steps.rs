//! A canary that is walked up from the command line: what a step is judged by, where its sources tell no past or the share cannot be told.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::host::Host;
use common::router::{Router, host};
use common::{Canned, respond, until};

/// What is baked is a share of the traffic: one that nobody can tell is none.
#[test]
fn a_bake_ends_where_nobody_can_tell_the_share() {
    let router = Router::default();
    let server = router.start();
    let host = host(&server, "");
    let text = host.read("lastgreen.toml").replace("bake = \"2s\"", "bake = \"10m\"");
    std::fs::write(host.path().join("lastgreen.toml"), text).expect("written");
    let (code, said) = host.run(&["canary", "set", "10", "--confirm", "here", "--detach"]);
    assert_eq!(code, 0, "{said}");
    let id = said.split_whitespace().find(|word| word.len() == 26).expect("the run's id").to_string();
    until("the bake", || host.run(&["runs", &id, "--json"]).1.contains("baked"));
    router.mute.store(true, Ordering::SeqCst);
    host.until(&id, "waiting");
    let (_, said) = host.run(&["runs", &id]);
    assert!(said.contains("503"), "{said}");
}

/// A rate takes two pages: whoever has just begun to read them waits for the second.
#[test]
fn a_step_up_by_command_waits_for_the_second_page() {
    let router = Router::default();
    let server = router.start();
    let pages = Arc::new(AtomicU32::new(0));
    let asked = pages.clone();
    let exporter = Canned::new(move |_, stream| {
        let n = 5 * pages.fetch_add(1, Ordering::SeqCst);
        respond(stream, "200 OK", &["Content-Type: text/plain"], &format!("n_total{{track=\"a\"}} {n}\nn_total{{track=\"b\"}} {n}\n"));
    });
    let host = Host::plain(&format!(
        "[services.router]\nurl = \"{}\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/w\"\npointer = \"/canary\"\nwithin = \"2s\"\n\
         [sources.pages]\nkind = \"scrape\"\ninterval = \"1s\"\ntargets = [{{ url = \"{}/metrics\" }}]\n\
         [signals.new]\nsource = \"pages\"\nquery = 'sum(rate(n_total{{track=\"a\"}}[4s]))'\n\
         [signals.old]\nsource = \"pages\"\nquery = 'sum(rate(n_total{{track=\"b\"}}[4s]))'\n\
         [canary]\nsteps = [0, 10, 25, 100]\nbake = \"5s\"\nat_least = 4\n[canary.metrics.m]\ncanary = \"new\"\nstable = \"old\"\n\
         effect = {{ measure = \"mean_ratio\", allowed_increase = 100.0, allowed_decrease = 0.01 }}\n",
        server.url(),
        exporter.url()
    ));
    assert_eq!(host.run(&["canary", "status"]).0, 0);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing is compared of a canary without traffic");
    let (code, said) = host.run(&["canary", "set", "10", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = host.run(&["canary", "promote", "--confirm", "here"]);
    assert_eq!((code, router.share()), (0, 25.0), "{said}");
}

/// What stands on one page is a reading, however young it is.
#[test]
fn a_number_of_the_first_page_is_one() {
    let router = Router::default();
    let server = router.start();
    let exporter = Canned::text("200 OK", "n{track=\"a\"} 5\nn{track=\"b\"} 5\n");
    let host = Host::plain(&format!(
        "[services.router]\nurl = \"{}\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/w\"\npointer = \"/canary\"\nwithin = \"2s\"\n\
         [sources.pages]\nkind = \"scrape\"\ninterval = \"1s\"\ntargets = [{{ url = \"{}/metrics\" }}]\n\
         [signals.new]\nsource = \"pages\"\nquery = 'n{{track=\"a\"}}'\n[signals.old]\nsource = \"pages\"\nquery = 'n{{track=\"b\"}}'\n\
         [canary]\nsteps = [0, 10, 25, 100]\nbake = \"4s\"\nat_least = 3\n[canary.metrics.m]\ncanary = \"new\"\nstable = \"old\"\n",
        server.url(),
        exporter.url()
    ));
    let (code, said) = host.run(&["canary", "set", "10", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    for _ in 0..3 {
        let (code, said) = host.run(&["canary", "status"]);
        assert!(code == 0 && said.contains("judged at"), "{code}: {said}");
    }
    let (code, said) = host.run(&["canary", "promote", "--confirm", "here"]);
    assert_eq!((code, router.share()), (0, 25.0), "{said}");
}

/// What is asked of sources that tell no past begins anew with every command: the bake has seen more.
#[test]
fn a_step_up_by_command_goes_by_what_the_bake_was_judged_by() {
    let router = Router::default();
    let server = router.start();
    let host = Host::plain(&format!(
        "[services.router]\nurl = \"{}\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/w\"\npointer = \"/canary\"\nwithin = \"2s\"\n\
         [sources.new]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"cat new 2>/dev/null\"]\ninterval = \"200ms\"\n\
         [sources.old]\nkind = \"command\"\ncommand = [\"echo\", \"5\"]\ninterval = \"200ms\"\n\
         [signals.new]\nsource = \"new\"\n[signals.old]\nsource = \"old\"\n\
         [canary]\nsteps = [0, 10, 25, 100]\nbake = \"3s\"\nat_least = 5\n[canary.metrics.m]\ncanary = \"new\"\nstable = \"old\"\n",
        server.url()
    ));
    std::fs::write(host.path().join("new"), "5\n").expect("written");
    let (code, said) = host.run(&["canary", "set", "10", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    // A source that says nothing now is not made up for by what it said.
    std::fs::remove_file(host.path().join("new")).expect("removed");
    let (code, said) = host.run(&["canary", "promote", "--confirm", "here"]);
    assert!(code == 24 && router.share() == 10.0, "{code}: {said}");
    std::fs::write(host.path().join("new"), "5\n").expect("written");
    let (code, said) = host.run(&["canary", "status"]);
    assert!(code == 0 && said.contains("judged at"), "{code}: {said}");
    let (code, said) = host.run(&["canary", "promote", "--confirm", "here"]);
    assert_eq!((code, router.share()), (0, 25.0), "{said}");
    // What is far off now speaks against what was good before, and is judged by the step itself.
    std::fs::write(host.path().join("new"), "500\n").expect("written");
    let (code, said) = host.run(&["canary", "status"]);
    assert!(code == 3 && said.contains("m is 500 now, and 5 of what it would replace"), "{code}: {said}");
    let (code, said) = host.run(&["canary", "promote", "--confirm", "here"]);
    assert!(code == 20 && router.share() == 25.0 && said.contains("it is judged from now on, for 3s"), "{code}: {said}");
}

/// Where nothing was judged yet, and nobody can ask what was before, a step judges from its beginning on.
#[test]
fn a_step_up_by_command_judges_what_nobody_has_judged() {
    let router = Router::default();
    let server = router.start();
    let host = Host::plain(&format!(
        "[services.router]\nurl = \"{}\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/w\"\npointer = \"/canary\"\nwithin = \"2s\"\n\
         [sources.five]\nkind = \"command\"\ncommand = [\"echo\", \"5\"]\ninterval = \"200ms\"\n\
         [signals.new]\nsource = \"five\"\n[signals.old]\nsource = \"five\"\n\
         [canary]\nsteps = [0, 10, 25, 100]\nbake = \"3s\"\nat_least = 6\n[canary.metrics.m]\ncanary = \"new\"\nstable = \"old\"\n",
        server.url()
    ));
    host.runbook("turn", "title: Turn\nsteps:\n  - {name: turn, type: traffic, to: 10}\n  - {name: wait, type: wait, time: 3s}\n");
    let (code, said) = host.run(&["run", "turn", "--confirm", "here"]);
    assert_eq!((code, router.share()), (0, 10.0), "{said}");
    let (code, said) = host.run(&["canary", "status"]);
    assert!(code == 3 && said.contains("next       25 %, once it was judged from then on"), "{code}: {said}");
    let (code, said) = host.run(&["canary", "promote", "--confirm", "here"]);
    assert_eq!((code, router.share()), (0, 25.0), "{said}");
}
