//! PostgreSQL: dumped and brought back by its own programs; brought back side by side, and then the names are changed. At
//! every moment the database of that name is the one before or the whole restored one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::names::{DatabaseNames, change_names_whole, mark, say, taken_up, there};
use super::own_schema::{OWN_SCHEMA, own_records};
use super::server::{
    CONNECTING, LOOK, NO_SUBSCRIPTIONS, at_database, database_of, environment, fits, identifier, maintenance, open, program,
    server_version, wrong,
};
use super::{Restored, Taken, Told, in_place, session_name, sha256_of};
use crate::act::infra::command::run;
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Given, Session, literal};
use crate::plan::deploy::{Changes, Part, StoreKind};
use crate::plan::runbook::{DatabaseStore, DatabaseStrategy, Progress, SnapshotSettings};

/// What is packed least takes less than half of the time, is hardly larger, and is back sooner: somebody waits for it, and it is kept for days.
const PACKED: &str = "--compress=1";
/// How many restore at once.
const JOBS: &str = "2";

/// Adds what a query gave: its first column is a label, its last a number.
pub fn add_labelled(all: &mut BTreeMap<String, u64>, name: &str, given: &Given) -> Result<(), Fault> {
    if given.rows > given.first.len() {
        // So many groups are counted as groups.
        all.insert(format!("{name} groups"), given.rows as u64);
        return Ok(());
    }
    for row in given.first.iter().filter_map(Json::as_object) {
        let label = row.values().next().filter(|_| row.len() > 1).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string));
        let count = row.values().next_back().and_then(Json::as_u64);
        let count = count.ok_or_else(|| wrong(format!("{name}: a row ends with no whole number")))?;
        all.insert(label.map_or_else(|| name.to_string(), |label| format!("{name} {label}")), count);
    }
    Ok(())
}

/// Exact counts of every table, and of what is asked for besides.
pub async fn counts(options: &DatabaseOptions, more: &[(String, String)], limit: Duration) -> Result<BTreeMap<String, u64>, Fault> {
    let mut session = open(options).await?;
    let counted = counted(&mut session, more, limit).await;
    session.close().await;
    counted
}

/// How PostgreSQL says that a policy would hide rows.
const HIDDEN: &str = "row-level security policy";

/// With what that means, where a policy keeps a count from being one of all rows.
fn hidden(fault: Fault) -> Fault {
    if !fault.message.contains(HIDDEN) {
        return fault;
    }
    let message = format!("{}; this role does not see all of its rows, which are neither counted nor dumped so", fault.message);
    Fault { message, ..fault }
}

async fn counted(session: &mut Session, more: &[(String, String)], limit: Duration) -> Result<BTreeMap<String, u64>, Fault> {
    let names = "SELECT json_agg(quote_ident(schemaname) || '.' || quote_ident(tablename) ORDER BY 1) AS v FROM pg_tables \
                     WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'lastgreen') AND schemaname NOT LIKE 'pg\\_toast%'";
    // A count of a part of the rows is none: what a policy would hide is an error.
    say(session, "SET row_security = off".into()).await?;
    let tables = session.run(names, &[], true, limit).await?.value.unwrap_or_default();
    let tables: Vec<&str> = tables.as_array().map(|all| all.iter().filter_map(Json::as_str).collect()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for table in tables {
        let given = session.run(&format!("SELECT count(*) AS v FROM {table}"), &[], true, limit).await.map_err(hidden)?;
        let count = given.value.as_ref().and_then(Json::as_u64).ok_or_else(|| wrong(format!("{table} gives no count")))?;
        all.insert(table.strip_prefix("public.").unwrap_or(table).to_string(), count);
    }
    for (name, query) in more {
        add_labelled(&mut all, name, &session.run(query, &[], true, limit).await?)?;
    }
    Ok(all)
}

/// The highest key of tables that have one column as their key, of a kind that grows.
pub async fn newest(options: &DatabaseOptions, tables: &[&str], limit: Duration) -> Result<BTreeMap<String, String>, Fault> {
    let mut session = open(options).await?;
    let found = newest_in(&mut session, tables, limit).await;
    session.close().await;
    found
}

async fn newest_in(session: &mut Session, tables: &[&str], limit: Duration) -> Result<BTreeMap<String, String>, Fault> {
    let keys = "SELECT json_object_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(a.attname)) AS v FROM pg_index i \
                    JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
                    WHERE i.indisprimary AND i.indnkeyatts = 1 \
                    AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'timestamptz'::regtype, 'timestamp'::regtype)";
    let keys = session.run(keys, &[], true, limit).await?.value.unwrap_or_default();
    let mut all = BTreeMap::new();
    for table in tables {
        let full = if table.contains('.') { (*table).to_string() } else { format!("public.{table}") };
        let Some(key) = keys[&full].as_str() else { continue };
        let given = session.run(&format!("SELECT max({key})::text AS v FROM {full}"), &[], true, limit).await?;
        all.extend(given.value.as_ref().and_then(Json::as_str).map(|newest| ((*table).to_string(), newest.to_string())));
    }
    Ok(all)
}

/// What the server has counted of rows that were changed, and that came in.
///
/// # Errors
/// Why that cannot be told.
pub async fn changes(options: &DatabaseOptions, limit: Duration) -> Result<Changes, Fault> {
    let mut session = open(options).await?;
    let told = changes_in(&mut session, limit).await;
    session.close().await;
    told
}

async fn changes_in(session: &mut Session, limit: Duration) -> Result<Changes, Fault> {
    let query = "SELECT json_build_object( \
           'of', (SELECT s.datid || coalesce(' since ' || s.stats_reset, '') FROM pg_stat_database s WHERE s.datname = current_database()), \
           'rows', (SELECT coalesce(json_object_agg(CASE schemaname WHEN 'public' THEN '' ELSE quote_ident(schemaname) || '.' END \
             || quote_ident(relname), json_build_array(n_tup_upd, n_tup_ins)), '{}') FROM pg_stat_user_tables WHERE schemaname <> 'lastgreen')) AS v";
    let told = session.run(query, &[], true, limit).await?.value.unwrap_or_default();
    serde_json::from_value(told).map_err(|e| wrong(format!("what was changed is not told: {e}")))
}

/// A moment of the database that is counted and dumped, held as long as the session is.
async fn moment(session: &mut Session, settings: &SnapshotSettings) -> Result<(String, BTreeMap<String, u64>, Option<Changes>), Fault> {
    // It only helps to see later what would be lost: without it a snapshot is one all the same.
    let changes = changes_in(session, settings.timeout).await.ok();
    // It waits for the dump, however long that takes.
    say(session, "SET idle_in_transaction_session_timeout = 0".into()).await?;
    session.say("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let given = session.run("SELECT pg_export_snapshot() AS v", &[], true, CONNECTING).await?;
    let id = given.value.as_ref().and_then(Json::as_str).ok_or_else(|| wrong("the server exports no snapshot"))?.to_string();
    Ok((id, counted(session, &settings.counts, settings.timeout).await?, changes))
}

pub async fn take(
    store: &DatabaseStore,
    folder: &Path,
    settings: &SnapshotSettings,
    taken: &Taken<'_>,
    told: &mut Told<'_>,
) -> Result<(Part, String), Fault> {
    let options = &store.options;
    let name = database_of(options).unwrap_or_else(|| store.name.clone());
    let mut session = open(options).await?;
    let version = server_version(&mut session).await?;
    fits("pg_dump", &version).await?;
    let (moment, counts, changes) = moment(&mut session, settings).await?;
    let file = format!("{}.dump", store.name);
    let path = folder.join(&file);
    let (target, place) = (path.display().to_string(), options.url.clone());
    let environment = environment(options, &session_name(taken.run, taken.key)).await?;
    // Our own record of what was done, and who may act, is no data that is brought back.
    let exclude = format!("--exclude-schema={OWN_SCHEMA}");
    let moment = format!("--snapshot={moment}");
    let argv =
        ["pg_dump", "--format=custom", PACKED, NO_SUBSCRIPTIONS, "--no-password", &moment, &exclude, "--file", &target, "--dbname", &place];
    let mut dump = std::pin::pin!(program(&argv, environment, settings.timeout));
    loop {
        tokio::select! {
            done = &mut dump => { done?; break }
            () = sleep(LOOK) => {
                let size = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                told(Progress { done: size as f64, of: None, unit: "bytes".into(), words: format!("dumped of {name}") });
            }
        }
    }
    session.close().await;
    let (sha256, size) = sha256_of(&path).map_err(|e| Fault::new(FaultKind::Local, e.to_string()))?;
    readable(&path, settings.timeout).await?;
    let store = store.name.clone();
    let part = Part { kind: StoreKind::Postgres, store, name, file, local: true, size, sha256, counts, changes, ..Part::default() };
    Ok((part, format!("postgres {version}")))
}

/// Whether an archive's table of contents can be read.
pub async fn readable(file: &Path, limit: Duration) -> Result<(), Fault> {
    program(&["pg_restore", "--list", &file.display().to_string()], Vec::new(), limit).await.map(drop)
}

/// How many sessions of a name are at work.
pub async fn at_work(options: &DatabaseOptions, name: &str, end: bool) -> Result<i64, Fault> {
    let mut session = maintenance(options).await?;
    let counted = session.at_work(name, end).await;
    session.close().await;
    counted
}

/// One of these writes the whole server's buffers out first.
async fn say_at_length(session: &mut Session, statement: String, settings: &SnapshotSettings) -> Result<(), Fault> {
    session.run(&statement, &[], false, settings.timeout).await.map(drop)
}

pub async fn restore(
    store: &DatabaseStore,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    taken: &Taken<'_>,
    told: &mut Told<'_>,
) -> Result<Restored, Fault> {
    let options = &store.options;
    let session_name = session_name(taken.run, taken.key);
    if settings.restore_database == DatabaseStrategy::Swap
        && let Some(done) = taken_up(options, taken).await?
    {
        return Ok(done);
    }
    if at_work(options, &session_name, false).await? > 0 {
        return Ok(Restored::UnderWay(format!("pg_restore is still at work in {}", part.name)));
    }
    let mut session = maintenance(options).await?;
    let version = server_version(&mut session).await;
    session.close().await;
    fits("pg_restore", &version?).await?;
    match settings.restore_database {
        DatabaseStrategy::Swap => swap(options, part, file, settings, (taken, &session_name), told).await,
        DatabaseStrategy::InPlace => {
            let goes = in_place::restore(options, part, file, settings, (taken.run, &session_name), told).await?;
            compared(options, part, settings, &goes).await
        }
    }
}

/// The live one is written to again from the moment it is there: more is no fault, and no reason to restore once more.
async fn compared(options: &DatabaseOptions, part: &Part, settings: &SnapshotSettings, goes: &[String]) -> Result<Restored, Fault> {
    let uncounted = |fault: Fault| {
        let message = format!("{} WAS restored in place, and what it is now cannot be counted: {}", part.name, fault.message);
        Fault { message, ..fault }
    };
    let now = counts(options, &settings.counts, settings.timeout).await.map_err(uncounted)?;
    let (different, more) = part.missing_in(&now);
    if !different.is_empty() {
        let words = format!("{} was restored in place, and is not as it was: {}", part.name, different.join("; "));
        return Err(Fault::new(FaultKind::Garbage, words));
    }
    let since = if more > 0 { format!(", and {more} written since") } else { String::new() };
    let later: Vec<&str> = now.keys().filter(|name| !part.counts.contains_key(*name)).map(String::as_str).collect();
    let told = |what: &str, names: String| if names.is_empty() { names } else { format!("; {what}: {names}") };
    let stayed = told("what was made later has stayed", later.join(", "));
    let gone = told("what stood on it has gone", goes.join(", "));
    Ok(Restored::Done(format!("{}: restored in place{since}{stayed}{gone}", part.name)))
}

async fn swap(
    options: &DatabaseOptions,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    (taken, session_name): (&Taken<'_>, &str),
    told: &mut Told<'_>,
) -> Result<Restored, Fault> {
    let names = DatabaseNames::of(options, taken.run)?;
    let mut session = maintenance(options).await?;
    let result = match there(&mut session, [&names.live, &names.new, &names.old]).await? {
        (true, _, false) => {
            let filled = fill(&mut session, options, part, file, settings, (&names, session_name), told).await;
            match filled {
                Ok(left) => {
                    let left = if left.is_empty() { String::new() } else { format!("; not set again: {}", left.join("; ")) };
                    change_names_whole(options, &names).await.map(|()| Restored::Done(names.done() + &left))
                }
                Err(fault) => Err(fault),
            }
        }
        (true, _, true) => {
            Err(wrong(format!("{}, {} and {} are all there: look by hand which is which", names.live, names.new, names.old)))
        }
        (false, ..) => Err(wrong(format!("there is no database {}: look by hand", names.live))),
    };
    session.close().await;
    result
}

/// Makes the new database anew, fills it, and counts. The live one is not touched. Gives the settings that it lacks.
async fn fill(
    session: &mut Session,
    options: &DatabaseOptions,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    (names, session_name): (&DatabaseNames, &str),
    told: &mut Told<'_>,
) -> Result<Vec<String>, Fault> {
    // What an attempt before this one has left, nobody knows how far.
    say_at_length(session, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&names.new)), settings).await?;
    let like = format!(
        "SELECT pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate, d.datctype, \
         t.spcname AS tablespace, d.datconnlimit AS most, to_jsonb(d)->>'datlocprovider' AS provider, \
         coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale') AS locale, \
         pg_database_size(d.oid) AS size FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = {}",
        literal(&names.live)
    );
    let given = session.run(&like, &[], true, CONNECTING).await?;
    let row = given.first.first().cloned().unwrap_or_default();
    let field = |name: &str| row.get(name).and_then(Json::as_str).unwrap_or_default().to_string();
    // An ICU collation has a locale of its own.
    let locale = match field("provider").as_str() {
        "i" => format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(&field("locale"))),
        _ => String::new(),
    };
    // Where it goes by itself anyway no right is asked for.
    let tablespace = match field("tablespace").as_str() {
        "pg_default" | "" => String::new(),
        other => format!(" TABLESPACE {}", identifier(other)),
    };
    let most = row.get("most").and_then(Json::as_i64).unwrap_or(-1);
    say_at_length(
        session,
        format!(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{tablespace} CONNECTION LIMIT {most}{locale}",
            identifier(&names.new),
            identifier(&field("owner")),
            literal(&field("encoding")),
            literal(&field("datcollate")),
            literal(&field("datctype")),
        ),
        settings,
    )
    .await?;
    grants_of_the_live_one(session, names).await?;
    let new = at_database(options, &names.new)?;
    let (source, place) = (file.display().to_string(), new.url.clone());
    let argv = ["pg_restore", "--exit-on-error", NO_SUBSCRIPTIONS, "--jobs", JOBS, "--no-password", "--dbname", &place, &source];
    let mut environment = environment(options, session_name).await?;
    // Sessions of this role may only read unless they are told otherwise. A pool in between may refuse such options.
    let reads = "SELECT reset_val AS v FROM pg_settings WHERE name = 'default_transaction_read_only'";
    if session.run(reads, &[], true, CONNECTING).await?.value == Some(json!("on")) {
        environment.push(("PGOPTIONS".into(), "-c default_transaction_read_only=off".into()));
    }
    let size = row.get("size").and_then(Json::as_f64);
    {
        let mut restore = std::pin::pin!(program(&argv, environment, settings.timeout));
        loop {
            tokio::select! {
                done = &mut restore => { done?; break }
                () = sleep(LOOK) => {
                    let query = format!("SELECT pg_database_size({}) AS v", literal(&names.new));
                    let now = session.run(&query, &[], true, CONNECTING).await.ok().and_then(|g| g.value).and_then(|v| v.as_f64());
                    let words = format!("restored into {}, the live one untouched", names.new);
                    told(Progress { done: now.unwrap_or(0.0), of: size, unit: "bytes".into(), words });
                }
            }
        }
    }
    let now = counts(&new, &settings.counts, settings.timeout).await?;
    let different = part.differences(&now);
    if !different.is_empty() {
        let words = format!("{} is not as it was: {}; the live one is untouched", names.new, different.join("; "));
        return Err(Fault::new(FaultKind::Garbage, words));
    }
    let left = settings_of_the_live_one(session, names).await?;
    mark(session, &names.new, &names.live, Some(&names.run)).await;
    own_records(options, &new, session_name, settings.timeout).await?;
    Ok(left)
}

/// The settings of a database, which are in no dump of it. Gives those that could not be made again, with why.
async fn settings_of_the_live_one(session: &mut Session, names: &DatabaseNames) -> Result<Vec<String>, Fault> {
    let (new, mut left) = (identifier(&names.new), Vec::new());
    let query = format!(
        "SELECT coalesce(json_agg(json_build_object('role', CASE WHEN setrole = 0 THEN NULL ELSE pg_get_userbyid(setrole) END, 'set', c)), '[]') AS v \
         FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) c WHERE d.datname = {}",
        literal(&names.live)
    );
    let settings = session.run(&query, &[], true, CONNECTING).await?.value.unwrap_or_default();
    for one in settings.as_array().into_iter().flatten() {
        let Some((name, value)) = one["set"].as_str().and_then(|set| set.split_once('=')) else { continue };
        let whose = match one["role"].as_str() {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {new}", identifier(role)),
            None => format!("ALTER DATABASE {new}"),
        };
        // Lists are kept as they are written.
        let lists = ["search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces"];
        let value = if lists.contains(&name) { value.to_string() } else { literal(value) };
        // A setting that is missing is said, and keeps no data from coming back.
        match say(session, format!("{whose} SET {} TO {value}", identifier(name))).await {
            Err(fault) if fault.kind == FaultKind::Query => {
                let of = one["role"].as_str().map_or_else(String::new, |role| format!(" of role {role}"));
                left.push(format!("{name}{of} ({})", fault.message));
            }
            done => done?,
        }
    }
    Ok(left)
}

/// Who may come in, and may make things: in no dump of it either, and before anything is made that is theirs.
async fn grants_of_the_live_one(session: &mut Session, names: &DatabaseNames) -> Result<(), Fault> {
    let new = identifier(&names.new);
    let query = format!(
        "SELECT coalesce(json_agg(json_build_object('who', CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, \
         'what', a.privilege_type)), 'null') AS v FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = {} AND d.datacl IS NOT NULL",
        literal(&names.live)
    );
    let grants = session.run(&query, &[], true, CONNECTING).await?.value.unwrap_or_default();
    if let Some(grants) = grants.as_array() {
        say(session, format!("REVOKE ALL ON DATABASE {new} FROM PUBLIC")).await?;
        for grant in grants {
            let who = grant["who"].as_str().map_or_else(|| "PUBLIC".to_string(), identifier);
            let what = grant["what"].as_str().unwrap_or("CONNECT");
            say(session, format!("GRANT {what} ON DATABASE {new} TO {who}")).await?;
        }
    }
    Ok(())
}

/// How much is free where the server keeps its data, by the program that was named or by looking, and how much the live
/// database takes: another one of it stands beside it, or in the log of changes while it is restored in place.
pub async fn server_room(store: &DatabaseStore, settings: &SnapshotSettings) -> Result<(u64, u64), Fault> {
    let mut session = maintenance(&store.options).await?;
    let name = database_of(&store.options).unwrap_or_default();
    let query = format!(
        "SELECT pg_database_size({}) AS size, (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS folder, \
         coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true) AS here",
        literal(&name)
    );
    let given = session.run(&query, &[], true, CONNECTING).await;
    session.close().await;
    let row = given?.first.into_iter().next().unwrap_or_default();
    let size = row["size"].as_u64().ok_or_else(|| wrong(format!("{name} has no size")))?;
    if !settings.server_room.is_empty() {
        let printed = run(settings.server_room.clone(), settings.timeout).await?;
        let free = printed.split_whitespace().last().and_then(|word| word.parse().ok());
        return free.map(|free| (free, size)).ok_or_else(|| wrong(format!("`{}` is no number of bytes", printed.trim())));
    }
    let folder = row["folder"].as_str().map(Path::new).filter(|_| row["here"] == json!(true));
    let stat = folder.and_then(|folder| rustix::fs::statvfs(folder).ok());
    let unseen = || Fault::new(FaultKind::Local, "how much is free on the server cannot be seen from here");
    let stat = stat.ok_or_else(unseen)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), size))
}
