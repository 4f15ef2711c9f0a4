//! Any LoRA adapter at smaller ranks, in factored form and without its base: energies are those of its own B·A.

mod compact;
mod cut;
mod rule;

pub use rule::Rule;

use crate::adapter::provenance::OF_FACTORS;
use crate::adapter::{Adapter, AdapterFormat, Decomposed, Factors, Lora, LoraModule, Naming, decompose};
use crate::error::{Error, Result};
use crate::naming::kind::stands_apart;
use crate::run::monitor::Monitor;
use crate::run::pool::available_threads;
use crate::run::pool::{Ticket, run};
use cut::cut_to;
use phlora_core::policy::{
    Allocation, Candidate, Limit, Totals, allocate, allocate_best, factor_dtype, uniform_rank,
};
use phlora_core::{Dtype, Policy, Shape, Spectrum};
use std::num::NonZeroUsize;
use std::path::Path;

/// Options of [`prune`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PruneOptions {
    /// How ranks are chosen; energies are shares of each module's ‖s·B·A‖².
    pub policy: Policy,
    /// Chooses ranks by singular values alone, in the place of the policy's goal, up to its largest rank.
    pub rule: Option<Rule>,
    /// The largest rank of convolutions whose kernel is more than 1 wide; `None`: that of all.
    pub conv_rank: Option<usize>,
    /// Modules that hold less than this share of the whole adapter's energy are dropped.
    pub drop_below: f64,
    /// Storage format of the factors; `None`: as each is.
    pub dtype: Option<Dtype>,
    /// File format.
    pub format: AdapterFormat,
    /// Whether an adapter that is there already is replaced.
    pub force: bool,
    /// Threads. The adapter does not depend on it.
    pub threads: NonZeroUsize,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            rule: None,
            conv_rank: None,
            drop_below: 0.0,
            dtype: None,
            format: AdapterFormat::Peft,
            force: false,
            threads: available_threads(),
        }
    }
}

/// Result of [`prune`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Pruned {
    /// Its modules, in their order.
    pub modules: Vec<PrunedModule>,
    /// Kept share of the energy of all modules: before the factors are rounded, in the compact form after.
    pub energy: f64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// What became of one module.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PrunedModule {
    /// Its path.
    pub name: String,
    /// Its rank before.
    pub before: usize,
    /// Its rank now; 0: dropped.
    pub rank: usize,
    /// ‖s·B·A‖²_F before.
    pub sum_squares: f64,
    /// Kept share of it.
    pub energy: f64,
}

/// Writes `adapter` to `path` at the ranks that the policy chooses by the singular values of its own products.
///
/// # Errors
/// When a factor holds a NaN or an infinity, no module is left, the policy cannot be met, the output exists and may
/// not be replaced, or [`Error::Cancelled`]; nothing is left behind.
///
/// ```no_run
/// use phlora::{Adapter, Monitor, Policy, PruneOptions, prune};
/// use std::path::Path;
///
/// let mut options = PruneOptions::default();
/// options.policy = Policy::fixed(4);
/// prune(&Adapter::open(Path::new("adapter"))?, Path::new("smaller"), &options, &Monitor::default())?;
/// # Ok::<(), phlora::Error>(())
/// ```
pub fn prune(adapter: &Adapter, path: &Path, options: &PruneOptions, monitor: &Monitor) -> Result<Pruned> {
    let lora = adapter.lora()?;
    let size = |module: &LoraModule<'_>| module.a.stored_len() + module.b.stored_len();
    monitor.correct_total(0, lora.modules.iter().map(|module| size(module) as u64).sum());
    let work = |(): &mut (), ticket: Ticket<'_>| {
        ticket.monitor().check()?;
        let module = &lora.modules[ticket.job()];
        let found = decompose(module)?;
        ticket.tick(size(module))?;
        Ok(found)
    };
    let found = run(options.threads.get(), lora.modules.len(), monitor, || (), work)?;
    let all: f64 = found.iter().map(|module| module.sum_squares).sum();
    let dtypes: Vec<_> =
        lora.modules.iter().map(|module| options.dtype.unwrap_or_else(|| module.a.dtype())).collect();
    let keep =
        |module: &Decomposed| module.sum_squares > 0.0 && module.sum_squares >= options.drop_below * all;
    let goal = options.policy.goal;
    let (pruned, ranks, lost) = if options.format == AdapterFormat::Phlora {
        let mut done = compact::compact(&lora, &found, &chosen(&lora, &found, options, keep), goal)?;
        restate(&mut done.0, lora.rank());
        done
    } else {
        let ranks = match goal.limit() {
            Some(limit) => within(&lora, &found, &dtypes, options, limit, keep)?,
            None => chosen(&lora, &found, options, keep),
        };
        (cut(&lora, &found, &ranks, &dtypes, options)?, ranks, vec![0.0; found.len()])
    };
    if pruned.modules.is_empty() {
        return Err(Error::usage("no module is left of the adapter".into()));
    }
    let modules: Vec<_> = lora
        .modules
        .iter()
        .zip(&found)
        .zip(&ranks)
        .zip(&lost)
        .map(|(((module, found), &rank), lost)| PrunedModule {
            name: module.name.to_string(),
            before: module.rank(),
            rank,
            sum_squares: found.sum_squares,
            energy: found.spectrum().energy(rank) - lost / found.sum_squares.max(f64::MIN_POSITIVE),
        })
        .collect();
    let kept: f64 = modules.iter().map(|module| module.energy * module.sum_squares).sum();
    // Headers of the files are made now, which take as much as these.
    drop((lora, found));
    let bytes = pruned.save(path, options.format, options.force, monitor)?;
    Ok(Pruned { modules, energy: if all > 0.0 { kept / all } else { 1.0 }, bytes })
}

/// Where kohya's files say what was done to them.
const COMMENT: &str = "ss_training_comment";

/// What the file says of itself, without what was true of the factors before.
fn restate(pruned: &mut Lora<'_>, before: usize) {
    pruned.metadata.retain(|key, _| !OF_FACTORS.contains(&key.as_str()));
    // kohya's own tool says it whether there was a comment or not.
    if pruned.naming == Naming::Single {
        let comment = pruned.metadata.entry(COMMENT.to_owned()).or_default();
        *comment = format!("resized from {before} by phlora; {comment}");
    }
}

/// Ranks by each module's own spectrum; 0 for those that are dropped.
fn chosen(
    lora: &Lora<'_>,
    found: &[Decomposed],
    options: &PruneOptions,
    keep: impl Fn(&Decomposed) -> bool,
) -> Vec<usize> {
    let policy = &options.policy;
    let one = |(module, found): (&LoraModule<'_>, &Decomposed)| {
        let wide = module.kernel.iter().any(|&size| size > 1);
        let limit = options.conv_rank.filter(|_| wide).unwrap_or(policy.max_rank);
        let most = limit.min(found.singular_values.len());
        let rank = match options.rule {
            Some(rule) => rule.rank(&found.singular_values).min(most),
            None => policy.goal.rank(&found.spectrum(), most),
        };
        if keep(found) { policy.round(rank) } else { 0 }
    };
    let mut ranks: Vec<_> = lora.modules.iter().zip(found).map(one).collect();
    if policy.uniform {
        let largest = ranks.iter().copied().max().unwrap_or(0);
        ranks.iter_mut().filter(|rank| **rank > 0).for_each(|rank| *rank = largest);
    }
    ranks
}

/// Ranks that are worth the most in files of so many bytes, or that keep the share that is asked for; one rank for all where
/// [`Criterion::best`](phlora_core::Criterion::best) takes that.
fn within(
    lora: &Lora<'_>,
    found: &[Decomposed],
    dtypes: &[Dtype],
    options: &PruneOptions,
    limit: Limit,
    keep: impl Fn(&Decomposed) -> bool,
) -> Result<Vec<usize>> {
    let policy = &options.policy;
    let none = Shape { rows: 0, cols: 0 };
    let mut candidates = Vec::new();
    for ((module, &dtype), named) in found.iter().zip(dtypes).zip(&lora.modules) {
        let most = policy.max_rank.min(module.singular_values.len());
        // What is dropped takes no bytes.
        let (most, shape) = if keep(module) { (most, module.shape) } else { (0, none) };
        let singular_values = &module.singular_values[..most];
        let spectrum = Spectrum { singular_values, shape, sum_squares: module.sum_squares };
        let apart = stands_apart(&named.name, &named.shape());
        // The base is not there.
        candidates.push(Candidate { spectrum, stretch: 0.0, apart, dtype });
    }
    // Pairs that a module does not have are zeros where all have one rank.
    let held = |(one, rank): (&Candidate<'_>, usize)| match one.spectrum.singular_values.len() {
        0 => 0,
        _ if policy.uniform => rank,
        held => rank.min(held),
    };
    let of = |limit: Limit, even: bool| -> Vec<usize> {
        let mut allocated = vec![Allocation::default(); candidates.len()];
        if even {
            let rank = uniform_rank(&candidates, policy, policy.known_rank(&candidates), limit);
            return candidates.iter().map(|one| held((one, rank))).collect();
        }
        match limit {
            Limit::Energy(_) => _ = allocate_best(&candidates, policy, limit, &mut allocated),
            Limit::Bytes(_) => _ = allocate(&candidates, policy, limit, &mut allocated),
        }
        candidates.iter().zip(allocated.iter().map(|one| one.rank)).map(held).collect()
    };
    let Limit::Bytes(bytes) = limit else { return Ok(of(limit, policy.uniform)) };
    let fits = |even: bool| {
        let mut left = bytes;
        loop {
            let ranks = of(Limit::Bytes(left), even);
            if ranks.iter().all(|&rank| rank == 0) {
                return Ok(None);
            }
            let size = options.format.length(&cut(lora, found, &ranks, dtypes, options)?)?;
            if size <= bytes {
                return Ok(Some(ranks));
            }
            left = left.saturating_sub(size - bytes);
        }
    };
    let (mut choices, mut totals) = (Vec::new(), Vec::new());
    for even in if policy.uniform { &[true][..] } else { &[false, true] } {
        if let Some(ranks) = fits(*even)? {
            totals.push(Totals::of(&candidates, policy.by, ranks.iter().copied(), *even));
            choices.push(ranks);
        }
    }
    let best = policy.by.best(&totals).map(|at| choices.swap_remove(at));
    best.ok_or_else(|| Error::usage(format!("a budget of {bytes} bytes has no room for a single direction")))
}

/// The adapter at `ranks`, scales in its factors.
fn cut<'l>(
    lora: &Lora<'l>,
    found: &[Decomposed],
    ranks: &[usize],
    dtypes: &[Dtype],
    options: &PruneOptions,
) -> Result<Lora<'l>> {
    let encode = |((found, &rank), &dtype): ((&Decomposed, &usize), &Dtype)| {
        if rank == 0 {
            return Ok(None);
        }
        let held = found.singular_values.len();
        let mut factors = Factors::encode(&found.a, &found.b, held, rank.min(held), false, None, dtype)?;
        factors.pad(rank);
        factors.b.set_dtype(factor_dtype(dtype, rank));
        Ok(Some(factors))
    };
    let factors = found.iter().zip(ranks).zip(dtypes).map(encode).collect::<Result<_>>()?;
    let mut pruned = cut_to(lora, factors);
    // Before its bytes are counted.
    restate(&mut pruned, lora.rank());
    Ok(if options.policy.uniform { pruned.padded() } else { pruned })
}
