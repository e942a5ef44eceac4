//! Rollbacks as metrics: a file that a textfile collector reads, and a Pushgateway. Only told: a rollback that cannot be
//! counted is a rollback all the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::base::endpoint::Endpoint;
use crate::config::Config;
use crate::observe::source::Web;
use crate::plan::deploy::{RollbackSettings, Scope};
use crate::plan::runbook::Plan;

/// The longest that a Pushgateway is waited for.
const PUSHING: Duration = Duration::from_secs(10);

/// Counts a rollback that is over.
pub async fn count_rollback(config: &Config, plan: &Plan, took: Duration) {
    let Some(settings) = config.acting.rollback.as_ref().filter(|_| Scope::of(&plan.content.runbook).is_some()) else { return };
    let reason = label(plan.content.reason.as_deref().unwrap_or(""));
    let page = match &settings.textfile {
        Some(file) => match add(file, settings, &reason, took) {
            Ok(page) => page,
            Err(e) => {
                log::warn!(target: "runner", "{}: {e}", file.display());
                return;
            }
        },
        None => page(settings, &BTreeMap::from([(reason, 1)]), took),
    };
    if let Some(endpoint) = &settings.pushgateway
        && let Err(why) = push(endpoint, &plan.content.environment.name, page).await
    {
        log::warn!(target: "runner", "the Pushgateway: {why}");
    }
}

/// A reason as a label: what fires, as the cockpit writes it before its first colon; anything else is somebody's own words.
fn label(reason: &str) -> String {
    let name = reason.split(':').next().unwrap_or("").trim().to_lowercase().replace([' ', '-'], "_");
    let plain = !name.is_empty() && name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain && reason.contains(':') { name } else { "manual".into() }
}

fn names(settings: &RollbackSettings) -> (String, String) {
    (format!("{}_rollback_total", settings.prefix), format!("{}_rollback_duration_seconds", settings.prefix))
}

fn page(settings: &RollbackSettings, counts: &BTreeMap<String, u64>, took: Duration) -> String {
    let (total, duration) = names(settings);
    let mut out = format!("# HELP {total} Rollbacks by what they were for.\n# TYPE {total} counter\n");
    for (reason, count) in counts {
        out += &format!("{total}{{reason=\"{reason}\"}} {count}\n");
    }
    out + &format!("# HELP {duration} How long the last rollback took.\n# TYPE {duration} gauge\n{duration} {:.3}\n", took.as_secs_f64())
}

/// Adds one to what the file says, and writes it whole.
fn add(file: &Path, settings: &RollbackSettings, reason: &str, took: Duration) -> std::io::Result<String> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e),
    };
    let begins = format!("{}{{reason=\"", names(settings).0);
    let one = |line: &str| {
        let (reason, count) = line.strip_prefix(&begins)?.split_once("\"} ")?;
        Some((reason.to_string(), count.trim().parse().ok()?))
    };
    let mut counts: BTreeMap<String, u64> = before.lines().filter_map(one).collect();
    *counts.entry(reason.to_string()).or_default() += 1;
    let page = page(settings, &counts, took);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".lastgreen-").tempfile_in(folder)?;
    std::io::Write::write_all(&mut draft, page.as_bytes())?;
    // A collector of another user reads it.
    draft.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    draft.persist(file).map_err(|e| e.error)?;
    Ok(page)
}

async fn push(endpoint: &Endpoint, environment: &str, page: String) -> Result<(), String> {
    let web = Web::new(Endpoint { timeout: PUSHING, ..endpoint.clone() });
    let environment = percent_encoding::utf8_percent_encode(environment, percent_encoding::NON_ALPHANUMERIC);
    let request = web.request("POST", &format!("/metrics/job/lastgreen/environment/{environment}")).map_err(|fault| fault.message)?;
    let answer = web.send(request.body(page)).await.map_err(|fault| fault.message)?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("answered {}: {}", answer.status.as_u16(), answer.text().trim())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_up_and_reasons_are_few() {
        assert_eq!(label("gate fail rate: 8.1 % > 7 % for 2:10"), "gate_fail_rate");
        assert_eq!(label("users complain"), "manual");
        assert_eq!(label("\"evil\": x"), "manual");
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("rollback.prom");
        let settings = RollbackSettings { prefix: "rag".into(), textfile: None, pushgateway: None };
        for reason in ["manual", "gate_fail_rate", "manual"] {
            add(&file, &settings, reason, Duration::from_millis(1500)).expect("written");
        }
        let text = std::fs::read_to_string(&file).expect("the file");
        assert!(text.contains("rag_rollback_total{reason=\"manual\"} 2\n"), "{text}");
        assert!(text.contains("rag_rollback_total{reason=\"gate_fail_rate\"} 1\n"), "{text}");
        assert!(text.contains("rag_rollback_duration_seconds 1.500\n"), "{text}");
    }
}
