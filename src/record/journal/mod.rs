//! Journals: the append-only, synced, hash-chained record of each run, and what keeps them: the state folder, the leases of
//! an environment on this host and across hosts, and the mirror in a database.

mod disk;
mod file;
mod lease;
mod mirror;
mod record;
mod remote;
mod remote_hold;
mod remote_lease;
mod remote_runs;
mod remote_turn;
mod schema;
mod state;

pub use disk::{sync_folder, write_private};
pub use file::{Failpoint, FailpointAt, Journal, JournalError, has_begun, is_driven, mark_begun, no_failpoint, read};
pub use lease::{Holder, HostLease, Life, Tried, began, holder_of, place, shared_lease};
pub use mirror::{Difference, Mirror, compare, note, noted};
pub use record::{GENESIS, JournalLine, Replay, VERSION, Wrong, frame, parse, replay};
pub use remote::{RemoteView, look_remotely, said_of_hold_there};
pub use remote_hold::{Said, put_hold};
pub use remote_lease::{Other, RemoteLease, RemoteTried, RemoteWord, Wanted};
pub use remote_runs::{RemoteEnd, RemoteRun};
pub use remote_turn::RemoteTurn;
pub use state::{StateDir, private, trusted};
