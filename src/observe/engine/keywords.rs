//! Labels that are called like a word of the language (`quantile`, `group`, `start`): the evaluator has them under other names.

use promql_parser::parser::{Expr, LabelModifier, VectorSelector};

/// Words the evaluator's own reader takes for keywords wherever they stand.
const KEYWORDS: &[&str] = &[
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "and",
    "or",
    "unless",
    "inf",
    "nan",
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
    "limitk",
    "limit_ratio",
    "atan2",
    "start",
    "end",
];

/// No label of a page begins with two of these.
const MARK: &str = "__word_";

pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name.to_ascii_lowercase().as_str())
}

/// What the evaluator has a label as.
pub(super) fn inside(label: &str) -> String {
    if is_keyword(label) { format!("{MARK}{label}") } else { label.to_string() }
}

/// And what it is called everywhere else.
pub(super) fn outside(label: String) -> String {
    label.strip_prefix(MARK).map(str::to_string).unwrap_or(label)
}

/// A query whose labels are called as the evaluator has them.
pub(super) fn with_own_labels(expr: &mut Expr) {
    match expr {
        Expr::VectorSelector(selector) => with_own_matchers(selector),
        Expr::MatrixSelector(matrix) => with_own_matchers(&mut matrix.vs),
        Expr::Aggregate(a) => {
            if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = &mut a.modifier {
                labels.labels.iter_mut().for_each(|label| *label = inside(label));
            }
            with_own_labels(&mut a.expr);
            a.param.iter_mut().for_each(|param| with_own_labels(param));
        }
        Expr::Unary(u) => with_own_labels(&mut u.expr),
        Expr::Binary(b) => {
            with_own_labels(&mut b.lhs);
            with_own_labels(&mut b.rhs);
        }
        Expr::Paren(p) => with_own_labels(&mut p.expr),
        Expr::Subquery(s) => with_own_labels(&mut s.expr),
        Expr::Call(c) => c.args.args.iter_mut().for_each(|arg| with_own_labels(arg)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn with_own_matchers(selector: &mut VectorSelector) {
    selector.matchers.matchers.iter_mut().for_each(|matcher| matcher.name = inside(&matcher.name));
}
