//! Real servers for tests, on free loopback ports, ended with the test; and a hand-made HTTP server that misbehaves.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod balancers;
pub mod data;
pub mod host;
pub mod router;
pub mod screen;
pub mod terminal;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to come up before the test fails.
const PATIENCE: Duration = Duration::from_secs(240);

pub fn install_tls_provider() {
    // The second test of a binary finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("a free port").local_addr().expect("its address").port()
}

/// Waits until something holds; the interval only paces the looking.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child process that is killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    pub folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    // In one piece: several small ones wait for each other's acknowledgements.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n").map(|(_, b)| b.to_string()).unwrap_or_default();
    Some((status, body))
}

pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Prometheus scraping the given targets every second, with external labels.
pub fn prometheus(targets: &[String]) -> Server {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    start_prometheus(folder, port, targets, "")
}

pub fn start_prometheus(folder: TempDir, port: u16, targets: &[String], rules: &str) -> Server {
    let list = targets.iter().map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(", ");
    let config = format!(
        "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n  external_labels:\n    environment: test-env\nrule_files: [rules.yml]\nscrape_configs:\n  - job_name: test\n    static_configs:\n      - targets: [{list}]\n"
    );
    std::fs::write(folder.path().join("prometheus.yml"), config).expect("written");
    std::fs::write(folder.path().join("rules.yml"), if rules.is_empty() { "groups: []\n" } else { rules }).expect("written");
    let child = quiet(
        Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(folder.path()),
    )
    .spawn()
    .expect("prometheus is installed (tests/run installs it)");
    let server = Server { child, port, folder };
    until("Prometheus to be ready", || http_get(port, "/-/ready").is_some_and(|(status, _)| status == 200));
    server
}

pub fn alertmanager() -> Server {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    std::fs::write(folder.path().join("am.yml"), "route:\n  receiver: none\nreceivers:\n  - name: none\n").expect("written");
    let name = if Path::new("/usr/bin/prometheus-alertmanager").exists() { "prometheus-alertmanager" } else { "alertmanager" };
    let child = quiet(
        Command::new(name)
            .arg(format!("--config.file={}", folder.path().join("am.yml").display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address="),
    )
    .spawn()
    .expect("alertmanager is installed (tests/run installs it)");
    let server = Server { child, port, folder };
    until("Alertmanager to be ready", || http_get(port, "/-/ready").is_some_and(|(status, _)| status == 200));
    server
}

pub fn pushgateway() -> Server {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let name = if Path::new("/usr/bin/prometheus-pushgateway").exists() { "prometheus-pushgateway" } else { "pushgateway" };
    let child = quiet(Command::new(name).arg(format!("--web.listen-address=127.0.0.1:{port}")))
        .spawn()
        .expect("pushgateway is installed (tests/run installs it)");
    let server = Server { child, port, folder };
    until("the Pushgateway to be ready", || http_get(port, "/-/ready").is_some_and(|(status, _)| status == 200));
    server
}

pub fn redis(password: Option<&str>) -> Server {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    let child = quiet(&mut command).spawn().expect("redis-server is installed (tests/run installs it)");
    until("Redis to answer", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut s| {
            let mut answer = [0; 1];
            s.write_all(b"PING\r\n").is_ok() && s.read_exact(&mut answer).is_ok()
        })
    });
    Server { child, port, folder }
}

/// A PostgreSQL cluster of its own. The server refuses to run as root, so then it runs as the user `postgres`.
pub struct Postgres {
    child: Option<Child>,
    pub port: u16,
    folder: TempDir,
    bin: PathBuf,
    as_user: Option<(u32, u32)>,
}

impl Postgres {
    pub fn start() -> Postgres {
        let bin = std::fs::read_dir("/usr/lib/postgresql")
            .expect("postgresql is installed (tests/run installs it)")
            .flatten()
            .map(|e| e.path().join("bin"))
            .filter(|p| p.join("postgres").exists())
            .max()
            .expect("a PostgreSQL server");
        let folder = TempDir::new().expect("a folder");
        let as_user = rustix::process::geteuid().is_root().then(postgres_ids);
        if let Some((uid, gid)) = as_user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("chown");
        }
        let mut pg = Postgres { child: None, port: free_port(), folder, bin, as_user };
        let mut made = pg.command("initdb");
        made.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N", "-D"]);
        assert!(made.arg(pg.data()).status().expect("initdb runs").success(), "initdb");
        pg.up();
        pg
    }

    /// A standby of it, by a slot of its own.
    pub fn standby(&self) -> Postgres {
        let folder = TempDir::new().expect("a folder");
        if let Some((uid, gid)) = self.as_user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("chown");
        }
        let mut standby = Postgres { child: None, port: free_port(), folder, bin: self.bin.clone(), as_user: self.as_user };
        let mut made = standby.command("pg_basebackup");
        made.args(["-R", "-C", "-S", "standby", "-c", "fast", "-d", &self.url_of("")]).arg("-D").arg(standby.data());
        assert!(made.status().expect("pg_basebackup runs").success(), "pg_basebackup");
        standby.up();
        standby
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        quiet(&mut command).current_dir(self.folder.path());
        if let Some((uid, gid)) = self.as_user {
            command.uid(uid).gid(gid);
        }
        command
    }

    pub fn up(&mut self) {
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"])
            .spawn()
            .expect("postgres starts");
        self.child = Some(child);
        let file = self.data().join("postmaster.pid");
        until("PostgreSQL to be ready", || {
            std::fs::read_to_string(&file).is_ok_and(|t| t.lines().nth(7).is_some_and(|l| l.trim() == "ready"))
        });
    }

    /// Ends the server at once, as a crash would.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGQUIT takes the server's own children along.
            if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
            }
            let _ = child.wait();
        }
    }

    /// What a query says, as `psql` prints it.
    pub fn sql(&self, query: &str) -> String {
        self.sql_in("postgres", query)
    }

    /// The same in a database of its own.
    pub fn sql_in(&self, database: &str, query: &str) -> String {
        let mut command = Command::new(self.bin.join("psql"));
        let url = self.url_of(database);
        let output = command.args(["-tAXq", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", query]).output().expect("psql runs");
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// One of its own programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.down();
    }
}

fn postgres_ids() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    let line = users.lines().find(|l| l.starts_with("postgres:")).expect("the user postgres");
    let parts: Vec<&str> = line.split(':').collect();
    (parts[2].parse().expect("uid"), parts[3].parse().expect("gid"))
}

/// An HTTP server that answers each request with the raw bytes a function gives for it.
pub struct Canned {
    pub port: u16,
    pub requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Canned {
    pub fn new(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Canned {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (requests, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (answer, seen, ended) = (Arc::new(answer), requests.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || {
                    let mut stream = stream;
                    if let Some(head) = read_request(&mut stream) {
                        seen.fetch_add(1, Ordering::SeqCst);
                        answer(&head, &mut stream);
                    }
                });
            }
        });
        Canned { port, requests, stop }
    }

    pub fn text(status: &'static str, body: impl Into<String>) -> Canned {
        let body = body.into();
        Canned::new(move |_, stream| respond(stream, status, &[], &body))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Reads a request's head and body; gives both as text.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).ok()?;
        if n == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
    }
}

pub fn respond(stream: &mut TcpStream, status: &str, headers: &[&str], body: &str) {
    let extra: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes());
}

/// An HTTP server that counts what is done to it: `POST /apply/RUN/STEP`, `GET /applied/RUN/STEP`, `PUT /set/…`,
/// `POST /hook` (letters, by their id), `GET /healthz`.
pub struct Counting {
    pub port: u16,
    server: Canned,
    letters: Arc<Mutex<Vec<(String, String)>>>,
}

impl Counting {
    pub fn start() -> Counting {
        let counts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let letters: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = letters.clone();
        let server = Canned::new(move |request, stream| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
            let path = head.split(' ').nth(1).unwrap_or("").to_string();
            if let Some(what) = path.strip_prefix("/apply/") {
                *counts.lock().expect("a lock").entry(what.to_string()).or_default() += 1;
            }
            if let Some(what) = path.strip_prefix("/applied/") {
                let n = counts.lock().expect("a lock").get(what).copied().unwrap_or(0);
                return respond(stream, "200 OK", &[], &format!("{{\"n\": {n}}}"));
            }
            if path == "/hook" {
                let id = head.lines().find_map(|l| l.strip_prefix("idempotency-key: ")).unwrap_or("").to_string();
                kept.lock().expect("a lock").push((id, body.to_string()));
            }
            respond(stream, "200 OK", &[], "{}");
        });
        Counting { port: server.port, server, letters }
    }

    /// The ids of the letters about a run, copies included.
    pub fn letters(&self, run: &str) -> Vec<String> {
        self.letters.lock().expect("a lock").iter().map(|(id, _)| id.clone()).filter(|id| id.starts_with(run)).collect()
    }

    /// Everything that was sent to the hook.
    pub fn bodies(&self) -> Vec<String> {
        self.letters.lock().expect("a lock").iter().map(|(_, body)| body.clone()).collect()
    }
}
