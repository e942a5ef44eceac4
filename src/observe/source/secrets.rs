//! Secrets as clients need them: fetched off the sources' threads, within a time, and kept for a short while, because a
//! command may be slow and a request must not cost a process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::base::secret::{PATIENCE, Secret, SecretRef};
use crate::observe::reading::{Fault, FaultKind};

/// How long a fetched value is used: a rotated secret is noticed after this.
const KEPT: Duration = Duration::from_secs(30);

/// How a fetch ends, once it has.
type Fetched = watch::Receiver<Option<Result<Secret, String>>>;

#[derive(Default)]
struct Secrets {
    kept: HashMap<SecretRef, (Instant, Secret)>,
    /// What is fetched just now: whoever else wants it waits for the same.
    under_way: HashMap<SecretRef, Fetched>,
}

static SECRETS: LazyLock<Mutex<Secrets>> = LazyLock::new(Default::default);

fn secrets() -> MutexGuard<'static, Secrets> {
    SECRETS.lock().unwrap_or_else(|p| p.into_inner())
}

tokio::task_local! {
    /// The secret that a question waits for.
    static AWAITED: AwaitedSecret;
}

/// What somebody who asks waits for besides the answer.
#[derive(Clone, Default)]
pub(super) struct AwaitedSecret(Arc<Mutex<Option<SecretRef>>>);

impl AwaitedSecret {
    /// What is asked, so that it is known which secret it waits for.
    pub async fn of<F: Future>(&self, asking: F) -> F::Output {
        AWAITED.scope(self.clone(), asking).await
    }

    /// The secret that has not come yet.
    pub fn secret(&self) -> Option<SecretRef> {
        self.0.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    fn set(reference: Option<&SecretRef>) {
        let _ = AWAITED.try_with(|awaited| *awaited.0.lock().unwrap_or_else(|p| p.into_inner()) = reference.cloned());
    }
}

/// The value behind a reference.
///
/// # Errors
/// Names the reference and what went wrong.
pub async fn fetch(reference: &SecretRef) -> Result<Secret, Fault> {
    let local = |what: String| Fault::new(FaultKind::Local, what);
    let mut fetched = {
        let mut all = secrets();
        if let Some((at, secret)) = all.kept.get(reference)
            && at.elapsed() < KEPT
        {
            return Ok(secret.clone());
        }
        match all.under_way.get(reference) {
            // One that nobody will tell the end of any more is begun anew.
            Some(fetched) if fetched.has_changed().is_ok() => fetched.clone(),
            _ => begin(reference, &mut all),
        }
    };
    AwaitedSecret::set(Some(reference));
    // Whoever fetches it gives up by itself; nobody waits for a thread that does not get its turn.
    let ended = tokio::time::timeout(PATIENCE + PATIENCE / 2, fetched.wait_for(Option::is_some)).await;
    let told = ended.ok().and_then(|ended| ended.ok()?.clone());
    AwaitedSecret::set(None);
    told.unwrap_or_else(|| Err(format!("the secret {reference} does not come"))).map_err(local)
}

/// Fetches it for everybody, also when nobody waits for it any more.
fn begin(reference: &SecretRef, all: &mut Secrets) -> Fetched {
    let (tell, fetched) = watch::channel(None);
    all.under_way.insert(reference.clone(), fetched.clone());
    let asked = reference.clone();
    tokio::task::spawn_blocking(move || {
        let result = asked.fetch();
        let mut all = secrets();
        all.under_way.remove(&asked);
        if let Ok(secret) = &result {
            all.kept.insert(asked, (Instant::now(), secret.clone()));
        }
        drop(all);
        let _ = tell.send(Some(result));
    });
    fetched
}
