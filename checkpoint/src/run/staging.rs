//! Outputs appear whole or not at all: built beside their place under a hidden name, synced, then renamed.

use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;

/// What an adapter directory may hold and still be replaced by `force`; anything else in it is kept safe.
const REPLACEABLE: [&str; 5] =
    ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "README.md", ".gitattributes"];

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 18;

/// A directory being built beside `target`; removed when dropped without [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct StagedDir {
    target: PathBuf,
    temporary: PathBuf,
    replaces: Replaces,
    force: bool,
}

/// What a directory may be and still be replaced by `force`.
#[derive(Debug, Clone)]
pub(crate) enum Replaces {
    /// An adapter.
    Adapter,
    /// A model that holds nothing beyond these names, which the new one has as well.
    Model(BTreeSet<OsString>),
}

impl StagedDir {
    /// Checks that `target` may be created, or replaced by `force`, and makes the temporary directory.
    pub(crate) fn create(target: &Path, replaces: Replaces, force: bool) -> Result<Self> {
        // Without a slash at its end, which would name what a symbolic link points to.
        let target: PathBuf = target.components().collect();
        check_directory(&target, &replaces, force)?;
        let temporary = beside(&target, "", |path| fs::create_dir(path))?;
        Ok(Self { target, temporary, replaces, force })
    }

    /// Where to build.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Puts the directory in its place, away with what was there before.
    pub(crate) fn commit(self) -> Result<()> {
        let failed = |e| Error::io(&self.target, "create", e);
        check_directory(&self.target, &self.replaces, self.force)?;
        sync_directory(&self.temporary);
        if self.target.exists() {
            let old = beside(&self.target, "-old", |path| fs::create_dir(path))?;
            if let Err(error) = fs::rename(&self.target, &old) {
                let _ = fs::remove_dir(&old);
                return Err(failed(error));
            }
            if let Err(error) = fs::rename(&self.temporary, &self.target) {
                let _ = fs::rename(&old, &self.target);
                return Err(failed(error));
            }
            let _ = fs::remove_dir_all(&old);
        } else {
            fs::rename(&self.temporary, &self.target).map_err(failed)?;
        }
        sync_directory(parent(&self.target));
        Ok(())
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// A file being built beside `target`; removed when dropped without [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct StagedFile {
    target: PathBuf,
    temporary: PathBuf,
}

/// What a file may be and still be replaced by `force`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// Whether the file at a path is one.
    pub(crate) is: fn(&Path) -> bool,
}

impl StagedFile {
    /// Makes an empty temporary file beside `target`, for who fills and syncs it by its path.
    pub(crate) fn create(target: &Path, known: Known, force: bool) -> Result<Self> {
        check_file(target, known, force)?;
        let temporary = beside(target, "", |path| File::create_new(path).map(drop))?;
        Ok(Self { target: target.to_owned(), temporary })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Lets `write` fill a temporary file beside `target` and syncs it.
    pub(crate) fn write(
        target: &Path,
        known: Known,
        force: bool,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
    ) -> Result<Self> {
        let staged = Self::create(target, known, force)?;
        fill_synced(&staged.temporary, target, write)?;
        Ok(staged)
    }

    /// Puts the file in its place.
    pub(crate) fn commit(self) -> Result<()> {
        fs::rename(&self.temporary, &self.target).map_err(|e| Error::io(&self.target, "create", e))?;
        sync_directory(parent(&self.target));
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Lets `write` fill the file at `path` and waits until it is on disk. Errors name `target`, what it is to become.
pub(crate) fn fill_synced(
    path: &Path,
    target: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let failed = |e: io::Error| Error::io(target, "write", e);
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path).map_err(failed)?);
    write(&mut file).map_err(|error| match error {
        Error::Io { source, .. } => failed(source),
        other => other,
    })?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)
}

/// Writes a file and waits until it is on disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether a file may be created at `target`.
fn check_file(target: &Path, known: Known, force: bool) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(found) if !found.is_file() => Err(exists(target, "exists and is not a regular file")),
        Ok(_) if !force => Err(exists(target, "exists already; --force replaces it")),
        Ok(found) if found.len() > 0 && !(known.is)(target) => Err(exists(
            target,
            &format!("exists and is not {}; it is not replaced, choose another place", known.name),
        )),
        _ => Ok(()),
    }
}

/// Whether a directory may be created at `target`, or what is there be replaced.
fn check_directory(target: &Path, replaces: &Replaces, force: bool) -> Result<()> {
    let found = match fs::symlink_metadata(target) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(target, "create", error)),
    };
    if !force {
        return Err(exists(target, &format!("exists already; --force replaces {}", replaces.name())));
    }
    if !found.is_dir() {
        return Err(exists(
            target,
            "exists and is not a directory; it is not replaced, choose another place",
        ));
    }
    let (mut config, mut foreign) = (false, None);
    for entry in fs::read_dir(target).map_err(|e| Error::io(target, "read", e))? {
        let name = entry.map_err(|e| Error::io(target, "read", e))?.file_name();
        config |= name == "adapter_config.json";
        if !replaces.has(&name) {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    match foreign {
        Some(name) => {
            let problem = format!(
                "holds {name}, which is no part of {}; it is not replaced, choose another place",
                replaces.whole()
            );
            Err(exists(target, &problem))
        }
        None if matches!(replaces, Replaces::Adapter)
            && !config
            && fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) =>
        {
            Err(exists(
                target,
                "exists and has no adapter_config.json; it is not replaced, choose another place",
            ))
        }
        None => Ok(()),
    }
}

impl Replaces {
    /// Whether a directory of the kind has an entry of this name.
    fn has(&self, name: &OsString) -> bool {
        match self {
            Self::Adapter => REPLACEABLE.iter().any(|known| name == *known),
            Self::Model(names) => names.contains(name),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Adapter => "an adapter directory",
            Self::Model(_) => "a directory of the same files",
        }
    }

    fn whole(&self) -> &'static str {
        match self {
            Self::Adapter => "an adapter",
            Self::Model(_) => "the merged model",
        }
    }
}

/// Makes something under an unused hidden name beside `target`, so that a rename stays in one file system.
fn beside(target: &Path, tag: &str, make: impl Fn(&Path) -> io::Result<()>) -> Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| Error::format(target, "not a name that can be created"))?;
    let name = name.to_string_lossy();
    // An earlier process of the same id may have been killed and have left its directory.
    for attempt in 0..16 {
        let path = parent(target).join(format!(".{name}.phlora{tag}-{}-{attempt}", process::id()));
        match make(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(target, "create", without_parent(target, error))),
        }
    }
    Err(Error::format(target, "its directory is full of temporary files of earlier runs"))
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

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether `path` would lie in `directory` or be it, whatever way either is written.
pub(crate) fn is_within(path: &Path, directory: &Path) -> bool {
    let resolved = |path: &Path| Some(parent(path).canonicalize().ok()?.join(path.file_name()?));
    match (resolved(path), resolved(directory)) {
        (Some(path), Some(directory)) => path.starts_with(directory),
        // Where the directory of the report is not there yet, it may be the one to be created.
        _ => path.starts_with(directory),
    }
}

/// Makes a rename last through a power cut, where the system can.
fn sync_directory(path: &Path) {
    let _ = File::open(path).and_then(|directory| directory.sync_all());
}

fn exists(path: &Path, problem: &str) -> Error {
    Error::Exists { path: path.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_dropped_directory_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let staged = StagedDir::create(&root.path().join("out"), Replaces::Adapter, false).unwrap();
        fs::write(staged.path().join("adapter_config.json"), "{}").unwrap();
        drop(staged);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn replaces_an_adapter_but_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        for content in ["old", "new"] {
            let staged = StagedDir::create(&out, Replaces::Adapter, true).unwrap();
            fs::write(staged.path().join("adapter_config.json"), content).unwrap();
            staged.commit().unwrap();
            assert_eq!(fs::read_to_string(out.join("adapter_config.json")).unwrap(), content);
            assert_eq!(names(root.path()), ["out"]);
        }
        assert!(
            StagedDir::create(&out, Replaces::Adapter, false).unwrap_err().to_string().contains("--force")
        );
        fs::write(out.join("model.safetensors"), "precious").unwrap();
        assert!(
            StagedDir::create(&out, Replaces::Adapter, true)
                .unwrap_err()
                .to_string()
                .contains("holds model.safetensors")
        );
        fs::remove_file(out.join("model.safetensors")).unwrap();
        fs::rename(out.join("adapter_config.json"), out.join("README.md")).unwrap();
        assert!(
            StagedDir::create(&out, Replaces::Adapter, true)
                .unwrap_err()
                .to_string()
                .contains("no adapter_config.json")
        );
    }

    #[test]
    fn sees_through_other_spellings_of_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let (out, side) = (root.path().join("out"), root.path().join("side"));
        fs::create_dir(&out).unwrap();
        fs::create_dir(&side).unwrap();
        for path in [out.clone(), out.join("r.json"), side.join("../out"), side.join("../out/r.json")] {
            assert!(is_within(&path, &out), "{}", path.display());
        }
        assert!(is_within(&root.path().join("new/r.json"), &root.path().join("new")));
        for path in [root.path().join("out.json"), side.join("out"), side.join("../r.json")] {
            assert!(!is_within(&path, &out), "{}", path.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_replaced_however_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        fs::create_dir(root.path().join("out")).unwrap();
        std::os::unix::fs::symlink("out", &link).unwrap();
        for target in [link.clone(), link.join("")] {
            let message = StagedDir::create(&target, Replaces::Adapter, true).unwrap_err().to_string();
            assert!(message.contains("not a directory"), "{message}");
        }
        assert_eq!(names(root.path()), ["link", "out"]);
    }
}
