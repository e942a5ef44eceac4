//! The runner: a process of its own that drives one run. It writes down what it is going to do, does it, and writes down
//! what came of it; nobody has to look on. Cockpits and command lines talk to it through a socket.

mod act;
mod begin;
mod control;
mod drive;
mod guard;
mod letters;
mod post;
mod start;

pub use control::{Control, PATIENCE, Reply, Request, ask};
pub use drive::{Ending, Setup, drive};
pub use guard::place;
pub use letters::letters;
pub use post::{Extent, MirrorDone, deliver_waiting, sweep_letters, sync_run};
pub use start::{Started, start, take_leave};
