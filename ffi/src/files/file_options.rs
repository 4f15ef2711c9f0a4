//! Options of phlora_extract_files.

use super::call::ProgressCallback;
use super::module::ModuleCallback;
use crate::guard::{In, Out, guarded};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::ptr;

/// Options of phlora_extract_files. Fill it with zeros and set struct_size, as phlora_file_options_init does; then change
/// what differs. 0 is the default of every field; of those that may be 0 in truth, a negative number stands for 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileOptions {
    /// sizeof(phlora_file_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// Told of each module.
    pub module: ModuleCallback,
    /// What both of them get.
    pub user: *mut c_void,
    /// Threads; default: one per processor. The adapter does not depend on it.
    pub threads: usize,
    /// Most working memory per thread in bytes; default: no limit.
    pub max_memory: usize,
    /// Most memory of all threads and of what is read ahead in bytes, beside the adapter itself; default: no limit.
    pub total_memory: usize,
    /// Bytes of a weight read between two looks at a cancel. The adapter does not depend on it. Default 16 MiB.
    pub chunk_bytes: usize,
    /// Rank of the adapter, where nothing else says how ranks are chosen; narrower modules are capped. Default 32.
    pub rank: usize,
    /// Several ranks: an adapter each, ADAPTER-r8 for rank 8, with one factorisation. NULL: one adapter.
    pub ranks: In<usize>,
    /// Their number; there is a report for each.
    pub ranks_len: usize,
    /// No rank above this, where ranks are chosen. Default: no limit.
    pub max_rank: usize,
    /// Ranks in multiples of this. Default 1.
    pub multiple: usize,
    /// Only modules whose path one of these regular expressions matches. None: all linear layers but the output head.
    pub include: In<In<c_char>>,
    /// Their number.
    pub include_len: usize,
    /// No module whose path one of these regular expressions matches.
    pub exclude: In<In<c_char>>,
    /// Their number.
    pub exclude_len: usize,
    /// Modules whose path one of these regular expressions matches are stored whole, as PEFT's modules_to_save.
    pub save_module: In<In<c_char>>,
    /// Their number.
    pub save_module_len: usize,
    /// What a kohya or ComfyUI file has before the modules' paths. NULL: as the models tell.
    pub prefix: In<c_char>,
    /// The model that the device runs in the place of the base, mostly a quantised one: the adapter then repairs its
    /// quantisation as well. NULL: the base.
    pub deployed_base: In<c_char>,
    /// Weights of the input channels: a safetensors file with a vector per module, by its path. NULL: none.
    pub channel_scale: In<c_char>,
    /// What the adapter calls its base. NULL: by its place in the hub's cache, what its configuration was loaded from, or the
    /// name of its directory.
    pub base_name: In<c_char>,
    /// Where to write a report: in JSON, or as a page where the name ends in `.html`; with several ranks REPORT-r8.json and so
    /// on. NULL: nowhere.
    pub report_path: In<c_char>,
    /// Do shard `shard_index`, from 1, of `shard_count` alone and keep it in `adapter`, a part file to be joined; no adapter and
    /// no report are written. Started again, it goes on where it was. 0 of 0: all of the work.
    pub shard_index: usize,
    /// See above.
    pub shard_count: usize,
    /// Part files that shards have written: to be joined; for a shard those of the others, by which a budget and a rank for all
    /// are chosen.
    pub parts: In<In<c_char>>,
    /// Their number.
    pub parts_len: usize,
    /// Per module the smallest rank that keeps this share of its ‖Δ‖², from 0 to 1.
    pub energy: f64,
    /// As few bytes as keep this share of the ‖Δ‖² of all modules together, in the order of a budget; a module may keep less.
    pub total_energy: f64,
    /// Stop reading a weight when the next read is expected to add less than this share of the energy. The default is that
    /// of the `phlora` command.
    pub tolerance: f64,
    /// Of the rows of a vocabulary that differ only those that changed the most, until they hold this share of the change.
    /// Default 1: all.
    pub token_energy: f64,
    /// Most bytes of the adapter's files; ranks follow from them.
    pub budget: u64,
    /// The phlora_criterion that `budget` and `total_energy` go by.
    pub criterion: u32,
    /// 1: per module the directions that stand out of its noise.
    pub noise_floor: u32,
    /// 1: one rank for all modules, also where they need different ones.
    pub uniform: u32,
    /// A phlora_mode.
    pub mode: u32,
    /// Most reads of a weight. Default 40.
    pub max_reads: u32,
    /// The phlora_dtype of the adapter. Default PHLORA_DTYPE_F16; of a GGUF adapter within a budget whichever is worth the
    /// most.
    pub dtype: u32,
    /// The phlora_adapter_format to write.
    pub format: u32,
    /// The sum of what is stored beside the factors, see phlora_also. Default: nothing.
    pub also: u32,
    /// The phlora_names of the adapter's modules.
    pub names: u32,
    /// The phlora_server that it is for.
    pub server: u32,
    /// 1: replace an adapter and a report that are there already.
    pub force: u32,
    /// 1: put the part files together, all of them: the same options as those of the shards.
    pub join: u32,
    /// 1: keep what is found in ADAPTER.part until all is done, and start from what is there.
    pub resume: u32,
    /// 1: with a shard or `resume`: start again, whatever is there.
    pub fresh: u32,
    /// 1: write nothing; the report says what would be written, by headers alone: modules, the largest rank, the bytes of the
    /// adapter (0: not known) and of the weights to be read.
    pub dry_run: u32,
    /// 0.
    pub reserved: u32,
}

impl SizedStruct for FileOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        module: None,
        user: ptr::null_mut(),
        threads: 0,
        max_memory: 0,
        total_memory: 0,
        chunk_bytes: 0,
        rank: 0,
        ranks: In::NULL,
        ranks_len: 0,
        max_rank: 0,
        multiple: 0,
        include: In::NULL,
        include_len: 0,
        exclude: In::NULL,
        exclude_len: 0,
        save_module: In::NULL,
        save_module_len: 0,
        prefix: In::NULL,
        deployed_base: In::NULL,
        channel_scale: In::NULL,
        base_name: In::NULL,
        report_path: In::NULL,
        shard_index: 0,
        shard_count: 0,
        parts: In::NULL,
        parts_len: 0,
        energy: 0.0,
        total_energy: 0.0,
        tolerance: 0.0,
        token_energy: 0.0,
        budget: 0,
        criterion: 0,
        noise_floor: 0,
        uniform: 0,
        mode: 0,
        max_reads: 0,
        dtype: 0,
        format: 0,
        also: 0,
        names: 0,
        server: 0,
        force: 0,
        join: 0,
        resume: 0,
        fresh: 0,
        dry_run: 0,
        reserved: 0,
    };
}

/// Fills `options` with zeros, which are the defaults, and its size.
///
/// - `options_size`: sizeof(phlora_file_options); tells this library the version of the caller's header.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, STRUCT_SIZE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_file_options_init(options: Out<FileOptions>, options_size: usize) -> Status {
    guarded(|guard| {
        let slot = guard.sized_slot(options, options_size)?;
        slot.write(FileOptions { struct_size: options_size, ..FileOptions::DEFAULT });
        Ok(())
    })
}
