//! Whether an answer is what was expected.

use serde_json::Value as Json;

use crate::base::units::Unit;
use crate::judge::{Condition, Op, Operand};
use crate::plan::runbook::{JsonCheck, is_condition};

/// Whether a value meets a condition as `>= 3` or `== green`.
///
/// # Errors
/// When the two cannot be compared.
pub fn meets(value: &Json, condition: &str) -> Result<bool, String> {
    let parsed = Condition::parse(condition, Unit::None)?;
    let number = match value {
        Json::Number(n) => n.as_f64(),
        Json::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match (&parsed.operand, number) {
        (Operand::Number(limit), Some(number)) => Ok(parsed.op.holds(number, *limit)),
        (Operand::Number(_), None) => Err(format!("{value} is no number to compare with `{condition}`")),
        (Operand::Text(want), _) => {
            let said = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            Ok((said == *want) == (parsed.op == Op::Equal))
        }
        (Operand::Baseline(_), _) => Err("a baseline belongs to a signal".into()),
    }
}

/// Whether a document has what is expected: what it has there, in words.
///
/// # Errors
/// What it has instead.
pub fn check(document: &Json, wanted: &JsonCheck) -> Result<String, String> {
    let Some(found) = document.pointer(&wanted.pointer) else { return Err(format!("the answer has nothing at `{}`", wanted.pointer)) };
    let fact = || format!("{} is {found}", wanted.pointer);
    match &wanted.is {
        Json::String(text) if is_condition(text) => match meets(found, text) {
            Ok(true) => Ok(fact()),
            Ok(false) => Err(format!("`{}` is {found}, wanted {text}", wanted.pointer)),
            Err(e) => Err(format!("`{}`: {e}", wanted.pointer)),
        },
        want => {
            let same = found == want
                || matches!((found.as_f64(), want.as_f64()), (Some(a), Some(b)) if a == b)
                // What a template made is a text.
                || want.as_str().is_some_and(|text| !found.is_string() && format!("{found}") == text);
            if same { Ok(fact()) } else { Err(format!("`{}` is {found}, wanted {want}", wanted.pointer)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expectations() {
        let document = json!({"canary": 0.0, "status": "green", "list": [1, 2], "n": "7"});
        let check = |pointer: &str, is: Json| check(&document, &JsonCheck { pointer: pointer.into(), is });
        assert_eq!(check("/canary", json!(0)), Ok("/canary is 0.0".into()));
        assert!(check("/canary", json!("0.0")).is_ok());
        assert_eq!(check("/status", json!("== green")), Ok("/status is \"green\"".into()));
        assert_eq!(check("/list/1", json!(">= 2")), Ok("/list/1 is 2".into()));
        assert!(check("/n", json!("> 6")).is_ok());
        assert!(check("/status", json!("red")).is_err());
        assert!(check("/list", json!("> 1")).is_err());
        assert!(check("/missing", json!(1)).is_err());
    }
}
