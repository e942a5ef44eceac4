//! Snapshots of a Qdrant cluster: every node has its own part, and a restore is brought in when all of them are there.

mod common;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::host::Host;
use lastgreen::demo::qdrant::serve_shard;
use lastgreen::demo::vectors::{Collection, DemoShard, Storage, StoredPoint};
use serde_json::Value as Json;

fn points(ids: std::ops::RangeInclusive<u64>) -> Collection {
    let one = |id: u64| (id, StoredPoint { vector: (0..8).map(|i| ((id * 7 + i * 3) % 11) as f32 + 1.0).collect(), payload: Json::Null });
    Collection { size: 8, distance: "Cosine".into(), points: ids.map(one).collect() }
}

struct Cluster {
    storage: Arc<Mutex<Storage>>,
    host: Host,
    nodes: Vec<tokio::task::JoinHandle<()>>,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn of(nodes: u64) -> Cluster {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let folder = tempfile::TempDir::new().expect("a folder").keep();
        let mut storage = Storage::new(folder.join("qdrant")).expect("a folder");
        storage.collections.insert("docs".into(), points(1..=100));
        storage.aliases.insert("docs_live".into(), "docs".into());
        let storage = Arc::new(Mutex::new(storage));
        let (mut sources, mut tasks) = (String::new(), Vec::new());
        for number in 0..nodes {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            listener.set_nonblocking(true).expect("set");
            let port = listener.local_addr().expect("an address").port();
            sources += &format!("[sources.q{number}]\nkind = \"qdrant\"\nurl = \"http://127.0.0.1:{port}\"\n");
            let shared = storage.clone();
            tasks.push(runtime.spawn(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                serve_shard(listener, shared, None, DemoShard { number, of: nodes }).await;
            }));
        }
        let names: Vec<String> = (0..nodes).map(|number| format!("\"q{number}\"")).collect();
        let host = Host::new(&format!(
            "[environment]\nname = \"here\"\ntier = \"staging\"\n{sources}[snapshots]\nqdrant = [{}]\ncollections = [\"docs_live\"]\nfolder = \"snaps\"\n\
             server_folder = \"{}\"\ntimeout = \"20s\"\n",
            names.join(", "),
            folder.join("qdrant").display()
        ));
        Cluster { storage, host, nodes: tasks, _runtime: runtime }
    }

    fn live(&self) -> (String, usize) {
        let storage = self.storage.lock().expect("a lock");
        let real = storage.aliases["docs_live"].clone();
        let points = storage.collections[&real].points.len();
        (real, points)
    }

    fn create(&self) -> Json {
        let (code, said) = self.host.run(&["snapshot", "create", "--golden", "good", "--confirm", "here"]);
        assert_eq!(code, 0, "{said}");
        let (_, text) = self.host.run(&["snapshot", "list", "--json"]);
        serde_json::from_str::<Json>(&text).expect("JSON")["snapshots"][0].clone()
    }

    fn lose(&self) {
        self.storage.lock().expect("a lock").collections.insert("docs".into(), points(1..=7));
    }
}

#[test]
fn every_node_is_taken_and_brought_back_before_the_alias_is_switched_once() {
    let cluster = Cluster::of(3);
    let taken = cluster.create();
    let parts = taken["parts"].as_array().expect("parts");
    let stores: Vec<&str> = parts.iter().filter_map(|part| part["store"].as_str()).collect();
    assert_eq!(stores, ["q0", "q1", "q2"]);
    assert!(parts.iter().all(|part| part["counts"]["points"] == 100), "the count is the cluster's: {taken}");
    // What was written since is counted once, not once a node.
    cluster.storage.lock().expect("a lock").collections.insert("docs".into(), points(1..=120));
    let (_, said) = cluster.host.run(&["snapshot", "restore", "golden", "--no-safety", "--dry-run"]);
    assert!(said.contains("20 points of docs_live") && said.matches("points of docs_live").count() == 1, "{said}");
    cluster.lose();
    cluster.storage.lock().expect("a lock").troubles.recovery = Duration::from_millis(300);
    let (code, said) = cluster.host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    let (real, count) = cluster.live();
    assert!(real.starts_with("docs_") && count == 100, "{real} {count}");
    assert_eq!(
        said.matches("docs_live leads to").count(),
        said.matches("; what it led to before is kept").count(),
        "switched once: {said}"
    );
    assert_eq!(cluster.storage.lock().expect("a lock").busiest, 1, "one recovery at a time");
    let (code, said) = cluster.host.run(&["rollback", "undo", "--reason", "it was right", "--confirm", "here"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(cluster.live(), ("docs".into(), 7));
}

#[test]
fn a_node_that_cannot_be_restored_keeps_the_alias_where_it_is() {
    let cluster = Cluster::of(2);
    let taken = cluster.create();
    cluster.lose();
    // The file of the second node is gone: seen before anything is touched.
    let file = taken["parts"][1]["file"].as_str().expect("a file");
    let path = cluster.storage.lock().expect("a lock").folder().join("docs").join(file);
    let kept = std::fs::read(&path).expect("a snapshot");
    std::fs::remove_file(&path).expect("removed");
    let restore = || cluster.host.run(&["snapshot", "restore", "golden", "--no-safety", "--confirm", "here"]);
    let (code, said) = restore();
    assert!(code == 20 && said.contains("is not on q1 any more"), "{said}");
    assert_eq!(cluster.storage.lock().expect("a lock").collections.len(), 1, "nothing was begun");
    std::fs::write(&path, kept).expect("put back");
    // The second node is down.
    cluster.nodes[1].abort();
    let (code, said) = restore();
    assert!(code != 0 && said.contains("docs on q1: cannot reach"), "{said}");
    assert_eq!(cluster.live(), ("docs".into(), 7));
}
