#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(replay) = lastgreen::record::journal::replay(data) {
        // What is taken for good is good byte by byte: framed again it is the same.
        let mut prev = lastgreen::record::journal::GENESIS.to_string();
        for line in &replay.lines {
            assert!(lastgreen::record::journal::parse(&line.text, line.record.seq as usize, &prev).is_ok());
            prev.clone_from(&line.sum);
        }
        assert_eq!(replay.good + replay.torn, data.len() as u64);
    }
});
