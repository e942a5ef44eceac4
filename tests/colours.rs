//! What shipped themes look like to eyes: contrast with the background by WCAG 2, and verdicts that stay apart without red or
//! green vision. Computed from the theme files.

use std::path::Path;

use lastgreen::show::theme::{ANSI, Role, Theme, load, shipped_names};
use ratatui::style::Color;

type Rgb = [u8; 3];

/// What terminals of that kind have behind them.
fn backgrounds(theme: &str) -> Vec<Rgb> {
    match theme {
        "light" => vec![[255, 255, 255], [250, 250, 250]],
        "high-contrast" => vec![[0, 0, 0]],
        _ => vec![[0, 0, 0], [30, 30, 30]],
    }
}

fn rgb(color: Color) -> Option<Rgb> {
    match color {
        Color::Rgb(r, g, b) => Some([r, g, b]),
        Color::Indexed(i) => Some(<[u8; 3]>::from(ansi_colours::rgb_from_ansi256(i))),
        // The terminal's own text on its own background is the user's choice.
        Color::Reset => None,
        named => Some(ANSI.iter().find(|(color, _)| *color == named).unwrap_or_else(|| panic!("{named:?} is not known here")).1),
    }
}

fn linear(rgb: Rgb) -> [f64; 3] {
    rgb.map(|c| f64::from(c) / 255.0).map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) })
}

fn luminance(rgb: Rgb) -> f64 {
    let [r, g, b] = linear(rgb);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// As somebody without the middle cones sees it (Machado, Oliveira and Fernandes 2009), in CIE L*a*b*.
fn without_green(rgb: Rgb) -> [f64; 3] {
    const SEEN: [[f64; 3]; 3] = [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]];
    let own = linear(rgb);
    let [r, g, b] = SEEN.map(|row| (0..3).map(|i| row[i] * own[i]).sum::<f64>().clamp(0.0, 1.0));
    let f = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
    let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.950_47);
    let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
    let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

fn apart(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (without_green(a), without_green(b));
    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
}

/// A role's colour, and what stands behind it.
fn of(theme: &Theme, role: Role, behind: Rgb) -> Option<(Rgb, Rgb)> {
    let style = theme.style(role);
    Some((rgb(style.fg?)?, style.bg.and_then(rgb).unwrap_or(behind)))
}

fn shipped() -> impl Iterator<Item = Theme> {
    shipped_names().map(|name| load(name, Path::new(".")).expect("a shipped theme"))
}

#[test]
fn text_and_marks_can_be_read_on_their_backgrounds() {
    let marks = [Role::Border, Role::Line1, Role::Line2, Role::Line3, Role::Line4, Role::Line5, Role::Line6];
    let mut wrong = Vec::new();
    for theme in shipped() {
        for behind in backgrounds(&theme.name) {
            for role in Role::ALL {
                let Some((own, behind)) = of(&theme, *role, behind) else { continue };
                let wanted = if marks.contains(role) { 3.0 } else { 4.5 };
                let found = contrast(own, behind);
                if found < wanted {
                    wrong.push(format!("{} {}: {found:.1} on {behind:?}, wanted {wanted}", theme.name, role.name()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn verdicts_stay_apart_and_have_their_colours_for_themselves() {
    let verdicts = [Role::Pass, Role::Warn, Role::Fail, Role::Unknown];
    for theme in shipped().filter(|theme| theme.name != "mono") {
        // What is said by a background of its own is seen by that.
        let seen = |role: Role| {
            let style = theme.style(role);
            style.bg.filter(|bg| Some(*bg) != theme.style(Role::Text).bg).or(style.fg).and_then(rgb).expect("a colour")
        };
        for (a, b) in [(Role::Pass, Role::Fail), (Role::Warn, Role::Fail), (Role::Pass, Role::Warn)] {
            let found = apart(seen(a), seen(b));
            assert!(found >= 20.0, "{}: {} and {} are {found:.0} apart", theme.name, a.name(), b.name());
        }
        for n in 0..6 {
            let line = Role::line(n);
            for verdict in verdicts {
                assert_ne!(seen(line), seen(verdict), "{}: {} has the colour of {}", theme.name, line.name(), verdict.name());
            }
        }
    }
}
