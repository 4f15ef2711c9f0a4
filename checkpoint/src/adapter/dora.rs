//! DoRA adapters: a module's weight W becomes m ⊙ (W + s·B·A) / ‖W + s·B·A‖, the norm being that of a row of [out, in], so
//! that its change depends on the base.

use super::{Factor, Lora, LoraModule, Target};
use crate::error::{Error, Reason, Result, filled};
use crate::source::tensor::Tensor;
use phlora_core::{Adapter, Dtype, Kernel, Merge, Rows, Shape};

/// The modules of a DoRA adapter, of one base weight: its factors and its magnitudes, ready for rows.
#[derive(Debug)]
pub(crate) struct Directions {
    a: Vec<u8>,
    b: Vec<u8>,
    scale: f32,
    shape: Shape,
    rank: usize,
    /// One for each row, or for each column of a weight that is stored [in, out].
    magnitudes: Vec<f32>,
    turned: bool,
}

/// What makes rows of a weight, as it is stored, those of the adapted one.
#[derive(Debug)]
pub(crate) struct Rescaling<'d> {
    directions: &'d Directions,
    merge: Merge<'d>,
    prepared: Vec<f32>,
    scratch: Vec<f32>,
    from: Vec<u8>,
    to: Vec<u8>,
    sums: Vec<f32>,
    /// The factors of the columns of a weight that is stored [in, out].
    columns: Vec<f64>,
}

impl Directions {
    /// Those of `module`, whose factors and magnitudes are in the order of a stored weight: [in, out] where it is `turned`.
    /// `None` where it has no magnitudes.
    pub(crate) fn of(module: &LoraModule<'_>, turned: bool) -> Result<Option<Self>> {
        let Some(magnitude) = &module.magnitude else { return Ok(None) };
        let [rows, cols] = module.shape();
        let magnitudes = magnitude.decoded()?;
        let expected = if turned { cols } else { rows };
        if magnitudes.len() != expected {
            let problem = format!(
                "it has {} magnitudes, expected one for each of {expected} outputs",
                magnitudes.len()
            );
            return Err(magnitude.error(problem));
        }
        let bytes =
            |values: Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let (a, b) = (bytes(module.a.decoded()?), bytes(module.b.decoded()?));
        let (scale, shape, rank) = (module.scale as f32, Shape { rows, cols }, module.rank());
        Ok(Some(Self { a, b, scale, shape, rank, magnitudes, turned }))
    }

    /// The term of a merge into the weight.
    pub(crate) fn term(&self) -> Result<[(Adapter<'_>, f32); 1]> {
        let view = |bytes| Rows::new(Dtype::F32, bytes);
        let adapter = Adapter::new(self.shape, self.rank, view(&self.a), view(&self.b), self.scale);
        Ok([(adapter.map_err(failed)?, 1.0)])
    }
}

impl<'d> Rescaling<'d> {
    /// `term` is that of `directions`. Of a weight that is stored [in, out], `base` is read once for the norms of its columns.
    pub(crate) fn new(
        directions: &'d Directions,
        term: &'d [(Adapter<'d>, f32)],
        base: impl FnOnce(&mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()>,
    ) -> Result<Self> {
        let merge = Merge::new(Kernel::detect(), term).map_err(failed)?;
        let mut prepared = filled(0.0, merge.prepared_len())?;
        merge.prepare(&mut prepared).map_err(failed)?;
        let scratch = filled(0.0, merge.scratch_len())?;
        let (from, to, sums, columns) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut made = Self { directions, merge, prepared, scratch, from, to, sums, columns };
        if directions.turned {
            let mut squares = filled(0.0_f64, directions.shape.cols)?;
            base(&mut |first, rows| {
                made.add(first, rows)?;
                for row in made.sums.chunks_exact(directions.shape.cols) {
                    let square = |(sum, value): (&mut f64, &f32)| *sum += f64::from(*value).powi(2);
                    squares.iter_mut().zip(row).for_each(square);
                }
                Ok(())
            })?;
            let all = squares.iter().zip(&directions.magnitudes).enumerate();
            made.columns = all
                .map(|(at, (square, magnitude))| factor(at, *square, *magnitude))
                .collect::<Result<_>>()?;
        }
        Ok(made)
    }

    /// W + s·B·A of the rows from `first` on, of which `base` is W, in `sums`.
    fn add(&mut self, first: usize, base: &[f32]) -> Result<()> {
        self.from.clear();
        self.from.extend(base.iter().flat_map(|value| value.to_le_bytes()));
        self.to.resize(self.from.len(), 0);
        self.sums.resize(base.len(), 0.0);
        let from = Rows::new(Dtype::F32, &self.from);
        let merged =
            self.merge.rows_to(&self.prepared, first, from, Dtype::F32, &mut self.to, &mut self.scratch);
        merged.map_err(failed)?;
        phlora_core::decode(Rows::new(Dtype::F32, &self.to), &mut self.sums).map_err(failed)
    }

    /// Gives `put` what the rows from `first` on become, less what they are: the place in `base` and the change.
    pub(crate) fn change(
        &mut self,
        first: usize,
        base: &[f32],
        mut put: impl FnMut(usize, f64),
    ) -> Result<()> {
        self.add(first, base)?;
        let cols = self.directions.shape.cols;
        for (row, (sums, base)) in self.sums.chunks_exact(cols).zip(base.chunks_exact(cols)).enumerate() {
            let of_row = if self.directions.turned {
                0.0
            } else {
                let square = sums.iter().map(|value| f64::from(*value).powi(2)).sum();
                factor(first + row, square, self.directions.magnitudes[first + row])?
            };
            for (col, (sum, base)) in sums.iter().zip(base).enumerate() {
                let factor = self.columns.get(col).copied().unwrap_or(of_row);
                put(row * cols + col, factor * f64::from(*sum) - f64::from(*base));
            }
        }
        Ok(())
    }
}

/// What a row is multiplied by.
fn factor(output: usize, square: f64, magnitude: f32) -> Result<f64> {
    if square > 0.0 {
        return Ok(f64::from(magnitude) / square.sqrt());
    }
    Err(Error::usage(format!(
        "output {output} of W + B·A is zero, and has no direction for DoRA's magnitude"
    )))
}

fn failed(error: phlora_core::Error) -> Error {
    Error::usage(error.to_string())
}

impl<'a> LoraModule<'a> {
    /// The module with DoRA's magnitudes, which `tensor` holds in whatever shape.
    pub(crate) fn with_magnitudes(mut self, tensor: Tensor<'a>) -> Result<Self> {
        let (outputs, len) = (self.shape()[0], tensor.len());
        if len != outputs {
            return Err(tensor
                .error(format!("it holds {len} magnitudes, expected one for each of {outputs} outputs")));
        }
        let plain = !self.embedding && self.expert.is_none() && self.target == Target::Module;
        if !plain {
            return Err(tensor
                .error("DoRA's magnitudes of what is no linear module or convolution, which are not read"));
        }
        let factor = Factor::new(tensor.readable()?, [outputs, 1], tensor.bytes());
        let factor = factor.map_err(|e| tensor.error(e.to_string()))?;
        self.magnitude = Some(Box::new(factor.read_from(tensor.file(), tensor.stored_name())));
        Ok(self)
    }
}

impl Lora<'_> {
    /// Whether its change depends on its base.
    pub(crate) fn is_dora(&self) -> bool {
        self.modules.iter().any(|module| module.magnitude.is_some())
    }

    /// # Errors
    /// When its change depends on its base, which what was asked for does not know.
    pub(crate) fn factors_alone(&self) -> Result<()> {
        let Some(magnitude) = self.modules.iter().find_map(|module| module.magnitude.as_ref()) else {
            return Ok(());
        };
        let problem = "a DoRA adapter, whose change depends on its base: with the base it is merged, or becomes LoRA at a rank";
        Err(magnitude.error(problem).because(Reason::Dora))
    }
}
