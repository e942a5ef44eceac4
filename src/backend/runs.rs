//! The runs there are: found by what an operator says, and shown as a ledger.

use std::path::PathBuf;
use std::sync::Arc;

use super::operations::{OperationError, Operations};
use crate::plan::runbook::LoadedRunbook;
use crate::status::{Ledger, RunLine};

impl Operations {
    /// The run an operator means: an id, a part of one, or `last`, the newest of this environment.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&mut self, wanted: &str) -> Result<String, OperationError> {
        self.find_newest(wanted, false)
    }

    /// The same for talking to it: `last` is then the newest that is not over, where there is one.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find_open(&mut self, wanted: &str) -> Result<String, OperationError> {
        self.find_newest(wanted, true)
    }

    fn find_newest(&mut self, wanted: &str, open: bool) -> Result<String, OperationError> {
        if wanted != "last" {
            return self.state()?.find(wanted).map_err(|why| OperationError::Usage(why + &self.is_elsewhere(wanted)));
        }
        self.state()?;
        let environment = self.config.environment.name.clone();
        let mut here = self.runs();
        // One whose name is not known may be any.
        here.retain(|run| environment.is_empty() || run.plan.content.environment.name == environment);
        let open = here.iter().find(|run| open && run.status().is_open());
        open.or(here.first())
            .map(|run| run.id.clone())
            .ok_or_else(|| OperationError::Usage(format!("there is no run on {environment} here{}", self.newest_elsewhere())))
    }

    /// One run.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn line(&mut self, id: &str) -> Result<Arc<RunLine>, OperationError> {
        self.read_run(id).ok_or_else(|| OperationError::Usage(format!("there is no run `{id}`; `lastgreen runs` lists them")))
    }

    /// Every run, the newest first.
    pub fn runs(&mut self) -> Vec<Arc<RunLine>> {
        self.state.as_ref().map_or_else(|_| Vec::new(), |state| self.known.all(state))
    }

    /// Runs that are there and cannot be shown, and why: as of the last look at all of them.
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.known.unreadable
    }

    pub(super) fn read_run(&mut self, id: &str) -> Option<Arc<RunLine>> {
        self.known.read(self.state.as_ref().ok()?, id)
    }

    /// Everything there is to show.
    pub fn ledger(&mut self, loaded: &[LoadedRunbook]) -> Ledger {
        let state = match &self.state {
            Ok(state) => state,
            Err(why) => {
                let runbooks = Ledger::lines(loaded, &[], &self.config.environment.name, self.now());
                return Ledger { runbooks, fault: Some(why.clone()), known: true, ..Ledger::default() };
            }
        };
        let fault = self.known.ids(state).err();
        let runs = self.known.all(state);
        let open = runs.iter().filter(|r| r.driven && r.status().is_open());
        let stuck = open.filter_map(|run| Some((run.id.clone(), self.known.keeps(state, &self.operator, &run.id)?))).collect();
        let runbooks = Ledger::lines(loaded, &runs, &self.config.environment.name, self.now());
        Ledger { runs, runbooks, stuck, fault, unreadable: self.known.unreadable.clone(), known: true, ..Ledger::default() }
    }

    /// The file that a step's output is in.
    pub fn output(&self, id: &str, key: &str) -> Option<PathBuf> {
        Some(crate::act::effect::output_file(&self.state.as_ref().ok()?.run(id), key))
    }
}
