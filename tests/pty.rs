//! The real binary in a pseudo-terminal: what an operator sees and presses, and what becomes of the terminal.

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::Canned;
use common::terminal::{PATIENCE, Terminal};
use rustix::process::Signal;

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_newcomer_walks_through_the_demo() {
    let mut t = Terminal::demo(120, 40, "healthy", &[]);
    t.wait_for("all 21 judged signals pass");
    t.wait_for("PRODUCTION");
    let text = t.text();
    for panel in [
        "Quality",
        "Gate fail rate",
        "Retrieval scores",
        "Latency internal",
        "Latency by component",
        "Governance",
        "Errors",
        "Collections",
        "Rollbacks",
    ] {
        assert!(text.contains(panel), "{panel} is missing:\n{text}");
    }
    t.press("2");
    t.wait_for("gate_fail_rate");
    t.press("3");
    t.wait_for("traffic switch");
    t.press("5");
    t.wait_for("Chunks by model");
    t.wait_for("embed-large-3");
    t.press("6");
    t.wait_for("Sources and probes");
    t.press("7");
    t.wait_for("gate_fail_rate");
    t.press("/");
    t.press("latency");
    t.wait_for("4 of");
    t.press("\u{1b}");
    t.wait("the filter to go", |s| s.contains("governance_overdue") && !s.contains("4 of"));
    t.press("8");
    t.wait_for("level info");
    t.press("+");
    t.wait_for("level debug");
    t.press("1\t");
    t.press("\r");
    t.wait("the zoomed panel", |s| s.contains("Gate fail rate") && !s.contains("Governance"));
    t.press("[");
    t.wait("the time under the cursor", |s| s.lines().any(|l| l.trim().len() == 9 && l.trim().ends_with('Z')));
    t.press("\u{1b}");
    t.wait("the cursor to go", |s| !s.lines().any(|l| l.trim().len() == 9 && l.trim().ends_with('Z')));
    t.press("\u{1b}");
    t.wait_for("Governance");
    t.press("w");
    t.wait_for("window 1h");
    t.press("e");
    t.wait_for("rag_gate_checks_total");
    t.press("\u{1b}");
    t.wait("the query to close", |s| !s.contains("rag_gate_checks_total"));
    t.press("f");
    t.wait_for("FROZEN at");
    t.press("f");
    t.wait("the freeze to end", |s| !s.contains("FROZEN"));
    t.press("?");
    t.wait_for("go to a board");
    t.press("?");
    t.press(":");
    t.wait_for("Commands");
    t.press("thememono");
    t.wait("the match", |s| s.contains("theme mono") && !s.contains("theme light"));
    t.press("\r");
    t.wait("the palette to close", |s| !s.contains("Commands"));
    t.press("y");
    t.wait_for("copied");
    let raw = t.raw.lock().expect("a lock").clone();
    assert!(raw.windows(7).any(|w| w == b"\x1b]52;c;"), "the copy went to the terminal");
    t.press("q");
    assert_eq!(t.ended(), 0);
    t.assert_restored();
}

#[test]
fn the_story_of_the_bad_canary_is_told() {
    let mut t = Terminal::demo(160, 44, "bad-canary", &[]);
    t.wait_for("after 10 s the canary turns bad");
    t.wait("the trouble to be seen", |s| s.contains("WARN") || s.contains("FAIL"));
    t.press("7");
    t.wait("a rule to be on its way", |s| s.contains("pending") || s.contains("firing"));
    t.press("q");
    assert_eq!(t.ended(), 0);
}

#[test]
fn prometheus_away_is_said_and_replaced() {
    let t = Terminal::demo(160, 44, "prometheus-down", &[]);
    t.wait_for("prometheus ✓");
    t.wait_for("prometheus ✗ failing");
    t.wait("the direct pages to speak", |s| s.contains("✓ Gate fail rate") && s.contains("direct <"));
}

#[test]
fn a_plain_terminal_is_enough() {
    let mut t = Terminal::demo(80, 24, "healthy", &[("NO_COLOR", "1"), ("TERM", "linux"), ("LANG", "C")]);
    t.wait_for("judged signals pass");
    let text = t.text();
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("ok Gate fail rate") && text.contains("PRODUCTION"), "{text}");
    for line in text.lines() {
        assert!(line.len() <= 80);
    }
    t.press("q");
    assert_eq!(t.ended(), 0);
    let raw = t.raw.lock().expect("a lock");
    let raw = String::from_utf8_lossy(&raw);
    assert!(!raw.contains("38;5") && !raw.contains("48;5") && !raw.contains("[31m"), "no colour was sent");
}

#[test]
fn the_theme_follows_the_background_and_its_answer_is_no_keys() {
    // The borders of panels: 242 on dark, 244 on light.
    let has = |t: &Terminal, colour: u8| {
        let parser = t.parser.lock().expect("a lock");
        let screen = parser.screen();
        let (rows, columns) = screen.size();
        let is = |row, column| screen.cell(row, column).is_some_and(|cell| cell.fgcolor() == vt100::Color::Idx(colour));
        (0..rows).any(|row| (0..columns).any(|column| is(row, column)))
    };
    let mut t = Terminal::demo(120, 40, "healthy", &[]);
    t.wait("the first frame", |_| has(&t, 242));
    let asked = String::from_utf8_lossy(&t.raw.lock().expect("a lock")).contains("\u{1b}]11;?");
    assert!(asked, "the terminal was not asked");
    // As it comes over a bad link: late, and in pieces.
    for piece in ["\u{1b}]", "11;rgb:", "ffff/ff", "ff/ffff", "\u{1b}\\"] {
        t.press(piece);
        std::thread::sleep(Duration::from_millis(30));
    }
    t.wait("the light theme", |_| has(&t, 244) && !has(&t, 242));
    t.press("?");
    t.wait("help, and nothing that the answer would have opened", |s| s.contains("Keys") && !s.contains("Which runbook"));
    // Whoever has said which one is not asked.
    let named = Terminal::open(120, 40, &["--theme", "dark", "demo", "--scenario", "healthy"], &[]);
    named.wait("the first frame", |_| has(&named, 242));
    assert!(!String::from_utf8_lossy(&named.raw.lock().expect("a lock")).contains("\u{1b}]11;?"));
}

#[test]
fn resized_to_nothing_and_back() {
    let mut t = Terminal::demo(120, 34, "healthy", &[]);
    t.wait_for("Quality");
    for (columns, rows) in [(1, 1), (2, 2), (7, 3), (300, 2), (3, 90), (1, 1), (100, 30)] {
        t.resize(columns, rows);
        t.press("\t");
    }
    t.wait("the board to be back", |s| s.contains("Quality") && s.contains("Rollbacks"));
    t.press("q");
    assert_eq!(t.ended(), 0);
    t.assert_restored();
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut t = Terminal::demo(100, 30, "healthy", &[]);
        t.wait_for("Quality");
        t.signal(signal);
        assert_eq!(t.ended(), 0, "{signal:?}");
        t.assert_restored();
    }
}

#[test]
fn into_the_background_and_back() {
    let mut t = Terminal::demo(100, 30, "healthy", &[]);
    t.wait_for("Quality");
    t.signal(Signal::TSTP);
    t.assert_restored();
    let stat = format!("/proc/{}/stat", t.child.process_id().expect("a pid"));
    common::until("it to be stopped", || {
        std::fs::read_to_string(&stat).is_ok_and(|s| s.rsplit(')').next().is_some_and(|s| s.trim().starts_with('T')))
    });
    t.signal(Signal::CONT);
    t.wait("the cockpit to be back", |s| s.contains("Quality"));
    assert!(t.parser.lock().expect("a lock").screen().alternate_screen());
    t.press("q");
    assert_eq!(t.ended(), 0);
    t.assert_restored();
}

#[test]
fn a_closed_terminal_ends_the_cockpit() {
    let mut t = Terminal::demo(100, 30, "healthy", &[]);
    t.wait_for("Quality");
    t.keys = None;
    t.master = None;
    // The clock's next second wakes the reader, which lets go of the last handle.
    t.hang_up.store(true, Ordering::SeqCst);
    t.ended();
}

#[test]
fn a_stalled_link_catches_up_and_never_keeps_the_program_from_ending() {
    let mut t = Terminal::demo(160, 44, "healthy", &[]);
    t.wait_for("judged signals pass");
    let pid = t.child.process_id().expect("a pid");
    let written = || {
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/io"))
            .ok()
            .and_then(|t| t.lines().find_map(|l| l.strip_prefix("wchar: ").map(str::to_string)))
    };
    let stall = |t: &mut Terminal| {
        t.stalled.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        // The terminal's buffer is full when keys that repaint everything have nothing written any more.
        let (mut before, mut same) = (None, 0);
        while same < 10 {
            assert!(Instant::now() < deadline, "the write never blocked");
            t.press("23451T");
            std::thread::sleep(Duration::from_millis(100));
            let now = written();
            same = if now == before { same + 1 } else { 0 };
            before = now;
        }
    };
    stall(&mut t);
    t.press("5");
    t.stalled.store(false, Ordering::SeqCst);
    t.wait_for("Chunks by model");
    t.wait("the clock to be right again", |_| {
        let shown = t.text().lines().next().map(str::to_string).unwrap_or_default();
        let now = lastgreen::base::clock::Clock::System.now();
        (0..3).any(|back| shown.contains(&now.minus(Duration::from_secs(back)).hms()))
    });
    stall(&mut t);
    t.signal(Signal::TERM);
    t.ended();
}

#[test]
fn pasted_text_is_never_a_command() {
    let mut t = Terminal::demo(100, 30, "healthy", &[]);
    t.wait_for("Quality");
    t.press("\u{1b}[200~q2q\u{1b}[201~");
    t.press(":");
    t.wait_for("Commands");
    t.press("\u{1b}[200~free\u{1b}[201~");
    t.wait_for("hold the screen still");
    assert!(!t.text().contains("Chunks by model"), "the paste changed nothing");
    t.press("\u{1b}");
    t.wait("the palette to close", |s| !s.contains("Commands"));
    t.press("q");
    assert_eq!(t.ended(), 0);
}

#[test]
fn keys_answer_while_everything_hangs() {
    let hanging = Canned::new(|_, _| std::thread::sleep(Duration::from_secs(300)));
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("lastgreen.toml");
    let url = hanging.url();
    let text = format!(
        "profile = \"rag\"\n[environment]\nname = \"hang\"\ntier = \"staging\"\n[sources.prometheus]\nkind = \"prometheus\"\nurl = \"{url}\"\n[sources.qdrant]\nkind = \"qdrant\"\nurl = \"{url}\"\ncollection = \"c\"\n"
    );
    std::fs::write(&file, &text).expect("written");
    let mut t = Terminal::open(120, 34, &["--config", &file.display().to_string()], &[]);
    t.wait_for("UNKNOWN");
    t.wait_for("failing");
    for (key, text) in [("3", "Snapshots"), ("4", "Sources and probes"), ("1", "Governance"), ("?", "Keys")] {
        t.press(key);
        t.wait_for(text);
    }
    t.press("?");
    assert!(!t.text().contains("✓"), "nothing is green:\n{}", t.text());
    // A changed file is read again by itself; a wrong one changes nothing and says so.
    std::fs::write(&file, text.replace("\"hang\"", "\"renamed\"")).expect("written");
    t.wait_for("renamed");
    std::fs::write(&file, text.replace("[environment]", "[enviroment]")).expect("written");
    t.wait_for("not reloaded");
    assert!(t.text().contains("renamed"));
    t.press("q");
    assert_eq!(t.ended(), 0);
}

#[test]
fn the_stories_play_by_themselves() {
    for story in ["rollback", "canary"] {
        let mut t = Terminal::open(100, 30, &["demo", "--script", story], &[]);
        assert_eq!(t.ended_within(Duration::from_secs(600)), 0, "{story}");
        t.assert_restored();
    }
}

#[test]
fn a_script_presses_the_keys() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("keys");
    std::fs::write(&file, "until Quality\npress 5\nuntil Snapshots\npress q\n").expect("written");
    let mut t = Terminal::open(100, 30, &["demo", "--scenario", "healthy", "--script", &file.display().to_string()], &[]);
    assert_eq!(t.ended(), 0);
    t.assert_restored();
}
