//! What a state looks like, as text.

use std::path::Path;

use lastgreen::show::cockpit::State;
use lastgreen::show::theme::{self, Depth, Glyphs, Theme};
use lastgreen::show::view;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

pub fn theme(glyphs: Glyphs) -> Theme {
    theme::load("dark", Path::new(".")).expect("a theme").shown_on(Depth::Indexed, glyphs)
}

pub fn picture(state: &State, theme: &Theme, width: u16, height: u16) -> (String, Buffer) {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    view::draw(state, theme, area, &mut buffer);
    let rows: Vec<String> = buffer
        .content
        .chunks(usize::from(width))
        .map(|row| row.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_string())
        .collect();
    (rows.join("\n"), buffer)
}
