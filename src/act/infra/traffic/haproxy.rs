//! HAProxy's runtime API, over TCP or a socket, on one load balancer or several at once. A weight of 0 still lets in whoever
//! is pinned to a server by a cookie: without a share the canary is in maintenance, too. One that only fails its checks may be
//! back in a second, and counts with its weight.

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{NotSet, within};
use crate::observe::reading::{Fault, FaultKind};
use crate::plan::runbook::{ALL, Seen, Switch, Weight};

/// The most of an answer that is read: a table of thousands of servers.
const LARGEST: u64 = 16 << 20;

pub async fn observe(switch: &Switch, addresses: &[String], backend: &str) -> Vec<(String, Result<Seen, Fault>)> {
    let one = |address: &String| {
        let address = address.clone();
        async move {
            let seen = match ask(switch, &address, "show stat").await {
                Ok(table) => read(&table, backend, &switch.stable, &switch.canary),
                Err(fault) => Err(fault),
            };
            (address, seen)
        }
    };
    join_all(addresses.iter().map(one)).await
}

pub async fn set(switch: &Switch, addresses: &[String], backend: &str, weight: Weight) -> Result<String, NotSet> {
    let rest = ALL.saturating_sub(weight);
    let stable = format!("set server {backend}/{} weight {rest}", switch.stable);
    let name = format!("{backend}/{}", switch.canary);
    let state = if weight == 0 { "maint" } else { "ready" };
    let canary = format!("set server {name} weight {weight}; set server {name} state {state}");
    // First the one that gets more, so that there is no moment at which nobody takes any traffic.
    let command = if rest >= weight { format!("{stable}; {canary}") } else { format!("{canary}; {stable}") };
    let answers = join_all(addresses.iter().map(|address| ask(switch, address, &command))).await;
    let (mut wrong, mut touched) = (Vec::new(), false);
    for (address, answer) in addresses.iter().zip(answers) {
        match answer {
            Ok(said) if said.trim().is_empty() => touched = true,
            Ok(said) => {
                touched = true;
                wrong.push(format!("{address}: {}", said.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
            Err(fault) => {
                let not_set = NotSet::of(&fault);
                touched |= not_set.touched;
                wrong.push(format!("{address}: {}", fault.message));
            }
        }
    }
    let done = addresses.len() - wrong.len();
    match wrong.as_slice() {
        [] => Ok(format!("set on {done} load balancer{}", if done == 1 { "" } else { "s" })),
        some => Err(NotSet { message: format!("set on {done} of {}: {}", addresses.len(), some.join("; ")), touched }),
    }
}

async fn ask(switch: &Switch, address: &str, command: &str) -> Result<String, Fault> {
    let unreachable = |e: std::io::Error| Fault::new(FaultKind::Unreachable, format!("cannot reach {address}: {e}"));
    let work = async {
        match address.starts_with('/') {
            true => talk(UnixStream::connect(address).await.map_err(unreachable)?, address, command).await,
            false => talk(TcpStream::connect(address).await.map_err(unreachable)?, address, command).await,
        }
    };
    within(switch.timeout, address, work).await
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: &str, command: &str) -> Result<String, Fault> {
    let broke = |e: std::io::Error| Fault::new(FaultKind::Unreachable, format!("the connection to {address} broke: {e}"));
    stream.write_all(format!("{command}\n").as_bytes()).await.map_err(broke)?;
    let mut text = Vec::new();
    stream.take(LARGEST).read_to_end(&mut text).await.map_err(broke)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    match text.trim() {
        denied if denied.starts_with("Permission denied") => {
            let words = format!("{denied}: the socket needs `level admin`");
            Err(Fault::new(FaultKind::Auth, words))
        }
        _ => Ok(text),
    }
}

/// The canary's share by the table of `show stat`.
fn read(table: &str, backend: &str, stable: &str, canary: &str) -> Result<Seen, Fault> {
    let wrong = |what: String| Fault::new(FaultKind::Garbage, what);
    let mut lines = table.lines();
    let header = lines.next().and_then(|line| line.strip_prefix("# ")).ok_or_else(|| wrong("`show stat` gave no table".into()))?;
    let column = |name: &str| header.split(',').position(|c| c == name).ok_or_else(|| wrong(format!("`show stat` has no column {name}")));
    let (proxy, server, status, weight) = (column("pxname")?, column("svname")?, column("status")?, column("weight")?);
    let mut tracks: [Option<(f64, String)>; 2] = [None, None];
    let (mut others, mut notes) = (0.0, Vec::new());
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or("");
        let name = cell(server);
        if cell(proxy) != backend || ["FRONTEND", "BACKEND"].contains(&name) {
            continue;
        }
        let number = cell(weight).parse::<f64>();
        match [stable, canary].iter().position(|own| *own == name) {
            Some(track) => {
                let number = number.map_err(|_| wrong(format!("{backend}/{name} has the weight `{}`", cell(weight))))?;
                tracks[track] = Some((number, cell(status).to_string()));
            }
            // Somebody else's server takes its part all the same.
            None if takes_traffic(cell(status)) && number.as_ref().is_ok_and(|n| *n > 0.0) => {
                others += number.unwrap_or_default();
                notes.push(format!("{name} takes traffic, too"));
            }
            None => {}
        }
    }
    let [Some((rest, stable_is)), Some((share, canary_is))] = tracks else {
        return Err(wrong(format!("there are no servers {backend}/{stable} and {backend}/{canary}")));
    };
    for (name, status) in [(stable, &stable_is), (canary, &canary_is)] {
        if !takes_traffic(status) {
            notes.push(format!("{name} is {status}"));
        }
    }
    let rest = if takes_traffic(&stable_is) { rest } else { 0.0 } + others;
    let share = if takes_traffic(&canary_is) || canary_is.starts_with("DOWN") { share } else { 0.0 };
    let note = notes.join(", ");
    if rest + share <= 0.0 {
        let why = if note.is_empty() { "both weights are 0".to_string() } else { note };
        return Err(wrong(format!("no server of {backend} takes traffic: {why}")));
    }
    Ok(Seen { note, ..Seen::of(share / (rest + share) * 100.0) })
}

/// `UP 1/3` is on its way down, and still up; `DOWN 1/2` the other way round.
fn takes_traffic(status: &str) -> bool {
    status.starts_with("UP") || status.starts_with("no check")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> String {
        format!("# pxname,svname,qcur,status,weight,act\napp,FRONTEND,,OPEN,,\n{rows}app,BACKEND,0,UP,100,2\n")
    }

    #[test]
    fn the_share_is_what_servers_can_get() {
        let of = |rows: &str| read(&table(rows), "app", "stable", "canary").map(|seen| (seen.weight, seen.note)).map_err(|f| f.message);
        assert_eq!(of("app,stable,0,UP,90,1\napp,canary,0,no check,10,1\n"), Ok((10.0, String::new())));
        assert_eq!(of("app,stable,0,UP,90,1\napp,canary,0,DOWN,10,1\n"), Ok((10.0, "canary is DOWN".into())), "it may be back in a second");
        assert_eq!(of("app,stable,0,UP,100,1\napp,canary,0,MAINT,10,1\n"), Ok((0.0, "canary is MAINT".into())));
        let third = "app,stable,0,UP,90,1\napp,canary,0,UP,10,1\napp,canary2,0,UP,100,1\n";
        assert_eq!(of(third), Ok((5.0, "canary2 takes traffic, too".into())));
        assert_eq!(of("app,stable,0,MAINT,90,1\napp,canary,0,UP 1/3,10,1\n"), Ok((100.0, "stable is MAINT".into())));
        assert_eq!(of("app,stable,0,UP,0,1\napp,canary,0,UP,0,1\n"), Err("no server of app takes traffic: both weights are 0".into()));
        assert!(of("app,stable,0,UP,90,1\n").is_err());
        assert!(of("app,stable,0,UP,90,1\napp,canary,0,UP,x,1\n").is_err());
        assert!(read("unknown command", "app", "stable", "canary").is_err());
    }
}
