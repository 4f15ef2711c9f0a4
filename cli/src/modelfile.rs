//! Ollama's Modelfile beside a GGUF adapter.

use crate::destination::is_stdout;
use crate::failure::Failure;
use phlora::{AdapterFormat, Monitor, save_modelfile};
use std::path::{Path, PathBuf};

/// Checks that an adapter at `output` can have one.
///
/// # Errors
/// When it is no GGUF file with a place.
pub fn check(from: Option<&str>, format: AdapterFormat, output: &Path, several: bool) -> Result<(), Failure> {
    let Some(_) = from else { return Ok(()) };
    let problem = match format {
        AdapterFormat::Gguf if !is_stdout(output) && !several => return Ok(()),
        AdapterFormat::Gguf => "a Modelfile stands beside one adapter: name one place and one rank",
        _ => "a Modelfile is written beside a GGUF adapter: name it as in adapter.gguf",
    };
    Err(Failure::Usage(problem.into()))
}

/// Writes the Modelfile beside the adapter at `output` and gives its place. Paths are relative to it, where they are in the
/// same directory, else whole, as Ollama expects them.
pub fn write(from: &str, output: &Path, force: bool, monitor: &Monitor) -> Result<PathBuf, Failure> {
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let path = directory.join("Modelfile");
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
