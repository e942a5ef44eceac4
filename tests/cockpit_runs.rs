//! Runs from the cockpit: what confirms and what does not, what the view of a run shows, and a terminal that goes away in
//! the middle of one.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::host::{Host, waits_for};
use common::terminal::Terminal;
use common::{Postgres, free_port, until};
use portable_pty::CommandBuilder;
use rustix::process::Signal;
use tempfile::TempDir;

const ESC: &str = "\u{1b}";

/// The dialog of the demo's dangerous runbook, at its plan.
fn at_the_plan(t: &mut Terminal) {
    t.wait_for("judged signals pass");
    t.press("4");
    t.wait_for("canary-to-zero");
    // The canary's own runbooks stand before it.
    t.press("\u{1b}[B\u{1b}[B");
    t.press("r");
    t.wait_for("why: stands on record");
    t.type_slowly("a test");
    t.press("\r");
    t.wait_for("Type rag-demo and Enter to run it");
    reads();
}

/// As long as somebody needs to read a question: keys that come before are not taken.
fn reads() {
    std::thread::sleep(Duration::from_millis(450));
}

#[test]
fn only_the_typed_name_confirms_what_is_dangerous() {
    let mut t = Terminal::demo(120, 40, "healthy", &[]);
    at_the_plan(&mut t);
    let text = t.text();
    for part in ["DANGER", "PRODUCTION", "fingerprint", "PUT http://", "already so?", "undo: PUT", "reason   a test"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    t.press("\r");
    t.wait_for("Enter alone confirms nothing");
    t.press("\u{1b}[200~rag-demo\r\u{1b}[201~");
    t.wait_for("pasted text confirms nothing");
    t.press("rag-demo\r");
    t.wait_for("too fast for fingers");
    t.answer_slowly("rag-demi", "that is not it");
    t.press(ESC);
    t.wait_for("left: nothing has changed");
    t.wait("the board", |s| s.contains("never run here"));
    t.press("\x03");
    assert_eq!(t.ended(), 0);
}

#[test]
fn a_run_from_the_cockpit_asks_and_is_answered() {
    let mut t = Terminal::demo(120, 40, "healthy", &[]);
    at_the_plan(&mut t);
    t.answer_slowly("rag-demo", "waits for you");
    t.wait_for("Ask two questions in the application");
    // A pause is asked for and taken back; leaving the view leaves the run alone.
    t.press("d");
    t.wait_for("Hold ingestion");
    t.wait_for("canary-to-zero 4/4 waits for you");
    t.press("o");
    t.wait_for("enter: answer done");
    // The key of a board goes there, and answers nothing.
    t.press("1");
    t.wait("the board", |screen| !screen.contains("enter: answer done"));
    t.press("o");
    t.wait_for("enter: answer done");
    t.press("\r");
    t.wait_for("Type the answer");
    reads();
    t.press("\r");
    t.wait_for("Enter alone confirms nothing");
    t.answer_slowly("doen looks well", "`doen` is none of these: done, failed, skip");
    t.answer_slowly("done looks well", "every step is done");
    t.wait_for("looks well");
    t.press(ESC);
    t.wait("the view to be left", |s| !s.contains("4 of 4 steps"));
    t.press("4");
    t.wait("the list to say so", |s| s.contains("weekly") && s.contains("every step is done"));
    t.press("\x03");
    assert_eq!(t.ended(), 0);
    t.assert_restored();
}

#[test]
fn aborting_says_what_is_left_and_undoes_it() {
    let mut t = Terminal::demo(100, 30, "healthy", &[("NO_COLOR", "1"), ("TERM", "linux"), ("LANG", "C")]);
    at_the_plan(&mut t);
    t.answer_slowly("rag-demo", "enter: answer done");
    t.press("a");
    t.wait_for("Traffic to the stable track is done and can be undone");
    t.wait_for("Type undo to abort and undo it");
    reads();
    t.answer_slowly("U", "type undo, or leave");
    t.press("\u{1b}[200~undo\r\u{1b}[201~");
    t.wait_for("pasted text confirms nothing");
    t.answer_slowly("undo", "aborted, and undone");
    assert!(t.text().is_ascii(), "{}", t.text());
    t.press("d");
    t.press("\x03");
    assert_eq!(t.ended(), 0);
}

#[test]
fn it_looks_calm_on_a_small_screen_and_whoever_may_not_is_told() {
    let folder = TempDir::new().expect("a folder");
    let config = host(
        folder.path(),
        "[roles]\nviewer = [\"*\"]\ncommander = [\"nobody\"]\n",
        "title: One\nsteps: [{name: one, type: script, script: echo x}]\n",
    );
    let mut t = Terminal::open(80, 24, &["--config", &config], &[]);
    t.wait_for("Overview");
    t.press("5");
    t.wait_for("caution");
    t.press("r");
    t.wait_for("why: stands on record");
    t.press("\r");
    t.wait_for("viewer: that may look, and run nothing");
    t.press(ESC);
    t.wait_for("left: nothing has changed");
    t.press("\x03");
    assert_eq!(t.ended(), 0);
    let mut t = Terminal::open(80, 24, &["--read-only", "--config", &config], &[]);
    t.wait_for("Overview");
    t.press("5");
    t.wait_for("caution");
    t.press("r");
    t.wait_for("this cockpit only looks");
    t.press("\x03");
    assert_eq!(t.ended(), 0);
}

/// A configuration with one runbook, `eight`.
fn host(folder: &Path, more: &str, runbook: &str) -> String {
    let text = format!(
        "state_dir = \"state\"\n[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n{more}"
    );
    std::fs::create_dir(folder.join("runbooks")).expect("a folder");
    std::fs::write(folder.join("app.db"), "").expect("written");
    std::fs::write(folder.join("runbooks/eight.yaml"), runbook).expect("written");
    let config = folder.join("lastgreen.toml");
    std::fs::write(&config, text).expect("written");
    config.display().to_string()
}

/// A real `sshd` on loopback with a key of its own.
struct Sshd {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    fn start() -> Sshd {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for name in ["host", "key"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(name)]).status();
            assert!(made.expect("ssh-keygen is installed (tests/run installs it)").success());
        }
        std::fs::copy(at("key.pub"), at("authorized")).expect("copied");
        // sshd wants this folder when it is root, and does not make it.
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").expect("a folder");
        }
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nUsePAM no\n",
            at("host"),
            at("authorized")
        );
        std::fs::write(at("sshd.conf"), config).expect("written");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &at("sshd.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd is installed (tests/run installs it)");
        until("sshd to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Sshd { child, folder, port }
    }

    /// A cockpit in a terminal at the other end of a connection.
    fn cockpit(&self, config: &str) -> Terminal {
        let key = self.folder.path().join("key").display().to_string();
        let mut command = CommandBuilder::new("ssh");
        command.args(["-tt", "-q", "-p", &self.port.to_string(), "-i", &key]);
        for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"] {
            command.args(["-o", option]);
        }
        let user = Command::new("id").arg("-un").output().expect("id runs");
        let user = String::from_utf8_lossy(&user.stdout).trim().to_string();
        let remote = format!("env LANG=C.UTF-8 TERM=xterm-256color {} --config {config}", env!("CARGO_BIN_EXE_lastgreen"));
        command.args([&format!("{user}@127.0.0.1"), &remote]);
        Terminal::spawn(110, 34, command, &[])
    }
}

fn lastgreen(config: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lastgreen")).args(["--config", config]).args(arguments).output().expect("the binary runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_run_of_another_host_is_seen_and_said_who_it_is() {
    let pg = Postgres::start();
    let (first, second) = (Host::with_database(&pg), Host::with_database(&pg));
    first.runbook("long", &format!("title: Long\nsteps:\n{}", waits_for("go")));
    second.runbook("quick", "title: Quick\nsteps:\n  - {name: touch, type: script, cwd: .., script: touch touched}\n");
    let id = first.begin("long");
    let path = second.path().join("lastgreen.toml").display().to_string();
    let mut t = Terminal::open(110, 30, &["--config", &path], &[]);
    t.wait_for("a run from elsewhere is under way");
    t.press("5");
    t.wait_for("under way elsewhere: ");
    assert!(t.text().contains("runs long since") && t.text().contains(&id), "{}", t.text());
    std::fs::write(first.path().join("go"), "").expect("written");
    first.until(&id, "done");
    t.wait("it to be over", |s| !s.contains("elsewhere"));
    t.press("\x03");
    assert_eq!(t.ended(), 0);
}

#[test]
fn a_connection_that_is_cut_in_the_middle_does_not_end_the_run() {
    let folder = TempDir::new().expect("a folder");
    let here = folder.path();
    let mut runbook = "title: Eight\nsteps:\n".to_string();
    for n in 1..=8 {
        let script =
            if n == 5 { "echo half way; while [ ! -e go ]; do sleep 0.02; done".to_string() } else { format!("echo {n}; touch did-{n}") };
        runbook += &format!("  - {{name: number {n}, type: script, cwd: .., script: '{script}'}}\n");
    }
    let config = host(here, "", &runbook);
    let sshd = Sshd::start();
    let mut t = sshd.cockpit(&config);
    t.wait_for("Overview");
    t.press("5");
    t.wait_for("eight");
    t.press("r");
    t.wait_for("why: stands on record");
    t.press("\r");
    t.wait_for("Type yes and Enter");
    std::thread::sleep(Duration::from_millis(450));
    t.answer_slowly("yes", "step 5 of 8");
    t.wait_for("half way");
    // The line is cut: no farewell, the client is simply gone.
    t.signal(Signal::KILL);
    t.ended();
    drop(t);
    assert!(here.join("did-4").exists() && !here.join("did-6").exists());
    // Somebody else connects: the view opens by itself, at the step that runs.
    let mut second = sshd.cockpit(&config);
    second.wait_for("step 5 of 8");
    second.wait_for("half way");
    std::fs::write(here.join("go"), "").expect("written");
    second.wait_for("every step is done");
    second.wait_for("8 of 8 steps");
    assert!(here.join("did-8").exists());
    second.press("d");
    second.press("\x03");
    assert_eq!(second.ended(), 0);
    // Both saw one journal, and it says who began it from where.
    let shown = lastgreen(&config, &["audit", "show"]);
    assert_eq!(shown.matches("begins").count(), 8, "{shown}");
    assert!(shown.contains("from 127.0.0.1"), "{shown}");
    until("the mirror to be complete", || {
        lastgreen(&config, &["audit", "verify"]).contains("1 of 1 runs are whole; the database has the same")
    });
}

#[test]
fn q_leaves_the_view_of_a_run_and_whoever_leaves_is_told_how_to_come_back() {
    let folder = TempDir::new().expect("a folder");
    let text = "title: One\nsteps: [{name: ask, type: manual, text: 'look at it'}]\n";
    let config = host(folder.path(), "", text);
    let lastgreen = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lastgreen"));
        command.args(["--config", &config]).args(arguments).env("HOME", folder.path()).output().expect("it runs")
    };
    let begun = lastgreen(&["run", "eight", "--confirm", "here", "--detach"]);
    let id = String::from_utf8_lossy(&begun.stdout).trim().to_string();
    assert!(!id.is_empty(), "{}", String::from_utf8_lossy(&begun.stderr));
    let mut t = Terminal::open(100, 30, &["--config", &config], &[]);
    t.wait_for("look at it");
    // A digit goes to its board, and the view is left by that.
    t.press("1");
    t.wait("the board", |screen| !screen.contains("look at it") && screen.contains("Overview"));
    t.press("o");
    t.wait_for("look at it");
    t.press("q");
    t.wait("the board", |screen| !screen.contains("look at it") && screen.contains("Overview"));
    t.press("q");
    assert_eq!(t.ended(), 0);
    t.wait_for(&format!("lastgreen attach {id}"));
    assert_eq!(lastgreen(&["abort", &id, "--leave"]).status.code(), Some(0));
}
