//! Keys and what they lead to, in a small language: a case is a line of keys, and what is to be seen of the cockpit's state
//! behind it. `<tab>` is a key by its name (`<c-…>` with Ctrl, `<s-…>` with Shift), anything else a character.

use std::path::Path;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lastgreen::base::clock::Stamp;
use lastgreen::config::load_text;
use lastgreen::show::cockpit::{Command, Message, Overlay, State, update};
use lastgreen::show::keymap;
use lastgreen::status::Request;

const CONFIG: &str = "profile = \"rag\"\n[environment]\nname = \"rag\"\ntier = \"staging\"\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"http://localhost:9090\"\n";

/// Keys, and what is seen then.
const CASES: &[(&str, &str)] = &[
    ("", "board 0"),
    ("2", "board 1"),
    ("<c-right>", "board 1"),
    ("<c-left>", "board last"),
    ("9", "board 0"),
    ("<tab>", "panel 1"),
    ("<tab><s-tab>", "panel 0"),
    ("<right>", "panel 1"),
    ("<right><left>", "panel 0"),
    ("<left>", "panel 0"),
    ("<enter>", "zoomed"),
    ("<enter><esc>", "not zoomed"),
    ("<enter>2", "not zoomed"),
    ("l", "panel 1"),
    ("lh", "panel 0"),
    (":board alerts<enter><enter>", "overlay detail"),
    (":board alerts<enter><enter><esc>", "no overlay"),
    (":board alerts<enter><enter><enter>", "no overlay"),
    (":board alerts<enter><enter>", "not zoomed"),
    ("?", "overlay help"),
    ("??", "no overlay"),
    ("?<esc>", "no overlay"),
    (":", "overlay palette"),
    (":board<esc>", "no overlay"),
    (":board overview<enter>", "board 0"),
    ("2:theme light<enter>", "command theme light"),
    ("/", "overlay search"),
    ("/laten<esc>", "no overlay"),
    ("f", "frozen"),
    ("ff", "not frozen"),
    ("f<esc>", "not frozen"),
    ("w", "window 1h"),
    ("W", "window 5m"),
    ("q", "command quit"),
    ("<c-c>", "command quit"),
    ("r", "toast nothing that fires names a runbook: choose one here"),
    ("r", "board 1"),
    ("o", "toast there is no run yet"),
    ("R", "toast there is nothing to roll back with: add [traffic] to the configuration"),
    ("c", "toast there is no canary here: add [traffic] and [canary] to the configuration"),
    ("x", "toast x is no key here (? shows those there are)"),
    ("T", "command next theme"),
    ("<f12>", "toast F12 is no key here (? shows those there are)"),
];

/// The same with a switch and a canary.
const WITH_A_CANARY: &str = "[services.router]\nurl = \"http://localhost:1\"\n[traffic]\nkind = \"http\"\nservice = \"router\"\npath = \"/t\"\n\
pointer = \"/canary\"\n[canary.metrics.errors]\ncanary = \"http_5xx_canary\"\nstable = \"http_5xx_stable\"\n";

const CANARY_CASES: &[(&str, &str)] = &[
    ("R", "overlay rollback"),
    ("R", "plans traffic code full"),
    ("R<esc>", "no overlay"),
    ("Rq", "overlay rollback"),
    ("R", "scope traffic"),
    ("R<down>", "scope code"),
    ("R<right><right>", "scope full"),
    ("R<right><right><right>", "scope full"),
    ("R<down><up>", "scope traffic"),
    ("R<left>", "scope traffic"),
    // A plan that has not come is confirmed by nothing.
    ("Rrag<enter>", "overlay rollback"),
    ("R<tab>it is bad", "reason it is bad"),
    ("R<tab>it<esc>", "overlay rollback"),
    ("c", "overlay canary"),
    ("c<esc>", "no overlay"),
    ("cq", "no overlay"),
    ("c0", "overlay rollback"),
    ("2c", "overlay canary"),
];

fn key(name: &str) -> KeyEvent {
    let (modifiers, name) = match name.split_once('-') {
        Some(("c", rest)) => (KeyModifiers::CONTROL, rest),
        Some(("s", rest)) => (KeyModifiers::SHIFT, rest),
        _ => (KeyModifiers::NONE, name),
    };
    let code = match name {
        "tab" if modifiers == KeyModifiers::SHIFT => KeyCode::BackTab,
        "tab" => KeyCode::Tab,
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "f12" => KeyCode::F(12),
        one => KeyCode::Char(one.chars().next().expect("a character")),
    };
    KeyEvent::new(code, modifiers)
}

fn keys(text: &str) -> Vec<KeyEvent> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.strip_prefix('<').and_then(|r| r.split_once('>')) {
            Some((name, after)) => {
                keys.push(key(name));
                rest = after;
            }
            None => {
                let shifted = if first.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
                keys.push(KeyEvent::new(KeyCode::Char(first), shifted));
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    keys
}

fn seen(state: &State, commands: &[Command], wanted: &str) -> Result<(), String> {
    let (what, rest) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let overlay = match &state.overlay {
        None => "none",
        Some(Overlay::Help { .. }) => "help",
        Some(Overlay::Palette(_)) => "palette",
        Some(Overlay::Query { .. }) => "query",
        Some(Overlay::Detail { .. }) => "detail",
        Some(Overlay::Timeline) => "timeline",
        Some(Overlay::Search { .. }) => "search",
        Some(Overlay::Dialog(_)) => "dialog",
        Some(Overlay::Run(_)) => "run",
        Some(Overlay::Canary(_)) => "canary",
        Some(Overlay::Rollback(_)) => "rollback",
    };
    let found = match what {
        "board" if rest == "last" && state.nav.board == state.config.boards.len() - 1 => wanted.to_string(),
        "board" => format!("board {}", state.nav.board),
        "panel" => format!("panel {}", state.focus()),
        "zoomed" | "not" if wanted.ends_with("zoomed") => if state.nav.zoomed { "zoomed" } else { "not zoomed" }.to_string(),
        "frozen" | "not" => if state.frozen.is_some() { "frozen" } else { "not frozen" }.to_string(),
        "overlay" => format!("overlay {overlay}"),
        "no" => {
            if overlay == "none" {
                "no overlay".to_string()
            } else {
                overlay.to_string()
            }
        }
        "plans" => {
            let scope = |command: &Command| match command {
                Command::Backend(Request::PlanRollback { scope, .. }) => Some(scope.word()),
                _ => None,
            };
            format!("plans {}", commands.iter().filter_map(scope).collect::<Vec<_>>().join(" "))
        }
        "scope" | "reason" => match &state.overlay {
            Some(Overlay::Rollback(dialog)) if what == "scope" => format!("scope {}", dialog.scope.word()),
            Some(Overlay::Rollback(dialog)) => format!("reason {}", dialog.reason.value()),
            _ => "no dialog".into(),
        },
        "window" => format!("window {}", lastgreen::base::units::short(state.window)),
        "toast" => format!("toast {}", state.toast.as_ref().map_or("", |t| &t.text)),
        "command" => match commands.last() {
            Some(Command::Quit) => "command quit".into(),
            Some(Command::NextTheme) => "command next theme".into(),
            Some(Command::Theme(name)) => format!("command theme {name}"),
            other => format!("{other:?}"),
        },
        "nothing" => match (commands, overlay, &state.toast) {
            ([], "none", None) => wanted.to_string(),
            other => format!("{other:?}"),
        },
        other => panic!("`{other}` is nothing that can be looked for"),
    };
    if found == wanted { Ok(()) } else { Err(format!("wanted {wanted}, found {found}")) }
}

#[test]
fn keys_lead_where_they_should() {
    lead(CONFIG, CASES);
    lead(&format!("{CONFIG}{WITH_A_CANARY}"), CANARY_CASES);
}

fn lead(config: &str, cases: &[(&str, &str)]) {
    let config = Arc::new(load_text(Path::new("lastgreen.toml"), config).config.expect("sound"));
    let keymap = Arc::new(keymap::load("default", Path::new(".")).expect("the shipped one"));
    let mut wrong = Vec::new();
    for (pressed, wanted) in cases {
        let mut state = State::new(config.clone(), keymap.clone(), Stamp(1_790_000_000_000));
        let mut commands = Vec::new();
        for key in keys(pressed) {
            commands.extend(update(&mut state, Message::Key(key), &mut (120, 40)));
        }
        if let Err(why) = seen(&state, &commands, wanted) {
            wrong.push(format!("`{pressed}`: {why}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
