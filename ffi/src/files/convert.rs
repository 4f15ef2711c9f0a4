//! phlora_convert_files and phlora_convert_to_gguf.

use super::call::{Failure, Named, ProgressCallback, job, path, path_or_none, text_or_none, watched};
use super::values::{factors, format, names};
use crate::guard::{Guard, In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Adapter, AdapterFormat, Heads, convert, convert_to_gguf};

/// Options of phlora_convert_files and phlora_convert_to_gguf: zeros but for struct_size, then what differs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertOptions {
    /// sizeof(phlora_convert_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// What it gets.
    pub user: *mut c_void,
    /// The base model, a GGUF file or a directory with config.json; NULL: none. What the adapter names as its base is never
    /// opened.
    pub base: In<c_char>,
    /// What a kohya or ComfyUI file has before the modules' paths, where names and configuration of the base do not tell.
    pub prefix: In<c_char>,
    /// Architecture of the base (llama, qwen2, …), where no base says it.
    pub architecture: In<c_char>,
    /// Attention heads of the base, where no base says them.
    pub heads: usize,
    /// Key and value heads of the base, where they are fewer.
    pub kv_heads: usize,
    /// The phlora_adapter_format to write.
    pub format: u32,
    /// The phlora_names of the modules of a PEFT adapter.
    pub names: u32,
    /// The phlora_dtype of the factors. Default: as they are.
    pub dtype: u32,
    /// 1: replace an adapter that is there already.
    pub force: u32,
}

/// What phlora_convert_files wrote.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Converted {
    /// Size of what was written.
    pub struct_size: usize,
    /// Largest rank of a module.
    pub rank: usize,
    /// Modules with factors.
    pub modules: u64,
    /// Factors in f16 since their rows do not go into whole blocks of the format that was asked for.
    pub not_in_blocks: u64,
    /// Modules into whose lora_b a scale was multiplied.
    pub folded: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl SizedStruct for ConvertOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        user: ptr::null_mut(),
        base: In::NULL,
        prefix: In::NULL,
        architecture: In::NULL,
        heads: 0,
        kv_heads: 0,
        format: 0,
        names: 0,
        dtype: 0,
        force: 0,
    };
}

impl SizedStruct for Converted {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), rank: 0, modules: 0, not_in_blocks: 0, folded: 0, bytes: 0 };
}

impl ConvertOptions {
    /// What both calls ask for.
    fn checked(
        &self,
        guard: &mut Guard<'_>,
        format: AdapterFormat,
    ) -> Result<phlora::ConvertOptions, Failure> {
        if self.kv_heads > 0 && self.heads == 0 {
            return Err(Failure::option("kv_heads", "heads is missing"));
        }
        let keys = if self.kv_heads > 0 { self.kv_heads } else { self.heads };
        let mut checked = phlora::ConvertOptions::new(format);
        checked.dtype = factors(self.dtype, format)?;
        checked.base = path_or_none(guard, "base", self.base)?;
        checked.prefix = text_or_none(guard, "prefix", self.prefix)?.map(str::to_owned);
        checked.architecture = text_or_none(guard, "architecture", self.architecture)?.map(str::to_owned);
        checked.heads = (self.heads > 0).then_some(Heads { queries: self.heads, keys });
        checked.names = names(self.names)?;
        checked.force = self.force != 0;
        Ok(checked)
    }
}

/// Writes an adapter in another format: `phlora convert ADAPTER -o OUTPUT --base BASE`. Allocates.
///
/// - `adapter`: a PEFT directory, or a file of GGUF, kohya, ComfyUI or phlora's own; kohya's and ComfyUI's names need the base
///   with its weights.
/// - `output`: what to create.
/// - `options`: see phlora_convert_options; NULL: all defaults.
/// - `converted`, `converted_size`: written on success; sizeof(phlora_converted).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION, IO, FORMAT,
/// MISMATCH, EXISTS, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_convert_files(
    adapter: In<c_char>,
    output: In<c_char>,
    options: In<ConvertOptions>,
    converted: Out<Converted>,
    converted_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(converted, converted_size).of("converted")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let (adapter, output) = (path(guard, "adapter", adapter)?, path(guard, "output", output)?);
        let checked = asked.checked(guard, format(asked.format, &output)?)?;
        let done = watched(asked.progress, asked.user, |monitor| {
            convert(&Adapter::open(&adapter)?, &output, &checked, monitor)
        })?;
        slot.write(Converted {
            struct_size: converted_size.min(size_of::<Converted>()),
            rank: done.rank,
            modules: done.modules as u64,
            not_in_blocks: done.not_in_blocks as u64,
            folded: done.folded as u64,
            bytes: done.bytes,
        });
        Ok(String::new())
    })
}

/// As phlora_convert_files, but gives a GGUF adapter in memory, from where llama.cpp can load it through a `FILE *`.
/// Allocates.
///
/// - `adapter`, `options`: as for phlora_convert_files; its format is GGUF or not said.
/// - `gguf`, `gguf_bytes`: receives the adapter, exactly as long as it is; NULL and 0: only its length is asked for.
/// - `length`: receives that length.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, OUTPUT_LENGTH, BAD_TEXT,
/// BAD_OPTION, IO, FORMAT, MISMATCH, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_convert_to_gguf(
    adapter: In<c_char>,
    options: In<ConvertOptions>,
    gguf: Out<c_void>,
    gguf_bytes: usize,
    length: Out<usize>,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let to = guard.output_bytes(gguf, gguf_bytes).of("gguf")?;
        let slot = guard.slot(length).of("length")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let adapter = path(guard, "adapter", adapter)?;
        let format = if asked.format == 0 { AdapterFormat::Gguf } else { format(asked.format, &adapter)? };
        if format != AdapterFormat::Gguf {
            return Err(Failure::option("format", "it is GGUF here"));
        }
        let checked = asked.checked(guard, format)?;
        let mut written = Vec::new();
        watched(asked.progress, asked.user, |monitor| {
            convert_to_gguf(&Adapter::open(&adapter)?, &checked, &mut written, monitor)
        })?;
        if !to.is_empty() {
            if to.len() != written.len() {
                let (found, expected) = (to.len(), written.len());
                let text = format!("gguf: {found} bytes, expected {expected}");
                return Err(Failure { status: Status::OutputLength, text });
            }
            to.copy_from_slice(&written);
        }
        slot.write(written.len());
        Ok(String::new())
    })
}
