//! Named sets of checks, from `[gates.NAME.CHECK]`.

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::file::Entries;
use super::model::SignalConfig;
use super::resolver::Resolver;
use super::shape::{FactShape, GateCheckKind, GateCheckShape};
use crate::base::diag::suggestion;
use crate::base::units::Unit;
use crate::judge::Condition;
use crate::plan::deploy::{Fact, Gate, GateCheck, GateKind};
use crate::plan::runbook::{Check, JsonCheck, is_condition};

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
            Some(FactShape::Is(text)) => Fact::Is(text.clone()),
            Some(FactShape::Printed(argv)) => Fact::Printed(self.beside(argv.clone())),
            None => Fact::Is(String::new()),
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
        if let Some(Err(e)) = condition.as_ref().map(|condition| Condition::parse(condition, known.signal.unit)) {
            self.findings.error(span.clone(), format!("{signal}: {e}"), None);
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
