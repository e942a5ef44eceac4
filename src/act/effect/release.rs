//! A version of the application: what runs is kept, the new one is asked for, and the step is done when it is the one
//! that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Act, Context, Invocation, Outcome, OutputLog};
use crate::act::infra::release::{deploy, running};
use crate::base::units::short;
use crate::observe::source::Boxed;
use crate::plan::runbook::{Output, Progress, Release, ReleaseStep};

/// How often it is looked which version runs.
const LOOK: Duration = Duration::from_secs(1);
const SOONER: Duration = Duration::from_millis(500);

impl Act for ReleaseStep {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let Some(release) = &context.settings.release else {
                return Outcome::failed("nothing says how a version is brought out any more", false);
            };
            let wanted = match self.goes_back() {
                false => self.version.clone(),
                true => match kept(invocation) {
                    Some(version) => version,
                    None => return Outcome::failed("which version ran before is not known: bring it out by hand", false),
                },
            };
            match self.mutates {
                true => bring_out(release, &wanted, invocation, log).await,
                false => look(release, &wanted).await,
            }
        })
    }
}

async fn look(release: &Release, wanted: &str) -> Outcome {
    match running(release).await {
        Ok(version) if version == wanted => Outcome::done(format!("{version} runs"), false),
        Ok(version) => Outcome::otherwise(format!("{version} runs, wanted {wanted}"), false),
        Err(fault) => Outcome::failed(format!("which version runs cannot be told: {fault}"), false),
    }
}

async fn bring_out(release: &Release, wanted: &str, invocation: &Invocation<'_>, log: &mut OutputLog) -> Outcome {
    let begun = Instant::now();
    let before = running(release).await;
    match &before {
        Ok(version) => {
            if let Err(e) = keep(invocation, version) {
                return Outcome::no_room(&e);
            }
        }
        Err(fault) => log.say(&format!("which version runs cannot be told: {fault}")),
    }
    log.say(&release.call(wanted));
    let limit = release.within.min(invocation.limit().saturating_sub(SOONER + begun.elapsed()));
    match deploy(release, wanted, limit).await {
        Ok(said) => log.say(&said),
        Err((why, touched)) => return Outcome::failed(why, touched),
    }
    let from = before.unwrap_or_else(|_| "?".into());
    let deadline = begun + limit;
    loop {
        let now = running(release).await;
        let words = now.as_ref().map_or_else(|fault| fault.message.clone(), |version| format!("{version} runs"));
        let time = Progress { done: begun.elapsed().as_secs_f64(), of: Some(limit.as_secs_f64()), unit: "s".into(), words: words.clone() };
        log.progress(time);
        if now.is_ok_and(|version| version == wanted) {
            let output = Output { text: wanted.into(), json: json!({"before": from, "version": wanted}) };
            return Outcome::done(format!("{from} → {wanted}, which runs"), true).with(output);
        }
        if Instant::now() >= deadline {
            return Outcome::failed(format!("{wanted} was asked for, and {} later: {words}", short(limit)), true);
        }
        sleep(LOOK).await;
    }
}

fn place(home: &Path, key: &str) -> PathBuf {
    home.join(format!("ran-before-{}", key.replace('/', "__")))
}

/// Keeps which version ran, once: a second attempt finds what the first has made of it.
fn keep(invocation: &Invocation<'_>, version: &str) -> std::io::Result<()> {
    let path = place(invocation.home, invocation.key);
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    std::fs::write(&draft, version)?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(&draft, &path)
}

fn kept(invocation: &Invocation<'_>) -> Option<String> {
    let key = invocation.key.strip_prefix("undo/").unwrap_or(invocation.key);
    let text = std::fs::read_to_string(place(invocation.home, key)).ok()?;
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}
