//! What a role needs on a PostgreSQL to restore a database there: looked at beforehand, so that nothing is begun that would fail.

use serde::Deserialize;

use super::server::{CONNECTING, database_of, fits, maintenance, open, server_version, wrong};
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

/// What a role may do with a database, and what speaks against it now.
#[derive(Debug, Default, Deserialize)]
struct Rights {
    #[serde(rename = "super")]
    is_super: bool,
    makes: bool,
    owns: bool,
    ends: bool,
    open: bool,
    /// Sessions of superusers.
    above: Option<String>,
    prepared: Option<String>,
    /// Subscriptions that are at work, and that it cannot end.
    applying: Option<String>,
    stays: Option<String>,
    /// How many connections there may be, where that is too few.
    most: Option<i64>,
}

impl Rights {
    /// What keeps a database from being restored, if anything.
    fn against(&self, swaps: bool, hidden: Option<&str>) -> Option<(FaultKind, String)> {
        let auth = |words: String| Some((FaultKind::Auth, words));
        let busy = |words: String| Some((FaultKind::Unavailable, words));
        if !self.open {
            return busy("it takes no connections: a restore was cut off while it had closed it (lastgreen runs; resume it, or abort it with --undo)".into());
        }
        match (&self.applying, &self.above, &self.prepared) {
            (Some(applying), ..) if swaps => {
                return auth(format!("a subscription is at work in it, which this role cannot end: ALTER SUBSCRIPTION {applying} DISABLE"));
            }
            (_, Some(above), _) if swaps => {
                return auth(format!("sessions of a superuser are connected, which this role cannot end: {above}"));
            }
            (.., Some(prepared)) if swaps => {
                return busy(format!("a transaction that is prepared holds it: {prepared} (COMMIT PREPARED or ROLLBACK PREPARED)"));
            }
            _ => {}
        }
        if let Some(most) = self.most {
            return busy(format!("{most} connections at most leave none for the programs: ALTER DATABASE … CONNECTION LIMIT …"));
        }
        if let Some(hidden) = hidden {
            return auth(format!(
                "no snapshot of it can be taken, because a policy hides rows of {hidden} from this role (ALTER ROLE … BYPASSRLS)"
            ));
        }
        match (self.makes || !swaps, self.owns, self.ends || !swaps) {
            (false, ..) => auth("this role makes no databases: ALTER ROLE … CREATEDB".into()),
            (_, false, _) => auth("this role does not own it: ALTER DATABASE … OWNER TO …".into()),
            (.., false) => auth("this role may not end the sessions of others: GRANT pg_signal_backend TO …".into()),
            _ => None,
        }
    }
}

/// Whether a restore would be allowed, and which programs it would be done with. Nothing is touched.
pub async fn may_restore(store: &DatabaseStore, settings: &SnapshotSettings) -> Result<MayRestore, Fault> {
    let mut session = maintenance(&store.options).await?;
    let name = database_of(&store.options).unwrap_or_default();
    let query = include_str!("rights.sql").replace("$name", &literal(&name));
    let looked = async {
        let version = server_version(&mut session).await?;
        Ok::<_, Fault>((version, session.run(&query, &[], true, CONNECTING).await?))
    };
    let looked = looked.await;
    session.close().await;
    let (version, given) = looked?;
    fits("pg_restore", &version).await?;
    fits("pg_dump", &version).await?;
    let row = given.first.into_iter().next().ok_or_else(|| {
        wrong(format!(
            "there is no database {name}; where a restore was cut off between two names, lastgreen resume, or abort, gives it its own"
        ))
    })?;
    let rights: Rights = web_json(row.to_string().as_bytes())?;
    let swaps = settings.restore_database == DatabaseStrategy::Swap;
    // Into one that is closed nobody can look.
    let foreign = if rights.is_super || !rights.open { Foreign::default() } else { foreign(store, swaps).await? };
    if let Some((kind, words)) = rights.against(swaps, foreign.hidden.as_deref()) {
        return Err(Fault::new(kind, format!("{name}: {words}")));
    }
    Ok(MayRestore {
        words: format!("{name}: may be restored, with the programs of {version} or newer"),
        stays: rights.stays.filter(|_| swaps).map(|stays| format!("{name}: stays with what is kept beside, to be made again: {stays}")),
        later: foreign
            .things
            .map(|things| format!("{name}: a snapshot of now could not be brought back, because this role cannot make again {things}")),
    })
}

/// What a role cannot make again, and of which tables it does not see all rows.
#[derive(Debug, Default, Deserialize)]
struct Foreign {
    things: Option<String>,
    hidden: Option<String>,
}

async fn foreign(store: &DatabaseStore, swaps: bool) -> Result<Foreign, Fault> {
    let mut session = open(&store.options).await?;
    let query = include_str!("foreign.sql").replace("$swaps", if swaps { "true" } else { "false" });
    let told = session.run(&query, &[], true, CONNECTING).await;
    session.close().await;
    told?.value.map_or_else(|| Ok(Foreign::default()), |told| web_json(told.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_against_a_restore_is_told_one_by_one() {
        let all = || Rights { makes: true, owns: true, ends: true, open: true, ..Rights::default() };
        let some = |words: &str| Some(words.to_string());
        // By what is so, against a swap, against a restore in place.
        let table: Vec<(Rights, &str, &str)> = vec![
            (all(), "", ""),
            (Rights { open: false, ..all() }, "takes no connections", "takes no connections"),
            (Rights { applying: some("s"), above: some("postgres (7)"), ..all() }, "ALTER SUBSCRIPTION s DISABLE", ""),
            (Rights { above: some("postgres (7)"), ..all() }, "sessions of a superuser", ""),
            (Rights { prepared: some("x"), ..all() }, "transaction that is prepared", ""),
            (Rights { most: Some(2), ..all() }, "2 connections at most", "2 connections at most"),
            (Rights { makes: false, ..all() }, "CREATEDB", ""),
            (Rights { owns: false, ..all() }, "does not own it", "does not own it"),
            (Rights { ends: false, ..all() }, "pg_signal_backend", ""),
        ];
        for (rights, swapped, in_place) in table {
            for (swaps, wanted) in [(true, swapped), (false, in_place)] {
                let told = rights.against(swaps, None).map(|(_, words)| words).unwrap_or_default();
                assert!(told.contains(wanted) && told.is_empty() == wanted.is_empty(), "{rights:?} {swaps}: {told}");
            }
        }
        assert!(all().against(false, Some("t")).is_some_and(|(_, words)| words.contains("hides rows of t")));
    }
}
