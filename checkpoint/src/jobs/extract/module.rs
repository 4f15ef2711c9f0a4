//! A module of an extraction: its factors and its report.

use crate::adapter::{Factors, Target};
use crate::error::{Error, Result};
use crate::naming::kind::Kind;
use crate::pairing::pairs::Pair;
use crate::report::{Measured, ModuleReport};
use phlora_core::Dtype;
use std::sync::Arc;

/// One module of an extraction.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) report: ModuleReport,
    /// Its path in the adapter.
    pub(crate) path: String,
    pub(crate) target: Target,
    /// Whether PEFT knows its weight as one that is stored [in, out].
    pub(crate) conv1d: bool,
    /// Whether the weight is a lookup table.
    pub(crate) embedding: bool,
    /// What the columns of the weight count, where not all count alike.
    pub(crate) channels: Option<Arc<[f32]>>,
    /// Absent where only the spectrum was wanted.
    pub(crate) factors: Option<Factors>,
}

impl Module {
    /// What was found for `pair`.
    pub(crate) fn new(
        pair: &Pair<'_>,
        report: ModuleReport,
        channels: Option<Arc<[f32]>>,
        factors: Option<Factors>,
    ) -> Self {
        Self {
            report,
            path: pair.path().to_owned(),
            target: pair.target(),
            conv1d: pair.is_conv1d(),
            embedding: pair.kind == Kind::Embedding && pair.target() == Target::Module,
            channels,
            factors,
        }
    }

    /// The same module without factors.
    pub(crate) fn without_factors(&self) -> Self {
        Self {
            report: self.report.clone(),
            path: self.path.clone(),
            channels: self.channels.clone(),
            factors: None,
            ..*self
        }
    }

    /// The same module at the rank `most`, or at its own where that is smaller.
    pub(crate) fn cut_to(&self, most: usize, dtype: Dtype) -> Result<Self> {
        self.cut(most.min(self.report.rank), dtype)
    }

    /// The same module at another rank and in another format, of factors that were kept whole.
    pub(crate) fn cut(&self, rank: usize, dtype: Dtype) -> Result<Self> {
        let whole = self.whole()?;
        let factors = whole.cut(rank.min(whole.rank()), self.channels.as_deref(), dtype)?;
        Ok(self.with(rank, factors, whole.rank()))
    }

    /// The same module in the compact form, of factors that were kept whole: bits for each direction, 0 for none.
    pub(crate) fn compact(&self, bits: &[u8]) -> Result<Self> {
        let whole = self.whole()?;
        let factors = whole.compact(bits, self.channels.as_deref())?;
        Ok(self.with(factors.rank(), factors, whole.rank()))
    }

    fn whole(&self) -> Result<&Factors> {
        self.factors.as_ref().ok_or_else(|| Error::usage("no factors were kept".into()))
    }

    /// The same module with other factors, of `held` pairs, filled up to `rank`.
    fn with(&self, rank: usize, mut factors: Factors, held: usize) -> Self {
        let singular_values = self.report.spectrum();
        let measured = Measured {
            name: &self.report.name,
            shape: self.report.shape,
            kernel: &self.report.kernel,
            singular_values: &singular_values,
            held,
            sum_squares: self.report.delta_norm.powi(2),
            reads: self.report.reads,
            converged: self.report.converged,
            expert: self.report.expert,
            tuning_and_repair: self.report.tuning_norm.zip(self.report.repair_norm),
            weighed: self.channels.is_some(),
        };
        let report = measured.report(rank, Some(&factors));
        factors.pad(rank);
        Self {
            report: ModuleReport {
                memory: self.report.memory.clone(),
                weight_norm: self.report.weight_norm,
                weight_stretch: self.report.weight_stretch,
                ..report
            },
            path: self.path.clone(),
            target: self.target,
            conv1d: self.conv1d,
            embedding: self.embedding,
            channels: self.channels.clone(),
            factors: Some(factors),
        }
    }
}

/// Puts each of `again` in the place of the module of its name.
pub(crate) fn replace(modules: &mut [Module], again: Vec<Module>) {
    for module in again {
        if let Some(old) = modules.iter_mut().find(|old| old.report.name == module.report.name) {
            *old = module;
        }
    }
}
