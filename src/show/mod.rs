//! What people see and press: keys, themes, the state of the cockpit, its drawing, and the terminal.

pub mod cockpit;
pub mod keymap;
pub mod terminal;
pub mod theme;
pub mod view;
