//! The screen: what is shown, and how the next frame gets there. A frame is the difference to the last one, written in
//! one piece inside synchronized output; a frame without a difference writes nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::style::ResetColor;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect};

use crate::base::text::width;

/// Whether the terminal is ours at the moment: what has to be given back when something goes wrong.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back as it was. Safe to call at any time, from anywhere, more than once.
pub fn restore() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        // Nothing can be done about a terminal that is gone.
        let _ = execute!(
            out,
            EndSynchronizedUpdate,
            DisableMouseCapture,
            DisableBracketedPaste,
            EnableLineWrap,
            ResetColor,
            Show,
            LeaveAlternateScreen
        );
        let _ = disable_raw_mode();
    }
}

/// Gives back the keyboard's mode only, without writing: for when writing is what hangs.
pub fn give_back_raw_mode() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
    }
}

pub struct Screen {
    /// The frame being composed.
    bytes: Vec<u8>,
    shown: Buffer,
    next: Buffer,
    cursor: Option<Position>,
    mouse: bool,
    /// The terminal knows no more than the sixteen colours of old.
    sixteen: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When the terminal cannot be put into raw mode or written to.
    pub fn enter(mouse: bool) -> io::Result<Screen> {
        // The theme decides about colours, `NO_COLOR` included: the library must not do so a second time.
        crossterm::style::force_color_output(true);
        let (width, height) = crossterm::terminal::size()?;
        let area = Rect::new(0, 0, width, height);
        let mut screen = Screen {
            bytes: Vec::with_capacity(1 << 14),
            shown: Buffer::empty(area),
            next: Buffer::empty(area),
            cursor: None,
            mouse,
            sixteen: false,
        };
        screen.take()?;
        Ok(screen)
    }

    /// Enters once more, after having been put into the background.
    ///
    /// # Errors
    /// As [`Screen::enter`].
    pub fn take(&mut self) -> io::Result<()> {
        ENTERED.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        let mut out = io::stdout();
        execute!(out, EnterAlternateScreen, EnableBracketedPaste, DisableLineWrap, Hide)?;
        if self.mouse {
            execute!(out, EnableMouseCapture)?;
        }
        let (width, height) = crossterm::terminal::size()?;
        self.resize(width, height);
        Ok(())
    }

    /// Whether the terminal knows no more than the sixteen colours of old.
    pub fn in_sixteen_colours(&mut self, sixteen: bool) {
        self.sixteen = sixteen;
    }

    pub fn area(&self) -> Rect {
        self.next.area
    }

    /// Everything is painted anew with the next frame.
    pub fn resize(&mut self, width: u16, height: u16) {
        let area = Rect::new(0, 0, width, height);
        self.next = Buffer::empty(area);
        self.forget();
    }

    pub fn forget(&mut self) {
        self.shown = Buffer::empty(Rect::ZERO);
    }

    /// Draws a frame; what `draw` returns is where the text cursor stands.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn frame(&mut self, draw: impl FnOnce(Rect, &mut Buffer) -> Option<Position>) -> io::Result<()> {
        self.next.reset();
        let cursor = draw(self.next.area, &mut self.next);
        self.compose(cursor)?;
        if !self.bytes.is_empty() {
            let mut out = io::stdout().lock();
            out.write_all(&self.bytes)?;
            out.flush()?;
            self.bytes.clear();
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        if self.next.area != self.shown.area {
            self.next = Buffer::empty(self.shown.area);
        }
        Ok(())
    }

    fn compose(&mut self, cursor: Option<Position>) -> io::Result<()> {
        let anew = self.shown.area != self.next.area;
        if anew {
            self.shown = Buffer::empty(self.next.area);
        }
        let mut updates = self.shown.diff(&self.next);
        let uncertain = uncertain_rows(&self.shown, &self.next, &updates);
        updates.retain(|(_, y, _)| !uncertain.contains(y));
        if updates.is_empty() && uncertain.is_empty() && cursor == self.cursor && !anew {
            return Ok(());
        }
        queue!(self.bytes, BeginSynchronizedUpdate)?;
        if anew {
            queue!(self.bytes, Clear(ClearType::All))?;
        }
        let from = self.bytes.len();
        if !updates.is_empty() {
            CrosstermBackend::new(&mut self.bytes).draw(updates.into_iter())?;
        }
        for y in uncertain {
            draw_whole(&mut self.bytes, &self.next, y)?;
        }
        if self.sixteen {
            let drawn = self.bytes.split_off(from);
            self.bytes.extend(in_sixteen(&drawn));
        }
        match cursor {
            Some(at) => queue!(self.bytes, MoveTo(at.x, at.y), Show)?,
            None if self.cursor.is_some() => queue!(self.bytes, Hide)?,
            None => {}
        }
        self.cursor = cursor;
        queue!(self.bytes, EndSynchronizedUpdate)
    }

    /// Whether a row of what is shown has this text.
    pub fn shows(&self, text: &str) -> bool {
        let width = usize::from(self.shown.area.width).max(1);
        self.shown.content.chunks(width).any(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().contains(text))
    }

    /// Writes a sequence that draws nothing.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn send(&mut self, sequence: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(sequence.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}
/// Whether terminals differ in how wide this is: clusters of several characters (Hindi, families), and flags.
fn is_uncertain(symbol: &str) -> bool {
    symbol.chars().nth(1).is_some() || symbol.chars().any(|c| ('\u{1f1e6}'..='\u{1f1ff}').contains(&c))
}

/// The rows in which something changes that have, or had, what terminals take for wider or narrower than it is here.
fn uncertain_rows(shown: &Buffer, next: &Buffer, updates: &[(u16, u16, &Cell)]) -> BTreeSet<u16> {
    let has = |buffer: &Buffer, y: u16| row(buffer, y).iter().any(|cell| is_uncertain(cell.symbol()));
    let rows: BTreeSet<u16> = updates.iter().map(|(_, y, _)| *y).collect();
    rows.into_iter().filter(|y| has(shown, *y) || has(next, *y)).collect()
}

fn row(buffer: &Buffer, y: u16) -> &[Cell] {
    let wide = usize::from(buffer.area.width);
    &buffer.content[usize::from(y) * wide..][..wide]
}

/// A row from nothing: what was left of cells that the terminal has placed otherwise goes, and behind each cell that it may
/// place otherwise the next one is placed by its own column.
fn draw_whole(bytes: &mut Vec<u8>, buffer: &Buffer, y: u16) -> io::Result<()> {
    queue!(bytes, ResetColor, MoveTo(0, y), Clear(ClearType::CurrentLine))?;
    let mut together: Vec<(u16, u16, &Cell)> = Vec::new();
    let mut x = 0;
    for (column, cell) in (0u16..).zip(row(buffer, y)) {
        // Covered by the wide one before it.
        if column < x {
            continue;
        }
        x = column + (width(cell.symbol()).max(1) as u16);
        together.push((column, y, cell));
        if is_uncertain(cell.symbol()) {
            // Each begins with a move.
            CrosstermBackend::new(&mut *bytes).draw(together.drain(..))?;
        }
    }
    CrosstermBackend::new(&mut *bytes).draw(together.into_iter())
}

/// The same with the sixteen colours by their own codes: the library writes those of the 256, which a terminal may not know.
fn in_sixteen(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let end = rest.iter().skip(2).position(|b| b.is_ascii_alphabetic()).map_or(rest.len(), |end| end + 3);
        let (sequence, after) = rest.split_at(end);
        match sequence.strip_suffix(b"m").map(|inner| String::from_utf8_lossy(&inner[2..]).into_owned()) {
            Some(colours) => out.extend_from_slice(format!("\x1b[{}m", by_their_codes(&colours)).as_bytes()),
            None => out.extend_from_slice(sequence),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// `38;5;9` is `91`.
fn by_their_codes(colours: &str) -> String {
    let mut fields = colours.split(';');
    let mut out = Vec::new();
    while let Some(field) = fields.next() {
        let ahead = fields.clone().take(2).collect::<Vec<_>>();
        match (field, ahead.as_slice()) {
            ("38" | "48", ["5", number]) if number.parse::<u8>().is_ok_and(|n| n < 16) => {
                let (number, base) = (number.parse::<u8>().unwrap_or(0), if field == "38" { 30 } else { 40 });
                out.push(if number < 8 { base + number } else { base + 52 + number }.to_string());
                fields.by_ref().take(2).for_each(drop);
            }
            _ => out.push(field.to_string()),
        }
    }
    out.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the terminal shows in a row, by a parser that takes each character for itself.
    fn as_shown(bytes: &[u8]) -> String {
        let mut parser = vt100::Parser::new(2, 20, 0);
        parser.process(bytes);
        parser.screen().contents()
    }

    #[test]
    fn a_row_that_terminals_measure_otherwise_is_drawn_whole() {
        let area = Rect::new(0, 0, 20, 2);
        let with = |text: &str, other: &str| {
            let mut buffer = Buffer::empty(area);
            buffer.set_string(0, 0, text, ratatui::style::Style::default());
            buffer.set_string(0, 1, other, ratatui::style::Style::default());
            buffer
        };
        let (flags, plain) = (with("\u{1f1e9}\u{1f1ea}x | end", "other"), with("y    | end", "other"));
        let rows = |a: &Buffer, b: &Buffer| uncertain_rows(a, b, &a.diff(b)).into_iter().collect::<Vec<_>>();
        assert_eq!((rows(&plain, &flags), rows(&flags, &plain)), (vec![0], vec![0]), "coming and going");
        assert!(rows(&flags, &flags).is_empty() && rows(&plain, &with("z", "other")).is_empty());
        // Whatever the terminal makes of them, what follows stands where it has to, and nothing is left of what was there.
        let mut bytes = b"leftleftleftleftleft".to_vec();
        draw_whole(&mut bytes, &flags, 0).expect("drawn");
        let shown = as_shown(&bytes);
        assert!(shown.trim_end().ends_with("x | end") && !shown.contains("left"), "{shown:?}");
        let mut bytes = Vec::new();
        draw_whole(&mut bytes, &with("\u{939}\u{93f}\u{928}|", ""), 0).expect("drawn");
        let moves = bytes.windows(2).filter(|pair| pair == b"\x1b[").count();
        assert!(moves >= 4, "one behind each: {:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn sixteen_colours_have_codes_of_their_own() {
        let of = |text: &str| String::from_utf8(in_sixteen(text.as_bytes())).expect("text");
        assert_eq!(of("a\x1b[38;5;9;48;5;0mb\x1b[1;38;5;3m\x1b[3;4Hc"), "a\x1b[91;40mb\x1b[1;33m\x1b[3;4Hc");
        assert_eq!(of("\x1b[38;5;200m 38;5;9 \x1b[0m"), "\x1b[38;5;200m 38;5;9 \x1b[0m");
    }
}
