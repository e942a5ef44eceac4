//! Runbooks: files of steps, the plans made of them, and runs as pure folds over what a journal says. Nothing here does
//! anything; `effect` performs steps and `runner` drives a run.

mod context;
mod event;
mod kinds;
mod load;
pub mod millis;
mod model;
mod next;
mod plan;
mod planner;
mod release;
mod run;
mod scope;
mod step_names;
mod steps;
mod switch;
mod template;

pub use context::{Asked, KnownSnapshot, PlanningContext};
pub use event::{
    Choice, Event, Operator, OperatorQuestion, Output, ProbeAnswer, Progress, QuestionKind, Record, RunResult, Runner, StepProgress,
    StepResult,
};
pub use kinds::*;
pub use load::{LoadedRunbook, PAGERDUTY, load};
pub use model::{
    Channel, Checklists, Danger, Frequency, Front, Input, InputType, NotificationRule, Occasion, OnFailure, Retry, Rollback, Runbook,
    RunbookStatus, Step, Trigger,
};
pub use next::Next;
pub use plan::{Confirmation, Content, FrozenConfig, Notice, Plan, PlanEnvironment, Planned, RollbackPlan, SourceFile, When};
pub use planner::plan;
pub use release::{Deploy, LastGreen, LastGreenFrom, Release, is_version};
pub use run::{Back, Broken, Course, NOT_NEEDED, Phase, Run, StepRun, StepState};
pub use scope::{Scope, is_wider};
pub use steps::slug;
pub use switch::{ALL, KubeCommand, KubeResource, Kubectl, Observation, ReadBack, Scale, Seen, Switch, SwitchKind, Weight, percent};
pub use template::{Fill, holds, is_template, render, render_with};
