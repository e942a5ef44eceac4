//! Sections for steps: what a file may say in each, and what it comes to. One a file.

mod canary;
mod gates;
mod release;
mod snapshots;
mod traffic;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::DeValue;

use self::canary::CanaryShape;
use self::gates::GateCheckShape;
use self::release::ReleaseShape;
use self::snapshots::{ProgramShape, SnapshotsShape};
use self::traffic::TrafficShape;
use super::entries::{Entries, entries, entry, overlaid};
use super::model::{SignalConfig, SourceConfig};
use super::resolver::Resolver;
use crate::base::diag::Findings;
use crate::base::endpoint::Endpoint;
use crate::plan::runbook::{Gates, StepSettings};

/// A section that there is once, with the place of its heading.
type Once<T> = Option<(T, Range<usize>)>;

/// What files say for steps.
#[derive(Clone, Default)]
pub(super) struct Sections {
    pub(super) traffic: Once<TrafficShape>,
    pub(super) canary: Once<CanaryShape>,
    pub(super) release: Once<ReleaseShape>,
    pub(super) snapshots: Once<SnapshotsShape>,
    pub(super) gates: Entries<IndexMap<String, Spanned<GateCheckShape>>>,
}

/// What a target says for them itself: what it does not say is not there.
#[derive(Clone, Default)]
pub(super) struct TargetSections {
    pub(super) traffic: Once<TrafficShape>,
    pub(super) release: Once<ReleaseShape>,
    pub(super) programs: IndexMap<String, ProgramShape>,
}

impl Sections {
    pub(super) const WORDS: [&str; 5] = ["traffic", "canary", "release", "snapshots", "gates"];

    /// Reads a section, where it is one of these.
    pub(super) fn read(&mut self, word: &str, at: Range<usize>, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> bool {
        match word {
            "traffic" => self.traffic = entry(findings, value).map(|own| (own, at)),
            "canary" => self.canary = entry(findings, value).map(|own| (own, at)),
            "release" => self.release = entry(findings, value).map(|own| (own, at)),
            "snapshots" => self.snapshots = entry(findings, value).map(|own| (own, at)),
            "gates" => self.gates = entries(findings, value),
            _ => return false,
        }
        true
    }

    pub(super) fn over(self, below: Sections) -> Sections {
        Sections {
            traffic: self.traffic.or(below.traffic),
            canary: self.canary.or(below.canary),
            release: self.release.or(below.release),
            snapshots: self.snapshots.or(below.snapshots),
            gates: overlaid(self.gates, below.gates, |own, _| own),
        }
    }

    /// As they would be if the target were the environment.
    pub(super) fn of_target(&self, target: &TargetSections) -> Sections {
        Sections {
            traffic: target.traffic.clone(),
            canary: self.canary.clone(),
            release: target.release.clone(),
            // A program of somebody's own brings back where it was told to: a target has others.
            snapshots: self.snapshots.clone().map(|(own, at)| (SnapshotsShape { programs: target.programs.clone(), ..own }, at)),
            gates: self.gates.clone(),
        }
    }
}

impl TargetSections {
    pub(super) const WORDS: [&str; 3] = ["traffic", "release", "programs"];

    /// Reads a field of a target, where it is one of these.
    pub(super) fn read(&mut self, word: &str, at: Range<usize>, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> bool {
        match word {
            "traffic" => self.traffic = entry(findings, value).map(|own| (own, at)),
            "release" => self.release = entry(findings, value).map(|own| (own, at)),
            "programs" => self.programs = entry(findings, value).unwrap_or_default(),
            _ => return false,
        }
        true
    }
}

/// What a section may name.
pub(super) struct SectionContext<'k> {
    pub(super) services: &'k IndexMap<String, Endpoint>,
    pub(super) sources: &'k IndexMap<Arc<str>, SourceConfig>,
    pub(super) signals: &'k IndexMap<Arc<str>, SignalConfig>,
    /// Signals of a profile that are not there, because their source is not.
    pub(super) left_out: &'k [Arc<str>],
    pub(super) state_dir: &'k Path,
    pub(super) is_target: bool,
    /// Where the text of a profile begins.
    pub(super) profile_begins: Option<usize>,
}

impl Resolver<'_> {
    /// What the sections come to; what is wrong with them goes into the findings.
    pub(super) fn settings(&mut self, sections: &Sections, known: &SectionContext) -> StepSettings {
        let switch = sections.traffic.as_ref().and_then(|(shape, at)| self.switch(shape, at, known.services));
        let gates = self.gates(&sections.gates, known.signals);
        // A profile's canary is left out where its signals are, or there is nothing to turn; one's own is looked at all the same.
        let is_own = |at: &Range<usize>| !known.is_target && known.profile_begins.is_none_or(|begins| at.start < begins);
        let canary = sections.canary.as_ref().filter(|(shape, _)| !shape.is_left_out(known.left_out));
        let canary = canary.filter(|(_, at)| sections.traffic.is_some() || is_own(at));
        let canary = canary.and_then(|(shape, at)| self.canary(shape, at, known.signals, &gates));
        let canary = canary.filter(|_| sections.traffic.is_some());
        if let (None, Some((_, at))) = (&sections.traffic, sections.canary.as_ref().filter(|(_, at)| is_own(at))) {
            let hint = "add [traffic] with the switch that gives a release its share";
            self.findings.warn(at.clone(), "a canary walks nowhere without a switch of the traffic", Some(hint.into()));
        }
        let release = sections.release.as_ref().and_then(|(shape, at)| self.release(shape, at, known.services, known.sources));
        // A target without stores of its own has none.
        let snapshots = sections.snapshots.as_ref().filter(|(shape, _)| !known.is_target || shape.has_stores());
        let snapshots = snapshots.and_then(|(shape, at)| self.snapshots(shape, at, known.sources, known.state_dir));
        StepSettings { switch, canary, release, snapshots, gates: (!gates.is_empty()).then_some(Gates(gates)) }
    }
}

/// What steps reach by them, to be compared, and as people read it.
pub(super) fn reached(settings: &StepSettings) -> Vec<(String, String)> {
    let switch = settings.switch.iter().flat_map(traffic::reached);
    let release = settings.release.iter().map(release::reached);
    let programs = settings.snapshots.iter().flat_map(snapshots::reached);
    switch.chain(release).chain(programs).collect()
}
