//! Text from outside, made safe at ingress. Labels, SQL results, alert texts and error messages may carry escape
//! sequences, direction marks or 100 kB of nothing; whatever passes [`clean`] draws in its cell and nowhere else.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The longest single text kept from outside, in bytes. More is cut and marked with `…`.
pub const LONGEST: usize = 4096;

/// Strips control characters (tabs and line breaks become spaces), direction marks, zero-width and private-use
/// characters, and cuts after [`LONGEST`] bytes. Borrowed when nothing had to change.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        if out.len() + c.len_utf8() > LONGEST {
            out.push('…');
            break;
        }
        match c {
            '\t' | '\n' | '\r' => out.push(' '),
            c if unsafe_on_screen(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn unsafe_on_screen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1f3fb}'..='\u{1f3ff}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

/// How many terminal cells the text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Cuts to at most `cells` cells, ending in `…` when something was cut. Never splits a grapheme cluster.
pub fn fit(text: &str, cells: usize) -> Cow<'_, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    if cells == 0 {
        return Cow::Borrowed("");
    }
    let mut out = String::new();
    let mut used = 0;
    for cluster in text.graphemes(true) {
        let w = width(cluster);
        if used + w + 1 > cells {
            break;
        }
        used += w;
        out.push_str(cluster);
    }
    out.push('…');
    Cow::Owned(out)
}

/// Breaks a text between words into lines of at most so many cells; a longer word goes on in the next line, so that
/// nothing of it is lost.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if cells == 0 {
        return lines;
    }
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let gap = usize::from(!line.is_empty());
            if width(&line) + gap + width(word) <= cells {
                if gap == 1 {
                    line.push(' ');
                }
                line.push_str(word);
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for cluster in word.graphemes(true) {
                if width(&line) + width(cluster) > cells && !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                line.push_str(cluster);
            }
        }
        lines.push(line);
    }
    lines
}

/// The known name nearest to a mistyped one, when one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What all names have that are made of `key=value` pairs: it tells nothing apart. Nothing where one is not made so.
pub fn shared<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let is_pairs = |name: &str| name.contains(' ') && name.split(' ').all(|part| part.contains('='));
    let Some(first) = names.clone().next().filter(|_| names.clone().all(is_pairs)) else { return Vec::new() };
    first.split(' ').filter(|part| names.clone().all(|name| name.split(' ').any(|other| other == *part))).collect()
}

/// A name without that; empty where nothing is left.
pub fn telling(name: &str, shared: &[&str]) -> String {
    name.split(' ').filter(|part| !shared.contains(part)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_have_tells_nothing_apart() {
        let told = |names: &[&str]| -> Vec<String> {
            let all = shared(names.iter().copied());
            names.iter().map(|name| telling(name, &all)).collect()
        };
        assert_eq!(told(&["instance=h:1 job=x zone=a", "instance=h:1 job=x zone=b"]), ["zone=a", "zone=b"]);
        assert_eq!(told(&["instance=h:1 job=x"]), [""]);
        assert_eq!(told(&["a", "b"]), ["a", "b"]);
        assert_eq!(told(&["instance=h:1 note=two words", "instance=h:1 note=x"]), ["instance=h:1 note=two words", "instance=h:1 note=x"]);
    }

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        assert_eq!(wrap("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(wrap("an incomprehensible word", 6), ["an", "incomp", "rehens", "ible", "word"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert!(wrap("x", 0).is_empty());
    }

    #[test]
    fn hostile_text_loses_its_teeth() {
        let cases = [
            ("plain", "plain"),
            ("\x1b[31mred\x1b[0m", "[31mred[0m"),
            ("a\tb\r\nc", "a b  c"),
            ("\u{202e}evil\u{202c}", "evil"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
            ("\u{9b}2Jcsi", "2Jcsi"),
            ("bell\x07\x00", "bell"),
            ("ünï 日本", "ünï 日本"),
        ];
        for (text, want) in cases {
            assert_eq!(clean(text), want, "{text:?}");
        }
        let long = "é".repeat(100_000);
        assert!(clean(&long).len() <= LONGEST + '…'.len_utf8());
    }

    #[test]
    fn fitting_never_exceeds_its_cells() {
        for cells in 0..8 {
            for text in ["", "abc", "日本語テキスト", "e\u{301}e\u{301}e\u{301}e\u{301}", "👩‍👩‍👧x👩‍👩‍👧"] {
                assert!(width(&fit(text, cells)) <= cells, "{text:?} in {cells}");
            }
        }
        assert_eq!(fit("abcdef", 4), "abc…");
    }

    #[test]
    fn nearest_means_near() {
        assert_eq!(nearest("promethues", ["prometheus", "qdrant"]), Some("prometheus"));
        assert_eq!(nearest("zzz", ["prometheus", "qdrant"]), None);
    }
}
