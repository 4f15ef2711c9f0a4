//! Renames in one step: an exchange of two names, and a rename that replaces nothing.

use std::io;
use std::path::Path;

/// Exchanges what two paths name, in one step; false where the system or the file system cannot.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    with(a, b, rustix::fs::RenameFlags::EXCHANGE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Renames `from` to `to`, where nothing may be.
pub(super) fn to_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    if with(from, to, rustix::fs::RenameFlags::NOREPLACE)? {
        return Ok(());
    }
    std::fs::rename(from, to)
}

/// Whether a rename of this kind exists here; EPERM is what some sandboxes answer to calls that they do not know.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn with(from: &Path, to: &Path, flags: rustix::fs::RenameFlags) -> io::Result<bool> {
    use rustix::fs::{CWD, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, flags) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
