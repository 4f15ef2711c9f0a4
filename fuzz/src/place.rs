//! Where the files of a run are: a directory of this process, which should be in memory (TMPDIR=/dev/shm).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A path in the directory of this process.
///
/// # Panics
/// When the directory cannot be made.
pub fn path(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("phlora-fuzz-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a place for files");
        directory
    });
    directory.join(name)
}

/// Writes a file, with the directories above it.
///
/// # Panics
/// When that does not go.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(&path, bytes).expect("room for a file");
    path
}

/// A directory with nothing in it.
pub fn empty(name: &str) -> PathBuf {
    let path = path(name);
    remove(&path);
    fs::create_dir_all(&path).expect("a directory");
    path
}

/// Removes a file or directory, if it is there.
pub fn remove(path: &Path) {
    if path.is_dir() {
        let _ = fs::remove_dir_all(path);
    } else {
        let _ = fs::remove_file(path);
    }
}

/// Checks that a directory holds `names` and nothing else.
///
/// # Panics
/// When it does not.
pub fn holds(directory: &Path, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(directory)
        .expect("it is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, names, "what is in {}", directory.display());
}
