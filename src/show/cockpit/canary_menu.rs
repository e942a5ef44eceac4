//! What can be done with a canary, by one letter each: nothing of it begins here, each leads to a plan that is shown and
//! confirmed.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::line_edit::{edit, leaves};
use crate::plan::deploy::Promotion;
use crate::plan::runbook::{ALL, Weight};

#[derive(Clone, Debug, Default)]
pub struct CanaryMenu {
    /// A share that is being typed.
    pub share: Option<Input>,
    /// Why the last key did nothing.
    pub complaint: Option<String>,
}

/// What a key of the menu leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum CanaryChoice {
    /// The menu stays.
    Open,
    Closed,
    /// The plan of a step; with what speaks against it, where anything does.
    Step {
        to: Weight,
        against: Vec<String>,
    },
    Hold(bool),
    /// Out of the traffic at once.
    RollBack,
    OpenRun,
}

/// What the menu sees of the deployment.
pub struct CanaryContext {
    /// The share that is observed.
    pub weight: Result<f64, String>,
    pub promotion: Option<Promotion>,
    /// The step after the observed share.
    pub next: Option<Weight>,
    pub steps: Vec<Weight>,
    pub held: bool,
}

impl CanaryMenu {
    pub fn key(&mut self, key: KeyEvent, context: &CanaryContext) -> CanaryChoice {
        if leaves(key) {
            return if self.share.take().is_some() { CanaryChoice::Open } else { CanaryChoice::Closed };
        }
        if self.share.is_some() {
            return self.typed(key, context);
        }
        self.complaint = None;
        match key.code {
            KeyCode::Char('p') => match context.next {
                Some(to) => step(to, context),
                None => self.refuse("there is no further step"),
            },
            KeyCode::Char('s') => {
                self.share = Some(Input::default());
                CanaryChoice::Open
            }
            KeyCode::Char('h') => CanaryChoice::Hold(!context.held),
            KeyCode::Char('0') => CanaryChoice::RollBack,
            KeyCode::Char('o') => CanaryChoice::OpenRun,
            KeyCode::Char('q') => CanaryChoice::Closed,
            _ => CanaryChoice::Open,
        }
    }

    /// Whether a share is being written: every letter is one of it.
    pub fn is_typing(&self) -> bool {
        self.share.is_some()
    }

    fn refuse(&mut self, why: &str) -> CanaryChoice {
        self.complaint = Some(why.into());
        CanaryChoice::Open
    }

    fn typed(&mut self, key: KeyEvent, context: &CanaryContext) -> CanaryChoice {
        let Some(input) = &mut self.share else { return CanaryChoice::Open };
        if key.code != KeyCode::Enter {
            edit(input, key);
            return CanaryChoice::Open;
        }
        match input.value().trim().trim_end_matches('%').trim_end().parse::<Weight>() {
            Ok(0) => CanaryChoice::RollBack,
            Ok(to) if to <= ALL => step(to, context),
            _ => {
                input.reset();
                self.refuse("a share is a whole number from 0 to 100")
            }
        }
    }
}

/// A step up has what speaks against it; back down nothing does.
fn step(to: Weight, context: &CanaryContext) -> CanaryChoice {
    let against = match (&context.weight, &context.promotion) {
        (Err(why), _) => vec![format!("what the share is cannot be told: {why}")],
        (Ok(weight), Some(promotion)) if f64::from(to) > *weight => match promotion.clone().to(Some(to), &context.steps, *weight) {
            Promotion::Refused(against) => against,
            Promotion::To(_) | Promotion::AtTheEnd => Vec::new(),
        },
        _ => Vec::new(),
    };
    CanaryChoice::Step { to, against }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_up_brings_what_speaks_against_it() {
        let context = |promotion| CanaryContext {
            weight: Ok(10.0),
            promotion: Some(promotion),
            next: Some(25),
            steps: vec![0, 10, 25, 50, 100],
            held: false,
        };
        let press = |menu: &mut CanaryMenu, text: &str, context: &CanaryContext| {
            let keys = text.chars().map(|c| if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) });
            keys.map(|code| menu.key(KeyEvent::from(code), context)).last().expect("a key")
        };
        let good = context(Promotion::To(25));
        assert_eq!(press(&mut CanaryMenu::default(), "p", &good), CanaryChoice::Step { to: 25, against: Vec::new() });
        let bad = context(Promotion::Refused(vec!["it bakes".into()]));
        assert_eq!(press(&mut CanaryMenu::default(), "p", &bad), CanaryChoice::Step { to: 25, against: vec!["it bakes".into()] });
        assert_eq!(
            press(&mut CanaryMenu::default(), "s50\n", &bad),
            CanaryChoice::Step { to: 50, against: vec!["it bakes".into(), "25 % would be left out, and nothing judged there".into()] }
        );
        assert_eq!(press(&mut CanaryMenu::default(), "s25\n", &good), CanaryChoice::Step { to: 25, against: Vec::new() });
        assert!(
            matches!(press(&mut CanaryMenu::default(), "s100\n", &good), CanaryChoice::Step { to: 100, against } if against.len() == 1)
        );
        assert_eq!(press(&mut CanaryMenu::default(), "s5\n", &bad), CanaryChoice::Step { to: 5, against: Vec::new() });
        assert_eq!(press(&mut CanaryMenu::default(), "s101\n", &bad), CanaryChoice::Open);
        assert_eq!(press(&mut CanaryMenu::default(), "s0\n", &good), CanaryChoice::RollBack);
        assert_eq!(press(&mut CanaryMenu::default(), "0", &good), CanaryChoice::RollBack);
    }
}
