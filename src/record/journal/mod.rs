//! Journals: the append-only, synced, hash-chained record of each run, and what keeps them: the state folder, the lock of
//! an environment, the outbox of notices, and the mirror in a database.

mod file;
mod lock;
mod mirror;
mod record;
mod state;

pub use file::{Failpoint, FailpointAt, Journal, JournalError, is_driven, no_failpoint, read, sync_folder};
pub use lock::{Holder, HostLock, Tried};
pub use mirror::{Difference, Mirror, Other, compare, note, noted};
pub use record::{GENESIS, JournalLine, Replay, VERSION, Wrong, frame, parse, replay};
pub use state::{StateDir, private, trusted, write_private};
