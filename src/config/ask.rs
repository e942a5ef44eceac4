//! From a signal's fields to the question its source understands.

use std::sync::Arc;

use super::resolver::Resolver;
use super::shape::{KindShape, SignalShape, SpannedText};
use crate::observe::engine;
use crate::observe::reading::{Ask, Fact, ProbeSpec};

/// The Redis commands that change nothing.
const READS: [&str; 32] = [
    "PING",
    "INFO",
    "DBSIZE",
    "GET",
    "MGET",
    "STRLEN",
    "EXISTS",
    "TTL",
    "PTTL",
    "TYPE",
    "LLEN",
    "LRANGE",
    "LINDEX",
    "SCARD",
    "SMEMBERS",
    "SISMEMBER",
    "ZCARD",
    "ZCOUNT",
    "ZRANGE",
    "ZSCORE",
    "ZRANK",
    "HLEN",
    "HGET",
    "HGETALL",
    "HKEYS",
    "XLEN",
    "XINFO",
    "XPENDING",
    "PFCOUNT",
    "MEMORY",
    "LASTSAVE",
    "ROLE",
];

/// Of these only some words read.
fn writes_after_all(words: &[String]) -> bool {
    words[0].eq_ignore_ascii_case("MEMORY")
        && !["USAGE", "STATS", "DOCTOR", "MALLOC-STATS", "HELP"].contains(&words[1].to_ascii_uppercase().as_str())
}

/// A problem with one field: where and why.
pub(super) type QueryProblem = (std::ops::Range<usize>, String, Option<String>);

fn pointer(text: &SpannedText) -> Result<String, QueryProblem> {
    let pointer = text.get_ref();
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(pointer.clone());
    }
    let hint = format!("write pointer = \"/{}\"", pointer.trim_start_matches('$').trim_start_matches('.').replace('.', "/"));
    Err((text.span(), "a JSON pointer begins with a slash".into(), Some(hint)))
}

impl Resolver<'_> {
    /// The question, and how it is shown to people. `strict`: a verdict depends on the answer.
    pub(super) fn ask(
        &mut self,
        kind: KindShape,
        collection: Option<&str>,
        shape: &SignalShape,
        here: std::ops::Range<usize>,
        strict: bool,
    ) -> Option<(Ask, String)> {
        let missing =
            |field: &str, example: &str| (here.clone(), format!("`{field}` is missing"), Some(format!("for example {field} = {example}")));
        let result = match kind {
            KindShape::Prometheus | KindShape::Scrape => match (&shape.query, shape.alerts) {
                (None, Some(true)) if kind == KindShape::Prometheus => Ok((Ask::Alerts, "GET /api/v1/rules?type=alert".into())),
                (Some(query), _) => self.promql(kind, query, strict),
                (None, _) => Err(missing("query", "\"sum(rate(http_requests_total[5m]))\"")),
            },
            KindShape::Alertmanager => Ok((Ask::Alerts, "GET /api/v2/alerts".into())),
            KindShape::Database => match (shape.health, &shape.query) {
                (Some(health), _) => Ok((Ask::Health(health), format!("built-in: {health:?}"))),
                (None, Some(query)) => {
                    self.filled_whole(query).map(|text| (Ask::Sql { query: text.clone(), shape: shape.shape.unwrap_or_default() }, text))
                }
                (None, None) => Err(missing("query", "\"SELECT count(*) FROM rag_chunks\" (or health = \"connections\")")),
            },
            KindShape::Qdrant => match (shape.fact, shape.collection.as_deref().or(collection)) {
                (None, _) => Err(missing("fact", "\"status\"")),
                // What is asked of the whole server needs none.
                (Some(fact @ (Fact::Collections | Fact::Unwell | Fact::Aliases | Fact::Cluster)), None) => {
                    Ok((Ask::Qdrant { collection: String::new(), fact }, format!("{fact:?}")))
                }
                (Some(_), None) => Err(missing("collection", "\"rag_main\" (here or on the source)")),
                (Some(fact), Some(collection)) => {
                    let shown = format!("{fact:?} of {collection}");
                    Ok((Ask::Qdrant { collection: collection.to_string(), fact }, shown))
                }
            },
            KindShape::Http => self.http(shape, missing("path", "\"/healthz\"")),
            KindShape::Redis => match &shape.command {
                Some(words) if words.first().is_some_and(|word| !READS.contains(&word.to_ascii_uppercase().as_str())) => {
                    let hint = Some(format!("there is: {}", READS.join(", ")));
                    Err((here.clone(), format!("`{}` is not among the commands that only read", words[0]), hint))
                }
                Some(words) if words.len() > 1 && writes_after_all(words) => {
                    let cause = format!("`{} {}` changes something", words[0], words[1]);
                    Err((here.clone(), cause, Some("there is MEMORY USAGE KEY, MEMORY STATS, MEMORY DOCTOR".into())))
                }
                Some(words) if !words.is_empty() => {
                    let shown = [words.join(" "), shape.field.clone().unwrap_or_default()].join(" ").trim().to_string();
                    Ok((Ask::Redis { command: words.clone(), field: shape.field.clone() }, shown))
                }
                _ => Err(missing("command", "[\"LLEN\", \"jobs\"]")),
            },
            KindShape::Command => shape.pointer.as_ref().map(pointer).transpose().map(|pointer| {
                let shown = format!("output of the command {}", pointer.clone().unwrap_or_default());
                (Ask::Output { pointer }, shown.trim().to_string())
            }),
        };
        result.map_err(|(span, cause, hint)| self.findings.error(span, cause, hint)).ok()
    }

    fn http(&mut self, shape: &SignalShape, missing: QueryProblem) -> Result<(Ask, String), QueryProblem> {
        let path = shape.path.as_ref().ok_or(missing)?;
        if let Some(at) = &shape.pointer {
            let (path, pointer) = (path.get_ref().clone(), pointer(at)?);
            return Ok((Ask::Json { path: path.clone(), pointer: pointer.clone() }, format!("GET {path} at {pointer}")));
        }
        let within = shape.within.as_ref().and_then(|text| self.duration(text));
        if let Some(body) = &shape.body {
            regex::Regex::new(body.get_ref()).map_err(|e| (body.span(), format!("this is not a regular expression: {e}"), None))?;
        }
        let method = shape.method.clone().unwrap_or_else(|| "GET".into());
        if !["GET", "HEAD", "OPTIONS"].contains(&method.as_str()) {
            return Err((
                path.span(),
                format!("a probe only looks: `{method}` could change something"),
                Some("use GET, HEAD or OPTIONS".into()),
            ));
        }
        if let Some(body) = shape.body.as_ref().filter(|_| method == "HEAD") {
            return Err((body.span(), "an answer to HEAD has no body".into(), Some("use GET".into())));
        }
        let status = shape.status.unwrap_or(200);
        if !(100..600).contains(&status) {
            return Err((path.span(), format!("no server answers with the status {status}"), Some("write status = 200".into())));
        }
        let spec = ProbeSpec {
            path: path.get_ref().clone(),
            method,
            status,
            body: shape.body.as_ref().map(|b| b.get_ref().clone()),
            within,
            signal: String::new(),
            timeout: None,
        };
        let shown = format!("{} {} wants {}", spec.method, spec.path, spec.status);
        Ok((Ask::Probe(spec), shown))
    }

    /// A checked PromQL question.
    pub(super) fn promql(&mut self, kind: KindShape, query: &SpannedText, strict: bool) -> Result<(Ask, String), QueryProblem> {
        // A comment would swallow whatever is put behind the query.
        let text = engine::without_comments(&self.filled_whole(query)?);
        let place = |e: &engine::PromqlError| {
            // Inside the quotes, when the file's text is the query's text.
            let start = query.span().start + if text == *query.get_ref() { e.at.map_or(0, |at| at + 1) } else { 0 };
            start..query.span().end
        };
        let parsed = engine::check(&text).map_err(|e| (place(&e), format!("in this query: {e}"), None))?;
        for phi in engine::impossible_quantiles(&parsed) {
            let hint = format!("write {} for the {phi} % quantile", phi / 100.0);
            let hint = (phi > 1.0 && phi < 100.0).then_some(hint);
            self.findings.error(query.span(), format!("a quantile lies between 0 and 1, and this is {phi}"), hint);
        }
        if kind == KindShape::Scrape {
            engine::supported(&text)
                .map_err(|e| (place(&e), e.to_string(), Some("ask a Prometheus instead, or write it another way".into())))?;
        }
        if !matches!(parsed.value_type(), promql_parser::parser::value::ValueType::Vector | promql_parser::parser::value::ValueType::Scalar)
        {
            return Err((query.span(), format!("this query gives a {}; a signal needs one value a series", parsed.value_type()), None));
        }
        Ok((Ask::Promql { selectors: engine::selectors(&parsed), query: text.clone(), strict }, text))
    }

    /// The text with every `${name}` filled in.
    pub(super) fn filled(&self, text: &SpannedText) -> Result<String, QueryProblem> {
        let mut out = String::new();
        let mut rest = text.get_ref().as_str();
        while let Some(start) = rest.find("${") {
            let Some(end) = rest[start..].find('}') else { break };
            let name = &rest[start + 2..start + end];
            let Some(value) = self.vars.get(name) else {
                let hint = crate::base::diag::suggestion(name, self.vars.keys().map(String::as_str));
                return Err((text.span(), format!("there is no variable `{name}` under [vars]"), hint));
            };
            out.push_str(&rest[..start]);
            out.push_str(value);
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The same; a variable that is written without its braces is a slip.
    pub(super) fn filled_whole(&self, text: &SpannedText) -> Result<String, QueryProblem> {
        let out = self.filled(text)?;
        // As a word of its own: $db, and not $database.
        let bare = self.vars.keys().find(|name| {
            let ends = |at: usize| out[at + 1 + name.len()..].chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
            out.match_indices(&format!("${name}")).any(|(at, _)| ends(at))
        });
        match bare {
            Some(name) => Err((text.span(), format!("`${name}` is not filled in"), Some(format!("write ${{{name}}}")))),
            None => Ok(out),
        }
    }

    pub(super) fn named_source(&mut self, text: &SpannedText) -> Option<Arc<str>> {
        let found = self.kinds.keys().find(|name| ***name == **text.get_ref()).cloned();
        if found.is_none() {
            let hint = crate::base::diag::suggestion(text.get_ref(), self.kinds.keys().map(AsRef::as_ref));
            self.findings.error(text.span(), format!("there is no source `{}`", text.get_ref()), hint);
        }
        found
    }
}
