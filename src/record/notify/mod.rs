//! Who is told: notifications on disk until they are delivered (outbox), the channels they go through, and the delivery
//! beside a run, of records to their mirror as well.

mod deliver;
mod deliverer;
mod notifications;
mod outbox;

pub use deliver::{NotDelivered, deliver};
pub use deliverer::{Deliverer, Extent, MirrorDone, Undelivered, deliver_waiting, sweep_notifications, sync_run};
pub use notifications::{notifications, remember_notifications};
pub use outbox::{Notification, Outbox};
