//! Versions of the application: which runs, which was green last, and bringing one out.

use std::time::Duration;

use super::command::run;
use crate::base::clock::Clock;
use crate::base::endpoint::{DatabaseOptions, Endpoint};
use crate::base::text::fit;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Session, Web, status_fault, web_json};
use crate::plan::runbook::{Deploy, LastGreen, LastGreenFrom, Release, is_version};

/// The version that runs.
///
/// # Errors
/// Why that cannot be told.
pub async fn running(release: &Release) -> Result<String, Fault> {
    let wrong = |what: String| Fault::new(FaultKind::Garbage, what);
    let version = match &release.deploy {
        Deploy::Http { endpoint, read, pointer, .. } => {
            let web = Web::new(Endpoint { timeout: release.timeout, ..(**endpoint).clone() });
            let answer = web.send(web.get(read)?).await?;
            if !answer.status.is_success() {
                return Err(status_fault(answer.status, &answer.text()));
            }
            let json: serde_json::Value = web_json(&answer.body)?;
            let found = json.pointer(pointer).and_then(|value| value.as_str()).map(str::to_string);
            found.ok_or_else(|| wrong(format!("{read} has no version at {pointer}")))?
        }
        Deploy::Command { running, .. } => run(running.clone(), release.timeout).await?.trim().to_string(),
    };
    if !is_version(&version) {
        return Err(wrong(format!("`{}` is no version", fit(&version, 80))));
    }
    Ok(version)
}

/// Asks for a version. That it was asked for is all that is known when this comes back.
///
/// # Errors
/// Why it was not, and whether something may have been done all the same.
pub async fn deploy(release: &Release, version: &str, limit: Duration) -> Result<String, (String, bool)> {
    let before = |e: String| (e, false);
    match &release.deploy {
        Deploy::Http { endpoint, method, path, body, .. } => {
            let (path, body) = (Release::render(path, version).map_err(before)?, Release::render(body, version).map_err(before)?);
            let web = Web::new(Endpoint { timeout: limit, ..(**endpoint).clone() });
            let request = web.request(method, &path).map_err(|fault| before(fault.message))?;
            let request = request.header("Content-Type", "application/json").body(body);
            let never = |fault: &Fault| fault.message.starts_with("cannot reach");
            let answer = web.send(request).await.map_err(|fault| (fault.message.clone(), !never(&fault)))?;
            let status = answer.status.as_u16();
            if answer.status.is_success() {
                return Ok(format!("answered {status}"));
            }
            Err((format!("answered {status}: {}", fit(answer.text().trim(), 200)), answer.status.is_server_error()))
        }
        Deploy::Command { deploy, .. } => {
            let argv = Release::argv(deploy, version).map_err(before)?;
            let printed = run(argv, limit).await.map_err(|fault| {
                let begun = !fault.message.starts_with("cannot start");
                (fault.message, begun)
            })?;
            Ok(printed.lines().last().unwrap_or("").trim().to_string())
        }
    }
}

/// The version that was green last, by a program or a query; `None`: by the journals, which are read elsewhere.
///
/// # Errors
/// Why that cannot be told.
pub async fn last_green(release: &Release, database: impl Fn(&str) -> Option<DatabaseOptions>) -> Option<Result<LastGreen, String>> {
    let green = said_green(release, database).await?;
    // Whose clock is wrong by more than this may have the rest wrong, too.
    let latest = Clock::System.now().plus(CLOCKS);
    Some(green.and_then(|green| match green.at {
        Some(at) if at > latest => Err(format!("{} is said to have been green at {}, which is still to come", green.version, at.iso())),
        _ => Ok(green),
    }))
}

/// By how much the clock of whoever says what was green may go before ours.
const CLOCKS: Duration = Duration::from_secs(300);

async fn said_green(release: &Release, database: impl Fn(&str) -> Option<DatabaseOptions>) -> Option<Result<LastGreen, String>> {
    match &release.last_green {
        LastGreenFrom::Journal => None,
        LastGreenFrom::Command(argv) => Some(match run(argv.clone(), release.timeout).await {
            Ok(printed) => web_json(printed.as_bytes()).map_err(|fault| fault.message).and_then(|json| LastGreen::read(&json)),
            Err(fault) => Err(fault.message),
        }),
        LastGreenFrom::Query { source, query } => Some(match database(source) {
            Some(options) => asked(&options, query, release.timeout).await.and_then(|json| LastGreen::read(&json)),
            None => Err(format!("there is no database `{source}` any more")),
        }),
    }
}

async fn asked(options: &DatabaseOptions, query: &str, limit: Duration) -> Result<serde_json::Value, String> {
    let work = async {
        let mut session = Session::open(&DatabaseOptions { timeout: limit, ..options.clone() }).await?;
        let given = session.run(query, &[], true, limit).await;
        session.close().await;
        given
    };
    let given = match tokio::time::timeout(limit, work).await {
        Ok(given) => given.map_err(|fault| fault.message)?,
        Err(_) => return Err(format!("no answer within {}", crate::base::units::short(limit))),
    };
    given.first.into_iter().next().ok_or_else(|| "no version was green yet".into())
}
