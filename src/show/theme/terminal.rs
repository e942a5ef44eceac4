//! What the terminal can show, from what it says about itself, and colours brought down to that.

use ratatui::style::Color;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    None,
    Ansi,
    Indexed,
    Truecolor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    Unicode,
    Ascii,
}

/// The depth of colour by the environment's variables. `NO_COLOR` counts when it is set and not empty.
pub fn detect_depth(var: impl Fn(&str) -> Option<String>) -> Depth {
    let term = var("TERM").unwrap_or_default();
    if var("NO_COLOR").is_some_and(|v| !v.is_empty()) || term == "dumb" {
        return Depth::None;
    }
    let colorterm = var("COLORTERM").unwrap_or_default();
    if colorterm == "truecolor" || colorterm == "24bit" || term.ends_with("-direct") {
        Depth::Truecolor
    } else if term.contains("256color") {
        Depth::Indexed
    } else if term.is_empty() || term.starts_with("vt1") || term.starts_with("vt2") {
        Depth::None
    } else {
        Depth::Ansi
    }
}

/// Whether the terminal's locale is UTF-8. The Linux console has no braille and few symbols.
pub fn detect_glyphs(var: impl Fn(&str) -> Option<String>) -> Glyphs {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| var(name).filter(|v| !v.is_empty())).unwrap_or_default();
    let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
    let console = matches!(var("TERM").as_deref(), Some("linux" | "dumb" | "vt100" | "vt220"));
    if utf8 && !console { Glyphs::Unicode } else { Glyphs::Ascii }
}

/// The sixteen colours of old, as most terminals have them.
pub const ANSI: [(Color, [u8; 3]); 16] = [
    (Color::Black, [0, 0, 0]),
    (Color::Red, [205, 0, 0]),
    (Color::Green, [0, 205, 0]),
    (Color::Yellow, [205, 205, 0]),
    (Color::Blue, [0, 0, 238]),
    (Color::Magenta, [205, 0, 205]),
    (Color::Cyan, [0, 205, 205]),
    (Color::Gray, [229, 229, 229]),
    (Color::DarkGray, [127, 127, 127]),
    (Color::LightRed, [255, 0, 0]),
    (Color::LightGreen, [0, 255, 0]),
    (Color::LightYellow, [255, 255, 0]),
    (Color::LightBlue, [92, 92, 255]),
    (Color::LightMagenta, [255, 0, 255]),
    (Color::LightCyan, [0, 255, 255]),
    (Color::White, [255, 255, 255]),
];

impl Depth {
    /// The nearest colour that this depth has.
    pub fn lower(self, color: Color) -> Color {
        let rgb = match color {
            Color::Rgb(r, g, b) => [r, g, b],
            Color::Indexed(i) => <[u8; 3]>::from(ansi_colours::rgb_from_ansi256(i)),
            named => return if self == Depth::None { Color::Reset } else { named },
        };
        match self {
            Depth::None => Color::Reset,
            Depth::Truecolor => color,
            Depth::Indexed => match color {
                Color::Indexed(_) => color,
                _ => Color::Indexed(ansi_colours::ansi256_from_rgb((rgb[0], rgb[1], rgb[2]))),
            },
            Depth::Ansi => {
                let distance = |other: &[u8; 3]| (0..3).map(|i| (i32::from(rgb[i]) - i32::from(other[i])).pow(2)).sum::<i32>();
                ANSI.iter().min_by_key(|(_, other)| distance(other)).map_or(Color::Reset, |(color, _)| *color)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string())
    }

    #[test]
    fn depth_and_glyphs_from_the_environment() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Depth, Glyphs);
        let cases: [Case; 7] = [
            (&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("LANG", "en_US.UTF-8")], Depth::Truecolor, Glyphs::Unicode),
            (&[("TERM", "screen-256color"), ("LANG", "C.utf8")], Depth::Indexed, Glyphs::Unicode),
            (&[("TERM", "linux"), ("LANG", "de_DE.UTF-8")], Depth::Ansi, Glyphs::Ascii),
            (&[("TERM", "xterm"), ("LANG", "C")], Depth::Ansi, Glyphs::Ascii),
            (&[("TERM", "xterm-256color"), ("NO_COLOR", "1"), ("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], Depth::None, Glyphs::Ascii),
            (&[("TERM", "xterm-256color"), ("NO_COLOR", "")], Depth::Indexed, Glyphs::Ascii),
            (&[], Depth::None, Glyphs::Ascii),
        ];
        for (pairs, depth, glyphs) in cases {
            assert_eq!((detect_depth(env(pairs)), detect_glyphs(env(pairs))), (depth, glyphs), "{pairs:?}");
        }
    }

    #[test]
    fn colours_come_down() {
        assert_eq!(Depth::Indexed.lower(Color::Rgb(255, 0, 0)), Color::Indexed(196));
        assert_eq!(Depth::Ansi.lower(Color::Rgb(250, 5, 5)), Color::LightRed);
        assert_eq!(Depth::None.lower(Color::Red), Color::Reset);
        assert_eq!(Depth::Truecolor.lower(Color::Rgb(1, 2, 3)), Color::Rgb(1, 2, 3));
    }
}
