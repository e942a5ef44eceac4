//! `lastgreen check`: everything that is wrong with the files at once, then whether the sources answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::status::ask_and_stay;
use crate::backend::absent_secrets;
use crate::base::clock::Clock;
use crate::base::diag::{Diagnostic, Severity};
use crate::base::exit;
use crate::base::text::nearest;
use crate::base::units::count_of;
use crate::config::{Config, load_file, planning_context, runbooks};
use crate::observe::reading::{Ask, SourceState};
use crate::observe::source::{Poller, SO_FAR};
use crate::plan::runbook::{Asked, Kind, Runbook, is_template, plan};
use crate::record::journal::StateDir;
use crate::show::{keymap, theme};
use crate::status::{SourceLine, Summary};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Do not ask the sources.
    #[arg(long)]
    pub offline: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print the rules as a Prometheus rules file instead.
    #[arg(long)]
    pub export_rules: bool,
}

/// What the command line names instead of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct NamedLooks<'a> {
    pub theme: Option<&'a str>,
    pub keymap: Option<&'a str>,
}

#[derive(Serialize)]
struct Report {
    findings: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceLine>,
    /// What was reached that is not what the configuration expects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mismatches: Vec<String>,
    /// Signals that got no answer, with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unanswered: Vec<(String, String)>,
    /// Signals that nothing can be said of before pages have been read for longer than this command lasts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_yet: Vec<String>,
}

/// Checks the file and what it names; returns what to print and the exit code.
pub fn check(args: &CheckArgs, named: NamedLooks<'_>, path: &Path, runtime: &tokio::runtime::Runtime) -> (String, u8) {
    let loaded = match load_file(path) {
        Ok(loaded) => loaded,
        Err(e) => return (format!("{}: cannot be read: {e}\n", path.display()), exit::BAD_FILE),
    };
    let mut report =
        Report { findings: loaded.findings, sources: Vec::new(), mismatches: Vec::new(), unanswered: Vec::new(), not_yet: Vec::new() };
    let folder = path.parent().unwrap_or(Path::new("."));
    let (theme, keymap) = &loaded.looks;
    report.findings.extend(keymap::load(named.keymap.unwrap_or(keymap), folder).err().unwrap_or_default());
    report.findings.extend(theme::load(named.theme.unwrap_or(theme), folder).err().unwrap_or_default());
    if let Some(config) = &loaded.config {
        report.findings.extend(check_runbooks(config));
        // What cannot be written down is not run.
        if let Err(why) = StateDir::could_be_opened(&config.acting.state_dir) {
            let cause = format!("runs cannot be kept: {why}");
            let hint = Some("set state_dir to a folder that is yours".into());
            report.findings.push(Diagnostic { severity: Severity::Warning, file: path.to_path_buf(), line: 1, column: 1, cause, hint });
        }
        if !args.offline {
            match ask_and_stay(config, runtime) {
                Ok((summary, poller)) => {
                    (report.unanswered, report.not_yet) = runtime.block_on(unanswered(config, &summary, &poller));
                    runtime.block_on(poller.end());
                    report.mismatches = summary.mismatches;
                    report.sources = summary.sources;
                }
                Err(words) => return (words + "\n", exit::BAD_FILE),
            }
        }
    }
    report.findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let bad = report.findings.iter().any(|f| f.severity == Severity::Error);
    let down = report.sources.iter().any(|s| s.state != SourceState::Up && s.state != SourceState::Slow);
    let code = if bad {
        exit::BAD_FILE
    } else if down {
        exit::UNAVAILABLE
    } else if report.unanswered.is_empty() && report.mismatches.is_empty() {
        exit::DONE
    } else {
        exit::FAILED
    };
    let text = if args.json {
        serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
    } else {
        let counts = loaded.config.as_ref().map(|c| (c.sources.len(), c.signals.len(), c.rules.len(), c.boards.len()));
        text(path, &report, counts)
    };
    (text, code)
}

/// Signals without an answer, or with an empty one, with why; of what they name and is not there, what is. Beside them those that have
/// none yet, because a rate takes two pages.
async fn unanswered(config: &Config, summary: &Summary, poller: &Poller) -> (Vec<(String, String)>, Vec<String>) {
    let (mut all, mut not_yet) = (Vec::new(), Vec::new());
    let mut known: HashMap<&str, Vec<String>> = HashMap::new();
    for line in &summary.signals {
        let Some(signal) = config.signals.get(line.name.as_str()) else { continue };
        let unread = line.value.is_empty() || line.value == "—";
        // A collection that is missing is an answer to some questions.
        if !unread && !matches!(signal.question.ask, Ask::Qdrant { .. }) {
            continue;
        }
        let there = match known.entry(&signal.question.source) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(poller.names(&signal.question.source).await),
        };
        let missing = missing(&signal.question.ask, there);
        let is_young = missing.is_none() && line.notes.iter().any(|note| note.ends_with(SO_FAR));
        if is_young {
            not_yet.push(line.name.clone());
            continue;
        }
        let reason = unread.then(|| line.judgement.reason.clone());
        let why: Vec<String> = reason.into_iter().chain(missing).collect();
        if !why.is_empty() {
            all.push((line.name.clone(), why.join("; ")));
        }
    }
    (all, not_yet)
}

/// What a question names that is not there.
fn missing(ask: &Ask, there: &[String]) -> Option<String> {
    let (what, names): (_, Vec<&str>) = match ask {
        Ask::Promql { selectors, .. } => ("metric", selectors.iter().map(|s| s.split('{').next().unwrap_or_default().trim()).collect()),
        Ask::Qdrant { collection, .. } => ("collection", vec![collection]),
        _ => return None,
    };
    let absent = |name: &&str| !name.is_empty() && !there.iter().any(|known| known == name);
    let name = names.into_iter().filter(|_| !there.is_empty()).find(absent)?;
    let near = nearest(name, there.iter().map(String::as_str)).map(|near| format!(": did you mean `{near}`?"));
    let few = || (there.len() <= FEW).then(|| format!("; there is: {}", there.join(", ")));
    Some(format!("there is no {what} `{name}`{}", near.or_else(few).unwrap_or_default()))
}

/// So many names are worth reading.
const FEW: usize = 12;

/// What is wrong with runbooks: in themselves, and in what they name of this configuration.
fn check_runbooks(config: &Config) -> Vec<Diagnostic> {
    let loaded = runbooks(config, Clock::System.now());
    let context = planning_context(config, &loaded);
    let read = |path: &Path| std::fs::read(path).map_err(|e| e.to_string());
    let mut found = Vec::new();
    for rule in config.rules.iter().filter(|rule| rule.runbook.as_ref().is_some_and(|name| !loaded.iter().any(|one| one.name == *name))) {
        let (name, runbook) = (&rule.name, rule.runbook.as_deref().unwrap_or_default());
        let hint = crate::base::diag::suggestion(runbook, loaded.iter().map(|one| one.name.as_str()));
        let cause = format!("rule `{name}` names the runbook `{runbook}`, which there is not");
        let line = line_of(&config.path, "runbook", runbook);
        found.push(Diagnostic { severity: Severity::Warning, file: config.path.clone(), line, column: 1, cause, hint });
    }
    if let Some(hold) = config.acting.settings.snapshots.as_ref().and_then(|snapshots| snapshots.hold.as_deref())
        && !loaded.iter().any(|one| one.name == hold)
    {
        let hint = crate::base::diag::suggestion(hold, loaded.iter().map(|one| one.name.as_str()));
        let cause = format!("[snapshots] hold names the runbook `{hold}`, which there is not");
        let line = line_of(&config.path, "hold", hold);
        found.push(Diagnostic { severity: Severity::Error, file: config.path.clone(), line, column: 1, cause, hint });
    }
    for one in &loaded {
        found.extend(one.findings.iter().cloned());
        let Some(runbook) = &one.runbook else { continue };
        // A shipped one may name what somebody does not have: then it cannot be run, and the rest can.
        let severity = if runbook.path.exists() { Severity::Error } else { Severity::Warning };
        // What is to be filled in is warned of by then.
        if !runbook.placeholders.is_empty() {
            continue;
        }
        found.extend(absent_programs(runbook));
        let asked = Asked { only_checks: true, ..Asked::default() };
        match plan(runbook, &context, &asked, &read) {
            Ok(plan) => {
                found.extend(absent_secrets(config, &plan).iter().map(|why| {
                    placed(&format!("{why}: it cannot be run from here until that can be had"), &runbook.path, Severity::Warning)
                }))
            }
            Err(problems) => found.extend(problems.iter().map(|problem| placed(problem, &runbook.path, severity))),
        }
    }
    found
}

/// Programs that scripts call by a path and that are not there; an earlier step may bring them, so it is no mistake.
fn absent_programs(runbook: &Runbook) -> Vec<Diagnostic> {
    let folder = runbook.path.parent().unwrap_or(Path::new("."));
    let lines: Vec<&str> = runbook.text.lines().collect();
    let mut found = Vec::new();
    for step in &runbook.steps {
        let Kind::Script(script) = &step.kind else { continue };
        let text = script.inline.as_deref().unwrap_or_default();
        // Elsewhere than where it begins nobody can tell.
        if text.contains("cd ") || script.cwd.as_deref().is_some_and(is_template) {
            continue;
        }
        let home = folder.join(script.cwd.as_deref().unwrap_or_default());
        let words = text.lines().filter_map(|line| line.split_whitespace().next());
        let called = words.filter(|word| (word.starts_with("./") || word.starts_with("../")) && !is_template(word));
        for word in called.filter(|word| !home.join(word).exists()) {
            let line = lines.iter().position(|line| line.contains(word)).map_or(1, |line| line + 1);
            let cause = format!("step `{}` calls {word}, which is not in {}", step.id, home.display());
            let file = runbook.path.clone();
            found.push(Diagnostic { severity: Severity::Warning, file, line, column: 1, cause, hint: None });
        }
    }
    found
}

/// The line in which a file gives a key that value; the first, where it stands nowhere as such.
fn line_of(path: &Path, key: &str, value: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let gives =
        |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=') && rest.contains(value));
    text.lines().position(gives).map_or(1, |found| found + 1)
}

/// A planner's words, `FILE:LINE: what`, as a finding.
fn placed(problem: &str, path: &Path, severity: Severity) -> Diagnostic {
    let rest = problem.strip_prefix(&format!("{}:", path.display())).and_then(|rest| rest.split_once(": "));
    let (line, cause) = rest.and_then(|(line, cause)| Some((line.parse().ok()?, cause))).unwrap_or((1, problem));
    Diagnostic { severity, file: path.to_path_buf(), line, column: 1, cause: cause.to_string(), hint: None }
}

fn text(path: &Path, report: &Report, counts: Option<(usize, usize, usize, usize)>) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        out += &format!("{finding}\n");
    }
    let errors = report.findings.iter().filter(|f| f.severity == Severity::Error).count();
    if errors > 0 {
        return out + &format!("{}: {errors} {}\n", path.display(), if errors == 1 { "error" } else { "errors" });
    }
    if let Some((sources, signals, rules, boards)) = counts {
        let counted = [(sources, "source"), (signals, "signal"), (rules, "rule"), (boards, "board")].map(|(n, what)| count_of(n, what));
        out += &format!("{}: good: {}\n", path.display(), counted.join(", "));
    }
    for source in &report.sources {
        match &source.fault {
            Some(fault) => out += &format!("  FAILING  {}  {fault}\n", source.name),
            None if source.state == SourceState::Starting => out += &format!("  silent   {}  {}\n", source.name, source.place),
            // Whoever answers for a part only is not there.
            None => {
                let warning = source.warning.as_ref().map_or_else(String::new, |warning| format!("  ({warning})"));
                out += &format!("  answers  {}  {}{warning}\n", source.name, source.place);
            }
        }
    }
    for words in &report.mismatches {
        out += &format!("  WRONG ENVIRONMENT  {words}\n");
    }
    for (name, why) in &report.unanswered {
        out += &format!("  no answer for {name}: {why}\n");
    }
    if !report.not_yet.is_empty() {
        out += &format!("  not known before pages are read for longer: {}\n", report.not_yet.join(", "));
    }
    out
}
