//! The terminal: entering and restoring it, frames in few bytes, and the loop that joins keys, readings and the clock.
//! Nothing here waits for the network.

mod background;
mod clipboard;
mod screen;
mod script;
mod session;

pub use background::{can_be_asked, said_light};
pub use screen::{Screen, give_back_raw_mode, restore};
pub use script::KeyScript;
pub use session::{CockpitSession, Outside, Reload};
