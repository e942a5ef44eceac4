//! One line of a journal: framed, chained to the line before it by hash, and checked byte by byte when read.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::clock::Stamp;
use crate::base::text::hex;
use crate::plan::runbook::{Event, Record};

/// The format of a line. A reader refuses any other.
pub const VERSION: u32 = 1;

/// What the first record's `prev` is.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Everything of a line but its own sum.
#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    seq: u64,
    at: Stamp,
    run: String,
    event: Event,
    prev: String,
}

/// A record with the line it stands in.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalLine {
    pub record: Record,
    pub sum: String,
    /// Without the line break.
    pub text: String,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("line {line}: {what}")]
    Broken { line: usize, what: String },
    #[error("line {line} is of journal version {found}, this program speaks {VERSION}: resume with the version that began the run")]
    Version { line: usize, found: u64 },
}

/// The text between body and sum.
const JOINT: &str = ",\"sum\":\"";

/// Frames a record behind the one whose sum is `prev`.
pub fn frame(record: &Record, prev: &str) -> JournalLine {
    let body =
        Body { v: VERSION, seq: record.seq, at: record.at, run: record.run.clone(), event: record.event.clone(), prev: prev.to_string() };
    // Events are trees of texts and numbers: they always have a JSON form.
    let body = serde_json::to_string(&body).unwrap_or_default();
    let sum = hex(&Sha256::digest(body.as_bytes()));
    let text = format!("{}{JOINT}{sum}\"}}", &body[..body.len().saturating_sub(1)]);
    JournalLine { record: record.clone(), sum, text }
}

/// Reads one line, which must follow the one whose sum is `prev`.
///
/// # Errors
/// What is wrong with it; `number` counts from 1.
pub fn parse(text: &str, number: usize, prev: &str) -> Result<JournalLine, Wrong> {
    let broken = |what: &str| Wrong::Broken { line: number, what: what.to_string() };
    let tail = JOINT.len() + 64 + 2;
    let cut = text.len().checked_sub(tail).filter(|at| text.is_char_boundary(*at)).ok_or_else(|| broken("too short to be a record"))?;
    let (head, end) = text.split_at(cut);
    let sum = end.strip_prefix(JOINT).and_then(|rest| rest.strip_suffix("\"}")).ok_or_else(|| broken("it does not end with its sum"))?;
    let body = format!("{head}}}");
    if hex(&Sha256::digest(body.as_bytes())) != sum {
        return Err(broken("its sum does not fit what it says: it was changed"));
    }
    let version = serde_json::from_str::<serde_json::Value>(&body).ok().and_then(|v| v.get("v")?.as_u64());
    match version {
        Some(v) if v == u64::from(VERSION) => {}
        Some(found) => return Err(Wrong::Version { line: number, found }),
        None => return Err(broken("it is no record")),
    }
    let body: Body = serde_json::from_str(&body).map_err(|e| broken(&format!("it is no record this program knows: {e}")))?;
    if body.prev != prev {
        return Err(broken("it does not follow the line before it: the chain is broken"));
    }
    if body.seq != number as u64 {
        return Err(broken(&format!("it says it is record {}", body.seq)));
    }
    let record = Record { seq: body.seq, at: body.at, run: body.run, event: body.event };
    Ok(JournalLine { record, sum: sum.to_string(), text: text.to_string() })
}

/// What a journal's bytes hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    pub lines: Vec<JournalLine>,
    /// Bytes of a last line that was never written whole.
    pub torn: u64,
    /// Bytes up to there are good.
    pub good: u64,
    /// The last good line lacks only its line break.
    pub unended: bool,
}

/// Reads a whole journal. A last line without its line break is torn unless it is whole but for that.
///
/// # Errors
/// The first line that is wrong.
pub fn replay(bytes: &[u8]) -> Result<Replay, Wrong> {
    let mut replay = Replay::default();
    let mut prev = GENESIS.to_string();
    let mut run: Option<String> = None;
    for chunk in bytes.split_inclusive(|b| *b == b'\n') {
        let number = replay.lines.len() + 1;
        let (content, ended) = match chunk.strip_suffix(b"\n") {
            Some(content) => (content, true),
            None => (chunk, false),
        };
        let parsed = std::str::from_utf8(content)
            .map_err(|_| Wrong::Broken { line: number, what: "it is not text".into() })
            .and_then(|text| parse(text, number, &prev));
        let line = match parsed {
            Ok(line) => line,
            Err(_) if !ended => {
                replay.torn = chunk.len() as u64;
                return Ok(replay);
            }
            Err(wrong) => return Err(wrong),
        };
        if run.as_ref().is_some_and(|run| *run != line.record.run) {
            return Err(Wrong::Broken { line: number, what: format!("it belongs to another run, {}", line.record.run) });
        }
        run = Some(line.record.run.clone());
        prev.clone_from(&line.sum);
        replay.good += chunk.len() as u64;
        replay.unended = !ended;
        replay.lines.push(line);
    }
    Ok(replay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut prev = GENESIS.to_string();
        for seq in 1..=n {
            let event = Event::Noted { text: format!("grüße {seq} \"quoted\""), loud: seq == 2 };
            let line = frame(&Record { seq, at: Stamp(1_700_000_000_000 + seq as i64), run: "R".into(), event }, &prev);
            bytes.extend_from_slice(line.text.as_bytes());
            bytes.push(b'\n');
            prev = line.sum;
        }
        bytes
    }

    #[test]
    fn a_line_looks_as_the_design_says() {
        let bytes = journal(1);
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("one JSON object");
        let keys: Vec<&String> = value.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["v", "seq", "at", "run", "event", "prev", "sum"]);
        assert_eq!(value["at"], "2023-11-14T22:13:20.001Z");
    }

    #[test]
    fn any_byte_flipped_is_found() {
        let bytes = journal(3);
        assert_eq!(replay(&bytes).expect("sound").lines.len(), 3);
        for at in 0..bytes.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut bad = bytes.clone();
                bad[at] ^= bit;
                let found = match replay(&bad) {
                    Err(_) => true,
                    Ok(replay) => replay.torn > 0,
                };
                assert!(found, "byte {at} flipped by {bit:#x} went unnoticed");
            }
        }
    }

    #[test]
    fn a_journal_cut_anywhere_keeps_what_is_whole() {
        let bytes = journal(3);
        let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i).collect();
        for cut in 0..bytes.len() {
            let replay = replay(&bytes[..cut]).expect("a torn tail is no error");
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(replay.lines.len(), whole, "cut at {cut}");
            assert_eq!(replay.good + replay.torn, cut as u64);
        }
    }
}
