//! PostgreSQL, in place: every object of the archive is dropped and made anew in the live database, in one transaction that holds
//! all or nothing. What was made later and stands on them goes with them, by name; where that would be data, nothing is begun.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Told;
use super::names::{as_in_archives, comment, described, is_restored_by};
use super::server::{CONNECTING, LOOK, NO_SUBSCRIPTIONS, environment, fits, maintenance, named, open, program, server_version, wrong};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{Session, literal, web_json};
use crate::plan::deploy::Part;
use crate::plan::runbook::{Progress, SnapshotSettings};

/// The end of the transaction is said only when the whole archive was read; whatever ends before that ends it without effect.
const PIPE: &str = r#"{ cat "$1" && pg_restore --no-subscriptions --clean --if-exists --use-list="$2" --file=- "$3" && printf '%s;\nCOMMIT;\n\\echo restored\n' "$5"; } |
psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set=ON_ERROR_STOP=1 --dbname="$4""#;

/// What an archive makes, by the statements that drop it, each with its schema and quoted as it must be.
#[derive(Default)]
struct Made {
    tables: Vec<String>,
    /// Views and sequences.
    others: Vec<String>,
    types: Vec<String>,
    routines: Vec<String>,
    /// What each relation and routine is: it cannot be dropped as what it is no more.
    kinds: Vec<[String; 2]>,
    publications: Vec<String>,
    /// Each with a table that it has.
    published: Vec<String>,
    servers: Vec<String>,
    /// `FOR USER SERVER NAME`
    mappings: Vec<String>,
    /// `FOR ROLE NAME IN SCHEMA NAME TABLES`
    defaults: Vec<String>,
}

impl Made {
    /// Of a script that drops everything before it makes it.
    fn by(script: &str) -> Made {
        let published = |line: &str| {
            let (publication, table) = line.strip_prefix("ALTER PUBLICATION ")?.split_once(" ADD TABLE ONLY ")?;
            let table = table.split(" (").next()?.split(" WHERE ").next()?.trim_end_matches(';');
            Some(format!("{publication} {table}"))
        };
        let given = |line: &str| {
            let rest = line.strip_prefix("ALTER DEFAULT PRIVILEGES ")?;
            let (place, rest) = rest.split_once(" GRANT ").or_else(|| rest.split_once(" REVOKE "))?;
            Some(format!("{place} {}", rest.split_once(" ON ")?.1.split(' ').next()?))
        };
        let (published, defaults) = (script.lines().filter_map(published).collect(), script.lines().filter_map(given).collect());
        let mut made = Made { published, defaults, ..Made::default() };
        // A view in a circle is made empty before it is dropped.
        let is_over = |line: &str| line.starts_with("CREATE ") && !line.starts_with("CREATE OR REPLACE VIEW ");
        for line in script.lines().take_while(|line| !is_over(line)) {
            let Some((kind, name)) = line.strip_prefix("DROP ").and_then(|rest| rest.strip_suffix(';')?.split_once(" IF EXISTS ")) else {
                continue;
            };
            if !matches!(kind, "TYPE" | "DOMAIN") {
                made.kinds.push([name.into(), kind.into()]);
            }
            match kind {
                "TABLE" => made.tables.push(name.into()),
                "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "SEQUENCE" => made.others.push(name.into()),
                "TYPE" | "DOMAIN" => made.types.push(name.into()),
                "FUNCTION" | "PROCEDURE" | "AGGREGATE" => made.routines.push(name.into()),
                "PUBLICATION" => made.publications.push(name.into()),
                "SERVER" => made.servers.push(name.into()),
                "USER MAPPING" => made.mappings.push(name.into()),
                _ => {}
            }
        }
        made
    }
}

/// What stands in the live database on what an archive makes.
#[derive(Debug, Default, Deserialize)]
struct Standing {
    /// Tables of the archive that are there: nobody else may have them meanwhile.
    locks: Vec<String>,
    /// What takes away what keeps them from being dropped.
    drops: Vec<String>,
    /// What goes by that and is not in the archive.
    goes: Vec<String>,
    /// What is not in the archive, and must not go.
    blocks: Vec<String>,
    schemas: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

/// Looks and touches nothing.
async fn standing(options: &DatabaseOptions, file: &Path, limit: Duration) -> Result<Standing, Fault> {
    let file = file.display().to_string();
    let script =
        program(&["pg_restore", "--schema-only", NO_SUBSCRIPTIONS, "--clean", "--if-exists", "--file=-", &file], Vec::new(), limit).await?;
    let made = Made::by(&script);
    let listed = |names: &[&[String]]| literal(&json!(names.concat()).to_string());
    let query = include_str!("standing.sql")
        .replace("$tables", &listed(&[&made.tables]))
        .replace("$relations", &listed(&[&made.tables, &made.others]))
        .replace("$types", &listed(&[&made.types]))
        .replace("$routines", &listed(&[&made.routines]))
        .replace("$kinds", &literal(&json!(made.kinds).to_string()))
        .replace("$publications", &listed(&[&made.publications]))
        .replace("$published", &listed(&[&made.published]))
        .replace("$servers", &listed(&[&made.servers]))
        .replace("$mappings", &listed(&[&made.mappings]))
        .replace("$defaults", &listed(&[&made.defaults]));
    let mut session = open(options).await?;
    let told = async {
        as_in_archives(&mut session).await?;
        session.run(&query, &[], true, limit).await
    };
    let told = told.await;
    session.close().await;
    let told = told?.value.unwrap_or_default();
    web_json(told.to_string().as_bytes())
}

impl Standing {
    /// What keeps a part from being restored.
    fn against(&self, part: &Part) -> Option<String> {
        (!self.blocks.is_empty()).then(|| format!("{} cannot be restored in place: {}", part.name, self.blocks.join("; ")))
    }

    /// Everything in front of the archive. It waits for nobody's lock for longer than this; the archive itself would wait for ever.
    fn prelude(&self) -> String {
        let mut lines = vec!["BEGIN READ WRITE;".to_string(), "SET LOCAL lock_timeout = '30s';".into()];
        // What its role has of these is for others.
        lines.extend(["statement_timeout", "idle_in_transaction_session_timeout"].map(|own| format!("SET LOCAL {own} = 0;")));
        lines.extend((!self.locks.is_empty()).then(|| format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE;", self.locks.join(", "))));
        lines.extend(self.drops.iter().map(|drop| format!("{drop};")));
        lines.join("\n") + "\n"
    }

    /// The contents of the archive without schemas and extensions that are there: what was made in them later stays, and whoever
    /// owns the database need not own them.
    fn contents(&self, list: &str) -> String {
        let is_there = |line: &str| {
            let among = |mark: &str, names: &BTreeSet<String>| {
                let rest = line.split_once(mark).map(|(_, rest)| rest);
                rest.is_some_and(|rest| names.iter().any(|name| rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(' '))))
            };
            among(" SCHEMA - ", &self.schemas)
                || among(" EXTENSION - ", &self.extensions)
                || among(" COMMENT - EXTENSION ", &self.extensions)
        };
        let lines = list.lines().map(|line| if is_there(line) { format!(";{line}\n") } else { format!("{line}\n") });
        lines.collect()
    }
}

/// Drops and makes every object in the live database. Gives what has gone with them.
pub async fn restore(
    options: &DatabaseOptions,
    part: &Part,
    file: &Path,
    settings: &SnapshotSettings,
    (run, session_name): (&str, &str),
    told: &mut Told<'_>,
) -> Result<Vec<String>, Fault> {
    let words = format!("restoring {} in place", part.name);
    told(Progress { done: 0.0, of: None, unit: String::new(), words: words.clone() });
    let standing = standing(options, file, settings.timeout).await?;
    if let Some(against) = standing.against(part) {
        return Err(wrong(against));
    }
    let mut looking = maintenance(options).await?;
    let piped = {
        let mut piped = std::pin::pin!(pipe(options, file, settings, (run, session_name), &standing));
        loop {
            tokio::select! {
                done = &mut piped => break done,
                () = sleep(LOOK) => {
                    let waits = waits_for(&mut looking, session_name).await;
                    told(Progress { done: 0.0, of: None, unit: String::new(), words: waits.unwrap_or_else(|| words.clone()) });
                }
            }
        }
    };
    looking.close().await;
    piped?;
    Ok(standing.goes)
}

/// The archive into the live database, behind what makes room for it.
async fn pipe(
    options: &DatabaseOptions,
    file: &Path,
    settings: &SnapshotSettings,
    (run, session_name): (&str, &str),
    standing: &Standing,
) -> Result<(), Fault> {
    let file = file.display().to_string();
    let list = program(&["pg_restore", "--list", &file], Vec::new(), settings.timeout).await?;
    let local = |e: std::io::Error| Fault::new(FaultKind::Local, e.to_string());
    let folder = tempfile::tempdir().map_err(local)?;
    let written = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map(|()| path.display().to_string()).map_err(local)
    };
    let (prelude, contents) = (written("prelude.sql", standing.prelude())?, written("contents", standing.contents(&list))?);
    let environment = environment(options, session_name).await?;
    // Whether this run has restored it is known by the database itself, whatever becomes of whoever waits for it.
    let name = named(options)?;
    let mut session = maintenance(options).await?;
    let own = described(&mut session, &name).await;
    session.close().await;
    let mark = comment(&name, &own?.0, Some(run));
    let argv = ["sh", "-c", PIPE, "pg_restore", &prelude, &contents, &file, &options.url, &mark];
    let said = program(&argv, environment, settings.timeout).await.map_err(|fault| {
        let message = fault.message.replacen("`sh`", "`pg_restore | psql`", 1);
        Fault { message, ..fault }
    })?;
    match said.lines().next_back() {
        Some("restored") => Ok(()),
        _ => Err(Fault::new(FaultKind::Garbage, "pg_restore did not come to its end: nothing was changed")),
    }
}

/// What a session of that name waits for, where somebody else has a table it needs.
async fn waits_for(looking: &mut Session, name: &str) -> Option<String> {
    let query = format!(
        "SELECT string_agg(format('%s (%s), %s', coalesce(b.usename::text, 'a transaction that is prepared'), b.pid, coalesce(nullif(b.application_name, ''), b.state)), '; ') AS v \
         FROM pg_stat_activity a, unnest(pg_blocking_pids(a.pid)) AS p LEFT JOIN pg_stat_activity b ON b.pid = p \
         WHERE a.application_name = {} AND a.wait_event_type = 'Lock'",
        literal(name)
    );
    let said = looking.run(&query, &[], true, CONNECTING).await.ok()?.value?;
    let by = said.as_str().filter(|by| !by.is_empty())?;
    Some(format!("waits for a lock of {by}: it gives up after 30 s"))
}

/// How long the end of a session is waited for.
const ENDING: Duration = Duration::from_secs(10);

/// What a run has at work in the live database is ended, and all of it goes: in words, where there was something.
pub async fn leave_whole(options: &DatabaseOptions, run: &str) -> Result<Option<String>, Fault> {
    let name = named(options)?;
    let mut session = maintenance(options).await?;
    let mine = format!("application_name LIKE {} AND datname = {}", literal(&format!("lastgreen {run} %")), literal(&name));
    let end = format!("SELECT count(pg_terminate_backend(pid)) AS v FROM pg_stat_activity WHERE {mine} AND pid <> pg_backend_pid()");
    let deadline = Instant::now() + ENDING;
    let mut ended = false;
    let gone = loop {
        match session.run(&end, &[], true, CONNECTING).await {
            Ok(given) if given.value == Some(json!(0)) => break Ok(()),
            Ok(_) if Instant::now() < deadline => ended = true,
            Ok(_) => break Err(wrong("what the run has at work in the database does not end")),
            Err(fault) => break Err(fault),
        }
        sleep(Duration::from_millis(100)).await;
    };
    session.close().await;
    gone?;
    Ok(match (ended, is_restored_by(options, run).await?) {
        (true, false) => Some(format!("pg_restore was ended in {name}: nothing of it is there")),
        (true, true) => Some(format!("pg_restore had just come to its end in {name}")),
        (false, _) => None,
    })
}

/// How an archive goes where it would go.
#[derive(Clone, Debug)]
pub struct Fitting {
    /// What is not in it, and would go.
    pub goes: Vec<String>,
    /// What of it would not be made again, although nothing fails.
    pub left: Vec<String>,
}

/// How an archive goes where it would go, or what keeps it from being restored.
pub type Fits = Result<Fitting, String>;

/// Whether the live database lets an archive be restored in place.
///
/// # Errors
/// Why that cannot be told.
pub async fn fits_in(options: &DatabaseOptions, part: &Part, file: &Path, limit: Duration) -> Result<Fits, Fault> {
    let mut session = open(options).await?;
    let version = server_version(&mut session).await;
    session.close().await;
    fits("psql", &version?).await?;
    let standing = standing(options, file, limit).await?;
    Ok(match standing.against(part) {
        None => Ok(Fitting { goes: standing.goes, left: Vec::new() }),
        Some(against) => Err(against),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_archive_makes_is_read_from_what_it_drops() {
        let script = "--\nSET lock_timeout = 0;\nALTER TABLE IF EXISTS ONLY public.\"My Docs\" DROP CONSTRAINT IF EXISTS a;\n\
            CREATE OR REPLACE VIEW public.v AS\nSELECT\n    NULL::integer AS id;\nDROP VIEW IF EXISTS public.v;\nDROP SEQUENCE IF EXISTS public.s;\n\
            DROP TABLE IF EXISTS public.\"My Docs\";\nDROP TYPE IF EXISTS public.mood;\nDROP FUNCTION IF EXISTS public.f(integer, text);\nDROP PUBLICATION IF EXISTS p;\n\
            DROP USER MAPPING IF EXISTS FOR public SERVER s;\nDROP SERVER IF EXISTS s;\n\
            DROP SCHEMA IF EXISTS app;\nCREATE SCHEMA app;\nDROP TABLE IF EXISTS in_a_body;\n\
            ALTER PUBLICATION p ADD TABLE ONLY public.\"My Docs\" (id, body) WHERE ((id > 0));\nALTER PUBLICATION p ADD TABLE ONLY public.v;\n\
            ALTER DEFAULT PRIVILEGES FOR ROLE bob IN SCHEMA app GRANT SELECT ON TABLES  TO dave;\n";
        let made = Made::by(script);
        assert_eq!(made.tables, ["public.\"My Docs\""]);
        assert_eq!(made.others, ["public.v", "public.s"]);
        assert_eq!(made.publications, ["p"]);
        assert_eq!((made.servers, made.mappings), (vec!["s".to_string()], vec!["FOR public SERVER s".to_string()]));
        assert_eq!(made.defaults, ["FOR ROLE bob IN SCHEMA app TABLES"]);
        assert_eq!(made.published, ["p public.\"My Docs\"", "p public.v"]);
        assert_eq!((made.types, made.routines), (vec!["public.mood".to_string()], vec!["public.f(integer, text)".to_string()]));
    }

    #[test]
    fn schemas_and_extensions_that_are_there_are_left_as_they_are() {
        let standing = Standing { schemas: ["app".to_string()].into(), extensions: ["vector".to_string()].into(), ..Standing::default() };
        let list = "6; 2615 16385 SCHEMA - app postgres\n7; 2615 16386 SCHEMA - apple postgres\n2; 3079 16400 EXTENSION - vector \n\
            3; 0 0 COMMENT - EXTENSION vector \n215; 1259 16387 TABLE app chunks postgres\n";
        let wanted = ";6; 2615 16385 SCHEMA - app postgres\n7; 2615 16386 SCHEMA - apple postgres\n;2; 3079 16400 EXTENSION - vector \n\
            ;3; 0 0 COMMENT - EXTENSION vector \n215; 1259 16387 TABLE app chunks postgres\n";
        assert_eq!(standing.contents(list), wanted);
    }
}
