//! The change of names of PostgreSQL databases: at every moment the one of the live name is the one before or the whole
//! restored one, and an attempt that was cut off is brought to its end before anything else is asked.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::server::{CONNECTING, identifier, maintenance, named, wrong};
use super::{Restored, TAG, Taken, tag};
use crate::base::endpoint::DatabaseOptions;
use crate::observe::reading::Fault;
use crate::observe::source::{Session, literal};

/// How long sessions are ended again and again before the names are changed.
const CLEARING: Duration = Duration::from_secs(20);
/// Names on the server are cut behind this.
const LONGEST: usize = 63;
fn cut(name: &str, behind: &str) -> String {
    let room = LONGEST.saturating_sub(behind.len());
    let end = name.floor_char_boundary(room);
    format!("{}{behind}", &name[..end])
}

/// What names are changed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Restore,
    /// What was there before gets its name back.
    Back,
    /// What was restored, and taken back, gets it again.
    Again,
}

/// The names that a restore goes through.
#[derive(Clone)]
pub(super) struct DatabaseNames {
    pub(super) live: String,
    /// Where it is restored into.
    pub(super) new: String,
    /// What was live before.
    pub(super) old: String,
    /// What was restored, once that was taken back.
    pub(super) undone: String,
    pub(super) run: String,
}

impl DatabaseNames {
    pub(super) fn of(options: &DatabaseOptions, run: &str) -> Result<DatabaseNames, Fault> {
        let live = named(options)?;
        let tag = tag(run);
        let beside = |what: &str| cut(&live, &format!("_{what}_{tag}"));
        Ok(DatabaseNames { new: beside("restore"), old: beside("before"), undone: beside("undone"), live, run: run.into() })
    }

    /// The same as a change of names goes through them: what gets the live name, and what the one of that name is called then.
    fn of_change(&self, change: Change) -> DatabaseNames {
        match change {
            Change::Restore => self.clone(),
            Change::Back => DatabaseNames { new: self.old.clone(), old: self.undone.clone(), ..self.clone() },
            Change::Again => DatabaseNames { new: self.undone.clone(), ..self.clone() },
        }
    }

    pub(super) fn done(&self) -> String {
        format!("{}: the restored one has its name, the one before is {}", self.live, self.old)
    }
}

/// Whether a name is another one only in what tells the runs apart.
pub(super) fn is_called(name: &str, like: &str) -> bool {
    let of = |text: &str| text.len().checked_sub(TAG).and_then(|at| text.split_at_checked(at)).map(|(a, b)| (a.to_string(), b.to_string()));
    let (Some((name, tag)), Some((like, _))) = (of(name), of(like)) else { return false };
    name == like && tag.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
}

async fn exists(session: &mut Session, name: &str) -> Result<bool, Fault> {
    let query = format!("SELECT count(*) AS v FROM pg_database WHERE datname = {}", literal(name));
    Ok(session.run(&query, &[], true, CONNECTING).await?.value == Some(json!(1)))
}

pub(super) async fn say(session: &mut Session, statement: String) -> Result<(), Fault> {
    session.run(&statement, &[], false, CLEARING).await.map(drop)
}

/// Every name is said with its schema, as archives have it; and a query that takes longer to compile than to do is not compiled.
pub(super) async fn as_in_archives(session: &mut Session) -> Result<(), Fault> {
    for setting in ["SET search_path = ''", "SET jit = off"] {
        say(session, setting.into()).await?;
    }
    Ok(())
}

async fn is_closed(session: &mut Session, name: &str) -> Result<bool, Fault> {
    let query = format!("SELECT datallowconn AS v FROM pg_database WHERE datname = {}", literal(name));
    Ok(session.run(&query, &[], true, CONNECTING).await?.value == Some(json!(false)))
}

/// Whether somebody may come in is part of how it was found: a runner that was killed may have left it closed.
pub(super) async fn open_door(session: &mut Session, name: &str) -> Result<(), Fault> {
    if is_closed(session, name).await? {
        say(session, format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(name))).await?;
    }
    Ok(())
}

/// Which databases of three names there are.
pub(super) async fn there(session: &mut Session, names: [&str; 3]) -> Result<(bool, bool, bool), Fault> {
    let [a, b, c] = names;
    Ok((exists(session, a).await?, exists(session, b).await?, exists(session, c).await?))
}

/// Held while names are changed: in the middle of that nobody has a database.
static CHANGING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub async fn unbroken() {
    drop(CHANGING.lock().await);
}

/// Does what must not be cut in two: it goes on to its end when nobody waits for it any more.
async fn whole<F>(options: &DatabaseOptions, change: impl FnOnce(Session) -> F) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let changing = change(maintenance(options).await?);
    let held = CHANGING.lock().await;
    let work = tokio::spawn(async move {
        let _held = held;
        changing.await
    });
    work.await.unwrap_or_else(|e| Err(wrong(format!("ended in a fault of ours: {e}"))))
}

/// What an attempt before this one has left of the change of names is brought to its end before anything else is asked:
/// between the two nobody has a database.
pub async fn taken_up(options: &DatabaseOptions, taken: &Taken<'_>) -> Result<Option<Restored>, Fault> {
    let names = DatabaseNames::of(options, taken.run)?;
    let mut session = maintenance(options).await?;
    let looked = async {
        let there = there(&mut session, [&names.live, &names.new, &names.old]).await?;
        if there.0 {
            open_door(&mut session, &names.live).await?;
        }
        if there == (true, false, true) {
            open_door(&mut session, &names.old).await?;
        }
        Ok(there)
    };
    let looked = looked.await;
    session.close().await;
    match looked? {
        (true, false, true) => {}
        (false, true, true) => finish_whole(options, &names).await?,
        _ => return Ok(None),
    }
    Ok(Some(Restored::Done(names.done())))
}

/// What a change of names that was cut off has left, for whoever goes no further: somebody has the live name, and may be gone in to. In
/// words what was done; `None`: nothing was left so.
pub async fn leave_whole(options: &DatabaseOptions, run: &str, change: Change) -> Result<Option<String>, Fault> {
    let half = DatabaseNames::of(options, run)?.of_change(change);
    let mut session = maintenance(options).await?;
    let there = there(&mut session, [&half.live, &half.new, &half.old]).await;
    let left = match there {
        // In the middle of it: nobody had the name.
        Ok((false, true, true)) => finish_whole(options, &half).await.map(|()| Some(half.done())),
        // The restored one never got it.
        Ok((false, true, false)) if change == Change::Back => get_back(&mut session, &half).await.map(Some),
        // Of a door that somebody else has closed nothing is known here.
        Ok((true, new, old)) if new || old => let_in(&mut session, &half.live).await,
        Ok(_) => Ok(None),
        Err(fault) => Err(fault),
    };
    session.close().await;
    left
}

/// What was there before has its name again, without anything in between.
async fn get_back(session: &mut Session, names: &DatabaseNames) -> Result<String, Fault> {
    say(session, format!("ALTER DATABASE {} RENAME TO {}", identifier(&names.new), identifier(&names.live))).await?;
    open_door(session, &names.live).await?;
    Ok(format!("{} is again what it was", names.live))
}

async fn let_in(session: &mut Session, name: &str) -> Result<Option<String>, Fault> {
    if !is_closed(session, name).await? {
        return Ok(None);
    }
    open_door(session, name).await?;
    Ok(Some(format!("{name} was closed, and is open again")))
}

async fn finish_whole(options: &DatabaseOptions, names: &DatabaseNames) -> Result<(), Fault> {
    let names = names.clone();
    whole(options, |mut session| async move {
        let done = finish(&mut session, &names).await;
        session.close().await;
        done
    })
    .await
}

pub(super) async fn change_names_whole(options: &DatabaseOptions, names: &DatabaseNames) -> Result<(), Fault> {
    let (names, options_of) = (names.clone(), options.clone());
    whole(options, |mut session| async move {
        let done = change_names(&mut session, &names).await;
        session.close().await;
        if done.is_err() {
            mend(&options_of, &names).await;
        }
        done
    })
    .await
}

/// Whatever went wrong: somebody has the live name, and whoever has it is open. By a session of its own, because the one before
/// may be what went wrong.
async fn mend(options: &DatabaseOptions, names: &DatabaseNames) {
    for _ in 0..MENDING {
        if let Ok(mut session) = maintenance(options).await {
            let mended = async {
                if there(&mut session, [&names.live, &names.new, &names.old]).await? == (false, true, true) {
                    let back = format!("ALTER DATABASE {} RENAME TO {}", identifier(&names.old), identifier(&names.live));
                    say(&mut session, back).await?;
                }
                open_door(&mut session, &names.new).await?;
                open_door(&mut session, &names.live).await
            };
            let mended = mended.await;
            session.close().await;
            if mended.is_ok() {
                return;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// How often it is tried to mend.
const MENDING: usize = 20;

/// Closes both doors, ends who is inside, changes both names, and opens: in between nobody is waited for.
async fn change_names(session: &mut Session, names: &DatabaseNames) -> Result<(), Fault> {
    for name in [&names.new, &names.live] {
        say(session, format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", identifier(name))).await?;
        clear(session, name).await?;
    }
    say(session, format!("ALTER DATABASE {} RENAME TO {}", identifier(&names.live), identifier(&names.old))).await?;
    finish(session, names).await
}

async fn finish(session: &mut Session, names: &DatabaseNames) -> Result<(), Fault> {
    clear(session, &names.new).await?;
    say(session, format!("ALTER DATABASE {} RENAME TO {}", identifier(&names.new), identifier(&names.live))).await?;
    open_door(session, &names.live).await?;
    // What was before can be looked into.
    open_door(session, &names.old).await
}

/// Ends every session in a database, also those that come while it is done. Its vacuum ends by itself when it is renamed, and is
/// nobody's: what it is called only some may see.
async fn clear(session: &mut Session, name: &str) -> Result<(), Fault> {
    let deadline = Instant::now() + CLEARING;
    let query = format!(
        "SELECT count(pg_terminate_backend(pid)) AS v FROM pg_stat_activity \
         WHERE datname = {} AND pid <> pg_backend_pid() \
         AND usesysid IS NOT NULL AND backend_type IS DISTINCT FROM 'autovacuum worker'",
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

/// What a restored database says of itself, so that everybody on every host knows whose it is.
const RESTORED_BY: &str = "restored by lastgreen run ";

/// Says in a database by which run it was restored, or that it is not known of any, behind what somebody else says `of` one. Where that
/// is not allowed, it goes without.
pub(super) async fn mark(session: &mut Session, name: &str, of: &str, run: Option<&str>) {
    let said = async {
        let own = described(session, of).await?.0;
        say(session, comment(name, &own, run)).await
    };
    if let Err(fault) = said.await {
        log::info!("{name} does not say by which run it was restored: {}", fault.message);
    }
}

/// The statement that says by which run a database was restored, or that it is not known of any, behind what else is said of it.
pub(super) fn comment(name: &str, own: &str, run: Option<&str>) -> String {
    let mark = run.map_or_else(String::new, |run| format!("{RESTORED_BY}{run}"));
    let words = [own, &mark].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    let words = if words.is_empty() { "NULL".to_string() } else { literal(&words) };
    format!("COMMENT ON DATABASE {} IS {words}", identifier(name))
}

/// What is said of a database: by others, and by which run it was restored.
pub(super) async fn described(session: &mut Session, name: &str) -> Result<(String, Option<String>), Fault> {
    let query = format!("SELECT shobj_description(oid, 'pg_database') AS v FROM pg_database WHERE datname = {}", literal(name));
    let said = session.run(&query, &[], true, CONNECTING).await?.value;
    Ok(read_comment(said.as_ref().and_then(Json::as_str).unwrap_or_default()))
}

fn read_comment(text: &str) -> (String, Option<String>) {
    match text.rfind(RESTORED_BY) {
        Some(at) => (text[..at].trim_end().to_string(), Some(text[at + RESTORED_BY.len()..].trim().to_string())),
        None => (text.to_string(), None),
    }
}

/// Whether a database says that it was restored by a run.
pub(super) async fn is_restored_by(options: &DatabaseOptions, run: &str) -> Result<bool, Fault> {
    let name = named(options)?;
    let mut session = maintenance(options).await?;
    let said = marked(&mut session, &name).await;
    session.close().await;
    Ok(said?.as_deref() == Some(run))
}

/// Says of a live database by which run it was restored, where that is no more the one that has restored it last.
pub(super) async fn mark_live(options: &DatabaseOptions, run: Option<&str>) {
    if let (Ok(name), Ok(mut session)) = (named(options), maintenance(options).await) {
        mark(&mut session, &name, &name, run).await;
        session.close().await;
    }
}

/// The run that a database says it was restored by; nothing where it says nothing of ours.
async fn marked(session: &mut Session, name: &str) -> Result<Option<String>, Fault> {
    Ok(described(session, name).await?.1)
}

fn restored_since(live: &str, run: &str) -> Fault {
    wrong(format!(
        "{live} was restored by run {run} since: that has to be taken back first, where that run is known (lastgreen rollback undo {run})"
    ))
}

/// What is taken back is what this run restored, and nothing from below another's.
async fn is_in_use(session: &mut Session, names: &DatabaseNames) -> Result<(), Fault> {
    match marked(session, &names.live).await? {
        Some(run) if run != names.run => Err(restored_since(&names.live, &run)),
        _ => Ok(()),
    }
}

/// What is brought back goes over nothing that was restored later.
async fn is_not_of_a_later_run(session: &mut Session, names: &DatabaseNames) -> Result<(), Fault> {
    match marked(session, &names.live).await? {
        Some(run) if run > names.run => Err(restored_since(&names.live, &run)),
        _ => Ok(()),
    }
}

/// Whether the way back, or back again, is free: before any part of it is gone.
pub(super) async fn may_change(options: &DatabaseOptions, names: &DatabaseNames, again: bool) -> Result<(), Fault> {
    let mut session = maintenance(options).await?;
    let (beside, aside) = if again { (&names.undone, &names.old) } else { (&names.old, &names.undone) };
    let looked = async {
        match (there(&mut session, [&names.live, beside, aside]).await?, again) {
            ((true, true, false), false) => is_in_use(&mut session, names).await,
            ((true, true, false), true) => is_not_of_a_later_run(&mut session, names).await,
            _ => Ok(()),
        }
    };
    let looked = looked.await;
    session.close().await;
    looked
}

/// The one before gets its name back; what was restored is kept beside it.
pub async fn undo(options: &DatabaseOptions, names: &DatabaseNames, restored: bool) -> Result<String, Fault> {
    let aside = &names.undone;
    let mut session = maintenance(options).await?;
    let there = there(&mut session, [&names.live, &names.old, aside]).await?;
    let back = names.of_change(Change::Back);
    let done = format!("{} is again what it was; what was restored is {aside}", names.live);
    let result = match there {
        (true, true, false) => match is_in_use(&mut session, names).await {
            Ok(()) => change_names_whole(options, &back).await.map(|()| done),
            Err(fault) => Err(fault),
        },
        (false, true, true) => finish_whole(options, &back).await.map(|()| done),
        (true, false, true) => open_door(&mut session, &names.live).await.map(|()| done),
        // Between the two renames of the restore: the restored one never got the name.
        (false, true, false) => get_back(&mut session, &back).await,
        (true, false, false) if restored => {
            Err(wrong(format!("{} was restored, and {} is not there any more: there is nothing to go back to", names.live, names.old)))
        }
        (true, false, false) => {
            // It never came to the change of names.
            open_door(&mut session, &names.live).await?;
            say(&mut session, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&names.new)))
                .await
                .map(|()| format!("{} was never changed", names.live))
        }
        _ => Err(by_hand([&names.live, &names.old, aside])),
    };
    // Whatever it was, whoever has the name is open.
    let _ = open_door(&mut session, &names.live).await;
    session.close().await;
    result
}

/// What was restored, and taken back since, gets the name again: everything is as it was after the restore.
pub async fn redo(options: &DatabaseOptions, names: &DatabaseNames) -> Result<String, Fault> {
    let mut session = maintenance(options).await?;
    let there = there(&mut session, [&names.live, &names.undone, &names.old]).await?;
    let again = names.of_change(Change::Again);
    let result = match there {
        (true, true, false) => match is_not_of_a_later_run(&mut session, names).await {
            Ok(()) => change_names_whole(options, &again).await,
            Err(fault) => Err(fault),
        },
        (false, true, true) => finish_whole(options, &again).await,
        (true, false, true) => open_door(&mut session, &names.live).await,
        (true, false, false) => {
            Err(wrong(format!("{} is not there any more: there is nothing to bring back into {}", names.undone, names.live)))
        }
        _ => Err(by_hand([&names.live, &names.undone, &names.old])),
    };
    // Whatever it was, whoever has the name is open.
    let _ = open_door(&mut session, &names.live).await;
    session.close().await;
    result.map(|()| format!("{} is again what was restored; what it was in between is {}", names.live, names.old))
}

fn by_hand([a, b, c]: [&str; 3]) -> Fault {
    wrong(format!("which of {a}, {b} and {c} is which has to be looked at by hand"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_of_a_database_stays() {
        for own in ["", "the team's", "two\nlines"] {
            for run in [None, Some("01A")] {
                let said = comment("d", own, run);
                let text = said.split_once(" IS ").expect("a comment").1.trim_start_matches('E').trim_matches('\'').replace("''", "'");
                let read = read_comment(if text == "NULL" { "" } else { &text });
                assert_eq!(read, (own.to_string(), run.map(str::to_string)), "{said}");
            }
        }
    }

    #[test]
    fn what_a_restore_has_left_is_known_by_its_name() {
        let like = "ragdb_before_00000000";
        assert!(is_called("ragdb_before_h620kdfq", like));
        for other in ["ragdb", "ragdb_before_", "ragdb_before_H620KDFQ", "ragdb_before_h620-dfq", "xragdb_before_h620kdfq", "", "bücher"] {
            assert!(!is_called(other, like), "{other}");
        }
    }
}
