//! What pruning works with: the decomposition of each module, and an adapter of other factors.

use crate::adapter::{Factor, Factors, FullTensor, Lora, LoraModule, Naming};
use crate::error::{Result, filled};
use phlora_core::{Dtype, Kernel, Rows, Shape, Spectrum, combine, combine_scratch};

/// The decomposition of a module: pairs with √Σ in each, in f32.
pub(super) struct Decomposed {
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
    pub(super) singular_values: Vec<f32>,
    pub(super) sum_squares: f64,
    pub(super) shape: Shape,
}

/// The singular value decomposition of s·B·A, from the factors.
pub(super) fn decompose(module: &LoraModule<'_>) -> Result<Decomposed> {
    let [rows, cols] = module.shape();
    let (shape, rank) = (Shape { rows, cols }, module.rank());
    let failed = |e: phlora_core::Error| module.a.error(e.to_string());
    let bytes = |factor: &Factor<'_>| -> Result<Vec<u8>> {
        Ok(factor.decoded()?.iter().flat_map(|value| value.to_le_bytes()).collect())
    };
    let (a, b) = (bytes(&module.a)?, bytes(&module.b)?);
    let view = |bytes| Rows::new(Dtype::F32, bytes);
    let one =
        phlora_core::Adapter::new(shape, rank, view(&a), view(&b), module.scale as f32).map_err(failed)?;
    // A product has no more directions than its narrower side.
    let held = rank.min(rows).min(cols);
    let need = combine_scratch(shape, rank, held).count().map_err(failed)?;
    let (mut a, mut b) = (filled(0.0, held * cols)?, filled(0.0, rows * held)?);
    let (mut singular_values, mut scratch) = (filled(0.0, held)?, filled(0.0, need)?);
    let kernel = Kernel::detect();
    let found = combine(kernel, &[(one, 1.0)], held, &mut a, &mut b, &mut singular_values, &mut scratch);
    let sum_squares = found.map_err(failed)?.sum_squares;
    Ok(Decomposed { a, b, singular_values, sum_squares, shape })
}

impl Decomposed {
    pub(super) fn spectrum(&self) -> Spectrum<'_> {
        Spectrum { singular_values: &self.singular_values, sum_squares: self.sum_squares, shape: self.shape }
    }
}

/// The adapter with these factors, scales among them; without the modules that have none.
pub(super) fn cut_to<'l>(lora: &Lora<'l>, factors: Vec<Option<Factors>>) -> Lora<'l> {
    let with = |(module, factors): (&LoraModule<'l>, Option<Factors>)| {
        let Factors { a, b, .. } = factors?;
        Some(LoraModule { a, b, scale: 1.0, ..module.clone() })
    };
    let modules: Vec<_> = lora.modules.iter().zip(factors).filter_map(with).collect();
    // A suffix may now also name a module without factors: full paths never do.
    let all = modules.len() == lora.modules.len();
    let targets = lora.targets.clone().filter(|_| all);
    // PEFT's place for what is added to a bias is beside factors.
    let left = |module: &str| modules.iter().any(|left| left.name == module);
    let beside = |tensor: &&FullTensor<'_>| {
        lora.naming != Naming::HuggingFace || !tensor.adds_to_bias() || left(tensor.module())
    };
    let full = lora.full.iter().filter(beside).cloned().collect();
    Lora { modules, full, targets, ..lora.clone() }
}
