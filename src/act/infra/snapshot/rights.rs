//! What a role needs on a PostgreSQL to restore a database there: looked at beforehand, so that nothing is begun that would fail.

use serde::Deserialize;

use super::server::{CONNECTING, database_of, fits, maintenance, open, server_version};
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{literal, web_json};
use crate::plan::runbook::{DatabaseStore, DatabaseStrategy, SnapshotSettings};

/// That a store may be restored.
#[derive(Clone, Debug)]
pub struct MayRestore {
    pub words: String,
    /// What stays with the data that are kept beside, and has to be made again.
    pub stays: Option<String>,
    /// Why what is there now could not be brought back from a snapshot of now.
    pub later: Option<String>,
}

/// Whether a restore would be allowed, and which programs it would be done with. Nothing is touched.
pub async fn may_restore(store: &DatabaseStore, settings: &SnapshotSettings) -> Result<MayRestore, Fault> {
    let mut session = maintenance(&store.options).await?;
    let name = database_of(&store.options).unwrap_or_default();
    let query = format!(
        "SELECT (rolsuper OR rolcreatedb AND (d.dattablespace = (SELECT oid FROM pg_tablespace WHERE spcname = 'pg_default') \
           OR has_tablespace_privilege(d.dattablespace, 'CREATE'))) AS makes, (rolsuper OR pg_has_role(current_user, d.datdba, 'usage')) AS owns, \
         (rolsuper OR pg_has_role(current_user, 'pg_signal_backend', 'usage') OR NOT EXISTS ( \
           SELECT 1 FROM pg_stat_activity a WHERE a.datname = d.datname \
           AND a.usesysid IS NOT NULL AND NOT pg_has_role(current_user, a.usesysid, 'usage'))) AS ends, \
         d.datallowconn AS open, (SELECT string_agg(a.usename || ' (' || a.pid || ')', ', ') FROM pg_stat_activity a JOIN pg_roles s ON s.oid = a.usesysid \
           WHERE NOT pg_roles.rolsuper AND s.rolsuper AND a.datname = d.datname) AS above, \
         (SELECT string_agg(gid, ', ') FROM pg_prepared_xacts WHERE database = d.datname) AS prepared, \
         (SELECT string_agg(words, ', ') FROM (SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = d.datname \
           UNION ALL SELECT 'subscription ' || subname FROM pg_subscription WHERE subdbid = d.oid \
           UNION ALL SELECT 'setting ' || split_part(c, '=', 1) || coalesce(' of role ' || s.rolname, '') FROM pg_db_role_setting \
             CROSS JOIN unnest(setconfig) AS c LEFT JOIN pg_roles s ON s.oid = setrole WHERE setdatabase = d.oid AND NOT pg_roles.rolsuper \
             AND (setrole <> 0 AND setrole <> pg_roles.oid AND NOT (pg_roles.rolcreaterole AND NOT s.rolsuper) OR EXISTS (SELECT FROM pg_settings p \
               WHERE p.name = split_part(c, '=', 1) AND p.context LIKE 'superuser%'))) AS staying (words)) AS stays, \
         (SELECT string_agg(quote_ident(subname), ', ') FROM pg_subscription JOIN pg_roles s ON s.oid = subowner WHERE subdbid = d.oid AND subenabled \
           AND NOT pg_roles.rolsuper AND (s.rolsuper OR NOT pg_has_role(current_user, s.oid, 'usage') \
             AND NOT pg_has_role(current_user, 'pg_signal_backend', 'usage'))) AS applying, \
         CASE WHEN d.datconnlimit BETWEEN 0 AND 2 AND NOT rolsuper THEN d.datconnlimit END AS most, rolsuper AS super \
         FROM pg_roles, pg_database d WHERE rolname = current_user AND d.datname = {}",
        literal(&name)
    );
    let looked = async {
        let version = server_version(&mut session).await?;
        Ok::<_, Fault>((version, session.run(&query, &[], true, CONNECTING).await?))
    };
    let looked = looked.await;
    session.close().await;
    let (version, given) = looked?;
    fits("pg_restore", &version).await?;
    fits("pg_dump", &version).await?;
    let may = |what: &str| given.first.first().and_then(|row| row[what].as_bool()).unwrap_or(false);
    let swaps = settings.restore_database == DatabaseStrategy::Swap;
    if !may("open") {
        let words = format!(
            "{name} takes no connections: a restore was cut off while it had closed it (lastgreen runs; resume it, or abort it with --undo)"
        );
        return Err(Fault::new(FaultKind::Unavailable, words));
    }
    let text = |what: &str| given.first.first().and_then(|row| row[what].as_str());
    if let Some(applying) = text("applying").filter(|_| swaps) {
        let words = format!("{name}: a subscription is at work in it, which this role cannot end: ALTER SUBSCRIPTION {applying} DISABLE");
        return Err(Fault::new(FaultKind::Auth, words));
    }
    if let Some(above) = text("above").filter(|_| swaps) {
        let words = format!("{name}: sessions of a superuser are connected, which this role cannot end: {above}");
        return Err(Fault::new(FaultKind::Auth, words));
    }
    if let Some(prepared) = text("prepared").filter(|_| swaps) {
        let words = format!("{name}: a transaction that is prepared holds it: {prepared} (COMMIT PREPARED or ROLLBACK PREPARED)");
        return Err(Fault::new(FaultKind::Unavailable, words));
    }
    if let Some(most) = given.first.first().and_then(|row| row["most"].as_i64()) {
        let words = format!("{name}: {most} connections at most leave none for the programs: ALTER DATABASE … CONNECTION LIMIT …");
        return Err(Fault::new(FaultKind::Unavailable, words));
    }
    let later = if may("super") { None } else { foreign(store, swaps).await? };
    if let Some(hidden) = later.as_ref().and_then(|foreign| foreign.hidden.as_ref()) {
        let words = format!(
            "{name}: no snapshot of it can be taken, because a policy hides rows of {hidden} from this role (ALTER ROLE … BYPASSRLS)"
        );
        return Err(Fault::new(FaultKind::Auth, words));
    }
    match (may("makes") || !swaps, may("owns")) {
        (true, true) if swaps && !may("ends") => {
            let words = format!("{name}: this role may not end the sessions of others: GRANT pg_signal_backend TO …");
            Err(Fault::new(FaultKind::Auth, words))
        }
        (true, true) => Ok(MayRestore {
            words: format!("{name}: may be restored, with the programs of {version} or newer"),
            stays: text("stays")
                .filter(|_| swaps)
                .map(|stays| format!("{name}: stays with what is kept beside, to be made again: {stays}")),
            later: later
                .and_then(|foreign| foreign.things)
                .map(|things| format!("{name}: a snapshot of now could not be brought back, because this role cannot make again {things}")),
        }),
        (false, _) => Err(Fault::new(FaultKind::Auth, format!("{name}: this role makes no databases: ALTER ROLE … CREATEDB"))),
        (_, false) => Err(Fault::new(FaultKind::Auth, format!("{name}: this role does not own it: ALTER DATABASE … OWNER TO …"))),
    }
}

/// What is in a database that whoever is no superuser makes only as a member of its owner, or not at all.
const FOREIGN: &str = "WITH own AS (SELECT oid, nspname, nspowner FROM pg_namespace WHERE nspname NOT IN ('information_schema', 'lastgreen') AND nspname NOT LIKE 'pg\\_%'), \
     things AS ( \
       SELECT 'pg_class'::regclass AS class, c.oid, format('table %I.%I', nspname, relname) AS words, relowner AS owner FROM pg_class c JOIN own ON own.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
       UNION ALL SELECT 'pg_proc'::regclass, p.oid, format('function %I.%I', nspname, proname), proowner FROM pg_proc p JOIN own ON own.oid = pronamespace \
       UNION ALL SELECT 'pg_namespace'::regclass, oid, format('schema %I', nspname), nspowner FROM own WHERE nspname <> 'public'), \
     foreigners AS ( \
       SELECT words || ' of ' || pg_get_userbyid(owner) AS words FROM things t WHERE NOT pg_has_role(owner, 'member') \
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = t.class AND d.objid = t.oid AND d.deptype = 'e') \
       UNION ALL SELECT 'extension ' || extname || ', which needs a superuser' FROM pg_extension e WHERE $swaps AND EXISTS ( \
         SELECT FROM pg_available_extension_versions v WHERE v.name = extname AND v.version = extversion AND v.superuser AND NOT v.trusted) \
       UNION ALL SELECT 'large object ' || oid || ' of ' || pg_get_userbyid(lomowner) FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'member') \
       UNION ALL SELECT 'event trigger ' || evtname || ', which needs a superuser' FROM pg_event_trigger \
       UNION ALL SELECT 'publication ' || pubname || ' for all tables, which needs a superuser' FROM pg_publication WHERE puballtables \
       UNION ALL SELECT 'publication ' || pubname || ' of ' || pg_get_userbyid(pubowner) FROM pg_publication \
         WHERE NOT puballtables AND NOT pg_has_role(pubowner, 'member')) \
     SELECT json_build_object( \
       'things', (SELECT (SELECT string_agg(words, '; ') FROM (SELECT words FROM foreigners ORDER BY words LIMIT 3) AS first) \
         || CASE WHEN count(*) > 3 THEN format('; +%s more', count(*) - 3) ELSE '' END FROM foreigners), \
       'hidden', (SELECT string_agg(t.oid::regclass::text, ', ') FROM pg_class t \
         WHERE row_security_active(t.oid) AND EXISTS (SELECT FROM own WHERE own.oid = relnamespace))) AS v";

/// What a role cannot make again, and of which tables it does not see all rows.
#[derive(Debug, Deserialize)]
struct Foreign {
    things: Option<String>,
    hidden: Option<String>,
}

async fn foreign(store: &DatabaseStore, swaps: bool) -> Result<Option<Foreign>, Fault> {
    let mut session = open(&store.options).await?;
    let told = session.run(&FOREIGN.replace("$swaps", if swaps { "true" } else { "false" }), &[], true, CONNECTING).await;
    session.close().await;
    told?.value.map(|told| web_json(told.to_string().as_bytes())).transpose()
}
