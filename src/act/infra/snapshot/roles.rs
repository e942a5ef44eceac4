//! Which roles an archive needs on the server where it is brought back: what it makes gets its owners again, and its grants; and some of it
//! only some may make.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::names::as_in_archives;
use super::privileged::{may_need, needs};
use super::server::{open, program};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::{Fault, FaultKind};
use crate::observe::source::{literal, web_json};
use crate::plan::runbook::DatabaseStrategy;

/// What is listed of an archive, as the server is asked about it.
#[derive(Debug, Default, PartialEq)]
struct Listed {
    /// The lines that end with an owner.
    owned: Vec<String>,
    extensions: Vec<String>,
    /// Who is granted something, quoted as it must be.
    granted: Vec<String>,
    /// In whose name something is granted: only a superuser does that.
    granting: Vec<String>,
    /// What has no owner, and only a superuser makes.
    unowned: Vec<String>,
}

/// Kinds of these.
const UNOWNED: [&str; 3] = ["TEXT SEARCH PARSER ", "TEXT SEARCH TEMPLATE ", "ACCESS METHOD "];

impl Listed {
    /// By the table of contents of an archive, and by the statements that grant what it grants.
    fn of(contents: &str, grants: &str) -> Listed {
        let owned = contents.lines().filter(|line| !line.starts_with(';') && !line.ends_with(' ') && !line.is_empty());
        let mut listed = Listed { owned: owned.map(str::to_string).collect(), ..Listed::default() };
        let extension = |line: &str| line.split_once(" EXTENSION - ").map(|(_, name)| name.trim_end().to_string());
        listed.extensions = contents.lines().filter(|line| line.ends_with(' ')).filter_map(extension).collect();
        let body = |line: &str| line.splitn(4, ' ').nth(3).map(|body| body.trim_end().to_string());
        let unowned = contents.lines().filter(|line| line.ends_with(' ')).filter_map(body);
        listed.unowned = unowned.filter(|body| UNOWNED.iter().any(|kind| body.starts_with(kind))).map(|body| body.to_lowercase()).collect();
        for line in grants.lines().filter_map(|line| line.strip_suffix(';')) {
            if let Some(role) = line.strip_prefix("SET SESSION AUTHORIZATION ") {
                listed.granting.extend((role != "DEFAULT").then(|| role.to_string()));
            } else if line.starts_with("CREATE POLICY ") {
                let (_, behind) = line.split_once(" TO ").unwrap_or_default();
                let roles = behind.split(" USING (").next().and_then(|roles| roles.split(" WITH CHECK (").next()).unwrap_or_default();
                let named = |role: &&str| !["", "PUBLIC"].contains(role);
                listed.granted.extend(roles.split(", ").map(str::trim).filter(named).map(str::to_string));
            } else if let Some((what, role)) = line.rsplit_once(" TO ")
                && (what.starts_with("GRANT ") || what.starts_with("ALTER DEFAULT PRIVILEGES "))
            {
                let role = role.strip_suffix(" WITH GRANT OPTION").unwrap_or(role);
                listed.granted.extend((role != "PUBLIC").then(|| role.to_string()));
            }
        }
        listed.granted.sort_unstable();
        listed.granted.dedup();
        listed
    }
}

/// The line of a table of contents that grants something, or says for whom a policy is.
fn grants(line: &str) -> bool {
    let mut words = line.split(' ').skip(3);
    match words.next() {
        Some("ACL" | "POLICY") => true,
        Some("DEFAULT") => words.next() == Some("ACL"),
        _ => false,
    }
}

/// The statements of the chosen lines of a table of contents.
async fn statements(file: &str, contents: &str, chosen: fn(&str) -> bool, limit: Duration) -> Result<String, Fault> {
    let local = |e: std::io::Error| Fault::new(FaultKind::Local, e.to_string());
    let list = tempfile::NamedTempFile::new().map_err(local)?;
    let lines: Vec<&str> = contents.lines().filter(|line| chosen(line)).collect();
    std::fs::write(list.path(), lines.join("\n")).map_err(local)?;
    let list = format!("--use-list={}", list.path().display());
    program(&["pg_restore", "--schema-only", &list, "--file=-", file], Vec::new(), limit).await
}

/// Whoever is no superuser gives something only to a role that may make things where it is: in a new database that is whoever
/// owns the schema, before anything is granted.
const LACKS: &str = include_str!("lacks.sql");

/// What whoever restores an archive cannot make again.
#[derive(Deserialize)]
pub struct Lacking {
    /// What keeps it from being restored, in words.
    pub lacks: Option<String>,
    /// What is only warned of.
    pub left: Vec<String>,
}

/// Looks and touches nothing.
pub async fn lacking(options: &DatabaseOptions, file: &Path, strategy: DatabaseStrategy, limit: Duration) -> Result<Lacking, Fault> {
    let file = file.display().to_string();
    let contents = program(&["pg_restore", "--list", &file], Vec::new(), limit).await?;
    let listed = Listed::of(&contents, &statements(&file, &contents, grants, limit).await?);
    let needs = needs(&statements(&file, &contents, may_need, limit).await?);
    let of = |names: &[String]| literal(&json!(names).to_string());
    let query = LACKS
        .replace("$swaps", if strategy == DatabaseStrategy::Swap { "true" } else { "false" })
        .replace("$owned", &of(&listed.owned))
        .replace("$extensions", &of(&listed.extensions))
        .replace("$granted", &of(&listed.granted))
        .replace("$granting", &of(&listed.granting))
        .replace("$unowned", &of(&listed.unowned))
        .replace("$needs", &literal(&json!(needs).to_string()));
    let mut session = open(options).await?;
    let told = async {
        as_in_archives(&mut session).await?;
        let grantable = "SELECT current_setting('server_version_num')::int >= 150000 AS v";
        let grantable = session.run(grantable, &[], true, limit).await?.value == Some(json!(true));
        let query = query.replace("$settable", if grantable { "has_parameter_privilege(name, 'SET')" } else { "false" });
        session.run(&query, &[], true, limit).await
    };
    let told = told.await;
    session.close().await;
    web_json(told?.value.unwrap_or_default().to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_grants_are_read_from_an_archive() {
        let contents = ";\n; Archive created at 2026-11-28\n2; 3079 16400 EXTENSION - vector \n3; 3601 16400 TEXT SEARCH PARSER public p \n215; 1259 16387 TABLE app My Docs the owner\n\
            3; 0 0 ACL app TABLE chunks alice\n4; 826 16390 DEFAULT ACL app DEFAULT PRIVILEGES FOR TABLES bob\n216; 1259 1 TABLE DATA public ACL bob\n";
        let acl: Vec<&str> = contents.lines().filter(|line| grants(line)).collect();
        assert_eq!(acl.len(), 2, "{acl:?}");
        let script = "SET check_function_bodies = false;\nREVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT ALL ON SCHEMA public TO PUBLIC;\n\
            GRANT SELECT ON TABLE app.chunks TO \"the reader\" WITH GRANT OPTION;\nSET SESSION AUTHORIZATION carol;\n\
            GRANT SELECT ON TABLE app.\"a TO b\" TO dave;\nRESET SESSION AUTHORIZATION;\n\
            ALTER DEFAULT PRIVILEGES FOR ROLE bob IN SCHEMA app GRANT SELECT ON TABLES  TO dave;\n\
            CREATE POLICY p ON app.chunks FOR SELECT TO erin, \"the reader\" USING ((id > 0));\nCREATE POLICY q ON app.chunks USING (true);\n";
        let listed = Listed::of(contents, script);
        assert_eq!((listed.owned.len(), &listed.extensions), (4, &vec!["vector".to_string()]), "{listed:?}");
        assert_eq!(listed.unowned, ["text search parser public p"]);
        assert_eq!(
            (listed.granted, listed.granting),
            (vec!["\"the reader\"".to_string(), "dave".into(), "erin".into()], vec!["carol".to_string()])
        );
    }
}
