//! A file at an address: its length, what tells its version, and its bytes, range by range.

use super::address::{Address, origin};
use super::client::{Answer, Request, Trouble};
use super::store::{self, Wanted};
use super::version::{Place, Version};
use crate::run::pool::lock;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

/// Tries without a byte of progress, the wait before the second, and the longest wait.
const TRIES: u32 = 9;
const WAIT: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(120);

/// Bytes that are passed on at once.
const BUFFER: usize = 256 << 10;

/// A file whose version is known.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) length: u64,
    address: Address,
    version: Version,
    /// The storage that the address redirects to, by a URL that is signed for some time.
    near: Mutex<Option<String>>,
}

/// Takes bytes and where they are in the file.
pub(super) type Sink<'s> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 's;

impl Object {
    /// Finds the file and its first bytes, at most `most`.
    pub(super) fn open(path: &Path, most: u64) -> Result<(Self, Vec<u8>), String> {
        let address = Address::parse(path)?;
        let wanted = Wanted { range: Some(0..most), tag: None };
        let mut tries = Tries::default();
        loop {
            let asked = store::request(&address, &wanted);
            let from = asked.as_ref().ok().and_then(|request| origin(&request.url));
            let found = asked.and_then(Request::send).and_then(|mut answer| {
                store::learn(&address, &answer);
                let place = Place::of(&answer, true)?;
                let mut head = Vec::new();
                let wanted = place.length.min(most);
                let sound = place.range.start == 0 && (answer.status == 200 || place.range.end == wanted);
                if !sound {
                    return Err(Trouble::Final("the server answers with other bytes than asked for".into()));
                }
                read(&mut answer, wanted, &mut |_, bytes| {
                    head.extend_from_slice(bytes);
                    Ok(())
                })?;
                let version = Version::of(&answer);
                let near = (origin(&answer.url) != from && answer.status == 206).then(|| answer.url.clone());
                let near = Mutex::new(near);
                Ok((Self { length: place.length, address: address.clone(), version, near }, head))
            });
            match found {
                Ok(found) => return Ok(found),
                // An empty file has no ranges.
                Err(Trouble::Refused { status: 416, .. }) => {
                    return Ok((
                        Self { length: 0, address, version: Version::default(), near: Mutex::default() },
                        Vec::new(),
                    ));
                }
                Err(trouble) => tries.again(&address, trouble)?,
            }
        }
    }

    /// All bytes of a small file; `None` where there is none. Where `most` is 0, the first byte at most.
    pub(super) fn small(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
        let address = Address::parse(path)?;
        let mut tries = Tries::default();
        loop {
            let wanted = Wanted { range: (most == 0).then_some(0..1), tag: None };
            let found = store::request(&address, &wanted).and_then(Request::send);
            let found = found.and_then(|mut answer| {
                store::learn(&address, &answer);
                let length = answer.body.content_length();
                let mut bytes = Vec::new();
                let all = answer.body.as_reader().take(most + 1).read_to_end(&mut bytes);
                all.map_err(|error| Trouble::passing(format!("the connection broke: {error}")))?;
                if length.is_some_and(|length| length <= most && length != bytes.len() as u64) {
                    return Err(Trouble::passing("the connection ended early"));
                }
                Ok(bytes)
            });
            match found {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(Trouble::Refused { status: 416, .. }) => return Ok(Some(Vec::new())),
                Err(Trouble::Refused { status, said }) if store::is_absent(&address, status, &said) => {
                    return Ok(None);
                }
                Err(trouble) => tries.again(&address, trouble)?,
            }
        }
    }

    /// Passes the bytes `range` to `sink`, which asks again for what a broken connection did not bring.
    pub(super) fn read(&self, range: Range<u64>, sink: &mut Sink<'_>) -> Result<(), String> {
        let (mut at, mut tries) = (range.start, Tries::default());
        while at < range.end {
            let before = at;
            let got = self.ask(at..range.end).and_then(|mut answer| {
                read(&mut answer, range.end - before, &mut |offset, bytes| {
                    sink(before + offset, bytes)?;
                    at = before + offset + bytes.len() as u64;
                    Ok(())
                })
            });
            if at > before {
                tries = Tries::default();
            }
            if let Err(trouble) = got {
                tries.again(&self.address, trouble)?;
            }
        }
        Ok(())
    }

    /// An answer that holds `range` of this very version.
    fn ask(&self, range: Range<u64>) -> Result<Answer, Trouble> {
        let whole = range == (0..self.length);
        let wanted = Wanted { range: Some(range.clone()), tag: None };
        let near = lock(&self.near).clone();
        let answer = if let Some(url) = near {
            match wanted.on(Request::new(url)).send() {
                // Signed for some time, which is over.
                Err(Trouble::Refused { status: 400 | 401 | 403, .. }) => {
                    *lock(&self.near) = None;
                    return Err(Trouble::passing("the storage's signed address has expired"));
                }
                answer => answer?,
            }
        } else {
            let wanted = Wanted { tag: self.version.strong().map(str::to_owned), ..wanted };
            let request = store::request(&self.address, &wanted)?;
            let from = origin(&request.url);
            let answer = request.send()?;
            if origin(&answer.url) != from && answer.status == 206 {
                *lock(&self.near) = Some(answer.url.clone());
            }
            answer
        };
        let place = Place::of(&answer, whole)?;
        if let Some(what) = self.version.difference(&Version::of(&answer)) {
            return Err(Trouble::Final(changed(&what)));
        }
        if place.length != self.length {
            return Err(Trouble::Final(changed(&format!(
                "{} bytes long, not {}",
                place.length, self.length
            ))));
        }
        if place.range != range {
            return Err(Trouble::Final(format!(
                "the server answers with the bytes {}-{} where {}-{} are asked for",
                place.range.start, place.range.end, range.start, range.end
            )));
        }
        Ok(answer)
    }

    /// What tells this version from others of the same length.
    pub(super) fn version(&self) -> &Version {
        &self.version
    }
}

fn changed(what: &str) -> String {
    format!("it has changed since it was opened ({what}): start again, with a fixed revision or version")
}

/// Passes `length` bytes of an answer to `sink`.
fn read(answer: &mut Answer, length: u64, sink: &mut Sink<'_>) -> Result<(), Trouble> {
    let mut buffer = vec![0; BUFFER.min(length as usize)];
    let (mut reader, mut at) = (answer.body.as_reader(), 0);
    while at < length {
        let most = buffer.len().min((length - at) as usize);
        let got = match reader.read(&mut buffer[..most]) {
            Ok(0) => {
                return Err(Trouble::passing(format!("the connection ended after {at} of {length} bytes")));
            }
            Ok(got) => got,
            Err(error) => {
                let why = format!("the connection broke after {at} of {length} bytes: {error}");
                return Err(Trouble::passing(why));
            }
        };
        sink(at, &buffer[..got]).map_err(Trouble::Final)?;
        at += got as u64;
    }
    // A look at the end lets the connection serve again.
    let _ = reader.read(&mut [0]);
    Ok(())
}

/// Counts tries in vain.
#[derive(Debug, Default)]
struct Tries(u32);

impl Tries {
    /// Waits where another try may help; else says what is wrong and what to do.
    fn again(&mut self, address: &Address, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::Passing { why, wait } => {
                self.0 += 1;
                if self.0 >= TRIES {
                    return Err(format!("{why}; given up after {} tries: try again later", self.0));
                }
                let usual = WAIT * 2_u32.pow(self.0 - 1);
                sleep(wait.unwrap_or(usual).min(LONGEST));
                Ok(())
            }
            Trouble::Refused { status: 412, .. } => Err(changed("HTTP 412, another ETag")),
            Trouble::Refused { status: 416, .. } => Err(changed("it is shorter")),
            Trouble::Refused { status, said } => {
                Err(format!("{said}: {}", store::advice(address, status, &said)))
            }
            Trouble::Final(why) => Err(why),
        }
    }
}
