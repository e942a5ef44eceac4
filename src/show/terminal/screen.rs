//! The screen: what is shown, and how the next frame gets there. A frame is the difference to the last one, written in
//! one piece inside synchronized output; a frame without a difference writes nothing.

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
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

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
        let mut screen =
            Screen { bytes: Vec::with_capacity(1 << 14), shown: Buffer::empty(area), next: Buffer::empty(area), cursor: None, mouse };
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
        let updates = self.shown.diff(&self.next);
        if updates.is_empty() && cursor == self.cursor && !anew {
            return Ok(());
        }
        queue!(self.bytes, BeginSynchronizedUpdate)?;
        if anew {
            queue!(self.bytes, Clear(ClearType::All))?;
        }
        if !updates.is_empty() {
            CrosstermBackend::new(&mut self.bytes).draw(updates.into_iter())?;
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
