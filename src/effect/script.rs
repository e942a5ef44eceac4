//! Scripts: a process group of their own, output as it comes, values as environment variables, ended whole on time-out.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::tap::Pipe;
use super::{Came, Order, Reach, Tap};
use crate::base::secret::Streaming;
use crate::base::text::{fit, hex};
use crate::base::units::short;
use crate::runbook::{Output, Script};
use crate::source::fetch_secret;

/// Between asking a group to end and ending it.
const GRACE: Duration = Duration::from_secs(3);
/// How long output is waited for once the script itself has ended: whoever it left behind may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);

/// The file that names the process group of a step while it runs.
fn pid_file(home: &Path) -> PathBuf {
    home.join("script.pid")
}

pub async fn perform(reach: &Reach, script: &Script, order: &Order<'_>, limit: Duration, tap: &mut Tap) -> Came {
    let mut command = match prepare(reach, script, order).await {
        Ok(command) => command,
        Err(e) => return Came::badly(e, false),
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Came::badly(format!("cannot start the script: {e}"), false),
    };
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let (sender, mut pieces) = mpsc::channel::<(Pipe, Vec<u8>)>(64);
    pump(child.stdout.take(), Pipe::Out, sender.clone());
    pump(child.stderr.take(), Pipe::Err, sender);
    let deadline = Instant::now() + limit;
    let mut stop = order.stop.clone();
    let mut out = Said::default();
    let status = loop {
        tokio::select! {
            Some((pipe, piece)) = pieces.recv() => take(tap, &mut out, pipe, &piece),
            status = child.wait() => break Ok(status),
            () = sleep_until(deadline) => break Err(format!("not done within {}: its processes were ended", short(limit))),
            _ = stop.wait_for(|stop| *stop) => break Err("stopped: its processes were ended".to_string()),
        }
    };
    if status.is_err() {
        end(group, &mut child).await;
    }
    let drained = Instant::now() + DRAIN;
    while let Ok(Some((pipe, piece))) = timeout_at(drained, pieces.recv()).await {
        take(tap, &mut out, pipe, &piece);
    }
    tap.finish();
    let _ = std::fs::remove_file(pid_file(order.home));
    let text = out.finish();
    // What is read as JSON is read whole; lines for people are cut where they are too long.
    let json = super::http::redacted(serde_json::from_str(&text).unwrap_or(Json::Null));
    let text: String = text.lines().map(|l| crate::base::text::clean(l).into_owned()).collect::<Vec<_>>().join("\n");
    let output = Output { json, text };
    let last = tap.last().map_or_else(String::new, |line| format!(": {}", fit(line, 160)));
    let came = match status {
        Ok(Ok(status)) if status.success() => {
            Came::well(tap.last().map_or_else(|| "ended well".into(), |l| fit(l, 160).into_owned()), script.mutates)
        }
        // As `test` and `grep` say "no".
        Ok(Ok(status)) if status.code() == Some(1) => Came::otherwise(format!("{status}{last}"), script.mutates),
        Ok(Ok(status)) => Came::badly(format!("{status}{last}"), script.mutates),
        Ok(Err(e)) => Came::badly(format!("cannot wait for the script: {e}"), script.mutates),
        Err(why) => Came::badly(format!("{why}{last}"), script.mutates),
    };
    Came { output, ..came }
}

/// The most of standard output that later steps get.
const AT_HAND: usize = 64 << 10;

/// The end of standard output, without known secrets: cut only after they were taken out.
#[derive(Default)]
struct Said {
    stream: Streaming,
    text: String,
}

impl Said {
    fn feed(&mut self, piece: &[u8]) {
        self.text += &self.stream.feed(piece);
        let extra = self.text.len().saturating_sub(AT_HAND);
        self.text.drain(..self.text.ceil_char_boundary(extra));
    }

    fn finish(mut self) -> String {
        self.text += &self.stream.finish();
        self.text.trim().to_string()
    }
}

fn take(tap: &mut Tap, out: &mut Said, pipe: Pipe, piece: &[u8]) {
    tap.feed(pipe, piece);
    if pipe == Pipe::Out {
        out.feed(piece);
    }
}

fn pump(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, which: Pipe, sender: mpsc::Sender<(Pipe, Vec<u8>)>) {
    let Some(mut pipe) = pipe else { return };
    tokio::spawn(async move {
        let mut buffer = vec![0; 8192];
        while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
            if sender.send((which, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    });
}

/// Ends a whole process group: first asked, then made to.
async fn end(group: Option<Pid>, child: &mut tokio::process::Child) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
        let _ = timeout(GRACE, child.wait()).await;
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}

async fn prepare(reach: &Reach, script: &Script, order: &Order<'_>) -> Result<Command, String> {
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
            let path = order.home.join("output").join(format!("{}.script", order.key.replace('/', "__")));
            let mut options = std::fs::OpenOptions::new();
            let written = options.write(true).create(true).truncate(true).mode(0o700).open(&path);
            written
                .and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()))
                .map_err(|e| format!("cannot write the script: {e}"))?;
            (path, text.clone())
        }
        (None, None) => return Err("there is no script".into()),
    };
    let with = if script.interpreter.is_empty() { shebang(&text) } else { script.interpreter.clone() };
    // The process names itself before it becomes the script, so that a runner which comes later can find it.
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo $$ > \"$1\" || exit 125; shift; exec \"$@\"", "sh"])
        .arg(pid_file(order.home))
        .args(with)
        .arg(&path)
        .args(&script.args);
    let cwd = script.cwd.as_ref().map_or_else(|| order.folder.to_path_buf(), |cwd| order.folder.join(cwd));
    command.current_dir(&cwd).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.env("LASTGREEN_RUN", order.run).env("LASTGREEN_STEP", order.key).env("LASTGREEN_ENVIRONMENT", order.environment);
    for name in &reach.hidden {
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

/// The process group of a step that a runner which is gone has left at work, if it has.
pub fn is_at_work(home: &Path) -> Option<Pid> {
    let group: i32 = std::fs::read_to_string(pid_file(home)).ok()?.trim().parse().ok()?;
    let group = Pid::from_raw(group)?;
    test_kill_process_group(group).ok()?;
    // The number may be another program's by now; ours have their run in their environment, the leader or its children.
    let marker = format!("LASTGREEN_RUN={}", home.file_name().map(|n| n.to_string_lossy()).unwrap_or_default());
    let is_ours = |pid: &str| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        group_of(pid) == Some(group.as_raw_nonzero().get()) && environment.split(|b| *b == 0).any(|pair| pair == marker.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    processes.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).any(|pid| is_ours(&pid)).then_some(group)
}

fn group_of(pid: &str) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; behind it: state, parent, group.
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// Waits for what a runner that is gone has left running, and ends it when it takes longer than its step may.
/// Says what was found.
pub async fn end_orphan(home: &Path, patience: Duration) -> Option<String> {
    let group = is_at_work(home);
    let mut said = None;
    if let Some(group) = group {
        let deadline = Instant::now() + patience;
        said = Some(format!("the script was still running (process group {}), and was waited for", group.as_raw_nonzero()));
        while is_at_work(home).is_some() {
            if Instant::now() >= deadline {
                let _ = kill_process_group(group, Signal::TERM);
                sleep(GRACE).await;
                let _ = kill_process_group(group, Signal::KILL);
                said = Some("the script was still running, and was ended".into());
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    let _ = std::fs::remove_file(pid_file(home));
    said
}
