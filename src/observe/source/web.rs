//! HTTP as every source needs it: kept-alive connections, own CA and client certificate, secrets by reference, a limit
//! on the body, and errors in the operator's words.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url};

use super::tls_words::{plain_words, tls_cause};
use crate::base::clock::{Clock, Stamp};
use crate::base::endpoint::{Auth, Endpoint};
use crate::observe::reading::{Fault, FaultKind};

/// One HTTP service.
pub struct Web {
    options: Endpoint,
    client: OnceLock<Client>,
    making: Mutex<()>,
    skew: AtomicI64,
}

/// An answer that was read whole.
pub struct Response {
    pub status: StatusCode,
    /// What `Retry-After` says, where a server wants to be left alone.
    pub retry_after: Option<String>,
    pub content_type: Option<String>,
    /// Where to, when it says to go elsewhere.
    pub location: Option<String>,
    /// How old it is, where a cache says so.
    pub age: Option<Duration>,
    /// When its server says that it was made.
    pub date: Option<Stamp>,
    pub body: Vec<u8>,
}

impl Response {
    /// What it says, for people: of one that leads elsewhere where to.
    pub fn text(&self) -> String {
        match &self.location {
            Some(location) => format!("it says to go to {}", crate::base::text::fit(&crate::base::secret::sanitize(location), 120)),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        }
    }
}

/// Slower answers tell nothing about clocks.
const QUICK: Duration = Duration::from_secs(2);

/// Smaller differences between two clocks cannot be told from the header's resolution and the network.
const NOTICED: i64 = 5_000;

impl Web {
    pub fn new(options: Endpoint) -> Web {
        Web { options, client: OnceLock::new(), making: Mutex::new(()), skew: AtomicI64::new(0) }
    }

    /// How long a question may take.
    pub fn limit(&self) -> Duration {
        self.options.timeout
    }

    /// The URL without credentials, for people.
    pub fn shown_url(&self) -> String {
        self.options.shown()
    }

    /// How far the server's clock is ahead of ours, in milliseconds; 0 while that is too little to be sure of.
    pub fn skew(&self) -> i64 {
        let skew = self.skew.load(Ordering::Relaxed);
        if skew.abs() < NOTICED { 0 } else { skew }
    }

    /// The URL of a path below the base, whatever prefix the base has; the base itself for no path.
    pub fn url(&self, path: &str) -> Result<Url, Fault> {
        if path.is_empty() {
            return Ok(self.options.url.clone());
        }
        let base = self.options.url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{}", path.trim_start_matches('/')))
            .map_err(|e| Fault::new(FaultKind::Query, format!("`{path}` makes no URL: {e}")))
    }

    pub fn get(&self, path: &str) -> Result<RequestBuilder, Fault> {
        Ok(self.client()?.get(self.url(path)?))
    }

    pub fn request(&self, method: &str, path: &str) -> Result<RequestBuilder, Fault> {
        let method = method.parse().map_err(|_| Fault::new(FaultKind::Query, format!("`{method}` is no HTTP method")))?;
        Ok(self.client()?.request(method, self.url(path)?))
    }

    /// Sends and reads the whole body, within the limits.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let request = self.authorized(request).await?;
        let before = Clock::System.now();
        let mut answer = request.send().await.map_err(|e| self.fault(&e))?;
        self.learn_skew(&answer, before);
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
        let (retry_after, content_type) = (header("retry-after"), header("content-type"));
        let location = header("location").filter(|_| status.is_redirection());
        let age = header("age").and_then(|age| age.trim().parse().ok()).map(Duration::from_secs);
        let date = header("date").and_then(|date| Stamp::parse_http(&date));
        let limit = self.options.max_body;
        let too_large = || Fault::new(FaultKind::TooLarge, format!("the answer is larger than {}", bytesize::ByteSize(limit)));
        if answer.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.fault(&e))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, retry_after, content_type, location, age, date, body })
    }

    /// Copies a body into a file, piece by piece; gives its sha256 and its size.
    ///
    /// # Errors
    /// What the service said, or why it could not be written.
    pub async fn download(&self, path: &str, file: &std::path::Path, told: &mut (dyn FnMut(u64) + Send)) -> Result<(String, u64), Fault> {
        use sha2::{Digest, Sha256};
        use tokio::io::AsyncWriteExt;
        let local = |e: std::io::Error| Fault::new(FaultKind::Local, format!("{}: {e}", file.display()));
        let request = self.authorized(self.get(path)?).await?;
        let mut answer = request.send().await.map_err(|e| self.fault(&e))?;
        if !answer.status().is_success() {
            return Err(status_fault(answer.status(), ""));
        }
        let mut out = tokio::fs::File::create(file).await.map_err(local)?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.fault(&e))? {
            hasher.update(&chunk);
            size += chunk.len() as u64;
            out.write_all(&chunk).await.map_err(local)?;
            told(size);
        }
        out.sync_all().await.map_err(local)?;
        Ok((crate::base::text::hex(&hasher.finalize()), size))
    }

    /// Compares the clocks, when the answer was quick and made for us: a slow or cached one tells nothing.
    fn learn_skew(&self, answer: &reqwest::Response, before: Stamp) {
        let now = Clock::System.now();
        let date = answer.headers().get("date").and_then(|d| d.to_str().ok()).and_then(Stamp::parse_http);
        if let Some(date) = date.filter(|_| now.since(before) < QUICK && !answer.headers().contains_key("age")) {
            self.skew.store(date.0 + 500 - (before.0 + now.0) / 2, Ordering::Relaxed);
        }
    }

    fn client(&self) -> Result<&Client, Fault> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let _one = self.making.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = self.build()?;
        Ok(self.client.get_or_init(|| made))
    }

    fn build(&self) -> Result<Client, Fault> {
        let o = &self.options;
        let local = |what: String| Fault::new(FaultKind::Local, what);
        let mut headers = HeaderMap::new();
        for (name, value) in &o.headers {
            let name: HeaderName = name.parse().map_err(|_| local(format!("`{name}` is no header name")))?;
            let value: HeaderValue = value.parse().map_err(|_| local(format!("the value of header {name} cannot be sent")))?;
            headers.insert(name, value);
        }
        let mut builder = Client::builder()
            .user_agent(concat!("lastgreen/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(o.timeout)
            .timeout(o.timeout)
            // A probe judges the answer it gets, and a key is for the host it was given for.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(16)
            .default_headers(headers);
        builder = builder.no_proxy();
        if let Some(proxy) = self.proxy() {
            builder = builder.proxy(reqwest::Proxy::all(&proxy).map_err(|_| local(format!("the proxy `{proxy}` is no URL")))?);
        }
        let read = |path: &PathBuf| std::fs::read(path).map_err(|e| local(format!("cannot read {}: {e}", path.display())));
        if let Some(ca) = &o.tls.ca {
            let pem = read(ca)?;
            let certs =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| local(format!("{} holds no PEM certificate", ca.display())))?;
            builder = builder.tls_certs_only(certs);
        } else if o.url.scheme() == "http" {
            // The system's roots cost time and memory, and nothing here needs them.
            builder = builder.tls_certs_only([]);
        }
        if let (Some(cert), Some(key)) = (&o.tls.cert, &o.tls.key) {
            let pem = [read(key)?, b"\n".to_vec(), read(cert)?].concat();
            let identity = reqwest::Identity::from_pem(&pem)
                .map_err(|_| local(format!("{} and {} are no PEM certificate and key", cert.display(), key.display())))?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|e| local(format!("cannot make an HTTP client: {}", chain(&e))))
    }

    fn proxy(&self) -> Option<String> {
        self.options.proxied(&|name| std::env::var(name).ok())
    }

    async fn authorized(&self, mut request: RequestBuilder) -> Result<RequestBuilder, Fault> {
        for (name, value) in &self.options.secret_headers {
            request = request.header(name, super::secrets::fetch(value).await?.expose());
        }
        Ok(match &self.options.auth {
            Auth::None => request,
            Auth::Bearer(token) => request.bearer_auth(super::secrets::fetch(token).await?.expose()),
            Auth::Basic { user, password } => request.basic_auth(user, Some(super::secrets::fetch(password).await?.expose())),
            Auth::Header { name, value } => request.header(name, super::secrets::fetch(value).await?.expose()),
        })
    }

    fn fault(&self, error: &reqwest::Error) -> Fault {
        let o = &self.options;
        let place = match (o.url.host_str(), o.url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => o.url.to_string(),
        };
        let cause = chain(error);
        if let Some(tls) = tls_cause(error) {
            return Fault::new(FaultKind::Tls, format!("TLS with {place} failed: {tls}"));
        }
        let (kind, words) = if error.is_timeout() {
            (FaultKind::Timeout, format!("{place} did not answer within {}", crate::base::units::short(o.timeout)))
        } else if error.is_connect() {
            let by = self.proxy().map_or_else(String::new, |proxy| format!(" by the proxy {}", without_credentials(&proxy)));
            (FaultKind::Unreachable, format!("cannot reach {place}{by}: {cause}"))
        } else {
            (FaultKind::Unreachable, format!("the connection to {place} broke: {cause}"))
        };
        Fault::new(kind, words)
    }
}

fn without_credentials(proxy: &str) -> String {
    match Url::parse(proxy) {
        Ok(mut url) => {
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.to_string()
        }
        Err(_) => "that is configured".into(),
    }
}

/// The innermost words of an error.
fn chain(error: &dyn StdError) -> String {
    let mut innermost: &dyn StdError = error;
    while let Some(next) = innermost.source() {
        innermost = next;
    }
    let words = innermost.to_string();
    if words.contains("invalid HTTP version") {
        return "what answers there is no HTTP: a gRPC port, or TLS where the URL says http".into();
    }
    plain_words(words.split(" (os error").next().unwrap_or(&words)).to_lowercase()
}

/// The fault behind a status that is no success, from what the service said about it.
pub fn status_fault(status: StatusCode, said: &str) -> Fault {
    let said = crate::base::text::fit(said.trim(), 200).into_owned();
    let words = |what: &str| if said.is_empty() { format!("{what} ({status})") } else { format!("{what} ({}): {said}", status.as_u16()) };
    match status.as_u16() {
        401 | 403 => Fault::new(FaultKind::Auth, words("not allowed")),
        300..=399 => Fault::new(FaultKind::Unavailable, words("it is somewhere else")),
        404 => Fault::new(FaultKind::Empty, words("not found")),
        429 | 502..=504 => Fault::new(FaultKind::Unavailable, words("not available")),
        400..=499 => Fault::new(FaultKind::Query, words("refused")),
        _ => Fault::new(FaultKind::Garbage, words("server error")),
    }
}

/// Something that is not the service it was taken for: what it says is no answer to anything.
pub fn another_service(what: &str, response: &Response) -> Fault {
    let status = response.status.as_u16();
    let said = crate::base::text::fit(response.text().trim(), 80).into_owned();
    let said = if said.is_empty() { "nothing".to_string() } else { format!("`{said}`") };
    Fault::new(FaultKind::Unavailable, format!("this does not answer as {what} does: status {status}, and it says {said}"))
}

/// Reads JSON, or says what came instead.
pub fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|e| {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        Fault::new(FaultKind::Garbage, format!("the answer is not what was expected ({e}); it begins with `{start}`"))
    })
}
