//! What can lie over the board: help, the palette, the query behind a panel, a row of a list, what has
//! happened, a line to type a search in, a runbook on its
//! way to being run, a run.

use tui_input::Input;

use super::canary_menu::CanaryMenu;
use super::dialog::Dialog;
use super::list_view::Row;
use super::palette::Palette;
use super::rollback_dialog::RollbackDialog;
use super::run_view::RunView;

#[derive(Clone, Debug)]
pub enum Overlay {
    Help {
        scroll: u16,
    },
    Palette(Palette),
    Query {
        scroll: u16,
    },
    /// A row of a list, whole.
    Detail {
        row: Row,
        scroll: u16,
    },
    /// What has happened; where one is in it is kept in the state.
    Timeline,
    /// A line of text; the focused list is filtered as it is typed.
    Search {
        input: Input,
    },
    /// A runbook on its way to being run.
    Dialog(Box<Dialog>),
    /// What can be done with the canary.
    Canary(CanaryMenu),
    /// A rollback on its way to being run.
    Rollback(Box<RollbackDialog>),
    /// A run, looked at.
    Run(Box<RunView>),
}
