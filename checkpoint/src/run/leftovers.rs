//! What a process leaves beside an output when it is killed: known by its name, and by the lock that nobody holds any more.

use std::fs::{self, File, TryLockError};
use std::path::Path;

/// The name of something temporary beside an output called `name`; `tag` says which.
pub(super) fn hidden(name: &str, tag: &str, process: u32, attempt: u32) -> String {
    format!(".{name}.phlora{tag}-{process}-{attempt}")
}

/// Keeps others from clearing what is at `path`, as long as the lock lives. `None` where the system has no such lock;
/// an error where another process is clearing it at this moment.
pub(super) fn hold(path: &Path) -> Result<Option<File>, ()> {
    // Where a lock keeps others from writing, it would keep this process as well.
    if !cfg!(unix) {
        return Ok(None);
    }
    let file = File::open(path).map_err(drop)?;
    match file.try_lock() {
        Ok(()) if path.exists() => Ok(Some(file)),
        Ok(()) | Err(TryLockError::WouldBlock) => Err(()),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Removes what killed processes left in `directory` beside `target`, or puts it back where it was moved away and nothing
/// came.
pub(super) fn clear(directory: &Path, target: &Path) {
    let Some(name) = target.file_name().map(|name| name.to_string_lossy().into_owned()) else { return };
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let known = entry.file_name().to_str().and_then(|found| tag(found, &name)).map(str::to_owned);
        let Some(tag) = known else { continue };
        // What has no lock may belong to a process at work, perhaps of another machine.
        let Ok(Some(lock)) = hold(&path) else { continue };
        if tag == "-old" && fs::symlink_metadata(target).is_err() {
            let _ = fs::rename(&path, target);
        } else {
            remove(&path);
        }
        drop(lock);
    }
}

fn remove(path: &Path) {
    let directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let _ = if directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// The tag in a name as [`hidden`] gives it for an output called `name`.
fn tag<'n>(found: &'n str, name: &str) -> Option<&'n str> {
    let rest = found.strip_prefix('.')?.strip_prefix(name)?.strip_prefix(".phlora")?;
    let (rest, attempt) = rest.rsplit_once('-')?;
    let (tag, process) = rest.rsplit_once('-')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(attempt) && number(process) && matches!(tag, "" | "-old")).then_some(tag)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_goes_and_what_is_held_or_foreign_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        let path = |name: &str| root.path().join(name);
        for name in [".out.phlora-7-0", ".out.phlora-7-1", ".out.phlora-old-8-0"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("adapter_config.json"), "{}").unwrap();
        }
        for name in [".out.phlora-9-0", ".out.phlora-notes", ".out.phlora-old-x-0", ".other.phlora-7-0"] {
            fs::write(path(name), "x").unwrap();
        }
        let held = hold(&path(".out.phlora-7-1")).unwrap();
        clear(root.path(), &target);
        let left = || -> Vec<_> {
            let mut names: Vec<_> = fs::read_dir(root.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let foreign =
            [".other.phlora-7-0", ".out.phlora-7-1", ".out.phlora-notes", ".out.phlora-old-x-0", "out"];
        // Nothing had come in the place of what was moved away.
        assert_eq!(left(), foreign);
        assert!(target.join("adapter_config.json").exists());
        drop(held);
        fs::create_dir(path(&hidden("out", "-old", 8, 0))).unwrap();
        clear(root.path(), &target);
        assert_eq!(left(), [foreign[0], foreign[2], foreign[3], foreign[4]]);
    }
}
