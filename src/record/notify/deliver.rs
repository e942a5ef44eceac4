//! Notifications on their way: Slack, PagerDuty Events v2, any webhook, e-mail. Each carries its id, so that a copy can be told.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::{Value as Json, json};

use crate::base::endpoint::{Auth, Endpoint, Tls};
use crate::base::text::fit;
use crate::observe::source::{Web, fetch_secret};
use crate::plan::runbook::{Channel, Occasion};
use crate::record::notify::Notification;

const PATIENCE: Duration = Duration::from_secs(10);

/// Why a notification has not arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDelivered {
    pub why: String,
    /// Whether it may arrive another time: what a receiver will not have, it will not have later either.
    pub again: bool,
    /// How long the receiver wants to be left alone.
    pub after: Option<Duration>,
}

impl From<String> for NotDelivered {
    fn from(why: String) -> NotDelivered {
        NotDelivered { why, again: true, after: None }
    }
}

/// Sends a notification.
///
/// # Errors
/// Why it has not arrived, and whether it is worth trying again.
pub async fn deliver(notification: &Notification) -> Result<(), NotDelivered> {
    match &notification.channel {
        Channel::Slack { webhook } => {
            let url = fetch_secret(webhook).await.map_err(|f| f.message)?;
            let answer = post(url.expose(), &json!({"text": slack_text(notification)}), notification, None).await?;
            // Slack says so in one word; anything else is a page of somebody in between.
            let workflow = serde_json::from_str::<Json>(&answer).is_ok_and(|answer| answer["ok"] == true);
            if answer.trim() == "ok" || workflow {
                Ok(())
            } else {
                Err(format!("it answered `{}` instead of `ok`", fit(&crate::base::secret::sanitize(answer.trim()), 60)).into())
            }
        }
        Channel::Pagerduty { key, url } => {
            let key = fetch_secret(key).await.map_err(|f| f.message)?;
            post(url, &pagerduty(notification, key.expose()), notification, None).await.map(drop)
        }
        Channel::Webhook { url, secret } => {
            let token = match secret {
                Some(reference) => Some(fetch_secret(reference).await.map_err(|f| f.message)?),
                None => None,
            };
            let body = json!({
                "id": notification.id, "run": notification.run, "event": notification.occasion.word(), "environment": notification.environment,
                "title": notification.title, "lines": notification.lines, "at": notification.at.iso(),
            });
            post(url, &body, notification, token.as_ref().map(|t| t.expose())).await.map(drop)
        }
        Channel::Email { smtp, from, to, user, password } => {
            let password = match password {
                Some(reference) => Some(fetch_secret(reference).await.map_err(|f| f.message)?),
                None => None,
            };
            let credentials = user.clone().zip(password.map(|p| p.expose().to_string()));
            Ok(mail(notification, smtp, from, to, credentials).await?)
        }
    }
}

async fn post(url: &str, body: &Json, notification: &Notification, token: Option<&str>) -> Result<String, NotDelivered> {
    // The address may be a secret: it is not repeated.
    let url = url::Url::parse(url).map_err(|e| format!("its address is not a URL: {e}"))?;
    let endpoint = Endpoint {
        url,
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        timeout: PATIENCE,
        max_body: 64 << 10,
        proxy: None,
    };
    let web = Web::new(endpoint);
    let mut request = web.request("POST", "").map_err(|f| f.message)?.header("Idempotency-Key", &notification.id).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = web.send(request).await.map_err(|f| f.message)?;
    if answer.status.is_success() {
        return Ok(answer.text());
    }
    let status = answer.status.as_u16();
    let why = format!("it answered {status}: {}", fit(&crate::base::secret::sanitize(answer.text().trim()), 120));
    // Of these the message itself is the reason; a wrong key or address may be put right.
    let again = ![400, 410, 413, 414, 422].contains(&status);
    Err(NotDelivered { why, again, after: retry_after(answer.retry_after.as_deref()) })
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(text: Option<&str>) -> Option<Duration> {
    let text = text?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    (at.with_timezone(&chrono::Utc) - chrono::Utc::now()).to_std().ok().map(|after| after.min(LONGEST))
}

/// No receiver is left alone for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Slack's own signs are written out, so that nobody's output calls a whole channel.
fn slack_text(notification: &Notification) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let lines: Vec<String> = notification.lines.iter().map(|line| escape(line)).collect();
    fit(&format!("*{}*\n{}", escape(&notification.title), lines.join("\n")), 3000).into_owned()
}

fn pagerduty(notification: &Notification, key: &str) -> Json {
    let (action, severity) = match notification.occasion {
        Occasion::Success => ("resolve", "info"),
        Occasion::Start => ("trigger", "info"),
        Occasion::Waiting | Occasion::Abort => ("trigger", "warning"),
        Occasion::Rollback => ("trigger", "error"),
        Occasion::Failure => ("trigger", "critical"),
    };
    json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": fit(&format!("lastgreen/{}/{}", notification.environment, notification.run), 255),
        "payload": {
            "summary": fit(&notification.title, 1024),
            "source": notification.environment,
            "severity": severity,
            "timestamp": notification.at.iso(),
            "custom_details": {"lines": notification.lines, "run": notification.run},
        },
    })
}

async fn mail(
    notification: &Notification,
    smtp: &str,
    from: &str,
    to: &[String],
    credentials: Option<(String, String)>,
) -> Result<(), String> {
    let from: Mailbox = from.parse().map_err(|e| format!("`{from}` is no address: {e}"))?;
    let mut message =
        Message::builder().from(from).subject(&notification.title).message_id(Some(format!("<{}@lastgreen>", notification.id)));
    for address in to {
        message = message.to(address.parse().map_err(|e| format!("`{address}` is no address: {e}"))?);
    }
    let message = message.body(notification.lines.join("\n")).map_err(|e| e.to_string())?;
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp).map_err(|e| e.to_string())?.timeout(Some(PATIENCE));
    if let Some((user, password)) = credentials {
        transport = transport.credentials(Credentials::new(user, password));
    }
    transport.build().send(message).await.map(drop).map_err(|e| crate::base::secret::sanitize(&e.to_string()))
}
