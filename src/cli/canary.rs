//! `lastgreen canary`: how the canary is, walking it up and back, and whether measured points of one are good.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::runtime::Runtime;

use super::command_error::{CommandError, CommandResult};
use super::confirm::{BeginArgs, begin};
use crate::act::runner::ControlRequest;
use crate::backend::{CanaryRequest, Operations, RollbackRequest};
use crate::base::exit;
use crate::base::text::clean;
use crate::base::units::{short, watch};
use crate::judge::{CanaryAnalysis, CanaryVerdict, MetricVerdict, judge_canary};
use crate::plan::deploy::{DeployState, Promotion, Scope, TurnState};
use crate::plan::runbook::{ALL, Section, Weight, percent};

#[derive(Debug, Args)]
pub struct CanaryArgs {
    #[command(subcommand)]
    pub command: CanarySub,
}

#[derive(Debug, Subcommand)]
pub enum CanarySub {
    /// The canary's traffic, desired and observed, and its analysis. Exit code 0 pass, 1 warn, 2 fail, 3 unknown.
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Set the canary's share of the traffic, in per cent.
    Set {
        #[arg(value_parser = clap::value_parser!(u8).range(0..=i64::from(ALL)))]
        weight: Weight,
        #[command(flatten)]
        step: StepArgs,
    },
    /// Take the next step up.
    Promote {
        #[command(flatten)]
        step: StepArgs,
    },
    /// Pause the canary's run after what it is at.
    Pause,
    /// Keep the canary where it is: nobody promotes it until it is let go.
    Hold {
        /// Let it go again.
        #[arg(long)]
        release: bool,
        #[command(flatten)]
        begin: BeginArgs,
    },
    /// Take the canary out of the traffic at once, whoever has the environment.
    Abort {
        #[command(flatten)]
        begin: BeginArgs,
    },
    /// Judge measured points of a canary and its baseline. Exit code 0 pass, 1 warn, 2 fail, 3 unknown.
    Judge {
        /// A JSON file with the metrics and their points; - for standard input.
        file: PathBuf,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct StepArgs {
    /// Go up against what the analysis or a gate says, and why: commanders only.
    #[arg(long = "override", value_name = "REASON")]
    pub against: Option<String>,
    #[command(flatten)]
    pub begin: BeginArgs,
}

impl CanaryArgs {
    pub fn json(&self) -> bool {
        match &self.command {
            CanarySub::Judge { json, .. } | CanarySub::Status { json } => *json,
            CanarySub::Set { step, .. } | CanarySub::Promote { step } => step.begin.json,
            CanarySub::Hold { begin, .. } | CanarySub::Abort { begin } => begin.json,
            CanarySub::Pause => false,
        }
    }

    /// What needs no configuration.
    pub fn judges(&self) -> bool {
        matches!(self.command, CanarySub::Judge { .. })
    }
}

/// # Errors
/// When the file cannot be read, or is not understood.
pub fn judge_points(args: &CanaryArgs) -> CommandResult {
    let CanarySub::Judge { file, json } = &args.command else { return Err(CommandError::usage("this judges a file")) };
    let text = read(file)?;
    let analysis = CanaryAnalysis::parse(&text).map_err(|e| CommandError::bad_file(format!("{}: {e}", file.display())))?;
    let verdict = judge_canary(&analysis);
    if *json {
        say!("{}", serde_json::to_string_pretty(&verdict).unwrap_or_default());
    } else {
        say!("{}  {}\n{}", verdict.verdict.word().to_uppercase(), clean(&verdict.reason), table(&verdict).trim_end());
    }
    Ok(verdict.verdict.exit_code())
}

/// # Errors
/// What keeps it from being done.
pub fn canary(args: &CanaryArgs, operations: &mut Operations, runtime: &Runtime) -> CommandResult {
    match &args.command {
        CanarySub::Status { json } => status(operations, runtime, *json),
        CanarySub::Set { weight: 0, step } => abort(operations, &step.begin),
        CanarySub::Set { weight, step } => set(operations, runtime, Some(*weight), step),
        CanarySub::Promote { step } => set(operations, runtime, None, step),
        CanarySub::Pause => pause(operations),
        CanarySub::Hold { release, begin: wanted } => {
            operations.canary()?;
            if !release && wanted.reason.as_ref().is_none_or(|why| why.trim().is_empty()) {
                return Err(CommandError::usage("a hold says why, to whoever meets it: add --reason TEXT"));
            }
            let plan = operations.plan_hold(!release, wanted.reason.clone())?;
            begin(operations, &plan, wanted)
        }
        CanarySub::Abort { begin } => abort(operations, begin),
        CanarySub::Judge { .. } => judge_points(args),
    }
}

fn set(operations: &mut Operations, runtime: &Runtime, to: Option<Weight>, step: &StepArgs) -> CommandResult {
    let settings = operations.canary()?.clone();
    let state = operations.deploy(runtime)?;
    let seen = state.weight().map_err(|why| CommandError::refused(format!("what the share is now cannot be told: {why}")))?;
    let from = seen.round().clamp(0.0, f64::from(ALL)) as Weight;
    let goes_up = to.is_none_or(|to| to > from);
    if step.against.as_ref().is_some_and(|why| why.trim().is_empty()) {
        return Err(CommandError::usage("--override is empty: write why it goes on against that"));
    }
    let promotion = state.promotion(&settings, operations.now()).to(to, &settings.steps, seen);
    let to = match (to, &promotion) {
        (None, Promotion::AtTheEnd) => return Err(CommandError::refused(format!("it is at {}: there is no further step", percent(seen)))),
        (_, Promotion::Refused(against)) if goes_up && step.against.is_none() => {
            let mut error = CommandError::refused("not promoted:");
            error.hints.extend(against.iter().cloned());
            return Err(error.hint("a commander goes on against that with --override REASON, and that stands on record"));
        }
        (Some(to), _) => to,
        (None, _) => settings.after(seen).unwrap_or(from),
    };
    let (reason, mut warnings) = (step.begin.reason.clone(), operations.wrong_environment(runtime));
    if goes_up && state.judged_from_now_on && step.against.is_none() {
        let bake = short(settings.bake);
        warnings
            .push(format!("its sources tell too little of the past: it is judged from now on, for {bake}, before the traffic is turned"));
    }
    let plan = operations.plan_canary(CanaryRequest { to, from, against: step.against.clone(), reason, warnings })?;
    begin(operations, &plan, &step.begin)
}

fn abort(operations: &mut Operations, wanted: &BeginArgs) -> CommandResult {
    let request = RollbackRequest { reason: wanted.reason.clone(), ..RollbackRequest::default() };
    let plan = operations.plan_rollback(Scope::Traffic, request)?;
    begin(operations, &plan, wanted)
}

fn pause(operations: &mut Operations) -> CommandResult {
    let environment = operations.config.environment.name.clone();
    let open = operations.runs().into_iter().find(|run| {
        let c = &run.plan.content;
        // What undoes damage is not held up by the word of another command.
        let is_canary = !c.emergency && run.plan.all().any(|step| step.kind.uses().has(Section::Traffic));
        run.status().is_open() && c.environment.name == environment && is_canary
    });
    let Some(run) = open else { return Err(CommandError::refused("no run of the canary is under way: there is nothing to pause")) };
    operations.tell(&run.id, &ControlRequest::Pause)?;
    say!("run {} pauses after what it is at (lastgreen resume {})", run.id, run.id);
    Ok(exit::DONE)
}

fn status(operations: &mut Operations, runtime: &Runtime, as_json: bool) -> CommandResult {
    let state = operations.deploy(runtime)?;
    let now = operations.now();
    let (verdict, reason) = state.verdict(now);
    let settings = operations.config.acting.settings.canary.clone();
    let promotion = settings.as_ref().map(|settings| state.promotion(settings, now));
    if as_json {
        let steps = settings.as_ref().map(|settings| &settings.steps);
        let bake = settings.as_ref().and_then(|settings| state.bake(settings, now));
        let bake = bake.map(|(had, of)| json!({"had_ms": had.as_millis() as u64, "of_ms": of.as_millis() as u64}));
        let document = json!({"verdict": verdict, "reason": reason, "weight": state.weight().ok(), "steps": steps, "bake": bake,
            "promotion": promotion, "state": state});
        say!("{}", serde_json::to_string_pretty(&document).unwrap_or_default());
        return Ok(verdict.exit_code());
    }
    say!("{}  {reason}", verdict.word().to_uppercase());
    lines(&state, settings.as_ref().and_then(|settings| state.bake(settings, now)), promotion.as_ref(), now);
    Ok(verdict.exit_code())
}

fn lines(
    state: &DeployState,
    bake: Option<(std::time::Duration, std::time::Duration)>,
    promotion: Option<&Promotion>,
    now: crate::base::clock::Stamp,
) {
    let age = |at: crate::base::clock::Stamp| short(now.since(at));
    if let Some(seen) = &state.observed {
        say!("observed   {}  {} ago", seen.words(), age(seen.at));
        for (place, one) in seen.places.iter().filter(|_| seen.places.len() > 1) {
            say!("           {place}: {}", one.as_ref().map_or_else(Clone::clone, |one| percent(one.weight)));
        }
    }
    match &state.desired {
        Some(turn) => {
            let to = turn.to.map_or_else(|| "what it was before".into(), |to| format!("{to} %"));
            say!("desired    {to}  {} ago by {} (run {})", age(turn.at), turn.by.user, turn.run);
        }
        None => say!("desired    no run has set it"),
    }
    if let Some(turn) = state.desired.as_ref().filter(|turn| turn.state == TurnState::Done && Scope::of(&turn.runbook).is_some()) {
        say!("rolled back by run {}: the next step is for another release; `lastgreen canary hold` keeps everybody from it", turn.run);
    }
    if let Some((had, of)) = bake {
        say!("bake       {} of {}", watch(had.min(of)), watch(of));
    }
    if let Some(hold) = &state.hold {
        say!("held       by {} {} ago: {}", hold.by.user, age(hold.at), hold.reason);
    }
    if let Some(analysis) = &state.analysis {
        say!("analysis   {}  {}", analysis.verdict.word().to_uppercase(), clean(&analysis.reason));
        say!("{}", table(analysis).trim_end());
    }
    match promotion {
        Some(Promotion::To(next)) if state.judged_from_now_on => {
            say!("next       {next} %, once it was judged from then on: lastgreen canary promote");
        }
        Some(Promotion::To(next)) => say!("next       {next} %: lastgreen canary promote"),
        Some(Promotion::AtTheEnd) => say!("next       none: it is at the end"),
        Some(Promotion::Refused(against)) => {
            say!("next       refused:");
            for why in against {
                say!("           {why}");
            }
        }
        None => {}
    }
}

fn read(file: &Path) -> Result<String, CommandError> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|e| CommandError::bad_file(format!("{}: {e}", file.display())))
}

/// The metrics, a line each. Writing into a string cannot fail.
fn table(verdict: &CanaryVerdict) -> String {
    let mut out = String::new();
    let wide = verdict.metrics.iter().map(|m| clean(&m.name).chars().count()).max().unwrap_or(0);
    for metric in &verdict.metrics {
        let MetricVerdict { name, classification, critical, points, reason, .. } = metric;
        let name = clean(name);
        let critical = if *critical { "critical" } else { "" };
        let counts = format!("{}/{}", points.canary, points.baseline);
        let _ = writeln!(out, "  {:6}  {name:wide$}  {critical:8}  {counts:>11} points  {reason}", classification.word());
    }
    out
}
