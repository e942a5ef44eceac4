//! Conditions as files write them: `>= 0.85`, `> 7%`, `> 3x baseline`, `mean < 0.75 over 50`, `== green`.

use std::fmt;
use std::time::Duration;

use crate::base::units::{Unit, duration, short};

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum Op {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    Differs,
}

impl Op {
    fn parse(text: &str) -> Option<(Op, &str)> {
        let all = [
            ("<=", Op::AtMost),
            (">=", Op::AtLeast),
            ("==", Op::Equal),
            ("!=", Op::Differs),
            ("≤", Op::AtMost),
            ("≥", Op::AtLeast),
            ("<", Op::Less),
            (">", Op::Greater),
        ];
        all.into_iter().find_map(|(sign, op)| text.strip_prefix(sign).map(|rest| (op, rest)))
    }

    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Op::Less => value < limit,
            Op::AtMost => value <= limit,
            Op::Greater => value > limit,
            Op::AtLeast => value >= limit,
            Op::Equal => value == limit,
            Op::Differs => value != limit,
        }
    }

    /// The sign of the opposite condition: what has to be true for the threshold not to be crossed.
    pub fn opposite(self) -> Op {
        match self {
            Op::Less => Op::AtLeast,
            Op::AtMost => Op::Greater,
            Op::Greater => Op::AtMost,
            Op::AtLeast => Op::Less,
            Op::Equal => Op::Differs,
            Op::Differs => Op::Equal,
        }
    }

    pub fn sign(self) -> &'static str {
        match self {
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::Greater => ">",
            Op::AtLeast => ">=",
            Op::Equal => "==",
            Op::Differs => "!=",
        }
    }
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Operand {
    Number(f64),
    /// This many times the signal's baseline.
    Baseline(f64),
    Text(String),
}

/// How the points of a window become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum Aggregate {
    Mean,
    Min,
    Max,
    Median,
}

/// The window a condition looks at; without one it looks at the newest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum Span {
    Samples(usize),
    Time(Duration),
}

#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Condition {
    pub op: Op,
    pub operand: Operand,
    pub window: Option<(Aggregate, Span)>,
    unit: Unit,
}

impl Condition {
    /// Reads a condition on values of `unit`.
    ///
    /// # Errors
    /// Says what is wrong and shows a right one.
    pub fn parse(text: &str, unit: Unit) -> Result<Condition, String> {
        let (rest, aggregate) = match text.trim().split_once(char::is_whitespace) {
            Some(("mean", rest)) => (rest, Some(Aggregate::Mean)),
            Some(("min", rest)) => (rest, Some(Aggregate::Min)),
            Some(("max", rest)) => (rest, Some(Aggregate::Max)),
            Some(("median", rest)) => (rest, Some(Aggregate::Median)),
            _ => (text.trim(), None),
        };
        let (op, rest) = Op::parse(rest.trim_start())
            .ok_or_else(|| format!("`{text}` is not a condition: begin with <, <=, >, >=, == or != (as in \">= 0.85\")"))?;
        let (operand, span) = match rest.split_once(" over ") {
            Some((operand, span)) => (operand.trim(), Some(parse_span(span)?)),
            None => (rest.trim(), None),
        };
        let window = match (aggregate, span) {
            (aggregate, Some(span)) => Some((aggregate.unwrap_or(Aggregate::Mean), span)),
            (Some(_), None) => return Err(format!("`{text}` needs a window: add \"over 50\" or \"over 5m\"")),
            (None, None) => None,
        };
        let operand = Self::parse_operand(operand, unit, op)?;
        if window.is_some() && matches!(operand, Operand::Text(_)) {
            return Err(format!("`{text}`: a text has no window"));
        }
        Ok(Condition { op, operand, window, unit })
    }

    fn parse_operand(text: &str, unit: Unit, op: Op) -> Result<Operand, String> {
        if let Some(factor) = text.strip_suffix("baseline") {
            let factor = factor.trim().trim_end_matches(['x', '×']).trim();
            if factor.is_empty() {
                return Ok(Operand::Baseline(1.0));
            }
            let parsed = factor.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
            return parsed.map(Operand::Baseline).ok_or_else(|| format!("`{factor}` is not a factor (write \"> 3x baseline\")"));
        }
        // In quotes it is a text, whatever it looks like.
        let quoted = ["'", "\""].iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
        if let (Some(inner), Op::Equal | Op::Differs) = (quoted, op) {
            return Ok(Operand::Text(inner.to_string()));
        }
        match unit.parse(text) {
            Ok(value) if value.is_finite() => Ok(Operand::Number(value)),
            Ok(_) => Err(format!("`{text}` is not a finite number")),
            Err(_) if matches!(op, Op::Equal | Op::Differs) && text.starts_with(char::is_alphabetic) => Ok(Operand::Text(text.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Whether it is about a number, and no text.
    pub fn wants_number(&self) -> bool {
        !matches!(self.operand, Operand::Text(_))
    }

    /// Where it is the same of every value that the unit has: whether it always holds, or never.
    pub fn is_settled(&self) -> Option<bool> {
        let Operand::Number(limit) = self.operand else { return None };
        // A change of something has these units, too, and goes below 0; that it is compared with 0 itself means a share or a count.
        let counts = matches!(self.unit, Unit::Count | Unit::Bytes | Unit::Score | Unit::Ratio | Unit::Percent);
        match (self.op, counts && limit == 0.0) {
            (Op::AtLeast, true) => Some(true),
            (Op::Less, true) => Some(false),
            _ => None,
        }
    }

    pub fn needs_baseline(&self) -> bool {
        matches!(self.operand, Operand::Baseline(_))
    }

    /// The condition that must hold for this one not to: `< 0.85` becomes `>= 0.85`.
    pub fn opposite(&self) -> Condition {
        Condition { op: self.op.opposite(), ..self.clone() }
    }
}

fn parse_span(text: &str) -> Result<Span, String> {
    let text = text.trim();
    let (number, word) = text.split_once(' ').unwrap_or((text, ""));
    match number.parse::<usize>() {
        Ok(0) => Err("a window of 0 samples holds nothing".into()),
        Ok(n) if matches!(word.trim(), "" | "samples" | "queries" | "points" | "rows") => Ok(Span::Samples(n)),
        _ => duration(text).map(Span::Time),
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((aggregate, _)) = self.window {
            let word = match aggregate {
                Aggregate::Mean => "mean",
                Aggregate::Min => "min",
                Aggregate::Max => "max",
                Aggregate::Median => "median",
            };
            write!(f, "{word} ")?;
        }
        write!(f, "{} ", self.op.sign())?;
        match &self.operand {
            Operand::Number(value) => f.write_str(&self.unit.format_limit(*value))?,
            Operand::Baseline(factor) => write!(f, "{factor}x baseline")?,
            Operand::Text(text) => f.write_str(text)?,
        }
        match self.window {
            Some((_, Span::Samples(n))) => write!(f, " over {n} samples"),
            Some((_, Span::Time(span))) => write!(f, " over {}", short(span)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_as_files_write_them() {
        let cases = [
            (">= 0.85", Unit::Score, ">= 0.85"),
            ("> 7%", Unit::Ratio, "> 7.0 %"),
            ("> 3x baseline", Unit::Seconds, "> 3x baseline"),
            ("> baseline", Unit::Seconds, "> 1x baseline"),
            ("mean < 0.75 over 50 queries", Unit::Score, "mean < 0.75 over 50 samples"),
            ("< 0.75 over 5m", Unit::Score, "mean < 0.75 over 5m"),
            ("max > 2500ms over 5m", Unit::Seconds, "max > 2.50 s over 5m"),
            ("== green", Unit::None, "== green"),
            ("!=0", Unit::Count, "!= 0"),
        ];
        for (text, unit, want) in cases {
            assert_eq!(Condition::parse(text, unit).map(|c| c.to_string()), Ok(want.to_string()), "{text}");
        }
        for text in [
            "0.85",
            "",
            ">",
            "> NaN",
            "mean < 1",
            "< 1 over 0",
            "< 1 over soon",
            "> green",
            "== green over 5m",
            "> 3y baseline",
            "> 0x baseline",
            "> -3x baseline",
            "> 1,000",
        ] {
            assert!(Condition::parse(text, Unit::None).is_err(), "{text}");
        }
    }
}
