//! Real load balancers in front of two counting backends: HAProxy with its runtime API, nginx with `split_clients`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::{Canned, Server, free_port, http_get, quiet, until};

/// The two tracks of a service: each counts what reaches it.
pub struct Tracks {
    pub stable: Canned,
    pub canary: Canned,
}

impl Tracks {
    pub fn start() -> Tracks {
        Tracks { stable: Canned::text("200 OK", "stable"), canary: Canned::text("200 OK", "canary") }
    }

    /// Sends so many requests to a port; gives how many reached the stable track and the canary.
    pub fn count(&self, port: u16, requests: usize) -> (usize, usize) {
        let read = |counter: &Arc<AtomicUsize>| counter.load(Ordering::SeqCst);
        let before = (read(&self.stable.requests), read(&self.canary.requests));
        for _ in 0..requests {
            let (status, _) = http_get(port, "/").expect("an answer");
            assert_eq!(status, 200);
        }
        (read(&self.stable.requests) - before.0, read(&self.canary.requests) - before.1)
    }
}

/// A HAProxy: its server (with the port of its front), and how its runtime API is reached.
pub struct Haproxy {
    pub server: Server,
    pub api: u16,
    pub socket: PathBuf,
}

pub fn haproxy(tracks: &Tracks, level: &str) -> Haproxy {
    let folder = TempDir::new().expect("a folder");
    let (port, api, socket) = (free_port(), free_port(), folder.path().join("admin.sock"));
    let config = format!(
        "global\n  stats socket ipv4@127.0.0.1:{api} level {level}\n  stats socket {} mode 600 level {level}\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n\
         frontend front\n  bind 127.0.0.1:{port}\n  default_backend app\n\
         backend app\n  balance roundrobin\n  server stable 127.0.0.1:{} weight 100\n  server canary 127.0.0.1:{} weight 0\n",
        socket.display(),
        tracks.stable.port,
        tracks.canary.port
    );
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, config).expect("written");
    let child =
        quiet(Command::new("haproxy").arg("-db").arg("-f").arg(&file)).spawn().expect("haproxy is installed (tests/run installs it)");
    let server = Server { child, port, folder };
    until("HAProxy to answer", || http_get(port, "/").is_some_and(|(status, _)| status == 200));
    Haproxy { server, api, socket }
}

/// An nginx that splits its clients by an included file, which is empty at first.
pub struct Nginx {
    pub server: Server,
    pub config: PathBuf,
    pub weights: PathBuf,
}

pub fn nginx(tracks: &Tracks) -> Nginx {
    let folder = TempDir::new().expect("a folder");
    let (port, weights) = (free_port(), folder.path().join("canary.conf"));
    std::fs::write(&weights, "split_clients \"$request_id\" $track { * stable; }\n").expect("written");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {};\nerror_log {};\nevents {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {};\n  proxy_temp_path {};\n  fastcgi_temp_path {};\n  uwsgi_temp_path {};\n  scgi_temp_path {};\n  include {};\n\
         \x20 upstream stable {{ server 127.0.0.1:{}; }}\n  upstream canary {{ server 127.0.0.1:{}; }}\n\
         \x20 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://$track; }} }}\n}}\n",
        at("pid"),
        at("error.log"),
        at("body"),
        at("proxy"),
        at("fastcgi"),
        at("uwsgi"),
        at("scgi"),
        weights.display(),
        tracks.stable.port,
        tracks.canary.port
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).expect("written");
    let child = quiet(Command::new(program()).arg("-c").arg(&file)).spawn().expect("nginx is installed (tests/run installs it)");
    let server = Server { child, port, folder };
    until("nginx to answer", || http_get(port, "/").is_some_and(|(status, _)| status == 200));
    Nginx { server, config: file, weights }
}

/// nginx may stand where only root looks.
pub fn program() -> &'static str {
    if std::path::Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}
