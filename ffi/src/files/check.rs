//! phlora_check_files.

use super::call::{Named, ProgressCallback, job, path, watched};
use super::module::c_text;
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Model, check};

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
/// (stable over versions), the tensor concerned or NULL, and a sentence. The texts end with the callback. It must not
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

/// Options of phlora_check_files: zeros but for struct_size, then what differs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CheckOptions {
    /// sizeof(phlora_check_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// Told of each finding.
    pub finding: FindingCallback,
    /// What both of them get.
    pub user: *mut c_void,
}

impl SizedStruct for CheckOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), progress: None, finding: None, user: ptr::null_mut() };
}

/// Finds what makes llama.cpp refuse, crash on or ignore an adapter: `phlora check ADAPTER --base BASE`. Allocates.
///
/// - `adapter`: a PEFT directory, or a file of GGUF, kohya, ComfyUI or phlora's own; a broken one gives findings, not an
///   error.
/// - `base`: the model that it is for.
/// - `options`: see phlora_check_options; NULL: all defaults.
/// - `errors`: receives the number of findings that are errors.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, BAD_TEXT, IO, FORMAT, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_check_files(
    adapter: In<c_char>,
    base: In<c_char>,
    options: In<CheckOptions>,
    errors: Out<usize>,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.slot(errors).of("errors")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let (adapter, base) = (path(guard, "adapter", adapter)?, path(guard, "base", base)?);
        let found =
            watched(asked.progress, asked.user, |monitor| check(&adapter, &Model::open(&base)?, monitor))?;
        let mut count = 0;
        for one in &found {
            let severity = match one.severity {
                phlora::Severity::Note => Severity::Note,
                phlora::Severity::Warning => Severity::Warning,
                phlora::Severity::Error => Severity::Error,
            };
            count += usize::from(severity == Severity::Error);
            let Some(tell) = asked.finding else { continue };
            let (code, text) = (c_text(one.code), c_text(&one.message));
            let tensor = one.tensor.as_deref().map(c_text);
            let tensor = tensor.as_ref().map_or(ptr::null(), |tensor| tensor.as_ptr());
            tell(asked.user, severity as u32, code.as_ptr(), tensor, text.as_ptr());
        }
        slot.write(count);
        Ok(String::new())
    })
}
