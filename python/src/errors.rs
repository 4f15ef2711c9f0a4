//! Errors of the library as exceptions, with its text.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};

create_exception!(
    phlora,
    Error,
    PyException,
    "What the library refuses; its text names file, tensor and reason."
);
create_exception!(
    phlora,
    NothingToExtract,
    Error,
    "The models do not differ in any module that is extracted."
);
create_exception!(phlora, OutputExists, Error, "The output exists and may not be replaced.");

/// The exception that stands for `error`.
pub fn exception(error: &phlora::Error) -> PyErr {
    let text = error.to_string();
    match error {
        phlora::Error::NothingToExtract { .. } => NothingToExtract::new_err(text),
        phlora::Error::Exists { .. } => OutputExists::new_err(text),
        phlora::Error::Cancelled => PyKeyboardInterrupt::new_err(text),
        _ => Error::new_err(text),
    }
}
