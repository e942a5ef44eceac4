//! How a list is looked at: sorted, filtered, scrolled. One shape for every panel that shows rows.

use crate::base::units::magnitude;
use crate::judge::Verdict;

/// How a list is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListView {
    /// The selected row, in the order shown.
    pub selected: usize,
    /// The column sorted by; none keeps the source's order.
    pub sort: Option<usize>,
    pub reverse: bool,
    pub filter: String,
}

/// A row of a list, with the verdict that colours it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub cells: Vec<String>,
    pub verdict: Option<Verdict>,
}

impl Row {
    /// Whether it is what has this name: it stands in the first or the second column.
    pub fn names(&self, name: &str) -> bool {
        self.cells.iter().take(2).any(|cell| cell == name)
    }

    /// The same thing as it is now: the row itself, or else the one with the same cells in the columns that name it.
    pub fn as_now<'r>(&self, rows: &'r [Row], named_by: std::ops::Range<usize>) -> Option<&'r Row> {
        let named = |row: &&Row| row.cells.get(named_by.clone()).is_some_and(|cells| Some(cells) == self.cells.get(named_by.clone()));
        rows.iter().find(|row| row.cells == self.cells).or_else(|| rows.iter().find(named))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableData {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// Columns that go first where there is little room.
    pub dispensable: &'static [usize],
}

impl ListView {
    /// The rows as shown: filtered, then sorted (numbers as numbers).
    pub fn shown(&self, data: &TableData) -> Vec<Row> {
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<Row> =
            data.rows.iter().filter(|r| wanted.is_empty() || r.cells.iter().any(|c| c.to_lowercase().contains(&wanted))).cloned().collect();
        if let Some(column) = self.sort {
            rows.sort_by(|a, b| compare(a.cells.get(column), b.cells.get(column)));
        }
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    /// Moves the selection, staying inside.
    pub fn select(&mut self, by: isize, len: usize) {
        self.selected = self.selected.min(len.saturating_sub(1)).saturating_add_signed(by).min(len.saturating_sub(1));
    }
}

fn compare(a: Option<&String>, b: Option<&String>) -> std::cmp::Ordering {
    let number = |text: &String| magnitude(text);
    match (a.and_then(number), b.and_then(number)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> TableData {
        let row = |a: &str, b: &str| Row { cells: vec![a.into(), b.into()], verdict: None };
        TableData {
            columns: ["name", "n"].map(str::to_string).to_vec(),
            rows: vec![row("b", "10"), row("a", "9"), row("c", "1,200")],
            dispensable: &[],
        }
    }

    #[test]
    fn numbers_sort_as_numbers_and_filters_ignore_case() {
        let names = |view: &ListView| view.shown(&data()).iter().map(|r| r.cells[0].clone()).collect::<String>();
        assert_eq!(names(&ListView::default()), "bac");
        assert_eq!(names(&ListView { sort: Some(1), ..ListView::default() }), "abc");
        assert_eq!(names(&ListView { sort: Some(1), reverse: true, ..ListView::default() }), "cba");
        assert_eq!(names(&ListView { filter: "A".into(), ..ListView::default() }), "a");
    }

    #[test]
    fn a_row_is_found_again_by_what_names_it() {
        let row = |cells: [&str; 3]| Row { cells: cells.map(str::to_string).to_vec(), verdict: None };
        let rows = [row(["a", "scrape", "up"]), row(["b", "scrape", "up"]), row(["c", "http", "failing"])];
        let found = |was: [&str; 3]| row(was).as_now(&rows, 0..1).map(|now| now.cells[0].clone());
        assert_eq!(found(["b", "scrape", "up"]).as_deref(), Some("b"), "not the first that looks alike");
        assert_eq!(found(["c", "http", "up"]).as_deref(), Some("c"), "as it is now");
        assert_eq!(found(["d", "scrape", "up"]), None);
    }

    #[test]
    fn the_selection_stays_inside() {
        let mut view = ListView::default();
        view.select(5, 3);
        assert_eq!(view.selected, 2);
        view.select(-9, 3);
        assert_eq!(view.selected, 0);
        view.select(1, 0);
        assert_eq!(view.selected, 0);
    }
}
