//! phlora_convert_files and phlora_convert_to_gguf.

use super::adapter_format::format;
use super::{failure, os_path, path, told};
use crate::dtype::dtype;
use crate::guard::{Guard, In, Out, guarded};
use crate::status::Status;
use core::ffi::{c_char, c_void};
use phlora::{Adapter, AdapterFormat, ConvertOptions, Monitor, convert, convert_to_gguf};

/// What both calls ask for.
fn options(
    guard: &mut Guard<'_>,
    base: In<c_char>,
    factors: u32,
    format: AdapterFormat,
    force: bool,
) -> Result<ConvertOptions, Status> {
    let mut options = ConvertOptions::new(format);
    options.dtype = if factors == 0 { None } else { Some(dtype(factors)?) };
    options.base = guard.text(base)?.map(os_path).transpose()?;
    options.force = force;
    Ok(options)
}

/// Writes an adapter in another format: `phlora convert ADAPTER -o OUTPUT --base BASE`. Allocates.
///
/// - `adapter`: a PEFT directory, or a file of GGUF, kohya, ComfyUI or phlora's own, whose names need `base` with its weights.
/// - `output`: what to create.
/// - `base`: the base model, a GGUF file or a directory with config.json; NULL: none. What the adapter names as its base
///   is never opened.
/// - `factors_dtype`: the phlora_dtype to write, 0: as they are.
/// - `output_format`: a phlora_adapter_format.
/// - `force`: 1: replace an adapter that is there already.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, OVERLAP, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION, IO, FORMAT, MISMATCH, EXISTS,
/// INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_convert_files(
    adapter: In<c_char>,
    output: In<c_char>,
    base: In<c_char>,
    factors_dtype: u32,
    output_format: u32,
    force: u32,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    guarded(|guard| {
        let (adapter, output) = (path(guard, adapter)?, path(guard, output)?);
        let options = options(guard, base, factors_dtype, format(output_format, &output)?, force != 0)?;
        let message = guard.message(message, message_len)?;
        let done = Adapter::open(&adapter)
            .and_then(|adapter| convert(&adapter, &output, &options, &Monitor::default()));
        told(done.map_err(|error| failure(&error)), message).map(drop)
    })
}

/// As phlora_convert_files, but gives a GGUF adapter in memory, from where llama.cpp can load it through a `FILE *`.
/// Allocates.
///
/// - `gguf`, `gguf_bytes`: receives the adapter, exactly as long as it is; NULL and 0: only its length is asked for.
/// - `length`: receives that length.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, UNKNOWN_VALUE, OUTPUT_LENGTH, BAD_TEXT, BAD_OPTION, IO,
/// FORMAT, MISMATCH, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_convert_to_gguf(
    adapter: In<c_char>,
    base: In<c_char>,
    factors_dtype: u32,
    gguf: Out<c_void>,
    gguf_bytes: usize,
    length: Out<usize>,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    guarded(|guard| {
        let adapter = path(guard, adapter)?;
        let options = options(guard, base, factors_dtype, AdapterFormat::Gguf, false)?;
        let to = guard.output_bytes(gguf, gguf_bytes)?;
        let slot = guard.slot(length)?;
        let message = guard.message(message, message_len)?;
        let mut written = Vec::new();
        let done =
            Adapter::open(&adapter).and_then(|adapter| convert_to_gguf(&adapter, &options, &mut written));
        told(done.map_err(|error| failure(&error)), message)?;
        if !to.is_empty() {
            if to.len() != written.len() {
                return Err(Status::OutputLength);
            }
            to.copy_from_slice(&written);
        }
        slot.write(written.len());
        Ok(())
    })
}
