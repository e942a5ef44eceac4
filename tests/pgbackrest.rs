//! A store of snapshots that is a real pgBackRest: the scripts under assets/examples, a real server, and a point in time.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Postgres;
use common::host::Host;

/// A server that pgBackRest keeps the log of, and is ended with the test.
struct Archived {
    pg: Postgres,
    start: String,
}

impl Archived {
    fn new(host: &Path) -> Archived {
        let mut pg = Postgres::start();
        pg.down();
        let folder = pg.data().parent().expect("a folder").to_path_buf();
        let bin = pg.command("pg_ctl").get_program().to_string_lossy().into_owned();
        let (data, at, port) = (pg.data(), folder.display(), pg.port);
        std::fs::write(
            folder.join("pgbackrest.conf"),
            format!(
                "[main]\npg1-path={}\npg1-port={port}\npg1-socket-path={at}\npg1-user=postgres\n[global]\nrepo1-path={at}/repo\nlog-path={at}\n\
                 lock-path={at}/lock\nspool-path={at}/spool\nlog-level-file=off\nstart-fast=y\narchive-timeout=60\n",
                data.display()
            ),
        )
        .expect("its configuration");
        let archive = format!("pgbackrest --config={at}/pgbackrest.conf --stanza=main archive-push %p");
        let conf = format!("\narchive_mode = on\nwal_level = replica\narchive_command = '{archive}'\n");
        let before = std::fs::read_to_string(data.join("postgresql.conf")).expect("the server's");
        std::fs::write(data.join("postgresql.conf"), before + &conf).expect("written");
        let start = format!(
            "{bin} -D {} -w -t 60 -l {at}/log -o '-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={at} -c fsync=off' start",
            data.display()
        );
        // Its programs run as the server's own user.
        let as_user = match rustix::process::geteuid().is_root() {
            true => "setpriv --reuid=postgres --regid=postgres --clear-groups ",
            false => "",
        };
        let script = format!(
            "#!/bin/sh\nexport HOME={at} PGHOST=127.0.0.1 PGPORT={port} PGUSER=postgres PGBACKREST_CONFIG={at}/pgbackrest.conf\ncd {at}\nexec {as_user}\"$@\"\n"
        );
        std::fs::write(host.join("as"), script).expect("written");
        std::fs::set_permissions(host.join("as"), std::fs::Permissions::from_mode(0o755)).expect("executable");
        let archived = Archived { pg, start };
        archived.done(host, &["sh", "-c", &archived.start]);
        archived.done(host, &["pgbackrest", "--stanza=main", "--log-level-console=warn", "stanza-create"]);
        archived
    }

    fn done(&self, host: &Path, argv: &[&str]) {
        let output = std::process::Command::new(host.join("as")).args(argv).output().expect("it runs");
        assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Archived {
    fn drop(&mut self) {
        // What was started anew is nobody's child.
        let _ = self.pg.command("pg_ctl").arg("-D").arg(self.pg.data()).args(["-m", "immediate", "stop"]).status();
    }
}

#[test]
fn a_server_is_brought_back_to_the_point_in_time_of_a_snapshot() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let server = Archived::new(folder.path());
    let pg = &server.pg;
    pg.sql("CREATE TABLE chunks (id int); INSERT INTO chunks SELECT generate_series(1, 1000)");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/examples/pgbackrest");
    let (own, examples) = (folder.path().join("as").display().to_string(), examples.display().to_string());
    let stop = format!("{} -m fast stop", server.start.split(" -l ").next().expect("a command"));
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\ntier = \"staging\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\ntimeout = \"5s\"\n\
         [snapshots]\nfolder = \"snaps\"\n[snapshots.programs.server]\n\
         create = [\"{own}\", \"{examples}/create\", \"main\", \"{{{{ snapshot }}}}\"]\n\
         verify = [\"{own}\", \"{examples}/verify\", \"main\", \"{{{{ name }}}}\"]\n\
         restore = [\"{own}\", \"{examples}/restore\", \"main\", \"{{{{ name }}}}\", \"{{{{ snapshot }}}}\", \"{stop}\", \"{}\"]\n",
        pg.url(),
        server.start,
    ));
    let list = || {
        let (code, text) = host.run(&["snapshot", "list", "--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["snapshots"].clone()
    };
    let count = || pg.sql("SELECT count(*) FROM chunks");
    let (code, said) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let first = list()[0]["id"].as_str().expect("an id").to_string();
    assert!(list()[0]["parts"][0]["size"].as_u64().is_some_and(|size| size > 100_000), "{}", list());
    // A second one, incremental, of more; and then what is not wanted.
    pg.sql("INSERT INTO chunks SELECT generate_series(1001, 1500)");
    let (code, said) = host.run(&["snapshot", "create", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let second = list()[0]["id"].as_str().expect("an id").to_string();
    assert!(list()[0]["parts"][0]["file"].as_str().is_some_and(|label| label.ends_with('I')), "{}", list());
    pg.sql("DELETE FROM chunks");
    for (id, wanted) in [(&second, "1500"), (&first, "1000"), (&second, "1500")] {
        let (code, said) = host.run(&["snapshot", "verify", id]);
        assert!(code == 0 && said.contains("its sums are right"), "{said}");
        let (code, said) = host.run(&["snapshot", "restore", id, "--no-safety", "--confirm", "here"]);
        assert!(code == 0 && said.contains(&format!("as it was at {id}")), "{said}");
        assert_eq!(count(), wanted);
        // It is a server that takes writes again, and keeps its log.
        pg.sql("INSERT INTO chunks VALUES (0)");
    }
    // A byte of the repository that is another one.
    let repository = pg.data().parent().expect("a folder").join("repo/backup/main");
    let label = list().as_array().expect("a list").iter().find(|s| s["id"] == first.as_str()).expect("it")["parts"][0]["file"].clone();
    let file = repository.join(label.as_str().expect("a label")).join("pg_data/global/pg_control.gz");
    let mut bytes = std::fs::read(&file).expect("a file of the backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes).expect("written");
    let (code, said) = host.run(&["snapshot", "verify", &first]);
    assert!(code == 1 && said.contains("BAD"), "{said}");
}
