//! The newest values of lines beside their names: the worst first, and the rest counted where there is no room.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::width;
use crate::judge::Verdict;
use crate::show::theme::Role;

/// A line as the legend has it.
pub struct Entry {
    /// The letter it has in the chart; none where it stands alone, or is not drawn.
    pub letter: &'static str,
    pub letter_role: Role,
    pub label: String,
    pub value: String,
    /// The value is not what the source says now.
    pub old: bool,
    /// Where it is judged.
    pub verdict: Option<Verdict>,
    /// What was crossed, or what holds; empty where that is not said.
    pub target: String,
    /// How far it is on the bad side, among those of one verdict.
    pub badness: f64,
}

/// The worst first. Of equals the order stays, so that nothing jumps.
pub fn worst_first(entries: &mut [Entry]) {
    entries.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| b.badness.total_cmp(&a.badness)));
}

/// As many as fit in one row, from a column on; in detail each has a row of its own. Gives the rows used.
pub fn draw(paint: &mut Paint, area: Rect, (mut x, mut y): (u16, u16), entries: &[Entry], detailed: bool) -> u16 {
    let labelled = entries.len() > 1 || detailed;
    for (shown, entry) in entries.iter().enumerate() {
        let left = entries.len() - shown;
        let more = format!("+{left} more");
        let named = if labelled { width(&entry.label) + width(entry.letter) + 2 } else { 0 };
        let need = named + width(&entry.value) + if entry.verdict.is_some() { 2 } else { 0 };
        let kept = if left > 1 { width(&more) + 1 } else { 0 };
        let full =
            if detailed { y + 1 >= area.height && left > 1 } else { x > 0 && usize::from(x) + need + kept > usize::from(area.width) };
        if full {
            paint.text(area, x, y, &more, Role::Dim);
            break;
        }
        x = one(paint, area, (x, y), entry, labelled);
        if detailed {
            (x, y) = (0, y + 1);
        }
    }
    if detailed { y } else { 1 }
}

/// Gives the column behind it.
fn one(paint: &mut Paint, area: Rect, (mut x, y): (u16, u16), entry: &Entry, labelled: bool) -> u16 {
    if !entry.letter.is_empty() {
        x += paint.text(area, x, y, entry.letter, entry.letter_role) + 1;
    }
    // The first value is what the panel is about; its name is the panel's when it stands alone.
    if labelled {
        x += paint.text(area, x, y, &entry.label, Role::Dim) + 1;
    }
    let value_role = match entry.verdict {
        _ if entry.old => Role::Stale,
        Some(Verdict::Pass) | None => Role::Text,
        Some(bad) => role(bad),
    };
    x += paint.text(area, x, y, &entry.value, value_role) + 1;
    if let Some(verdict) = entry.verdict {
        x += paint.text(area, x, y, paint.symbol(verdict), role(verdict)) + 1;
    }
    let target = paint.condition(&entry.target);
    if !target.is_empty() && x + width(&target) as u16 <= area.width {
        x += paint.text(area, x, y, &target, Role::Dim) + 1;
    }
    x
}
