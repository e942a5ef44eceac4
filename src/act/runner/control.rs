//! The control socket: one JSON line in, one out. Whoever may open it may answer, pause and abort; the file is its
//! owner's alone, and the other side's user is looked at besides.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::{Clock, Stamp};
use crate::plan::runbook::{Choice, Course, Operator};

/// What can be asked of a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ControlRequest {
    /// Is anybody there, and does anything keep it?
    Status,
    Answer {
        /// The record that asked.
        asked: u64,
        step: String,
        choice: Choice,
        #[serde(default)]
        note: String,
    },
    /// An emergency takes the environment: end, and leave everything as it is.
    Supersede {
        run: String,
        /// What that one does.
        #[serde(default)]
        runbook: String,
    },
    /// After the current step.
    Pause,
    Continue,
    Abort(AbortRequest),
}

/// How, why, and on seeing what somebody ends a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbortRequest {
    pub undo: bool,
    #[serde(default)]
    pub reason: String,
    /// What the run was at when that was decided: what somebody else has decided meanwhile is not cut off unseen.
    #[serde(default)]
    pub course: Option<Course>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub ok: bool,
    /// Why not, or what keeps the run (a journal that cannot be written).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Reply {
    pub fn yes() -> Reply {
        Reply { ok: true, message: None }
    }

    pub fn no(message: impl Into<String>) -> Reply {
        Reply { ok: false, message: Some(message.into()) }
    }
}

#[derive(Serialize, Deserialize)]
struct ControlLine {
    #[serde(flatten)]
    request: ControlRequest,
    by: Operator,
    /// After this whoever asked has given up: what was answered as failed must not happen later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Stamp>,
}

/// A request on its way to the run.
pub struct Control {
    pub request: ControlRequest,
    pub by: Operator,
    /// It is not done any more after this.
    pub until: Option<Stamp>,
    pub reply: oneshot::Sender<Reply>,
}

pub const FILE: &str = "control.sock";

/// Sockets have short names: a long one goes through the folder's descriptor.
const LONGEST: usize = 100;

fn address(folder: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    let path = folder.join(FILE);
    if path.as_os_str().len() < LONGEST {
        return Ok((path, None));
    }
    let folder = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(FILE);
    Ok((short, Some(folder)))
}

/// Listens beside a run's journal.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(folder: &Path) -> std::io::Result<mpsc::Receiver<Control>> {
    let (path, _open) = address(folder)?;
    // One that a runner left which is gone.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let us = rustix::process::geteuid().as_raw();
            if let Ok(peer) = stream.peer_cred()
                && (peer.uid() == us || peer.uid() == 0)
            {
                tokio::spawn(serve(stream, sender.clone(), Peer { uid: peer.uid(), login: peer.pid().and_then(login) }));
            }
        }
    });
    Ok(receiver)
}

/// Who is at the other end, as the kernel has it.
struct Peer {
    uid: u32,
    /// Who logged in, where that is kept.
    login: Option<u32>,
}

fn login(pid: i32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

fn name_of(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    user.ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Who asks, as far as the kernel bears it out: the account must be the one that opened the socket, and the person the
/// one who logged in, where the kernel knows.
fn borne_out(by: Operator, peer: &Peer) -> Operator {
    let account = name_of(peer.uid);
    let clean = |text: &str| crate::base::secret::sanitize(text);
    let claimed = by.acting_as.as_deref().unwrap_or(&by.user) == account;
    let said = if claimed { clean(&by.user) } else { account.clone() };
    let user = peer.login.map_or(said, name_of);
    Operator { acting_as: (user != account).then_some(account), user, host: clean(&by.host), ssh: by.ssh.as_deref().map(clean) }
}

async fn serve(mut stream: tokio::net::UnixStream, sender: mpsc::Sender<Control>, peer: Peer) {
    let (read, mut write) = stream.split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str::<ControlLine>(&line) {
            Err(e) => Reply::no(format!("not understood: {e}")),
            Ok(ControlLine { until: Some(until), .. }) if Clock::System.now() > until => Reply::no("that came too late: nothing was done"),
            Ok(ControlLine { request, by, until }) => {
                let (reply, answered) = oneshot::channel();
                match sender.send(Control { request, by: borne_out(by, &peer), until, reply }).await {
                    Ok(()) => answered.await.unwrap_or_else(|_| Reply::no("the run is over")),
                    Err(_) => Reply::no("the run is over"),
                }
            }
        };
        let mut text = serde_json::to_vec(&reply).unwrap_or_default();
        text.push(b'\n');
        if write.write_all(&text).await.is_err() {
            return;
        }
    }
}

/// How long a runner may take to do what it is asked for: it writes that down first.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may be on its way that was given in the last moment.
const MARGIN: Duration = Duration::from_secs(1);

/// Asks the runner of a run, and waits no longer than `patience` for each of three: to be heard, to be told, to be answered.
///
/// # Errors
/// When there is no runner, or it does not answer.
pub fn ask(folder: &Path, request: &ControlRequest, by: &Operator, patience: Duration) -> std::io::Result<Reply> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
    let (path, _open) = address(folder)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Before it is connected: one that listens no more lets its queue run full.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(patience + MARGIN))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    let until = Some(Clock::System.now().plus(patience));
    let mut line = serde_json::to_vec(&ControlLine { request: request.clone(), by: by.clone(), until })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(std::io::Error::other)
}
