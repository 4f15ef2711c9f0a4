//! A file at an address as if it were mapped: as long as the file, with those bytes in it that somebody holds.

use super::intervals::Intervals;
use super::object::Object;
use super::queue::{self, Source};
use super::settings::options;
use super::spool::{Spool, pages};
use super::version::Version;
use crate::error::{Error, Result};
use crate::run::pool::lock;
use crate::source::{gguf, safetensors};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that are asked for first: most headers lie within.
const HEAD: u64 = 64 << 10;

/// Longest beginning that is read of a GGUF file in search of the end of its header.
const LONGEST: u64 = 64 << 20;

/// The file.
#[derive(Debug)]
pub(crate) struct Image {
    object: Object,
    spool: Spool,
    map: Option<Mmap>,
    /// Bytes of its header, which stay.
    header: Vec<u8>,
    intervals: Mutex<Intervals>,
    changed: Condvar,
}

impl Image {
    /// Finds the file at an address and reads its header, nothing more. `map` maps a file of spool.
    pub(crate) fn open(path: &Path, map: fn(&File) -> io::Result<Mmap>) -> Result<Arc<Self>> {
        let failed = |why: String| Error::format(path, why);
        let (object, mut head) = Object::open(path, HEAD).map_err(failed)?;
        let header = header_len(path, &object, &mut head).map_err(failed)?;
        let options = options();
        let spool = Spool::new(options.spool.as_deref(), object.length)?;
        let map = (object.length > 0).then(|| map(spool.file()));
        let map = map.transpose().map_err(|error| Error::io(path, "map a spool file for", error))?;
        let mut intervals = Intervals::default();
        // What follows the header is the beginning of the first weights.
        if let Some(more) = head.get(header..) {
            spool.write(header as u64, more).map_err(failed)?;
            intervals.found(header as u64..head.len() as u64);
        }
        head.truncate(header);
        head.shrink_to_fit();
        let intervals = Mutex::new(intervals);
        Ok(Arc::new(Self { object, spool, map, header: head, intervals, changed: Condvar::new() }))
    }

    /// The bytes of the header.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// All bytes; those that nobody holds are any.
    pub(crate) fn view(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// A text that is another for another version of the file.
    pub(crate) fn version(&self) -> String {
        Version::text(self.object.version())
    }

    /// Asks for `range`, which stays from when it is here until it is released.
    pub(super) fn hold(self: &Arc<Self>, range: Range<u64>) {
        let fetched = lock(&self.intervals).hold(range);
        for range in fetched {
            queue::fetch(self, range);
        }
    }

    /// Waits until `range`, which is held, is here.
    pub(super) fn wait(&self, range: &Range<u64>) -> std::result::Result<(), String> {
        let mut intervals = lock(&self.intervals);
        loop {
            if let Some(status) = intervals.status(range) {
                return status;
            }
            intervals = self.changed.wait(intervals).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether `range` is here and stays.
    pub(crate) fn is_held(&self, range: Range<usize>) -> bool {
        lock(&self.intervals).is_held(&(range.start as u64..range.end as u64))
    }

    /// Ends what [`hold`](Self::hold) began.
    pub(super) fn release(&self, range: Range<u64>) {
        let mut intervals = lock(&self.intervals);
        let gone = intervals.release(range);
        self.forget(&intervals, gone);
    }

    /// Tells those who wait for `range` what became of it.
    fn settle(&self, range: Range<u64>, result: Option<std::result::Result<(), &str>>) {
        let mut intervals = lock(&self.intervals);
        let unneeded = intervals.settle(range, result);
        self.forget(&intervals, unneeded);
        drop(intervals);
        self.changed.notify_all();
    }

    /// Gives the space of bytes back, with the pages at their ends where nothing else of these is known.
    fn forget(&self, intervals: &Intervals, ranges: Vec<Range<u64>>) {
        for range in ranges {
            let outer = pages(&range);
            let start =
                if intervals.touches(&(outer.start..range.start)) { range.start } else { outer.start };
            let end = if intervals.touches(&(range.end..outer.end)) { range.end } else { outer.end };
            self.spool.forget(start..end);
        }
    }
}

impl Source for Image {
    fn fetch(&self, range: Range<u64>) {
        let is_wanted = || lock(&self.intervals).is_wanted(&range);
        let mut left = !is_wanted();
        if left {
            return;
        }
        let read = self.object.read(range.clone(), &mut |at, bytes| {
            self.spool.write(at, bytes)?;
            left = !is_wanted();
            if left { Err(String::new()) } else { Ok(()) }
        });
        // Whoever asks for it again meanwhile has asked the queue as well.
        let result = (!left).then(|| read.as_ref().map(|&()| ()).map_err(String::as_str));
        self.settle(range.clone(), result);
    }

    fn refuse(&self, range: Range<u64>, why: &str) {
        self.settle(range, Some(Err(why)));
    }
}

/// Where the header of the file ends, of which `head` is the beginning; reads more of it as needed. A file without a sound
/// header has none but what is read.
fn header_len(path: &Path, object: &Object, head: &mut Vec<u8>) -> std::result::Result<usize, String> {
    let more = |head: &mut Vec<u8>, length: u64| {
        let length = length.min(object.length);
        let known = head.len() as u64;
        if length > known {
            object.read(known..length, &mut |_, bytes| {
                head.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        Ok::<_, String>(())
    };
    let total = usize::try_from(object.length).map_err(|_| "too large for this machine".to_owned())?;
    if !gguf::is_gguf(head) {
        let Some(end) = safetensors::header_end(head, total) else { return Ok(head.len()) };
        more(head, end as u64)?;
        return Ok(end);
    }
    loop {
        match gguf::File::parse(path, head, total) {
            Ok(file) => return Ok(file.data_start),
            Err(_) if (head.len() as u64) < object.length.min(LONGEST) => {
                let length = 4 * head.len() as u64;
                more(head, length)?;
            }
            Err(_) => return Ok(head.len()),
        }
    }
}
