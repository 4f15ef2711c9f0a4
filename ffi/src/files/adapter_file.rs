//! Adapter files opened to be used: views of their factors.

use super::call::{Failure, Named, job, path, path_or_none};
use crate::adapter::Adapter;
use crate::dtype::number;
use crate::guard::{In, Out, StatePointer, guarded, head_bytes};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use phlora::{OpenOptions, Opened, OpenedModule};
use std::ffi::CString;

/// An adapter's file that is open, in the caller's memory.
#[derive(Debug)]
pub struct AdapterFile(Option<(Opened, Vec<CString>)>);

/// One module of an adapter's file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AdapterModule {
    /// Size of what was written.
    pub struct_size: usize,
    /// Its factors, where they lie until phlora_adapter_file_close.
    pub factors: Adapter,
    /// Name of the tensor that they change; ends with phlora_adapter_file_close.
    pub weight: In<c_char>,
    /// Which expert of that tensor it is, from 0.
    pub expert: usize,
    /// Experts in that tensor; 0 where it is a matrix.
    pub experts: usize,
    /// 1 where the weight is a lookup table, rows × cols = vocabulary × dim, which phlora_forward is not meant for.
    pub embedding: u32,
    /// 0.
    pub reserved: u32,
}

impl SizedStruct for AdapterModule {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        factors: Adapter::DEFAULT,
        weight: In::NULL,
        expert: 0,
        experts: 0,
        embedding: 0,
        reserved: 0,
    };
}

/// Bytes of memory for an open adapter file. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_adapter_file_bytes() -> usize {
    head_bytes::<AdapterFile>()
}

/// Opens an adapter of any format, to use its factors. Those of a GGUF file stay mapped; others are converted into
/// memory. Every entry is checked to be a number, so phlora_adapter_check is not needed. Allocates.
///
/// A mapped file must not change while it is open: where it is cut short, the operating system ends a program that
/// reads what is missing (SIGBUS). Ask for reading where that can happen.
///
/// - `adapter`: a GGUF file, a PEFT directory, or a single safetensors or `.phlora` file.
/// - `base`: the model, a GGUF file or a directory with config.json: names and orders of rows become those of its GGUF
///   file, against whose tensors the shapes are checked. NULL: names and rows as in the adapter.
/// - `read`: 1: read a GGUF file into memory instead of mapping it.
/// - `memory`, `memory_bytes`: at least phlora_adapter_file_bytes(), aligned to PHLORA_ALIGNMENT.
/// - `file`: set to the open file; close it with phlora_adapter_file_close.
/// - `modules`: set to the number of its modules, each expert of a stack counted.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, MEMORY_TOO_SMALL, BAD_TEXT, BAD_OPTION, IO, FORMAT,
/// MISMATCH, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_adapter_file_open(
    adapter: In<c_char>,
    base: In<c_char>,
    read: u32,
    memory: Out<c_void>,
    memory_bytes: usize,
    file: Out<StatePointer<AdapterFile>>,
    modules: Out<usize>,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let (slot, count) = (guard.slot(file).of("file")?, guard.slot(modules).of("modules")?);
        let adapter = path(guard, "adapter", adapter)?;
        let mut options = OpenOptions::default();
        options.base = path_or_none(guard, "base", base)?;
        options.read = read != 0;
        let (mut len, mut refused) = (0, None);
        let placed = guard.place(memory, memory_bytes, 0, |_| {
            let opened = Opened::open(&adapter, &options).map_err(|error| {
                let failure = Failure::from(error);
                let status = failure.status;
                refused = Some(failure);
                status
            })?;
            // A name with a zero byte is no name of a tensor that C could ask for.
            let names = opened.modules().iter().map(|module| CString::new(module.weight.as_str()));
            let names = names.collect::<Result<Vec<_>, _>>().map_err(|_| Status::Format)?;
            len = names.len();
            Ok(AdapterFile(Some((opened, names))))
        });
        if let Some(refused) = refused {
            return Err(refused);
        }
        slot.write(placed.of("memory")?);
        count.write(len);
        Ok(String::new())
    })
}

/// A module of an open adapter file.
///
/// - `index`: below the number that phlora_adapter_file_open has given; modules are sorted by name.
/// - `module`, `module_size`: written on success; sizeof(phlora_adapter_module).
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, NOT_STARTED, OUT_OF_ORDER (it is closed),
/// UNKNOWN_ADAPTER (no such module).
#[unsafe(no_mangle)]
pub extern "C" fn phlora_adapter_file_module(
    file: In<AdapterFile>,
    index: usize,
    module: Out<AdapterModule>,
    module_size: usize,
) -> Status {
    guarded(|guard| {
        let (opened, names) = guard.look(file)?.0.as_ref().ok_or(Status::OutOfOrder)?;
        let slot = guard.sized_slot(module, module_size)?;
        let (of, name) = opened.modules().get(index).zip(names.get(index)).ok_or(Status::UnknownAdapter)?;
        slot.write(AdapterModule {
            struct_size: module_size.min(size_of::<AdapterModule>()),
            factors: view(opened, of),
            weight: In::of_text(name),
            expert: of.expert.map_or(0, |expert| expert.index),
            experts: of.expert.map_or(0, |expert| expert.count),
            embedding: of.embedding.into(),
            reserved: 0,
        });
        Ok(())
    })
}

fn view(opened: &Opened, module: &OpenedModule) -> Adapter {
    let [a, b] = opened.factors(module);
    Adapter {
        rows: module.shape[0],
        cols: module.shape[1],
        rank: module.rank,
        a: In::of_bytes(a),
        a_bytes: a.len(),
        b: In::of_bytes(b),
        b_bytes: b.len(),
        a_dtype: number(module.dtypes[0]),
        b_dtype: number(module.dtypes[1]),
        scale: module.scale,
        ..Adapter::DEFAULT
    }
}

/// Closes an adapter file: its factors and names are gone, its memory is yours again.
///
/// One thread at a time. Returns OK, NULL_POINTER, MISALIGNED, NOT_STARTED, OUT_OF_ORDER (closed before).
#[unsafe(no_mangle)]
pub extern "C" fn phlora_adapter_file_close(file: Out<AdapterFile>) -> Status {
    guarded(|guard| {
        drop(guard.resume(file)?.0.take().ok_or(Status::OutOfOrder)?);
        Ok(())
    })
}
