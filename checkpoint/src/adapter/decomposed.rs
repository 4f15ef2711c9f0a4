//! The singular value decomposition of a module's product, from its factors.

use super::{Factor, LoraModule};
use crate::error::{Result, filled};
use phlora_core::{Dtype, Kernel, Rows, Shape, Spectrum, combine, combine_scratch};

/// The decomposition of a module: pairs with √Σ in each, in f32.
pub(crate) struct Decomposed {
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
    pub(crate) singular_values: Vec<f32>,
    pub(crate) sum_squares: f64,
    pub(crate) shape: Shape,
}

/// The singular value decomposition of s·B·A, from the factors.
pub(crate) fn decompose(module: &LoraModule<'_>) -> Result<Decomposed> {
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
    pub(crate) fn spectrum(&self) -> Spectrum<'_> {
        Spectrum { singular_values: &self.singular_values, sum_squares: self.sum_squares, shape: self.shape }
    }
}
