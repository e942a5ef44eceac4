//! What runners that are gone have left at work: nobody else begins beside it.

use crate::act::effect;
use crate::plan::runbook::Event;
use crate::record::journal::{Holder, Life, StateDir, is_driven, read};

/// A script or a program of a run whose runner is dead may be at work all the same: where its folder can be seen, that can be told.
pub(super) fn still_at_work(dead: &Holder, here: &str) -> Option<String> {
    let folder = dead.folder.as_ref().filter(|_| dead.life(here) == Life::Dead)?;
    let left = effect::left_at_work(folder)?;
    Some(format!("{left} of run {} is still at work, although its runner is gone: resume or abort that run first", dead.run))
}

/// A script or a program that a run of this environment has left at work, although nobody drives that run any more; and whether somebody
/// can still take that run up. Only runs that are not over, or left something behind, are looked at.
pub(super) fn left_at_work(state: &StateDir, environment: &str, own: &str) -> Option<(String, bool)> {
    for id in state.open_runs().into_iter().filter(|id| id != own) {
        let folder = state.run(&id);
        let Some(left) = effect::left_at_work(&folder).filter(|_| !is_driven(&folder)) else { continue };
        // One whose plan cannot be read any more may have been of this environment.
        if state.plan(&id).map_or(true, |plan| plan.content.environment.name == environment) {
            let over = read(&folder).is_ok_and(|replay| replay.lines.last().is_some_and(|l| matches!(l.record.event, Event::Ended { .. })));
            return Some((format!("{left} of run {id} is still at work, although its runner is gone"), !over));
        }
    }
    None
}
