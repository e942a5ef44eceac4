//! `max_over_time` and `min_over_time` where samples may be no numbers.

use promql_parser::parser::Expr;

use super::walk::visit;

/// The same query where samples may be no numbers: the evaluator's extremes of a window without any are infinite, and
/// Prometheus' are NaN. `None`: it asks for no extremes.
pub(super) fn with_nan(expr: &Expr) -> Option<String> {
    let mut extremes: Vec<String> = Vec::new();
    visit(expr, &mut |e| {
        if let Expr::Call(c) = e
            && ["max_over_time", "min_over_time"].contains(&c.func.name)
            && !extremes.contains(&e.to_string())
        {
            extremes.push(e.to_string());
        }
    });
    let mut text = expr.to_string();
    for call in &extremes {
        let window = call.split_once('(')?.1.strip_suffix(')')?;
        let sound = format!("(min_over_time({window}) <= max_over_time({window}))");
        // Marked, so that what is put in is not replaced in its turn.
        text = text.replace(call.as_str(), &format!("(({call} and {sound}) or 0 * {call})").replace("_over_time", "_ꓽover_time"));
    }
    (!extremes.is_empty()).then(|| text.replace("_ꓽover_time", "_over_time"))
}
