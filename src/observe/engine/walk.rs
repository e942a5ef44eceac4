//! The parts of a query, one after the other.

use promql_parser::parser::Expr;

/// Shows every part, the whole first.
pub(super) fn visit(expr: &Expr, see: &mut impl FnMut(&Expr)) {
    see(expr);
    for child in children(expr) {
        visit(child, see);
    }
}

pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(a) => std::iter::once(&*a.expr).chain(a.param.as_deref()).collect(),
        Expr::Unary(u) => vec![&u.expr],
        Expr::Binary(b) => vec![&b.lhs, &b.rhs],
        Expr::Paren(p) => vec![&p.expr],
        Expr::Subquery(s) => vec![&s.expr],
        Expr::Call(c) => c.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::VectorSelector(_) | Expr::MatrixSelector(_) | Expr::Extension(_) => {
            Vec::new()
        }
    }
}
