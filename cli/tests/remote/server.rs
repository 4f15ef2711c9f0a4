//! A server of files: plain ones, and in the layout of the hub with a storage apart, which misbehaves as it is told.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What goes wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status, with a header.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The whole file in the place of a range.
    NoRanges,
    /// Another range than asked for.
    OtherRange,
    /// The file is said to have so many bytes.
    Length(usize),
    /// Another tag.
    Tag(&'static str),
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    pub host: String,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
    pub if_match: Option<String>,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

type Rule = dyn Fn(&Seen, usize) -> Option<Fault> + Send + Sync;

/// The server, until the test ends.
pub struct Server {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

struct Shared {
    root: PathBuf,
    port: u16,
    /// The token that models of the hub need.
    token: Option<&'static str>,
    rule: Box<Rule>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// The tag of all files.
const TAG: &str = "\"version-1\"";
/// The commit of all revisions.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Server {
    /// Serves the files below `root`: as `/plain/PATH`, and those of `root/ORG/MODEL` as a model of the hub. `rule` says what
    /// goes wrong with a request, by the number of requests before for the same path.
    pub fn start(
        root: impl Into<PathBuf>,
        token: Option<&'static str>,
        rule: impl Fn(&Seen, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::default();
        let shared = Shared { root: root.into(), port, token, rule: Box::new(rule), seen: Arc::clone(&seen) };
        let shared = Arc::new(shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/plain/{path}", self.port)
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Shared {
    /// Answers the requests of a connection.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
            let mut headers = HashMap::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                let Some((name, value)) = line.trim().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let header = |name: &str| headers.get(name).cloned();
            let seen = Seen {
                host: header("host").unwrap_or_default(),
                path,
                range: header("range"),
                token: header("authorization"),
                if_match: header("if-match"),
                sent: 0,
            };
            if !self.answer(seen, &mut stream) {
                return;
            }
        }
    }

    /// Answers; gives whether the connection goes on.
    fn answer(&self, mut seen: Seen, stream: &mut TcpStream) -> bool {
        let before = self.seen.lock().unwrap().iter().filter(|other| other.path == seen.path).count();
        let fault = (self.rule)(&seen, before);
        let (head, body) = self.made(&seen, fault.as_ref());
        let sent = match fault {
            Some(Fault::Cut(most)) => most.min(body.len()),
            _ => body.len(),
        };
        seen.sent = sent;
        self.seen.lock().unwrap().push(seen);
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
        written.is_ok() && sent == body.len()
    }

    /// The head, but for the length of the body, and the body.
    fn made(&self, seen: &Seen, fault: Option<&Fault>) -> (String, Vec<u8>) {
        let status = |status: u16, header: &str| {
            let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
            (format!("HTTP/1.1 {status} .\r\n{header}"), Vec::new())
        };
        if let Some(Fault::Status(code, header)) = fault {
            return status(*code, header);
        }
        let path = seen.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        if let Some(file) = path.strip_prefix("plain/").or_else(|| path.strip_prefix("storage/")) {
            // The storage trusts the signature in the address, and must not see the token.
            return self.file(file, seen, fault).unwrap_or_else(|| status(404, ""));
        }
        let parts: Vec<_> = path.splitn(5, '/').collect();
        let &[org, model, "resolve", revision, file] = parts.as_slice() else { return status(404, "") };
        let wanted = self.token.map(|token| format!("Bearer {token}"));
        if wanted.is_some() && seen.token != wanted {
            return status(
                401,
                "X-Error-Code: GatedRepo\r\nX-Error-Message: Access to this model is restricted",
            );
        }
        if !self.root.join(org).join(model).is_dir() {
            return status(404, "X-Error-Code: RepoNotFound\r\nX-Error-Message: Repository not found");
        }
        if revision != "main" && revision != COMMIT {
            return status(404, "X-Error-Code: RevisionNotFound\r\nX-Error-Message: Invalid rev id");
        }
        let place = format!("{org}/{model}/{file}");
        if !self.root.join(&place).is_file() {
            return status(404, "X-Error-Code: EntryNotFound\r\nX-Error-Message: Entry not found");
        }
        if Path::new(file).extension().is_some_and(|end| end == "json") {
            let (head, body) = self.file(&place, seen, fault).unwrap();
            return (format!("{head}X-Repo-Commit: {COMMIT}\r\n"), body);
        }
        let tag = if let Some(Fault::Tag(tag)) = fault { tag } else { TAG };
        // Another name of this machine is another origin.
        let to = format!("http://localhost:{}/storage/{place}?signature=x", self.port);
        status(302, &format!("Location: {to}\r\nX-Linked-ETag: {tag}\r\nX-Repo-Commit: {COMMIT}"))
    }

    /// The answer that holds a file, or the range of it that is asked for.
    fn file(&self, path: &str, seen: &Seen, fault: Option<&Fault>) -> Option<(String, Vec<u8>)> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        let tag = if let Some(Fault::Tag(tag)) = fault { tag } else { TAG };
        if seen.if_match.as_deref().is_some_and(|wanted| wanted != tag) {
            return Some(("HTTP/1.1 412 .\r\n".to_owned(), Vec::new()));
        }
        let range = seen.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let Some((first, last)) = range.filter(|_| fault != Some(&Fault::NoRanges)) else {
            return Some((format!("HTTP/1.1 200 .\r\nETag: {tag}\r\n"), bytes));
        };
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        let length = if let Some(Fault::Length(length)) = fault { *length } else { bytes.len() };
        if first >= bytes.len() {
            return Some((format!("HTTP/1.1 416 .\r\nContent-Range: bytes */{length}\r\n"), Vec::new()));
        }
        let last = last.min(bytes.len() - 1);
        let first = if fault == Some(&Fault::OtherRange) { first.saturating_sub(1) } else { first };
        let head =
            format!("HTTP/1.1 206 .\r\nETag: {tag}\r\nContent-Range: bytes {first}-{last}/{length}\r\n");
        Some((head, bytes[first..=last].to_vec()))
    }
}
