//! The gate in front of the evaluator. promql-parser reads the whole language and finds mistakes offline; of what it
//! reads, only the part that the evaluator is known to answer as Prometheus does is let through (the parity test holds
//! it to that). Everything else is refused with the name of the construct.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use promql_parser::label::MatchOp;
use promql_parser::parser::token::{T_COUNT_VALUES, T_GROUP, T_LIMIT_RATIO, T_LIMITK, T_POW, T_QUANTILE, TokenType};
use promql_parser::parser::{self, BinaryExpr, Call, Expr, Offset, VectorMatchCardinality, VectorSelector};

use super::extremes::with_nan;
use super::keywords::{is_keyword, with_own_labels};
use super::walk::{children, visit};

/// A query that cannot be used, with the byte offset in it when that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct PromqlError {
    pub cause: String,
    pub at: Option<usize>,
}

/// A query the embedded engine answers rightly.
#[derive(Clone, Debug)]
pub struct Supported {
    /// For the evaluator, in canonical spelling.
    pub(super) text: String,
    /// The same where samples may be no numbers, if that makes a difference.
    pub(super) text_with_nan: Option<String>,
    /// The quantile to take of the evaluator's answer here, because its own differs above the highest bucket.
    pub(super) quantile: Option<f64>,
    pub(super) keeps_name: bool,
    /// How far back the query looks.
    pub reach: Duration,
}

/// Longer queries and deeper nestings are refused before anything recursive sees them.
const LONGEST: usize = 8192;
const DEEPEST: usize = 64;

/// Functions of a range that agree with Prometheus.
const OVER_RANGE: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
];

/// Functions of an instant vector (or nothing) that agree with Prometheus.
const OVER_INSTANT: &[&str] = &[
    "abs",
    "ceil",
    "floor",
    "sqrt",
    "exp",
    "ln",
    "log2",
    "log10",
    "scalar",
    "vector",
    "time",
    "timestamp",
    "absent",
    "hour",
    "minute",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "pi",
];

/// Reads a query; checks its syntax and types.
///
/// # Errors
/// Says what is wrong, with the offset where it can be found.
pub fn check(query: &str) -> Result<Expr, PromqlError> {
    if query.len() > LONGEST {
        return Err(PromqlError { cause: format!("the query is longer than {LONGEST} bytes"), at: None });
    }
    let query = &without_comments(query);
    brackets(query)?;
    // The parser panics on durations beyond its range.
    match catch_unwind(AssertUnwindSafe(|| parser::parse(query))) {
        Ok(Ok(expr)) => Ok(expr),
        Ok(Err(cause)) => {
            let at = quoted_word(&cause).and_then(|word| query.find(word));
            let cause = if cause == "invalid promql query" { "this is not PromQL".to_string() } else { cause };
            Err(PromqlError { cause, at })
        }
        Err(_) => Err(PromqlError { cause: "a duration or number is out of range".into(), at: None }),
    }
}

/// `unknown function with name 'rat'` → `rat`.
fn quoted_word(cause: &str) -> Option<&str> {
    let start = cause.find('\'')? + 1;
    let end = start + cause[start..].find('\'')?;
    (end > start).then(|| &cause[start..end])
}

/// The query without its comments.
pub fn without_comments(query: &str) -> String {
    let (mut quote, mut escaped, mut comment) = (None, false, false);
    let keep = query.chars().filter(|c| {
        if comment {
            comment = *c != '\n';
            return !comment;
        }
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(q), '\\') if q != '`' => escaped = true,
            (Some(q), c) if *c == q => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(*c),
            (None, '#') => comment = true,
            _ => {}
        }
        !comment
    });
    keep.collect::<String>().trim_end().to_string()
}

/// Brackets must close in order, and not nest too deeply for what is recursive behind.
fn brackets(query: &str) -> Result<(), PromqlError> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in query.char_indices() {
        if let Some(q) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' if q != '`' => escaped = true,
                c if c == q => quote = None,
                _ => {}
            }
            continue;
        }
        match c {
            '"' | '\'' | '`' => quote = Some(c),
            '(' | '[' | '{' => open.push((at, c)),
            ')' | ']' | '}' => {
                let want = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop().map(|(_, o)| o) != Some(want) {
                    return Err(PromqlError { cause: format!("`{c}` closes nothing"), at: Some(at) });
                }
            }
            _ => {}
        }
        if open.len() > DEEPEST {
            return Err(PromqlError { cause: format!("nested deeper than {DEEPEST}"), at: Some(at) });
        }
    }
    match (open.pop(), quote) {
        (_, Some(q)) => Err(PromqlError { cause: format!("a string that begins with {q} does not end"), at: None }),
        (Some((at, c)), None) => Err(PromqlError { cause: format!("`{c}` is never closed"), at: Some(at) }),
        (None, None) => Ok(()),
    }
}

/// The instant selectors a query rests on, as PromQL, each once, without offsets: whose newest sample says how old the
/// answer really is.
pub fn selectors(expr: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    let mut of_absence = false;
    visit(expr, &mut |e| of_absence |= matches!(e, Expr::Call(c) if c.func.name.starts_with("absent")));
    // Who asks whether something is missing gets the answer when it is.
    if of_absence {
        return found;
    }
    visit(expr, &mut |e| {
        let selector = match e {
            Expr::VectorSelector(vs) => vs,
            Expr::MatrixSelector(ms) => &ms.vs,
            _ => return,
        };
        let bare = VectorSelector { offset: None, at: None, ..selector.clone() };
        let text = bare.to_string();
        if !found.contains(&text) {
            found.push(text);
        }
    });
    found
}

/// The metric names a query reads; `None` when a selector names no metric.
pub(super) fn metric_names(expr: &Expr) -> Option<Vec<String>> {
    let mut names = Some(Vec::new());
    visit(expr, &mut |e| {
        let selector = match e {
            Expr::VectorSelector(vs) => vs,
            Expr::MatrixSelector(ms) => &ms.vs,
            _ => return,
        };
        match (&mut names, &selector.name) {
            (Some(names), Some(name)) => names.push(name.clone()),
            _ => names = None,
        }
    });
    names
}

/// How far back the query looks: its longest range and offset.
fn reach(expr: &Expr) -> Duration {
    let mut longest = Duration::ZERO;
    visit(expr, &mut |e| {
        let (range, selector) = match e {
            Expr::VectorSelector(vs) => (Duration::ZERO, vs),
            Expr::MatrixSelector(ms) => (ms.range, &ms.vs),
            _ => return,
        };
        let offset = match selector.offset {
            Some(Offset::Pos(by)) => by,
            _ => Duration::ZERO,
        };
        longest = longest.max(range + offset);
    });
    longest
}

/// Lets a query through to the evaluator, or refuses it by the name of what is not known to be right.
///
/// # Errors
/// Those of [`check`], and the refusals.
pub fn supported(query: &str) -> Result<Supported, PromqlError> {
    let mut expr = check(query)?;
    with_own_labels(&mut expr);
    let refuse = |what: String| {
        let at = what.split('`').nth(1).and_then(|word| query.find(word));
        PromqlError { cause: format!("the embedded engine does not answer {what}"), at }
    };
    if let Some((phi, inner)) = quantile_at_root(&expr) {
        admit(inner, 0).map_err(refuse)?;
        let text_with_nan = with_nan(inner);
        return Ok(Supported { text: inner.to_string(), text_with_nan, quantile: Some(phi), keeps_name: false, reach: reach(inner) });
    }
    admit(&expr, 0).map_err(refuse)?;
    let text_with_nan = with_nan(&expr);
    Ok(Supported { text: expr.to_string(), text_with_nan, quantile: None, keeps_name: keeps_name(&expr), reach: reach(&expr) })
}

/// Quantiles that are none: they give infinity, and are compared with that for ever.
pub fn impossible_quantiles(expr: &Expr) -> Vec<f64> {
    let mut found = Vec::new();
    visit(expr, &mut |part| {
        let asked = match part {
            Expr::Call(c) if ["histogram_quantile", "quantile_over_time"].contains(&c.func.name) => c.args.args.first().map(AsRef::as_ref),
            Expr::Aggregate(a) if a.op.id() == T_QUANTILE => a.param.as_deref(),
            _ => None,
        };
        if let Some(Expr::NumberLiteral(phi)) = asked {
            found.extend((!(0.0..=1.0).contains(&phi.val)).then_some(phi.val));
        }
    });
    found
}

fn quantile_at_root(expr: &Expr) -> Option<(f64, &Expr)> {
    match expr {
        Expr::Paren(p) => quantile_at_root(&p.expr),
        Expr::Call(c) if c.func.name == "histogram_quantile" => match (&*c.args.args[0], &*c.args.args[1]) {
            (Expr::NumberLiteral(phi), inner) => Some((phi.val, inner)),
            _ => None,
        },
        _ => None,
    }
}

fn admit(expr: &Expr, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("expressions nested deeper than {DEEPEST}"));
    }
    match expr {
        Expr::NumberLiteral(_) => {}
        Expr::StringLiteral(s) => plain_text(&s.val)?,
        Expr::VectorSelector(vs) => selector(vs)?,
        Expr::MatrixSelector(ms) => selector(&ms.vs)?,
        Expr::Paren(_) => {}
        Expr::Unary(u) => {
            if matches!(&*u.expr, Expr::Binary(_)) {
                return Err("`-` before an operator without parentheses".into());
            }
        }
        Expr::Binary(b) => binary(b)?,
        Expr::Aggregate(a) => aggregate(a.op, a.modifier.as_ref())?,
        Expr::Call(c) => call(c)?,
        Expr::Subquery(_) => return Err("sub-queries (`[…:…]`)".into()),
        Expr::Extension(_) => return Err("extensions".into()),
    }
    children(expr).into_iter().try_for_each(|child| admit(child, depth + 1))
}

fn selector(vs: &VectorSelector) -> Result<(), String> {
    let Some(name) = &vs.name else { return Err("selectors without a metric name".into()) };
    plain_name(name)?;
    if vs.at.is_some() {
        return Err("the `@` modifier".into());
    }
    if !vs.matchers.or_matchers.is_empty() {
        return Err("`or` between label matchers".into());
    }
    for matcher in &vs.matchers.matchers {
        plain_name(&matcher.name)?;
        plain_text(&matcher.value)?;
        if matcher.name == "__name__" {
            return Err("matchers on `__name__`".into());
        }
        if let MatchOp::Re(_) | MatchOp::NotRe(_) = matcher.op
            && matcher.value.contains("(?")
        {
            return Err("regular expressions with `(?` flags".into());
        }
    }
    Ok(())
}

fn binary(b: &BinaryExpr) -> Result<(), String> {
    if let Some(modifier) = &b.modifier {
        if modifier.matching.is_some() {
            return Err("`on` and `ignoring`".into());
        }
        if matches!(modifier.card, VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::OneToMany(_)) {
            return Err("`group_left` and `group_right`".into());
        }
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err("`fill` modifiers".into());
        }
    }
    if b.op.id() == T_POW && matches!(&*b.lhs, Expr::Unary(_) | Expr::NumberLiteral(_)) && b.lhs.to_string().starts_with('-') {
        return Err("`-` before `^`".into());
    }
    Ok(())
}

fn aggregate(op: TokenType, modifier: Option<&parser::LabelModifier>) -> Result<(), String> {
    match op.id() {
        T_LIMITK | T_LIMIT_RATIO => return Err(format!("`{op}`")),
        T_GROUP | T_QUANTILE => {}
        // The value's label could collide with a grouping label.
        T_COUNT_VALUES if modifier.is_some() => return Err("`count_values` with grouping".into()),
        _ => {}
    }
    let names = match modifier {
        None => return Ok(()),
        Some(parser::LabelModifier::Include(labels) | parser::LabelModifier::Exclude(labels)) => &labels.labels,
    };
    names.iter().try_for_each(|name| if name == "__name__" { Err("grouping by `__name__`".into()) } else { plain_name(name) })
}

fn call(c: &Call) -> Result<(), String> {
    let name = c.func.name;
    if name == "histogram_quantile" {
        return Err("`histogram_quantile` inside another expression, or with a quantile that is not a number".into());
    }
    if OVER_RANGE.contains(&name) {
        return Ok(());
    }
    if name == "timestamp" && !matches!(c.args.args.first().map(AsRef::as_ref), Some(Expr::VectorSelector(_))) {
        return Err("`timestamp` of anything but a selector".into());
    }
    if name == "absent" {
        let plain = |e: &Expr| matches!(e, Expr::VectorSelector(vs) if vs.matchers.matchers.iter().all(|m| matches!(m.op, MatchOp::Equal)));
        if !c.args.args.first().is_some_and(|arg| plain(arg)) {
            return Err("`absent` of anything but a selector with `=` matchers".into());
        }
    }
    if ["clamp", "clamp_min", "clamp_max"].contains(&name) {
        return if c.args.args[1..].iter().all(|a| matches!(&**a, Expr::NumberLiteral(n) if n.val.is_finite())) {
            Ok(())
        } else {
            Err(format!("`{name}` with bounds that are not numbers"))
        };
    }
    if OVER_INSTANT.contains(&name) { Ok(()) } else { Err(format!("the function `{name}`")) }
}

fn plain_name(name: &str) -> Result<(), String> {
    let ascii = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    if !ascii || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("the quoted name `{name}`"));
    }
    if is_keyword(name) {
        return Err(format!("the name `{name}`, which is a keyword"));
    }
    Ok(())
}

fn plain_text(text: &str) -> Result<(), String> {
    if text.chars().all(|c| c.is_ascii() && !c.is_ascii_control()) { Ok(()) } else { Err("strings outside printable ASCII".into()) }
}

/// Whether the answer's series keep their metric names, as Prometheus would have it.
fn keeps_name(expr: &Expr) -> bool {
    match expr {
        Expr::VectorSelector(_) => true,
        Expr::Paren(p) => keeps_name(&p.expr),
        Expr::Call(c) => c.func.name == "last_over_time",
        Expr::Aggregate(a) => matches!(a.op.to_string().as_str(), "topk" | "bottomk") && keeps_name(&a.expr),
        Expr::Binary(b) if b.op.is_set_operator() => keeps_name(&b.lhs),
        Expr::Binary(b) if b.op.is_comparison_operator() && !b.return_bool() => {
            // A filter: what is kept is the vector's side.
            if matches!(b.lhs.value_type(), parser::value::ValueType::Scalar) { keeps_name(&b.rhs) } else { keeps_name(&b.lhs) }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_named() {
        let cases = [
            ("max_over_time(rate(x[5m])[1h:5m])", "sub-queries"),
            ("a / on(job) b", "`on`"),
            ("a * on(job) group_left(x) b", "`on`"),
            ("-(2) ^ 2", "`-` before"),
            ("holt_winters(x[5m], 0.5, 0.5)", "holt_winters"),
            ("label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")", "`label_replace`"),
            ("histogram_quantile(0.9, a) > 1", "`histogram_quantile`"),
            ("{job=\"a\"}", "without a metric name"),
            ("x @ 100", "`@`"),
            ("sort(x)", "`sort`"),
            ("x{a=\"日本\"}", "ASCII"),
            ("sum by (__name__) (x)", "`__name__`"),
            ("clamp(x, scalar(y), 1)", "`clamp`"),
        ];
        for (query, want) in cases {
            let error = supported(query).expect_err(query);
            assert!(error.cause.contains(want), "{query}: {error}");
        }
    }

    #[test]
    fn what_is_let_through() {
        for query in [
            "up",
            "sum by (code) (rate(http_requests_total{code=~\"5..\"}[5m])) / 1e3",
            "histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))",
            "(a) < (b) or (b)",
            "count_values(\"s0\", max(timestamp(up)))",
            "x offset 5m",
            "-x",
            "sum by (group) (x{quantile=\"0.5\"})",
        ] {
            supported(query).unwrap_or_else(|e| panic!("{query}: {e}"));
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        let cases = [("sum(rate(x[5m])", Some(3)), ("a)", Some(1)), ("1 + rat(x[5m])", Some(4)), ("x[1e30]", None), ("sum by", None)];
        for (query, at) in cases {
            assert_eq!(check(query).expect_err(query).at, at, "{query}");
        }
    }

    #[test]
    fn selectors_are_found_once_and_bare() {
        let expr = check("sum(rate(x{a=\"b\"}[5m] offset 1h)) / sum(rate(x{a=\"b\"}[5m])) + y").expect("PromQL");
        assert_eq!(selectors(&expr), ["x{a=\"b\"}", "y"]);
    }
}
