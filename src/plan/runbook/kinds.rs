//! Reading what a step, a probe or an undo does: the fields of each kind.

use super::kind::{self, Address, Check, HealthTarget, HttpCall, JsonCheck, Kind, Load, Script, SqlCall};
use super::template;
use crate::base::diag::suggestion;
use crate::base::secret::SecretRef;
use crate::base::units::Unit;
use crate::base::yaml::{self, Fields, Reader, Text};
use crate::judge::Condition;

/// The kind a mapping describes: of a step, a probe or an undo.
pub fn kind(r: &mut Reader, f: &mut Fields) -> Option<Kind> {
    let word = f.required(r, "type", "script")?;
    match word.text.as_str() {
        "health_check" => health_check(r, f),
        "script" => script(r, f).map(Kind::Script),
        "http" => http(r, f).map(Kind::Http),
        "sql" => sql(r, f).map(Kind::Sql),
        "validation" => validation(r, f),
        "wait" => wait(r, f),
        "manual" => {
            let text = f.required(r, "text", "\"Look at …\"");
            let check = f.strings(r, "check");
            text.map(|text| Kind::Manual { text: text.text, check })
        }
        "notify" => {
            let message = f.required(r, "message", "\"Deploying {{ inputs.version }}\"");
            let channels = f.strings(r, "channels");
            message.map(|message| Kind::Notify { channels, message: message.text })
        }
        "runbook" => {
            let name = f.required(r, "runbook", "smoke-test");
            // As they were written: a version 1.10 is no number.
            let inputs = f.pairs(r, "inputs").into_iter().map(|(name, value)| (name.text, value.text.into())).collect();
            name.map(|name| Kind::Runbook { name: name.text, inputs })
        }
        "load" => load(r, f).map(Kind::Load),
        other => {
            r.error(word.at, format!("there is no kind of step `{other}`"), suggestion(other, kind::WORDS));
            None
        }
    }
}

/// A place: `url: http://…`, or `service: api` with `path: /health` (`endpoint:` in automation files).
fn address(r: &mut Reader, f: &mut Fields) -> Option<Address> {
    let url = f.text(r, "url");
    let service = f.text(r, "service");
    let path = f.text(r, "path");
    let endpoint = f.text(r, "endpoint");
    match (&url, &path, &endpoint) {
        (_, Some(path), Some(_)) => r.error(path.at, "this names a `path` and an `endpoint`", Some("write one of them".into())),
        (Some(url), Some(path), _) | (Some(url), _, Some(path)) => {
            let hint = format!("write url: {}/{}", url.text.trim_end_matches('/'), path.text.trim_start_matches('/'));
            r.error(path.at, "this is said beside a whole `url`", Some(hint));
        }
        _ => {}
    }
    let path = endpoint.or(path);
    match (url, service) {
        (Some(url), None) => {
            if url::Url::parse(&url.text).is_ok_and(|u| u.password().is_some()) {
                let hint = "take it out, and name a service with a password in the configuration";
                r.error(url.at, "the password stands inline in `url`", Some(hint.into()));
            }
            if !template::is_template(&url.text) && !url.text.starts_with("http://") && !url.text.starts_with("https://") {
                r.error(url.at, format!("`{}` is not a URL", url.text), Some("begin with http:// or https://".into()));
            }
            Some(Address { service: None, path: url.text })
        }
        (None, Some(service)) => Some(Address { service: Some(service.text), path: path.map_or_else(|| "/".into(), |p| p.text) }),
        (Some(url), Some(_)) => {
            r.error(url.at, "this names a `url` and a `service`", Some("write one of them".into()));
            None
        }
        (None, None) => {
            r.error(f.at, "nothing says where", Some("write url: http://… or service: api with path: /health".into()));
            None
        }
    }
}

fn health_check(r: &mut Reader, f: &mut Fields) -> Option<Kind> {
    let nodes = f.list(r, "targets");
    if nodes.is_empty() {
        r.error(f.at, "a health check has `targets`", Some("write targets: and below it - url: http://…/health".into()));
    }
    let mut targets = Vec::new();
    for node in nodes {
        let Some(mut inner) = r.fields(node, "a target") else { continue };
        let place = address(r, &mut inner);
        let status = inner.integer(r, "expected_status", 100..=599).unwrap_or(200) as u16;
        let within = inner.duration(r, "within");
        inner.finish(r);
        targets.extend(place.map(|address| HealthTarget { address, status, within }));
    }
    Some(Kind::HealthCheck { targets })
}

fn secret_pairs(r: &mut Reader, f: &mut Fields, key: &'static str) -> Vec<(String, SecretRef)> {
    let mut pairs = Vec::new();
    for (name, value) in f.pairs(r, key) {
        if template::is_template(&value.text) {
            r.error(value.at, format!("`{}`: a reference to a secret has no templates", name.text), None);
            continue;
        }
        match SecretRef::parse(&value.text) {
            Ok(reference) => pairs.push((name.text, reference)),
            Err(e) => r.error(value.at, format!("`{}`: {e}", name.text), None),
        }
    }
    pairs
}

fn plain_pairs(r: &mut Reader, f: &mut Fields, key: &'static str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in f.pairs(r, key) {
        if telling(&name.text) && !template::is_template(&value.text) && value.text.parse::<f64>().is_err() && !value.text.is_empty() {
            let other = if key == "env" { "secrets" } else { "secret_headers" };
            let hint = format!("put it under `{other}:` as \"env:NAME\", \"file:PATH\" or \"cmd:COMMAND\"");
            r.error(value.at, format!("`{}` looks like a secret written inline", name.text), Some(hint));
        }
        pairs.push((name.text, value.text));
    }
    pairs
}

/// Whether a name tells that its value is a secret: `API_TOKEN`, `X-Api-Key`; not `MAX_TOKENS`.
pub fn telling(name: &str) -> bool {
    let words: Vec<String> = name.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_lowercase).collect();
    let secrets = ["authorization", "token", "passwd", "apikey", "cookie", "credential", "credentials"];
    let keys = ["api", "secret", "access", "private", "signing", "encryption"];
    // What the last word says counts: a `token_budget` is a number, a `cookie_domain` a name.
    match words.as_slice() {
        [.., last] if secrets.contains(&last.as_str()) || last.ends_with("password") || last.ends_with("secret") => true,
        [.., before, last] => last == "key" && keys.contains(&before.as_str()),
        _ => false,
    }
}

fn script(r: &mut Reader, f: &mut Fields) -> Option<Script> {
    let inline = f.text(r, "script");
    let file = f.text(r, "file");
    match (&inline, &file) {
        (None, None) => r.error(f.at, "a script step has a `script` or a `file`", Some("write script: | and below it the commands".into())),
        (Some(text), Some(_)) => r.error(text.at, "this has a `script` and a `file`", Some("write one of them".into())),
        (Some(text), None) => spliced(r, text),
        (None, Some(_)) => {}
    }
    let interpreter = match f.node("interpreter") {
        Some((node, _)) => match r.items(node).as_slice() {
            [one] => r.text_of(one, "interpreter").map(|t| t.text.split_whitespace().map(str::to_string).collect()).unwrap_or_default(),
            many => many.iter().filter_map(|n| r.text_of(n, "interpreter")).map(|t| t.text).collect(),
        },
        None => Vec::new(),
    };
    if let Some(word) = interpreter.iter().find(|word| template::is_template(word)) {
        let hint = "hand values over as args: or env:, which nothing reads as code";
        r.error(r.lines.find(f.at, word), "a value in `interpreter` could be read as code", Some(hint.into()));
    }
    Some(Script {
        inline: inline.map(|t| t.text),
        file: file.map(|t| t.text),
        sha256: None,
        interpreter,
        args: f.strings(r, "args"),
        env: plain_pairs(r, f, "env"),
        secrets: secret_pairs(r, f, "secrets"),
        cwd: f.string(r, "cwd"),
        mutates: f.flag(r, "mutates").unwrap_or(true),
    })
}

/// A value in a script's text would be read by the shell as code.
pub fn spliced(r: &mut Reader, text: &Text) {
    // Other programs have templates of their own, as `docker inspect -f '{{.State}}'`.
    let ours = format!(r"\{{[{{%]-?\s*(?:[^}}]*[^}}.\w])?({})\s*[.\[]", template::ROOTS.join("|"));
    let Some(found) = regex::Regex::new(&ours).ok().and_then(|ours| ours.captures(&text.text)?.get(1).map(|m| m.as_str())) else { return };
    let hint = format!("write env: with NAME: \"{{{{ {found}.… }}}}\" and use \"$NAME\" in the script");
    r.error(text.at, format!("`{{{{ {found}.… }}}}` stands in a script's text, where the shell would run it"), Some(hint));
}

fn http(r: &mut Reader, f: &mut Fields) -> Option<HttpCall> {
    let place = address(r, f);
    let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"].map(|m| (m, m));
    let method = f.choice(r, "method", &methods).unwrap_or("GET");
    let mut status: Vec<u16> = Vec::new();
    for key in ["status", "expected_status"] {
        for text in f.texts(r, key) {
            match text.text.parse() {
                Ok(code @ 100..=599) => status.push(code),
                _ => r.error(text.at, format!("`{}` is not an HTTP status", text.text), None),
            }
        }
    }
    if status.is_empty() {
        status.extend([200, 201, 202, 204]);
    }
    let mut expect = Vec::new();
    if let Some(map) = f.map(r, "expect", "`expect`") {
        for (pointer, at, node) in map.entries() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                r.error(at, format!("`{pointer}` is not a JSON pointer"), Some(format!("write /{}", pointer.replace('.', "/"))));
            }
            let is = yaml::json(node);
            if let Some(text) = is.as_str().filter(|t| is_condition(t) && !template::is_template(t))
                && let Err(e) = Condition::parse(text, Unit::None)
            {
                r.error(at, e, None);
            }
            expect.push(JsonCheck { pointer, is });
        }
    }
    let looks = ["GET", "HEAD", "OPTIONS"].contains(&method);
    Some(HttpCall {
        address: place?,
        method: method.into(),
        headers: plain_pairs(r, f, "headers"),
        secret_headers: secret_pairs(r, f, "secret_headers"),
        json: f.json("json"),
        body: f.string(r, "body"),
        status,
        expect,
        mutates: f.flag(r, "mutates").unwrap_or(!looks),
    })
}

/// Whether an expected value is a condition rather than the value itself.
pub fn is_condition(text: &str) -> bool {
    text.starts_with(['<', '>', '≤', '≥']) || text.starts_with("==") || text.starts_with("!=")
}

fn sql(r: &mut Reader, f: &mut Fields) -> Option<SqlCall> {
    let query = f.required(r, "query", "\"SELECT count(*) FROM rag_chunks\"");
    let expect = f.text(r, "expect").map(|text| {
        let condition = if is_condition(&text.text) { text.text.clone() } else { format!("== {}", text.text) };
        if !template::is_template(&condition)
            && let Err(e) = Condition::parse(&condition, Unit::None)
        {
            r.error(text.at, e, Some("write expect: \">= 1\"".into()));
        }
        condition
    });
    let mutates = f.flag(r, "mutates").unwrap_or(false);
    if let Some(query) = &query {
        let said = query.text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("--")).unwrap_or("");
        let said = said.trim_start_matches(['(', ' ']);
        let first = said.split(|c: char| !c.is_alphabetic()).next().unwrap_or("").to_ascii_uppercase();
        if !mutates && !["SELECT", "WITH", "VALUES", "TABLE"].contains(&first.as_str()) {
            let hint = "write mutates: true if it is meant to change something";
            r.error(query.at, format!("`{first}` does not only look"), Some(hint.into()));
        }
        if template::is_template(&query.text) {
            let hint = "write $1 in the query and params: [\"{{ inputs.… }}\"]";
            r.error(query.at, "a value spliced into SQL would be read as SQL", Some(hint.into()));
        }
    }
    let params = match f.json("params") {
        Some(serde_json::Value::Array(items)) => items,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    Some(SqlCall {
        source: f.string(r, "source").unwrap_or_else(|| "database".into()),
        place: String::new(),
        query: query?.text,
        params,
        expect,
        mutates,
    })
}

fn validation(r: &mut Reader, f: &mut Fields) -> Option<Kind> {
    let checks = checks(r, f, "checks");
    if checks.is_empty() {
        r.error(f.at, "a validation has `checks`", Some("write checks: [\"faithfulness >= 0.85\"]".into()));
    }
    let hold = f.duration(r, "for").unwrap_or_default();
    let samples = f.integer(r, "samples", 1..=10_000).unwrap_or(1) as u32;
    Some(Kind::Validation { checks, hold, samples })
}

fn wait(r: &mut Reader, f: &mut Fields) -> Option<Kind> {
    let time = f.duration(r, "time");
    let until = checks(r, f, "until");
    match (time, until.is_empty()) {
        (None, true) => {
            r.error(f.at, "nothing says how long to wait", Some("write time: 30s, or until: [\"queue_length < 10\"] with a timeout".into()))
        }
        (Some(_), false) => {
            r.error(f.at, "this waits for a `time` and `until`", Some("write one of them; `timeout` limits `until`".into()))
        }
        _ => {}
    }
    Some(Kind::Wait { time, until })
}

fn load(r: &mut Reader, f: &mut Fields) -> Option<Load> {
    let place = address(r, f);
    let method = f.choice(r, "method", &[("GET", "GET"), ("POST", "POST"), ("HEAD", "HEAD")]).unwrap_or("GET");
    let errors = f
        .text(r, "errors")
        .and_then(|text| Unit::Ratio.parse(&text.text).map_err(|e| r.error(text.at, e, Some("write errors: 1%".into()))).ok());
    Some(Load {
        address: place?,
        method: method.into(),
        requests: f.integer(r, "requests", 1..=100_000).unwrap_or(500) as u32,
        concurrency: f.integer(r, "concurrency", 1..=256).unwrap_or(10) as u32,
        p95: f.duration(r, "p95"),
        errors: errors.unwrap_or(0.0),
    })
}

/// Checks as `faithfulness >= 0.85`, `faithfulness` (its own thresholds), or `metric:`, `operator:`, `value:`.
pub fn checks(r: &mut Reader, f: &mut Fields, key: &'static str) -> Vec<Check> {
    let mut checks = Vec::new();
    for node in f.list(r, key) {
        let at = r.at(node);
        let check = if matches!(node.data, saphyr::YamlData::Mapping(_)) {
            let Some(mut inner) = r.fields(node, "a check") else { continue };
            let metric = inner.text(r, "metric");
            let signal = inner.text(r, "signal").or(metric);
            let operator = inner.string(r, "operator");
            let value = inner.string(r, "value");
            let condition = inner.string(r, "condition");
            inner.finish(r);
            let Some(signal) = signal else {
                r.error(at, "a check names a `signal`", Some("write signal: error_rate with condition: \"< 1%\"".into()));
                continue;
            };
            let condition = match (condition, operator, value) {
                (Some(condition), ..) => Some(condition),
                (None, Some(operator), Some(value)) => Some(format!("{operator} {value}")),
                (None, None, None) => None,
                (None, ..) => {
                    r.error(at, "`operator` and `value` belong together", Some("write operator: \"<\" and value: 0.01".into()));
                    None
                }
            };
            Check { signal: signal.text, condition }
        } else {
            let Some(text) = r.text_of(node, key) else { continue };
            match text.text.split_once(char::is_whitespace) {
                Some((signal, condition)) => Check { signal: signal.into(), condition: Some(condition.trim().into()) },
                None => Check { signal: text.text, condition: None },
            }
        };
        checks.push(check);
    }
    checks
}
