//! phlora_check_files.

use super::{failure, path, told};
use crate::guard::{In, Out, guarded};
use crate::status::Status;
use core::ffi::{c_char, c_void};
use phlora::{Model, check};
use std::ffi::CString;

/// How bad a finding of phlora_check_files is.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing.
    Note = 1,
    /// Ignored in silence, or suspicious.
    Warning = 2,
    /// Refused, a crash, or output that is no number.
    Error = 3,
}

/// Told of each finding, the worst first, on the thread that called phlora_check_files: its phlora_severity, its code
/// (stable over versions), the tensor concerned or NULL, and a sentence. The texts end with the call. It must not
/// throw or longjmp.
pub type FindingCallback = Option<
    extern "C" fn(
        user: *mut c_void,
        severity: u32,
        code: *const c_char,
        tensor: *const c_char,
        message: *const c_char,
    ),
>;

/// Finds what makes llama.cpp refuse, crash on or ignore an adapter: `phlora check ADAPTER --base BASE`. Allocates.
///
/// - `adapter`: a PEFT directory, or a file of GGUF, kohya, ComfyUI or phlora's own; a broken one gives findings, not an error.
/// - `base`: the model that it is for.
/// - `finding`, `user`: see phlora_finding_callback; may be NULL.
/// - `errors`: receives the number of findings that are errors.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, BAD_TEXT, IO, FORMAT, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_check_files(
    adapter: In<c_char>,
    base: In<c_char>,
    finding: FindingCallback,
    user: *mut c_void,
    errors: Out<usize>,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    guarded(|guard| {
        let (adapter, base) = (path(guard, adapter)?, path(guard, base)?);
        let slot = guard.slot(errors)?;
        let message = guard.message(message, message_len)?;
        let found = Model::open(&base).and_then(|base| check(&adapter, &base));
        let found = told(found.map_err(|error| failure(&error)), message)?;
        let mut count = 0;
        for one in &found {
            let severity = match one.severity {
                phlora::Severity::Note => Severity::Note,
                phlora::Severity::Warning => Severity::Warning,
                phlora::Severity::Error => Severity::Error,
            };
            count += usize::from(severity == Severity::Error);
            let Some(tell) = finding else { continue };
            let (code, text) = (c_text(one.code), c_text(&one.message));
            let tensor = one.tensor.as_deref().map(c_text);
            let tensor = tensor.as_ref().map_or(core::ptr::null(), |tensor| tensor.as_ptr());
            tell(user, severity as u32, code.as_ptr(), tensor, text.as_ptr());
        }
        slot.write(count);
        Ok(())
    })
}

/// A text for C; what stands after a zero byte in a name is cut.
fn c_text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}
