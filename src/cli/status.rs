//! `lastgreen status`: everything once, canary and readiness too, as text or JSON, with the exit code of monitoring plugins.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::backend::{LookAt, Operations, connect, look};
use crate::base::clock::Clock;
use crate::base::units::short;
use crate::config::Config;
use crate::judge::{RulePhase, Verdict};
use crate::observe::reading::SourceState;
use crate::observe::source::{Mailbox, Poller};
use crate::plan::deploy::{DeployState, Readiness, wrong_environment};
use crate::status::{Store, Summary, alert_verdict};

/// How long a monitoring system waits for what stores say of a rollback.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Asks everything once.
///
/// # Errors
/// When a client cannot be made.
pub fn ask_once(config: &Config, runtime: &Runtime) -> Result<Summary, String> {
    let (summary, poller) = ask_and_stay(config, runtime)?;
    runtime.block_on(poller.end());
    Ok(summary)
}

/// The same, and goes on asking.
///
/// # Errors
/// When a client cannot be made.
pub fn ask_and_stay(config: &Config, runtime: &Runtime) -> Result<(Summary, Poller), String> {
    let mailbox = Arc::new(Mailbox::default());
    let poller = connect(config, runtime.handle(), config.ui.window, mailbox.clone())?;
    let clock = Clock::System;
    let mut store = Store::new(config);
    let longest = config.questions().iter().map(|q| q.timeout).max().unwrap_or_default();
    runtime.block_on(async {
        // Each question has one time-out for its first source and one for its second.
        let deadline = Instant::now() + longest * 2 + Duration::from_secs(1);
        loop {
            store.apply(config, mailbox.take(), clock.now());
            let asked = store.all_answered(config)
                && config.sources.keys().all(|name| store.sources.get(name).is_some_and(|s| s.state != SourceState::Starting));
            if asked || tokio::time::timeout_at(deadline, mailbox.rung()).await.is_err() {
                break;
            }
        }
        store.apply(config, mailbox.take(), clock.now());
        store.asked_once(config);
    });
    Ok((Summary::new(config, &store, clock.now()), poller))
}

/// Prints the summary and returns the exit code.
///
/// # Errors
/// When a client cannot be made.
pub fn status(config: &Arc<Config>, runtime: &Runtime, json: bool) -> Result<(String, u8), String> {
    // At once: what hangs is not waited for by the others.
    let (summary, deployment) = std::thread::scope(|scope| {
        let deployment = scope.spawn(|| deployment(config, runtime));
        // What has panicked has said so, and nothing is known of it.
        (ask_once(config, runtime), deployment.join().unwrap_or_default())
    });
    let summary = summary?.with_deployment(deployment.0, deployment.1);
    let code = summary.verdict.exit_code();
    let text = if json { document(&summary) } else { text(config, &summary) };
    Ok((text, code))
}

/// How the canary is, and whether a rollback would work, where there is a switch of the traffic. Nothing is counted, and no file is
/// read whole: it may be asked every minute.
fn deployment(config: &Arc<Config>, runtime: &Runtime) -> (Option<DeployState>, Option<Readiness>) {
    if config.acting.settings.switch.is_none() {
        return (None, None);
    }
    let mut operations = Operations::looking(config.clone());
    std::thread::scope(|scope| {
        let looked = scope.spawn(|| look(config, runtime, LookAt::Standing, PATIENCE));
        let state = operations.deploy(runtime).ok();
        let looked = looked.join().unwrap_or_default();
        (state, Some(operations.readiness(&looked)))
    })
}

/// The summary as programs read it, with what follows from the deployment's parts.
fn document(summary: &Summary) -> String {
    let mut document = serde_json::to_value(summary).unwrap_or_default();
    if let Some(state) = &summary.deploy {
        let (verdict, reason) = state.verdict(summary.at);
        (document["deploy"]["verdict"], document["deploy"]["reason"]) = (json!(verdict), json!(reason));
    }
    if let Some(readiness) = &summary.readiness {
        (document["readiness"]["state"], document["readiness"]["words"]) = (json!(readiness.state()), json!(readiness.words()));
    }
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// What is said when there is nothing to go by: one line that a monitoring plugin shows, or a document.
pub fn blind(words: &str, json: bool) -> String {
    let first = words.lines().next().unwrap_or("there is no configuration").trim();
    if json {
        let document = json!({"verdict": "unknown", "reason": first});
        return serde_json::to_string_pretty(&document).unwrap_or_default() + "\n";
    }
    format!("UNKNOWN  {first}\n")
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass   ",
        Verdict::Warn => "WARN   ",
        Verdict::Unknown => "UNKNOWN",
        Verdict::Fail => "FAIL   ",
    }
}

/// The summary as people read it. Writing into a string cannot fail.
fn text(config: &Config, summary: &Summary) -> String {
    let mut out = String::new();
    let reached = summary.reached();
    let _ =
        writeln!(out, "{}  {}  {}  {}", summary.verdict.word().to_uppercase(), summary.environment, summary.tier.word(), summary.at.iso());
    let _ = writeln!(out, "{}", summary.reason);
    if !reached.is_empty() {
        let _ = writeln!(out, "reached: {reached}");
    }
    for mismatch in &summary.mismatches {
        let _ = writeln!(out, "{}", wrong_environment(mismatch));
    }
    let wide = summary.signals.iter().map(|s| s.name.len()).max().unwrap_or(0);
    let _ = writeln!(out, "\nsignals");
    for signal in &summary.signals {
        let verdict =
            if signal.judged || signal.judgement.verdict == Verdict::Unknown { mark(signal.judgement.verdict) } else { "       " };
        let reason = if signal.judged || signal.judgement.verdict == Verdict::Unknown { signal.why() } else { String::new() };
        let via = if signal.via.is_empty() || signal.via == signal.source { String::new() } else { format!("  (by {})", signal.via) };
        let _ = writeln!(out, "  {verdict}  {:wide$}  {}  {reason}{via}", signal.name, signal.value);
    }
    let speaking: Vec<_> = summary.rules.iter().filter(|r| !matches!(r.state.phase, RulePhase::Inactive)).collect();
    let _ = writeln!(out, "\nrules: {} of {} quiet", summary.rules.len() - speaking.len(), summary.rules.len());
    for rule in speaking {
        let _ = writeln!(out, "  {}  {}  {}  {}", mark(rule.verdict), rule.name, rule.words, rule.state.reason);
    }
    alerts(config, summary, &mut out);
    deployed(summary, &mut out);
    let _ = writeln!(out, "\nsources");
    for source in &summary.sources {
        let state = match source.state {
            SourceState::Up => "up      ",
            SourceState::Slow => "slow    ",
            SourceState::Failing => "FAILING ",
            SourceState::Starting => "starting",
        };
        let said = source.fault.as_ref().map_or_else(|| format!("{} in {}", source.place, short(source.took)), |f| f.message.clone());
        let warning = source.warning.as_ref().map_or_else(String::new, |w| format!("  ({w})"));
        let _ = writeln!(out, "  {state}  {:12}  {:12}  {said}{warning}", source.name, source.kind);
    }
    out
}

/// What others raise, the worst first. What is well or kept quiet is counted.
fn alerts(config: &Config, summary: &Summary, out: &mut String) {
    let mut bad: Vec<_> = summary.alerts.iter().map(|(whose, alert)| (alert_verdict(&config.alerts, alert), whose, alert)).collect();
    let all = bad.len() + summary.silent.len();
    if all == 0 {
        return;
    }
    bad.retain(|(verdict, _, _)| *verdict != Verdict::Pass);
    // Of equals the order stays.
    bad.sort_by_key(|(verdict, _, _)| std::cmp::Reverse(*verdict));
    let _ = writeln!(out, "\nalerts of others: {} of {all} bad", bad.len() + summary.silent.len());
    for name in &summary.silent {
        let _ = writeln!(out, "  {}  {name}  is silent, which always fires while alerting works", mark(Verdict::Fail));
    }
    for (verdict, whose, alert) in bad {
        let text = if alert.text.is_empty() { String::new() } else { format!("  {}", alert.text) };
        let since = alert.since.map_or_else(String::new, |at| format!("  since {}", at.since_when(summary.at)));
        let _ = writeln!(out, "  {}  {}  {}  {whose}{since}{text}", mark(verdict), alert.name, alert.severity);
    }
}

/// The canary, and whether a rollback would work: what is not well, with what mends it.
fn deployed(summary: &Summary, out: &mut String) {
    if let Some(state) = &summary.deploy {
        let (verdict, reason) = state.verdict(summary.at);
        let _ = writeln!(out, "\ncanary\n  {}  {reason}", mark(verdict));
    }
    if let Some(readiness) = &summary.readiness {
        let _ = writeln!(out, "\nrollback\n  {}  {}", readiness.state().word(), readiness.words());
        for item in readiness.items.iter().filter(|item| item.verdict != Verdict::Pass) {
            let mend = item.mend.as_ref().map_or_else(String::new, |mend| format!("  ({mend})"));
            let _ = writeln!(out, "  {}  {}  {}{mend}", mark(item.verdict), item.what, item.words);
        }
    }
}
