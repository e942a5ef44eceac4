//! The switch of a canary's traffic: where it is, how it is turned and how it is read, and what was observed of it. What a
//! weight comes to in calls is said here; turning it is the business of `act/infra`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::millis;
use super::template::render;
use crate::base::clock::Stamp;
use crate::base::endpoint::Endpoint;

/// A canary's share of the traffic, in whole per cent.
pub type Weight = u8;

/// The most there is.
pub const ALL: Weight = 100;

/// How far an observed share may be from the wanted one, in per cent, and still agree: switches round. None of it is none.
const AGREES: f64 = 0.5;
const NONE: f64 = 1e-9;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// What the tracks are called where the switch is.
    pub stable: String,
    pub canary: String,
    /// How long until what is observed has to agree with what was asked for.
    #[serde(with = "millis")]
    pub within: Duration,
    /// How long one answer may take.
    #[serde(with = "millis")]
    pub timeout: Duration,
    pub kind: SwitchKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchKind {
    /// A request whose body is a template, and a JSON pointer to read back.
    Http { endpoint: Endpoint, method: String, path: String, body: String, read: ReadBack },
    /// Programs with their arguments: what `get` prints is the weight, or JSON with a pointer to it.
    Command { set: Vec<String>, get: Vec<String>, pointer: Option<String>, scale: Scale },
    /// The runtime API of one or several load balancers: `HOST:PORT` or the path of a socket.
    Haproxy { addresses: Vec<String>, backend: String },
    /// A file with weights, written whole, and what makes it count.
    File { path: PathBuf, template: String, check: Vec<String>, reload: Vec<String>, read: Option<(Endpoint, ReadBack)> },
    /// Argo Rollouts or Flagger.
    Kubectl(Kubectl),
}

/// Where an observed weight stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadBack {
    pub path: String,
    pub pointer: String,
    pub scale: Scale,
}

/// What a number means that says how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// 0 to 100.
    #[default]
    Percent,
    /// 0 to 1.
    Ratio,
}

impl Scale {
    pub fn percent(self, value: f64) -> f64 {
        match self {
            Scale::Percent => value,
            Scale::Ratio => value * 100.0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kubectl {
    pub resource: KubeResource,
    pub name: String,
    /// `--namespace NAME`, `--context NAME`.
    pub flags: Vec<String>,
    /// Instead of what Argo Rollouts has for it: templates of whole commands.
    pub set: Vec<String>,
    pub promote: Vec<String>,
    pub abort: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KubeResource {
    /// Of Argo Rollouts.
    Rollout,
    /// Of Flagger.
    Canary,
}

impl KubeResource {
    pub fn word(self) -> &'static str {
        match self {
            KubeResource::Rollout => "rollout",
            KubeResource::Canary => "canary",
        }
    }
}

impl Switch {
    /// A template of this switch with a weight in it: `weight` of the canary, `rest` of the others, the tracks' names.
    ///
    /// # Errors
    /// What the template says that there is not.
    pub fn render(&self, template: &str, weight: Weight) -> Result<String, String> {
        let rest = ALL.saturating_sub(weight);
        render(template, &json!({"weight": weight, "rest": rest, "stable": self.stable, "canary": self.canary}))
    }

    /// A program and its arguments with a weight in them.
    ///
    /// # Errors
    /// As for a template.
    pub fn argv(&self, templates: &[String], weight: Weight) -> Result<Vec<String>, String> {
        templates.iter().map(|word| self.render(word, weight)).collect()
    }

    /// The exact call for a weight, in one line.
    pub fn call(&self, weight: Weight) -> String {
        let shown = |template: &str| self.render(template, weight).unwrap_or_else(|e| format!("({e})"));
        let words = |templates: &[String]| templates.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ");
        match &self.kind {
            SwitchKind::Http { endpoint, method, path, body, .. } => {
                let base = endpoint.shown();
                format!("{method} {}/{} {}", base.trim_end_matches('/'), shown(path).trim_start_matches('/'), shown(body))
            }
            SwitchKind::Command { set, .. } => words(set),
            SwitchKind::Haproxy { addresses, backend } => {
                let (stable, canary, rest) = (&self.stable, &self.canary, ALL.saturating_sub(weight));
                let places = addresses.join(", ");
                let state = if weight == 0 { "maint" } else { "ready" };
                format!("set server {backend}/{stable} weight {rest}, {backend}/{canary} weight {weight} state {state} on {places}")
            }
            SwitchKind::File { path, reload, .. } => format!("write {} for {weight} %, then {}", path.display(), words(reload)),
            SwitchKind::Kubectl(kube) => match kube.command(weight) {
                KubeCommand::Own(template) => words(template),
                KubeCommand::Rollouts(arguments) => {
                    format!("kubectl {} {}", arguments.join(" "), kube.flags.join(" ")).trim_end().to_string()
                }
            },
        }
    }

    /// Everything it turns, as people read it: a stand-in of the environment must not reach any of it.
    pub fn places(&self) -> Vec<String> {
        match &self.kind {
            SwitchKind::Http { endpoint, .. } => vec![endpoint.shown()],
            SwitchKind::Command { .. } => vec![self.call(0)],
            SwitchKind::Haproxy { addresses, backend } => addresses.iter().map(|address| format!("{address} {backend}")).collect(),
            SwitchKind::File { path, .. } => vec![path.display().to_string()],
            SwitchKind::Kubectl(kube) => vec![format!("{}/{} {}", kube.resource.word(), kube.name, kube.flags.join(" "))],
        }
    }
}

/// How a weight is brought about in a cluster.
pub enum KubeCommand<'a> {
    /// By what the configuration says.
    Own(&'a [String]),
    /// By `kubectl` with these arguments.
    Rollouts(Vec<&'a str>),
}

impl Kubectl {
    pub fn command(&self, weight: Weight) -> KubeCommand<'_> {
        let (own, verb) = match weight {
            0 => (&self.abort, vec!["abort", &self.name]),
            ALL.. => (&self.promote, vec!["promote", &self.name, "--full"]),
            _ => (&self.set, vec!["promote", &self.name]),
        };
        match own.is_empty() {
            true => KubeCommand::Rollouts([vec!["argo", "rollouts"], verb].concat()),
            false => KubeCommand::Own(own),
        }
    }
}

/// What one place says the canary's share is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// In per cent.
    pub weight: f64,
    /// No release is on its way: everything is on one track.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// What was on its way failed: it is not what was promoted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// What has to be known besides.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Seen {
    pub fn of(weight: f64) -> Seen {
        Seen { weight, idle: false, failed: false, note: String::new() }
    }
}

/// What was seen of a switch: one answer of each place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub at: Stamp,
    pub places: Vec<(String, Result<Seen, String>)>,
}

impl Observation {
    /// The canary's share in per cent, where all places say the same.
    ///
    /// # Errors
    /// Who says what, or why nobody can tell.
    pub fn weight(&self) -> Result<f64, String> {
        let faults: Vec<String> =
            self.places.iter().filter_map(|(place, seen)| Some(format!("{place}: {}", seen.as_ref().err()?))).collect();
        let known: Vec<(&String, f64)> = self.places.iter().filter_map(|(p, s)| Some((p, s.as_ref().ok()?.weight))).collect();
        if !faults.is_empty() {
            let others = known.iter().map(|(place, weight)| format!("{place} says {}", percent(*weight)));
            return Err(faults.into_iter().chain(others).collect::<Vec<_>>().join("; "));
        }
        let Some((_, first)) = known.first() else { return Err("there is nothing to read the weight from".into()) };
        if known.iter().any(|(_, weight)| (weight - first).abs() > AGREES) {
            let all: Vec<String> = known.iter().map(|(place, weight)| format!("{place} says {}", percent(*weight))).collect();
            return Err(format!("they disagree: {}", all.join(", ")));
        }
        Ok(*first)
    }

    /// Whether it is as wanted.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn is_at(&self, wanted: Weight) -> Result<bool, String> {
        let weight = self.weight()?;
        // What was promoted whole is no canary any more.
        let promoted = wanted == ALL && self.places.iter().all(|(_, seen)| seen.as_ref().is_ok_and(|seen| seen.idle && !seen.failed));
        let most = if wanted == 0 { NONE } else { AGREES };
        Ok(promoted || (weight - f64::from(wanted)).abs() <= most)
    }

    /// In one line.
    pub fn words(&self) -> String {
        let said = || self.places.iter().map(|(place, seen)| (place, seen.as_ref().map_or("", |seen| seen.note.as_str())));
        let is_of_all = |note: &str| said().all(|(_, other)| other == note);
        // Of several it is said whose it is, unless it is everybody's.
        let one = |(place, note): (&String, &str)| if is_of_all(note) { note.to_string() } else { format!("{place}: {note}") };
        let notes: BTreeSet<String> = said().filter(|(_, note)| !note.is_empty()).map(one).collect();
        let notes: Vec<String> = notes.into_iter().collect();
        let behind = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        match self.weight() {
            Ok(weight) => percent(weight) + &behind,
            Err(why) => why + &behind,
        }
    }
}

/// A share as people read it.
pub fn percent(weight: f64) -> String {
    // Nothing is nothing, whichever sign it has.
    let rounded = (weight * 10.0).round() / 10.0 + 0.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0} %") } else { format!("{rounded:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(places: &[(&str, Result<f64, &str>)]) -> Observation {
        let place = |(name, seen): &(&str, Result<f64, &str>)| (name.to_string(), seen.map(Seen::of).map_err(str::to_string));
        Observation { at: Stamp(0), places: places.iter().map(place).collect() }
    }

    #[test]
    fn several_load_balancers_have_to_agree() {
        assert_eq!(seen(&[("a", Ok(10.0)), ("b", Ok(10.2))]).is_at(10), Ok(true));
        assert_eq!(seen(&[("a", Ok(10.0)), ("b", Ok(0.0))]).weight(), Err("they disagree: a says 10 %, b says 0 %".into()));
        assert_eq!(seen(&[("a", Ok(0.0)), ("b", Err("refused"))]).weight(), Err("b: refused; a says 0 %".into()));
        assert!(seen(&[]).weight().is_err());
        let noted = |note: &str| Ok(Seen { note: note.into(), ..Seen::of(0.0) });
        let words = |a, b| Observation { at: Stamp(0), places: vec![("a".into(), noted(a)), ("b".into(), noted(b))] }.words();
        assert_eq!((words("m", "m"), words("m", "")), ("0 % (m)".into(), "0 % (a: m)".into()));
        assert_eq!(seen(&[("a", Ok(25.0))]).is_at(10), Ok(false));
        let idle = Observation { at: Stamp(0), places: vec![("c".into(), Ok(Seen { idle: true, ..Seen::of(0.0) }))] };
        assert_eq!((idle.is_at(100), idle.is_at(0), idle.is_at(10)), (Ok(true), Ok(true), Ok(false)));
        let failed = Observation { at: Stamp(0), places: vec![("c".into(), Ok(Seen { idle: true, failed: true, ..Seen::of(0.0) }))] };
        assert_eq!((failed.is_at(100), failed.is_at(0)), (Ok(false), Ok(true)));
        assert_eq!(seen(&[("a", Ok(0.4))]).is_at(0), Ok(false), "a little is not nothing");
    }

    #[test]
    fn a_switch_says_its_exact_call() {
        let of = |kind| Switch { stable: "old".into(), canary: "new".into(), within: Duration::ZERO, timeout: Duration::ZERO, kind };
        let haproxy = of(SwitchKind::Haproxy { addresses: vec!["lb1:9999".into(), "/run/b.sock".into()], backend: "app".into() });
        assert_eq!(haproxy.call(10), "set server app/old weight 90, app/new weight 10 state ready on lb1:9999, /run/b.sock");
        let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let command = of(SwitchKind::Command {
            set: words("./switch {{canary}}={{weight}} {{stable}}={{rest}}"),
            get: Vec::new(),
            pointer: None,
            scale: Scale::Percent,
        });
        assert_eq!(command.call(25), "./switch new=25 old=75");
        let kube = |abort: &str| Kubectl {
            resource: KubeResource::Rollout,
            name: "rag".into(),
            flags: words("--namespace prod"),
            set: Vec::new(),
            promote: Vec::new(),
            abort: if abort.is_empty() { Vec::new() } else { words(abort) },
        };
        assert_eq!(of(SwitchKind::Kubectl(kube(""))).call(0), "kubectl argo rollouts abort rag --namespace prod");
        assert_eq!(of(SwitchKind::Kubectl(kube(""))).call(100), "kubectl argo rollouts promote rag --full --namespace prod");
        assert_eq!(of(SwitchKind::Kubectl(kube("./off"))).call(0), "./off");
    }
}
