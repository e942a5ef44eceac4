//! A signal's value in one line, as a person reads it.

use crate::base::units::{Unit, count_of};
use crate::judge::{Judgement, Signal, Verdict};
use crate::observe::reading::Value;

/// Nobody reads more of a text in one line.
const READ: usize = 500;

/// A signal's value in one line: of several numbers the bad ones first.
pub fn shown_of(signal: &Signal, judgement: &Judgement, value: &Value) -> String {
    match value {
        Value::Lines(lines) if matches!(judgement.verdict, Verdict::Warn | Verdict::Fail) => {
            let mut lines = lines.clone();
            // Of equals the order stays.
            lines.sort_by_cached_key(|line| std::cmp::Reverse(signal.verdict_of_line(judgement, &line.label, line.value)));
            told(&Value::Lines(lines), &|value| signal.shown(value))
        }
        value => told(value, &|value| signal.shown(value)),
    }
}

/// A value in one line.
pub fn shown(value: &Value, unit: Unit) -> String {
    told(value, &|value| unit.format(value))
}

fn told(value: &Value, number: &dyn Fn(f64) -> String) -> String {
    match value {
        Value::Number(n) => number(*n),
        Value::Text(text) => match text.char_indices().nth(READ) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.clone(),
        },
        Value::Lines(lines) => {
            let parts: Vec<String> = lines.iter().take(6).map(|l| format!("{} {}", l.label, number(l.value)).trim().to_string()).collect();
            let more = lines.len().saturating_sub(parts.len());
            parts.join(" · ") + &if more > 0 { format!(" · {more} more") } else { String::new() }
        }
        Value::Table(table) => count_of(table.rows.len(), "row"),
        Value::Events(events) => match events.iter().max_by_key(|event| event.at) {
            Some(last) => format!("{}, last {} {}", count_of(events.len(), "event"), last.at.date_hm(), last.kind),
            None => "none".into(),
        },
        Value::Alerts(alerts) => match alerts.len() {
            0 => "none".into(),
            n => count_of(n, "alert"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_nobody_reads_is_cut() {
        assert_eq!(shown(&Value::Text("short".into()), Unit::None), "short");
        let cut = shown(&Value::Text("é".repeat(5_000_000)), Unit::None);
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (READ + 1, true));
    }
}
