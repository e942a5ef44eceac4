//! An HTTP request with what its answer must be. What changes something carries a key that is the same for every attempt.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Act, Context, Invocation, Outcome, OutputLog, Settled, expect};
use crate::base::secret::sanitize;
use crate::base::text::fit;
use crate::observe::reading::FaultKind;
use crate::observe::source::{Boxed, Response, Web, fetch_secret};
use crate::plan::runbook::{HttpCall, Output};

impl Act for HttpCall {
    fn perform<'a>(&'a self, context: &'a Context, invocation: &'a Invocation<'a>, log: &'a mut OutputLog) -> Boxed<'a, Outcome> {
        Box::pin(request(context, self, invocation, log))
    }

    /// What a server does whose client has gone cannot be seen from here.
    fn settle<'a>(&'a self, _context: &'a Context, _run: &'a str, _key: &'a str, _end: bool) -> Boxed<'a, Settled> {
        let settled = if self.mutates { Settled::Lingers } else { Settled::Over };
        Box::pin(async move { settled })
    }
}

async fn request(context: &Context, call: &HttpCall, invocation: &Invocation<'_>, log: &mut OutputLog) -> Outcome {
    let answer = match send(context, call, invocation, invocation.limit()).await {
        Ok(answer) => answer,
        Err((message, touched)) => return Outcome::failed(message, touched && call.mutates),
    };
    let text = answer.text();
    log.say(&format!("{} {}: {}", call.method, call.address.path, answer.status));
    for line in text.lines().take(200) {
        log.say(line);
    }
    let status = answer.status.as_u16();
    let said = fit(&sanitize(text.trim()), 200).into_owned();
    let json: Json = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
    // An answer that refuses did nothing; one that broke may have.
    let touched = call.mutates && !answer.status.is_client_error();
    if !call.status.contains(&status) {
        let wanted: Vec<String> = call.status.iter().map(u16::to_string).collect();
        let words = format!("answered {status}, wanted {}: {said}", wanted.join(" or "));
        // Somebody in between, or a server in trouble, has not answered the question.
        return Outcome::failed_or_otherwise(words, touched, is_an_answer(status));
    }
    let mut facts = Vec::new();
    for wanted in &call.expect {
        match expect::check(&json, wanted) {
            Ok(fact) => facts.push(sanitize(&fact)),
            Err(e) => return Outcome::failed_or_otherwise(e, touched, !json.is_null()),
        }
    }
    // What is so by the answer says more than that there was one.
    let words = if facts.is_empty() { format!("answered {status}") } else { fit(&facts.join(", "), 200).into_owned() };
    let output = Output { text: fit(&sanitize(text.trim()), 4000).into_owned(), json: redacted(json) }.bounded();
    Outcome::done(words, touched).with(output)
}

/// Whether a status says something about what was asked: a redirection, somebody in between who wants to know who asks,
/// or a server in trouble does not.
pub(super) fn is_an_answer(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=499) && ![401, 403, 407, 408, 425, 429].contains(&status)
}

async fn send(context: &Context, call: &HttpCall, invocation: &Invocation<'_>, limit: Duration) -> Result<Response, (String, bool)> {
    let local = |e: String| (e, false);
    let web = Web::new(context.endpoint(&call.address, limit).map_err(local)?);
    let mut request = web.request(&call.method, "").map_err(|f| local(f.message))?;
    if call.mutates {
        request = request.header("Idempotency-Key", format!("{}-{}", invocation.run, invocation.key));
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    for (name, reference) in &call.secret_headers {
        request = request.header(name, fetch_secret(reference).await.map_err(|f| local(f.message))?.expose());
    }
    if let Some(json) = &call.json {
        request = request.json(json);
    } else if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    web.send(request).await.map_err(|fault| {
        let never_sent =
            matches!(fault.kind, FaultKind::Tls | FaultKind::Local | FaultKind::Query) || fault.message.starts_with("cannot reach");
        (fault.message, !never_sent)
    })
}

/// A document without known secrets and control characters.
pub(super) fn redacted(json: Json) -> Json {
    match json {
        Json::String(text) => Json::String(sanitize(&text)),
        Json::Number(n) => match sanitize(&n.to_string()) {
            same if same == n.to_string() => Json::Number(n),
            other => Json::String(other),
        },
        Json::Array(items) => items.into_iter().map(redacted).collect(),
        Json::Object(map) => Json::Object(map.into_iter().map(|(key, value)| (sanitize(&key), redacted(value))).collect()),
        other => other,
    }
}
