//! PostgreSQL: dumped and brought back by its own programs; brought back side by side, and then the names are changed. At
//! every moment the database of that name is the one before or the whole restored one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::{Restored, Taken, Told, session_name, sha256_of, tag};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{CommandClient, Session, fetch_secret, literal};
use crate::plan::deploy::{DatabaseStore, DatabaseStrategy, Part, SnapshotSettings, StoreKind, differences};
use crate::plan::runbook::Progress;

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// How often it is looked how far a program is.
const LOOK: Duration = Duration::from_millis(500);
/// How long sessions are ended again and again before the names are changed.
const CLEARING: Duration = Duration::from_secs(20);
/// Names on the server are cut behind this.
const LONGEST: usize = 63;
/// Where records and leases are.
const OWN_SCHEMA: &str = "lastgreen";
/// How many restore at once.
const JOBS: &str = "2";

fn wrong(words: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Query, words.into())
}

/// The name of the database that a URL leads to.
pub fn database_of(options: &DatabaseOptions) -> Option<String> {
    let parsed: sqlx::postgres::PgConnectOptions = options.url.parse().ok()?;
    Some(parsed.get_database().unwrap_or(parsed.get_username()).to_string())
}

/// The same server, another database.
fn at_database(options: &DatabaseOptions, name: &str) -> Result<DatabaseOptions, Fault> {
    let mut url = url::Url::parse(&options.url).map_err(|e| wrong(e.to_string()))?;
    let rest: Vec<(String, String)> = url.query_pairs().filter(|(key, _)| key != "dbname").map(|(k, v)| (k.into(), v.into())).collect();
    url.set_path(&format!("/{}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)));
    url.query_pairs_mut().clear().extend_pairs(rest);
    let url = url.to_string();
    Ok(DatabaseOptions { url: url.trim_end_matches('?').to_string(), ..options.clone() })
}

async fn open(options: &DatabaseOptions) -> Result<Session, Fault> {
    Session::open(&DatabaseOptions { timeout: CONNECTING, ..options.clone() }).await
}

/// From where databases are made, renamed and dropped.
async fn maintenance(options: &DatabaseOptions) -> Result<Session, Fault> {
    open(&at_database(options, "postgres")?).await
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn cut(name: &str, behind: &str) -> String {
    let room = LONGEST.saturating_sub(behind.len());
    let end = name.floor_char_boundary(room);
    format!("{}{behind}", &name[..end])
}

/// What the programs need to get in: by their environment, never on the command line.
async fn environment(options: &DatabaseOptions, session: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut all = vec![("PGAPPNAME".to_string(), session.to_string()), ("PGCONNECT_TIMEOUT".into(), CONNECTING.as_secs().to_string())];
    if let Some(password) = &options.password {
        all.push(("PGPASSWORD".into(), fetch_secret(password).await?.expose().to_string()));
    }
    let tls = &options.tls;
    if let Some(ca) = &tls.ca {
        all.extend([("PGSSLMODE".into(), "verify-full".into()), ("PGSSLROOTCERT".into(), ca.display().to_string())]);
    }
    for (name, file) in [("PGSSLCERT", &tls.cert), ("PGSSLKEY", &tls.key)] {
        all.extend(file.as_ref().map(|file| (name.to_string(), file.display().to_string())));
    }
    Ok(all)
}

async fn program(argv: &[&str], environment: Vec<(String, String)>, limit: Duration) -> Result<String, Fault> {
    let argv = argv.iter().map(|word| (*word).to_string()).collect();
    CommandClient { argv, environment, timeout: limit, max_output: 1 << 20 }.run().await
}

/// A program of PostgreSQL must not be older than its server.
async fn fits(name: &str, server: &str) -> Result<(), Fault> {
    let major = |text: &str| text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).and_then(|n| n.parse::<u32>().ok());
    let said = program(&[name, "--version"], Vec::new(), CONNECTING).await?;
    match (major(&said), major(server)) {
        (Some(own), Some(theirs)) if own >= theirs => Ok(()),
        _ => Err(wrong(format!("{name} here is `{}`, and the server is {server}: it must not be older", said.trim()))),
    }
}

async fn server_version(session: &mut Session) -> Result<String, Fault> {
    let given = session.run("SELECT current_setting('server_version') AS v", &[], true, CONNECTING).await?;
    Ok(given.value.as_ref().and_then(Json::as_str).unwrap_or("?").to_string())
}

/// Adds what a query gave: its first column is a label, its last a number.
pub fn add_labelled(all: &mut BTreeMap<String, u64>, name: &str, rows: &[Json]) -> Result<(), Fault> {
    for row in rows.iter().filter_map(Json::as_object) {
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
    let counted = async {
        let names = "SELECT json_agg(quote_ident(schemaname) || '.' || quote_ident(tablename) ORDER BY 1) AS v FROM pg_tables \
                     WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'lastgreen') AND schemaname NOT LIKE 'pg\\_toast%'";
        let tables = session.run(names, &[], true, limit).await?.value.unwrap_or_default();
        let tables: Vec<&str> = tables.as_array().map(|all| all.iter().filter_map(Json::as_str).collect()).unwrap_or_default();
        let mut all = BTreeMap::new();
        for table in tables {
            let given = session.run(&format!("SELECT count(*) AS v FROM {table}"), &[], true, limit).await?;
            let count = given.value.as_ref().and_then(Json::as_u64).ok_or_else(|| wrong(format!("{table} gives no count")))?;
            all.insert(table.strip_prefix("public.").unwrap_or(table).to_string(), count);
        }
        for (name, query) in more {
            add_labelled(&mut all, name, &session.run(query, &[], true, limit).await?.first)?;
        }
        Ok(all)
    };
    let counted = counted.await;
    session.close().await;
    counted
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
    let version = server_version(&mut session).await;
    session.close().await;
    let version = version?;
    fits("pg_dump", &version).await?;
    let file = format!("{}.dump", store.name);
    let path = folder.join(&file);
    let (target, place) = (path.display().to_string(), options.url.clone());
    let environment = environment(options, &session_name(taken.run, taken.key)).await?;
    // Our own record of what was done, and who may act, is no data that is brought back.
    let exclude = format!("--exclude-schema={OWN_SCHEMA}");
    let argv = ["pg_dump", "--format=custom", "--no-password", &exclude, "--file", &target, "--dbname", &place];
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
    let (sha256, size) = sha256_of(&path).map_err(|e| Fault::new(FaultKind::Local, e.to_string()))?;
    readable(&path, settings.timeout).await?;
    let counts = counts(options, &settings.counts, settings.timeout).await?;
    let part =
        Part { kind: StoreKind::Postgres, store: store.name.clone(), name, file, local: true, size, sha256, counts, probes: Vec::new() };
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

/// The three names that a restore goes through.
struct Names {
    live: String,
    /// Where it is restored into.
    new: String,
    /// What was live before.
    old: String,
}

impl Names {
    fn of(options: &DatabaseOptions, run: &str) -> Result<Names, Fault> {
        let live = database_of(options).ok_or_else(|| wrong("the URL names no database"))?;
        let tag = tag(run);
        Ok(Names { new: cut(&live, &format!("_restore_{tag}")), old: cut(&live, &format!("_before_{tag}")), live })
    }
}

async fn exists(session: &mut Session, name: &str) -> Result<bool, Fault> {
    let query = format!("SELECT count(*) AS v FROM pg_database WHERE datname = {}", literal(name));
    Ok(session.run(&query, &[], true, CONNECTING).await?.value == Some(json!(1)))
}

async fn say(session: &mut Session, statement: String) -> Result<(), Fault> {
    session.run(&statement, &[], false, CLEARING).await.map(drop)
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
    if at_work(options, &session_name, false).await? > 0 {
        return Ok(Restored::UnderWay(format!("pg_restore is still at work in {}", part.name)));
    }
    let mut session = maintenance(options).await?;
    let version = server_version(&mut session).await;
    session.close().await;
    fits("pg_restore", &version?).await?;
    super::check_files(file, part).map_err(|why| Fault::new(FaultKind::Garbage, why))?;
    match settings.restore_database {
        DatabaseStrategy::Swap => swap(options, part, file, settings, (taken, &session_name), told).await,
        DatabaseStrategy::InPlace => in_place(options, part, file, settings, &session_name, told).await,
    }
}

/// Drops and makes every object in the live database, in one transaction that holds all or nothing.
async fn in_place(
    options: &DatabaseOptions,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    session: &str,
    told: &mut Told<'_>,
) -> Result<Restored, Fault> {
    told(Progress { done: 0.0, of: None, unit: String::new(), words: format!("restoring {} in place", part.name) });
    let mut environment = environment(options, session).await?;
    environment.push(("PGOPTIONS".into(), "-c lock_timeout=30000".into()));
    let (source, place) = (file.display().to_string(), options.url.clone());
    let argv = ["pg_restore", "--clean", "--if-exists", "--single-transaction", "--no-password", "--dbname", &place, &source];
    program(&argv, environment, settings.timeout).await?;
    let now = counts(options, &settings.counts, settings.timeout).await?;
    let different = differences(&part.counts, &now);
    if different.is_empty() {
        return Ok(Restored::Done(format!("{}: restored in place", part.name)));
    }
    Err(Fault::new(FaultKind::Garbage, format!("{} was restored in place, and is not as it was: {}", part.name, different.join("; "))))
}

async fn swap(
    options: &DatabaseOptions,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    (taken, session_name): (&Taken<'_>, &str),
    told: &mut Told<'_>,
) -> Result<Restored, Fault> {
    let names = Names::of(options, taken.run)?;
    let mut session = maintenance(options).await?;
    let there =
        (exists(&mut session, &names.live).await?, exists(&mut session, &names.new).await?, exists(&mut session, &names.old).await?);
    let done = format!("{}: the restored one has its name, the one before is {}", names.live, names.old);
    let result = match there {
        (true, false, true) => Ok(Restored::Done(done)),
        // Between the two renames.
        (false, true, true) => finish(&mut session, &names).await.map(|()| Restored::Done(done)),
        (true, _, false) => {
            let filled = fill(&mut session, options, part, file, settings, (&names, session_name), told).await;
            match filled {
                Ok(()) => change_names(&mut session, &names).await.map(|()| Restored::Done(done)),
                Err(fault) => Err(fault),
            }
        }
        (true, true, true) => {
            Err(wrong(format!("{}, {} and {} are all there: look by hand which is which", names.live, names.new, names.old)))
        }
        (false, ..) => Err(wrong(format!("there is no database {}: look by hand", names.live))),
    };
    session.close().await;
    result
}

/// Makes the new database anew, fills it, and counts. The live one is not touched.
async fn fill(
    session: &mut Session,
    options: &DatabaseOptions,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    (names, session_name): (&Names, &str),
    told: &mut Told<'_>,
) -> Result<(), Fault> {
    // What an attempt before this one has left, nobody knows how far.
    say(session, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&names.new))).await?;
    let like = format!(
        "SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, datcollate, datctype, \
         pg_database_size(oid) AS size FROM pg_database WHERE datname = {}",
        literal(&names.live)
    );
    let given = session.run(&like, &[], true, CONNECTING).await?;
    let row = given.first.first().cloned().unwrap_or_default();
    let field = |name: &str| row.get(name).and_then(Json::as_str).unwrap_or_default().to_string();
    say(
        session,
        format!(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            identifier(&names.new),
            identifier(&field("owner")),
            literal(&field("encoding")),
            literal(&field("datcollate")),
            literal(&field("datctype"))
        ),
    )
    .await?;
    let new = at_database(options, &names.new)?;
    let (source, place) = (file.display().to_string(), new.url.clone());
    let argv = ["pg_restore", "--exit-on-error", "--jobs", JOBS, "--no-password", "--dbname", &place, &source];
    let environment = environment(options, session_name).await?;
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
    let different = differences(&part.counts, &now);
    if !different.is_empty() {
        let words = format!("{} is not as it was: {}; the live one is untouched", names.new, different.join("; "));
        return Err(Fault::new(FaultKind::Garbage, words));
    }
    like_the_live_one(session, names).await?;
    own_records(options, &new, file, session_name, settings.timeout).await
}

/// Records and leases go on in the new database where they are in the live one: a fence number never goes back.
async fn own_records(live: &DatabaseOptions, new: &DatabaseOptions, file: &Path, session: &str, limit: Duration) -> Result<(), Fault> {
    let mut there = open(live).await?;
    let query = format!("SELECT count(*) AS v FROM pg_namespace WHERE nspname = {}", literal(OWN_SCHEMA));
    let has = there.run(&query, &[], true, CONNECTING).await;
    there.close().await;
    if has?.value != Some(json!(1)) {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("lastgreen-own-").tempdir().map_err(|e| Fault::new(FaultKind::Local, e.to_string()))?;
    let copy = folder.path().join(file.file_name().unwrap_or_default()).display().to_string();
    let schema = format!("--schema={OWN_SCHEMA}");
    let dump = ["pg_dump", "--format=custom", "--no-password", &schema, "--file", &copy, "--dbname", &live.url];
    program(&dump, environment(live, session).await?, limit).await?;
    let restore = ["pg_restore", "--exit-on-error", "--no-password", "--dbname", &new.url, &copy];
    program(&restore, environment(new, session).await?, limit).await.map(drop)
}

/// What belongs to a database and is in no dump of it: its settings, and who may come in.
async fn like_the_live_one(session: &mut Session, names: &Names) -> Result<(), Fault> {
    let new = identifier(&names.new);
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
        say(session, format!("{whose} SET {} TO {value}", identifier(name))).await?;
    }
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

/// Closes the door, ends who is inside, changes both names, and opens. When that fails the door is opened again.
async fn change_names(session: &mut Session, names: &Names) -> Result<(), Fault> {
    let live = identifier(&names.live);
    let changed = async {
        say(session, format!("ALTER DATABASE {live} ALLOW_CONNECTIONS false")).await?;
        clear(session, &names.live).await?;
        say(session, format!("ALTER DATABASE {live} RENAME TO {}", identifier(&names.old))).await?;
        finish(session, names).await
    };
    let changed = changed.await;
    if changed.is_err() && exists(session, &names.live).await.unwrap_or(false) {
        let _ = say(session, format!("ALTER DATABASE {live} ALLOW_CONNECTIONS true")).await;
    }
    changed
}

async fn finish(session: &mut Session, names: &Names) -> Result<(), Fault> {
    clear(session, &names.new).await?;
    say(session, format!("ALTER DATABASE {} RENAME TO {}", identifier(&names.new), identifier(&names.live))).await?;
    // What was before can be looked into.
    say(session, format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(&names.old))).await
}

/// Ends every session in a database, also those that come while it is done.
async fn clear(session: &mut Session, name: &str) -> Result<(), Fault> {
    let deadline = Instant::now() + CLEARING;
    let query = format!(
        "SELECT count(pg_terminate_backend(pid)) AS v FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid()",
        literal(name)
    );
    loop {
        match session.run(&query, &[], true, CONNECTING).await?.value.as_ref().and_then(Json::as_u64) {
            Some(0) => return Ok(()),
            _ if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            _ => return Err(wrong(format!("sessions in {name} do not end"))),
        }
    }
}

/// The one before gets its name back; what was restored is kept beside it.
pub async fn undo(store: &DatabaseStore, settings: &SnapshotSettings, taken: &Taken<'_>) -> Result<String, Fault> {
    let options = &store.options;
    let names = Names::of(options, taken.run)?;
    if settings.restore_database == DatabaseStrategy::InPlace {
        return Err(wrong(format!("{} was restored in place: restore the safety snapshot instead", names.live)));
    }
    let aside = cut(&names.live, &format!("_undone_{}", tag(taken.run)));
    let mut session = maintenance(options).await?;
    let there = (exists(&mut session, &names.live).await?, exists(&mut session, &names.old).await?, exists(&mut session, &aside).await?);
    let back = Names { live: names.live.clone(), new: names.old.clone(), old: aside.clone() };
    let done = format!("{} is again what it was; what was restored is {aside}", names.live);
    let result = match there {
        (true, true, false) => change_names(&mut session, &back).await.map(|()| done),
        (false, true, true) => finish(&mut session, &back).await.map(|()| done),
        (true, false, true) => Ok(done),
        (true, false, false) => {
            // It never came to the change of names.
            say(&mut session, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&names.new)))
                .await
                .map(|()| format!("{} was never changed", names.live))
        }
        _ => Err(wrong(format!("which of {}, {} and {aside} is which has to be looked at by hand", names.live, names.old))),
    };
    session.close().await;
    result
}

/// Whether a restore would be allowed, and which programs it would be done with. Nothing is touched.
pub async fn may_restore(store: &DatabaseStore, settings: &SnapshotSettings) -> Result<String, Fault> {
    let mut session = maintenance(&store.options).await?;
    let name = database_of(&store.options).unwrap_or_default();
    let query = format!(
        "SELECT (rolsuper OR rolcreatedb) AS makes, (rolsuper OR pg_has_role(current_user, d.datdba, 'member')) AS owns, rolsuper AS super \
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
    match (may("makes") || !swaps, may("owns")) {
        (true, true) => Ok(format!("{name}: may be restored, with the programs of {version} or newer")),
        (false, _) => Err(Fault::new(FaultKind::Auth, format!("{name}: this role makes no databases: ALTER ROLE … CREATEDB"))),
        (_, false) => Err(Fault::new(FaultKind::Auth, format!("{name}: this role does not own it: ALTER DATABASE … OWNER TO …"))),
    }
}
