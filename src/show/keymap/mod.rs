//! Keys: chords, sequences of chords in a trie, and the one registry of actions that bindings, help, palette and the
//! README's table are made from. Keymap files are strict: an unknown action or key is an error with its place.

mod action;
mod chord;
mod load;
mod trie;

pub use action::{Action, KeyScope};
pub use chord::Chord;
pub use load::{SHIPPED, load, parse, shipped_names};
pub use trie::{KeyTable, Keymap, Lookup};
