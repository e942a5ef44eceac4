//! Who is at the keyboard: the person who logged in, also behind `sudo`, and where the SSH connection came from.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::plan::runbook::Operator;

/// The operator, as far as the system knows.
pub fn operator() -> Operator {
    let uid = Uid::effective();
    let account = name_of(uid);
    let person = person(uid).unwrap_or_else(|| account.clone());
    Operator { acting_as: (person != account).then_some(account), user: person, host: host(), ssh: ssh_peer() }
}

pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Who logged in, where that is another account. The kernel's record of the login comes first; what `sudo` says counts
/// only for root, because anybody can set a variable.
fn person(uid: Uid) -> Option<String> {
    let login: Option<u32> = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    if let Some(login) = login.filter(|login| *login != u32::MAX && *login != uid.as_raw()) {
        return Some(name_of(Uid::from_raw(login)));
    }
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    sudo.filter(|name| User::from_name(name).is_ok_and(|user| user.is_some()))
}

/// The groups of a user, by name.
pub fn groups(user: &str) -> Vec<String> {
    let Ok(Some(user)) = User::from_name(user) else { return Vec::new() };
    let Ok(name) = std::ffi::CString::new(user.name) else { return Vec::new() };
    let ids: Vec<Gid> = getgrouplist(&name, user.gid).unwrap_or_default();
    ids.into_iter().filter_map(|gid| Group::from_gid(gid).ok().flatten()).map(|group| group.name).collect()
}

/// Where the connection came from: our own environment, or that of whoever started us (`sudo` takes it away).
fn ssh_peer() -> Option<String> {
    let first = |text: &str| text.split_whitespace().next()?.parse::<std::net::IpAddr>().ok().map(|address| address.to_string());
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        return first(&connection);
    }
    let mut pid = std::os::unix::process::parent_id();
    for _ in 0..8 {
        if pid <= 1 {
            return None;
        }
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let found = environment.split(|b| *b == 0).find_map(|pair| pair.strip_prefix(b"SSH_CONNECTION="));
        if let Some(found) = found {
            return first(&String::from_utf8_lossy(found));
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        pid = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
    }
    None
}
