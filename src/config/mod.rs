//! Configuration: what files say (`shape`), what it comes to once checked (`resolve`), and where files are found
//! (`discover`). A configuration is built whole or not at all; every mistake is reported at once, with its place.

mod acting;
mod address;
mod ask;
mod boards;
mod discover;
mod entries;
mod file;
mod frozen;
mod kinds;
mod load;
mod model;
mod planning;
mod profiles;
mod resolve;
mod resolver;
mod roles;
mod rules;
mod sections;
mod sense;
mod shape;
mod sources;
mod targets;

pub use discover::{Discovered, discover, places};
pub use frozen::{bare, freeze, planned_config};
pub use load::{LoadedConfig, load_bare, load_file, load_text};
pub use model::{
    Acting, AlertSettings, Board, ColorChoice, Config, Environment, GlyphChoice, Panel, PanelKind, ScrapeTarget, SignalConfig,
    SourceConfig, SourceKind, TimeChoice, Ui, WINDOWS,
};
pub use planning::{planning_context, runbook_text, runbooks};
pub use profiles::{PROFILES, SHIPPED, profile_names};
pub use roles::{OperatorRole, Roles};
