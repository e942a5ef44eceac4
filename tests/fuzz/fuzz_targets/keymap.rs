#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = lastgreen::show::keymap::parse(Path::new("fuzz.toml"), data, Path::new("/nonexistent"), 0);
});
