//! Exit codes: their one home. `status` keeps to the convention of monitoring plugins (0 pass, 1 warn, 2 fail, 3 unknown),
//! which is the verdict's own affair.

pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
/// A run failed.
pub const RUN_FAILED: u8 = 20;
/// A run failed, and was rolled back.
pub const ROLLED_BACK: u8 = 21;
/// It waits for an operator, or is paused.
pub const WAITS: u8 = 22;
/// A run was aborted, or gave way to an emergency.
pub const ABORTED: u8 = 23;
/// A guard, a lease, a permission, an expired plan.
pub const REFUSED: u8 = 24;
pub const USAGE: u8 = 64;
pub const BAD_FILE: u8 = 65;
pub const UNAVAILABLE: u8 = 69;
