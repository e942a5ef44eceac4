//! The dialog before a run, as a state machine: inputs, the plan, the confirmation. Nothing begins here but what was
//! shown, and nothing confirms but a key of its own or words that were typed.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use tui_input::Input;

use super::orders::Order;
use super::update::{edit, leaves};
use crate::base::clock::Stamp;
use crate::runbook::{Confirmation, Danger, Plan, Runbook};

/// One line to fill in.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub hint: String,
    pub input: Input,
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
        typed: Input,
        first_key: Stamp,
        shown_at: Stamp,
        complaint: Option<&'static str>,
        scroll: u16,
    },
    /// The runner is being started.
    Starting(Arc<Plan>),
    Refused(String),
}

#[derive(Clone, Debug)]
pub struct Dialog {
    pub runbook: String,
    pub title: String,
    pub danger: Danger,
    /// The runbook's inputs, and last the reason.
    pub fields: Vec<Field>,
    pub focus: usize,
    pub stage: Stage,
}

/// What a key in the dialog leads to.
pub enum Went {
    /// The dialog stays.
    On(Option<Order>),
    /// It is closed; nothing has changed.
    Closed,
}

/// Keys that were pressed before the plan could be seen confirm nothing.
const ARMED: Duration = Duration::from_millis(400);
/// Fingers need longer than this for a letter.
const FINGERS: Duration = Duration::from_millis(8);

impl Dialog {
    pub fn new(runbook: &Runbook) -> Dialog {
        let mut fields: Vec<Field> = runbook
            .inputs
            .iter()
            .map(|input| {
                let shown = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
                let allowed: Vec<String> = input.allowed.iter().map(shown).collect();
                let allowed = if allowed.is_empty() { String::new() } else { format!(" ({})", allowed.join(", ")) };
                let value = input.default.as_ref().map_or_else(String::new, shown);
                Field { name: input.name.clone(), hint: format!("{}{allowed}", input.description), input: Input::new(value) }
            })
            .collect();
        let asks = !fields.is_empty() || runbook.danger > Danger::Safe;
        fields.push(Field { name: "reason".into(), hint: "why: stands on record and in every notice".into(), input: Input::default() });
        Dialog {
            runbook: runbook.name.clone(),
            title: runbook.front.title.clone(),
            danger: runbook.danger,
            fields,
            focus: 0,
            stage: if asks { Stage::Inputs { error: None } } else { Stage::Planning },
        }
    }

    /// What is to be planned.
    pub fn order(&self) -> Order {
        let (reason, inputs) = self.fields.split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
        Order::Plan {
            runbook: self.runbook.clone(),
            inputs: inputs.iter().map(|f| (f.name.clone(), f.input.value().to_string())).collect(),
            reason: reason.map(|f| f.input.value().trim().to_string()).filter(|text| !text.is_empty()),
        }
    }

    pub fn planned(&mut self, planned: Result<Arc<Plan>, String>, now: Stamp) {
        if !matches!(self.stage, Stage::Planning) {
            return;
        }
        self.stage = match planned {
            Ok(plan) => Stage::Shown { plan, typed: Input::default(), first_key: now, shown_at: now, complaint: None, scroll: 0 },
            Err(error) if self.fields.len() > 1 => Stage::Inputs { error: Some(error) },
            Err(error) => Stage::Refused(error),
        };
    }

    /// Text that was pasted: good for inputs, never for confirming.
    pub fn paste(&mut self, text: &str) {
        match &mut self.stage {
            Stage::Inputs { .. } => {
                if let Some(field) = self.fields.get_mut(self.focus) {
                    for c in text.chars().filter(|c| !c.is_control()) {
                        field.input.handle(tui_input::InputRequest::InsertChar(c));
                    }
                }
            }
            Stage::Shown { typed, complaint, .. } => {
                typed.reset();
                *complaint = Some("pasted text confirms nothing: type it");
            }
            _ => {}
        }
    }

    pub fn key(&mut self, key: KeyEvent, now: Stamp) -> Went {
        if leaves(key) {
            return match self.stage {
                // It is under way: leaving the dialog would not stop it.
                Stage::Starting(_) => Went::On(None),
                _ => Went::Closed,
            };
        }
        match &mut self.stage {
            Stage::Inputs { .. } => self.input_key(key),
            Stage::Shown { .. } => self.confirm_key(key, now),
            Stage::Planning | Stage::Starting(_) | Stage::Refused(_) => Went::On(None),
        }
    }

    fn input_key(&mut self, key: KeyEvent) -> Went {
        let count = self.fields.len();
        match key.code {
            KeyCode::Tab | KeyCode::Down => self.focus = (self.focus + 1) % count,
            KeyCode::BackTab | KeyCode::Up => self.focus = (self.focus + count - 1) % count,
            KeyCode::Enter => {
                self.stage = Stage::Planning;
                return Went::On(Some(self.order()));
            }
            _ => {
                if let Some(field) = self.fields.get_mut(self.focus) {
                    edit(&mut field.input, key);
                }
            }
        }
        Went::On(None)
    }

    fn confirm_key(&mut self, key: KeyEvent, now: Stamp) -> Went {
        let Stage::Shown { plan, typed, first_key, shown_at, complaint, scroll } = &mut self.stage else { return Went::On(None) };
        match key.code {
            KeyCode::Up => *scroll = scroll.saturating_sub(1),
            KeyCode::Down => *scroll = scroll.saturating_add(1),
            KeyCode::PageUp => *scroll = scroll.saturating_sub(10),
            KeyCode::PageDown => *scroll = scroll.saturating_add(10),
            KeyCode::Tab => {
                self.stage = Stage::Inputs { error: None };
                return Went::On(None);
            }
            _ if key.kind == KeyEventKind::Repeat || now.since(*shown_at) < ARMED => *complaint = Some("not so fast: read it first"),
            _ if now > plan.expires => *complaint = Some("this plan has expired: Tab, Enter makes a new one"),
            code => match plan.confirmation() {
                Confirmation::Key if code == KeyCode::Char('y') => return self.begin(),
                Confirmation::Key => {}
                Confirmation::Type(wanted) if code == KeyCode::Enter => {
                    let slowest = FINGERS.saturating_mul(wanted.chars().count().saturating_sub(1) as u32);
                    if typed.value() == wanted && now.since(*first_key) >= slowest {
                        return self.begin();
                    }
                    *complaint = Some(if typed.value() == wanted {
                        "that came too fast for fingers: type it again"
                    } else if typed.value().is_empty() {
                        "Enter alone confirms nothing"
                    } else {
                        "that is not it: nothing has begun"
                    });
                    typed.reset();
                }
                Confirmation::Type(_) => {
                    if typed.value().is_empty() {
                        *first_key = now;
                    }
                    *complaint = None;
                    edit(typed, key);
                }
            },
        }
        Went::On(None)
    }

    fn begin(&mut self) -> Went {
        let Stage::Shown { plan, .. } = &self.stage else { return Went::On(None) };
        let plan = plan.clone();
        self.stage = Stage::Starting(plan.clone());
        Went::On(Some(Order::Begin(plan)))
    }
}
