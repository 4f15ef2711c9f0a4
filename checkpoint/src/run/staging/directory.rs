//! A directory, built beside its place and exchanged with what is there.

use super::place::{sync_directory, sync_place};
use super::rename;
use super::temporary::{Kind, Lock, Temporary, aside, clear, kept, lock, second_name};
use crate::error::{Error, Reason, Result};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What phlora writes into an adapter's directory.
const WRITTEN: [&str; 3] = ["adapter_config.json", "adapter_model.safetensors", "adapters.safetensors"];

/// What others put there; it stays when `force` replaces the adapter. A directory that holds anything else is left alone.
const KEPT: [&str; 3] = ["README.md", ".gitattributes", "adapter_model.bin"];

/// A directory being built beside `target`; removed when dropped without [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct StagedDir {
    target: PathBuf,
    temporary: Temporary,
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
        clear(&target);
        let found = check_directory(&target, &replaces, force)?;
        let temporary = Temporary::create(&target, Kind::Directory)?;
        let staged = Self { target, temporary, replaces, force };
        if found {
            staged.adopt(&staged.target, staged.path())?;
        }
        Ok(staged)
    }

    /// Where to build.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Puts the directory in its place, in one step where the system can, away with what was there before. Files that phlora
    /// did not write have a name in both while that happens.
    pub(crate) fn commit(mut self) -> Result<()> {
        let target = self.target.clone();
        let failed = |error| Error::io(&target, "create", error);
        if !check_directory(&target, &self.replaces, self.force)? {
            sync_directory(self.path()).map_err(failed)?;
            rename::to_new(self.path(), &target).map_err(failed)?;
            self.temporary.stay();
            return sync_place(&target);
        }
        self.adopt(&target, self.path())?;
        sync_directory(self.path()).map_err(failed)?;
        let exchanged = rename::exchange(self.path(), &target).map_err(|error| unchanged(&target, &error))?;
        let old = if exchanged { self.path().to_owned() } else { self.replace_in_two_steps()? };
        self.temporary.stay();
        sync_place(&target)?;
        // What has arrived in the meantime.
        self.adopt(&old, &target).map_err(|error| keep(&target, &old, &error))?;
        fs::remove_dir_all(&old).map_err(|error| {
            let old = old.display();
            let problem =
                format!("is in its place, but what was there before cannot be removed from {old}: {error}");
            Error::format(&target, problem)
        })
    }

    /// For systems without an exchange: the old directory goes aside, then the new one takes its place. Gives the name aside.
    fn replace_in_two_steps(&mut self) -> Result<PathBuf> {
        let aside = aside(&self.target)?;
        // Held, so that no other run takes the old directory for one that was left behind.
        let _lock = lock(&self.target).ok().filter(|lock| matches!(lock, Lock::Held(_)));
        fs::rename(&self.target, &aside).map_err(|error| unchanged(&self.target, &error))?;
        let Err(error) = fs::rename(self.path(), &self.target) else { return Ok(aside) };
        if fs::rename(&aside, &self.target).is_ok() {
            return Err(unchanged(&self.target, &error));
        }
        self.temporary.stay();
        let (new, old) = (self.path().display(), aside.display());
        let problem = format!(
            "cannot be replaced: {error}; what was there before is now {old}, the new directory is {new}: rename \
             either to what it was to be"
        );
        Err(Error::format(&self.target, problem))
    }

    /// Gives the files of `from` that phlora did not write a second name in `to`, where one may be already.
    fn adopt(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = |name: &OsStr, error: io::Error| {
            let problem = format!(
                "holds {}, which phlora did not write and cannot take over: {error}; move it, or choose another place",
                name.to_string_lossy()
            );
            Error::exists(&self.target, &problem)
        };
        let Replaces::Adapter = self.replaces else { return Ok(()) };
        for name in KEPT.map(OsStr::new) {
            let (from, to) = (from.join(name), to.join(name));
            if fs::symlink_metadata(&from).is_ok() && !is_same(&from, &to) {
                self.link_over(&from, &to).map_err(|error| failed(name, error))?;
            }
        }
        Ok(())
    }

    /// Makes `to` another name of the file `from`, in the place of what is there, in one step.
    fn link_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
        let between = second_name(&self.target).map_err(|error| io::Error::other(error.to_string()))?;
        fs::hard_link(from, &between)?;
        fs::rename(&between, to).inspect_err(|_| {
            let _ = fs::remove_file(&between);
        })
    }
}

/// Whether both names stand for one file.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino())).ok();
        identity(a).is_some() && identity(a) == identity(b)
    }
    #[cfg(not(unix))]
    {
        let _ = (a, b);
        false
    }
}

/// The error of a replacement that did not happen.
fn unchanged(target: &Path, error: &io::Error) -> Error {
    Error::format(target, format!("is not replaced and stays as it was: {error}"))
}

/// Gives the old directory, which holds a file that could not be taken over, a name that no run removes.
fn keep(target: &Path, old: &Path, error: &Error) -> Error {
    let place = kept(target).ok().filter(|place| fs::rename(old, place).is_ok());
    let place = place.as_deref().unwrap_or(old).display();
    Error::format(target, format!("is in its place; what was there before is kept in {place}: {error}"))
}

/// Whether there is a directory at `target` that may be replaced, or nothing.
fn check_directory(target: &Path, replaces: &Replaces, force: bool) -> Result<bool> {
    let found = match fs::symlink_metadata(target) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(target, "create", error)),
    };
    if !force {
        return Err(Error::exists(target, "exists already").because(Reason::Exists(replaces.name())));
    }
    if !found.is_dir() {
        return Err(Error::exists(
            target,
            "exists and is not a directory; it is not replaced, choose another place",
        ));
    }
    let (mut config, mut empty, mut foreign) = (false, true, None);
    for entry in fs::read_dir(target).map_err(|e| Error::io(target, "read", e))? {
        let name = entry.map_err(|e| Error::io(target, "read", e))?.file_name();
        empty = false;
        config |= name == "adapter_config.json";
        if !replaces.has(&name) {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    match foreign {
        Some(name) => {
            let problem = format!(
                "holds {name}, which does not belong to {}; it is not replaced, choose another place",
                replaces.whole()
            );
            Err(Error::exists(target, &problem))
        }
        None if matches!(replaces, Replaces::Adapter) && !config && !empty => Err(Error::exists(
            target,
            "exists and has no adapter_config.json; it is not replaced, choose another place",
        )),
        None => Ok(true),
    }
}

impl Replaces {
    /// Whether a directory of the kind may have an entry of this name.
    fn has(&self, name: &OsStr) -> bool {
        match self {
            Self::Adapter => WRITTEN.iter().chain(&KEPT).any(|known| name == *known),
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
