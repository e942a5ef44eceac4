//! A script as a source: what it prints is a number, a text, or JSON. It runs in a process group of its own, which is
//! ended whole when it takes too long or when nobody waits for it any more.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;

use super::{Answer, Boxed, Client, from_json, not_understood};
use crate::base::process::{GroupName, is_gone};
use crate::base::secret::sanitize;
use crate::base::units::short;
use crate::observe::reading::{Ask, Fault, FaultKind, Value};

/// How the files begin that name process groups.
pub const NAMED: &str = "program.";

pub struct CommandClient {
    /// Program and arguments; no shell in between unless it is the program.
    pub argv: Vec<String>,
    /// Variables that it gets besides those of ours.
    pub environment: Vec<(String, String)>,
    /// Where its process group is named while it runs, for whoever comes after the end of this process.
    pub names: Option<PathBuf>,
    pub timeout: Duration,
    pub max_output: u64,
}

/// The line of what a program said that tells what went wrong: it stands first, and behind it what was being done. PostgreSQL says on
/// the next line what it was about.
fn what_went_wrong(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.to_lowercase().contains("error:"));
    match (lines.next(), lines.next().and_then(|next| next.strip_prefix("DETAIL:"))) {
        (Some(wrong), Some(detail)) => format!("{wrong}: {}", detail.trim()),
        (Some(wrong), None) => wrong.to_string(),
        (None, _) => said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("").to_string(),
    }
}

/// Ends the process group when dropped.
struct ProcessGroup {
    leader: Pid,
    name: Option<PathBuf>,
}

impl ProcessGroup {
    fn of(leader: Pid, names: Option<&Path>) -> ProcessGroup {
        let name = names.map(|folder| folder.join(format!("{NAMED}{}", leader.as_raw_nonzero())));
        if let (Some(file), Some(group)) = (&name, GroupName::of(leader)) {
            // Without room for it the program runs all the same: it may be what brings the room back.
            let _ = std::fs::write(file, group.to_string());
        }
        ProcessGroup { leader, name }
    }

    /// Ends whatever is left of it. Whether nothing is.
    async fn end(self) -> bool {
        let (leader, name) = (self.leader, self.name.clone());
        drop(self);
        let gone = is_gone(leader).await;
        if let Some(file) = name.filter(|_| gone) {
            let _ = std::fs::remove_file(file);
        }
        gone
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Nobody left in the group is as good.
        let _ = kill_process_group(self.leader, Signal::KILL);
    }
}

impl CommandClient {
    /// What it prints.
    ///
    /// # Errors
    /// When it cannot be started, takes too long, prints too much, or ends with anything but success.
    pub async fn run(&self) -> Result<String, Fault> {
        let local = |what: String| Fault::new(FaultKind::Local, what);
        let Some((program, arguments)) = self.argv.split_first() else { return Err(local("the command is empty".into())) };
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| local(format!("cannot start `{program}`: {e}")))?;
        let group =
            child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).map(|leader| ProcessGroup::of(leader, self.names.as_deref()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (out, err) = tokio::join!(self.drain(stdout), self.drain(stderr));
            Ok::<_, std::io::Error>((out?, err?, child.wait().await?))
        };
        let finished = tokio::time::timeout(self.timeout, work).await;
        let gone = match group {
            Some(group) => group.end().await,
            None => true,
        };
        let (out, err, status) = match finished {
            Err(_) => {
                let became = if gone { "was ended" } else { "cannot be ended from here" };
                return Err(Fault::new(FaultKind::Timeout, format!("`{program}` took longer than {} and {became}", short(self.timeout))));
            }
            Ok(done) => done.map_err(|e| local(format!("`{program}`: {e}")))?,
        };
        if out.len() as u64 > self.max_output {
            return Err(Fault::new(FaultKind::TooLarge, format!("`{program}` printed more than {}", bytesize::ByteSize(self.max_output))));
        }
        if !status.success() {
            let said = what_went_wrong(&String::from_utf8_lossy(&err));
            return Err(Fault::new(FaultKind::Query, format!("`{program}` ended with {status}: {said}")));
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Reads to the end, keeping one byte more than allowed.
    async fn drain(&self, pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
        let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
        let mut kept = Vec::new();
        let mut buffer = vec![0; 8192];
        loop {
            let n = pipe.read(&mut buffer).await?;
            if n == 0 {
                return Ok(kept);
            }
            let room = (self.max_output + 1).saturating_sub(kept.len() as u64) as usize;
            kept.extend_from_slice(&buffer[..n.min(room)]);
        }
    }
}

impl Client for CommandClient {
    /// A command is run when a signal asks for it, and not to see whether it is there.
    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            let Ask::Output { pointer } = ask else { return Err(not_understood(ask)) };
            let text = self.run().await?;
            let value = match pointer {
                Some(pointer) => from_json(&super::web::json(text.as_bytes())?, pointer)?,
                None => match text.trim() {
                    "" => return Err(Fault::new(FaultKind::Empty, "the command printed nothing")),
                    line => line.parse().ok().filter(|n: &f64| n.is_finite()).map_or_else(|| Value::Text(sanitize(line)), Value::Number),
                },
            };
            Ok(Answer::now(value))
        })
    }
}
