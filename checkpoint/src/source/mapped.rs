//! A read-only file mapped into memory: the pages come from disk as they are touched, never all at once. Or, where a program
//! asks for it, read into memory; or at an address, from where its bytes are fetched as they are asked for.

use crate::error::{Error, Result, room_for};
use crate::source::place::is_address;
use crate::source::remote::Image;
use crate::source::stored::Stored;
#[cfg(unix)]
use memmap2::Advice;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether files are read in the place of being mapped.
static READ: AtomicBool = AtomicBool::new(false);

/// From now on, reads files into memory in the place of mapping them, or maps them again. A file that gets shorter is then an
/// error in the place of a signal (SIGBUS) that ends the process, and what has been opened does not change any more; but each
/// file takes its size in memory. For files that others may write, and for network file systems.
///
/// It holds for the whole process, and for files that are opened afterwards.
pub fn read_files(read: bool) {
    READ.store(read, Ordering::Relaxed);
}

/// The bytes of a file and the path it was opened by.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    bytes: Bytes,
}

/// Some bytes of a file.
pub(crate) type Extent<'m> = (&'m Mapped, Range<usize>);

#[derive(Debug)]
enum Bytes {
    Map(Mmap),
    /// Also of an empty file, which cannot be mapped everywhere.
    Read(Vec<u8>),
    Remote(Arc<Image>),
}

/// Bytes of a page, or a multiple of it, on every system that pages are given back on.
#[cfg(unix)]
const PAGE: usize = 1 << 16;

impl Mapped {
    /// Opens `path`, which must be a regular file, or an address of one.
    #[allow(unsafe_code)]
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if is_address(path) {
            return Ok(Self { path: path.to_owned(), bytes: Bytes::Remote(Image::open(path, map_scratch)?) });
        }
        let (file, length) = open_regular(path)?;
        let path = path.to_owned();
        if length == 0 || READ.load(Ordering::Relaxed) {
            let bytes = Bytes::Read(read(&path, file, length)?);
            return Ok(Self { path, bytes });
        }
        // SAFETY: the map is read-only and private to this value, and every read of it is of plain bytes, of
        // which all values are valid. What remains is another process that changes the file meanwhile: that
        // can change the numbers, or end this process by a signal when the file shrinks, as for every reader
        // of mapped files. Nothing is written to inputs here, and outputs are renamed over, not rewritten.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&path, "map", e))?;
        Ok(Self { path, bytes: Bytes::Map(map) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the system to bring `range` into memory meanwhile. A system that does not reads when touched.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Map(map) = &self.bytes {
            let _ = map.advise_range(Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Its bytes, of a file at an address those of its header alone.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Map(map) => map,
            Bytes::Read(bytes) => bytes,
            Bytes::Remote(image) => image.header(),
        }
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.view().len()
    }

    /// All its bytes; of a file at an address, those that nobody [holds](crate::source::held::Held) are any.
    pub(crate) fn view(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Remote(image) => image.view(),
            Bytes::Map(_) | Bytes::Read(_) => self.bytes(),
        }
    }

    /// The bytes of a tensor that was checked against this file; of a file at an address, any unless they are held.
    pub(crate) fn tensor(&self, stored: &Stored) -> &[u8] {
        &self.view()[stored.range.clone()]
    }

    /// The file at an address that it is, if it is one.
    pub(crate) fn remote(&self) -> Option<&Arc<Image>> {
        match &self.bytes {
            Bytes::Remote(image) => Some(image),
            Bytes::Map(_) | Bytes::Read(_) => None,
        }
    }

    /// Whether the bytes `range` of [`view`](Self::view) are those of the file.
    pub(crate) fn is_here(&self, range: Range<usize>) -> bool {
        self.remote().is_none_or(|image| image.is_held(range))
    }

    /// Takes the pages of `range` out of what counts as memory of this process. Those of a mapped file stay in the page cache
    /// while there is room, and come again when they are touched.
    #[allow(unsafe_code)]
    pub(crate) fn give_back(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Map(map) = &self.bytes {
            let (start, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
            if start < end {
                // SAFETY: the map is shared, read-only and of a file, so that what is dropped is read from the file again.
                let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Maps a file of scratch without a name.
#[allow(unsafe_code)]
fn map_scratch(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: nobody else can open the file, and its length stays. This process writes to it with calls to the system, only
    // to ranges that nobody looks at yet or any more: bytes are looked at by those who hold them, and a lock is between the
    // write and that.
    unsafe { Mmap::map(file) }
}

/// The first `length` bytes of a file, which are all that it had when it was opened.
fn read(path: &Path, file: File, length: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(length).map_err(|_| Error::format(path, "too large for this machine"))?;
    let mut bytes = room_for(size)?;
    let found = file.take(length).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    if found < size {
        return Err(Error::format(
            path,
            format!("it got shorter while it was read: {found} of {size} bytes"),
        ));
    }
    Ok(bytes)
}

/// Opens `path`, which must be a regular file, and gives its length.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    // What is not is never waited for: opening a named pipe would take until somebody opens its other end. The file that is
    // open is the one that is asked, whatever has its name by then.
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let refused = || Error::format(path, "not a regular file");
    if !fs::metadata(path).map_err(|e| Error::io(path, "open", e))?.is_file() {
        return Err(refused());
    }
    let file = options.open(path).map_err(|e| Error::io(path, "open", e))?;
    let found = file.metadata().map_err(|e| Error::io(path, "read", e))?;
    if found.is_file() { Ok((file, found.len())) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_gets_shorter_while_it_is_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, b"12345").unwrap();
        let read = |length| read(&path, File::open(&path).unwrap(), length).map_err(|e| e.to_string());
        assert_eq!(read(5).as_deref(), Ok(b"12345".as_slice()));
        assert_eq!(read(3).as_deref(), Ok(b"123".as_slice()), "what was added later does not belong to it");
        assert!(read(12).unwrap_err().ends_with("it got shorter while it was read: 5 of 12 bytes"));
        assert!(read(u64::MAX).is_err(), "there is no memory for so much");
    }

    /// As long as a pipe is opened as one that waits, this test waits as well, and gives up.
    #[cfg(unix)]
    #[test]
    fn a_pipe_that_takes_the_place_of_a_file_is_not_waited_for() {
        use std::time::{Duration, Instant};
        let directory = tempfile::tempdir().unwrap();
        let [path, file, pipe, between] =
            ["f", "file", "pipe", "between"].map(|name| directory.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&file, b"12345").unwrap();
        let exchange =
            |by: &Path| fs::hard_link(by, &between).and_then(|()| fs::rename(&between, &path)).unwrap();
        exchange(&file);
        let (done, tried) = std::sync::mpsc::channel();
        let looked_at = path.clone();
        std::thread::spawn(move || {
            (0..5000).for_each(|_| drop(open_regular(&looked_at)));
            done.send(())
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            exchange(&pipe);
            exchange(&file);
            if tried.try_recv().is_ok() {
                return;
            }
        }
        panic!("a pipe is waited for");
    }
}
