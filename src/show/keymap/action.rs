//! The registry of actions: name, words, and where each applies.

/// Where an action has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyScope {
    Everywhere,
    Charts,
    Lists,
    Log,
    Runbooks,
    Run,
}

impl KeyScope {
    pub const ALL: [KeyScope; 6] =
        [KeyScope::Everywhere, KeyScope::Charts, KeyScope::Lists, KeyScope::Log, KeyScope::Runbooks, KeyScope::Run];

    pub fn word(self) -> &'static str {
        match self {
            KeyScope::Everywhere => "everywhere",
            KeyScope::Charts => "charts",
            KeyScope::Lists => "lists",
            KeyScope::Log => "log",
            KeyScope::Runbooks => "runbooks",
            KeyScope::Run => "a run",
        }
    }
}

macro_rules! actions {
    ($($action:ident $name:literal $scope:ident $doc:literal;)+) => {
        /// Everything that a key or the palette can do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $($action,)+ }

        impl Action {
            pub const ALL: &[Action] = &[$(Action::$action,)+];

            /// The name in keymap files.
            pub fn name(self) -> &'static str {
                match self { $(Action::$action => $name,)+ }
            }

            /// What it does, for help and palette.
            pub fn doc(self) -> &'static str {
                match self { $(Action::$action => $doc,)+ }
            }

            pub fn scope(self) -> KeyScope {
                match self { $(Action::$action => KeyScope::$scope,)+ }
            }
        }
    };
}

actions! {
    Help "help" Everywhere "show the keys that work";
    Palette "palette" Everywhere "find a command by typing a part of its name";
    Quit "quit" Everywhere "leave";
    Back "back" Everywhere "close what is open, or leave the zoom";
    NextPanel "next-panel" Everywhere "go to the next panel";
    PreviousPanel "previous-panel" Everywhere "go to the previous panel";
    Left "left" Everywhere "go left; in a zoomed chart, move the cursor";
    Right "right" Everywhere "go right; in a zoomed chart, move the cursor";
    Up "up" Everywhere "go up; in a zoomed list, scroll";
    Down "down" Everywhere "go down; in a zoomed list, scroll";
    Zoom "zoom" Everywhere "show this panel on the whole screen, or the selected alert or row; or go back";
    NextBoard "next-board" Everywhere "go to the next board";
    PreviousBoard "previous-board" Everywhere "go to the previous board";
    Board1 "board-1" Everywhere "go to board 1";
    Board2 "board-2" Everywhere "go to board 2";
    Board3 "board-3" Everywhere "go to board 3";
    Board4 "board-4" Everywhere "go to board 4";
    Board5 "board-5" Everywhere "go to board 5";
    Board6 "board-6" Everywhere "go to board 6";
    Board7 "board-7" Everywhere "go to board 7";
    Board8 "board-8" Everywhere "go to board 8";
    Board9 "board-9" Everywhere "go to board 9";
    Freeze "freeze" Everywhere "hold the screen still; data keeps coming";
    Refresh "refresh" Everywhere "ask every source again now";
    Reload "reload" Everywhere "read configuration, keymap and theme again";
    Suspend "suspend" Everywhere "put lastgreen into the background (fg brings it back)";
    Redraw "redraw" Everywhere "paint the whole screen anew";
    NextTheme "next-theme" Everywhere "try the next theme";
    Copy "copy" Everywhere "copy the value under the cursor or of the panel";
    Query "query" Everywhere "show what is asked for this panel";
    Search "search" Everywhere "search: a panel's list, the log, or the panels' titles";
    WindowLonger "window-longer" Charts "look further back: 5 m, 15 m, 1 h, 6 h, 24 h";
    WindowShorter "window-shorter" Charts "look less far back";
    CursorLeft "cursor-left" Charts "read the value one point earlier";
    CursorRight "cursor-right" Charts "read the value one point later";
    PageUp "page-up" Lists "scroll up by a page";
    PageDown "page-down" Lists "scroll down by a page";
    First "first" Lists "go to the first line";
    Last "last" Lists "go to the last line";
    Sort "sort" Lists "sort by the next column";
    SortReverse "sort-reverse" Lists "turn the order round";
    MoreLog "more-log" Log "show finer log levels";
    LessLog "less-log" Log "show coarser log levels only";
    LogTarget "log-target" Log "show the next target only, then all again";
    Run "run" Runbooks "plan the selected runbook and show what it would do; nothing begins without another key";
    Rollback "rollback" Everywhere "roll back: shows the scopes, their plans and what they cost; nothing begins without the name typed";
    Canary "canary" Everywhere "step the canary, hold it, or take it out of the traffic";
    Timeline "timeline" Everywhere "go through what has happened: verdicts, rules and runs, each of which opens";
    OpenRun "open-run" Everywhere "look at the run that is under way, or at the last one";
    Answer "answer" Run "answer what the run asks: the word is typed, and a note may stand behind it";
    Pause "pause" Run "pause the run after its current step";
    Abort "abort" Run "end the run: shows what that leaves behind, and asks";
    Resume "resume" Run "let a paused run go on, or take up one whose runner is gone";
    Detach "detach" Run "leave the view; the run goes on";
    Wrap "wrap" Run "wrap long lines of output, or cut them";
    StepBefore "step-before" Run "show the output of the step before";
    StepAfter "step-after" Run "show the output of the step after";
    MatchBefore "match-before" Run "go to the place before that has what was searched for";
    MatchAfter "match-after" Run "go to the place after that has what was searched for";
}

impl Action {
    pub fn parse(name: &str) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// Which board it goes to, from 0.
    pub fn board(self) -> Option<usize> {
        let first = Action::Board1 as usize;
        (first..=Action::Board9 as usize).contains(&(self as usize)).then(|| self as usize - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(*action));
        }
        assert_eq!((Action::Board1.board(), Action::Board9.board(), Action::Quit.board()), (Some(0), Some(8), None));
    }
}
