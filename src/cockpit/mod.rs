//! The cockpit's state and how it changes: pure and synchronous. Messages come in (keys, readings, the clock), commands
//! go out (copy, ask again, reload); nothing here touches a terminal, a file or a socket.

mod dialog;
mod lists;
mod logs;
mod orders;
mod overlay;
mod palette;
mod runs;
mod runview;
mod state;
mod store;
mod summary;
mod typed;
mod update;

pub use dialog::{Dialog, Field, Stage};
pub use lists::{ListView, Row, TableData, table_of};
pub use logs::{LogView, TARGETS};
pub use orders::{News, Order, OutputTail};
pub use overlay::Overlay;
pub use palette::{Entry, entries};
pub use runs::{Due, Ledger, RunLine, RunbookLine, Standing, expected, step_mark};
pub use runview::{Asking, RunView};
pub use state::{Cursor, Frozen, Nav, Notice, State, is_chart, is_list};
pub use store::{Store, Track};
pub use summary::{RuleLine, SignalLine, SourceLine, Summary, alert_verdict, shown};
pub use typed::Typed;
pub use update::{Command, Message, update};
