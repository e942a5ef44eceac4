//! A program in a pseudo-terminal: its screen as text, its keys, and what becomes of the terminal.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

/// A key that draws nothing is waited for this long.
const UNSEEN: Duration = Duration::from_millis(400);
pub const PATIENCE: Duration = Duration::from_secs(240);

pub struct Terminal {
    pub master: Option<Box<dyn MasterPty + Send>>,
    pub keys: Option<Box<dyn Write + Send>>,
    pub child: Box<dyn Child + Send + Sync>,
    pub parser: Arc<Mutex<vt100::Parser>>,
    pub raw: Arc<Mutex<Vec<u8>>>,
    /// Makes the reader let go of the terminal.
    pub hang_up: Arc<AtomicBool>,
    /// Keeps the reader from reading, as a stalled link would.
    pub stalled: Arc<AtomicBool>,
    /// Where the program puts its files: what a killed one leaves goes with the test.
    pub _folder: tempfile::TempDir,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    pub fn open(columns: u16, rows: u16, arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lastgreen"));
        command.args(arguments);
        Terminal::spawn(columns, rows, command, environment)
    }

    /// Any program in a terminal, with nothing of our own environment.
    pub fn spawn(columns: u16, rows: u16, command: CommandBuilder, environment: &[(&str, &str)]) -> Terminal {
        let pair = native_pty_system().openpty(size(columns, rows)).expect("a pseudo-terminal");
        let mut command = command;
        command.env_clear();
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("PATH", "/usr/bin:/bin")] {
            command.env(name, value);
        }
        let folder = tempfile::TempDir::new().expect("a folder");
        command.env("HOME", folder.path());
        command.env("TMPDIR", folder.path());
        command.cwd(folder.path());
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("the binary starts");
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let hang_up = Arc::new(AtomicBool::new(false));
        let stalled = Arc::new(AtomicBool::new(false));
        let (shown, kept, gone, stuck) = (parser.clone(), raw.clone(), hang_up.clone(), stalled.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n) = output.read(&mut buffer) {
                if n == 0 || gone.load(Ordering::SeqCst) {
                    return;
                }
                while stuck.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                shown.lock().expect("a lock").process(&buffer[..n]);
                kept.lock().expect("a lock").extend_from_slice(&buffer[..n]);
            }
        });
        let keys = pair.master.take_writer().expect("a writer");
        Terminal { master: Some(pair.master), keys: Some(keys), child, parser, raw, hang_up, stalled, _folder: folder }
    }

    pub fn demo(columns: u16, rows: u16, scenario: &str, environment: &[(&str, &str)]) -> Terminal {
        Terminal::open(columns, rows, &["demo", "--scenario", scenario], environment)
    }

    pub fn text(&self) -> String {
        self.parser.lock().expect("a lock").screen().contents()
    }

    pub fn wait(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if holds(&text) {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; the screen shows:\n{text}");
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    pub fn wait_for(&self, text: &str) {
        self.wait(text, |screen| screen.contains(text));
    }

    pub fn press(&mut self, keys: &str) {
        let writer = self.keys.as_mut().expect("a writer");
        writer.write_all(keys.as_bytes()).expect("written");
        writer.flush().expect("flushed");
    }

    /// Keys one after the other, as fingers have it: what comes at once is taken for a paste. Each is pressed when the one
    /// before it has been seen, however busy the machine is.
    pub fn type_slowly(&mut self, text: &str) {
        for key in text.chars() {
            let drawn = || self.raw.lock().expect("a lock").len();
            let (before, at) = (drawn(), Instant::now());
            self.press(&key.to_string());
            let seen = || self.raw.lock().expect("a lock").len() != before;
            while at.elapsed() < Duration::from_millis(25) || !seen() && at.elapsed() < UNSEEN {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// A word and Enter, until that was slow enough: keys that a starved program reads together are none of fingers.
    pub fn answer_slowly(&mut self, word: &str, wanted: &str) {
        const TOO_FAST: &str = "too fast for fingers";
        loop {
            self.type_slowly(word);
            self.wait_for(&format!(": {word}"));
            self.press("\r");
            super::until("an answer to what was typed", || {
                let text = self.text();
                text.contains(wanted) || text.contains(TOO_FAST)
            });
            if self.text().contains(wanted) {
                return;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.process_id().expect("a pid") as i32).expect("a pid");
        kill_process(pid, signal).expect("signalled");
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.parser.lock().expect("a lock").screen_mut().set_size(rows, columns);
        self.master.as_ref().expect("a master").resize(size(columns, rows)).expect("resized");
    }

    /// Waits for the end; gives the exit code.
    pub fn ended(&mut self) -> u32 {
        self.ended_within(PATIENCE)
    }

    /// As it ends, with its own patience: a story takes its time.
    pub fn ended_within(&mut self, patience: Duration) -> u32 {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status.exit_code();
            }
            assert!(Instant::now() < deadline, "it does not end; the screen shows:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// The terminal is as it was: main screen, cursor shown, no special modes.
    pub fn assert_restored(&self) {
        self.wait("the terminal to be restored", |_| {
            let parser = self.parser.lock().expect("a lock");
            let screen = parser.screen();
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
    }
}
