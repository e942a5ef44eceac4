//! A deployment as it goes: how a canary is stepped and judged, where its traffic is by the record and by the switch, and
//! whether it may go on. Folds and decisions over what others have read; pure.

mod analysis;
mod canary;
mod drill;
mod gate;
mod promotion;
mod rollback;
mod snapshot;
mod write_loss;

pub use crate::plan::runbook::Scope;
pub use analysis::{Compared, compare, far_off};
pub use canary::{HOLD, Hold, STEP, SaidOfHold, Turn, TurnState, holds, turns};
pub use drill::improvements;
pub use gate::{GateAnswer, GateVerdict, Judged, Matrix, evaluation, governance, lockfile};
pub use promotion::{DeployState, Promotion};
pub use rollback::{
    PastRun, PastState, Readiness, ReadinessItem, ReadinessState, RollbackSettings, brought_out, not_made_good, wrong_environment,
};
pub use snapshot::{Changes, Golden, Manifest, Part, ProbeQuery, StoreKind, differences, drifted, of_environment, pick, too_old};
pub use write_loss::{WriteLoss, goes_in_place};
