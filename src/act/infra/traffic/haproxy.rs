//! HAProxy's runtime API, over TCP or a socket, on one load balancer or several at once. What counts is what servers that
//! are up can get: the weight of one that is down brings it nothing.

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
    let canary = format!("set server {backend}/{} weight {weight}", switch.canary);
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
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or("");
        if cell(proxy) != backend {
            continue;
        }
        let Some(track) = [stable, canary].iter().position(|name| *name == cell(server)) else { continue };
        let number = cell(weight).parse().map_err(|_| wrong(format!("{backend}/{} has the weight `{}`", cell(server), cell(weight))))?;
        tracks[track] = Some((number, cell(status).to_string()));
    }
    let [Some(stable_track), Some(canary_track)] = tracks else {
        return Err(wrong(format!("there are no servers {backend}/{stable} and {backend}/{canary}")));
    };
    let mut notes = Vec::new();
    let mut effective = |name: &str, (weight, status): (f64, String)| {
        if takes_traffic(&status) {
            return weight;
        }
        notes.push(format!("{name} is {status}"));
        0.0
    };
    let (rest, share) = (effective(stable, stable_track), effective(canary, canary_track));
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
    fn what_is_down_gets_nothing() {
        let of = |rows: &str| read(&table(rows), "app", "stable", "canary").map(|seen| (seen.weight, seen.note)).map_err(|f| f.message);
        assert_eq!(of("app,stable,0,UP,90,1\napp,canary,0,no check,10,1\n"), Ok((10.0, String::new())));
        assert_eq!(of("app,stable,0,UP,90,1\napp,canary,0,DOWN,10,1\n"), Ok((0.0, "canary is DOWN".into())));
        assert_eq!(of("app,stable,0,MAINT,90,1\napp,canary,0,UP 1/3,10,1\n"), Ok((100.0, "stable is MAINT".into())));
        assert_eq!(of("app,stable,0,UP,0,1\napp,canary,0,UP,0,1\n"), Err("no server of app takes traffic: both weights are 0".into()));
        assert!(of("app,stable,0,UP,90,1\n").is_err());
        assert!(of("app,stable,0,UP,90,1\napp,canary,0,UP,x,1\n").is_err());
        assert!(read("unknown command", "app", "stable", "canary").is_err());
    }
}
