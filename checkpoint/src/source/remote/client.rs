//! HTTP: one request and its answer, and what of it is worth another try.

use super::address::{joined, origin};
use super::settings::connections;
use super::time::retry_after;
use std::io::Read;
use std::sync::OnceLock;
use std::time::Duration;
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// What this program calls itself.
const NAME: &str = concat!("phlora/", env!("CARGO_PKG_VERSION"));

/// How long a server may take to accept a connection, and to send the next bytes of an answer.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(60);

/// Redirects that are followed.
const REDIRECTS: usize = 8;

/// Bytes of an answer that says what is wrong.
const EXPLANATION: u64 = 4096;
/// Characters of it that are shown.
const SHOWN: usize = 200;

/// A request without a body.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Headers that only the origin of `url` may see.
    pub(super) secret: Vec<(&'static str, String)>,
}

/// An answer, with its body still to be read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The URL that answered, after redirects.
    pub(super) url: String,
    /// Headers of the redirect before it, if there was one.
    pub(super) before: Option<HeaderMap>,
}

/// Why there is no answer of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It may be gone next time; not before so long.
    Passing { why: String, wait: Option<Duration> },
    /// The server refuses, with this status; what its headers and body say about it.
    Refused { status: u16, said: String },
    /// It makes no sense to go on.
    Final(String),
}

impl Trouble {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self::Passing { why: why.into(), wait: None }
    }
}

impl Request {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), headers: Vec::new(), secret: Vec::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn secret(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.secret.push((name, value.into()));
        self
    }

    /// Sends it and follows redirects. Secrets stay at the origin of the request, and an answer over TLS never leads out of it.
    pub(super) fn send(mut self) -> Result<Answer, Trouble> {
        let mut before = None;
        for _ in 0..=REDIRECTS {
            let answer = self.exchange()?;
            let location =
                answer.header("location").filter(|_| matches!(answer.status, 301..=303 | 307 | 308));
            let Some(location) = location else { return Ok(Answer { before, ..answer }) };
            let next = joined(&self.url, location)
                .ok_or_else(|| Trouble::Final(format!("it redirects to {location}, which is no address")))?;
            if self.url.starts_with("https://") && !next.starts_with("https://") {
                return Err(Trouble::Final(format!("it redirects from https to {}", host(&next))));
            }
            if origin(&next) != origin(&self.url) {
                self.secret.clear();
            }
            before = Some(answer.headers);
            self.url = next;
        }
        Err(Trouble::Final(format!("it redirects more than {REDIRECTS} times")))
    }

    /// Sends it once.
    fn exchange(&self) -> Result<Answer, Trouble> {
        let mut request = agent().map_err(Trouble::Final)?.get(&self.url);
        for (name, value) in self.headers.iter().chain(&self.secret) {
            request = request.header(*name, value);
        }
        let response = request.call().map_err(|error| failed(&self.url, &error))?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let url = self.url.clone();
        let mut answer = Answer { status, headers: head.headers, body, url, before: None };
        match status {
            200..400 => Ok(answer),
            408 | 425 | 429 | 500 | 502..=504 => {
                let wait = answer.header("retry-after").and_then(retry_after);
                let why = format!("{} answered {}", host(&self.url), answer.explanation());
                Err(Trouble::Passing { why, wait })
            }
            _ => Err(Trouble::Refused { status, said: answer.explanation() }),
        }
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// A header of the answer or of the redirect that led to it.
    pub(super) fn any_header(&self, name: &str) -> Option<&str> {
        let before = self.before.as_ref();
        before.and_then(|before| text(before, name)).or_else(|| self.header(name))
    }

    /// The status, and what the answer says about it.
    fn explanation(&mut self) -> String {
        let status = format!("HTTP {}", self.status);
        let own = ["x-error-code", "x-error-message", "x-ms-error-code"];
        let own: Vec<_> = own.iter().filter_map(|name| self.header(name)).collect();
        let said = if own.is_empty() {
            let mut bytes = Vec::new();
            let _ = self.body.as_reader().take(EXPLANATION).read_to_end(&mut bytes);
            explained(&String::from_utf8_lossy(&bytes))
        } else {
            own.join(": ")
        };
        let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() { status } else { format!("{status} ({line:.SHOWN$})") }
    }
}

/// What an answer of XML or JSON says, without its form; nothing of a page for people.
fn explained(text: &str) -> String {
    let between = |open: &str, close: &str| {
        let (_, rest) = text.split_once(open)?;
        Some(rest.split_once(close)?.0.to_owned())
    };
    let xml: Vec<_> =
        [between("<Code>", "</Code>"), between("<Message>", "</Message>")].into_iter().flatten().collect();
    if !xml.is_empty() {
        return xml.join(": ");
    }
    let json = between("\"error\":\"", "\"").or_else(|| between("\"message\":\"", "\""));
    json.unwrap_or_else(|| if text.trim_start().starts_with('<') { String::new() } else { text.to_owned() })
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The host and port of a URL.
pub(super) fn host(url: &str) -> String {
    let origin = origin(url).unwrap_or_default();
    origin.split_once("://").map_or(origin.clone(), |(_, host)| host.to_owned())
}

/// What an error of the connection means.
fn failed(url: &str, error: &ureq::Error) -> Trouble {
    let why = format!("no answer of {}: {error}", host(url));
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Trouble::Final(format!("not an address: {error}")),
        // What a certificate has wrong stays.
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Trouble::Final(format!(
            "{why}; SSL_CERT_FILE names a file of certificates in the place of those built in"
        )),
        _ => Trouble::passing(why),
    }
}

/// The agent of all requests, which keeps connections open.
pub(super) fn agent() -> Result<&'static Agent, String> {
    static AGENT: OnceLock<Result<Agent, String>> = OnceLock::new();
    let made = AGENT.get_or_init(|| {
        let roots = roots()?;
        let mut tls = TlsConfig::builder();
        if let Some(roots) = roots {
            tls = tls.root_certs(roots);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(NAME)
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .input_buffer_size(256 << 10)
            .max_idle_connections(2 * connections())
            .max_idle_connections_per_host(connections())
            .tls_config(tls.build());
        Ok(config.build().new_agent())
    });
    made.as_ref().map_err(Clone::clone)
}

/// The certificates that `SSL_CERT_FILE` names.
fn roots() -> Result<Option<RootCerts>, String> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let shown = path.to_string_lossy().into_owned();
    let bytes = std::fs::read(&path).map_err(|error| format!("SSL_CERT_FILE {shown}: {error}"))?;
    let items = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = items.collect();
    if certificates.is_empty() {
        return Err(format!("SSL_CERT_FILE {shown} holds no certificate, expected PEM"));
    }
    Ok(Some(RootCerts::new_with_certs(&certificates)))
}

#[cfg(test)]
mod tests {
    use super::explained;

    #[test]
    fn answers_are_explained() {
        for (text, expected) in [
            ("<?xml?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>", "NoSuchKey: gone"),
            (r#"{"error":"Repository not found"}"#, "Repository not found"),
            ("<html>a page</html>", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(explained(text), expected);
        }
    }
}
