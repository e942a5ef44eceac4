//! What the cockpit wants done outside of itself.

use std::time::Duration;

use crate::status::Request;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Quit,
    Copy(String),
    SetWindow(Duration),
    Refresh,
    Reload,
    Redraw,
    Suspend,
    Theme(String),
    NextTheme,
    /// Something for the backend.
    Backend(Request),
}
