//! Writes an adapter in another file format, storage format or both.

mod base;
mod dora;
mod options;
mod paired;

pub use options::ConvertOptions;

use crate::adapter::{Adapter, AdapterFormat, Lora, write_gguf};
use crate::error::{Error, Result};
use crate::pairing::aligned::Names;
use crate::run::monitor::Monitor;
use base::Base;
use phlora_core::Dtype;
use phlora_core::policy::factor_dtype;
use std::io::Write;
use std::path::Path;

/// Result of [`convert`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Converted {
    /// Modules with factors.
    pub modules: usize,
    /// Largest rank of them.
    pub rank: usize,
    /// Factors in f16 since their rows do not go into the blocks of the format that was asked for.
    pub not_in_blocks: usize,
    /// Modules into whose `lora_b` a scale was multiplied.
    pub folded: usize,
    /// Share of what a DoRA adapter changes that its factors keep, before they are rounded.
    pub energy: Option<f64>,
    /// Bytes of the files.
    pub bytes: u64,
    /// How names of the adapter were paired with those of the base, where they begin otherwise.
    pub notes: Vec<String>,
}

/// Writes `adapter` to `path`, which appears by a rename when all is complete.
///
/// Between formats, modules are renamed and rows reordered as the conversion of the base does it; where neither
/// changes and the storage format stays, the factors stay the same to the bit. PEFT's scales (alpha over rank, or its
/// root with rslora, and their patterns) go into `lora_b` in a GGUF adapter; exactly where they are powers of
/// two.
///
/// # Errors
/// When a factor holds a NaN or an infinity or does not fit into its new format, a module has no known name in the
/// other format, or the base (a GGUF file) has no tensor of its name and shape; when the output exists and may not
/// be replaced; [`Error::Cancelled`](crate::Error::Cancelled). Nothing is left behind.
///
/// ```no_run
/// use phlora::{Adapter, AdapterFormat, ConvertOptions, Monitor, convert};
/// use std::path::Path;
///
/// let mut options = ConvertOptions::new(AdapterFormat::Gguf);
/// options.base = Some("base".into());
/// convert(&Adapter::open(Path::new("adapter"))?, Path::new("adapter.gguf"), &options, &Monitor::default())?;
/// # Ok::<(), phlora::Error>(())
/// ```
pub fn convert(
    adapter: &Adapter,
    path: &Path,
    options: &ConvertOptions,
    monitor: &Monitor,
) -> Result<Converted> {
    monitor.begin_writing()?;
    options.format.probe(path, options.force)?;
    let Prepared { lora, not_in_blocks, energy, notes } = prepare(adapter, options, monitor)?;
    let gguf = options.format == AdapterFormat::Gguf;
    let folded = lora.modules.iter().filter(|module| gguf && module.scale != 1.0).count();
    let bytes = lora.save(path, options.format, options.force, monitor)?;
    Ok(Converted {
        modules: lora.modules.len(),
        rank: lora.rank(),
        not_in_blocks,
        folded,
        energy,
        bytes,
        notes,
    })
}

/// As [`convert`] to GGUF, but to `out`; gives the number of bytes.
///
/// # Errors
/// As [`convert`], and what `out` refuses.
pub fn convert_to_gguf(
    adapter: &Adapter,
    options: &ConvertOptions,
    out: &mut impl Write,
    monitor: &Monitor,
) -> Result<u64> {
    let options = ConvertOptions { format: AdapterFormat::Gguf, ..options.clone() };
    let prepared = prepare(adapter, &options, monitor)?;
    write_gguf(&prepared.lora, out)
}

/// An adapter as it is to be written.
pub(crate) struct Prepared<'a> {
    pub(crate) lora: Lora<'a>,
    /// Factors in f16 since blocks do not fit.
    not_in_blocks: usize,
    /// As in [`Converted`].
    energy: Option<f64>,
    /// As in [`Converted`].
    notes: Vec<String>,
}

/// The adapter under the names and in the formats that are asked for.
pub(crate) fn prepare<'a>(
    adapter: &'a Adapter,
    options: &ConvertOptions,
    monitor: &Monitor,
) -> Result<Prepared<'a>> {
    let mut lora = adapter.stored()?;
    let all = || {
        let factors = lora.modules.iter().flat_map(|module| [&module.a, &module.b]);
        factors.chain(lora.full.iter().map(|tensor| &tensor.values))
    };
    monitor.correct_total(0, all().map(|values| values.stored_len() as u64).sum());
    for values in all() {
        values.decoded()?;
        monitor.add_done(values.stored_len() as u64);
        monitor.check()?;
    }
    let base = Base::open(&lora, options)?;
    let mut energy = None;
    match (lora.is_dora(), options.rank) {
        (true, Some(rank)) => {
            let found = dora::extracted(lora, &base, rank, options.dtype, monitor)?;
            (lora, energy) = (found.lora, Some(found.energy));
        }
        (true, None) => lora.factors_alone()?,
        (false, Some(_)) => {
            let problem = "a rank is for DoRA adapters, whose change is extracted; `phlora prune` cuts the rank of this one";
            return Err(Error::format(adapter.path(), problem));
        }
        (false, None) => {}
    }
    let (mut lora, notes) = match (options.format, options.format.style()) {
        (_, Some(_)) if adapter.format() == options.format => (lora, Vec::new()),
        (_, Some(style)) => base.to_single(lora, style)?,
        (AdapterFormat::Gguf, _) => base.to_gguf(lora)?,
        (AdapterFormat::Mlx, _) => base.to_peft(lora, Some(Names::Checkpoint))?,
        _ => base.to_peft(lora, options.names)?,
    };
    let mut not_in_blocks = 0;
    for module in &mut lora.modules {
        let rank = module.rank();
        for factor in [&mut module.a, &mut module.b] {
            let wanted = options.dtype.unwrap_or_else(|| kept(options.format, factor.dtype()));
            options.format.check(wanted)?;
            // Those of a lookup table are written transposed.
            let cols = if module.embedding { rank } else { factor.shape()[1] };
            let dtype = factor_dtype(wanted, cols);
            not_in_blocks += usize::from(dtype != wanted);
            factor.set_dtype(dtype);
        }
    }
    Ok(Prepared { lora, not_in_blocks, energy, notes })
}

/// The storage format that loses nothing.
fn kept(format: AdapterFormat, dtype: Dtype) -> Dtype {
    if format.check(dtype).is_ok() { dtype } else { Dtype::F32 }
}
