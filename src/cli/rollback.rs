//! `lastgreen rollback`: everything back to what was green last, on a bare terminal or without one.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tokio::runtime::Runtime;

use super::command_error::{CommandError, CommandResult};
use super::confirm::{BeginArgs, begin};
use crate::backend::{COUNTING, LookAt, Looked, OperationError, Operations, RollbackRequest, look};
use crate::base::exit;
use crate::base::units::short;
use crate::judge::Verdict;
use crate::plan::deploy::Scope;
use crate::plan::runbook::Plan;

/// How long an emergency that is confirmed already waits for what nobody reads before it begins.
const HURRY: Duration = Duration::from_secs(2);
/// What is asked before a scope is planned, how long at most, and what to do instead.
const ASKED_VERSIONS: (&str, Duration, &str) = ("asking which version was green last", Duration::from_secs(5), NOT_ASKED);
const ASKED_ALL: (&str, Duration, &str) = ("counting what it would cost", COUNTING, NOT_ASKED);
const ASKED_BACK: (&str, Duration, &str) = ("counting what it would cost", COUNTING, "");
const NOT_ASKED: &str = " (--scope traffic waits for nothing)";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RollbackArgs {
    #[command(subcommand)]
    pub command: Option<RollbackSub>,
    /// How much is taken back.
    #[arg(long, value_enum, default_value = "traffic")]
    pub scope: ScopeArg,
    #[command(flatten)]
    pub begin: BeginArgs,
    /// Try it out: for real, on a target that is not production (the only one there is, or --target).
    #[arg(long)]
    pub drill: bool,
    /// Act on a stand-in of the environment: a [targets.NAME] of the configuration.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// A program begins it (a hook of an alert, a scheduler), and not a person: on record as automatic.
    #[arg(long, requires = "confirm")]
    pub automatic: bool,
}

#[derive(Debug, Subcommand)]
pub enum RollbackSub {
    /// Whether a rollback would work right now, and how the last ones went. Exit code 0 ready, 1 degraded, 2 not ready.
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Take the restoring of the data back, in seconds: of the last run that restored, or of another.
    Undo {
        /// The run that restored.
        run: Option<String>,
        #[command(flatten)]
        begin: BeginArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeArg {
    /// The canary's traffic to zero.
    Traffic,
    /// That, and the version that was green last.
    Code,
    /// That, and the data.
    Full,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Scope {
        match scope {
            ScopeArg::Traffic => Scope::Traffic,
            ScopeArg::Code => Scope::Code,
            ScopeArg::Full => Scope::Full,
        }
    }
}

impl RollbackArgs {
    pub fn json(&self) -> bool {
        match &self.command {
            Some(RollbackSub::Status { json }) => *json,
            Some(RollbackSub::Undo { begin, .. }) => begin.json,
            None => self.begin.json,
        }
    }
}

/// # Errors
/// What keeps it from being done.
pub fn rollback(args: &RollbackArgs, operations: &mut Operations, runtime: &Runtime) -> CommandResult {
    match &args.command {
        Some(RollbackSub::Status { json }) => return status(operations, runtime, *json),
        Some(RollbackSub::Undo { run, begin: wanted }) => {
            // What is refused by the record waits for no database.
            operations.may_undo(run.as_deref())?;
            let written = operations.look_within(runtime, LookAt::Data, patience(wanted, ASKED_BACK)).data.and_then(|data| data.loss);
            let plan = operations.plan_undo(run.as_deref(), wanted.reason.clone(), written.as_ref())?;
            operations.may_take_back(runtime, &plan)?;
            return begin(operations, &plan, wanted);
        }
        None => {}
    }
    let scope = Scope::from(args.scope);
    let acts_on = operations.target(args.target.as_deref(), args.drill)?;
    // To take the canary out of the traffic nobody has to be asked anything.
    let looked = match scope {
        Scope::Traffic => Looked::default(),
        Scope::Code => operations.look_within(runtime, LookAt::Versions, patience(&args.begin, ASKED_VERSIONS)),
        // Its own steps look at the files.
        Scope::Full => operations.look_within(runtime, LookAt::Data, patience(&args.begin, ASKED_ALL)),
    };
    // A stand-in may know itself what was green there.
    let green = match acts_on.target {
        Some(_) if scope != Scope::Traffic => look(&acts_on, runtime, LookAt::Versions, HURRY).green,
        _ => looked.green.clone(),
    };
    let here = args.target.is_none() && !args.drill;
    let against = if here && scope == Scope::Full { operations.against_data(&looked) } else { Vec::new() };
    let snapshot = looked.snapshot(operations.now());
    let reason = args.begin.reason.clone();
    let (target, drill, automatic, matrices) = (args.target.clone(), args.drill, args.automatic, looked.matrices);
    // A stand-in is at other addresses.
    let mismatches = if target.is_none() && !drill { looked.mismatches } else { Vec::new() };
    let running = looked.running.and_then(Result::ok).filter(|_| target.is_none() && !drill);
    let request = RollbackRequest { reason, green, running, snapshot, matrices, mismatches, target, drill, automatic, instead: None };
    let (plan, whole) = match operations.plan_rollback(scope, request.clone()) {
        Ok(plan) => (plan, true),
        // Whoever only asks, or tries it out, hears that it would not work.
        Err(why) if drill || args.begin.dry_run => return Err(why.into()),
        Err(why) => (traffic_at_least(operations, (scope, why), request)?, false),
    };
    if args.begin.confirm.is_some() && plan.content.reason.is_none() && !args.drill {
        return Err(CommandError::refused("a rollback without anybody to ask says why: add --reason TEXT"));
    }
    if !args.begin.json {
        against.iter().for_each(|words| eprintln!("{} DOES NOT WORK by its readiness: {words}", scope.word()));
    }
    let code = begin(operations, &plan, &args.begin)?;
    if whole || code != exit::DONE {
        return Ok(code);
    }
    eprintln!("{}", plan.content.warnings.first().map_or("", String::as_str));
    Ok(exit::FAILED)
}

/// What can be taken back when all of what was asked for cannot: the canary is taken out of the traffic, and it is said that this is all.
fn traffic_at_least(
    operations: &mut Operations,
    (scope, why): (Scope, OperationError),
    wanted: RollbackRequest,
) -> Result<Plan, CommandError> {
    if scope == Scope::Traffic {
        return Err(why.into());
    }
    let words = format!("ONLY THE TRAFFIC: {} cannot be planned: {}", scope.word(), why.words());
    let only = RollbackRequest { instead: Some(words), ..wanted };
    operations.plan_rollback(Scope::Traffic, only).map_err(|_| why.into())
}

/// Nobody reads what it says before it begins.
fn is_confirmed(wanted: &BeginArgs) -> bool {
    wanted.confirm.is_some() && !wanted.dry_run
}

/// How long is waited for what is asked first: where nobody reads what comes of it, not for long.
fn patience(wanted: &BeginArgs, (asked, most, instead): (&str, Duration, &str)) -> Duration {
    if is_confirmed(wanted) {
        return HURRY;
    }
    if !wanted.json {
        eprintln!("{asked}, for {} at most{instead}", short(most));
    }
    most
}

fn status(operations: &mut Operations, runtime: &Runtime, as_json: bool) -> CommandResult {
    let looked = operations.look(runtime, LookAt::Files);
    let readiness = operations.readiness(&looked);
    let (state, now) = (readiness.state(), operations.now());
    let environment = operations.config.environment.name.clone();
    let runs = operations.runs();
    let last: Vec<_> = runs
        .iter()
        .filter(|run| run.plan.content.environment.name == environment && Scope::of(&run.plan.content.runbook).is_some())
        .take(5)
        .collect();
    let code = state.verdict().exit_code();
    if as_json {
        let scopes: Vec<_> = Scope::ALL
            .into_iter()
            .map(|scope| {
                let took = readiness.expected.iter().find(|(of, _)| *of == scope).map(|(_, took)| took.as_millis() as u64);
                let against: Vec<_> = readiness.against(scope).map(|item| format!("{}: {}", item.what, item.words)).collect();
                json!({"scope": scope, "works": readiness.works(scope), "against": against, "expected_ms": took})
            })
            .collect();
        let document = json!({"state": state, "words": readiness.words(), "scopes": scopes, "items": readiness.items,
            "rollbacks": last.iter().map(|run| run.json(now)).collect::<Vec<_>>()});
        say!("{}", serde_json::to_string_pretty(&document).unwrap_or_default());
        return Ok(code);
    }
    say!("{}  {}", state.word(), readiness.words());
    for item in &readiness.items {
        let mark = match item.verdict {
            Verdict::Pass => "ok     ",
            Verdict::Warn => "WARN   ",
            Verdict::Fail => "FAIL   ",
            Verdict::Unknown => "UNKNOWN",
        };
        let mend = item.mend.as_ref().map_or_else(String::new, |mend| format!("  ({mend})"));
        say!("  {mark}  {:16}  {}{mend}", item.what, item.words);
    }
    say!("scopes");
    for scope in Scope::ALL {
        let took = readiness
            .expected
            .iter()
            .find(|(of, _)| *of == scope)
            .map_or("never done here".into(), |(_, took)| format!("~ {}", short(*took)));
        say!("  {:8}  {}  {took}", scope.word(), if readiness.works(scope) { "works  " } else { "DOES NOT WORK" });
    }
    for run in last {
        let at = run.run.started.map_or_else(|| "not begun".into(), |at| at.iso());
        let reason = run.plan.content.reason.as_deref().unwrap_or("no reason given");
        say!("  {at}  {}  {}  by {}  {reason}", run.plan.content.runbook, run.status().word(), run.run.by.user);
    }
    Ok(code)
}
