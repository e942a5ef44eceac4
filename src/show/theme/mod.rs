//! Themes: a closed set of roles and the style of each. Files are strict (unknown roles and colours are errors), shipped
//! ones are the same files, and every theme is brought down to what the terminal can show.

mod load;
mod terminal;

pub use load::{AUTO, BY_BACKGROUND, SHIPPED, load, parse, shipped_names};
pub use terminal::{ANSI, Depth, Glyphs, detect_depth, detect_glyphs};

use ratatui::style::{Color, Modifier, Style};

macro_rules! roles {
    ($($role:ident $name:literal;)+) => {
        /// What a piece of the screen is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Role { $($role,)+ }

        impl Role {
            pub const ALL: &[Role] = &[$(Role::$role,)+];

            pub fn name(self) -> &'static str {
                match self { $(Role::$role => $name,)+ }
            }
        }
    };
}

roles! {
    Text "text";
    Dim "dim";
    Title "title";
    Focus "focus";
    Border "border";
    Accent "accent";
    Selection "selection";
    Match "match";
    Pass "pass";
    Warn "warn";
    Fail "fail";
    Unknown "unknown";
    Stale "stale";
    Production "production";
    Staging "staging";
    Development "development";
    Line1 "line-1";
    Line2 "line-2";
    Line3 "line-3";
    Line4 "line-4";
    Line5 "line-5";
    Line6 "line-6";
}

impl Role {
    /// The role of the n-th line of a chart.
    pub fn line(n: usize) -> Role {
        [Role::Line1, Role::Line2, Role::Line3, Role::Line4, Role::Line5, Role::Line6][n % 6]
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    pub name: String,
    styles: Vec<Style>,
    pub glyphs: Glyphs,
    /// How many colours the terminal has.
    pub depth: Depth,
}

impl Theme {
    pub fn style(&self, role: Role) -> Style {
        self.styles[role as usize]
    }

    /// Brought down to what the terminal can show.
    #[must_use]
    pub fn shown_on(mut self, depth: Depth, glyphs: Glyphs) -> Theme {
        for style in &mut self.styles {
            style.fg = style.fg.map(|c| depth.lower(c));
            style.bg = style.bg.map(|c| depth.lower(c));
        }
        if depth == Depth::None {
            // What colour said, attributes must say.
            for (role, modifier) in [
                (Role::Selection, Modifier::REVERSED),
                (Role::Match, Modifier::REVERSED),
                (Role::Fail, Modifier::BOLD),
                (Role::Focus, Modifier::BOLD),
                (Role::Production, Modifier::REVERSED.union(Modifier::BOLD)),
                (Role::Staging, Modifier::REVERSED),
                (Role::Stale, Modifier::DIM),
                (Role::Dim, Modifier::DIM),
            ] {
                let style = &mut self.styles[role as usize];
                *style = style.add_modifier(modifier);
            }
        }
        (self.glyphs, self.depth) = (glyphs, depth);
        self
    }
}

impl Default for Theme {
    fn default() -> Theme {
        Theme {
            name: "plain".into(),
            styles: vec![Style::default().fg(Color::Reset); Role::ALL.len()],
            glyphs: Glyphs::Unicode,
            depth: Depth::Truecolor,
        }
    }
}
