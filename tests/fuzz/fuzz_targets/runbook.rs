#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lastgreen::base::clock::Stamp;

fuzz_target!(|data: &str| {
    let loaded = lastgreen::plan::runbook::load(Path::new("fuzz.yaml"), data, Stamp(1_790_000_000_000));
    assert!(loaded.runbook.is_some() || !loaded.findings.is_empty());
    if let Some(runbook) = loaded.runbook {
        let _ = lastgreen::plan::runbook::plan(&runbook, &Default::default(), &Default::default(), &|_| Err("no files".into()));
    }
});
