//! The native half of the Python module `phlora`: jobs over paths, factors of weights in Python's memory, and the command. The
//! functions that users call, with their types and documentation, are in `phlora/*.py`.

// What Python gives arrives as values.
#![allow(clippy::needless_pass_by_value)]

mod errors;
mod files;
mod job;
mod memory;
mod options;

use pyo3::prelude::*;

/// The native module.
#[pymodule]
mod _phlora {
    #[pymodule_export]
    use crate::errors::{Error, NothingToExtract, OutputExists};
    #[pymodule_export]
    use crate::files::{check, convert, extract, extract_ranks, extract_several, merge, plan, prune, verify};
    #[pymodule_export]
    use crate::memory::{Cancel, factorise, is_linear, save};

    use super::{PyResult, Python, pyfunction};
    use std::ffi::OsString;
    use std::process::ExitCode;

    /// Runs the command and returns its exit code.
    #[pyfunction]
    fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        let code = py.detach(|| phlora_cli::run(arguments));
        // An exit code does not tell its number.
        (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(u8::MAX)
    }

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> PyResult<()> {
        use pyo3::types::PyModuleMethods;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
