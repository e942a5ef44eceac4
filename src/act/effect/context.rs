//! What steps reach for: services, databases, channels, live readings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, Stamp};
use crate::base::endpoint::{Auth, DatabaseOptions, Endpoint, Tls};
use crate::observe::source::Boxed;
use crate::plan::runbook::{Address, Check, StepSettings};

/// What was seen of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSeen {
    /// Whether it holds; `Err` says why that cannot be known.
    pub holds: Result<bool, String>,
    pub reason: String,
    /// When the newest good reading was observed.
    pub at: Option<Stamp>,
}

/// The points of one signal, in order; or why they are not to be trusted.
pub type SignalPoints = Result<Vec<(Stamp, f64)>, String>;

/// Live readings, for guards, validations and waits.
pub trait Signals: Send + Sync {
    /// What the newest readings say about each check. The first call starts the asking and waits for first answers.
    fn look<'a>(&'a self, checks: &'a [Check]) -> Boxed<'a, Vec<CheckSeen>>;

    /// The points of signals since so long ago, in the order of the names.
    fn points<'a>(&'a self, names: &'a [String], window: Duration) -> Boxed<'a, Vec<SignalPoints>>;
}

/// Where messages go that a step sends.
pub trait Outgoing: Send + Sync {
    /// Puts a message for a channel on its way, on disk when this comes back; once, however often it is called for a step.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&self, step: &str, channel: &str, message: &str) -> std::io::Result<()>;
}

/// Asked just before something is done: why it may not be.
pub type AskedBefore = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Everything that steps reach for.
#[derive(Clone)]
pub struct Context {
    pub services: HashMap<String, Endpoint>,
    pub databases: HashMap<String, DatabaseOptions>,
    /// What the configuration's sections say for them.
    pub settings: StepSettings,
    /// Variables of our own environment that hold secrets: a script gets those it was given, and no others.
    pub hidden: Vec<String>,
    pub signals: Arc<dyn Signals>,
    pub outgoing: Arc<dyn Outgoing>,
    /// Who speaks against giving the canary more, asked just before it is done; `None`: this gives it none.
    pub held: Option<AskedBefore>,
    pub clock: Clock,
}

impl Context {
    /// How to get to an address: as its service is configured, or plainly.
    pub(super) fn endpoint(&self, address: &Address, timeout: Duration) -> Result<Endpoint, String> {
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
                proxy: None,
            },
        };
        Ok(Endpoint { url, timeout, ..base })
    }
}
