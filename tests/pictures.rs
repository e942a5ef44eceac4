//! The pictures of the README: taken by one command, every glyph in its own place.

use std::path::Path;
use std::process::Command;

/// Each text with how many places it was given.
fn texts(svg: &str) -> Vec<(usize, String)> {
    let element = |line: &str| {
        let (places, rest) = line.strip_prefix("<text x=\"")?.split_once('"')?;
        let text = rest.split_once('>')?.1.strip_suffix("</text>")?;
        let text = ["&lt;", "<", "&gt;", ">", "&quot;", "\"", "&#x27;", "'", "&amp;", "&"]
            .chunks(2)
            .fold(text.to_string(), |text, pair| text.replace(pair[0], pair[1]));
        Some((places.split(' ').count(), text))
    };
    svg.lines().filter_map(element).collect()
}

#[test]
fn a_picture_shows_the_screen_cell_by_cell() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("healthy.svg");
    let output = Command::new(root.join("tests/picture"))
        .args(["healthy", "until:PASS"])
        .arg(&file)
        .arg("1")
        .current_dir(root)
        .env("LASTGREEN", env!("CARGO_BIN_EXE_lastgreen"))
        .env("TMUX_TMPDIR", folder.path())
        .output()
        .expect("tests/picture begun");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = std::fs::read_to_string(&file).expect("a picture");
    let texts = texts(&svg);
    let all: String = texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
    assert!(all.contains("rag-demo") && all.contains("PASS"), "{all}");
    for (places, text) in &texts {
        assert_eq!(*places, text.chars().count(), "a place for each glyph of `{text}`");
    }
}
