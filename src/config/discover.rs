//! Where a configuration is looked for, in order, and which one is taken.

use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovered {
    /// The file, and what named it.
    File(PathBuf),
    /// A file that was asked for by name and is not there.
    Missing(PathBuf, &'static str),
    /// None of these exist.
    Nowhere(Vec<PathBuf>),
}

/// The places without a name given, in the order in which they are tried.
pub fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("lastgreen.toml")];
    if let Ok(strategy) = choose_base_strategy() {
        places.push(strategy.config_dir().join("lastgreen").join("lastgreen.toml"));
    }
    places
}

/// `--config`, then `$LASTGREEN_CONFIG`, then the usual places.
pub fn discover(asked: Option<&Path>, variable: Option<&str>) -> Discovered {
    let named = [(asked.map(Path::to_path_buf), "--config"), (variable.filter(|v| !v.is_empty()).map(PathBuf::from), "$LASTGREEN_CONFIG")];
    for (path, by) in named {
        if let Some(path) = path {
            return if path.is_file() { Discovered::File(path) } else { Discovered::Missing(path, by) };
        }
    }
    let places = places();
    match places.iter().find(|path| path.is_file()) {
        Some(path) => Discovered::File(path.clone()),
        None => Discovered::Nowhere(places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_that_is_missing_is_not_replaced_by_another() {
        let asked = Path::new("/nonexistent/a.toml");
        assert_eq!(discover(Some(asked), None), Discovered::Missing(asked.into(), "--config"));
        assert_eq!(discover(None, Some("/nonexistent/b.toml")), Discovered::Missing("/nonexistent/b.toml".into(), "$LASTGREEN_CONFIG"));
    }
}
