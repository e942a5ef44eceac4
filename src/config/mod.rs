//! Configuration: what files say (`shape`), what it comes to once checked (`resolve`), and where files are found
//! (`discover`). A configuration is built whole or not at all; every mistake is reported at once, with its place.

mod ask;
mod boards;
mod discover;
mod file;
mod model;
mod resolve;
mod rules;
mod shape;
mod sources;

pub use discover::{Discovered, discover, places};
pub use model::{
    Board, ColorChoice, Config, Environment, GlyphChoice, Panel, PanelKind, ScrapeTarget, SignalConfig, SourceConfig, SourceKind, Tier, Ui,
    WINDOWS,
};
pub use resolve::{Loaded, load_file, load_text, profile_names};
