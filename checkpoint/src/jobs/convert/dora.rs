//! A DoRA adapter as the LoRA adapter of a rank that is nearest to what it does to its base: each module's change is made in
//! memory and extracted.

use super::base::Base;
use crate::adapter::dora::{Directions, Rescaling};
use crate::adapter::{Factors, Lora, LoraModule, View};
use crate::error::{Error, Result, filled};
use crate::naming::memory::Weight;
use crate::run::monitor::Monitor;
use crate::source::measure::decode;
use phlora_core::{Dtype, Options, Plan, Rows, Shape};

/// Entries of the rows that are worked on at once.
const AT_ONCE: usize = 1 << 18;

/// What became of the modules.
pub(super) struct Extracted<'a> {
    pub(super) lora: Lora<'a>,
    /// Kept share of the squared change of all modules.
    pub(super) energy: f64,
}

/// The modules of `lora` at `rank`, `dtype` or as they are stored, from their changes of `base`.
pub(super) fn extracted<'a>(
    mut lora: Lora<'a>,
    base: &Base,
    rank: usize,
    dtype: Option<Dtype>,
    monitor: &Monitor,
) -> Result<Extracted<'a>> {
    let model = base.model.as_ref().ok_or_else(|| {
        Error::usage(
            "a DoRA adapter changes its base by the base's own weights: its base is needed, with them".into(),
        )
    })?;
    let view = View::new(model);
    let (mut all, mut kept) = (0.0, 0.0);
    let transposed = lora.fan_in_fan_out;
    for module in lora.modules.iter_mut().filter(|module| module.magnitude.is_some()) {
        monitor.check()?;
        let change = Change::of(module, &view, transposed)?;
        let (factors, [change, left]) =
            change.factors(rank, dtype.unwrap_or(module.a.dtype()), monitor).map_err(|e| match e {
                Error::Cancelled => e,
                other => module.a.error(other.to_string()),
            })?;
        (all, kept) = (all + change, kept + left);
        let Factors { a, b, .. } = factors;
        *module = LoraModule { a, b, scale: 1.0, magnitude: None, ..module.clone() };
    }
    Ok(Extracted { lora, energy: if all > 0.0 { kept / all } else { 1.0 } })
}

/// What a module does to its weight.
struct Change {
    shape: Shape,
    values: Vec<f32>,
}

impl Change {
    fn of(module: &LoraModule<'_>, view: &View<'_>, transposed: bool) -> Result<Self> {
        let [rows, cols] = module.shape();
        let base = view.model.path().display();
        let weight = view.of_module(module);
        let weight = weight
            .ok_or_else(|| module.a.error(format!("the base {base} has no tensor {}.weight", module.name)))?;
        let mut values = base_of(weight, module, transposed)?;
        let directions = Directions::of(module, false)?
            .ok_or_else(|| module.a.error("it has no magnitudes, unlike other modules of a DoRA adapter"))?;
        let term = directions.term()?;
        let mut rescaling = Rescaling::new(&directions, &term, |_| Ok(()))?;
        let step = (AT_ONCE / cols.max(1)).max(1);
        for first in (0..rows).step_by(step) {
            let own = &mut values[first * cols..rows.min(first + step) * cols];
            let before = own.to_vec();
            rescaling.change(first, &before, |at, change| own[at] = change as f32)?;
        }
        Ok(Self { shape: Shape { rows, cols }, values })
    }

    /// Its factors at `rank`, and the squares of it and of what they keep.
    fn factors(self, rank: usize, dtype: Dtype, monitor: &Monitor) -> Result<(Factors, [f64; 2])> {
        let Shape { rows, cols } = self.shape;
        let failed = |e: phlora_core::Error| Error::usage(e.to_string());
        let plan = Plan::new(self.shape, &Options { rank, ..Options::default() }).map_err(failed)?;
        let mut scratch = filled(0.0, plan.scratch_len())?;
        let mut extractor = plan.start(&mut scratch).map_err(failed)?;
        let step = (AT_ONCE / cols.max(1)).max(1);
        let nothing = filled(0_u8, (step * cols).min(self.values.len()) * 4)?;
        while extractor.wants_pass() {
            for rows in self.values.chunks(step * cols) {
                monitor.check()?;
                let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
                let base = Rows::new(Dtype::F32, &nothing[..bytes.len()]);
                extractor.push(base, Rows::new(Dtype::F32, &bytes)).map_err(failed)?;
            }
            extractor.end_pass().map_err(failed)?;
        }
        let held = extractor.rank();
        let most = plan.most_singular_values().max(held);
        let (mut a, mut b) = (filled(0.0, held * cols)?, filled(0.0, rows * held)?);
        let report = extractor.finish(&mut a, &mut b, &mut filled(0.0, most)?).map_err(failed)?;
        if held == 0 {
            // It changes nothing here.
            (a, b) = (filled(0.0, cols)?, filled(0.0, rows)?);
        }
        let held = held.max(1);
        let factors = Factors::encode(&a, &b, held, held, false, None, dtype)?;
        Ok((factors, [report.delta.sum_squares, report.kept]))
    }
}

/// The weight of `module` as [out, in].
fn base_of(weight: &Weight<'_>, module: &LoraModule<'_>, transposed: bool) -> Result<Vec<f32>> {
    let (mut expected, tensor) = (module.weight_shape(), weight.tensor());
    let stored = tensor.shape();
    let turned = weight.is_transposed().unwrap_or(transposed && stored != expected);
    if turned {
        expected.reverse();
    }
    if stored != expected {
        let found = tensor.file().display();
        let problem = format!(
            "it changes a weight of shape {expected:?}, but that in {found} has the shape {stored:?}"
        );
        return Err(module.a.error(problem));
    }
    let [out, input] = module.shape();
    let mut values = filled(0.0, tensor.len())?;
    decode(tensor, tensor.readable()?, 0..tensor.len(), &mut values)?;
    if !turned {
        return Ok(values);
    }
    let mut after = filled(0.0, values.len())?;
    for (from, row) in values.chunks_exact(out.max(1)).enumerate() {
        row.iter().enumerate().for_each(|(to, value)| after[to * input + from] = *value);
    }
    Ok(after)
}
