//! What has happened, gone through: the selection stays on what it is on, whatever happens meanwhile.

use crate::status::Moment;

#[derive(Clone, Debug, Default)]
pub struct TimelineView {
    /// `None`: the newest.
    selected: Option<Moment>,
}

impl TimelineView {
    /// Where the selection is among everything there is now.
    pub fn index(&self, all: &[Moment]) -> usize {
        self.selected.as_ref().and_then(|selected| all.iter().position(|moment| moment == selected)).unwrap_or(0)
    }

    pub fn select(&mut self, all: &[Moment], by: isize) {
        let last = all.len().saturating_sub(1);
        let next = self.index(all).saturating_add_signed(by).min(last);
        self.selected = all.get(next).filter(|_| next > 0).cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Stamp;
    use crate::status::MomentOf;

    #[test]
    fn the_selection_stays_where_it_is() {
        let of = |at: i64| Moment { at: Stamp(at), verdict: None, words: at.to_string(), of: MomentOf::Run(at.to_string()) };
        let mut all = vec![of(3), of(2), of(1)];
        let mut view = TimelineView::default();
        view.select(&all, 1);
        all.insert(0, of(4));
        assert_eq!(view.index(&all), 2, "what came meanwhile stands above it");
        view.select(&all, isize::MAX / 2);
        assert_eq!(view.index(&all), 3);
        view.select(&all, isize::MIN / 2);
        all.insert(0, of(5));
        assert_eq!(view.index(&all), 0, "whoever is at the top stays there");
        view.select(&[], 1);
        assert_eq!(view.index(&[]), 0);
    }
}
