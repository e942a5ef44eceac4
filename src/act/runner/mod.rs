//! The runner: a process of its own that drives one run. It writes down what it is going to do, does it, and writes down
//! what came of it; nobody has to look on. Cockpits and command lines talk to it through a socket.

mod act;
mod begin;
mod control;
mod drive;
mod driver;
mod lease;
mod left_behind;
mod outgoing;
mod preempt;
mod probe;
mod start;

pub use control::{AbortRequest, Control, ControlRequest, PATIENCE, Reply, ask};
pub use drive::{DriveError, Ending, Setup, drive};
pub use start::{Started, start, take_leave};
