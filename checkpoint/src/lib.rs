//! LoRA extraction from whole checkpoints: everything of phlora that needs an operating system.
//!
//! [`ExtractJob`] maps the files of two models, safetensors or GGUF, streams their difference through `phlora-core` over
//! threads and writes an adapter, which appears in one step. [`extract`] and [`save`] do the same with open models and an
//! adapter in memory. [`verify`] reads an adapter back and measures what it really keeps; [`inspect`] says what a file
//! holds.
//!
//! ```no_run
//! use phlora_checkpoint::{ExtractJob, Monitor, Output};
//!
//! let job = ExtractJob::new("base", "tuned");
//! for saved in job.run(&Output::new("adapter"), &Monitor::default())? {
//!     println!("{:.1} % of the difference is kept", 100.0 * saved.report.total.energy);
//! }
//! # Ok::<(), phlora_checkpoint::Error>(())
//! ```
#![deny(unsafe_code)]

mod adapter;
mod error;
mod jobs;
mod naming;
mod pairing;
mod report;
mod run;
mod source;

pub use adapter::{
    Adapter, AdapterFormat, Effect, Factor, FullTensor, Lora, LoraModule, Naming, Target, gguf_len,
    write_gguf,
};
pub use error::{Error, Reason, Result};
pub use jobs::check::{Finding, Severity, check};
pub use jobs::convert::{ConvertOptions, Converted, convert, convert_to_gguf};
pub use jobs::extract::{
    Also, ChannelScales, ExtractJob, ExtractOptions, Extraction, Filter, Input, Layers, Output, Saved,
    Server, Tokens, extract, save,
};
pub use jobs::inspect::{AdapterFacts, Contents, Count, ModelFacts, inspect};
pub use jobs::merge::{MergeOptions, Merged, merge};
pub use jobs::prune::{PruneOptions, Pruned, PrunedModule, prune};
pub use jobs::verify::{Verification, VerifiedModule, VerifiedTensor, verify};
pub use naming::arch::{Mapped, NameMap};
pub use naming::kind::{Kind, kind_of, module_of, suffix_of};
pub use naming::spelling::Spelling;
pub use pairing::aligned::Names;
pub use phlora_core::{Dtype, Goal, Mode, Policy};
pub use report::{
    Choice, CurvePoint, FullReport, LeftOut, ModuleReport, Note, PolicyReport, REPORT_VERSION, Report, Total,
    choose, read_report, save_page, save_report,
};
pub use run::monitor::Monitor;
pub use run::pool::available_threads;
pub use source::attention::Heads;
pub use source::config::Config;
pub use source::model::{Container, Model};
pub use source::permutation::RowPermutation;
pub use source::quantized::Method as Quantization;
pub use source::tensor::{Expert, Tensor};
