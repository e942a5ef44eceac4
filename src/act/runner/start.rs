//! Letting go of the terminal: the runner is started as a process of its own, says that it has taken over, and from then
//! on nobody has to stay.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The runner's first and only word to whoever started it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub ok: bool,
    /// Another runner drives the run already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub driven: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How long its first word is waited for: it takes locks and looks at guards before it speaks.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a runner for a run's folder. Comes back when the run has begun and is on record, or was refused.
///
/// # Errors
/// When there is no runner; nothing was done then.
pub fn start(program: &Path, folder: &Path, arguments: &[&str]) -> Result<Started, String> {
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("cannot start the runner ({what}): {e}");
    let mut child: Child = Command::new(program)
        .arg("runner")
        .arg(folder)
        .args(arguments)
        // A script that begins a run is none of that run's own.
        .env_remove("LASTGREEN_RUN")
        .env_remove("LASTGREEN_STEP")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(
            std::fs::File::options().create(true).append(true).open(folder.join("runner.log")).map_or_else(|_| Stdio::null(), Stdio::from),
        )
        .spawn()
        .map_err(|e| failed("spawn", &e))?;
    let (said, first) = std::sync::mpsc::channel();
    let out = child.stdout.take();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = out.map_or(Ok(0), |out| BufReader::new(out).read_line(&mut line));
        let _ = said.send(read.map(|_| line));
        // Whoever stays must not leave a zombie behind.
        child.wait()
    });
    let line = match first.recv_timeout(PATIENCE) {
        Ok(read) => read.map_err(|e| failed("first word", &e))?,
        // It may begin yet: whoever looks at the run sees what becomes of it.
        Err(_) => {
            return Ok(Started { ok: true, driven: false, message: Some("the runner has not said yet whether it could begin".into()) });
        }
    };
    serde_json::from_str(&line).map_err(|_| {
        let said = std::fs::read_to_string(folder.join("runner.log")).unwrap_or_default();
        failed("first word", &format!("it ended before it began: {}", said.lines().last().unwrap_or("no word")))
    })
}

/// The other side: a session of its own, so that no terminal's end reaches it, and no descriptor of the starter's.
///
/// # Errors
/// When the system refuses.
pub fn take_leave() -> std::io::Result<()> {
    // A process that leads its group already (started by hand from a shell) has a session that nobody takes away.
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(())
}

impl Started {
    /// Says it, and lets go of the pipe.
    pub fn say(&self) {
        use std::io::Write;
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        // The starter may be gone: the run does not depend on it.
        let _ = std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush());
        if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    }
}
