//! Who is told: notifications on disk until they are delivered (outbox), the channels they go through, and the delivery
//! beside a run, of records to their mirror as well.

mod deliver;
mod letters;
mod outbox;
mod post;

pub use deliver::deliver;
pub use letters::{letters, remember_letters};
pub use outbox::{Letter, Outbox};
pub use post::{Extent, MirrorDone, Post, deliver_waiting, sweep_letters, sync_run};
