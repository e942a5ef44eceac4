//! Writing into the buffer: always inside its area, always in whole grapheme clusters, with the theme's glyphs.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use unicode_segmentation::UnicodeSegmentation;

use crate::base::text::{fit, width, wrap};
use crate::base::units::short;
use crate::judge::Verdict;
use crate::observe::reading::Freshness;
use crate::show::theme::{Glyphs, Role, Theme};

pub struct Paint<'a> {
    pub buffer: &'a mut Buffer,
    pub theme: &'a Theme,
}

impl<'a> Paint<'a> {
    pub fn new(buffer: &'a mut Buffer, theme: &'a Theme) -> Paint<'a> {
        Paint { buffer, theme }
    }

    pub fn unicode(&self) -> bool {
        self.theme.glyphs == Glyphs::Unicode
    }

    pub fn fill(&mut self, area: Rect, role: Role) {
        let style = self.theme.style(role);
        self.buffer.set_style(area.intersection(self.buffer.area), style);
    }

    /// Takes away whatever was drawn there, its colours too.
    pub fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                self.buffer[(x, y)].reset();
            }
        }
        self.fill(area, Role::Text);
    }

    /// Writes text at a place relative to the area, cut to it. Returns the cells used.
    pub fn text(&mut self, area: Rect, x: u16, y: u16, text: &str, role: Role) -> u16 {
        self.styled(area, x, y, text, self.theme.style(role))
    }

    /// A role's style for what is drawn over data: a line, and no slab of its background.
    pub fn drawn(&self, role: Role) -> Style {
        let (style, text) = (self.theme.style(role), self.theme.style(Role::Text));
        // What tells it apart by its background alone has that as its colour.
        let fg = match (style.bg, text.bg) {
            (Some(own), behind) if Some(own) != behind => Some(own),
            _ => style.fg,
        };
        Style { fg, bg: text.bg, ..style }.remove_modifier(Modifier::REVERSED)
    }

    pub fn styled(&mut self, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
        let area = area.intersection(self.buffer.area);
        if y >= area.height || x >= area.width {
            return 0;
        }
        let room = usize::from(area.width - x);
        let text = self.plain(text);
        let text = if width(&text) > room { self.plain(&fit(&text, room)) } else { text };
        let (mut at, end) = (area.x + x, area.x + area.width);
        for cluster in text.graphemes(true) {
            // Nothing but what draws in its cell gets into one.
            let cluster = if cluster.contains(char::is_control) { " " } else { cluster };
            let cells = width(cluster) as u16;
            if cells == 0 || at + cells > end {
                continue;
            }
            self.buffer[(at, area.y + y)].set_symbol(cluster).set_style(style);
            for covered in 1..cells {
                self.buffer[(at + covered, area.y + y)].reset();
            }
            at += cells;
        }
        at - area.x - x
    }

    fn plain(&self, text: &str) -> String {
        plain(text, self.theme.glyphs)
    }

    /// Writes text that ends at the area's right edge. Returns its first column.
    pub fn right(&mut self, area: Rect, y: u16, text: &str, role: Role) -> u16 {
        let x = area.width.saturating_sub(width(&self.plain(text)) as u16);
        self.text(area, x, y, text, role);
        x
    }

    pub fn symbol(&self, verdict: Verdict) -> &'static str {
        match (self.theme.glyphs, verdict) {
            (Glyphs::Unicode, Verdict::Pass) => "✓",
            (Glyphs::Unicode, Verdict::Warn) => "▲",
            (Glyphs::Unicode, Verdict::Fail) => "✗",
            (Glyphs::Ascii, Verdict::Pass) => "ok",
            (Glyphs::Ascii, Verdict::Warn) => "!",
            (Glyphs::Ascii, Verdict::Fail) => "X",
            (_, Verdict::Unknown) => "?",
        }
    }

    /// A condition with the signs the terminal has.
    pub fn condition(&self, text: &str) -> String {
        if self.unicode() { text.replace(">=", "≥").replace("<=", "≤") } else { text.to_string() }
    }

    pub fn stale_symbol(&self) -> &'static str {
        if self.unicode() { "◌" } else { "~" }
    }

    /// A line of text over several rows, broken between words. Returns the rows used.
    pub fn wrapped(&mut self, area: Rect, y: u16, text: &str, role: Role) -> u16 {
        let mut row = y;
        for line in wrap(text, usize::from(area.width)) {
            if row >= area.height {
                break;
            }
            self.text(area, 0, row, &line, role);
            row += 1;
        }
        row - y
    }
}

/// Without Unicode every other character becomes one the terminal has.
pub fn plain(text: &str, glyphs: Glyphs) -> String {
    if glyphs == Glyphs::Unicode || text.is_ascii() {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            '·' | '…' => out.push('.'),
            '—' | '–' | '─' | '┈' => out.push('-'),
            '≥' => out += ">=",
            '≤' => out += "<=",
            '│' => out.push('|'),
            // A `>` alone would compare.
            '→' => out += "->",
            'µ' => out.push('u'),
            _ => out.push('?'),
        }
    }
    out
}

pub fn role(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Pass => Role::Pass,
        Verdict::Warn => Role::Warn,
        Verdict::Fail => Role::Fail,
        Verdict::Unknown => Role::Unknown,
    }
}

/// An age that only moves when it means something: as long as a value is as new as it should be, only that is said.
pub fn age_words(age: Duration, interval: Duration, freshness: Freshness) -> String {
    match freshness {
        Freshness::Missing => String::new(),
        Freshness::Live if age < interval + interval / 2 => format!("<{}", short(interval.max(Duration::from_secs(1)))),
        Freshness::Live | Freshness::Late | Freshness::Stale => short(Duration::from_secs(age.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_leaves_its_area() {
        let theme = Theme::default();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 2));
        let mut paint = Paint::new(&mut buffer, &theme);
        let area = Rect::new(2, 0, 4, 1);
        for text in ["a long text", "日本語日本語", "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}", "x\u{0}y\u{1b}[31m", "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧"]
        {
            paint.text(area, 0, 0, text, Role::Text);
            paint.text(area, 3, 0, text, Role::Text);
            paint.text(area, 0, 1, text, Role::Text);
            paint.text(area, 9, 9, text, Role::Text);
            let clean = paint.buffer.content.iter().all(|cell| !cell.symbol().contains(char::is_control));
            assert!(clean, "no control character gets into a cell: {text:?}");
        }
        for (x, y) in [(0, 0), (1, 0), (6, 0), (7, 0), (2, 1)] {
            assert_eq!(buffer[(x, y)].symbol(), " ", "{x},{y}");
        }
    }
}
