//! Options of an extraction.

use crate::guard::{Out, guarded};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::mem::size_of;
use phlora_core::Kernel;

/// How the factors are found.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Exact for small matrices; else stream-once where max_reads is too small for multi-read, else multi-read. Where
    /// the memory does not suffice: exact, or multi-read in the place of exact.
    Auto = 0,
    /// One-sided Jacobi over the whole difference: one read, memory for the whole matrix in f32.
    Exact = 1,
    /// Block Lanczos: several reads, memory for the Krylov basis.
    MultiRead = 2,
    /// Merge-and-truncate: each row is seen once, or twice where max_reads allows two.
    StreamOnce = 3,
}

/// Which inner loops run.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fastest that the processor has.
    Fastest = 0,
    /// Those without instructions of a certain processor: the same bits everywhere, several times slower.
    Portable = 1,
}

/// Options of an extraction. Let phlora_options_init fill it, then change what differs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// sizeof(phlora_options), set by phlora_options_init.
    pub struct_size: usize,
    /// Rank of the factors, at least 1; capped to min(rows, cols). Default 32.
    pub rank: usize,
    /// Most memory of the extraction in bytes; less memory means less depth, so less energy. 0, the default:
    /// no limit.
    pub max_memory: usize,
    /// Row ranges of a pass, for phlora_split. The factors depend on it in their last bits, so derive it from the
    /// shape, never from the number of threads. 1 to PHLORA_MAX_PARTS, default 1.
    pub parts: usize,
    /// Multi-read: stop when another read is expected to add less than this share of the energy kept so far.
    /// Smaller reads more often. Default: that of the `phlora` command.
    pub tolerance: f64,
    /// A phlora_mode. Default PHLORA_MODE_AUTO.
    pub mode: u32,
    /// Most reads of the matrix, at least 1. Default 40.
    pub max_reads: u32,
    /// Multi-read: columns that a read multiplies, 8 or 16; 0, the default, chooses by the rank. Small builds know 8 only.
    pub width: u32,
    /// A phlora_kernel. Default PHLORA_KERNEL_FASTEST.
    pub kernel: u32,
}

impl SizedStruct for Options {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        max_memory: 0,
        parts: 1,
        tolerance: 0.0,
        mode: Mode::Auto as u32,
        max_reads: 0,
        width: 0,
        kernel: KernelChoice::Fastest as u32,
    };
}

/// The mode that `value` stands for.
pub fn mode(value: u32) -> Result<phlora_core::Mode, Status> {
    Ok(match value {
        x if x == Mode::Auto as u32 => phlora_core::Mode::Auto,
        x if x == Mode::Exact as u32 => phlora_core::Mode::Exact,
        x if x == Mode::MultiRead as u32 => phlora_core::Mode::MultiRead,
        x if x == Mode::StreamOnce as u32 => phlora_core::Mode::StreamOnce,
        _ => return Err(Status::UnknownValue),
    })
}

impl Options {
    /// The core's options; `head` bytes of the memory are not scratch.
    pub fn core(&self, head: usize) -> Result<phlora_core::Options, Status> {
        Ok(phlora_core::Options {
            rank: self.rank,
            goal: phlora_core::Goal::Fixed,
            mode: mode(self.mode)?,
            tolerance: self.tolerance,
            max_reads: self.max_reads,
            max_scratch: match self.max_memory {
                0 => usize::MAX,
                bytes => bytes.saturating_sub(head) / 4,
            },
            width: self.width as usize,
            parts: self.parts,
        })
    }

    /// The kernel asked for.
    pub fn kernel(&self) -> Result<Kernel, Status> {
        match self.kernel {
            x if x == KernelChoice::Fastest as u32 => Ok(Kernel::detect()),
            x if x == KernelChoice::Portable as u32 => Ok(Kernel::PORTABLE),
            _ => Err(Status::UnknownValue),
        }
    }
}

/// Fills `options` with the defaults.
///
/// - `options_size`: sizeof(phlora_options); tells this library the version of the caller's header.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, STRUCT_SIZE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_options_init(options: Out<Options>, options_size: usize) -> Status {
    guarded(|guard| {
        let core = phlora_core::Options::default();
        guard.sized_slot(options, options_size)?.write(Options {
            struct_size: options_size,
            rank: core.rank,
            tolerance: core.tolerance,
            max_reads: core.max_reads,
            ..Options::DEFAULT
        });
        Ok(())
    })
}
