//! Hidden names beside an output. Each is locked for as long as its process lives, so that one which can be locked was left
//! behind by a killed process; the next run for the same output removes it.
//!
//! Where the system has no locks (`flock` on a directory over some network file systems, and outside of Unix) nothing is
//! removed that this process has not made itself.

use super::place::parent;
use super::rename;
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// Names tried. A name is refused by chance once in 2⁶⁴ times, or where another process cleans up at that moment.
const ATTEMPTS: usize = 16;

/// Bytes of an output's name in a hidden one: names end at 255 bytes.
const NAME: usize = 200;

/// What the name ends in of a directory that has gone aside.
const ASIDE: &str = "-old";

/// A hidden file or directory; removed when dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    /// Held until the end.
    _lock: Option<File>,
    stays: bool,
}

/// What a temporary is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    File,
    Directory,
}

impl Temporary {
    /// Makes an empty one beside `target`, so that a rename stays in one file system.
    pub fn create(target: &Path, kind: Kind) -> Result<Self> {
        let failed = |error| Error::io(target, "create", without_parent(target, error));
        for _ in 0..ATTEMPTS {
            let path = beside(target, "")?;
            let made = match kind {
                Kind::File => File::create_new(&path).map(drop),
                Kind::Directory => fs::create_dir(&path),
            };
            match made {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(error)),
            }
            match lock(&path) {
                Ok(Lock::Held(file)) => return Ok(Self { path, _lock: Some(file), stays: false }),
                Ok(Lock::Unknown) => return Ok(Self { path, _lock: None, stays: false }),
                // Another process has found it before it was locked, and removes it.
                Ok(Lock::Taken) => {}
                Err(error) => {
                    let _ = remove(&path);
                    return Err(failed(error));
                }
            }
        }
        Err(Error::format(target, "no temporary file can be made beside it: others remove it at once"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets what has this name, if anything, stay.
    pub fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.stays {
            // What cannot be removed now, the next run removes.
            let _ = remove(&self.path);
        }
    }
}

/// A name beside `target` for a directory that goes aside.
pub(super) fn aside(target: &Path) -> Result<PathBuf> {
    beside(target, ASIDE)
}

/// A name beside `target` for a file that has another name as well.
pub(super) fn second_name(target: &Path) -> Result<PathBuf> {
    beside(target, "")
}

/// A name beside `target` for what no run may remove.
pub(super) fn kept(target: &Path) -> Result<PathBuf> {
    beside(target, "-kept")
}

/// Removes what killed processes have left beside `target`; puts a directory back that has gone aside without another in its
/// place.
pub(super) fn clear(target: &Path) {
    let (Ok(stem), Ok(entries)) = (stem(target), fs::read_dir(parent(target))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&stem)) else { continue };
        let number = rest.strip_suffix(ASIDE).unwrap_or(rest);
        if number.len() != 16 || !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        let path = entry.path();
        // What is in use, or belongs to somebody else, stays.
        let Ok(Lock::Held(_lock)) = lock(&path) else { continue };
        let missing =
            fs::symlink_metadata(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let restored = rest.ends_with(ASIDE) && missing && rename::to_new(&path, target).is_ok();
        if !restored {
            let _ = remove(&path);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What becomes of an attempt to lock.
#[derive(Debug)]
pub(super) enum Lock {
    /// Nobody else has it.
    Held(#[cfg_attr(not(unix), expect(dead_code, reason = "there are no locks"))] File),
    /// Somebody else has it, or it is gone.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no locks"))]
    Taken,
    /// The system has no locks here.
    Unknown,
}

/// Locks a file or directory, never waiting.
#[cfg(unix)]
pub(super) fn lock(path: &Path) -> io::Result<Lock> {
    use rustix::fs::{Mode, OFlags};
    use std::os::unix::fs::MetadataExt;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(Lock::Taken),
        Err(error) => return Err(error.into()),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(Lock::Taken),
        Err(fs::TryLockError::Error(_)) => return Ok(Lock::Unknown),
    }
    // It may have been removed, or renamed, between both steps.
    let (here, held) = (fs::symlink_metadata(path), file.metadata()?);
    let same = here.is_ok_and(|here| (here.dev(), here.ino()) == (held.dev(), held.ino()));
    Ok(if same { Lock::Held(file) } else { Lock::Taken })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(super) fn lock(_: &Path) -> io::Result<Lock> {
    Ok(Lock::Unknown)
}

/// An unused hidden name beside `target`.
fn beside(target: &Path, tag: &str) -> Result<PathBuf> {
    // Seeded by the system: process ids repeat, in containers always.
    let number = RandomState::new().build_hasher().finish();
    Ok(parent(target).join(format!("{}{number:016x}{tag}", stem(target)?)))
}

/// What all hidden names of an output begin with.
fn stem(target: &Path) -> Result<String> {
    let name = target.file_name().ok_or_else(|| Error::format(target, "not a name that can be created"))?;
    let name = name.to_string_lossy();
    let end = (0..=NAME.min(name.len())).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    Ok(format!(".{}.phlora-", &name[..end]))
}

/// `error`, or what it comes from where the directory of `target` is not there.
fn without_parent(target: &Path, error: io::Error) -> io::Error {
    let parent = parent(target);
    if error.kind() != io::ErrorKind::NotFound || parent.exists() {
        return error;
    }
    let parent = parent.display();
    io::Error::new(
        error.kind(),
        format!("the directory {parent} does not exist; `mkdir -p {parent}` makes it"),
    )
}
