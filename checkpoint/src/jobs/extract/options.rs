//! Options of an extraction from checkpoints.

use crate::adapter::AdapterFormat;
use crate::jobs::extract::also::Also;
use crate::jobs::extract::channels::ChannelScales;
use crate::jobs::extract::part_files::Journals;

use crate::pairing::aligned::Names;
use crate::run::pool::available_threads;
use phlora_core::{Dtype, Mode, Policy};
use regex::Regex;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Options of [`extract`](crate::extract); start from [`ExtractOptions::default`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExtractOptions {
    /// How the ranks are chosen; a module with a narrower side is capped there. Default: rank 32 for all.
    pub policy: Policy,
    /// How the factors are found. Default [`Mode::Auto`].
    pub mode: Mode,
    /// Storage format of the factors. Default f16: closer than bf16 at the sizes that factors have. Q8_0, Q5_1,
    /// Q5_0, Q4_1, IQ4_NL and Q4_0 are for GGUF adapters only; a factor whose rows are no multiple of their 32 entries
    /// (`lora_b`, by the rank) is f16 then.
    pub dtype: Dtype,
    /// With [`Goal::Budget`](crate::Goal::Budget): whether a GGUF adapter may be in q8_0, q5_0 or iq4_nl instead of
    /// `dtype`, where that is worth more. Default: no.
    pub choose_dtype: bool,
    /// File format of the adapter. Default [`AdapterFormat::Peft`].
    pub format: AdapterFormat,
    /// Whose names a PEFT adapter of checkpoints has. Default: those in memory.
    pub names: Names,
    /// Modules that are stored whole, by their path: PEFT's `modules_to_save`. Default: none.
    pub save: Vec<Regex>,
    /// What the adapter calls its base. `None`: by its place in the hub's cache, what its configuration was loaded from, or
    /// the name of its directory.
    pub base_name: Option<String>,
    /// What a single file has before the paths of the modules, where names and configuration of the models do not tell.
    pub prefix: Option<String>,
    /// See [`phlora_core::Options::tolerance`]. Default is its default.
    pub tolerance: f64,
    /// Most reads of a tensor. Default is that of [`phlora_core::Options::max_reads`].
    pub max_reads: u32,
    /// Most working memory per thread in bytes, scratch and f32 factors together. Default: no limit.
    pub scratch: Option<usize>,
    /// Most memory of all threads and of what is read ahead, in bytes, beside the adapter itself: fewer threads work where it
    /// is short, with less scratch where it is too little for one. Default: no limit.
    pub memory: Option<usize>,
    /// Threads. The adapter does not depend on it. Default: one per processor.
    pub threads: NonZeroUsize,
    /// Bytes of one side read between two looks at the cancel flag. The adapter does not depend on it.
    /// Default 16 MiB.
    pub chunk_bytes: usize,
    /// Which modules.
    pub filter: Filter,
    /// Where a kind of module (`q_proj`, …) has factors in some layers, factors of zeros for it in all the others, for
    /// servers that else drop the kind. Default: no.
    pub complete_kinds: bool,
    /// What to take beside factors, as far as the file format has a place for it. Default: nothing.
    pub also: Also,
    /// Where what becomes of each pair is kept and looked up. Default: nowhere.
    pub(crate) journals: Option<Arc<Journals>>,
    /// Whether ‖W‖ of each weight is measured, or estimated from a few of its rows.
    pub(crate) measured_norms: bool,
    /// Of the rows of a vocabulary that differ, only those that changed the most, until they hold this share of the change,
    /// from 0 to 1; rows that the base lacks are taken in any case. Default 1: all.
    pub token_energy: f64,
    /// Weights of the modules' input channels. Default: every channel alike.
    pub channel_scales: ChannelScales,
}

/// Which modules to extract, by their path (`model.layers.0.self_attn.q_proj`).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Filter {
    /// Only modules that one of these matches; where this is empty, all linear layers and convolutions of two or three
    /// axes. The output head, embeddings, convolutions of one axis and those whose weight has a single input channel
    /// are extracted only when one of these matches them.
    pub include: Vec<Regex>,
    /// No module that one of these matches.
    pub exclude: Vec<Regex>,
    /// Only modules that this matches, whatever `include` says: those that a server accepts.
    pub accepted: Option<Regex>,
    /// No convolutions, which servers of language models do not accept.
    pub linear_only: bool,
}

impl Filter {
    pub(crate) fn includes(&self, module: &str) -> bool {
        self.include.iter().any(|pattern| pattern.is_match(module))
    }

    /// Whether `module` is one of those, whatever it is.
    pub(crate) fn takes(&self, module: &str) -> bool {
        (self.include.is_empty() || self.includes(module)) && !self.excludes(module)
    }

    pub(crate) fn excludes(&self, module: &str) -> bool {
        let refused = self.accepted.as_ref().is_some_and(|accepted| !accepted.is_match(module));
        refused || self.exclude.iter().any(|pattern| pattern.is_match(module))
    }
}

impl Default for ExtractOptions {
    fn default() -> Self {
        let core = phlora_core::Options::default();
        Self {
            policy: Policy::default(),
            mode: core.mode,
            dtype: Dtype::F16,
            choose_dtype: false,
            format: AdapterFormat::Peft,
            names: Names::default(),
            save: Vec::new(),
            base_name: None,
            prefix: None,
            tolerance: core.tolerance,
            max_reads: core.max_reads,
            scratch: None,
            memory: None,
            threads: available_threads(),
            chunk_bytes: 16 << 20,
            filter: Filter::default(),
            complete_kinds: false,
            also: Also::default(),
            journals: None,
            measured_norms: false,
            token_energy: 1.0,
            channel_scales: ChannelScales::default(),
        }
    }
}
