//! A router that keeps the canary's share of the traffic, and a host that turns it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

use super::host::Host;
use super::{Canned, respond, until};

/// A router that keeps a share.
#[derive(Clone, Default)]
pub struct Router {
    pub share: Arc<Mutex<f64>>,
    pub puts: Arc<AtomicUsize>,
    /// A call that is still on its way: it arrives behind the next look.
    pub late: Arc<Mutex<Option<f64>>>,
    /// No call is answered.
    pub hangs: Arc<AtomicBool>,
    /// Nobody is told the share.
    pub mute: Arc<AtomicBool>,
}

impl Router {
    pub fn start(&self) -> Canned {
        let router = self.clone();
        Canned::new(move |request, stream| {
            if request.starts_with("PUT") {
                router.puts.fetch_add(1, Ordering::SeqCst);
                until("the router to answer", || !router.hangs.load(Ordering::SeqCst));
                let (_, body) = request.split_once("\r\n\r\n").unwrap_or_default();
                let wanted: Json = serde_json::from_str(body).expect("json");
                *router.share.lock().expect("a lock") = wanted["canary"].as_f64().expect("a share");
            }
            if router.mute.load(Ordering::SeqCst) {
                return respond(stream, "503 Service Unavailable", &[], "");
            }
            let now = *router.share.lock().expect("a lock");
            respond(stream, "200 OK", &[], &format!("{{\"canary\": {now}}}"));
            if request.starts_with("GET")
                && now == 0.0
                && let Some(late) = router.late.lock().expect("a lock").take()
            {
                *router.share.lock().expect("a lock") = late;
            }
        })
    }

    pub fn share(&self) -> f64 {
        *self.share.lock().expect("a lock")
    }
}

pub const SIGNALS: &str =
    "[signals.bad]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\n[signals.good]\nsource = \"lite\"\nquery = \"SELECT 1 AS v\"\n";

pub fn host(server: &Canned, more: &str) -> Host {
    Host::plain(&format!(
        "{SIGNALS}[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/traffic\"\npointer = \"/canary\"\nwithin = \"3s\"\ntimeout = \"2s\"\n\
         [canary]\nsteps = [0, 10, 25, 100]\nbake = \"2s\"\nat_least = 1\n[canary.metrics.m]\ncanary = \"bad\"\nstable = \"good\"\n\
         [services.router]\nurl = \"{}\"\n{more}",
        server.url()
    ))
}

pub fn rollback(host: &Host) -> (i32, String) {
    host.run(&["rollback", "--reason", "it is bad", "--confirm", "here"])
}
