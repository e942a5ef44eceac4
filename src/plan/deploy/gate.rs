//! Gates: named sets of checks that have to pass before a step. What each sort of check makes of what was read.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::base::units::Unit;
use crate::judge::{Condition, Operand, Verdict};
use crate::plan::runbook::{JsonCheck, is_condition};

/// What a check says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateAnswer {
    pub gate: String,
    pub check: String,
    pub verdict: GateVerdict,
    pub words: String,
}

/// As a record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateVerdict {
    Pass,
    Warn,
    Unknown,
    Fail,
}

impl GateVerdict {
    pub fn verdict(self) -> Verdict {
        match self {
            GateVerdict::Pass => Verdict::Pass,
            GateVerdict::Warn => Verdict::Warn,
            GateVerdict::Unknown => Verdict::Unknown,
            GateVerdict::Fail => Verdict::Fail,
        }
    }
}

/// What a check comes to, and why.
pub type Judged = (GateVerdict, String);

fn unknown(words: impl Into<String>) -> Judged {
    (GateVerdict::Unknown, words.into())
}

/// The sources of a governance file, by its JSON form.
pub fn governance(document: &Json, today: NaiveDate) -> Judged {
    let sources: Vec<(String, &Json)> = match document.get("sources").unwrap_or(document) {
        Json::Array(all) => all.iter().enumerate().map(|(i, source)| (name_of(source, i), source)).collect(),
        Json::Object(named) => named.iter().map(|(name, source)| (name.clone(), source)).collect(),
        _ => return unknown("the file has no list of sources"),
    };
    if sources.is_empty() {
        return unknown("the file names no source");
    }
    let text = |source: &Json, keys: &[&str]| keys.iter().find_map(|key| source.get(*key)?.as_str().map(|t| t.trim().to_string()));
    let (mut wrong, mut critical) = (Vec::new(), 0);
    for (name, source) in &sources {
        if source.get("critical").and_then(Json::as_bool) == Some(false) {
            continue;
        }
        critical += 1;
        if text(source, &["owner"]).is_none_or(|owner| owner.is_empty() || owner.eq_ignore_ascii_case("tbd")) {
            wrong.push(format!("{name} has no owner"));
        }
        match text(source, &["review", "review_date", "next_review"]) {
            None => wrong.push(format!("{name} has no review date")),
            Some(date) => match date.parse::<NaiveDate>() {
                Ok(day) if day < today => wrong.push(format!("{name} was to be reviewed by {day}")),
                Ok(_) => {}
                Err(_) => wrong.push(format!("{name}: `{date}` is no day")),
            },
        }
    }
    match wrong.as_slice() {
        [] => (GateVerdict::Pass, format!("{critical} critical sources have an owner and a review date to come")),
        some => (GateVerdict::Fail, some.join("; ")),
    }
}

fn name_of(source: &Json, place: usize) -> String {
    let named = ["name", "id", "uri"].iter().find_map(|key| source.get(*key)?.as_str());
    named.map_or_else(|| format!("source {}", place + 1), str::to_string)
}

/// The files of a lock file and their sums: as `sha256sum` writes them, or a JSON object of paths and sums.
///
/// # Errors
/// What cannot be read as either.
pub fn locked(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.trim_start().starts_with('{') {
        let document: Json = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let files = document.get("files").unwrap_or(&document);
        let files = files.as_object().ok_or("it has no object of files")?;
        let one = |(path, sum): (&String, &Json)| {
            let sum = sum.as_str().or_else(|| sum.get("sha256")?.as_str());
            sum.map(|sum| (path.clone(), sum.trim_start_matches("sha256:").to_lowercase())).ok_or_else(|| format!("{path} has no sum"))
        };
        return files.iter().map(one).collect();
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let one = |line: &str| {
        let (sum, path) = line.split_once(char::is_whitespace).ok_or_else(|| format!("`{line}` is no sum and a path"))?;
        if sum.len() != 64 || !sum.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!("`{sum}` is no sha256"));
        }
        Ok((path.trim_start_matches([' ', '*']).to_string(), sum.to_lowercase()))
    };
    lines.map(one).collect()
}

/// Files against their sums; `sum_of` gives that of a file as it is.
pub fn lockfile(text: &str, sum_of: &dyn Fn(&str) -> Result<String, String>) -> Judged {
    let files = match locked(text) {
        Ok(files) if files.is_empty() => return unknown("the lock file names no file"),
        Ok(files) => files,
        Err(why) => return unknown(format!("the lock file cannot be read: {why}")),
    };
    let mut wrong = Vec::new();
    for (path, sum) in &files {
        match sum_of(path) {
            Ok(now) if now == *sum => {}
            Ok(_) => wrong.push(format!("{path} is another one than was locked")),
            Err(why) => wrong.push(format!("{path}: {why}")),
        }
    }
    match wrong.as_slice() {
        [] => (GateVerdict::Pass, format!("{} files are as they were locked", files.len())),
        some => (GateVerdict::Fail, some.join("; ")),
    }
}

/// What a version is held against: the matrix, and the schema and the collection that are live.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The gate and the check that name it.
    pub check: String,
    pub text: String,
    pub schema: String,
    pub collection: String,
}

impl Matrix {
    pub fn judge(&self, binary: &str) -> Judged {
        compat(&self.text, binary, &self.schema, &self.collection)
    }
}

/// What a table in Markdown says of a binary with a schema and a collection; `*` stands for any.
fn compat(text: &str, binary: &str, schema: &str, collection: &str) -> Judged {
    let rows = text.lines().map(str::trim).filter(|line| line.starts_with('|'));
    let mut rows =
        rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_string()).collect::<Vec<_>>());
    let Some(header) = rows.next() else { return unknown("the file has no table") };
    let column = |words: &[&str]| header.iter().position(|title| words.iter().any(|word| title.to_lowercase().contains(word)));
    let (Some(b), Some(s), Some(c), Some(status)) =
        (column(&["binary", "binario"]), column(&["schema", "esquema"]), column(&["collection", "colecci"]), column(&["status", "estado"]))
    else {
        return unknown("the table has no columns for binary, schema, collection and status");
    };
    let is = |cells: &[String], at: usize, wanted: &str| cells.get(at).is_some_and(|cell| cell == wanted || cell == "*");
    // The row that names the most of them; of two that name as much the worse one.
    let rows: Vec<Vec<String>> = rows.filter(|cells| is(cells, b, binary) && is(cells, s, schema) && is(cells, c, collection)).collect();
    let named = |cells: &Vec<String>| [b, s, c].iter().filter(|at| cells.get(**at).is_some_and(|cell| cell != "*")).count();
    let row = rows.iter().max_by_key(|cells| (named(cells), severity(cells.get(status).map_or("", String::as_str))));
    let what = format!("{binary} with schema {schema} and collection {collection}");
    let Some(row) = row else { return unknown(format!("{what} stands nowhere in the matrix")) };
    let said = row.get(status).map_or("", String::as_str);
    match severity(said) {
        3 => (GateVerdict::Fail, format!("{what}: INCOMPATIBLE")),
        1 => (GateVerdict::Warn, format!("{what}: WARN")),
        0 => (GateVerdict::Pass, format!("{what}: OK")),
        _ => unknown(format!("{what}: `{said}` is none of OK, WARN, INCOMPATIBLE")),
    }
}

/// How bad a status is, by its words: 0 OK, 1 WARN, 3 INCOMPATIBLE; 2 is what nobody can tell.
fn severity(said: &str) -> u8 {
    let said = said.to_uppercase();
    let words: Vec<&str> = said.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["INCOMPATIBLE", ..] => 3,
        ["WARN" | "WARNING", ..] => 1,
        ["OK", ..] => 0,
        _ => 2,
    }
}

/// Whether a number meets a condition; what is no number cannot.
fn meets(found: &Json, text: &str) -> Result<bool, String> {
    let condition = Condition::parse(text, Unit::None)?;
    match (&condition.operand, found.as_f64()) {
        (Operand::Number(limit), Some(value)) => Ok(condition.op.holds(value, *limit)),
        _ => Err(format!("{found} is no number for `{text}`")),
    }
}

/// A document against thresholds.
pub fn evaluation(document: &Json, thresholds: &[JsonCheck]) -> Judged {
    let (mut wrong, mut missing, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in thresholds {
        let Some(found) = document.pointer(&wanted.pointer) else {
            missing.push(format!("nothing at {}", wanted.pointer));
            continue;
        };
        let held = match wanted.is.as_str().filter(|text| is_condition(text)) {
            None => Ok(*found == wanted.is),
            Some(text) => meets(found, text).map_err(|why| format!("{}: {why}", wanted.pointer)),
        };
        let words = format!("{} {found}, {}", wanted.pointer, wanted.is.as_str().map_or_else(|| wanted.is.to_string(), str::to_string));
        match held {
            Ok(true) => good.push(words),
            Ok(false) => wrong.push(words),
            Err(why) => missing.push(why),
        }
    }
    match (wrong.is_empty(), missing.is_empty()) {
        (false, _) => (GateVerdict::Fail, wrong.join("; ")),
        (true, false) => unknown(missing.join("; ")),
        (true, true) => (GateVerdict::Pass, good.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_critical_source_has_an_owner_and_a_review_to_come() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 26).expect("a day");
        let of = |document: Json| governance(&document, today);
        let good = json!({"sources": [{"name": "a", "owner": "eva", "review_date": "2027-01-01"}, {"name": "b", "critical": false}]});
        assert_eq!(of(good), (GateVerdict::Pass, "1 critical sources have an owner and a review date to come".into()));
        let bad = json!({"handbook": {"owner": "", "review": "2026-11-25"}, "wiki": {"owner": "ana"}});
        assert_eq!(
            of(bad),
            (GateVerdict::Fail, "handbook has no owner; handbook was to be reviewed by 2026-11-25; wiki has no review date".into())
        );
        assert_eq!(of(json!([])).0, GateVerdict::Unknown);
        assert_eq!(of(json!("x")).0, GateVerdict::Unknown);
    }

    #[test]
    fn locked_files_are_held_to_their_sums() {
        let sum = "a".repeat(64);
        let now = |path: &str| if path == "there" { Ok("a".repeat(64)) } else { Err("is not there".to_string()) };
        assert_eq!(lockfile(&format!("{sum}  there\n"), &now).0, GateVerdict::Pass);
        assert_eq!(lockfile(&format!("{{\"files\": {{\"there\": \"sha256:{sum}\"}}}}"), &now).0, GateVerdict::Pass);
        assert_eq!(lockfile(&format!("{}  there\n", "b".repeat(64)), &now).0, GateVerdict::Fail);
        assert_eq!(lockfile(&format!("{sum} *gone\n"), &now), (GateVerdict::Fail, "gone: is not there".into()));
        assert_eq!(lockfile("", &now).0, GateVerdict::Unknown);
        assert_eq!(lockfile("xyz there", &now).0, GateVerdict::Unknown);
    }

    #[test]
    fn the_matrix_decides_what_goes_with_what() {
        let matrix = "# Matrix\n| Binary Version | Schema Version | Qdrant Collection | Status |\n| --- | --- | --- | --- |\n\
                      | v1.0.0 | v1.0.0 | rag_main_v1 | ✅ OK |\n| v1.1.0 | v1.0.0 | rag_main_v1 | ⚠️ WARN |\n| v2.0.0 | v1.1.0 | * | ❌ INCOMPATIBLE |\n";
        assert_eq!(compat(matrix, "v1.0.0", "v1.0.0", "rag_main_v1").0, GateVerdict::Pass);
        assert_eq!(compat(matrix, "v1.1.0", "v1.0.0", "rag_main_v1").0, GateVerdict::Warn);
        assert_eq!(compat(matrix, "v2.0.0", "v1.1.0", "anything").0, GateVerdict::Fail);
        assert_eq!(compat(matrix, "v3.0.0", "v1.0.0", "rag_main_v1").0, GateVerdict::Unknown, "what stands nowhere is not OK");
        assert_eq!(compat("no table", "a", "b", "c").0, GateVerdict::Unknown);
    }

    #[test]
    fn an_evaluation_is_held_to_its_thresholds() {
        let wanted =
            [JsonCheck { pointer: "/faithfulness".into(), is: json!(">= 0.80") }, JsonCheck { pointer: "/ok".into(), is: json!(true) }];
        assert_eq!(evaluation(&json!({"faithfulness": 0.87, "ok": true}), &wanted).0, GateVerdict::Pass);
        assert_eq!(evaluation(&json!({"faithfulness": 0.79, "ok": true}), &wanted).0, GateVerdict::Fail);
        assert_eq!(evaluation(&json!({"ok": true}), &wanted).0, GateVerdict::Unknown);
        assert_eq!(evaluation(&json!({"faithfulness": "high", "ok": true}), &wanted).0, GateVerdict::Unknown);
    }
}
