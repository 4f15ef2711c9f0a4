//! Measures what a written adapter really keeps of a difference, after rounding, from the files alone.

mod found;
mod full;
mod residual;

use crate::adapter::{Adapter, Factor, LoraModule};
use crate::error::{Error, Result};
use crate::jobs::extract::ChannelScales;
use crate::naming::kind::is_task_head;
use crate::pairing::aligned::{Aligned, Names};
use crate::pairing::pairs::{Pair, pairs};
use crate::run::monitor::Monitor;
use crate::run::pool::{Cost, Ticket, run_round};
use crate::source::measure::{difference, non_finite_error, same_bytes};
use crate::source::model::Model;
use crate::source::read_ahead::{MOST_AHEAD, ReadAhead};
use found::Measured;
pub use found::VerifiedTensor;
use full::{check_full, measure_full, new_head};
use residual::{Product, residual};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// What an adapter keeps of the difference of two models.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The adapter's modules, sorted by name.
    pub modules: Vec<VerifiedModule>,
    /// What the adapter holds beside factors, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<VerifiedTensor>,
    /// 1 − Σ‖Δ − s·B·A‖² / Σ‖Δ‖² over the adapter's modules.
    pub energy: f64,
    /// Σ‖Δ‖²_F over them.
    pub sum_squares: f64,
    /// Tensors that differ, but that the adapter does not change.
    pub outside: usize,
    /// Σ‖Δ‖²_F over those of them that can be compared.
    pub outside_sum_squares: f64,
    /// Kept share of the whole difference: modules, what is held beside factors, and what is outside.
    pub whole_energy: f64,
    /// How the models were paired, and what speaks against their being a pair or the adapter's being theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What an adapter keeps of one module.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VerifiedModule {
    /// Path of the module.
    pub name: String,
    /// [out, in].
    pub shape: [usize; 2],
    /// Rank of the factors in the file.
    pub rank: usize,
    /// 1 − ‖Δ − s·B·A‖² / ‖Δ‖²; negative where the adapter makes it worse.
    pub energy: f64,
    /// ‖Δ‖_F.
    pub delta_norm: f64,
    /// ‖Δ − s·B·A‖_F.
    pub residual_norm: f64,
}

/// Reads both models and the adapter once and measures the kept energy. Sums are in f64; the heap holds the
/// f32 factors of one module per thread. The adapter may have the names of a checkpoint or of GGUF, whatever the
/// models have. Where `channels` has scales for a module, its difference and what is left of it are weighed by them.
///
/// # Errors
/// When the adapter has factors for a module that a model lacks, of another shape, or with NaN or infinity;
/// file and tensor are named.
///
/// ```no_run
/// use phlora::{Adapter, ChannelScales, Model, Monitor, available_threads, verify};
/// use std::path::Path;
///
/// let (base, tuned) = (Model::open(Path::new("base"))?, Model::open(Path::new("tuned"))?);
/// let adapter = Adapter::open(Path::new("adapter"))?;
/// let scales = ChannelScales::default();
/// let found = verify(&base, &tuned, &adapter, &scales, available_threads(), &Monitor::default())?;
/// println!("{:.1} % of the difference of its modules kept", 100.0 * found.energy);
/// # Ok::<(), phlora::Error>(())
/// ```
pub fn verify(
    base: &Model,
    tuned: &Model,
    adapter: &Adapter,
    channels: &ChannelScales,
    threads: NonZeroUsize,
    monitor: &Monitor,
) -> Result<Verification> {
    let models = Aligned::new(base, tuned, None, Names::Memory)?;
    let (mut pairs, _) = pairs(&models)?;
    let mut factors = BTreeMap::new();
    let lora = adapter.lora()?;
    if let Some(problem) = lora.other_architecture(base) {
        return Err(Error::format(adapter.path(), problem));
    }
    let lora = models.renamed(lora)?;
    let by_name: BTreeMap<_, _> = pairs.iter().map(|pair| (pair.memory, pair)).collect();
    let find = |name: &str, values: &Factor<'_>| {
        by_name.get(name).copied().ok_or_else(|| {
            let side = if models.base.tensor(name).is_none() { base } else { tuned };
            values.error(format!(
                "the model {} has no tensor {name}: an adapter of another base?",
                side.path().display()
            ))
        })
    };
    for module in &lora.modules {
        let weight = format!("{}.weight", module.name);
        check_shapes(find(&weight, &module.a)?, module)?;
        factors.insert(weight, module);
    }
    let (mut full, mut heads) = (BTreeMap::new(), Vec::new());
    for tensor in &lora.full {
        let base = models.base.tensor(&tensor.name);
        let is_new = base.is_none_or(|base| tensor.is_head_for_others(base.shape()));
        if is_new && let Some(only) = models.tuned.tensor(&tensor.name) {
            heads.push(new_head(tensor, only)?);
            continue;
        }
        check_full(find(&tensor.name, &tensor.values)?, tensor)?;
        full.insert(tensor.name.as_ref(), tensor);
    }
    channels.check(pairs.iter().filter(|pair| factors.contains_key(pair.memory)))?;
    pairs.sort_by_key(|pair| (Reverse(pair.bytes()), pair.name));
    monitor.correct_total(0, pairs.iter().map(|pair| pair.bytes() as u64).sum());

    let files: Vec<_> = pairs.iter().map(Pair::tensors).collect();
    let work = |ahead: &ReadAhead<'_>, ticket: Ticket<'_>| {
        let pair = &pairs[ticket.job()];
        let held = ahead.start(ticket.job())?;
        held.wait()?;
        match (factors.get(pair.memory), full.get(pair.memory)) {
            (Some(module), _) => measure(pair, module, channels, ticket),
            (None, Some(tensor)) => measure_full(pair, tensor, ticket),
            (None, None) => outside(pair, ticket),
        }
    };
    let cost = |bytes: u64| Cost { all: bytes, reading: bytes };
    let costs: Vec<_> = pairs.iter().map(|pair| cost(pair.bytes() as u64)).collect();
    let measured = ReadAhead::beside(&files, MOST_AHEAD, monitor, |ahead| {
        run_round(threads.get(), &costs, monitor, || (), |(), ticket| work(ahead, ticket))
    })?;
    monitor.check()?;
    let mut result = Verification {
        modules: Vec::new(),
        full: Vec::new(),
        energy: 0.0,
        sum_squares: 0.0,
        outside: 0,
        outside_sum_squares: 0.0,
        whole_energy: 0.0,
        notes: models.notes.clone(),
    };
    let mut rest = 0.0;
    for (pair, found) in pairs.iter().zip(measured) {
        result.outside += usize::from(found.outside > 0.0);
        result.outside_sum_squares += found.outside;
        if let Some(tensor) = full.get(pair.memory) {
            result.full.push(VerifiedTensor {
                name: pair.name.to_owned(),
                rows: tensor.rows().map(<[usize]>::len),
                delta_norm: found.delta.sqrt(),
                residual_norm: found.rest.sqrt(),
                outside_norm: found.outside.sqrt(),
            });
        }
        let Some(module) = factors.get(pair.memory) else { continue };
        rest += found.rest;
        result.sum_squares += found.delta;
        result.modules.push(VerifiedModule {
            name: pair.module().to_owned(),
            shape: module.shape(),
            rank: module.rank(),
            energy: energy(&found),
            delta_norm: found.delta.sqrt(),
            residual_norm: found.rest.sqrt(),
        });
    }
    result.full.extend(heads);
    result.modules.sort_by(|a, b| a.name.cmp(&b.name));
    result.full.sort_by(|a, b| a.name.cmp(&b.name));
    result.energy = energy(&Measured { delta: result.sum_squares, rest, outside: 0.0 });
    result.whole_energy = whole_energy(&result, rest);
    if result.energy < 0.0 {
        let problem =
            "the adapter leads away from the tuned model: is it of this pair, or are base and tuned swapped?";
        result.notes.push(problem.to_owned());
    }
    Ok(result)
}

/// Kept energy of all tensors, `rest` being what the factors leave.
fn whole_energy(result: &Verification, rest: f64) -> f64 {
    let full = result.full.iter().map(|tensor| (tensor.delta_norm.powi(2), tensor.residual_norm.powi(2)));
    let (delta, left) =
        full.fold((0.0, 0.0), |(delta, left), (d, l)| (delta + d, left + if d > 0.0 { l } else { 0.0 }));
    let outside = result.outside_sum_squares;
    let (delta, rest) = (result.sum_squares + delta + outside, rest + left + outside);
    energy(&Measured { delta, rest, outside })
}

/// Kept energy; where there is no difference, an adapter that does nothing keeps all of it.
fn energy(measured: &Measured) -> f64 {
    if measured.delta > 0.0 {
        1.0 - measured.rest / measured.delta
    } else {
        f64::from(u8::from(measured.rest == 0.0))
    }
}

/// Both sides must be matrices of the shape that the factors have.
fn check_shapes(pair: &Pair<'_>, module: &LoraModule<'_>) -> Result<()> {
    let mut expected = module.weight_shape();
    if pair.transposed {
        expected.reverse();
    }
    for side in [pair.base, pair.tuned] {
        if side.shape() != expected {
            let problem = format!(
                "with its pair it changes a weight of shape {expected:?}, but {} in {} has the shape {:?}: an adapter of \
                 another base?",
                pair.name,
                side.file().display(),
                side.shape()
            );
            return Err(module.a.error(problem));
        }
        side.readable()?;
    }
    Ok(())
}

/// The difference and what the factors leave of it.
fn measure(
    pair: &Pair<'_>,
    module: &LoraModule<'_>,
    channels: &ChannelScales,
    ticket: Ticket<'_>,
) -> Result<Measured> {
    let (a, b) = (module.a.decoded()?, module.b.decoded()?);
    let (rows, cols) = pair.stored_shape();
    let product = Product::new(a, b, rows, cols, (module.rank(), module.scale), pair.transposed);
    let found = residual(pair.base, pair.tuned, &product, channels.of(pair).as_deref(), ticket)?;
    if let Some(row) = found.non_finite_row {
        return Err(non_finite_error(pair.base, pair.tuned, row, cols));
    }
    if !found.rest.is_finite() {
        let problem = "its product with the other factor is beyond the range of f32, so that what it keeps is not known";
        return Err(module.a.error(problem));
    }
    Ok(Measured { delta: found.delta, rest: found.rest, outside: 0.0 })
}

/// A tensor without factors: only how much it differs, where that can be said.
fn outside(pair: &Pair<'_>, ticket: Ticket<'_>) -> Result<Measured> {
    let unknown = Measured { delta: 0.0, rest: 0.0, outside: 0.0 };
    let (Some(base), Some(tuned)) = (pair.base.dtype(), pair.tuned.dtype()) else { return Ok(unknown) };
    if same_bytes(pair.base, pair.tuned, ticket)? {
        return Ok(unknown);
    }
    // A vocabulary that grew is compared as far as both go; the classes of a head are others.
    let vocabulary = pair.base.shape() == pair.tuned.shape() || !is_task_head(pair.path());
    let entries = match (pair.base.shape().split_first(), pair.tuned.shape().split_first()) {
        (Some((_, rest)), Some((_, other))) if rest == other && vocabulary => {
            pair.base.len().min(pair.tuned.len())
        }
        _ => return Ok(unknown),
    };
    let found = difference((pair.base, base), (pair.tuned, tuned), entries, ticket)?;
    Ok(Measured { outside: if found.non_finite.is_none() { found.sum_squares } else { 0.0 }, ..unknown })
}
