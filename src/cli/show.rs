//! `lastgreen show`: what is shipped, as the files that users write: to be read, copied, and laid over.

use clap::{Args, ValueEnum};

use super::command_error::{CommandError, CommandResult};
use crate::base::diag::suggestion;
use crate::base::exit;
use crate::config::{PROFILES, SHIPPED};
use crate::show::{keymap, theme};

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// What kind of file.
    #[arg(value_enum)]
    pub what: ShownFile,
    /// Which one; without it the names of all. A profile's own runbook is PROFILE/NAME.
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ShownFile {
    Profile,
    Theme,
    Keymap,
    Runbook,
}

/// # Errors
/// When there is none of that name.
pub fn show(args: &ShowArgs) -> CommandResult {
    let all = shipped(args.what);
    let Some(name) = &args.name else {
        all.iter().for_each(|(name, _)| say!("{name}"));
        return Ok(exit::DONE);
    };
    match all.iter().find(|(known, _)| known == name) {
        Some((_, text)) => {
            say!("{}", text.trim_end());
            Ok(exit::DONE)
        }
        None => {
            let hint = suggestion(name, all.iter().map(|(name, _)| name.as_str())).unwrap_or_default();
            Err(CommandError::usage(format!("nothing of that name is shipped: `{name}`; {hint}")))
        }
    }
}

fn shipped(what: ShownFile) -> Vec<(String, &'static str)> {
    let named = |(name, text): &(&'static str, &'static str)| ((*name).to_string(), *text);
    match what {
        ShownFile::Profile => PROFILES.iter().map(|profile| (profile.name.to_string(), profile.text)).collect(),
        ShownFile::Theme => theme::SHIPPED.iter().map(named).collect(),
        ShownFile::Keymap => keymap::SHIPPED.iter().map(named).collect(),
        ShownFile::Runbook => {
            let bare = |file: &str| file.trim_end_matches(".yaml").to_string();
            let own = SHIPPED.iter().map(|(file, text)| (bare(file), *text));
            let of_profiles = PROFILES
                .iter()
                .flat_map(|profile| profile.runbooks.iter().map(move |(file, text)| (format!("{}/{}", profile.name, bare(file)), *text)));
            own.chain(of_profiles).collect()
        }
    }
}
