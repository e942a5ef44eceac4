//! Where output of a step goes: line by line into its file, without control characters and known secrets, whatever the
//! pieces it comes in; and the last of it in memory. How far the step is stands in a file of its own, which only tells.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::secret::{Streaming, sanitize};
use crate::plan::runbook::{Progress, StepProgress};

/// The most that is kept of one step's output, in bytes.
const MOST: u64 = 8 << 20;
/// How much of the end is at hand for messages, in bytes.
const AT_HAND: usize = 64 << 10;

pub struct OutputLog {
    file: Option<File>,
    written: u64,
    streams: [Streaming; 2],
    lines: [String; 2],
    recent: VecDeque<String>,
    recent_bytes: usize,
    /// The step, and the run's folder.
    step: String,
    home: PathBuf,
    progressed: Option<Instant>,
}

/// How often progress is written at most.
const OFTEN: Duration = Duration::from_millis(250);

fn progress_file(home: &Path) -> PathBuf {
    home.join("progress.json")
}

/// How far the step of a run is that is at work, where it says so.
pub fn read_progress(home: &Path) -> Option<StepProgress> {
    serde_json::from_slice(&std::fs::read(progress_file(home)).ok()?).ok()
}

/// The streams of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    Out = 0,
    Err = 1,
}

impl OutputLog {
    /// Appends to a file; without one (a full disk) the output is only at hand.
    pub fn new(home: &Path, step: &str) -> OutputLog {
        let path = super::output_file(home, step);
        let file = File::options().create(true).append(true).mode(0o600).open(path).ok();
        OutputLog {
            written: file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len()),
            file,
            streams: Default::default(),
            lines: Default::default(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            step: step.to_string(),
            home: home.to_path_buf(),
            progressed: None,
        }
    }

    /// Says how far it is. Only told: what cannot be written is left out.
    pub fn progress(&mut self, progress: Progress) {
        if self.progressed.is_some_and(|at| at.elapsed() < OFTEN) {
            return;
        }
        self.progressed = Some(Instant::now());
        let progress = Progress { words: sanitize(&progress.words), ..progress };
        let bytes = serde_json::to_vec(&StepProgress { step: self.step.clone(), progress }).unwrap_or_default();
        let draft = self.home.join(".progress");
        let _ = std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, progress_file(&self.home)));
    }

    /// A line of our own.
    pub fn say(&mut self, line: &str) {
        self.keep(sanitize(line));
    }

    /// A piece of a process's output.
    pub fn feed(&mut self, pipe: Pipe, piece: &[u8]) {
        let text = self.streams[pipe as usize].feed(piece);
        self.take(pipe, &text);
    }

    /// Whatever was held back, at the end.
    pub fn finish(&mut self) {
        for pipe in [Pipe::Out, Pipe::Err] {
            let text = self.streams[pipe as usize].finish();
            self.take(pipe, &text);
            let rest = std::mem::take(&mut self.lines[pipe as usize]);
            if !rest.is_empty() {
                self.keep(sanitize(&rest));
            }
        }
        let _ = std::fs::remove_file(progress_file(&self.home));
    }

    fn take(&mut self, pipe: Pipe, text: &str) {
        // A progress bar that goes back to the line's start writes a new line here.
        for c in text.chars() {
            let line = &mut self.lines[pipe as usize];
            if c == '\n' || c == '\r' || line.len() > 16 << 10 {
                let line = std::mem::take(line);
                if c == '\n' || !line.is_empty() {
                    // What a control character has kept apart may come together when that is gone.
                    self.keep(sanitize(&line));
                }
            }
            if c != '\n' && c != '\r' {
                self.lines[pipe as usize].push(c);
            }
        }
    }

    fn keep(&mut self, line: String) {
        let before = self.written;
        self.written += line.len() as u64 + 1;
        if let Some(file) = &mut self.file {
            let text = match (before < MOST, self.written < MOST) {
                (true, true) => format!("{line}\n"),
                (true, false) => format!("… what follows is not kept: more than {}\n", bytesize::ByteSize(MOST)),
                (false, _) => String::new(),
            };
            // Output is worth less than the run: a full disk is said by the journal.
            if !text.is_empty() && file.write_all(text.as_bytes()).is_err() {
                self.file = None;
            }
        }
        self.recent_bytes += line.len();
        self.recent.push_back(line);
        while self.recent_bytes > AT_HAND
            && let Some(old) = self.recent.pop_front()
        {
            self.recent_bytes -= old.len();
        }
    }

    pub fn last(&self) -> Option<&str> {
        self.recent.iter().rev().map(String::as_str).find(|line| !line.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_control_characters_do_not_get_into_the_file() {
        crate::base::secret::remember("tapped-s3cret");
        let folder = tempfile::TempDir::new().expect("a folder");
        std::fs::create_dir(folder.path().join("output")).expect("a folder");
        let mut tap = OutputLog::new(folder.path(), "x");
        for piece in ["one tapped-", "s3c", "ret two\x1b[31m", "\r50%\r100%\ntapped-\u{7}s3cret\nlast \u{7}"] {
            tap.feed(Pipe::Out, piece.as_bytes());
        }
        tap.finish();
        let text = std::fs::read_to_string(super::super::output_file(folder.path(), "x")).expect("the file");
        assert_eq!(text, "one [redacted] two[31m\n50%\n100%\n[redacted]\nlast \n");
        assert_eq!(tap.last(), Some("last "));
    }
}
