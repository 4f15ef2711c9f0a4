//! Ollama's Modelfile beside a GGUF adapter.

use crate::destination::is_stdout;
use crate::failure::Failure;
use phlora::{Adapter, AdapterFormat, Monitor, check_modelfile, save_modelfile};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Checks that an adapter at `output` can have one, before any work.
///
/// # Errors
/// When it is no GGUF file with a place, `from` is no base that Ollama knows, or the Modelfile cannot be written.
pub fn check(
    from: Option<&str>,
    format: AdapterFormat,
    output: &Path,
    several: bool,
    force: bool,
) -> Result<(), Failure> {
    let Some(from) = from else { return Ok(()) };
    let problem = match format {
        AdapterFormat::Gguf if !is_stdout(output) && !several => {
            check_base(from)?;
            check_modelfile(from, &place(output), force)?;
            return Ok(());
        }
        AdapterFormat::Gguf => "a Modelfile stands beside one adapter: name one place and one rank",
        _ => "a Modelfile is written beside a GGUF adapter: name it as in adapter.gguf",
    };
    Err(Failure::Usage(problem.into()))
}

/// Where the Modelfile of an adapter at `output` is.
fn place(output: &Path) -> PathBuf {
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new(".")).join("Modelfile")
}

/// Refuses a file that Ollama cannot take for the base; any other name may be that of a model of its own.
fn check_base(from: &str) -> Result<(), Failure> {
    let path = Path::new(from);
    let refused = |problem: &str| Err(Failure::Usage(format!("--modelfile {from}: {problem}")));
    let is_gguf = || path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    let is_path = is_gguf() || path.is_absolute() || from.starts_with(['.', '~']);
    if !path.exists() {
        return if is_path {
            refused("no such file: name the GGUF file of the base, or a model of Ollama's as in llama3.2:1b")
        } else if from.contains(char::is_whitespace) {
            refused("no name of a model of Ollama's, which has no spaces: as in llama3.2:1b")
        } else {
            Ok(())
        };
    }
    if Adapter::is_at(path) {
        return refused("an adapter, not the base that it is for");
    }
    let mut magic = [0; 4];
    let is_file = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    if path.is_file() && (is_file.is_err() || magic != *b"GGUF") {
        return refused("not a GGUF file: Ollama takes the base as one, or as a model of its own");
    }
    Ok(())
}

/// Writes the Modelfile beside the adapter at `output` and gives its place. Paths are relative to it, where they are in the
/// same directory, else whole, as Ollama expects them.
pub fn write(from: &str, output: &Path, force: bool, monitor: &Monitor) -> Result<PathBuf, Failure> {
    let path = place(output);
    let directory = path.parent().unwrap_or(Path::new("."));
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    save_modelfile(&base(from, directory), &format!("./{name}"), &path, force, monitor)?;
    Ok(path)
}

/// What is printed of the Modelfile at `path`, and what to do with it.
pub fn said(path: &Path) -> String {
    let path = path.display();
    format!("wrote {path}: `ollama create NAME -f {path}` makes the model\n")
}

/// A model of Ollama's as it is named, a file as the Modelfile finds it.
fn base(from: &str, directory: &Path) -> String {
    let Ok(file) = Path::new(from).canonicalize() else { return from.to_owned() };
    match (file.parent(), file.file_name(), directory.canonicalize()) {
        (Some(parent), Some(name), Ok(here)) if parent == here => format!("./{}", name.to_string_lossy()),
        _ => file.display().to_string(),
    }
}
