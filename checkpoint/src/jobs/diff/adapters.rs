//! How two adapters differ: their products, and the directions that these read and write.

use super::subspaces::{Directions, compare};
use crate::adapter::{Adapter, Lora, LoraModule, View, decompose};
use crate::error::{Error, Reason, Result};
use crate::jobs::extract::Filter;
use crate::naming::kind::kind_path;
use crate::run::monitor::Monitor;
use crate::run::pool::{Ticket, available_threads, run};
use crate::source::model::Model;
use crate::units::percent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// Options of [`diff_adapters`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiffOptions {
    /// Threads. What is found does not depend on it. Default: one per processor.
    pub threads: NonZeroUsize,
    /// Which modules are compared, by their path. Default: all.
    pub filter: Filter,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self { threads: available_threads(), filter: Filter::default() }
    }
}

/// How two adapters differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdapterDiff {
    /// Version of phlora.
    pub phlora: String,
    /// The adapters, as they were named.
    pub adapters: [String; 2],
    /// What was typed, where a command made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Modules that both have, sorted by name.
    pub modules: Vec<ModuleDiff>,
    /// Modules that only the first has, or only the second.
    pub only: [Vec<OneSided>; 2],
    /// Over all modules of both.
    pub total: DiffSummary,
}

/// A module of one of the adapters alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OneSided {
    /// Its path.
    pub name: String,
    /// ‖s·B·A‖_F.
    pub norm: f64,
}

/// How a module of two adapters differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleDiff {
    /// Its path.
    pub name: String,
    /// Its path within the layer, further numbers as `*`.
    pub kind: String,
    /// [out, in].
    pub shape: [usize; 2],
    /// Directions of both, those that are rounding alone not counted.
    pub ranks: [usize; 2],
    /// ‖s·B·A‖_F of both.
    pub norms: [f64; 2],
    /// ‖first − second‖_F.
    pub distance: f64,
    /// ⟨first, second⟩ / (‖first‖·‖second‖).
    pub cosine: f64,
    /// The share of each one's ‖s·B·A‖² that lies in what the other reads and writes.
    pub shared: [f64; 2],
    /// What `shared` would be for directions that have nothing to do with each other.
    pub by_chance: f64,
    /// Principal angles between what both write, in degrees, ascending.
    pub out_angles: Vec<f32>,
    /// Principal angles between what both read.
    pub in_angles: Vec<f32>,
}

/// Sums over modules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffSummary {
    /// √Σ‖s·B·A‖² of both.
    pub norms: [f64; 2],
    /// √Σ‖first − second‖².
    pub distance: f64,
    /// The cosine of both as one long vector each.
    pub cosine: f64,
    /// The share of each one that lies in what the other reads and writes; the rest is what it adds.
    pub shared: [f64; 2],
    /// What that would be by chance.
    pub by_chance: f64,
}

/// Compares two adapters, module by module, without their base; with `base`, whatever formats and names they have.
///
/// # Errors
/// When their names are of different kinds and there is no base; when they have no module in common, or one of
/// different shapes; when a factor holds a NaN or an infinity; [`Error::Cancelled`].
pub fn diff_adapters(
    first: &Adapter,
    second: &Adapter,
    base: Option<&Model>,
    options: &DiffOptions,
    monitor: &Monitor,
) -> Result<AdapterDiff> {
    let view = base.map(View::new);
    if base.is_none() && first.naming() != second.naming() {
        let (one, other) = (first.path().display(), second.path().display());
        let problem = format!(
            "{one} and {other} call their modules by different rules, which only the base's names relate"
        );
        return Err(Error::usage(problem).because(Reason::NoBase));
    }
    let chosen = |lora: &mut Lora<'_>| lora.modules.retain(|module| options.filter.takes(&module.name));
    let (mut one, mut other) = (named(first, view.as_ref())?, named(second, view.as_ref())?);
    chosen(&mut one);
    chosen(&mut other);
    if one.modules.is_empty() && other.modules.is_empty() {
        return Err(Error::usage("neither adapter has a module of those that are to be compared".into())
            .because(Reason::FilteredOut));
    }
    let mut by_name = BTreeMap::<&str, [Option<&LoraModule<'_>>; 2]>::new();
    for (at, lora) in [&one, &other].into_iter().enumerate() {
        for module in &lora.modules {
            by_name.entry(&module.name).or_default()[at] = Some(module);
        }
    }
    let jobs: Vec<_> = by_name.into_iter().collect();
    if !jobs.iter().any(|(_, pair)| pair.iter().all(Option::is_some)) {
        let names =
            |lora: &Lora<'_>| lora.modules.first().map(|module| module.name.to_string()).unwrap_or_default();
        let problem = format!(
            "no module in common: {} changes {} and others, {} {}: adapters of different models?",
            first.path().display(),
            names(&one),
            second.path().display(),
            names(&other)
        );
        return Err(Error::usage(problem));
    }
    let work = |(): &mut (), ticket: Ticket<'_>| {
        ticket.monitor().check()?;
        let (name, pair) = &jobs[ticket.job()];
        measure(name, *pair)
    };
    let found = run(options.threads.get(), jobs.len(), monitor, || (), work)?;
    let total = summary(&found);
    let (mut modules, mut only) = (Vec::new(), [Vec::new(), Vec::new()]);
    for found in found {
        match found {
            Found::Both(module, _) => modules.push(module),
            Found::One(at, module) => only[at].push(module),
        }
    }
    let name = |adapter: &Adapter| adapter.path().display().to_string();
    Ok(AdapterDiff {
        phlora: env!("CARGO_PKG_VERSION").to_owned(),
        adapters: [name(first), name(second)],
        command: None,
        modules,
        only,
        total,
    })
}

/// The adapter under the names of the base, if that is there.
fn named<'a>(adapter: &'a Adapter, view: Option<&View<'_>>) -> Result<Lora<'a>> {
    let lora = adapter.lora()?;
    view.map_or(Ok(lora.clone()), |view| view.rename(lora))
}

/// What was found of one name.
enum Found {
    Both(ModuleDiff, f64),
    One(usize, OneSided),
}

fn measure(name: &str, pair: [Option<&LoraModule<'_>>; 2]) -> Result<Found> {
    let [first, second] = match pair {
        [Some(first), Some(second)] => [first, second],
        [one, other] => {
            let at = usize::from(one.is_none());
            let norm = one.or(other).map_or(Ok(0.0), |module| Ok(decompose(module)?.sum_squares.sqrt()))?;
            return Ok(Found::One(at, OneSided { name: name.to_owned(), norm }));
        }
    };
    if first.shape() != second.shape() {
        let problem = format!(
            "module {name} is {:?} here and {:?} in the other adapter: adapters of different models?",
            first.shape(),
            second.shape()
        );
        return Err(first.a.error(problem));
    }
    let shape = first.shape();
    let (one, other) = (decompose(first)?, decompose(second)?);
    let directions = [&one, &other].map(|of| Directions::new(&of.a, &of.b, &of.singular_values, shape));
    let common = compare(&directions[0], &directions[1])?;
    let squares = [one.sum_squares, other.sum_squares];
    let norms = squares.map(f64::sqrt);
    let ratio = |some: f64, all: f64| if all > 0.0 { (some / all).clamp(0.0, 1.0) } else { 0.0 };
    let ranks = [directions[0].rank(), directions[1].rank()];
    let product = norms[0] * norms[1];
    let module = ModuleDiff {
        name: name.to_owned(),
        kind: kind_path(name),
        shape,
        ranks,
        norms,
        distance: (squares[0] + squares[1] - 2.0 * common.inner).max(0.0).sqrt(),
        cosine: if product > 0.0 { (common.inner / product).clamp(-1.0, 1.0) } else { 0.0 },
        shared: [ratio(common.within[0], squares[0]), ratio(common.within[1], squares[1])],
        by_chance: ranks.iter().map(|&rank| chance(rank, shape)).sum::<f64>() / 2.0,
        out_angles: angles(&common.out),
        in_angles: angles(&common.input),
    };
    Ok(Found::Both(module, common.inner))
}

/// The share of a random matrix within `rank` random directions of each side.
fn chance(rank: usize, [out, input]: [usize; 2]) -> f64 {
    (rank as f64 / out.max(1) as f64).min(1.0) * (rank as f64 / input.max(1) as f64).min(1.0)
}

fn angles(cosines: &[f32]) -> Vec<f32> {
    cosines.iter().map(|cosine| cosine.clamp(0.0, 1.0).acos().to_degrees()).collect()
}

fn summary(found: &[Found]) -> DiffSummary {
    let (mut squares, mut inner, mut within, mut apart, mut chance) = ([0.0; 2], 0.0, [0.0; 2], 0.0, 0.0);
    for found in found {
        match found {
            Found::Both(module, product) => {
                for at in 0..2 {
                    squares[at] += module.norms[at].powi(2);
                    within[at] += module.shared[at] * module.norms[at].powi(2);
                }
                inner += product;
                apart += module.distance.powi(2);
                chance += module.by_chance * (module.norms[0].powi(2) + module.norms[1].powi(2)) / 2.0;
            }
            Found::One(at, module) => {
                squares[*at] += module.norm.powi(2);
                apart += module.norm.powi(2);
            }
        }
    }
    let ratio = |some: f64, all: f64| if all > 0.0 { some / all } else { 0.0 };
    DiffSummary {
        norms: squares.map(f64::sqrt),
        distance: apart.sqrt(),
        cosine: ratio(inner, (squares[0] * squares[1]).sqrt()),
        shared: [ratio(within[0], squares[0]), ratio(within[1], squares[1])],
        by_chance: ratio(chance, squares[0].midpoint(squares[1])),
    }
}

impl AdapterDiff {
    /// What both have in common, in a line.
    pub fn answer(&self) -> String {
        let DiffSummary { cosine, shared, by_chance, .. } = &self.total;
        let [first, second] = shared.map(percent);
        format!(
            "cosine {cosine:.3}: {first} of the first lies in what the second reads and writes, {second} of the second in what \
             the first does; {} would by chance",
            percent(*by_chance)
        )
    }
}

impl ModuleDiff {
    /// Name, ranks, norms, cosine, shares and both kinds of angles, for a table.
    pub fn figures(&self) -> [String; 7] {
        let angles = |angles: &[f32]| match (angles.first(), angles.last()) {
            (Some(least), Some(most)) => format!("{least:.0}° to {most:.0}°"),
            _ => "–".to_owned(),
        };
        [
            self.name.clone(),
            format!("{}, {}", self.ranks[0], self.ranks[1]),
            format!("{:.3}, {:.3}", self.norms[0], self.norms[1]),
            format!("{:.3}", self.cosine),
            format!("{}, {}", percent(self.shared[0]), percent(self.shared[1])),
            angles(&self.out_angles),
            angles(&self.in_angles),
        ]
    }
}
