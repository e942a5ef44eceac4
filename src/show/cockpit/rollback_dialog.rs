//! The one screen that must be right: the scopes side by side with what each does and costs, the plan of the chosen one, and
//! the name that has to be typed. Every scope is planned by itself; none waits for another.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::dialog::DialogResult;
use super::line_edit::{edit, insert, leaves};
use super::typed::{Pressed, Typed};
use crate::base::clock::Stamp;
use crate::plan::deploy::Scope;
use crate::plan::runbook::{Confirmation, Plan};
use crate::status::Request;

#[derive(Clone, Debug)]
pub struct RollbackDialog {
    /// Which dialog this is: plans that were asked for in another one are not shown here.
    pub serial: u64,
    pub reason: Input,
    /// The reason is being changed.
    pub edits: bool,
    pub scope: Scope,
    /// What came of planning each scope, where it has come.
    pub plans: [Option<Result<Arc<Plan>, String>>; 3],
    pub typed: Typed,
    pub scroll: u16,
    /// When plans were asked for last, and how many answers have not come for each.
    asked: Stamp,
    awaited: [u8; 3],
    /// The runner is being started.
    pub starting: Option<Arc<Plan>>,
    pub refused: Option<String>,
    /// What was reached that is not what the configuration expects: it stands in the plan, and so on record.
    pub mismatches: Vec<String>,
}

const PAGE: u16 = 5;
/// After this long what was counted is counted again.
const COUNTED: Duration = Duration::from_secs(20);
/// What it needs to be read in: below that nothing is confirmed.
const ROWS: u16 = 20;
const COLUMNS: u16 = 60;
/// Stands between a reason that was found and what is written behind it.
const BEHIND: &str = "; ";

impl RollbackDialog {
    pub fn new(serial: u64, scope: Scope, (reason, mismatches): (&str, Vec<String>), now: Stamp) -> RollbackDialog {
        RollbackDialog {
            serial,
            reason: Input::new(reason.to_string()),
            edits: false,
            scope,
            plans: [None, None, None],
            typed: Typed::new(now),
            scroll: 0,
            asked: now,
            awaited: [0; 3],
            starting: None,
            refused: None,
            mismatches,
        }
    }

    /// What has to be planned: that which takes the least first, and each by itself.
    pub fn requests(&mut self) -> Vec<Request> {
        self.awaited = self.awaited.map(|awaited| awaited.saturating_add(1));
        let reason = self.reason.value().trim().trim_end_matches(BEHIND.trim());
        let reason = Some(reason.to_string()).filter(|text| !text.is_empty());
        let planned = |scope| {
            let (reason, mismatches) = (reason.clone(), self.mismatches.clone());
            Request::PlanRollback { serial: self.serial, scope, reason, mismatches }
        };
        Scope::ALL.into_iter().map(planned).collect()
    }

    /// What was counted grows old while it is read: everything is planned again, as long as nobody has begun to type. What is shown
    /// stays until the new is there.
    pub fn again(&mut self, now: Stamp) -> Vec<Request> {
        if self.is_taken() || self.edits || self.awaited != [0; 3] || now.since(self.asked) < COUNTED {
            return Vec::new();
        }
        self.asked = now;
        self.requests()
    }

    /// Whether somebody is about to confirm what stands there, or has.
    fn is_taken(&self) -> bool {
        !self.typed.input.value().is_empty() || self.starting.is_some() || self.refused.is_some()
    }

    pub fn planned(&mut self, scope: Scope, planned: Result<Arc<Plan>, String>) {
        let awaited = &mut self.awaited[scope as usize];
        *awaited = awaited.saturating_sub(1);
        // It answers an earlier question, which had another reason.
        if *awaited > 0 {
            return;
        }
        // Under the fingers of somebody who types nothing is exchanged.
        if self.plans[scope as usize].is_none() || !self.is_taken() {
            self.plans[scope as usize] = Some(planned);
        }
    }

    /// The plan of the chosen scope.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plans[self.scope as usize].as_ref()?.as_ref().ok()
    }

    pub fn key(&mut self, key: KeyEvent, pressed: Pressed, size: (u16, u16)) -> (DialogResult, Vec<Request>) {
        let open = || (DialogResult::Open(None), Vec::new());
        if leaves(key) {
            if self.edits {
                self.edits = false;
                return open();
            }
            return (DialogResult::Closed, Vec::new());
        }
        if self.starting.is_some() || self.refused.is_some() {
            return open();
        }
        if self.edits {
            return (DialogResult::Open(None), self.reason_key(key, pressed));
        }
        match key.code {
            KeyCode::Up | KeyCode::Down | KeyCode::Left | KeyCode::Right => {
                self.choose(matches!(key.code, KeyCode::Down | KeyCode::Right), pressed.at);
            }
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(PAGE),
            KeyCode::Tab => self.edit_reason(),
            _ => return (DialogResult::Open(self.confirm(key, pressed, size)), Vec::new()),
        }
        open()
    }

    /// Another scope: what was typed was for the one before.
    fn choose(&mut self, down: bool, now: Stamp) {
        let here = self.scope as usize;
        let next = if down { (here + 1).min(Scope::ALL.len() - 1) } else { here.saturating_sub(1) };
        if next != here {
            (self.scope, self.scroll, self.typed) = (Scope::ALL[next], 0, Typed::new(now));
        }
    }

    /// What is typed stands behind what was there, and not in its last word.
    fn edit_reason(&mut self) {
        self.edits = true;
        if !self.reason.value().trim().is_empty() && !self.reason.value().ends_with(BEHIND) {
            insert(&mut self.reason, BEHIND);
        }
    }

    /// Another reason is another plan.
    fn reason_key(&mut self, key: KeyEvent, pressed: Pressed) -> Vec<Request> {
        if !matches!(key.code, KeyCode::Enter | KeyCode::Tab) {
            edit(&mut self.reason, key);
            return Vec::new();
        }
        (self.edits, self.plans, self.typed, self.asked) = (false, [None, None, None], Typed::new(pressed.at), pressed.at);
        self.requests()
    }

    /// Whether no plan can be read in a window of so many columns and rows.
    pub fn is_too_small((columns, rows): (u16, u16)) -> bool {
        rows < ROWS || columns < COLUMNS
    }

    fn confirm(&mut self, key: KeyEvent, pressed: Pressed, size: (u16, u16)) -> Option<Request> {
        let Some(plan) = self.plan().cloned() else {
            self.typed.refuse("this scope cannot be done: choose another one, or read why");
            return None;
        };
        if RollbackDialog::is_too_small(size) {
            self.typed.refuse("this window is too small to read a plan in: make it larger");
            return None;
        }
        if pressed.at > plan.expires {
            self.typed.refuse("this plan has expired: Tab, Enter makes a new one");
            return None;
        }
        let wanted = match plan.confirmation() {
            Confirmation::Type(wanted) => wanted,
            // A rollback is never begun by one key.
            Confirmation::Key => "yes".into(),
        };
        match self.typed.key(key, pressed) {
            Some(said) if said == wanted => {
                self.starting = Some(plan.clone());
                Some(Request::Begin(plan))
            }
            Some(_) => {
                self.typed.refuse("that is not it: nothing has begun");
                None
            }
            None => None,
        }
    }

    /// Text that was pasted: good for the reason, never for confirming.
    pub fn paste(&mut self, text: &str) {
        if self.edits { insert(&mut self.reason, text) } else { self.typed.paste(text) }
    }
}
