//! phlora_inspect_file.

use super::call::{Named, job, path};
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_char;
use core::mem::size_of;
use phlora::inspect;

/// Kind of a file or directory.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentsKind {
    /// A model's weights.
    Model = 1,
    /// A LoRA adapter.
    Adapter = 2,
    /// A report of an extraction.
    Report = 3,
}

/// What a file or directory holds; what does not apply to its kind is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    /// Size of what was written.
    pub struct_size: usize,
    /// Rank of an adapter, or of the one that a report is about.
    pub rank: usize,
    /// Tensors of a model or an adapter.
    pub tensors: u64,
    /// Their weights.
    pub parameters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Modules of an adapter or a report.
    pub modules: u64,
    /// lora_alpha of an adapter.
    pub alpha: f64,
    /// Kept energy of a report.
    pub energy: f64,
    /// A phlora_contents_kind.
    pub kind: u32,
    /// Files of a model.
    pub files: u32,
}

impl SizedStruct for Contents {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        tensors: 0,
        parameters: 0,
        bytes: 0,
        modules: 0,
        alpha: 0.0,
        energy: 0.0,
        kind: 0,
        files: 0,
    };
}

/// Says what a file or directory holds, from headers alone: `phlora inspect PATH`. Allocates.
///
/// - `path`: a model, an adapter or a report.
/// - `contents`, `contents_size`: written on success; sizeof(phlora_contents).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, BAD_TEXT, IO, FORMAT, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_inspect_file(
    path: In<c_char>,
    contents: Out<Contents>,
    contents_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(contents, contents_size).of("contents")?;
        let path = self::path(guard, "path", path)?;
        let mut facts = facts(&inspect(&path)?);
        facts.struct_size = contents_size.min(size_of::<Contents>());
        slot.write(facts);
        Ok(String::new())
    })
}

fn facts(found: &phlora::Contents) -> Contents {
    match found {
        phlora::Contents::Model(model) => Contents {
            kind: ContentsKind::Model as u32,
            files: u32::try_from(model.files.len()).unwrap_or(u32::MAX),
            tensors: model.total.tensors as u64,
            parameters: model.total.parameters,
            bytes: model.total.bytes,
            ..Contents::DEFAULT
        },
        phlora::Contents::Adapter(adapter) => Contents {
            kind: ContentsKind::Adapter as u32,
            rank: adapter.rank,
            tensors: adapter.total.tensors as u64,
            parameters: adapter.total.parameters,
            bytes: adapter.total.bytes,
            modules: adapter.modules as u64,
            alpha: adapter.alpha,
            ..Contents::DEFAULT
        },
        phlora::Contents::Report(report) => Contents {
            kind: ContentsKind::Report as u32,
            rank: report.modules.iter().map(|module| module.rank).max().unwrap_or(0),
            modules: report.modules.len() as u64,
            energy: report.total.energy,
            ..Contents::DEFAULT
        },
    }
}
