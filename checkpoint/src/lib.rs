//! LoRA extraction from whole checkpoints: everything of phlora that needs an operating system.
//!
//! [`ExtractJob`] maps the files of two models, safetensors or GGUF, streams their difference through `phlora-core` over
//! threads, and writes the adapter, which appears in one step:
//!
//! ```no_run
//! use phlora::{ExtractJob, Monitor, Output};
//!
//! let job = ExtractJob::new("base", "tuned");
//! for saved in job.run(&Output::new("adapter"), &Monitor::default())? {
//!     println!("{:.1} % of the difference is kept", 100.0 * saved.report.total.energy);
//! }
//! # Ok::<(), phlora::Error>(())
//! ```
//!
//! # The jobs
//! | | |
//! |---|---|
//! | [`ExtractJob::run`] | an adapter from two models ([`ExtractOptions`], [`Policy`], [`Server`]), for several ranks, or in shards ([`PartFiles`]) |
//! | [`extract()`], [`save`] | the same from open models, and in memory |
//! | [`ExtractJob::plan`], [`choose`] | spectra, and what each policy would choose, without an adapter |
//! | [`verify()`] | measures what a written adapter keeps |
//! | [`ExtractJob::diff`], [`diff_adapters`] | how two models, or two adapters, differ |
//! | [`check()`], [`check_for`] | finds what llama.cpp, PEFT, vLLM and others refuse, crash on or ignore |
//! | [`convert()`], [`convert_to_gguf`] | another file format or dtype |
//! | [`prune()`] | smaller ranks |
//! | [`merge()`] | adapters merged into a model's files |
//! | [`inspect()`] | contents of a file |
//!
//! [`Monitor`] carries progress and cancelling, [`Report`] the figures of an extraction, [`Adapter`] an adapter of any
//! format. Errors name the file and the tensor ([`Error`]).
#![deny(unsafe_code)]

mod adapter;
mod error;
mod jobs;
mod naming;
mod page;
mod pairing;
mod report;
mod run;
mod source;
pub mod units;

pub use adapter::{
    Adapter, AdapterFormat, Effect, Factor, FullTensor, Lora, LoraModule, Naming, Target, gguf_len,
    write_gguf,
};
pub use error::{Error, Reason, Result};
pub use jobs::check::{Consumer, Finding, Repair, Severity, check, check_for};
pub use jobs::convert::{ConvertOptions, Converted, convert, convert_to_gguf};
pub use jobs::diff::{AdapterDiff, DiffOptions, DiffSummary, ModuleDiff, OneSided, diff_adapters};
pub use jobs::extract::{
    Also, ChannelScales, ExtractJob, ExtractOptions, Extraction, Filter, Input, Layers, Outline,
    OutlinedModule, Output, PartFiles, PartHeader, Saved, Server, Shard, Tokens, Work, extract, save,
};
pub use jobs::inspect::{AdapterFacts, AdapterModule, Contents, Count, ModelFacts, TensorFacts, inspect};
pub use jobs::merge::{MergeOptions, Merged, merge};
pub use jobs::open::{OpenOptions, Opened, OpenedModule};
pub use jobs::prune::{PruneOptions, Pruned, PrunedModule, Rule, prune};
pub use jobs::verify::{Verification, VerifiedModule, VerifiedTensor, verify};
pub use naming::arch::{Mapped, NameMap};
pub use naming::kind::{Kind, kind_of, module_of, suffix_of};
pub use naming::spelling::Spelling;
pub use page::{render_adapter_diff, render_page};
pub use pairing::aligned::Names;
pub use phlora_core::{Criterion, Dtype, Goal, Mode, Policy};
pub use report::{
    Choice, CurvePoint, DiffReport, FullReport, KindDiff, LeftOut, ModuleReport, Note, Origin, PlanReport,
    PlanRow, PolicyReport, REPORT_VERSION, Report, TensorDiff, Total, check_modelfile, choose, read_report,
    save_adapter_diff, save_modelfile, save_page, save_report,
};
pub use run::monitor::{Monitor, State};
pub use run::pool::available_threads;
pub use source::attention::Heads;
pub use source::config::Config;
pub use source::mapped::read_files;
pub use source::model::{Container, Model};
pub use source::permutation::RowPermutation;
pub use source::place::is_address;
pub use source::quantized::Method as Quantization;
pub use source::remote::{RemoteOptions, read_remote};
pub use source::tensor::{Expert, Tensor};
