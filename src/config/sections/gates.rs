//! Named sets of checks, from `[gates.NAME.CHECK]`.

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::base::diag::suggestion;
use crate::base::units::Unit;
use crate::config::entries::Entries;
use crate::config::model::SignalConfig;
use crate::config::resolver::Resolver;
use crate::config::shape::SpannedText;
use crate::judge::Condition;
use crate::plan::runbook::{Check, Gate, GateCheck, GateFact, GateKind, JsonCheck, is_condition};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateCheckKind {
    Command,
    Signals,
    Governance,
    Lockfile,
    Compat,
    Evaluation,
}

/// One check of a gate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateCheckShape {
    pub kind: GateCheckKind,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub checks: Vec<String>,
    pub file: Option<String>,
    pub binary: Option<FactShape>,
    pub schema: Option<FactShape>,
    pub collection: Option<FactShape>,
    #[serde(default)]
    pub thresholds: IndexMap<String, serde_json::Value>,
}

impl GateCheckShape {
    /// Every field that only some kinds have, and whether it is given.
    pub fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("command", !self.command.is_empty()),
            ("checks", !self.checks.is_empty()),
            ("file", self.file.is_some()),
            ("binary", self.binary.is_some()),
            ("schema", self.schema.is_some()),
            ("collection", self.collection.is_some()),
            ("thresholds", !self.thresholds.is_empty()),
        ]
    }
}

/// A text, or a program that prints it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum FactShape {
    Is(String),
    Printed(Vec<String>),
}

impl Resolver<'_> {
    pub(super) fn gates(
        &mut self,
        gates: &Entries<IndexMap<String, toml::Spanned<GateCheckShape>>>,
        signals: &IndexMap<Arc<str>, SignalConfig>,
    ) -> Vec<Gate> {
        let mut all = Vec::new();
        for (name, (checks, span)) in gates {
            if checks.is_empty() {
                let hint = format!("write [gates.{name}.CHECK] with kind = \"command\" or another");
                self.findings.error(span.clone(), format!("gate `{name}` has no check"), Some(hint));
            }
            let one = |(check, shape): (&String, &toml::Spanned<GateCheckShape>)| {
                Some(GateCheck { name: check.clone(), kind: self.gate_kind(check, shape.get_ref(), shape.span(), signals)? })
            };
            let checks = checks.iter().filter_map(one).collect();
            all.push(Gate { name: name.to_string(), checks });
        }
        all
    }

    fn gate_kind(
        &mut self,
        name: &str,
        shape: &GateCheckShape,
        span: Range<usize>,
        signals: &IndexMap<Arc<str>, SignalConfig>,
    ) -> Option<GateKind> {
        let fields: &[&str] = match shape.kind {
            GateCheckKind::Command => &["command"],
            GateCheckKind::Signals => &["checks"],
            GateCheckKind::Governance | GateCheckKind::Lockfile => &["file"],
            GateCheckKind::Compat => &["file", "binary", "schema", "collection"],
            GateCheckKind::Evaluation => &["command", "thresholds"],
        };
        for (field, given) in shape.given() {
            if given != fields.contains(&field) {
                let what =
                    if given { format!("check `{name}` has no use for `{field}`") } else { format!("check `{name}` has no `{field}`") };
                let hint = suggestion(field, fields.iter().copied().filter(|_| given));
                self.findings.error(span.clone(), what, hint);
                return None;
            }
        }
        let file = || self.folder.join(shape.file.as_deref().unwrap_or_default());
        let fact = |fact: &Option<FactShape>| match fact {
            Some(FactShape::Is(text)) => GateFact::Is(text.clone()),
            Some(FactShape::Printed(argv)) => GateFact::Printed(self.beside(argv.clone())),
            None => GateFact::Is(String::new()),
        };
        Some(match shape.kind {
            GateCheckKind::Command => GateKind::Command(self.beside(shape.command.clone())),
            GateCheckKind::Governance => GateKind::Governance(file()),
            GateCheckKind::Lockfile => GateKind::Lockfile(file()),
            GateCheckKind::Compat => GateKind::Compat {
                file: file(),
                binary: fact(&shape.binary),
                schema: fact(&shape.schema),
                collection: fact(&shape.collection),
            },
            GateCheckKind::Signals => {
                GateKind::Signals(shape.checks.iter().filter_map(|text| self.gate_signal(text, &span, signals)).collect())
            }
            GateCheckKind::Evaluation => {
                let thresholds = shape.thresholds.iter().map(|(pointer, wanted)| self.threshold(pointer, wanted, &span)).collect();
                GateKind::Evaluation { argv: self.beside(shape.command.clone()), thresholds }
            }
        })
    }

    fn gate_signal(&mut self, text: &str, span: &Range<usize>, signals: &IndexMap<Arc<str>, SignalConfig>) -> Option<Check> {
        let (signal, condition) = match text.split_once(char::is_whitespace) {
            Some((signal, condition)) => (signal, Some(condition.trim().to_string())),
            None => (text, None),
        };
        let Some(known) = signals.get(signal) else {
            let hint = suggestion(signal, signals.keys().map(AsRef::as_ref));
            self.findings.error(span.clone(), format!("there is no signal `{signal}`"), hint);
            return None;
        };
        match condition.as_ref().map(|condition| Condition::parse(condition, known.signal.unit)) {
            Some(Err(e)) => self.findings.error(span.clone(), format!("{signal}: {e}"), None),
            Some(Ok(parsed)) => {
                let text = SpannedText::new(span.clone(), text.to_string());
                self.condition_makes_sense("checks", &text, &parsed, known.signal.unit, &known.question.ask);
            }
            None => {}
        }
        Some(Check { signal: signal.into(), condition })
    }

    fn threshold(&mut self, pointer: &str, wanted: &Json, span: &Range<usize>) -> JsonCheck {
        if !pointer.starts_with('/') {
            let hint = format!("write \"/{}\"", pointer.replace('.', "/"));
            self.findings.error(span.clone(), format!("`{pointer}` is not a JSON pointer"), Some(hint));
        }
        if let Some(text) = wanted.as_str().filter(|text| is_condition(text))
            && let Err(e) = Condition::parse(text, Unit::None)
        {
            self.findings.error(span.clone(), e, None);
        }
        JsonCheck { pointer: pointer.into(), is: wanted.clone() }
    }
}
