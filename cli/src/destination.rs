//! Where an output goes: to its place, or to standard output, which `-` stands for.

use crate::failure::Failure;
use crate::say;
use phlora::AdapterFormat;
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The directory that is removed when the process ends early.
static SCRATCH: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The directory that was made for outputs, which is removed where it stays empty.
static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The place of an output. One for standard output is written to a file first: what is not whole never appears there
/// either.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    stdout: bool,
}

/// Whether `path` stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Destination {
    /// The place that `output` names. For standard output a file `name` is made, since formats go by names.
    ///
    /// # Errors
    /// When standard output is a terminal, or no file can be made.
    pub fn of(output: &Path, name: &str) -> Result<Self, Failure> {
        if !is_stdout(output) {
            return Ok(Self { path: output.to_owned(), stdout: false });
        }
        take_stdout()?;
        // Processes of containers have the same numbers again and again.
        let random = RandomState::new().build_hasher().finish();
        let directory = std::env::temp_dir().join(format!("phlora-{random:016x}"));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let failed = |error| Failure::Usage(format!("{}: cannot create it: {error}", directory.display()));
        builder.create(&directory).map_err(failed)?;
        let path = directory.join(name);
        *lock() = Some(directory);
        Ok(Self { path, stdout: true })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called in a summary.
    pub fn shown(&self) -> String {
        if self.stdout { "standard output".to_owned() } else { self.path.display().to_string() }
    }

    /// Copies what was written for standard output there.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn finish(&self) -> Result<(), Failure> {
        if self.stdout {
            let mut file = File::open(&self.path)?;
            let mut out = io::stdout().lock();
            io::copy(&mut file, &mut out)?;
            io::Write::flush(&mut out)?;
        }
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.stdout {
            clear();
        }
    }
}

/// Takes standard output for an output.
///
/// # Errors
/// When it is a terminal.
pub fn take_stdout() -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        let problem =
            "- is standard output, which is a terminal here: send it to a file or to another command";
        return Err(Failure::Usage(problem.into()));
    }
    say::take_stdout();
    Ok(())
}

/// A directory for outputs, which goes with this where nothing is in it.
#[derive(Debug)]
pub struct Made;

/// Makes the directory that outputs go to, where there is none.
///
/// # Errors
/// When it cannot be made.
pub fn make(path: &Path) -> Result<Made, Failure> {
    if !path.is_dir() {
        let failed = |error| Failure::Usage(format!("{}: cannot create it: {error}", path.display()));
        fs::create_dir_all(path).map_err(failed)?;
        *MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(path.to_owned());
    }
    Ok(Made)
}

impl Drop for Made {
    fn drop(&mut self) {
        clear();
    }
}

/// Removes what was made for standard output, and a directory that was made for outputs where there are none.
pub fn clear() {
    if let Some(directory) = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
        // Refused where anything is in it.
        let _ = fs::remove_dir(directory);
    }
    if let Some(directory) = lock().take() {
        let _ = fs::remove_dir_all(directory);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<PathBuf>> {
    SCRATCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Refuses standard output for what is a directory, or for two things at once.
///
/// # Errors
/// When `output` is standard output and cannot be.
pub fn check_stdout(output: &Path, format: AdapterFormat, json: bool) -> Result<(), Failure> {
    if !is_stdout(output) {
        return Ok(());
    }
    if json {
        let problem = "standard output takes one output: give a file for the adapter beside --json";
        return Err(Failure::Usage(problem.into()));
    }
    if !format.is_file() {
        let problem = "standard output takes one file, which --format gguf, kohya, comfy and phlora write; this adapter is a \
                       directory";
        return Err(Failure::Usage(problem.into()));
    }
    Ok(())
}
