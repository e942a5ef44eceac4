//! The dialog before a run, as a state machine: inputs, the plan, the confirmation. Nothing begins here but what was
//! shown, and nothing confirms but a key of its own or words that were typed.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::line_edit::{edit, insert, leaves};
use super::typed::{Pressed, Typed};
use crate::base::clock::Stamp;
use crate::plan::runbook::{Confirmation, Danger, Plan, Runbook};
use crate::status::Request;

/// One line to fill in.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub hint: String,
    pub input: Input,
    /// It goes on only when something stands there.
    pub required: bool,
}

#[derive(Clone, Debug)]
pub enum Stage {
    /// Lines to fill in; what the last attempt to plan said.
    Inputs {
        error: Option<String>,
    },
    Planning,
    /// The plan, and what was typed so far.
    Shown {
        plan: Arc<Plan>,
        typed: Typed,
        scroll: u16,
    },
    /// The runner is being started.
    Starting(Arc<Plan>),
    Refused(String),
}

#[derive(Clone, Debug)]
pub struct Dialog {
    /// Which dialog this is: a plan that was asked for in another one is not shown here.
    pub serial: u64,
    pub runbook: String,
    pub title: String,
    pub danger: Danger,
    /// The runbook's inputs, and last the reason.
    pub fields: Vec<Field>,
    pub focus: usize,
    pub stage: Stage,
}

/// What a key in the dialog leads to.
pub enum DialogResult {
    /// The dialog stays.
    Open(Option<Request>),
    /// It is closed; nothing has changed.
    Closed,
}

/// How far a page goes.
const PAGE: u16 = 10;
/// What a plan needs to be read in: below that nothing is confirmed.
const ROWS: u16 = 12;
const COLUMNS: u16 = 40;

impl Dialog {
    pub fn new(serial: u64, runbook: &Runbook) -> Dialog {
        let mut fields: Vec<Field> = runbook
            .inputs
            .iter()
            .map(|input| {
                let shown = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
                let allowed: Vec<String> = input.allowed.iter().map(shown).collect();
                let allowed = if allowed.is_empty() { String::new() } else { format!(" ({})", allowed.join(", ")) };
                let value = input.default.as_ref().map_or_else(String::new, shown);
                Field {
                    name: input.name.clone(),
                    hint: format!("{}{allowed}", input.description),
                    input: Input::new(value),
                    required: false,
                }
            })
            .collect();
        let asks = !fields.is_empty() || runbook.danger > Danger::Safe;
        fields.push(Field {
            name: "reason".into(),
            hint: "why: stands on record and in every notice".into(),
            input: Input::default(),
            required: false,
        });
        Dialog {
            serial,
            runbook: runbook.name.clone(),
            title: runbook.front.title.clone(),
            danger: runbook.danger,
            fields,
            focus: 0,
            stage: if asks { Stage::Inputs { error: None } } else { Stage::Planning },
        }
    }

    /// Fills in a line.
    pub fn set(&mut self, name: &str, value: &str) {
        if let Some(field) = self.fields.iter_mut().find(|field| field.name == name) {
            field.input = Input::new(value.to_string());
        }
    }

    /// The line that is typed in, and that has to be: for what it goes on against.
    pub fn require(&mut self, name: &str, why: String) {
        if let Some(at) = self.fields.iter().position(|field| field.name == name) {
            (self.focus, self.fields[at].required) = (at, true);
        }
        self.stage = Stage::Inputs { error: Some(why) };
    }

    /// What is to be planned.
    pub fn request(&self) -> Request {
        let (reason, inputs) = self.fields.split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
        // A line that was left empty gives nothing: the default counts, or the input is missing.
        let given = inputs.iter().filter(|f| !f.input.value().trim().is_empty());
        Request::Plan {
            serial: self.serial,
            runbook: self.runbook.clone(),
            inputs: given.map(|f| (f.name.clone(), f.input.value().to_string())).collect(),
            reason: reason.map(|f| f.input.value().trim().to_string()).filter(|text| !text.is_empty()),
        }
    }

    pub fn planned(&mut self, planned: Result<Arc<Plan>, String>, now: Stamp) {
        if !matches!(self.stage, Stage::Planning) {
            return;
        }
        self.stage = match planned {
            Ok(plan) => {
                // That of the runbooks it runs counts, too.
                self.danger = plan.content.danger;
                Stage::Shown { plan, typed: Typed::new(now), scroll: 0 }
            }
            Err(error) if self.fields.len() > 1 => Stage::Inputs { error: Some(error) },
            Err(error) => Stage::Refused(error),
        };
    }

    /// Text that was pasted: good for inputs, never for confirming.
    pub fn paste(&mut self, text: &str) {
        match &mut self.stage {
            Stage::Inputs { .. } => {
                if let Some(field) = self.fields.get_mut(self.focus) {
                    insert(&mut field.input, text);
                }
            }
            Stage::Shown { typed, .. } => typed.paste(text),
            _ => {}
        }
    }

    /// `size` is that of the screen.
    pub fn key(&mut self, key: KeyEvent, pressed: Pressed, size: (u16, u16)) -> DialogResult {
        if leaves(key) {
            return DialogResult::Closed;
        }
        match &mut self.stage {
            Stage::Inputs { .. } => self.input_key(key),
            Stage::Shown { .. } => self.confirm_key(key, pressed, size),
            Stage::Planning | Stage::Starting(_) | Stage::Refused(_) => DialogResult::Open(None),
        }
    }

    /// The wheel of a mouse.
    pub fn turn(&mut self, by: isize) {
        if let Stage::Shown { scroll, .. } = &mut self.stage {
            *scroll = scroll.saturating_add_signed(by.clamp(-100, 100) as i16);
        }
    }

    fn input_key(&mut self, key: KeyEvent) -> DialogResult {
        let count = self.fields.len();
        match key.code {
            KeyCode::Tab | KeyCode::Down => self.focus = (self.focus + 1) % count,
            KeyCode::BackTab | KeyCode::Up => self.focus = (self.focus + count - 1) % count,
            KeyCode::Enter => {
                if let Some(at) = self.fields.iter().position(|f| f.required && f.input.value().trim().is_empty()) {
                    self.focus = at;
                    return DialogResult::Open(None);
                }
                self.stage = Stage::Planning;
                return DialogResult::Open(Some(self.request()));
            }
            _ => {
                if let Some(field) = self.fields.get_mut(self.focus) {
                    edit(&mut field.input, key);
                }
            }
        }
        DialogResult::Open(None)
    }

    fn confirm_key(&mut self, key: KeyEvent, pressed: Pressed, (columns, rows): (u16, u16)) -> DialogResult {
        let Stage::Shown { plan, typed, scroll } = &mut self.stage else { return DialogResult::Open(None) };
        match key.code {
            KeyCode::Up => *scroll = scroll.saturating_sub(1),
            KeyCode::Down => *scroll = scroll.saturating_add(1),
            KeyCode::PageUp => *scroll = scroll.saturating_sub(PAGE),
            KeyCode::PageDown => *scroll = scroll.saturating_add(PAGE),
            KeyCode::Tab => self.stage = Stage::Inputs { error: None },
            _ if rows < ROWS || columns < COLUMNS => typed.refuse("this window is too small to read a plan in: make it larger"),
            _ if pressed.at > plan.expires => typed.refuse("this plan has expired: Tab, Enter makes a new one"),
            code => match plan.confirmation() {
                Confirmation::Key => {
                    if code == KeyCode::Char('y') && key.modifiers.is_empty() && typed.takes(key, pressed) {
                        return self.begin();
                    }
                }
                Confirmation::Type(wanted) => match typed.key(key, pressed) {
                    Some(said) if said == wanted => return self.begin(),
                    Some(_) => typed.refuse("that is not it: nothing has begun"),
                    None => {}
                },
            },
        }
        DialogResult::Open(None)
    }

    fn begin(&mut self) -> DialogResult {
        let Stage::Shown { plan, .. } = &self.stage else { return DialogResult::Open(None) };
        let plan = plan.clone();
        self.stage = Stage::Starting(plan.clone());
        DialogResult::Open(Some(Request::Begin(plan)))
    }
}
