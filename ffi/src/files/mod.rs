//! The file functions: whole checkpoints in, adapters out. What the `phlora` command does, through the same
//! calls, so to the same bits.
//!
//! One form for all: inputs, the output, options (NULL or zeros: defaults), the result with its size, the message.

mod adapter_file;
mod call;
mod check;
mod choice;
mod convert;
mod diff;
mod difference;
mod extract;
mod file_options;
mod filter;
mod inspect;
mod merge;
mod module;
mod page;
mod plan;
mod prune;
mod ranks;
mod report;
mod several;
mod values;
mod verify;
mod work;

pub use adapter_file::AdapterModule;
pub use check::CheckOptions;
pub use choice::{Choice, ChoiceOptions};
pub use convert::{ConvertOptions, Converted};
pub use diff::{Diff, DiffOptions};
pub use file_options::FileOptions;
pub use inspect::Contents;
pub use merge::{MergeOptions, Merged};
pub use plan::PlanOptions;
pub use prune::{PruneOptions, Pruned};
pub use report::FileReport;
pub use verify::{Verification, VerifyOptions};

/// How the file functions get at the bytes of models and adapters.
///
/// By default files are mapped: nothing is read before it is used, and a model takes no memory of its own. A mapped file must not
/// change until the call returns: where another process shortens it, or the server of a network file system goes away, the
/// system ends the process that reads (SIGBUS). A host that cannot promise that reads files in the place of mapping them:
/// a file that gets shorter is then a status, and each file takes its size in memory while a call uses it.
///
/// - `read`: 1: read files that are opened from now on; 0: map them.
///
/// Any thread; it holds for the whole process.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_read_files(read: u32) {
    phlora::read_files(read != 0);
}
