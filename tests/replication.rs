//! How far a real standby is behind, as its primary says it and as it does itself.

mod common;

use common::host::Host;
use common::{Postgres, until};
use serde_json::Value as Json;

/// The exit code of `status`, and the lag.
fn lag(pg: &Postgres) -> (i32, Option<f64>) {
    let host = Host::new(&format!(
        "[environment]\nname = \"here\"\n[audit]\ndatabase = \"none\"\n[sources.db]\nkind = \"database\"\nurl = \"{}\"\n\
         [signals.lag]\nsource = \"db\"\nhealth = \"replication_lag\"\nfail = \"> 10m\"\n",
        pg.url()
    ));
    let (code, said) = host.run(&["status", "--json"]);
    let said: Json = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    (code, said["signals"][0]["evidence"]["value"].as_f64())
}

#[test]
fn a_standby_is_behind_while_it_is_and_no_longer() {
    let primary = Postgres::start();
    let mut standby = primary.standby();
    let caught_up = || primary.sql("SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication") == "t";
    // Since when it is behind is since the last transaction it has replayed.
    primary.sql("CREATE TABLE first ()");
    until("the standby to be there", caught_up);
    assert_eq!((lag(&primary).0, lag(&standby).0), (0, 0));
    standby.sql("SELECT pg_wal_replay_pause()");
    primary.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    for pg in [&primary, &standby] {
        until("it to be behind", || lag(pg).1.is_some_and(|behind| behind > 2.0));
    }
    standby.sql("SELECT pg_wal_replay_resume()");
    until("it to catch up", caught_up);
    let (code, behind) = lag(&primary);
    assert!(code == 0 && behind.is_some_and(|behind| behind < 1.0), "{code}: {behind:?}");
    // Who is missed is no standby that is not behind.
    standby.down();
    until("the stream to end", || primary.sql("SELECT count(*) FROM pg_stat_replication") == "0");
    assert_eq!(lag(&primary).0, 3);
    standby.up();
    until("the standby to be there again", caught_up);
    drop(primary);
    until("the stream to end", || standby.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    assert_eq!(lag(&standby).0, 3);
}
