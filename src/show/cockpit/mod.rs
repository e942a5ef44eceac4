//! The cockpit's state and how it changes: pure and synchronous. Messages come in (keys, readings, the clock), commands
//! go out (copy, ask again, reload); nothing here touches a terminal, a file or a socket.

mod canary_menu;
mod command;
mod dialog;
mod happened;
mod line_edit;
mod list_view;
mod logs;
mod navigate;
mod overlay;
mod palette;
mod palette_entries;
mod requests;
mod rollback_dialog;
mod run_view;
mod state;
mod table;
mod timeline_view;
mod typed;
mod update;

pub use canary_menu::CanaryMenu;
pub use command::Command;
pub use dialog::{Dialog, Field, Stage};
pub use list_view::{ListView, Row, TableData};
pub use logs::LogView;
pub use overlay::Overlay;
pub use palette::{Palette, PaletteCommand, PaletteEntry};
pub use palette_entries::entries;
pub use rollback_dialog::RollbackDialog;
pub use run_view::{Asking, RunView};
pub use state::{Cursor, FrozenScreen, Nav, State, Toast, is_chart, is_list};
pub use table::table_of;
pub use timeline_view::TimelineView;
pub use typed::{Pressed, Typed};
pub use update::{Message, update};
