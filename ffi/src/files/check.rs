//! phlora_check_files.

use super::call::{Failure, Named, ProgressCallback, job, path, watched};
use super::module::c_text;
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Model, check, check_for};

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

/// The program that is to run an adapter.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumer {
    /// llama.cpp where the adapter or the base is a GGUF file, PEFT for its directories, else none: what is wrong anywhere.
    Any = 0,
    /// PEFT.
    Peft = 1,
    /// vLLM.
    Vllm = 2,
    /// llama.cpp.
    LlamaCpp = 3,
    /// SGLang.
    Sglang = 4,
    /// diffusers.
    Diffusers = 5,
    /// Ollama.
    Ollama = 6,
    /// mlx-lm.
    Mlx = 7,
}

/// What makes an adapter without the finding of it.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing that phlora does.
    None = 0,
    /// phlora_convert_files to PEFT's directory.
    Peft = 1,
    /// phlora_convert_files to a GGUF file.
    Gguf = 2,
    /// phlora_convert_files to kohya's file.
    Kohya = 3,
    /// phlora_convert_files to mlx-lm's directory.
    Mlx = 4,
    /// phlora_convert_files with the names of the checkpoint.
    CheckpointNames = 5,
    /// phlora_convert_files with the names in memory.
    MemoryNames = 6,
    /// phlora_prune_files to one rank for all modules, which the finding says.
    OneRank = 7,
}

/// A finding of phlora_check_files.
#[repr(C)]
pub struct Finding {
    /// Size of this struct, which may grow.
    pub struct_size: usize,
    /// Its name, which stays the same over versions.
    pub code: In<c_char>,
    /// The tensor concerned, as the adapter calls it, or NULL.
    pub tensor: In<c_char>,
    /// What was found and what to do.
    pub message: In<c_char>,
    /// The rank of PHLORA_REPAIR_ONE_RANK, else 0.
    pub repair_rank: usize,
    /// A phlora_severity.
    pub severity: u32,
    /// A phlora_repair.
    pub repair: u32,
}

/// Told of each finding, the worst first, on the thread that called phlora_check_files. The finding and what it points to end
/// with the callback. It must not throw or longjmp.
pub type FindingCallback = Option<extern "C" fn(user: *mut c_void, finding: *const Finding)>;

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
    /// The phlora_consumer that is to run it: whether it loads there, whether it does anything, and what repairs it.
    pub consumer: u32,
    /// 0.
    pub reserved: u32,
}

impl SizedStruct for CheckOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        finding: None,
        user: ptr::null_mut(),
        consumer: 0,
        reserved: 0,
    };
}

/// The program that `value` stands for, if one is asked for.
fn consumer(value: u32) -> Result<Option<phlora::Consumer>, Failure> {
    Ok(Some(match value {
        x if x == Consumer::Any as u32 => return Ok(None),
        x if x == Consumer::Peft as u32 => phlora::Consumer::Peft,
        x if x == Consumer::Vllm as u32 => phlora::Consumer::Vllm,
        x if x == Consumer::LlamaCpp as u32 => phlora::Consumer::LlamaCpp,
        x if x == Consumer::Sglang as u32 => phlora::Consumer::Sglang,
        x if x == Consumer::Diffusers as u32 => phlora::Consumer::Diffusers,
        x if x == Consumer::Ollama as u32 => phlora::Consumer::Ollama,
        x if x == Consumer::Mlx as u32 => phlora::Consumer::Mlx,
        _ => return Err(Status::UnknownValue).of("consumer"),
    }))
}

/// The number of a repair, and its rank.
fn repair(of: Option<phlora::Repair>) -> (Repair, usize) {
    let repair = match of {
        Some(phlora::Repair::Peft) => Repair::Peft,
        Some(phlora::Repair::Gguf) => Repair::Gguf,
        Some(phlora::Repair::Kohya) => Repair::Kohya,
        Some(phlora::Repair::Mlx) => Repair::Mlx,
        Some(phlora::Repair::CheckpointNames) => Repair::CheckpointNames,
        Some(phlora::Repair::MemoryNames) => Repair::MemoryNames,
        Some(phlora::Repair::OneRank(rank)) => return (Repair::OneRank, rank),
        _ => Repair::None,
    };
    (repair, 0)
}

/// Finds what makes a program refuse, crash on or ignore an adapter: `phlora check ADAPTER --base BASE`. Allocates.
///
/// - `adapter`: a PEFT directory, or a file of GGUF, kohya, ComfyUI or phlora's own; a broken one gives findings, not an
///   error.
/// - `base`: the model that it is for.
/// - `options`: see phlora_check_options; NULL: all defaults.
/// - `errors`: receives the number of findings that are errors.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, IO, FORMAT, CANCELLED,
/// INTERNAL.
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
        let consumer = consumer(asked.consumer)?;
        let found = watched(asked.progress, asked.user, |monitor| {
            let base = Model::open(&base)?;
            match consumer {
                Some(consumer) => check_for(&adapter, &base, consumer, monitor),
                None => check(&adapter, &base, monitor),
            }
        })?;
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
            let (repair, repair_rank) = repair(one.repair);
            let finding = Finding {
                struct_size: size_of::<Finding>(),
                code: In::of_text(&code),
                tensor: tensor.as_ref().map_or(In::NULL, |tensor| In::of_text(tensor)),
                message: In::of_text(&text),
                repair_rank,
                severity: severity as u32,
                repair: repair as u32,
            };
            tell(asked.user, &raw const finding);
        }
        slot.write(count);
        Ok(String::new())
    })
}
