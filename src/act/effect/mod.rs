//! Steps done for real: one kind a file. Each says whether it worked, in words, and whether the world may be different
//! now. What comes from outside is cleaned and redacted before anything is kept of it.

mod expect;
mod group;
mod health;
mod http;
mod load;
mod output_log;
mod script;
mod sql;
mod validation;

pub use group::{end_orphan, is_at_work};
pub use output_log::OutputLog;
pub use script::stage;
pub use sql::settle_sql;
pub use validation::{look_fresh, look_once};

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::watch;

use crate::base::clock::{Clock, Stamp};
use crate::base::endpoint::DatabaseOptions;
use crate::base::endpoint::{Auth, Endpoint, Tls};
use crate::observe::source::Boxed;
use crate::plan::runbook::{Address, Channel, Check, Kind, Output};

/// What was seen of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Whether it holds; `Err` says why that cannot be known.
    pub holds: Result<bool, String>,
    pub reason: String,
    /// When the newest good reading was observed.
    pub at: Option<Stamp>,
}

/// Live readings, for guards, validations and waits.
pub trait Signals: Send + Sync {
    /// What the newest readings say about each check. The first call starts the asking and waits for first answers.
    fn look<'a>(&'a self, checks: &'a [Check]) -> Boxed<'a, Vec<Seen>>;
}

/// Everything that steps reach for.
#[derive(Clone)]
pub struct Context {
    pub services: HashMap<String, Endpoint>,
    pub databases: HashMap<String, DatabaseOptions>,
    pub channels: IndexMap<String, Channel>,
    /// Variables of our own environment that hold secrets: a script gets those it was given, and no others.
    pub hidden: Vec<String>,
    pub signals: Arc<dyn Signals>,
    pub clock: Clock,
}

impl Context {
    /// How to get to an address: as its service is configured, or plainly.
    fn endpoint(&self, address: &Address, timeout: Duration) -> Result<Endpoint, String> {
        let url = url::Url::parse(&address.path).map_err(|e| format!("`{}` is not a URL: {e}", address.path))?;
        let base = match &address.service {
            Some(name) => self.services.get(name).cloned().ok_or_else(|| format!("there is no service `{name}` any more"))?,
            None => Endpoint {
                url: url.clone(),
                headers: Vec::new(),
                secret_headers: Vec::new(),
                auth: Auth::None,
                tls: Tls::default(),
                timeout,
                max_body: 4 << 20,
            },
        };
        Ok(Endpoint { url, timeout, ..base })
    }
}

/// What is to be done.
pub struct Invocation<'a> {
    pub run: &'a str,
    pub key: &'a str,
    pub kind: &'a Kind,
    pub timeout: Option<Duration>,
    /// Where scripts are.
    pub folder: &'a Path,
    /// The run's own folder.
    pub home: &'a Path,
    pub environment: &'a str,
    /// Becomes true when it is to end at once.
    pub stop: watch::Receiver<bool>,
}

/// The file that a step's output goes to.
pub fn output_file(home: &Path, key: &str) -> PathBuf {
    home.join("output").join(format!("{}.log", key.replace('/', "__")))
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub ok: bool,
    pub message: String,
    /// Whether the world may be different now.
    pub touched: bool,
    /// Not as expected, and known to be so: a probe that comes to this says "no", and not "cannot tell".
    pub certain: bool,
    pub output: Output,
}

impl Outcome {
    fn well(message: impl Into<String>, touched: bool) -> Outcome {
        Outcome { ok: true, message: crate::base::secret::sanitize(&message.into()), touched, certain: true, output: Output::default() }
    }

    fn badly(message: impl AsRef<str>, touched: bool) -> Outcome {
        Outcome { ok: false, message: crate::base::secret::sanitize(message.as_ref()), touched, certain: false, output: Output::default() }
    }

    /// It answered, and the answer is another than was wanted.
    fn otherwise(message: impl AsRef<str>, touched: bool) -> Outcome {
        Outcome { certain: true, ..Outcome::badly(message, touched) }
    }
}

/// How long anything may take that has no time-out of its own.
const PATIENCE: Duration = Duration::from_secs(300);

/// Does it. Comes back when it is done, has failed, has taken too long, or was stopped.
pub async fn perform(context: &Context, invocation: Invocation<'_>, tap: &mut OutputLog) -> Outcome {
    let mutates = invocation.kind.mutates();
    let limit = invocation.timeout.unwrap_or(PATIENCE);
    let mut stop = invocation.stop.clone();
    // A script ends its own processes; everything else can simply be let go of.
    if let Kind::Script(script) = invocation.kind {
        return script::perform(context, script, &invocation, limit, tap).await;
    }
    let work = async {
        match invocation.kind {
            Kind::HealthCheck { targets } => health::perform(context, targets, limit, tap).await,
            Kind::Http(call) => http::perform(context, call, &invocation, limit, tap).await,
            Kind::Sql(call) => sql::perform(context, call, &invocation, limit, tap).await,
            Kind::Validation { checks, hold, samples } => validation::perform(context, checks, *hold, *samples, tap).await,
            Kind::Wait { time: Some(time), .. } => {
                tokio::time::sleep(*time).await;
                Outcome::well(format!("waited {}", crate::base::units::short(*time)), false)
            }
            Kind::Wait { until, .. } => validation::perform(context, until, Duration::ZERO, 1, tap).await,
            Kind::Load(load) => load::perform(context, load, limit, tap).await,
            Kind::Script(_) | Kind::Manual { .. } | Kind::Notify { .. } | Kind::Runbook { .. } => {
                Outcome::badly(format!("a {} is not performed but led by the runner", invocation.kind.word()), false)
            }
        }
    };
    tokio::select! {
        came = work => came,
        () = tokio::time::sleep(limit) => {
            let why = tap.last().map_or_else(String::new, |line| format!("; last: {line}"));
            Outcome::badly(format!("not done within {}{why}", crate::base::units::short(limit)), mutates)
        }
        _ = stop.wait_for(|stop| *stop) => Outcome::badly("stopped", mutates),
    }
}
