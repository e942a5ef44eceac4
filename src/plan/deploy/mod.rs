//! A deployment as it goes: how a canary is stepped and judged, where its traffic is by the record and by the switch, and
//! whether it may go on. Folds and decisions over what others have read; pure.

mod analysis;
mod canary;
mod promotion;
mod rollback;

pub use analysis::{AnalysisSettings, Compared, MetricPair, compare};
pub use canary::{CanarySettings, HOLD, Hold, STEP, Turn, TurnState, holds, turns};
pub use promotion::{DeployState, Promotion};
pub use rollback::{Readiness, ReadinessItem, ReadinessState, Scope, brought_out};
