//! Redis: any command that reads, as a number (or a field of `INFO`). A connection that broke is made anew.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, IntoConnectionInfo, Value as Reply};
use tokio::sync::Mutex;

use super::{Answer, Boxed, Client, not_understood};
use crate::base::endpoint::Tls;
use crate::base::secret::{SecretRef, sanitize};
use crate::observe::reading::{Ask, Fault, FaultKind, Value};

pub struct Redis {
    url: String,
    password: Option<SecretRef>,
    tls: Tls,
    timeout: Duration,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    pub fn new(url: String, password: Option<SecretRef>, tls: Tls, timeout: Duration) -> Redis {
        Redis { url, password, tls, timeout, connection: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        let local = |e: String| Fault::new(FaultKind::Local, e);
        let mut info = self.url.as_str().into_connection_info().map_err(|e| local(format!("this is not a Redis URL: {e}")))?;
        if let Some(secret) = &self.password {
            let settings = info.redis_settings().clone().set_password(super::secrets::fetch(secret).await?.expose());
            info = info.set_redis_settings(settings);
        }
        let read = |path: &Option<std::path::PathBuf>| {
            let bytes = path.as_ref().map(|path| std::fs::read(path).map_err(|e| local(format!("cannot read {}: {e}", path.display()))));
            bytes.transpose()
        };
        let client = if self.url.starts_with("rediss:") {
            let own = read(&self.tls.cert)?.zip(read(&self.tls.key)?);
            let client_tls = own.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
            redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert: read(&self.tls.ca)? })
        } else {
            redis::Client::open(info)
        };
        let client = client.map_err(|e| fault(&e))?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(self.timeout)).set_response_timeout(Some(self.timeout));
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|e| fault(&e))
    }

    /// A server ends connections that nobody uses: one that was there before is made anew, once. What is asked only reads.
    async fn run(&self, words: &[String]) -> Result<Reply, Fault> {
        let (mut connection, kept) = self.connected().await?;
        let Some((name, arguments)) = words.split_first() else {
            return Err(Fault::new(FaultKind::Query, "the command is empty"));
        };
        let mut command = redis::cmd(name);
        for argument in arguments {
            command.arg(argument.as_str());
        }
        let mut reply = command.query_async::<Reply>(&mut connection).await;
        if kept && reply.as_ref().is_err_and(|error| !error.is_timeout() && error.is_unrecoverable_error()) {
            *self.connection.lock().await = None;
            (connection, _) = self.connected().await?;
            reply = command.query_async::<Reply>(&mut connection).await;
        }
        if reply.as_ref().is_err_and(|error| error.is_unrecoverable_error() || error.is_timeout()) {
            *self.connection.lock().await = None;
        }
        reply.map_err(|e| fault(&e))
    }

    /// The connection, and whether it was there before.
    async fn connected(&self) -> Result<(MultiplexedConnection, bool), Fault> {
        // Held while connecting, so that questions which come together share one connection; never while asking.
        let mut slot = self.connection.lock().await;
        Ok(match &*slot {
            Some(connection) => (connection.clone(), true),
            None => (slot.insert(self.connect().await?).clone(), false),
        })
    }
}

fn fault(error: &redis::RedisError) -> Fault {
    let kind = if error.is_timeout() {
        FaultKind::Timeout
    } else if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) || error.kind() == redis::ErrorKind::AuthenticationFailed {
        FaultKind::Auth
    } else if error.is_io_error() || error.is_connection_refusal() || error.is_connection_dropped() {
        FaultKind::Unreachable
    } else if matches!(error.code(), Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN")) {
        FaultKind::Unavailable
    } else {
        FaultKind::Query
    };
    let words = error.to_string();
    Fault::new(kind, words.split(" (os error").next().unwrap_or(&words))
}

/// Older servers give fields and their values in one list.
fn in_pairs(reply: Reply, command: &[String]) -> Reply {
    let paired = command.first().is_some_and(|name| name.eq_ignore_ascii_case("HGETALL"))
        || command.iter().skip(1).any(|word| word.eq_ignore_ascii_case("WITHSCORES"));
    match reply {
        Reply::Array(items) if paired => Reply::Array(items.into_iter().step_by(2).collect()),
        other => other,
    }
}

fn value_of(reply: Reply, field: Option<&str>) -> Result<Value, Fault> {
    let empty = || Fault::new(FaultKind::Empty, "the answer is nil");
    let text = match reply {
        Reply::Nil => return Err(empty()),
        Reply::Int(n) => return Ok(Value::Number(n as f64)),
        Reply::Double(n) => return Ok(Value::Number(n)),
        Reply::Boolean(b) => return Ok(Value::Number(f64::from(u8::from(b)))),
        // Nil in a list is something that is not there.
        Reply::Array(items) | Reply::Set(items) => return Ok(Value::Number(items.iter().filter(|one| **one != Reply::Nil).count() as f64)),
        Reply::Map(pairs) => return Ok(Value::Number(pairs.len() as f64)),
        Reply::Okay => "OK".to_string(),
        Reply::SimpleString(text) | Reply::VerbatimString { text, .. } => text,
        Reply::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => return Err(Fault::new(FaultKind::Garbage, format!("an answer of no known kind: {other:?}"))),
    };
    let text = match field {
        None => text,
        Some(field) => text
            .lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| *name == field).map(|(_, value)| value.trim().to_string()))
            .ok_or_else(|| Fault::new(FaultKind::Empty, format!("the answer has no field `{field}`")))?,
    };
    Ok(Value::Text(sanitize(text.trim())))
}

impl Client for Redis {
    fn there(&self) -> Boxed<'_, Result<(), Fault>> {
        Box::pin(async move { self.run(&["PING".to_string()]).await.map(drop) })
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> Boxed<'a, Result<Answer, Fault>> {
        Box::pin(async move {
            match ask {
                Ask::Redis { command, field } => {
                    let reply = self.run(command).await?;
                    // The same number for every key that is not there says nothing of how long one lives.
                    let lives = command.first().is_some_and(|name| ["TTL", "PTTL"].iter().any(|own| name.eq_ignore_ascii_case(own)));
                    if lives && reply == Reply::Int(-2) {
                        return Err(Fault::new(FaultKind::Empty, "there is no such key"));
                    }
                    if lives && reply == Reply::Int(-1) {
                        return Err(Fault::new(FaultKind::Empty, "this key never expires"));
                    }
                    value_of(in_pairs(reply, command), field.as_deref()).map(Answer::now)
                }
                other => Err(not_understood(other)),
            }
        })
    }
}
