//! The runner: a process of its own that drives one run. It writes down what it is going to do, does it, and writes down
//! what came of it; nobody has to look on. Cockpits and command lines talk to it through a socket.

mod act;
mod begin;
mod control;
mod drive;
mod driver;
mod guard;
mod start;

pub use control::{Control, ControlRequest, PATIENCE, Reply, ask};
pub use drive::{Ending, Setup, drive};
pub use guard::place;
pub use start::{Started, start, take_leave};
