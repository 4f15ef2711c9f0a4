//! LoRA extraction from whole checkpoints: everything of phlora that needs an operating system.
//!
//! [`Model::open`] maps a model's safetensors or GGUF files, [`extract`] streams the difference of two models through
//! `phlora-core` over threads, and [`save`] writes the PEFT adapter directory in one step. [`verify`] reads
//! such a directory back and measures what it really keeps; [`inspect`] says what a file holds.
//!
//! ```no_run
//! use phlora_checkpoint::{ExtractOptions, Model, Monitor, Output, extract, save};
//! use std::path::Path;
//!
//! let (base, tuned) = (Model::open(Path::new("base"))?, Model::open(Path::new("tuned"))?);
//! let monitor = Monitor::default();
//! let extraction = extract(&base, &tuned, &ExtractOptions::default(), &monitor)?;
//! let output = Output { path: "adapter".into(), report: None, force: false };
//! let report = save(&extraction, &output, &monitor)?;
//! println!("{:.1} % of the difference is kept", 100.0 * report.total.energy);
//! # Ok::<(), phlora_checkpoint::Error>(())
//! ```
#![deny(unsafe_code)]

mod aligned;
mod arch;
mod budget;
mod channels;
mod check;
mod config;
mod convert;
mod curve;
mod doubts;
mod error;
mod extract;
mod full;
mod gguf;
mod header;
mod heads;
mod hub;
mod includes;
mod inspect;
mod locate;
mod lora;
mod mapped;
mod measure;
mod memory;
mod merge;
mod model;
mod monitor;
mod names;
mod not_weights;
mod options;
mod outcome;
mod output;
mod pairing;
mod pairs;
mod pass;
mod plans;
mod pool;
mod prune;
mod quantized;
mod read_ahead;
mod renaming;
mod report;
mod residual;
mod serving;
mod similar;
mod staging;
mod stored;
mod survey;
mod tensor;
mod tokenizer;
mod verify;

pub use aligned::Names;
pub use arch::{Heads, Mapped, NameMap, RowPermutation};
pub use channels::ChannelScales;
pub use check::{Finding, Severity, check};
pub use config::Config;
pub use convert::{ConvertOptions, Converted, convert, convert_to_gguf};
pub use curve::{Choice, choose};
pub use error::{Error, Result};
pub use extract::{Extraction, extract, extract_deployed, extract_ranks, survey};
pub use full::{Also, Tokens};
pub use inspect::{AdapterFacts, Contents, Count, ModelFacts, inspect};
pub use lora::{
    Adapter, AdapterFormat, Effect, Factor, FullTensor, Lora, LoraModule, Naming, Spelling, Target, gguf_len,
    write_gguf,
};
pub use merge::{MergeOptions, Merged, merge};
pub use model::{Container, Model};
pub use monitor::Monitor;
pub use names::{Kind, kind_of, module_of, suffix_of};
pub use options::{ExtractOptions, Filter, available_threads};
pub use output::{Output, save, save_page, save_report};
pub use phlora_core::{Criterion, Dtype, Goal, Mode, Policy};
pub use prune::{PruneOptions, Pruned, PrunedModule, prune};
pub use quantized::Method as Quantization;
pub use report::{
    CurvePoint, FullReport, LeftOut, ModuleReport, PolicyReport, REPORT_VERSION, Report, Total, read_report,
};
pub use serving::Server;
pub use tensor::{Expert, Tensor};
pub use verify::{Verification, VerifiedModule, VerifiedTensor, verify};
