//! The whole state of the cockpit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::list_view::ListView;
use super::logs::LogView;
use super::overlay::Overlay;
use super::timeline_view::TimelineView;
use crate::base::clock::Stamp;
use crate::config::{Board, Config, Panel, PanelKind};
use crate::judge::Verdict;
use crate::plan::deploy::{DeployState, Readiness};
use crate::plan::runbook::Observation as TrafficSeen;
use crate::show::keymap::{Chord, Keymap};
use crate::status::{BoardVerdicts, Ledger, Moment, MomentOf, OutputTail, Store, Summary, Timeline, deploy_state, verdicts};

/// Where the operator looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nav {
    pub board: usize,
    /// The focused panel of each board.
    pub panels: HashMap<usize, usize>,
    pub zoomed: bool,
}

/// The reading cursor of charts: a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub at: Stamp,
}

/// A line that says what just happened, for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Toast {
    pub text: String,
    pub until: Stamp,
    /// Stays until a key is pressed.
    pub fault: bool,
}

/// What the screen showed when it was frozen.
#[derive(Clone, Debug)]
pub struct FrozenScreen {
    pub at: Stamp,
    pub store: Store,
    pub summary: Summary,
    pub verdicts: Vec<BoardVerdicts>,
}

pub struct State {
    pub config: Arc<Config>,
    pub keymap: Arc<Keymap>,
    pub now: Stamp,
    pub live: Store,
    pub live_summary: Summary,
    /// Of every board, from the same moment.
    pub live_verdicts: Vec<BoardVerdicts>,
    pub frozen: Option<Box<FrozenScreen>>,
    pub nav: Nav,
    pub window: Duration,
    pub cursor: Option<Cursor>,
    pub lists: HashMap<(usize, usize), ListView>,
    pub logs: LogView,
    pub overlay: Option<Overlay>,
    pub toast: Option<Toast>,
    /// The files say something else than what runs, because they are not sound.
    pub is_behind: bool,
    /// Keys of a sequence that is not complete yet.
    pub pending: Vec<Chord>,
    pub ledger: Ledger,
    /// What was seen of the switch of the traffic.
    pub observed: Option<TrafficSeen>,
    pub readiness: Option<Readiness>,
    /// The deployment, as of the last look at it.
    pub deploy: Option<DeployState>,
    /// The output of the step that is looked at.
    pub output: Option<OutputTail>,
    /// How many dialogs there were: each has a number of its own.
    pub dialogs: u64,
    /// Runs whose view was left: they do not open by themselves again.
    pub left: HashSet<String>,
    /// What was pressed and is no key: said once.
    pub unknown_keys: HashSet<String>,
    /// Which verdicts have changed since it looks.
    pub timeline: Timeline,
    /// Where whoever goes through what has happened was last.
    pub happened: TimelineView,
    /// The number of the read that keys came in last.
    pub read: u64,
    /// Nothing may be run or answered here.
    pub read_only: bool,
}

impl State {
    /// What is still on its way here, for whoever leaves: runs need no terminal.
    pub fn goes_on(&self) -> Vec<String> {
        let environment = &self.config.environment.name;
        let open = self.ledger.runs.iter().filter(|run| run.status().is_open() && run.plan.content.environment.name == *environment);
        let words = |run: &std::sync::Arc<crate::status::RunLine>| {
            format!(
                "run {} ({}): {}; it needs no terminal: lastgreen attach {}",
                run.id,
                run.plan.content.title,
                run.status().word(),
                run.id
            )
        };
        open.map(words).collect()
    }

    pub fn new(config: Arc<Config>, keymap: Arc<Keymap>, now: Stamp) -> State {
        let live = Store::new(&config);
        let live_summary = Summary::new(&config, &live, now);
        let live_verdicts = verdicts(&config, &live, &live_summary, &[]);
        State {
            window: config.ui.window,
            config,
            keymap,
            now,
            live,
            live_summary,
            live_verdicts,
            frozen: None,
            nav: Nav::default(),
            cursor: None,
            lists: HashMap::new(),
            logs: LogView::default(),
            overlay: None,
            toast: None,
            is_behind: false,
            pending: Vec::new(),
            ledger: Ledger::default(),
            observed: None,
            readiness: None,
            deploy: None,
            output: None,
            dialogs: 0,
            left: HashSet::new(),
            unknown_keys: HashSet::new(),
            timeline: Timeline::default(),
            happened: TimelineView::default(),
            read: 0,
            read_only: false,
        }
    }

    /// What panels show: the newest, or what was there when the screen was frozen.
    pub fn store(&self) -> &Store {
        self.frozen.as_ref().map_or(&self.live, |f| &f.store)
    }

    pub fn summary(&self) -> &Summary {
        self.frozen.as_ref().map_or(&self.live_summary, |f| &f.summary)
    }

    /// What is known has changed, or time has passed: everything that follows from it.
    pub fn sum_up(&mut self) {
        let summary = Summary::new(&self.config, &self.live, self.now);
        self.live_summary = summary.with_deployment(self.deploy.clone(), self.readiness.clone());
        self.live_verdicts = verdicts(&self.config, &self.live, &self.live_summary, &self.live_verdicts);
        // Of sources the log tells already.
        let new = self.timeline.note(&self.config, &self.live, self.now);
        for moment in new.iter().filter(|moment| !matches!(moment.of, MomentOf::Source(_))) {
            log::info!(target: "verdicts", "{}", moment.words);
        }
    }

    /// What has happened, the newest first.
    pub fn moments(&self) -> Vec<Moment> {
        self.timeline.with_runs(&self.ledger, &self.config.environment.name)
    }

    /// Looks at the deployment anew: the record, the switch, and how the canary is judged.
    pub fn look_at_deployment(&mut self) {
        let points = |signal: &str, since| self.live.points(signal, since);
        self.deploy = deploy_state(&self.config, &self.ledger, self.observed.as_ref(), &points, self.now);
        self.sum_up();
    }

    /// The verdict of a panel on the board that is shown.
    pub fn panel_verdict(&self, index: usize) -> Option<Verdict> {
        self.board_verdicts()?.panels.get(index).copied().flatten()
    }

    /// The worst that a panel has been lately: where it stands goes by that.
    pub fn lately(&self, index: usize) -> Option<Verdict> {
        self.board_verdicts()?.lately.get(index)?.0
    }

    fn board_verdicts(&self) -> Option<&BoardVerdicts> {
        self.frozen.as_ref().map_or(&self.live_verdicts, |f| &f.verdicts).get(self.nav.board)
    }

    /// The worst verdict of a board, as it is now.
    pub fn board_verdict(&self, board: usize) -> Option<Verdict> {
        self.live_verdicts.get(board)?.worst
    }

    /// The moment that panels show.
    pub fn shown_at(&self) -> Stamp {
        self.frozen.as_ref().map_or(self.now, |f| f.at)
    }

    pub fn board(&self) -> Option<&Board> {
        self.config.boards.get(self.nav.board)
    }

    /// The index of the focused panel on this board.
    pub fn focus(&self) -> usize {
        let count = self.board().map_or(0, |b| b.panels.len());
        // Before anybody has chosen one it is the worst, and of equals the first.
        let bad = |panel: usize| self.lately(panel).filter(|verdict| *verdict > Verdict::Pass);
        let worst = || (0..count).rev().max_by_key(|panel| bad(*panel)).unwrap_or(0);
        let chosen = self.nav.panels.get(&self.nav.board).copied();
        chosen.unwrap_or_else(worst).min(count.saturating_sub(1))
    }

    pub fn panel(&self) -> Option<&Panel> {
        self.board()?.panels.get(self.focus())
    }

    /// The reading cursor, where the panel is the one it moves in.
    pub fn cursor_in(&self, panel: &Panel) -> Option<Cursor> {
        self.cursor.filter(|_| self.is_focused(panel))
    }

    fn is_focused(&self, panel: &Panel) -> bool {
        self.panel().is_some_and(|focused| std::ptr::eq(focused, panel))
    }

    /// The row that whoever has the panel before them has gone to.
    pub fn selected_in(&self, panel: &Panel) -> usize {
        if self.is_focused(panel) { self.list(self.focus()).selected } else { 0 }
    }

    pub fn list(&self, panel: usize) -> ListView {
        self.lists.get(&(self.nav.board, panel)).cloned().unwrap_or_default()
    }

    pub fn list_mut(&mut self) -> &mut ListView {
        let key = (self.nav.board, self.focus());
        self.lists.entry(key).or_default()
    }

    /// How many columns of panels the board has at this width.
    pub fn columns(&self, width: u16) -> usize {
        let Some(board) = self.board() else { return 1 };
        let fits = usize::from(width / NARROWEST).max(1);
        let wanted = board.columns.unwrap_or_else(|| (board.panels.len() as f64).sqrt().ceil() as usize);
        wanted.min(fits).clamp(1, board.panels.len().max(1))
    }
}

/// Panels narrower than this are not legible.
const NARROWEST: u16 = 24;

/// Whether a panel shows rows.
pub fn is_list(kind: PanelKind) -> bool {
    matches!(kind, PanelKind::Table | PanelKind::Events | PanelKind::Alerts | PanelKind::Services | PanelKind::Runbooks)
}

pub fn is_chart(kind: PanelKind) -> bool {
    matches!(kind, PanelKind::Series | PanelKind::Stack | PanelKind::Distribution | PanelKind::Stats)
}
