//! `lastgreen check --export-rules`: the same rules as a file for Prometheus. What Prometheus cannot express is named in a
//! comment, not left out in silence.

use crate::config::Config;
use crate::judge::{Aggregate, Baseline, Condition, NoData, Operand, Rule, Signal, Span};
use crate::observe::reading::Ask;

/// The rules file, and the names of rules that could not be written with the reasons.
pub fn export(config: &Config) -> (String, Vec<(String, String)>) {
    let mut left = Vec::new();
    let mut body = String::new();
    for rule in &config.rules {
        match expression(config, rule) {
            Ok(expr) => {
                if rule.no_data == NoData::Keep {
                    body += "      # here it goes on firing while there is no data; in Prometheus it stops\n";
                }
                body += &entry(rule, &expr);
            }
            Err(why) => left.push((rule.name.to_string(), why)),
        }
    }
    let mut out = String::from("# Written by `lastgreen check --export-rules` from the rules in force.\n");
    for (name, why) in &left {
        out += &format!("# not expressible: {name}: {why}\n");
    }
    out += "groups:\n  - name: lastgreen\n    rules:\n";
    out += if body.is_empty() { "      []\n" } else { &body };
    (out, left)
}

fn entry(rule: &Rule, expr: &str) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let alert: String = rule.name.split('_').map(capitalized).collect();
    let mut out = format!("      - alert: {alert}\n        expr: {}\n", quote(expr));
    if !rule.hold.is_zero() {
        out += &format!("        for: {}s\n", rule.hold.as_secs());
    }
    out + &format!(
        "        labels:\n          severity: {}\n        annotations:\n          summary: {}\n          signal: {}\n",
        rule.level.word(),
        quote(&rule.summary),
        quote(&rule.signal)
    )
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn expression(config: &Config, rule: &Rule) -> Result<String, String> {
    let signal = config.signals.get(&rule.signal).ok_or("its signal is not configured")?;
    let Ask::Promql { query, .. } = &signal.question.ask else {
        return Err(format!("it is measured by {}, not by a metric", signal.question.source));
    };
    let mut expr = condition(query, &rule.condition, &signal.signal)?;
    if let Some(at_least) = signal.signal.at_least {
        let samples = signal.companions.iter().find(|q| q.name.ends_with("#samples")).map(|q| &q.ask);
        let Some(Ask::Promql { query: samples, .. }) = samples else { return Err("its minimum of samples is no metric".into()) };
        expr = format!("({expr}) and ({samples}) >= {at_least}");
    }
    if rule.no_data == NoData::Alert {
        expr = format!("({expr}) or absent({query})");
    }
    promql_parser::parser::parse(&expr).map_err(|e| format!("the expression would not be PromQL: {e}"))?;
    Ok(expr)
}

fn condition(query: &str, condition: &Condition, signal: &Signal) -> Result<String, String> {
    let value = match condition.window {
        None => format!("({query})"),
        Some((_, Span::Samples(_))) => return Err("Prometheus cannot count a window in samples".into()),
        Some((aggregate, Span::Time(span))) => {
            let function = match aggregate {
                Aggregate::Mean => "avg_over_time(",
                Aggregate::Min => "min_over_time(",
                Aggregate::Max => "max_over_time(",
                Aggregate::Median => "quantile_over_time(0.5, ",
            };
            format!("{function}({query})[{}s:])", span.as_secs())
        }
    };
    let op = condition.op.sign();
    Ok(match (&condition.operand, signal.baseline) {
        (Operand::Number(limit), _) => format!("{value} {op} {limit}"),
        (Operand::Baseline(factor), Some(Baseline::Fixed(base))) => format!("{value} {op} {}", factor * base),
        (Operand::Baseline(factor), Some(Baseline::Ago(ago))) => {
            format!("{value} {op} {factor} * last_over_time(({query})[5m:] offset {}s)", ago.as_secs())
        }
        (Operand::Baseline(factor), Some(Baseline::Median(over))) => {
            format!("{value} {op} {factor} * quantile_over_time(0.5, ({query})[{}s:5m])", over.as_secs())
        }
        (Operand::Baseline(_), None) => return Err("it has no baseline".into()),
        (Operand::Text(_), _) => return Err("a text is no metric".into()),
    })
}
