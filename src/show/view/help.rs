//! Help: every key of the keymap in force, by where it applies. Generated, so that it cannot be wrong.

use ratatui::layout::Rect;

use super::paint::Paint;
use super::palette::window;
use super::plot::moment_symbol;
use crate::base::text::width;
use crate::judge::Verdict;
use crate::show::cockpit::State;
use crate::show::keymap::{Action, KeyScope};
use crate::show::theme::Role;

const SYMBOLS: [(Verdict, &str); 4] = [
    (Verdict::Pass, "pass: within its thresholds"),
    (Verdict::Warn, "warn: beyond the first threshold"),
    (Verdict::Fail, "fail: beyond the second one, or a critical rule fires"),
    (Verdict::Unknown, "unknown: nobody can tell; it is never taken for a pass"),
];

pub fn draw(state: &State, paint: &mut Paint, area: Rect, scroll: u16) {
    let mut lines: Vec<(String, String)> = Vec::new();
    for scope in KeyScope::ALL {
        lines.push((String::new(), scope.word().to_string()));
        for action in Action::ALL.iter().filter(|a| a.scope() == scope) {
            let keys = state.keymap.keys(*action);
            // The nine boards are one line.
            match action.board() {
                Some(0) => {
                    let last = state.keymap.keys(Action::Board9).join("  ");
                    lines.push((format!("{} … {last}", keys.join("  ")), "go to a board".into()));
                }
                Some(_) => {}
                None if keys.is_empty() => {}
                None => lines.push((keys.join("  "), action.doc().to_string())),
            }
        }
    }
    lines.push((String::new(), "what the symbols say".into()));
    for (verdict, words) in SYMBOLS {
        lines.push((paint.symbol(verdict).into(), words.into()));
    }
    lines.push((paint.stale_symbol().into(), "stale: what was read last, and longer ago than it should be".into()));
    lines.push(("since".into(), "how long it has been so; `0:34 of 3:00` has to hold so long before it fires".into()));
    lines.push((moment_symbol(paint).into(), "under a chart: a run began".into()));
    lines.push(("2s".into(), "behind a title: how old the values are".into()));
    let keys = lines.iter().map(|(k, _)| width(k)).max().unwrap_or(0) as u16;
    let inner = window(paint, area, 76, lines.len() as u16 + 2, "Keys");
    let most = (lines.len() as u16).saturating_sub(inner.height);
    for (y, (key, doc)) in lines.iter().skip(usize::from(scroll.min(most))).take(usize::from(inner.height)).enumerate() {
        let y = y as u16;
        if key.is_empty() {
            paint.text(inner, 0, y, doc, Role::Title);
        } else {
            paint.text(inner, 2, y, key, Role::Accent);
            paint.text(inner, keys + 4, y, doc, Role::Text);
        }
    }
}
