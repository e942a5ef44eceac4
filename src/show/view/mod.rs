//! Drawing: from state and theme to a buffer, nothing else. One file a panel, one an overlay.

mod board;
mod canary_menu;
mod deploy;
mod detail;
mod dialog;
mod distribution;
mod footer;
mod header;
mod help;
mod logs;
mod paint;
mod palette;
mod panel;
mod plot;
mod query;
mod rollback;
mod rollback_dialog;
mod run;
mod run_foot;
mod run_output;
mod runbooks;
mod series;
mod stack;
mod stats;
mod table;
mod timeline;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::show::cockpit::{Overlay, State};
use crate::show::theme::{Role, Theme};
pub use board::is_drawing_panel;
use paint::Paint;

/// The parts of the screen.
struct Parts {
    header: Rect,
    tabs: Rect,
    board: Rect,
    hint: Rect,
    footer: Rect,
}

fn parts(state: &State, area: Rect) -> Parts {
    let row = |y: u16, height: u16| Rect { x: area.x, y: area.y + y, width: area.width, height };
    let hint = state
        .config
        .environment
        .hint
        .as_ref()
        .map_or(0, |text| crate::base::text::wrap(text, usize::from(area.width.saturating_sub(2))).len().min(2));
    let hint = if area.height > 12 { hint as u16 } else { 0 };
    let top = area.height.min(2);
    let bottom = u16::from(area.height > 4);
    let board = area.height.saturating_sub(top + bottom + hint);
    Parts {
        header: row(0, area.height.min(1)),
        tabs: row(1.min(area.height), u16::from(area.height > 1)),
        board: row(top, board),
        hint: row(top + board, hint),
        footer: row(top + board + hint, bottom),
    }
}

/// Where the board's panels are, in their order; with a zoomed panel, that one only.
pub fn panel_areas(state: &State, area: Rect) -> Vec<(usize, Rect)> {
    board::areas(state, parts(state, area).board)
}

/// Draws everything. Returns where the text cursor is to stand, when a line is being typed.
pub fn draw(state: &State, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let mut paint = Paint::new(buffer, theme);
    paint.fill(area, Role::Text);
    let parts = parts(state, area);
    header::draw(state, &mut paint, parts.header);
    header::tabs(state, &mut paint, parts.tabs);
    board::draw(state, &mut paint, parts.board);
    if let Some(hint) = &state.config.environment.hint {
        let inside = Rect { x: parts.hint.x + 1, width: parts.hint.width.saturating_sub(2), ..parts.hint };
        paint.wrapped(inside, 0, hint, Role::Accent);
    }
    let cursor = footer::draw(state, &mut paint, parts.footer);
    // A run has everything between the header and the last row.
    let whole = Rect { height: parts.board.height + parts.hint.height, ..parts.board };
    match &state.overlay {
        Some(Overlay::Help { scroll }) => help::draw(state, &mut paint, parts.board, *scroll),
        Some(Overlay::Query { scroll }) => query::draw(state, &mut paint, parts.board, *scroll),
        Some(Overlay::Detail { row, scroll }) => detail::draw(state, &mut paint, parts.board, row, *scroll),
        Some(Overlay::Timeline) => timeline::list(state, &mut paint, parts.board),
        Some(Overlay::Palette(palette)) => return palette::draw(state, &mut paint, parts.board, palette),
        Some(Overlay::Dialog(dialog)) => {
            return board::guarded(&mut paint, whole, &dialog.title, |paint| dialog::draw(state, paint, whole, dialog)).flatten();
        }
        Some(Overlay::Canary(menu)) => return canary_menu::draw(state, &mut paint, parts.board, menu),
        Some(Overlay::Rollback(dialog)) => {
            let draw = |paint: &mut Paint| rollback_dialog::draw(state, paint, whole, dialog);
            return board::guarded(&mut paint, whole, "Roll back", draw).flatten();
        }
        Some(Overlay::Run(view)) => {
            return board::guarded(&mut paint, whole, &view.run, |paint| run::draw(state, paint, whole, view)).flatten();
        }
        Some(Overlay::Search { .. }) | None => {}
    }
    cursor
}
