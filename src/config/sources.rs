//! From a source's fields to what its client needs.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use super::model::{ScrapeTarget, SourceConfig, SourceKind};
use super::resolver::Resolver;
use super::shape::{KindShape, SourceShape, SpannedText};
use crate::base::diag::suggestion;
use crate::base::endpoint::{Auth, Endpoint, Tls, is_postgres_parameter};
use crate::base::secret::SecretRef;
use crate::base::units;

const EVERY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(3);
/// Nobody at a screen waits longer than this for what is asked again and again.
const LONGEST: Duration = Duration::from_secs(120);
/// How often a Prometheus scrapes unless the configuration says otherwise.
const SCRAPED: Duration = Duration::from_secs(15);

/// How a PostgreSQL may be spoken to, as libpq calls it.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

impl Resolver<'_> {
    pub(super) fn source(&mut self, shape: &SourceShape, span: &Range<usize>) -> Option<SourceConfig> {
        let every = self.interval(shape.interval.as_ref(), EVERY);
        let timeout = self.interval(shape.timeout.as_ref(), TIMEOUT);
        if let Some(text) = shape.timeout.as_ref().filter(|_| timeout > LONGEST.max(every * 10)) {
            let cause =
                format!("an answer is waited for {} long: until then a source that hangs is not said to be away", units::short(timeout));
            self.findings.warn(text.span(), cause, Some("write timeout = \"10s\"".into()));
        }
        let kind = match shape.kind {
            KindShape::Prometheus => SourceKind::Prometheus(self.endpoint(shape, span, timeout, "8MiB")?),
            KindShape::Alertmanager => SourceKind::Alertmanager(self.endpoint(shape, span, timeout, "8MiB")?),
            KindShape::Http => SourceKind::Http(self.endpoint(shape, span, timeout, "1MiB")?),
            KindShape::Qdrant => {
                SourceKind::Qdrant { endpoint: self.endpoint(shape, span, timeout, "8MiB")?, collection: shape.collection.clone() }
            }
            KindShape::Scrape => self.scrape(shape, span, timeout)?,
            KindShape::Database => self.database(shape, span)?,
            KindShape::Redis => {
                let url = self.url(shape.url.as_ref(), span, &["redis", "rediss", "redis+unix"])?;
                if let Some((name, _)) = url.query_pairs().find(|(name, _)| url.scheme() != "redis+unix" || name != "db") {
                    let at = shape.url.as_ref().map_or_else(|| span.clone(), SpannedText::span);
                    let hint = "write the number of the database as the path: redis://host:6379/3";
                    self.findings.error(at, format!("`{name}` in this URL is not supported"), Some(hint.into()));
                }
                SourceKind::Redis { url: url.to_string(), password: self.secret(shape.password.as_ref()), tls: self.tls(shape) }
            }
            KindShape::Command => match &shape.command {
                Some(argv) if !argv.is_empty() => {
                    SourceKind::Command { argv: argv.clone(), max_output: self.size(shape.max_body.as_ref(), "1MiB") }
                }
                _ => {
                    self.findings.error(
                        span.clone(),
                        "`command` is missing",
                        Some("write command = [\"./bin/queue-length\", \"--json\"]".into()),
                    );
                    return None;
                }
            },
        };
        // How often samples come into being: what Prometheus scrapes by, or what we scrape by ourselves.
        let sampled = match shape.kind {
            KindShape::Prometheus => self.interval(shape.scrape_interval.as_ref(), SCRAPED).max(every),
            _ => every,
        };
        let concurrency = self.at_once(("concurrency", shape.concurrency, 8, 64), span);
        Some(SourceConfig { kind, every, sampled, timeout, concurrency })
    }

    /// How many of something there are at once: at least one, and not more than a source can bear.
    fn at_once(&mut self, (field, said, usual, most): (&str, Option<usize>, usize, usize), span: &Range<usize>) -> usize {
        let number = said.unwrap_or(usual);
        if !(1..=most).contains(&number) {
            self.findings.error(span.clone(), format!("{field} = {number}"), Some(format!("write a number from 1 to {most}")));
        }
        number.clamp(1, most)
    }

    fn scrape(&mut self, shape: &SourceShape, span: &Range<usize>, timeout: Duration) -> Option<SourceKind> {
        if shape.targets.is_empty() {
            self.findings.error(
                span.clone(),
                "there is no page to read",
                Some("write targets = [{ url = \"http://localhost:8000/metrics\" }]".into()),
            );
            return None;
        }
        let mut targets = Vec::new();
        for target in &shape.targets {
            let own = SourceShape { url: Some(target.url.clone()), ..shape.clone() };
            let endpoint = self.endpoint(&own, span, timeout, "64MiB")?;
            let host = endpoint.url.host_str().unwrap_or("?");
            let instance = endpoint.url.port_or_known_default().map_or(host.to_string(), |port| format!("{host}:{port}"));
            let mut labels: Vec<(String, String)> = target.labels.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
            for (name, value) in [("job", target.name.clone().unwrap_or_else(|| "scrape".into())), ("instance", instance.clone())] {
                if !labels.iter().any(|(n, _)| n == name) {
                    labels.push((name.into(), value));
                }
            }
            targets.push(ScrapeTarget { name: target.name.clone().unwrap_or(instance), labels, endpoint });
        }
        self.tell_apart(&mut targets, span);
        Some(SourceKind::Scrape {
            targets,
            retention: self.interval(shape.retention.as_ref(), Duration::from_secs(2 * 3600)),
            samples: shape.max_samples.unwrap_or(4_000_000),
            series: shape.max_series.unwrap_or(200_000),
        })
    }

    /// Two pages of one host without a name differ by their paths; what has the same labels would be one series.
    fn tell_apart(&mut self, targets: &mut [ScrapeTarget], span: &Range<usize>) {
        for at in 0..targets.len() {
            let labels = targets[at].labels.clone();
            let same: Vec<usize> = (0..targets.len()).filter(|other| targets[*other].labels == labels).collect();
            for other in same.iter().filter(|_| same.len() > 1) {
                let target = &mut targets[*other];
                let path = target.endpoint.url.path().to_string();
                let instance = target.labels.iter_mut().find(|(name, _)| name == "instance");
                let own = instance.filter(|(_, value)| *value == target.name);
                if let Some((_, value)) = own {
                    value.push_str(&path);
                    target.name = value.clone();
                }
            }
        }
        for at in 1..targets.len() {
            if let Some(other) = targets[..at].iter().find(|other| other.labels == targets[at].labels) {
                let words = format!("{} and {} would give the same series", other.endpoint.shown(), targets[at].endpoint.shown());
                self.findings.error(span.clone(), words, Some("give each target a name, or labels of its own".into()));
            }
        }
    }

    fn database(&mut self, shape: &SourceShape, span: &Range<usize>) -> Option<SourceKind> {
        let text = self.required(shape.url.as_ref(), span)?;
        let (mut url, at) = (text.get_ref().clone(), text.span());
        if !url.starts_with("sqlite:") {
            let parsed = self.url(Some(&text.clone()), span, &["postgres", "postgresql"])?;
            self.known_parameters(&parsed, &at);
        } else if url.len() <= "sqlite:".len() {
            self.findings.error(at, "this names no SQLite file", Some("write url = \"sqlite:/var/lib/app/app.db\"".into()));
            return None;
        } else if let Some(file) = url.strip_prefix("sqlite:").filter(|file| !file.starts_with('/') && !file.starts_with(':')) {
            url = format!("sqlite:{}", self.folder.join(file).display());
        }
        Some(SourceKind::Database {
            url,
            password: self.secret(shape.password.as_ref()),
            tls: self.tls(shape),
            connections: self.at_once(("connections", shape.connections.map(|n| n as usize), 3, 20), span) as u32,
        })
    }

    /// What nobody here understands would be left aside without a word.
    fn known_parameters(&mut self, url: &Url, at: &Range<usize>) {
        if url.host_str().is_some_and(|host| host.contains(',') || host.contains("%2C")) {
            let hint = "name one; for several a name in the DNS, or a proxy such as pgbouncer or HAProxy, that leads to the one in charge";
            self.findings.error(at.clone(), "several hosts in one URL are not supported", Some(hint.into()));
        }
        let mode = url.query_pairs().find(|(name, _)| matches!(name.as_ref(), "sslmode" | "ssl-mode")).map(|(_, mode)| mode.into_owned());
        if let Some(mode) = mode.filter(|mode| !SSL_MODES.contains(&mode.as_str())) {
            self.findings.error(at.clone(), format!("`{mode}` is no sslmode"), suggestion(&mode, SSL_MODES));
        }
        let unknown = url.query_pairs().map(|(name, _)| name.into_owned()).find(|name| !is_postgres_parameter(name));
        let Some(unknown) = unknown else { return };
        let known = "sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user, application_name, options, service";
        self.findings.error(at.clone(), format!("`{unknown}` in this URL is not supported"), Some(format!("there is: {known}")));
    }

    fn required<'t>(&mut self, text: Option<&'t SpannedText>, span: &Range<usize>) -> Option<&'t SpannedText> {
        if text.is_none() {
            self.findings.error(span.clone(), "`url` is missing", Some("write url = \"http://localhost:9090\"".into()));
        }
        text
    }

    /// A URL with one of the schemes and without a password in it.
    pub(super) fn url(&mut self, text: Option<&SpannedText>, span: &Range<usize>, schemes: &[&str]) -> Option<Url> {
        let text = self.required(text, span)?;
        let url = match Url::parse(text.get_ref()) {
            Ok(url) if schemes.contains(&url.scheme()) => url,
            Ok(url) => {
                let hint = Some(format!("begin with {}", schemes.iter().map(|s| format!("{s}://")).collect::<Vec<_>>().join(" or ")));
                self.findings.error(text.span(), format!("`{}` is not a scheme this source speaks", url.scheme()), hint);
                return None;
            }
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                let hint = format!("begin with {}://, as {0}://HOST:PORT", schemes.first().copied().unwrap_or("http"));
                self.findings.error(text.span(), "this is not a URL: it does not say how it is spoken to", Some(hint));
                return None;
            }
            Err(e) => {
                self.findings.error(text.span(), format!("this is not a URL: {e}"), None);
                return None;
            }
        };
        let telling =
            |key: &str| ["password", "passwd", "pwd", "token", "secret", "api_key", "apikey"].contains(&key.to_ascii_lowercase().as_str());
        if url.password().is_some() || url.query_pairs().any(|(key, _)| telling(&key)) {
            let hint = Some("take it out and write password = \"env:NAME\", \"file:PATH\" or \"cmd:COMMAND\"".into());
            self.findings.error(text.span(), "the password stands inline in `url`", hint);
            return None;
        }
        Some(url)
    }

    pub(super) fn endpoint(&mut self, shape: &SourceShape, span: &Range<usize>, timeout: Duration, max_body: &str) -> Option<Endpoint> {
        let url = self.url(shape.url.as_ref(), span, &["http", "https"])?;
        let (mut headers, mut secret_headers) = (Vec::new(), Vec::new());
        for (name, value) in &shape.headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.findings.error(value.span(), format!("`{name}` is no name of a header"), Some("letters, digits and -".into()));
                continue;
            }
            let lower = name.to_ascii_lowercase();
            let telling = ["auth", "token", "key", "secret", "cookie", "password"].iter().any(|word| lower.contains(word));
            match (SecretRef::parse(value.get_ref()), telling) {
                (Ok(reference), _) => secret_headers.push((name.clone(), reference.beside(&self.folder))),
                (Err(_), false) => headers.push((name.clone(), value.get_ref().clone())),
                (Err(_), true) => {
                    let hint = Some("write a reference: \"env:NAME\", \"file:PATH\" or \"cmd:COMMAND\"".to_string());
                    self.findings.error(value.span(), format!("the header `{name}` carries a secret inline"), hint);
                }
            }
        }
        let (bearer, password, key) =
            (self.secret(shape.bearer_token.as_ref()), self.secret(shape.password.as_ref()), self.secret(shape.api_key.as_ref()));
        let ways = [("bearer_token", bearer.is_some()), ("password", password.is_some()), ("api_key", key.is_some())];
        let said: Vec<&str> = ways.into_iter().filter(|(_, said)| *said).map(|(name, _)| name).collect();
        if said.len() > 1 {
            let words = format!("`{}` are two ways to get in", said.join("` and `"));
            self.findings.error(span.clone(), words, Some("leave one of them away".into()));
        }
        if shape.user.is_some() && password.is_none() {
            self.findings.error(span.clone(), "a user without a password", Some("write password = \"env:NAME\" beside it".into()));
        }
        let auth = match (bearer, password, key, &shape.user) {
            (Some(token), ..) => Auth::Bearer(token),
            (_, Some(password), _, Some(user)) => Auth::Basic { user: user.clone(), password },
            (_, Some(_), _, None) => {
                self.findings.error(span.clone(), "a password without a user", Some("write user = \"…\" beside it".into()));
                Auth::None
            }
            (_, _, Some(value), _) => Auth::Header { name: "api-key".into(), value },
            _ => Auth::None,
        };
        let tls = self.tls(shape);
        if tls.cert.is_some() != tls.key.is_some() {
            self.findings.error(span.clone(), "a client certificate needs both tls.cert and tls.key", None);
        }
        let proxy = shape.proxy.as_ref().filter(|text| {
            let sound = text.get_ref() == "none"
                || Url::parse(text.get_ref())
                    .is_ok_and(|url| ["http", "https", "socks5", "socks5h"].contains(&url.scheme()) && url.has_host());
            if !sound {
                let hint = Some("write proxy = \"http://proxy:3128\", or \"none\"".into());
                self.findings.error(text.span(), "this is no proxy", hint);
            }
            sound
        });
        let proxy = proxy.map(|text| text.get_ref().clone());
        Some(Endpoint { url, headers, secret_headers, auth, tls, timeout, max_body: self.size(shape.max_body.as_ref(), max_body), proxy })
    }

    fn size(&mut self, text: Option<&SpannedText>, default: &str) -> u64 {
        let wanted = text.and_then(|text| units::size(text.get_ref()).map_err(|e| self.findings.error(text.span(), e, None)).ok());
        wanted.or_else(|| units::size(default).ok()).unwrap_or(u64::MAX)
    }

    pub(super) fn secret(&mut self, text: Option<&SpannedText>) -> Option<SecretRef> {
        let text = text?;
        let reference = SecretRef::parse(text.get_ref()).map_err(|e| self.findings.error(text.span(), e, None)).ok();
        reference.map(|reference| reference.beside(&self.folder))
    }

    fn tls(&self, shape: &SourceShape) -> Tls {
        let beside = |path: &Option<PathBuf>| path.as_ref().map(|path| self.folder.join(path));
        Tls { ca: beside(&shape.tls.ca), cert: beside(&shape.tls.cert), key: beside(&shape.tls.key) }
    }
}
