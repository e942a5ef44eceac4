#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = lastgreen::observe::engine::parse(data, lastgreen::observe::engine::Format::OpenMetrics);
});
