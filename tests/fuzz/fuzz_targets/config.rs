#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let loaded = lastgreen::config::load_text(Path::new("fuzz.toml"), data);
    assert!(loaded.config.is_some() || !loaded.findings.is_empty());
});
