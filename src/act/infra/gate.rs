//! Checks of gates that look outside: programs, files, tables.

use std::path::Path;
use std::time::Duration;

use super::command::run;
use super::snapshot::sha256_of;
use crate::base::clock::Stamp;
use crate::base::yaml;
use crate::plan::deploy::{GateVerdict, Judged, Matrix, evaluation, governance, lockfile};
use crate::plan::runbook::{GateFact, GateKind};

fn unknown(words: impl Into<String>) -> Judged {
    (GateVerdict::Unknown, words.into())
}

/// What a check says now; `None`: it is about live signals, which are asked elsewhere.
pub async fn look(kind: &GateKind, limit: Duration, now: Stamp) -> Option<Judged> {
    Some(match kind {
        GateKind::Signals(_) => return None,
        GateKind::Command(argv) => match run(argv.clone(), limit).await {
            Ok(printed) => {
                (GateVerdict::Pass, printed.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended well").to_string())
            }
            // One that cannot be started, or takes too long, has said nothing.
            Err(fault) if fault.message.contains("ended with") => (GateVerdict::Fail, fault.message),
            Err(fault) => unknown(fault.message),
        },
        GateKind::Governance(file) => match read(file).and_then(|text| yaml::to_json(&text)) {
            Ok(document) => governance(&document, now.day()),
            Err(why) => unknown(format!("{}: {why}", file.display())),
        },
        GateKind::Lockfile(file) => match read(file) {
            Ok(text) => {
                let folder = file.parent().unwrap_or(Path::new("."));
                lockfile(&text, &|path| sha256_of(&folder.join(path)).map(|(sum, _)| sum).map_err(|e| e.to_string()))
            }
            Err(why) => unknown(format!("{}: {why}", file.display())),
        },
        GateKind::Compat { binary, .. } => match (matrix("", kind, limit).await?, fact(binary, limit).await) {
            (Ok(matrix), Ok(binary)) => matrix.judge(&binary),
            (Err(why), _) | (_, Err(why)) => unknown(why),
        },
        GateKind::Evaluation { argv, thresholds } => match run(argv.clone(), limit).await {
            Ok(printed) => match serde_json::from_str(&printed) {
                Ok(document) => evaluation(&document, thresholds),
                Err(e) => unknown(format!("it printed no JSON: {e}")),
            },
            Err(fault) => unknown(fault.message),
        },
    })
}

/// The matrix of a check and what is live of it, where the check is of one.
pub async fn matrix(check: &str, kind: &GateKind, limit: Duration) -> Option<Result<Matrix, String>> {
    let GateKind::Compat { file, schema, collection, .. } = kind else { return None };
    let of = async {
        let text = read(file).map_err(|why| format!("{}: {why}", file.display()))?;
        let (schema, collection) = (fact(schema, limit).await?, fact(collection, limit).await?);
        Ok(Matrix { check: check.into(), text, schema, collection })
    };
    Some(of.await)
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| e.to_string())
}

async fn fact(fact: &GateFact, limit: Duration) -> Result<String, String> {
    match fact {
        GateFact::Is(text) => Ok(text.clone()),
        GateFact::Printed(argv) => {
            let printed = run(argv.clone(), limit).await.map_err(|fault| fault.message)?;
            let text = printed.trim().to_string();
            if text.is_empty() || text.lines().count() > 1 { Err(format!("`{}` printed no one line", argv.join(" "))) } else { Ok(text) }
        }
    }
}
