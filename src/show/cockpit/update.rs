//! From a message to the next state, and to what has to be done outside.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use tui_input::Input;

use super::canary_menu::{CanaryChoice, CanaryMenu};
use super::command::Command;
use super::dialog::{Dialog, DialogResult, Stage};
use super::happened::open_moment;
use super::line_edit::{edit, insert, leaves};
use super::list_view::{ListView, Row};
use super::navigate::{
    back, copy, freeze, go_to_board, move_cursor, move_focus, notice, scroll, set_window, sort, step_panel, step_window,
};
use super::overlay::Overlay;
use super::palette::{Palette, PaletteCommand, PaletteResult};
use super::palette_entries::entries;
use super::requests;
use super::rollback_dialog::RollbackDialog;
use super::run_view::{RunContext, RunView, RunViewResult};
use super::state::{State, is_list};
use super::table::selected_row;
use super::typed::Pressed;
use crate::base::clock::Stamp;
use crate::config::{Config, PanelKind};
use crate::observe::reading::Delivery;
use crate::show::keymap::{Action, Chord, Keymap, Lookup};
use crate::status::{Request, Update};

/// What happens to the cockpit.
pub enum Message {
    /// A key that came alone.
    Key(KeyEvent),
    /// Keys that came in one read.
    Keys(Vec<KeyEvent>),
    Paste(String),
    /// The terminal's size, which the movement between panels depends on.
    Resize(u16, u16),
    /// A click on a panel, or the wheel over it.
    Focus(usize),
    Scroll(isize),
    Tick(Stamp),
    Delivered(Box<Delivery>, Stamp),
    /// A new configuration, whole.
    Reloaded(Arc<Config>, Arc<Keymap>),
    /// The files have changed and are not sound: what runs is what was before.
    NotReloaded,
    Notice {
        text: String,
        fault: bool,
    },
    /// What the backend says.
    Heard(Box<Update>, Stamp),
}

/// Rows a page has where the height is not known.
const PAGE: isize = 10;

/// The next state. `size` is the terminal's.
pub fn update(state: &mut State, message: Message, size: &mut (u16, u16)) -> Vec<Command> {
    match message {
        Message::Key(key) => {
            state.read += 1;
            return on_key(state, key, *size);
        }
        Message::Keys(keys) => {
            state.read += 1;
            return keys.into_iter().flat_map(|key| on_key(state, key, *size)).collect();
        }
        Message::Paste(text) => type_text(state, &text),
        Message::Resize(width, height) => *size = (width, height),
        Message::Focus(panel) => drop(state.nav.panels.insert(state.nav.board, panel)),
        Message::Scroll(by) => match &mut state.overlay {
            Some(Overlay::Run(view)) => view.turn(state.output.as_ref(), by, size.0),
            Some(Overlay::Dialog(dialog)) => dialog.turn(by),
            Some(_) => {}
            None => scroll(state, by),
        },
        Message::Tick(now) => {
            state.now = now;
            if state.toast.as_ref().is_some_and(|n| !n.fault && n.until <= now) {
                state.toast = None;
            }
            let config = state.config.clone();
            state.live.judge(&config, now);
            state.look_at_deployment();
            if let Some(Overlay::Rollback(dialog)) = &mut state.overlay {
                dialog.mismatches.clone_from(&state.live_summary.mismatches);
                return dialog.again(now).into_iter().map(Command::Backend).collect();
            }
        }
        Message::Delivered(delivery, now) => {
            state.now = now;
            let config = state.config.clone();
            state.live.apply(&config, *delivery, now);
            state.sum_up();
        }
        Message::Reloaded(config, keymap) => {
            state.is_behind = false;
            reloaded(state, config, keymap);
        }
        Message::NotReloaded => state.is_behind = true,
        Message::Notice { text, fault } => notice(state, text, fault),
        Message::Heard(update, now) => return requests::heard(state, *update, now),
    }
    Vec::new()
}

fn reloaded(state: &mut State, config: Arc<Config>, keymap: Arc<Keymap>) {
    let live = std::mem::take(&mut state.live);
    state.live = live.carried_over(&state.config, &config);
    // A frozen picture of what is no longer asked, or shown elsewhere, would mislead.
    if !config.asks_the_same(&state.config) || config.boards != state.config.boards {
        state.frozen = None;
    }
    state.config = config;
    state.keymap = keymap;
    state.nav.board = state.nav.board.min(state.config.boards.len().saturating_sub(1));
    let config = state.config.clone();
    state.live.judge(&config, state.now);
    state.sum_up();
}

fn on_key(state: &mut State, key: KeyEvent, (width, height): (u16, u16)) -> Vec<Command> {
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    if state.toast.as_ref().is_some_and(|n| n.fault) {
        state.toast = None;
    }
    match state.overlay.take() {
        Some(Overlay::Palette(palette)) => return palette_key(state, palette, key, width),
        Some(Overlay::Search { input }) => return search_key(state, input, key),
        Some(Overlay::Dialog(dialog)) => return dialog_key(state, dialog, key, (width, height)),
        Some(Overlay::Run(view)) => return run_key(state, view, key, width),
        Some(Overlay::Rollback(dialog)) => return rollback_key(state, dialog, key, (width, height)),
        Some(Overlay::Canary(menu)) => return canary_key(state, menu, key),
        other => state.overlay = other,
    }
    state.pending.push(Chord::from(key));
    match state.keymap.lookup(&state.pending) {
        Lookup::Prefix => Vec::new(),
        Lookup::Nothing => {
            let keys = state.pending.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            state.pending.clear();
            // Once: whoever types elsewhere by mistake is not to be talked at.
            if state.unknown_keys.insert(keys.clone()) {
                let help = state.keymap.keys(Action::Help).into_iter().next().unwrap_or_default();
                notice(state, format!("{keys} is no key here ({help} shows those there are)"), false);
            }
            Vec::new()
        }
        Lookup::Act(action) => {
            state.pending.clear();
            act(state, action, width)
        }
    }
}

fn palette_key(state: &mut State, mut palette: Palette, key: KeyEvent, width: u16) -> Vec<Command> {
    match palette.key(key, entries(state, palette.input.value())) {
        PaletteResult::Closed => {}
        PaletteResult::Open => state.overlay = Some(Overlay::Palette(palette)),
        PaletteResult::Chosen(command) => match command {
            PaletteCommand::Act(action) => return act(state, action, width),
            PaletteCommand::Board(board) => go_to_board(state, board),
            PaletteCommand::Panel { board, panel } => {
                go_to_board(state, board);
                state.nav.panels.insert(board, panel);
            }
            PaletteCommand::Window(window) => return set_window(state, window),
            PaletteCommand::Theme(name) => return vec![Command::Theme(name)],
            PaletteCommand::Runbook(name) => return requests::begin_dialog(state, &name),
            PaletteCommand::Run(id) => return requests::open(state, id),
        },
    }
    Vec::new()
}

fn pressed(state: &State) -> Pressed {
    Pressed { at: state.now, read: state.read }
}

/// A key while a run is looked at.
fn run_key(state: &mut State, mut view: Box<RunView>, key: KeyEvent, columns: u16) -> Vec<Command> {
    let line = state.ledger.run(&view.run).cloned();
    let context =
        RunContext { line: line.as_deref(), output: state.output.as_ref(), pressed: pressed(state), read_only: state.read_only, columns };
    if view.is_asking() {
        let request = view.ask_key(key, &context);
        state.overlay = Some(Overlay::Run(view));
        return request.map(Command::Backend).into_iter().collect();
    }
    state.pending.push(Chord::from(key));
    let action = match state.keymap.lookup_in_run(&state.pending) {
        Lookup::Prefix => {
            state.overlay = Some(Overlay::Run(view));
            return Vec::new();
        }
        Lookup::Nothing => None,
        Lookup::Act(action) => Some(action),
    };
    state.pending.clear();
    let by_hand = line.as_ref().and_then(|line| Some((line.clone(), line.run.by_hand(&line.plan)?)));
    let mut commands = match action {
        // ctrl+c leaves as everywhere; what closes the cockpit elsewhere closes the view first.
        Some(Action::Quit) if key.modifiers.contains(crossterm::event::KeyModifiers::CONTROL) => vec![Command::Quit],
        Some(action) if matches!(action, Action::Palette | Action::Canary | Action::Timeline) || action.board().is_some() => {
            state.left.insert(view.run.clone());
            return std::iter::once(Command::Backend(Request::Look(None))).chain(act(state, action, columns)).collect();
        }
        Some(Action::Redraw) => vec![Command::Redraw],
        Some(Action::Suspend) => vec![Command::Suspend],
        Some(Action::NextTheme) => vec![Command::NextTheme],
        Some(Action::Run) if by_hand.is_some() => {
            state.left.insert(view.run.clone());
            let leads = by_hand.map(|(line, runbook)| requests::lead_on(state, &line, &runbook)).unwrap_or_default();
            return std::iter::once(Command::Backend(Request::Look(None))).chain(leads).collect();
        }
        // From a run, too, it is one key away: the run goes on, or is taken over from.
        Some(Action::Rollback) => {
            state.left.insert(view.run.clone());
            return std::iter::once(Command::Backend(Request::Look(None))).chain(requests::open_rollback(state)).collect();
        }
        action => match view.act(action, &context) {
            RunViewResult::Open(requests) => requests.into_iter().map(Command::Backend).collect(),
            RunViewResult::Left => {
                state.left.insert(view.run.clone());
                return vec![Command::Backend(Request::Look(None))];
            }
        },
    };
    state.overlay = Some(Overlay::Run(view));
    commands.extend(requests::look(state));
    commands
}

fn dialog_key(state: &mut State, mut dialog: Box<Dialog>, key: KeyEvent, size: (u16, u16)) -> Vec<Command> {
    match dialog.key(key, pressed(state), size) {
        DialogResult::Closed => {
            let begins = matches!(dialog.stage, Stage::Starting(_));
            notice(state, if begins { "left; the runner is being started all the same" } else { "left: nothing has changed" }, false);
            Vec::new()
        }
        DialogResult::Open(request) => {
            state.overlay = Some(Overlay::Dialog(dialog));
            request.map(Command::Backend).into_iter().collect()
        }
    }
}

fn rollback_key(state: &mut State, mut dialog: Box<RollbackDialog>, key: KeyEvent, size: (u16, u16)) -> Vec<Command> {
    let (result, planning) = dialog.key(key, pressed(state), size);
    match result {
        DialogResult::Closed => {
            let begins = dialog.starting.is_some();
            notice(state, if begins { "left; the runner is being started all the same" } else { "left: nothing has changed" }, false);
            Vec::new()
        }
        DialogResult::Open(request) => {
            state.overlay = Some(Overlay::Rollback(dialog));
            planning.into_iter().chain(request).map(Command::Backend).collect()
        }
    }
}

fn canary_key(state: &mut State, mut menu: CanaryMenu, key: KeyEvent) -> Vec<Command> {
    // From here, too, it is one key away.
    if !menu.is_typing() && matches!(state.keymap.lookup_in_run(&[Chord::from(key)]), Lookup::Act(Action::Rollback)) {
        return requests::open_rollback(state);
    }
    let choice = menu.key(key, &requests::canary_context(state));
    if choice == CanaryChoice::Open {
        state.overlay = Some(Overlay::Canary(menu));
    }
    requests::canary_chosen(state, choice)
}

fn search_key(state: &mut State, mut input: Input, key: KeyEvent) -> Vec<Command> {
    if leaves(key) {
        set_search(state, "");
        return Vec::new();
    }
    if key.code == KeyCode::Enter {
        find_panel(state, input.value());
        return Vec::new();
    }
    edit(&mut input, key);
    set_search(state, input.value());
    state.overlay = Some(Overlay::Search { input });
    Vec::new()
}

/// Filters the focused list, or marks lines of the log.
fn set_search(state: &mut State, text: &str) {
    match state.panel().map(|p| p.kind) {
        Some(PanelKind::Logs) => state.logs.search = text.to_string(),
        Some(kind) if is_list(kind) => *state.list_mut() = ListView { filter: text.to_string(), selected: 0, ..state.list(state.focus()) },
        _ => {}
    }
}

/// Where nothing can be filtered, a search goes to the next panel whose title has the text.
fn find_panel(state: &mut State, text: &str) {
    let text = text.to_lowercase();
    if text.is_empty() || state.panel().is_some_and(|p| is_list(p.kind) || p.kind == PanelKind::Logs) {
        return;
    }
    let boards = state.config.clone();
    let here = (state.nav.board, state.focus());
    let places: Vec<(usize, usize)> =
        boards.boards.iter().enumerate().flat_map(|(b, board)| (0..board.panels.len()).map(move |p| (b, p))).collect();
    let start = places.iter().position(|p| *p == here).map_or(0, |i| i + 1);
    let hit = (0..places.len()).map(|i| places[(start + i) % places.len()]).find(|(b, p)| {
        let panel = &boards.boards[*b].panels[*p];
        panel.title.to_lowercase().contains(&text) || panel.signals.iter().any(|s| s.contains(&text))
    });
    match hit {
        Some((board, panel)) => {
            go_to_board(state, board);
            state.nav.panels.insert(board, panel);
        }
        None => notice(state, format!("no panel has `{text}`"), false),
    }
}

/// Pasted text goes where text is typed, and nowhere else: a paste is never a command.
fn type_text(state: &mut State, text: &str) {
    let clean = crate::base::text::clean(text).into_owned();
    let text = match &mut state.overlay {
        Some(Overlay::Palette(Palette { input, .. }) | Overlay::Search { input }) => {
            insert(input, &clean);
            input.value().to_string()
        }
        Some(Overlay::Dialog(dialog)) => return dialog.paste(&clean),
        Some(Overlay::Run(view)) => return view.paste(&clean),
        Some(Overlay::Rollback(dialog)) => return dialog.paste(&clean),
        _ => return,
    };
    if let Some(Overlay::Search { .. }) = state.overlay {
        set_search(state, &text);
    }
}

fn act(state: &mut State, action: Action, width: u16) -> Vec<Command> {
    if let Some(board) = action.board() {
        go_to_board(state, board);
        return Vec::new();
    }
    // Whoever works in a panel stays in it, whatever fails meanwhile.
    if state.board().is_some() {
        let focus = state.focus();
        state.nav.panels.entry(state.nav.board).or_insert(focus);
    }
    match action {
        Action::Quit => return vec![Command::Quit],
        Action::Help => toggle(state, Overlay::Help { scroll: 0 }),
        Action::Query => toggle(state, Overlay::Query { scroll: 0 }),
        Action::Palette => state.overlay = Some(Overlay::Palette(Palette::default())),
        Action::Search => state.overlay = Some(Overlay::Search { input: Input::default() }),
        Action::Back => back(state),
        Action::NextPanel => step_panel(state, 1),
        Action::PreviousPanel => step_panel(state, -1),
        Action::Left | Action::Right | Action::Up | Action::Down => move_focus(state, action, width),
        Action::Run | Action::Zoom if state.panel().is_some_and(|p| p.kind == PanelKind::Runbooks) => {
            return requests::begin_selected(state);
        }
        Action::Run => return requests::begin_answer(state),
        Action::Timeline => toggle(state, Overlay::Timeline),
        Action::OpenRun => return requests::open_latest(state),
        Action::Rollback => return requests::open_rollback(state),
        Action::Canary => return requests::open_canary(state),
        Action::Zoom if matches!(state.overlay, Some(Overlay::Timeline)) => return open_moment(state),
        Action::Zoom if state.overlay.is_some() => state.overlay = None,
        Action::Zoom => match row_to_open(state) {
            Some(row) => state.overlay = Some(Overlay::Detail { row, scroll: 0 }),
            None => state.nav.zoomed = !state.nav.zoomed && state.panel().is_some(),
        },
        Action::NextBoard => go_to_board(state, (state.nav.board + 1) % state.config.boards.len().max(1)),
        Action::PreviousBoard => {
            let count = state.config.boards.len().max(1);
            go_to_board(state, (state.nav.board + count - 1) % count);
        }
        Action::Freeze => freeze(state),
        Action::Refresh => {
            notice(state, "asking every source again", false);
            return vec![Command::Refresh];
        }
        Action::Reload => return vec![Command::Reload],
        Action::Redraw => return vec![Command::Redraw],
        Action::Suspend => return vec![Command::Suspend],
        Action::NextTheme => return vec![Command::NextTheme],
        Action::Copy => return copy(state),
        Action::WindowLonger => return step_window(state, 1),
        Action::WindowShorter => return step_window(state, -1),
        Action::CursorLeft => move_cursor(state, -1),
        Action::CursorRight => move_cursor(state, 1),
        Action::PageUp => scroll(state, -PAGE),
        Action::PageDown => scroll(state, PAGE),
        Action::First => scroll(state, isize::MIN / 2),
        Action::Last => scroll(state, isize::MAX / 2),
        Action::Sort => sort(state),
        Action::SortReverse => {
            let list = state.list_mut();
            list.reverse = !list.reverse;
        }
        Action::MoreLog => state.logs.finer(1),
        Action::LessLog => state.logs.finer(-1),
        Action::LogTarget => state.logs.next_target(),
        // These mean something in the view of a run, which takes its own keys.
        Action::Answer
        | Action::Pause
        | Action::Abort
        | Action::Resume
        | Action::Detach
        | Action::Wrap
        | Action::StepBefore
        | Action::StepAfter
        | Action::MatchBefore
        | Action::MatchAfter => {}
        // Gone to above.
        Action::Board1
        | Action::Board2
        | Action::Board3
        | Action::Board4
        | Action::Board5
        | Action::Board6
        | Action::Board7
        | Action::Board8
        | Action::Board9 => {}
    }
    Vec::new()
}

/// An alert is opened at once, the rows of another list once it has the screen to itself.
fn row_to_open(state: &State) -> Option<Row> {
    let opens = state.nav.zoomed || state.panel()?.kind == PanelKind::Alerts;
    if opens { selected_row(state) } else { None }
}

fn toggle(state: &mut State, overlay: Overlay) {
    let same = state.overlay.as_ref().is_some_and(|o| std::mem::discriminant(o) == std::mem::discriminant(&overlay));
    state.overlay = (!same).then_some(overlay);
}
