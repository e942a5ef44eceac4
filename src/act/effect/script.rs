//! Scripts: a process group of their own, output as it comes, values as environment variables, ended whole on time-out.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::output_log::Pipe;
use super::{Act, Context, Ended, Invocation, Outcome, OutputLog, group};
use crate::base::secret::Streaming;
use crate::base::text::{fit, hex};
use crate::base::units::short;
use crate::observe::source::{Boxed, fetch_secret};
use crate::plan::runbook::{Output, Script};

/// How long output is waited for once the script itself has ended: whoever it left behind may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);
/// How soon an empty pipe is looked at again.
const AGAIN: Duration = Duration::from_millis(10);

impl Act for Script {
    fn stage(&self, home: &Path, key: &str) -> std::io::Result<()> {
        stage(self, home, key)
    }

    /// It ends its own processes; everything else can simply be let go of.
    fn ends_itself(&self) -> bool {
        true
    }

    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(run(context, self, invocation, log))
    }
}

async fn run(context: &Context, script: &Script, invocation: &Invocation<'_>, log: &mut OutputLog) -> Outcome {
    let limit = invocation.limit();
    let mut command = match prepare(context, script, invocation).await {
        Ok(command) => command,
        Err(e) => return Outcome::failed(e, false),
    };
    let pipes = match group::open_pipes(invocation.home, true) {
        Ok(pipes) => pipes,
        Err(e) => return Outcome::failed(format!("cannot make the script's pipes: {e}"), false),
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Outcome::failed(format!("cannot start the script: {e}"), false),
    };
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut pieces = follow(pipes);
    let deadline = Instant::now() + limit;
    let mut stop = invocation.stop.clone();
    let mut out = ScriptSaid::default();
    let status = loop {
        tokio::select! {
            Some((pipe, piece)) = pieces.recv() => take(log, &mut out, pipe, &piece),
            status = child.wait() => break Ok(status),
            () = sleep_until(deadline) => break Err(Ended::Failed),
            _ = stop.wait_for(|stop| *stop) => break Err(Ended::Stopped),
        }
    };
    let gone = status.is_ok() || group::end(leader, &mut child).await & group::end_strays(invocation.run, invocation.key).await;
    let drained = Instant::now() + DRAIN;
    while let Ok(Some((pipe, piece))) = timeout_at(drained, pieces.recv()).await {
        take(log, &mut out, pipe, &piece);
    }
    log.finish();
    let begun = group::is_named(invocation.home);
    // What could not be ended has to be found again.
    if gone {
        let _ = std::fs::remove_file(group::mark(invocation.home));
        group::pipes(invocation.home).iter().for_each(|pipe| drop(std::fs::remove_file(pipe)));
    }
    let quiet = !out.erred;
    let text = out.finish();
    // What is read as JSON is read whole; lines for people are cut where they are too long.
    let json = super::http::redacted(serde_json::from_str(&text).unwrap_or(Json::Null));
    let output = Output { json, text }.bounded();
    let last = log.last().map_or_else(String::new, |line| format!(": {}", fit(line, 160)));
    let outcome = match status {
        Ok(Ok(status)) if status.success() => {
            Outcome::done(log.last().map_or_else(|| "ended well".into(), |l| fit(l, 160).into_owned()), script.mutates)
        }
        Ok(Ok(status)) if status.code() == Some(125) && !begun => Outcome::failed(format!("the script could not be begun{last}"), false),
        // As `test` and `grep -s` say "no"; whoever complains besides has not answered.
        Ok(Ok(status)) if status.code() == Some(1) && quiet => Outcome::otherwise(format!("{status}{last}"), script.mutates),
        Ok(Ok(status)) => Outcome::failed(format!("{status}{last}"), script.mutates),
        Ok(Err(e)) => Outcome::failed(format!("cannot wait for the script: {e}"), script.mutates),
        Err(why) => {
            let words = if why == Ended::Stopped { "stopped".to_string() } else { format!("not done within {}", short(limit)) };
            let number = leader.map_or(0, |group| group.as_raw_nonzero().get());
            let words = if gone {
                format!("{words}: its processes were ended{last}")
            } else {
                format!("{words}, and CANNOT BE ENDED from here: process group {number} is still at work{last}")
            };
            Outcome { ended: why, ..Outcome::failed(words, script.mutates) }
        }
    };
    outcome.with(output)
}

/// What the pipes bring, as it comes; over when nobody can write to them any more.
pub(super) fn follow(pipes: [Receiver; 2]) -> mpsc::Receiver<(Pipe, Vec<u8>)> {
    let (sender, pieces) = mpsc::channel(64);
    for (mut pipe, which) in pipes.into_iter().zip([Pipe::Out, Pipe::Err]) {
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 8192];
            loop {
                match pipe.read(&mut buffer).await {
                    // Nobody has opened it yet, or nobody has it open any more: until the receiver is gone that may change.
                    Ok(0) => {
                        tokio::select! {
                            () = sender.closed() => return,
                            () = tokio::time::sleep(AGAIN) => {}
                        }
                    }
                    Ok(n) => {
                        if sender.send((which, buffer[..n].to_vec())).await.is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
        });
    }
    pieces
}

/// The most of standard output that later steps get.
const AT_HAND: usize = 64 << 10;

/// The end of standard output, without known secrets: cut only after they were taken out.
#[derive(Default)]
struct ScriptSaid {
    stream: Streaming,
    text: String,
    /// Whether it complained.
    erred: bool,
}

impl ScriptSaid {
    fn feed(&mut self, piece: &[u8]) {
        self.text += &self.stream.feed(piece);
        let extra = self.text.len().saturating_sub(AT_HAND);
        self.text.drain(..self.text.ceil_char_boundary(extra));
    }

    fn finish(mut self) -> String {
        self.text += &self.stream.finish();
        // What a control character has kept apart may have come together.
        self.text.trim().lines().map(crate::base::secret::sanitize).collect::<Vec<_>>().join("\n")
    }
}

fn take(log: &mut OutputLog, out: &mut ScriptSaid, pipe: Pipe, piece: &[u8]) {
    log.feed(pipe, piece);
    match pipe {
        Pipe::Out => out.feed(piece),
        Pipe::Err => out.erred |= !piece.trim_ascii().is_empty(),
    }
}

fn staged(home: &Path, key: &str) -> PathBuf {
    home.join("output").join(format!("{}.script", key.replace('/', "__")))
}

/// Puts on disk what a script needs besides its record: without room for that it must not begin.
///
/// # Errors
/// When it cannot be written.
fn stage(script: &Script, home: &Path, key: &str) -> std::io::Result<()> {
    group::reserve(home)?;
    let Some(text) = &script.inline else { return Ok(()) };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o700).open(staged(home, key))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()
}

async fn prepare(context: &Context, script: &Script, invocation: &Invocation<'_>) -> Result<Command, String> {
    let (path, text) = match (&script.file, &script.inline) {
        (Some(file), _) => {
            let path = PathBuf::from(file);
            let bytes = std::fs::read(&path).map_err(|e| format!("cannot read {file}: {e}"))?;
            let found = hex(&Sha256::digest(&bytes));
            if script.sha256.as_ref().is_some_and(|wanted| *wanted != found) {
                return Err(format!("{file} is not the file that was planned: it was changed since"));
            }
            (path, String::from_utf8_lossy(&bytes).into_owned())
        }
        (None, Some(text)) => {
            stage(script, invocation.home, invocation.key).map_err(|e| format!("cannot write the script: {e}"))?;
            (staged(invocation.home, invocation.key), text.clone())
        }
        (None, None) => return Err("there is no script".into()),
    };
    let with = if script.interpreter.is_empty() { shebang(&text) } else { script.interpreter.clone() };
    // The process names itself before it becomes the script, so that a runner which comes later can find it.
    let mut command = Command::new("sh");
    command
        .args(["-c", group::NAME_ITSELF, "sh"])
        .arg(group::mark(invocation.home))
        .args(group::pipes(invocation.home))
        .args(with)
        .arg(&path)
        .args(&script.args);
    let cwd = script.cwd.as_ref().map_or_else(|| invocation.folder.to_path_buf(), |cwd| invocation.folder.join(cwd));
    command.current_dir(&cwd).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.env("LASTGREEN_RUN", invocation.run).env("LASTGREEN_STEP", invocation.key).env("LASTGREEN_ENVIRONMENT", invocation.environment);
    for name in &context.hidden {
        command.env_remove(name);
    }
    for (name, value) in &script.env {
        command.env(name, value);
    }
    for (name, reference) in &script.secrets {
        command.env(name, fetch_secret(reference).await.map_err(|f| f.message)?.expose());
    }
    Ok(command)
}

/// What a script's first line asks for.
fn shebang(text: &str) -> Vec<String> {
    match text.lines().next().and_then(|line| line.strip_prefix("#!")) {
        Some(line) if !line.trim().is_empty() => line.split_whitespace().map(str::to_string).collect(),
        _ => vec!["sh".into(), "-eu".into()],
    }
}
