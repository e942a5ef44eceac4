//! The `lastgreen` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    match lastgreen::app::main() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}
