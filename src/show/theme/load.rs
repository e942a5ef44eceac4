//! Theme files: `[roles]` with a colour or a style a role, over the theme named by `extends`.

use std::path::Path;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{Role, Theme};
use crate::base::diag::{Diagnostic, Findings, suggestion};
use crate::base::layer;

pub const SHIPPED: [(&str, &str); 5] = [
    ("dark", include_str!("../../../themes/dark.toml")),
    ("light", include_str!("../../../themes/light.toml")),
    ("high-contrast", include_str!("../../../themes/high-contrast.toml")),
    ("colour-blind", include_str!("../../../themes/colour-blind.toml")),
    ("mono", include_str!("../../../themes/mono.toml")),
];

/// The theme that goes with the terminal's background, and those for a dark and a light one.
pub const AUTO: &str = "auto";
pub const BY_BACKGROUND: [&str; 2] = ["dark", "light"];

pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Loads a shipped theme by name, or a file; relative paths count from `folder`.
///
/// # Errors
/// Every mistake found, with its place.
pub fn load(name: &str, folder: &Path) -> Result<Theme, Vec<Diagnostic>> {
    load_deep(if name == AUTO { BY_BACKGROUND[0] } else { name }, folder, 0)
}

fn load_deep(name: &str, folder: &Path, depth: usize) -> Result<Theme, Vec<Diagnostic>> {
    let (path, text) = layer::open("theme", name, folder, &SHIPPED)?;
    let mut theme = parse(&path, &text, folder, depth)?;
    theme.name = name.to_string();
    Ok(theme)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StyleShape {
    fg: Option<String>,
    bg: Option<String>,
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    dim: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    underlined: bool,
    #[serde(default)]
    reversed: bool,
}

/// Reads a theme's text; the path is for messages, other files count from `folder`.
///
/// # Errors
/// Every mistake found, with its place.
pub fn parse(path: &Path, text: &str, folder: &Path, depth: usize) -> Result<Theme, Vec<Diagnostic>> {
    let mut findings = Findings::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        findings.error(error.span().unwrap_or(0..0), error.message().to_string(), None);
    }
    let mut theme = Theme::default();
    if let Some((key, base)) = table.get_ref().get_key_value("extends") {
        match base.get_ref().as_str() {
            Some(base) if depth < layer::DEEPEST => theme = load_deep(base, folder, depth + 1)?,
            _ => findings.error(key.span(), "`extends` names another theme", suggestion("", shipped_names())),
        }
    }
    for (key, value) in table.get_ref().iter() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("extends", _) => {}
            ("roles", DeValue::Table(roles)) => {
                for (name, style) in roles.iter() {
                    let Some(role) = Role::ALL.iter().find(|role| role.name() == name.get_ref()) else {
                        let hint = suggestion(name.get_ref(), Role::ALL.iter().map(|r| r.name()));
                        findings.error(name.span(), format!("there is no role `{}`", name.get_ref()), hint);
                        continue;
                    };
                    match style_of(style) {
                        Ok(style) => theme.styles[*role as usize] = style,
                        Err((span, cause)) => {
                            findings.error(span, cause, Some("write \"#5fafff\", \"cyan\", 75, or { fg = \"cyan\", bold = true }".into()))
                        }
                    }
                }
            }
            (other, _) => findings.error(key.span(), format!("unknown section `{other}`"), suggestion(other, ["extends", "roles"])),
        }
    }
    if findings.has_errors() { Err(findings.found) } else { Ok(theme) }
}

type ThemeProblem = (std::ops::Range<usize>, String);

fn style_of(value: &toml::Spanned<DeValue<'_>>) -> Result<Style, ThemeProblem> {
    let span = value.span();
    let color = |text: &str| text.parse::<Color>().map_err(|_| (span.clone(), format!("`{text}` is no colour")));
    match value.get_ref() {
        DeValue::String(text) => Ok(Style::default().fg(color(text)?)),
        DeValue::Integer(number) => Ok(Style::default().fg(color(number.as_str())?)),
        DeValue::Table(_) => {
            let shape = StyleShape::deserialize(ValueDeserializer::from(value.clone()))
                .map_err(|e| (e.span().unwrap_or_else(|| span.clone()), e.message().to_string()))?;
            let mut style = Style::default().fg(Color::Reset);
            if let Some(fg) = &shape.fg {
                style = style.fg(color(fg)?);
            }
            if let Some(bg) = &shape.bg {
                style = style.bg(color(bg)?);
            }
            for (on, modifier) in [
                (shape.bold, Modifier::BOLD),
                (shape.dim, Modifier::DIM),
                (shape.italic, Modifier::ITALIC),
                (shape.underlined, Modifier::UNDERLINED),
                (shape.reversed, Modifier::REVERSED),
            ] {
                if on {
                    style = style.add_modifier(modifier);
                }
            }
            Ok(style)
        }
        _ => Err((span, "a role has a colour or a style".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_themes_load_and_style_every_role() {
        for name in shipped_names() {
            let theme = load(name, Path::new(".")).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(theme.name, name);
            assert_eq!(theme.styles.len(), Role::ALL.len());
        }
    }

    #[test]
    fn bad_colours_and_roles_have_a_place() {
        let errors = parse(
            Path::new("t.toml"),
            "extends = \"dark\"\n[roles]\ntext = \"#1\"\ntexxt = \"red\"\npass = { fg = \"red\", blod = true }\n",
            Path::new("."),
            0,
        )
        .expect_err("errors");
        let places: Vec<_> = errors.iter().map(|e| (e.line, e.column)).collect();
        assert_eq!(places, [(3, 8), (4, 1), (5, 22)], "{errors:?}");
        assert!(load("drak", Path::new(".")).expect_err("an error")[0].hint.as_deref() == Some("did you mean `dark`?"));
    }
}
