//! A host as the tests see one: a folder with a configuration, runbooks and runs, and the real binary started in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::until;

/// A host: a folder with a configuration, runbooks, and a state folder.
pub struct Host {
    pub folder: TempDir,
    pub environment: Vec<(String, String)>,
}

impl Host {
    pub fn new(config: &str) -> Host {
        let folder = TempDir::new().expect("a folder");
        let text = format!("state_dir = \"state\"\n{config}\n");
        std::fs::write(folder.path().join("lastgreen.toml"), text).expect("written");
        std::fs::create_dir(folder.path().join("runbooks")).expect("a folder");
        // An empty file is an empty database.
        std::fs::write(folder.path().join("app.db"), "").expect("written");
        Host { folder, environment: Vec::new() }
    }

    /// One with a source that nobody asks, where only runs matter.
    pub fn plain(more: &str) -> Host {
        Host::new(&format!(
            "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n{more}"
        ))
    }

    /// One whose records go to a PostgreSQL, and which holds its environment there.
    pub fn with_database(pg: &super::Postgres) -> Host {
        Host::new(&format!(
            "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\ntimeout = \"2s\"\n",
            pg.url()
        ))
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn runbook(&self, name: &str, text: &str) -> &Host {
        std::fs::write(self.path().join(format!("runbooks/{name}.yaml")), text).expect("written");
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastgreen"));
        command.args(arguments).current_dir(self.path()).env("HOME", self.path()).env_remove("LASTGREEN_CONFIG");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output: Output = self.command(arguments).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    pub fn begin(&self, runbook: &str) -> String {
        let (code, text) = self.run(&["run", runbook, "--confirm", "here", "--detach"]);
        assert_eq!(code, 0, "{text}");
        text.trim().to_string()
    }

    pub fn status(&self, id: &str) -> String {
        let (_, text) = self.run(&["runs", id, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value["status"].as_str().unwrap_or("").to_string()
    }

    pub fn until(&self, id: &str, status: &str) {
        until(&format!("{id} to be {status}"), || self.status(id) == status);
    }

    pub fn journal(&self, id: &str) -> PathBuf {
        self.path().join("state/runs").join(id).join("journal.jsonl")
    }

    pub fn runner_pid(&self, id: &str) -> rustix::process::Pid {
        let (_, text) = self.run(&["runs", id, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        rustix::process::Pid::from_raw(value["runner"]["pid"].as_i64().expect("a pid") as i32).expect("a pid")
    }

    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }
}

/// A step that waits until a file is there; that it waits is seen by the file `waits-for-…`.
pub fn waits_for(file: &str) -> String {
    format!(
        "  - {{name: wait for {file}, type: script, cwd: .., script: 'touch waits-for-{file}; while [ ! -e {file} ]; do sleep 0.02; done'}}\n"
    )
}

/// What `check` says of a signal or whatever else stands in the file.
pub fn checked(more: &str) -> (i32, String) {
    let sources = "[vars]\ndb = \"app\"\n[environment]\nname = \"here\"\n[environment.expect]\ncluster = \"eu\"\n[sources.pages]\nkind = \"scrape\"\ntargets = [{url = \"http://127.0.0.1:1/\"}]\n[sources.lite]\nkind = \"database\"\nurl = \"sqlite:app.db\"\n";
    Host::new(&format!("{sources}{more}")).run(&["check", "--offline"])
}
